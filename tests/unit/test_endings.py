"""How finish_job's parameters become an ending (the table in EE2's section 2.14), and log lines."""

import pytest

from ee2_jobs.errors import InvalidInput
from ee2_jobs.logs import parse_lines
from ee2_jobs.model import Status
from ee2_jobs.runs import parse_ending
from ee2_jobs.stage_jobs import split_children

OUTPUT = {"version": "1.1", "id": "66f2a1c09b1e4d0007a3c511", "result": [{"report_ref": "1/2/3"}]}


def test_an_output_completes_the_job() -> None:
    ending = parse_ending({"job_output": OUTPUT})
    assert (ending.status, ending.fields) == (Status.COMPLETED, {"job_output": OUTPUT})
    assert parse_ending({"job_output": {}}).fields == {"job_output": {}}


def test_an_error_message_comes_first_and_code_zero_is_kept() -> None:
    ending = parse_ending({"error_message": "bad", "job_output": OUTPUT, "error_code": 0})
    assert ending.status == Status.ERROR
    assert ending.fields == {"errormsg": "bad", "error_code": 0}
    assert parse_ending({"error_message": "bad"}).fields["error_code"] == 1


def test_an_error_that_is_a_string_becomes_a_mapping() -> None:
    fields = parse_ending({"error_message": "bad", "error": "Canceled"}).fields
    assert fields["error"] == {
        "name": "Error", "code": 1, "message": "Canceled", "error": "Canceled",
    }


def test_no_output_is_code_4() -> None:
    fields = parse_ending({}).fields
    assert fields["error_code"] == 4
    assert fields["errormsg"].startswith("Missing job output required")
    assert set(fields["error"]) == {"name", "code", "message", "error"}


@pytest.mark.parametrize(
    ("output", "word"),
    [
        ({"id": OUTPUT["id"], "result": [1]}, "version must be a string"),
        ({"version": "1.1", "id": OUTPUT["id"]}, "result is missing"),
        ({"version": "1.1", "id": "short", "result": []}, "id 'short' is not a job id"),
    ],
)
def test_a_wrong_output_ends_the_job_in_error(output: dict, word: str) -> None:
    ending = parse_ending({"job_output": output})
    assert ending.status == Status.ERROR
    assert ending.fields["errormsg"] == "Something was wrong with the output object"
    assert word in ending.fields["error"]["message"]


def test_what_cannot_be_an_output_is_refused() -> None:
    with pytest.raises(InvalidInput, match="^job_output must be a mapping$"):
        parse_ending({"job_output": "done"})
    with pytest.raises(InvalidInput, match="error_code must be one of"):
        parse_ending({"error_message": "x", "error_code": 99})


def test_the_four_forms_of_a_time_stamp_are_one_time() -> None:
    forms = [1727177152123, 1727177152.123, "1727177152123", "1727177152.123",
             "2024-09-24T11:25:52.123+00:00"]
    lines = parse_lines([{"line": "x", "ts": ts} for ts in forms])
    assert {round(line.time_s or 0, 3) for line in lines} == {1727177152.123}


@pytest.mark.parametrize(("value", "meaning"), [(1, True), (True, True), ("1", True), (2, False),
                                               (0, False), (None, False), ("x", False)])
def test_what_counts_as_an_error_line(value: object, meaning: bool) -> None:
    assert parse_lines([{"line": "x", "is_error": value}])[0].is_error is meaning


@pytest.mark.parametrize("lines", ["text", [1], [{"line": 1}], [{}]])
def test_lines_must_be_lines(lines: object) -> None:
    with pytest.raises(InvalidInput, match="lines"):
        parse_lines(lines)


def test_a_split_lists_children() -> None:
    assert split_children({"result": [{"children": [{"params": [1]}]}]}) == [{"params": [1]}]
    for bad in (None, {}, {"result": []}, {"result": [{}]}, {"result": [{"children": []}]},
                {"result": [{"children": [{}]}]}, {"result": [{"children": "x"}]}):
        with pytest.raises(InvalidInput, match="lists no children"):
            split_children(bad)
