"""What a client asks for: forms, texts, and what is never accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee2_jobs.errors import InvalidInput
from ee2_jobs.model import job_oid, truthy
from ee2_jobs.requests import parse_app_id, parse_cell, parse_method, parse_refs, parse_request


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "Unrecognized method: 'None'. Please input module_name.function_name"),
        ({"method": "nodot"}, "Unrecognized method: 'nodot'. Please input"),
        ({"method": "a.b.c"}, "Expected exactly one '.' in method ID 'a.b.c'"),
        ({"method": ".b"}, "Missing input parameter: module portion of method ID"),
        ({"method": "a."}, "Missing input parameter: method portion of method ID"),
        ({"method": "a.b\x07"}, "method ID contains control characters"),
        ({"method": 5}, "method must be a string"),
        ({"method": "a.b", "wsid": 0}, "wsid must be at least 1"),
        ({"method": "a.b", "wsid": "7"}, "wsid must be a whole number, not \"7\""),
        ({"method": "a.b", "wsid": True}, "wsid must be a whole number"),
        ({"method": "a.b", "app_id": "c/d"}, "Application module 'c' must equal method module 'a'"),
        ({"method": "a.b", "app_id": "a/d.e"}, "has both '/' and '.' separators"),
        ({"method": "a.b", "app_id": "a/d/e"}, "Expected exactly one '/' in application ID"),
        ({"method": "a.b", "app_id": "a/"}, "application portion of application ID"),
        ({"method": "a.b", "app_id": 3}, "app_id must be a string"),
        ({"method": "a.b", "source_ws_objects": "1/2/3"}, "source_ws_objects must be a list"),
        (
            {"method": "a.b", "source_ws_objects": ["1/2/3", "1/2"]},
            "source_ws_objects index 1, '1/2', is not a valid Unique Permanent Address",
        ),
        ({"method": "a.b", "meta": {"run_id": 5}}, "meta.run_id must be a string"),
        ({"method": "a.b", "meta": []}, "meta must be a mapping"),
        ({"method": "a.b", "service_ver": 3}, "service_ver must be a string"),
        ({"method": "a.b", "params": [{"n": 2**63}]}, "8-byte ints"),
        ([], "params must be a mapping"),
    ],
)
def test_bad_requests_name_what_is_wrong(params: object, text: str) -> None:
    with pytest.raises(InvalidInput) as e:
        parse_request(params)
    assert text in str(e.value)


def test_a_request_is_trimmed_and_unknown_keys_are_ignored() -> None:
    request = parse_request(
        {
            "method": " kb_fastqc . run ",
            "app_id": " kb_fastqc / qc ",
            "service_ver": " ",
            "source_ws_objects": [" 1 / 2/3"],
            "meta": {"cell_id": "c", "tag": None, "color": "red"},
            "params": [{"n": -(2**63)}],
            "surprise": 1,
        }
    )
    assert request.method == "kb_fastqc.run"
    assert request.service_ver is None
    assert request.source_ws_objects == ("1/2/3",)
    assert request.cell == {"cell_id": "c"}


def test_children_of_a_batch_name_no_workspace_and_no_parent() -> None:
    with pytest.raises(InvalidInput, match="Workspace ids are not allowed"):
        parse_request({"method": "a.b", "wsid": 0}, in_batch=True)
    with pytest.raises(InvalidInput, match="may not specify a parent"):
        parse_request({"method": "a.b", "parent_job_id": "x"}, in_batch=True)


@given(st.text(max_size=40))
def test_no_text_crashes_the_parsers(text: str) -> None:
    for parse in (parse_method, lambda t: parse_app_id(t, "m"), lambda t: parse_refs([t])):
        try:
            parse(text)
        except InvalidInput as e:
            assert str(e)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["method", "params", "app_id", "service_ver", "source_ws_objects", "meta", "wsid",
             "parent_job_id", "job_requirements"]
        ),
        json_values,
    )
)
def test_any_json_is_accepted_or_refused_with_a_sentence(params: dict) -> None:
    try:
        request = parse_request({"method": "m.f", **params})
    except InvalidInput as e:
        assert str(e)
    else:
        assert request.method.count(".") == 1
        assert all(isinstance(v, str) for v in request.cell.values())


@pytest.mark.parametrize("bad", ["x", "123", "5f0c" * 7, 5, [], {}])
def test_a_malformed_id_is_named(bad: object) -> None:
    with pytest.raises(InvalidInput) as e:
        job_oid(bad)
    assert str(e.value) == (
        f"'{bad}' is not a valid ObjectId, it must be a 12-byte input or a "
        "24-character hex string"
    )


def test_upper_case_ids_are_accepted() -> None:
    assert str(job_oid("66F2A1C09B1E4D0007A3C511")) == "66f2a1c09b1e4d0007a3c511"


@pytest.mark.parametrize(
    ("value", "meaning"),
    [(None, False), (0, False), (1, True), ("false", False), ("0", False), ("true", True),
     ("wheee", True), (7, True), ("", False), ([], False)],
)
def test_flags(value: object, meaning: bool) -> None:
    assert truthy(value) is meaning


def test_cells_keep_the_four_keys_only() -> None:
    cell = {"run_id": "r", "token_id": "t", "tag": "g", "cell_id": "c"}
    assert parse_cell({**cell, "other": "x"}) == cell
