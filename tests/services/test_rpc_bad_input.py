"""What a client may get wrong: the message names the field, and nothing is stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.services.rpc_support import Bridge, RpcError

UNKNOWN = "5f0c0000000000000000aaaa"
METHOD = {"method": "m.f"}


@pytest.fixture
def nothing_stored(bridge: Bridge) -> Iterator[None]:
    before = bridge.counts()
    yield
    assert bridge.counts() == before


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


RUN_JOB: list[tuple[dict[str, Any], str]] = [
    ({}, "Unrecognized method: 'None'. Please input module_name.function_name"),
    ({"method": "nodot"}, "Unrecognized method: 'nodot'"),
    ({"method": "a.b.c"}, "Expected exactly one '.' in method ID 'a.b.c'"),
    ({"method": 7}, "method must be a string"),
    ({"method": "m.f\x07"}, "method ID contains control characters"),
    ({"method": "nosuch.f"}, "There is no app 'nosuch'; this service has: ee2_recipes, m"),
    ({"method": "m.nosuch"}, "The app m has no method 'nosuch'"),
    ({**METHOD, "service_ver": "nosuch"}, "The app m has no version 'nosuch'"),
    ({**METHOD, "service_ver": 5}, "service_ver must be a string"),
    ({**METHOD, "app_id": "other/f"}, "Application module 'other' must equal method module 'm'"),
    ({**METHOD, "app_id": "m/f.g"}, "Application ID 'm/f.g' has both '/' and '.' separators"),
    ({**METHOD, "app_id": 5}, "app_id must be a string"),
    ({**METHOD, "wsid": 0}, "wsid must be at least 1"),
    ({**METHOD, "wsid": "7"}, "wsid must be a whole number"),
    ({**METHOD, "wsid": True}, "wsid must be a whole number"),
    ({**METHOD, "wsid": 8}, "User alice doesn't have permission to run jobs in workspace 8."),
    ({**METHOD, "wsid": 99}, "User alice doesn't have permission to run jobs in workspace 99."),
    ({**METHOD, "wsid": 2**70}, "wsid"),
    ({**METHOD, "source_ws_objects": "1/2/3"}, "source_ws_objects must be a list"),
    ({**METHOD, "source_ws_objects": ["7/1/1", "7/x/1"]},
     "source_ws_objects index 1, '7/x/1', is not a valid Unique Permanent Address"),
    ({**METHOD, "source_ws_objects": ["8/1/1"]}, "Some workspace object is inaccessible: 8/1/1"),
    ({**METHOD, "source_ws_objects": [f"{2**70}/1/1"]}, "source_ws_objects index 0"),
    ({**METHOD, "meta": []}, "meta must be a mapping"),
    ({**METHOD, "meta": {"run_id": 5}}, "meta.run_id must be a string"),
    ({**METHOD, "params": [2**64]}, "params: MongoDB can only handle up to 8-byte ints"),
    ({**METHOD, "params": _deep(150)}, "params: nested more than 100 levels deep"),
    ({**METHOD, "params": [{"a\0b": 1}]}, "params: a key contains the NUL character"),
    ({**METHOD, "job_requirements": {"request_cpus": "many"}}, "Found illegal cpu request 'many'"),
    ({**METHOD, "job_requirements": {"request_cpus": 2}},
     "In order to specify job requirements you must be a full admin"),
    ({**METHOD, "job_requirements": []}, "job_requirements must be a mapping"),
    ({**METHOD, "as_admin": True}, "Access Denied: You are not an administrator"),
]  # fmt: skip


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(("params", "text"), RUN_JOB, ids=lambda value: str(value)[:60])
def test_run_job(bridge: Bridge, params: dict[str, Any], text: str) -> None:
    with pytest.raises(RpcError, match=re.escape(text)) as caught:
        bridge.call("run_job", params)
    assert caught.value.code == -32000 and caught.value.name == "Server error"


BATCH: list[tuple[Any, Any, str]] = [
    ([], {}, "params is empty"),
    ([METHOD] * 51, {}, "params lists 51 jobs; one batch may have at most 50"),
    ([METHOD, {}], {}, "Job #2: Unrecognized method"),
    ([METHOD, {"method": "nosuch.f"}], {}, "Job #2: There is no app 'nosuch'"),
    ([METHOD, 5], {}, "Job #2: params must be a mapping"),
    ([METHOD, {**METHOD, "wsid": 7}], {},
     "Workspace ids are not allowed in RunJobParams in Batch Mode"),
    ([METHOD, {**METHOD, "parent_job_id": UNKNOWN}], {},
     "Job #2: batch jobs may not specify a parent job ID"),
    ([METHOD], {"wsid": 8}, "User alice doesn't have permission to run jobs in workspace 8."),
    ([METHOD], {"aggregate": {"recipe": "nosuch"}}, "'nosuch' is none of the built-in recipes"),
    ([METHOD], {"aggregate": {"method": "nosuch.f"}}, "There is no app 'nosuch'"),
    ([METHOD], {"aggregate": {"recipe": "report"}, "on_child_error": "x"},
     "on_child_error is 'continue' or 'abort'"),
    ([METHOD], {"meta": 5}, "meta must be a mapping"),
]  # fmt: skip


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(("params", "options", "text"), BATCH, ids=lambda value: str(value)[:60])
def test_run_job_batch(bridge: Bridge, params: Any, options: Any, text: str) -> None:
    with pytest.raises(RpcError, match=re.escape(text)):
        bridge.call("run_job_batch", params, options)


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"method": "m.s"}, "m.s declares no split method"),
        ({"method": "m.f", "split": "m.s", "children": [1]}, "either split or children"),
        ({"method": "m.f", "children": []}, "children is empty"),
        ({"method": "m.f", "children": 5}, "children must be a list"),
        ({"method": "m.f", "split": "m.nosuch"}, "has no method 'nosuch'"),
        ({"method": "m.f", "service_ver": True}, "service_ver must be a string"),
    ],
)
def test_run_split_aggregate(bridge: Bridge, params: Any, text: str) -> None:
    with pytest.raises(RpcError, match=re.escape(text)):
        bridge.call("run_split_aggregate", params)


ONE_JOB = ("check_job", "check_job_batch", "check_job_canceled", "get_job_status",
           "get_job_params", "start_job", "finish_job", "cancel_job", "get_job_logs",
           "retry_job")  # fmt: skip


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize("method", ONE_JOB)
def test_job_ids(bridge: Bridge, method: str) -> None:
    for absent in ({}, None):
        with pytest.raises(RpcError, match="job_id|valid job id"):
            bridge.call(method, absent)
    for null in (None, ""):
        with pytest.raises(RpcError, match="Please provide (a )?valid job"):
            bridge.call(method, {"job_id": null})
    for bad in ("x", 5, [1], {"$ne": None}, "5f0c"):
        text = "is not a valid ObjectId, it must be a 12-byte input or a 24-character hex string"
        with pytest.raises(RpcError, match=text):
            bridge.call(method, {"job_id": bad})
    if method.startswith("check_job") and method != "check_job_canceled":
        answer = bridge.call(method, {"job_id": UNKNOWN})
        assert "No read permissions" in str(answer)
        return
    with pytest.raises(RpcError, match=re.escape(f"Cannot find job with ids: ['{UNKNOWN}']")):
        bridge.call(method, {"job_id": UNKNOWN})


def test_upper_case_ids_are_understood(bridge: Bridge) -> None:
    job = bridge.job()
    assert bridge.call("check_job", {"job_id": job.upper()})["job_id"] == job
    assert bridge.call("check_jobs", {"job_ids": [job.upper()], "return_list": 0})[job.upper()]


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("run_job", [], "not enough arguments"),
        ("run_job", [METHOD, 1], "too many arguments"),
        ("run_job", ["text"], "positional arg #1 is the wrong type"),
        ("run_job_batch", [[METHOD]], "not enough arguments"),
        ("run_job_batch", [{}, {}], "positional arg #1 is the wrong type"),
        ("run_job_batch", [[METHOD], 5], "positional arg #2 is the wrong type"),
        ("add_job_logs", [{"job_id": UNKNOWN}, "text"], "positional arg #2 is the wrong type"),
        ("ver", [1], "too many arguments"),
    ],
)
def test_number_and_types_of_parameters(
    bridge: Bridge, method: str, params: list[Any], message: str
) -> None:
    with pytest.raises(RpcError, match=f"^{message}$") as caught:
        bridge.call(method, *params)
    assert (caught.value.code, caught.value.name) == (-32602, "Invalid params")


def test_unknown_methods_need_no_token(bridge: Bridge) -> None:
    for method in ("execution_engine2.nosuch", "nosuch.ver", "ee2_runner.ver"):
        with pytest.raises(RpcError, match="There is no method") as caught:
            bridge.call(method, who=None)
        assert (caught.value.code, caught.value.name) == (-32601, "Method not found")


@pytest.mark.usefixtures("nothing_stored")
def test_tokens(bridge: Bridge) -> None:
    body = {"version": "1.1", "id": "1", "method": "execution_engine2.run_job", "params": [METHOD]}

    def message(**headers: str) -> str:
        answer = bridge.post(body, **headers)
        assert answer.status_code == 500 and answer.json()["error"]["code"] == -32000
        return str(answer.json()["error"]["message"])

    assert message() == (
        "Authentication required for execution_engine2 but no authentication header was passed"
    )
    invalid = (
        "Token validation failed: Error connecting to auth service: 401 Unauthorized\n"
        "10020 Invalid token"
    )
    assert message(Authorization="nonsense") == invalid
    assert message(Authorization="") == "Token validation failed: Must supply token"
    for forged in (f"ee2job.{UNKNOWN}.00", "ee2job.x.y", "ee2job."):
        assert message(Authorization=forged).startswith("Token validation failed: ")
    # The order is EE2's: who asks comes before what is asked.
    body["params"] = []
    assert message(Authorization="nonsense") == invalid


def test_the_envelope_over_http(bridge: Bridge) -> None:
    call = {"version": "1.1", "id": "1", "method": "execution_engine2.ver", "params": []}
    answer = bridge.post(call, Origin="http://x")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-headers"] == "authorization"
    preflight = bridge.http.request(
        "OPTIONS", bridge.url, headers={"Access-Control-Request-Headers": "x-a, authorization"}
    )
    assert (preflight.status_code, preflight.content) == (200, b"")
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-headers"] == "x-a, authorization"
    notification = bridge.post({**call, "id": None})
    assert (notification.status_code, notification.content) == (200, b"")
    for verb in ("GET", "PUT", "DELETE"):
        answer = bridge.http.request(verb, bridge.url)
        assert answer.status_code == 500 and answer.json()["error"]["code"] == -32700
        assert answer.headers["content-type"] == "application/json"
    for path in ("", "/", "?x=1"):  # and no redirect
        assert bridge.http.post(bridge.url + path, json=call).json()["result"]
    two = bridge.post({**call, "version": None, "jsonrpc": "2.0", "method": "a.b"}).json()
    assert set(two) == {"jsonrpc", "error", "id"} and "data" in two["error"]


@pytest.mark.usefixtures("nothing_stored")
def test_large_and_deep_bodies(bridge: Bridge) -> None:
    token = bridge.tokens["alice"]
    start = b'{"version":"1.1","id":"1","method":"execution_engine2.run_job","params":[{"method":'
    large = start + b'"m.f","params":["' + b"x" * 5_000_000 + b'"]}]}'
    chunks = [large[i : i + 65536] for i in range(0, len(large), 65536)]
    for content in (large, iter(chunks)):
        answer = bridge.http.post(bridge.url, content=content, headers={"Authorization": token})
        assert answer.status_code == 500
        error = answer.json()["error"]
        assert error["code"] == -32600
        assert "larger than 5 MB" in error["message"] and "max_body_mb" in error["message"]
    deep = start + b'"m.f","params":' + b"[" * 50_000 + b"]" * 50_000 + b"}]}"
    answer = bridge.post(deep, token)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, -32700)


def test_a_client_that_goes_away_harms_nobody(bridge: Bridge) -> None:
    with httpx.Client(trust_env=False, timeout=0.3) as hasty:

        def body() -> Iterator[bytes]:
            yield b'{"version":'
            raise ConnectionError

        with pytest.raises(ConnectionError):
            hasty.post(bridge.url, content=body())
    assert bridge.call("ver", who=None)


def test_finish_that_cannot_be_read_leaves_the_record_alone(bridge: Bridge) -> None:
    job = bridge.job()
    before = bridge.record(job)
    for told, text in (
        ({"job_output": "text"}, "job_output must be a mapping"),
        ({"error_message": "x", "error_code": 77}, "error_code must be one of"),
        ({"error_message": "x", "error_code": "x"}, "error_code must be one of"),
    ):
        with pytest.raises(RpcError, match=text):
            bridge.call("finish_job", {"job_id": job, **told})
    with pytest.raises(RpcError, match="terminated_code must be one of"):
        bridge.call("cancel_job", {"job_id": job, "terminated_code": 9})
    assert bridge.record(job) == before


def test_the_parent_of_a_batch_is_not_started_or_finished(bridge: Bridge) -> None:
    parent = bridge.call("run_job_batch", [METHOD], {})["batch_id"]
    before = bridge.record(parent)
    for method in ("start_job", "finish_job"):
        with pytest.raises(RpcError, match="is the parent of a batch"):
            bridge.call(method, {"job_id": parent})
    assert bridge.record(parent) == before
