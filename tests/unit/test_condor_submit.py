"""A stage as one HTCondor cluster: what stands in the description, and what may not."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee2_operators.condor.routes import batch_id_of
from ee2_operators.condor.submit import (
    BadSubmission,
    StageJob,
    StageKey,
    StageSubmission,
    describe,
    log_path,
    of_round,
    stderr_path,
    ticket_path,
)

SUBMISSION, JOB, OTHER_JOB = "a" * 24, "b" * 24, "c" * 24
KEY = StageKey(SUBMISSION, "submit", 2)


def make(**changes: Any) -> StageSubmission:
    values: dict[str, Any] = {
        "key": KEY,
        "jobs": (StageJob(JOB), StageJob(OTHER_JOB)),
        "runner": "/opt/ee2/runner/ee2_runner.py",
        "rpc_url": "http://127.0.0.1:8080/services/ee2",
        "stage_dir": "/var/lib/ee2/stages",
    }
    return StageSubmission(**{**values, **changes})


def test_one_description_and_one_item_for_each_job_in_order() -> None:
    description, items = describe(make())
    assert [item["ee2_job_id"] for item in items] == [JOB, OTHER_JOB]
    assert description["arguments"] == "$(ee2_job_id) http://127.0.0.1:8080/services/ee2"
    assert description["My.EE2_SUBMISSION"] == f'"{SUBMISSION}"'
    assert description["My.EE2_STAGE"] == '"submit"'
    assert description["My.EE2_TRY"] == "2"
    assert description["batch_name"] == SUBMISSION


def test_every_variable_has_a_value_for_every_job() -> None:
    mixed = (StageJob(JOB, 1, 100), StageJob(OTHER_JOB, 2, 100))
    for jobs in (mixed, mixed[:1]):
        description, items = describe(make(jobs=jobs))
        used = {name for text in description.values() for name in re.findall(r"\$\((\w+)\)", text)}
        for item in items:
            assert used <= set(item) | set(description)


def test_what_all_jobs_share_is_said_once() -> None:
    description, items = describe(make(jobs=(StageJob(JOB, 1, 100), StageJob(OTHER_JOB, 2, 100))))
    assert description["ee2_memory_mb"] == "100"
    assert items == [
        {"ee2_job_id": JOB, "ee2_cpus": "1"},
        {"ee2_job_id": OTHER_JOB, "ee2_cpus": "2"},
    ]
    assert describe(make(jobs=(StageJob(JOB),)))[1] == [{"ee2_job_id": JOB}]


def test_the_files_of_a_job_are_where_the_description_says() -> None:
    description, _ = describe(make())
    for name, path in (("input", ticket_path), ("error", stderr_path)):
        assert description[name].replace("$(ee2_job_id)", JOB) == path(
            "/var/lib/ee2/stages", KEY, JOB
        )
    assert description["log"] == log_path("/var/lib/ee2/stages", KEY)


def test_nothing_is_shared_between_two_tries() -> None:
    again = StageKey(SUBMISSION, "submit", 3)
    assert log_path("/s", KEY) != log_path("/s", again)
    assert ticket_path("/s", KEY, JOB) != ticket_path("/s", again, JOB)
    assert KEY.constraint() != again.constraint()


def test_figures_of_each_job() -> None:
    job = StageJob(JOB, 4, 2000, 10, 'CLIENTGROUP == "bigmem"', priority=-3, time_limit_s=600)
    _, (item, plain) = describe(make(jobs=(job, StageJob(OTHER_JOB))))
    assert item["ee2_cpus"] == "4"
    assert item["ee2_memory_mb"] == "2000"
    assert item["ee2_disk_gb"] == "10"
    assert item["ee2_requirements"] == 'CLIENTGROUP == "bigmem"'
    assert item["ee2_priority"] == "-3"
    assert item["ee2_time_limit_s"] == "660"  # the runner comes first
    assert item["ee2_cpus"] != plain["ee2_cpus"]
    assert plain["ee2_requirements"] == "True"
    assert int(plain["ee2_time_limit_s"]) > 7 * 86400


def test_jobs_that_wait_for_a_place_are_submitted_on_hold() -> None:
    jobs = (StageJob(JOB), StageJob(OTHER_JOB, waits=True))
    window = f"{SUBMISSION}.submit"
    description, items = describe(
        make(jobs=jobs, window=window, window_places=2, round_number=3, user="ana")
    )
    assert description["hold"] == "$(ee2_waits)"
    assert [item["ee2_waits"] for item in items] == ["False", "True"]
    assert description["My.EE2_WINDOW"] == f'"{window}"'
    assert description["My.EE2_WINDOW_PLACES"] == "2" and description["My.EE2_USER"] == '"ana"'
    assert description["My.EE2_ROUND"] == "3"
    plain, items = describe(make())
    assert not {"hold", "My.EE2_WINDOW", "My.EE2_ROUND"} & set(plain)
    assert all("ee2_waits" not in item for item in items)
    assert of_round(1) == "EE2_ROUND =?= undefined" and of_round(2) == "EE2_ROUND =?= 2"


def test_accounting_user_only_when_given() -> None:
    assert "accounting_group_user" not in describe(make())[0]
    assert describe(make(accounting_user="alice.b"))[0]["accounting_group_user"] == "alice.b"


@pytest.mark.parametrize(
    "changes",
    [
        {"accounting_user": 'alice"'},
        {"accounting_user": "alice\nexecutable = /bin/sh"},
        {"accounting_user": "al ice"},
        {"accounting_user": ""},
        {"accounting_user": "$(x)"},
        {"rpc_url": "http://host/ more"},
        {"rpc_url": 'http://host/"'},
        {"rpc_url": "file:///etc/passwd"},
        {"rpc_url": "http://host/$ENV(HOME)"},
        {"runner": "relative/runner.py"},
        {"runner": "/opt/ee2\0runner"},
        {"stage_dir": "/var/$(x)"},
        {"stage_dir": "/var/a\nb"},
        {"window": 'x"', "window_places": 1},
        {"window": "x"},
        {"round_number": 0},
        {"jobs": ()},
    ],
)
def test_bad_values_are_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(BadSubmission, match=next(iter(changes))):
        make(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "x"},
        {"job_id": "b" * 24 + "\n"},
        {"cpus": 0},
        {"cpus": True},
        {"memory_mb": "1"},
        {"disk_gb": -1},
        {"time_limit_s": 0},
        {"requirements": "True\nMy.Evil = 1"},
        {"requirements": "$(ee2_job_id)"},
        {"requirements": ""},
    ],
)
def test_bad_jobs_are_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(BadSubmission, match=next(iter(changes))):
        StageJob(**{"job_id": JOB, **changes})


@pytest.mark.parametrize(
    "values", [("x", "submit", 1), (SUBMISSION, 'a"b', 1), (SUBMISSION, "submit", "1")]
)
def test_bad_keys_are_refused(values: tuple[Any, Any, Any]) -> None:
    with pytest.raises(BadSubmission):
        StageKey(*values)


@given(st.text())
def test_no_text_gets_through_with_a_character_of_the_submit_language(text: str) -> None:
    for field in ("accounting_user", "runner", "rpc_url", "stage_dir"):
        try:
            description, _ = describe(make(**{field: text}))
        except BadSubmission:
            continue
        assert not set(text) & set("$\"'\n\r\0\x1f \t")
        assert all("\n" not in value for value in description.values())


@pytest.mark.parametrize(
    ("grid_job_id", "batch_id"),
    [
        ("batch slurm ee2_9618_ee2#17.0#1790000000 slurm/20261122/4711", "4711"),
        ("batch slurm ee2_9618_ee2#17.0#1790000000 slurm/20261122/4711@hpc2", "4711"),
        ("condor schedd.far.example collector.far.example 23.1", "23.1"),
        ("batch slurm ee2_9618_ee2#17.0#1790000000", None),  # not taken by sbatch yet
        ("condor schedd.far.example collector.far.example", None),
        ("slurm/20261122/4711", None),
        ("batch slurm x slurm/20261122/47$(rm)", None),
        ("", None),
        (None, None),
        (17, None),
    ],
)
def test_the_id_beyond_our_pool(grid_job_id: Any, batch_id: str | None) -> None:
    assert batch_id_of({"GridJobId": grid_job_id}) == batch_id
    assert batch_id_of({}) is None
