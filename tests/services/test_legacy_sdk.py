"""Modules called by KBase's asynchronous convention, by clients that know nothing of EE2."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.kbase_clients import JOB_STATE, JavaClient, JavaError, PythonClient, ServerError
from tests.services.legacy_support import (
    UNKNOWN,
    address,
    complete,
    fail,
    meanwhile,
    newest_job,
    start,
)
from tests.services.rpc_support import Bridge

ERROR = {"name": "Server error", "code": -32000, "message": "no reads", "error": "Traceback …"}


def client(bridge: Bridge, *steps: Any, **more: Any) -> PythonClient:
    sleep = meanwhile(*steps)
    return PythonClient(address(bridge, "njs_wrapper"), bridge.tokens["alice"], sleep=sleep, **more)


@pytest.mark.parametrize("service_ver", ["release", "c0ffee", None])
def test_a_method_that_succeeds_returns_its_value(bridge: Bridge, service_ver: str | None) -> None:
    python = client(
        bridge,
        lambda: None,
        lambda: start(bridge, newest_job(bridge)),
        lambda: complete(bridge, newest_job(bridge), [{"reads": 7}]),
        service_ver=service_ver,
    )
    assert python.run("m.f", {"x": 1}, "second") == {"reads": 7}
    record = bridge.record(python.job_id)
    assert record["job_input"]["method"] == "m.f"
    assert record["job_input"]["params"] == [{"x": 1}, "second"]
    assert "wsid" not in record and record["user"] == "alice"
    params, _ = python.call("NarrativeJobService.get_job_params", python.job_id)
    assert params.get("rpc_context") == ({"service_ver": service_ver} if service_ver else None)


def test_a_method_that_fails_raises_what_it_failed_with(bridge: Bridge) -> None:
    python = client(bridge, lambda: None, lambda: fail(bridge, newest_job(bridge), ERROR))
    with pytest.raises(ServerError) as caught:
        python.run("m.f", 1)
    error = caught.value
    assert (error.name, error.code, error.message) == ("Server error", -32000, "no reads")
    assert error.data == "Traceback …" and "Traceback" in str(error)
    # The same job in NarrativeJobService's own method is no error.
    assert python.call("NarrativeJobService.check_job", python.job_id)["error"] == ERROR


@pytest.mark.parametrize("error", ["a text", {"code": "7", "extra": {"a": 1}}, {"error": [1]}])
def test_whatever_it_failed_with_the_client_can_read_it(bridge: Bridge, error: Any) -> None:
    python = client(bridge, lambda: fail(bridge, newest_job(bridge), error))
    with pytest.raises(ServerError) as caught:
        python.run("m.f")
    assert caught.value.message


def test_a_job_that_was_cancelled_ends_the_wait(bridge: Bridge) -> None:
    def cancel() -> None:
        bridge.call("cancel_job", {"job_id": newest_job(bridge)})

    python = client(bridge, lambda: None, cancel)
    with pytest.raises(ServerError, match="was canceled") as caught:
        python.run("m.f", 1)
    assert (caught.value.name, caught.value.code) == ("JSONRPCError", -32000)


def test_the_java_client(bridge: Bridge) -> None:
    java = JavaClient(address(bridge, "njs_wrapper"), bridge.tokens["alice"])
    job = java.call([str], "m._f_submit", {"x": 1})[0]
    assert java.call([JOB_STATE], "m._check_job", job)[0]["finished"] == 0
    complete(bridge, job, [5])
    state = java.call([JOB_STATE], "m._check_job", job)[0]
    assert state["finished"] == 1 and state["result"] == [5] and "error" not in state
    failed = java.call([str], "m._f_submit")[0]
    fail(bridge, failed, ERROR)
    with pytest.raises(JavaError, match="no reads"):
        java.call([JOB_STATE], "m._check_job", failed)


def test_the_convention_holds_at_every_address(bridge: Bridge) -> None:
    for url in (bridge.url, address(bridge, "userandjobstate")):
        assert bridge.record(PythonClient(url, bridge.tokens["bob"]).call("m._f_submit"))


REFUSED: list[tuple[str, list[Any], str]] = [
    ("m.f", [], "Method [m.f] is not a valid method name for asynchronous job execution"),
    ("m._f", [], "Illegal method name: _f"),
    ("m._submit", [], "Illegal method name: _submit"),
    ("m._check_job", [], "Check method expects exactly one argument"),
    ("m._check_job", [UNKNOWN, 1], "Check method expects exactly one argument"),
    ("m._check_job", ["x"], "Job ID x is not a legal ID"),
    ("m._check_job", [{}], "Job ID {} is not a legal ID"),
    ("m._check_job", [UNKNOWN], f"There is no job {UNKNOWN} viewable by user alice"),
    ("nosuch._f_submit", [], "Error looking up module nosuch with version release: There is no"),
    ("m._nosuch_submit", [], "The app m has no method 'nosuch'"),
]


@pytest.mark.parametrize(("method", "params", "text"), REFUSED, ids=lambda value: str(value)[:40])
def test_all_that_goes_wrong_has_one_code(
    bridge: Bridge, method: str, params: list[Any], text: str
) -> None:
    before = bridge.counts()
    with pytest.raises(ServerError) as caught:
        client(bridge).call(method, *params)
    assert (caught.value.name, caught.value.code) == ("JSONRPCError", -32601)
    assert caught.value.message.startswith(text)
    assert bridge.counts() == before


def test_tokens(bridge: Bridge) -> None:
    url = address(bridge, "njs_wrapper")
    for token, text in ((None, "no credentials were provided"), ("bad", "Token validation failed")):
        with pytest.raises(ServerError, match=text) as caught:
            PythonClient(url, token).call("m._f_submit")
        assert caught.value.code == -32601
    mine = PythonClient(url, bridge.tokens["alice"]).call("m._f_submit")
    with pytest.raises(ServerError, match="viewable by user bob"):
        PythonClient(url, bridge.tokens["bob"]).call("m._check_job", mine)
    by_its_token = PythonClient(url, bridge.token(mine))
    child = by_its_token.call("m._f_submit")
    assert by_its_token.call("m._check_job", child)["finished"] == 0
    assert bridge.record(child)["by_job"] == mine


def test_its_errors_repeat_no_id(bridge: Bridge) -> None:
    body = {"version": "1.1", "id": "7", "method": "m._check_job", "params": []}
    headers = {"Authorization": bridge.tokens["alice"]}
    reply = bridge.http.post(
        address(bridge, "njs_wrapper"), content=json.dumps(body).encode(), headers=headers
    )
    assert reply.status_code == 500 and reply.headers["content-type"] == "application/json"
    assert set(reply.json()) == {"version", "error"}


def test_the_services_are_no_apps(bridge: Bridge) -> None:
    for method, code in (
        ("execution_engine2._run_job_submit", -32601),
        ("NarrativeJobService._check_job", -32601),
    ):
        with pytest.raises(ServerError) as caught:
            client(bridge).call(method, UNKNOWN)
        assert caught.value.code == code
