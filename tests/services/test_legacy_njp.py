"""NarrativeJobProxy: reads for those with whom a narrative is shared, with rights of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.kbase_clients import PythonClient, ServerError
from tests.services.legacy_support import UNKNOWN, address, complete, fail, njs, start
from tests.services.rpc_support import Bridge

ERROR = {"name": "Server error", "code": -32000, "message": "no reads", "error": "Traceback …"}


def njp(bridge: Bridge, method: str, *params: Any, who: str | None = "rob") -> Any:
    client = PythonClient(address(bridge, "narrativejobproxy"), bridge.token(who))
    return client.call(f"NarrativeJobProxy.{method}", *params)


def run(bridge: Bridge) -> str:
    return str(njs(bridge).call("NarrativeJobService.run_job", {"method": "m.f", "wsid": 7}))


def test_ver(bridge: Bridge) -> None:
    assert njp(bridge, "ver", who=None) == "0.0.2"


def test_job_info_is_one_value_of_fourteen(bridge: Bridge) -> None:
    job = run(bridge)
    complete(bridge, job, [1])
    info = njp(bridge, "get_job_info", job)
    assert len(info) == 14
    assert info[:3] == [job, "alice", "complete"] and info[4] == "done"
    assert info[6:10] == [None, None, "none", None]
    assert info[10:] == [1, 0, "queued", {}]
    assert all(isinstance(info[i], str) and info[i].endswith("+0000") for i in (3, 5))
    body = {"version": "1.1", "id": "1", "method": "NarrativeJobProxy.get_job_info",
            "params": [job]}  # fmt: skip
    reply = bridge.http.post(
        address(bridge, "narrativejobproxy"),
        content=json.dumps(body).encode(),
        headers={"Authorization": bridge.tokens["rob"]},
    ).json()
    assert reply["result"] == [info] and reply["id"] == "1"


def test_logs(bridge: Bridge) -> None:
    job = run(bridge)
    assert njp(bridge, "get_job_logs", {"job_id": job})["lines"] == []
    lines = [{"line": "a", "is_error": 0}, {"line": "b", "is_error": 1}]
    njs(bridge).call("NarrativeJobService.add_job_logs", job, lines)
    answer = {"lines": lines[1:], "last_line_number": 2}
    assert njp(bridge, "get_job_logs", {"job_id": job, "skip_lines": 1}) == answer


def test_detailed_error_is_always_a_string(bridge: Bridge) -> None:
    job = run(bridge)
    assert njp(bridge, "get_detailed_error", job) == ""
    fail(bridge, job, ERROR)
    assert njp(bridge, "get_detailed_error", job) == "Traceback …"
    assert njp(bridge, "get_job_info", job)[2:5:2] == ["error", "no reads"]


def test_app_state(bridge: Bridge) -> None:
    job = run(bridge)
    start(bridge, job)
    keys = {"job_id", "job_state", "running_step_id", "step_outputs", "step_errors",
            "step_job_ids"}  # fmt: skip
    state = njp(bridge, "check_app_state", job)
    assert set(state) == keys and state["job_state"] == "in-progress"
    step = state["running_step_id"]
    assert state["step_job_ids"] == {step: job} and step
    assert state["step_outputs"] == state["step_errors"] == {}
    complete(bridge, job, [{"x": 1}])
    state = njp(bridge, "check_app_state", job)
    assert (state["job_state"], state["running_step_id"]) == ("completed", "")
    assert json.loads(state["step_outputs"][step]) == [{"x": 1}]
    failed, canceled = run(bridge), run(bridge)
    fail(bridge, failed, ERROR)
    assert njp(bridge, "check_app_state", failed)["step_errors"] == {step: "no reads"}
    bridge.call("cancel_job", {"job_id": canceled})
    state = njp(bridge, "check_app_state", canceled)
    assert "was canceled" in state["step_errors"][step]


@pytest.mark.parametrize(
    ("method", "as_mapping"),
    [("get_job_info", False), ("get_detailed_error", False), ("check_app_state", False),
     ("get_job_logs", True)],
)  # fmt: skip
def test_strangers_see_nothing(bridge: Bridge, method: str, as_mapping: bool) -> None:
    for job in (run(bridge), UNKNOWN):
        with pytest.raises(ServerError) as caught:
            njp(bridge, method, {"job_id": job} if as_mapping else job, who="bob")
        assert caught.value.message == f"There is no job {job} viewable by user bob"
        assert (caught.value.name, caught.value.code) == ("Server error", -32000)


def test_its_errors_are_those_of_a_python_service(bridge: Bridge) -> None:
    with pytest.raises(ServerError) as caught:
        njp(bridge, "get_job_info", UNKNOWN, who=None)
    assert caught.value.message == (
        "Authentication required for NarrativeJobProxy but no authentication header was passed"
    )
    assert caught.value.code == -32000
    for params, text in (((), "not enough arguments"), ((1, 2), "too many arguments")):
        with pytest.raises(ServerError) as caught:
            njp(bridge, "get_job_info", *params)
        assert (caught.value.name, caught.value.message) == ("Invalid params", text)
    with pytest.raises(ServerError) as caught:
        njp(bridge, "get_app_state", UNKNOWN)
    assert (caught.value.name, caught.value.code) == ("Method not found", -32601)
