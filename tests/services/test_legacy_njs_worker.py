"""NarrativeJobService's workers, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.kbase_clients import (
    ServerError,
)
from tests.services.legacy_support import (
    ERROR,
    call,
    complete,
    refused,
    run,
    state,
)
from tests.services.rpc_support import Bridge


@pytest.mark.parametrize("own_token", [True, False])
def test_a_worker(bridge: Bridge, own_token: bool) -> None:
    """The order of NarrativeJobService's runner, with the user's token or the job's own."""
    job = run(bridge, wsid=7)
    who = job if own_token else "alice"
    assert call(bridge, "check_job", job, who=who)["finished"] == 0
    params, config = call(bridge, "get_job_params", job, who=who)
    assert params["params"] == [1] and config["ee.server.version"]
    for _ in range(2):
        told = {"job_id": job, "is_started": 1}
        assert call(bridge, "update_job", told, who=who) == {"messages": []}
    started = state(bridge, job)
    assert started["job_state"] == "in-progress"
    line = [{"line": "working", "is_error": 0}]
    assert call(bridge, "add_job_logs", job, line, who=who) == 1
    assert call(bridge, "add_job_logs", job, line * 2, who=who) == 3
    assert call(bridge, "check_job_canceled", {"job_id": job}, who=who)["finished"] == 0
    output = {"result": [{"a.b": 1}], "version": "1.1", "id": "8437"}
    assert call(bridge, "finish_job", job, output, who=who) is None
    assert state(bridge, job)["result"] == [{"a.b": 1}]
    assert call(bridge, "finish_job", job, {"error": ERROR}, who=who) is None
    assert state(bridge, job)["job_state"] == "completed"
    assert call(bridge, "update_job", told, who=who) == {"messages": []}
    assert state(bridge, job)["job_state"] == "completed"
    last = call(bridge, "get_job_logs", {"job_id": job, "skip_lines": 3})["lines"]
    assert last == [{"line": "Attempt to finish already completed job", "is_error": 1}]
    stored = bridge.record(job)["job_output"]
    assert stored == {"version": "1.1", "id": job, "result": [{"a.b": 1}]}


def test_finish_in_its_other_forms(bridge: Bridge) -> None:
    failed = run(bridge)
    call(bridge, "finish_job", failed, {"error": ERROR}, who=failed)
    assert state(bridge, failed)["error"] == ERROR
    record = bridge.record(failed)
    assert (record["errormsg"], record["error_code"]) == ("it broke", 1)
    assert record["running"] <= record["finished"]  # it is started first
    for spelling in ("is_canceled", "is_cancelled"):
        canceled = run(bridge)
        call(bridge, "finish_job", canceled, {spelling: 1}, who=canceled)
        assert state(bridge, canceled)["canceled"] == 1
        assert bridge.record(canceled)["terminated_code"] == 0
    too_long = run(bridge)  # no number that can be stored: the job has ended all the same
    assert "8-byte ints" in refused(
        bridge, "finish_job", too_long, {"result": [2**64]}, who=too_long
    )
    assert (state(bridge, too_long)["job_state"], bridge.record(too_long)["error_code"]) == (
        "suspend", 4
    )  # fmt: skip
    silent = run(bridge)
    call(bridge, "finish_job", silent, {}, who=silent)
    assert state(bridge, silent)["result"] == []


def test_what_a_worker_may_not_do(bridge: Bridge) -> None:
    job = run(bridge, wsid=7)
    told = {"job_id": job, "is_started": 1}
    assert refused(bridge, "update_job", told, who="wendy") == (
        "Only owner of the job can update it"
    )
    assert refused(bridge, "update_job", {"job_id": job, "is_started": 0}) == (
        "Method is currently supported only for switching jobs into stated state"
    )
    assert refused(bridge, "finish_job", job, {"result": []}, who="wendy") == (
        "Only the owner of a job can complete it"
    )
    large = {"result": ["x" * 1_048_600]}
    assert refused(bridge, "finish_job", job, large).startswith(
        f"Output parameters for job ID {job} are above 1048576B maximum: 10486"
    )
    assert state(bridge, job)["job_state"] == "queued"
    with pytest.raises(ServerError, match="may not be used for NarrativeJobService.list_job_st"):
        call(bridge, "list_job_statuses", "7", who=job)
    complete(bridge, job, [1])
    with pytest.raises(ServerError, match="no longer valid"):
        call(bridge, "get_job_params", job, who=job)


RUN_JOB: list[tuple[dict[str, Any], str]] = [
    ({"method": "nodot"}, "Illegal method name: nodot"),
    ({"method": "a.b.c"}, "Illegal method name: a.b.c"),
    ({"method": None}, "Illegal method name: None"),
    ({"method": "nosuch.f"}, "Error looking up module nosuch with version release: There is no"),
    ({"method": "m.f", "service_ver": "77"}, "Error looking up module m with version 77: "),
    ({"method": "m.f", "wsid": 8}, "User alice cannot write to workspace 8"),
    ({"method": "m.f", "params": ["x" * 1_048_576]},
     "Input parameters are above 1048576B maximum: 10486"),
    ({"method": "m.f", "source_ws_objects": ["8/1/1", "7/1/1", "8/2"]},
     "The workspace objects [8/1/1, 8/2] either don't exist or were inaccessible to the user "
     "alice."),
    ({"method": "m.f", "source_ws_objects": ["7"]},
     "Illegal number of separators / in workspace reference 7"),
    ({"method": "m.f", "source_ws_objects": ["mine/genome"]},
     "The workspace objects [mine/genome] either don't exist or were inaccessible to the user"),
    ({"method": "m.f", "source_ws_objects": ["7/1/x"]},
     "The version in workspace reference 7/1/x is no number"),
]  # fmt: skip


@pytest.mark.parametrize(("params", "text"), RUN_JOB, ids=lambda value: str(value)[:50])
def test_run_job_refuses(bridge: Bridge, params: dict[str, Any], text: str) -> None:
    before = bridge.counts()
    assert refused(bridge, "run_job", params).startswith(text)
    assert bridge.counts() == before


def test_run_job_takes_references_by_name(bridge: Bridge) -> None:
    saved = {"wsid": 7, "object": 888, "version": 2, "name": "genome", "_id": "7/888/2"}
    bridge.db.ee2_objects.insert_one(saved)
    name = bridge.db.ee2_workspaces.find_one({"_id": 7})["name"]
    job = run(bridge, source_ws_objects=[f"{name}/genome", "7 / genome/2", "7/888", "7/777001/3"])
    stored = bridge.record(job)["job_input"]["source_ws_objects"]
    assert stored == ["7/888/2", "7/888/2", "7/888/2", "7/777001/3"]
    assert refused(bridge, "run_job", {"method": "m.f", "source_ws_objects": ["7/genome"]},
                   who="bob").startswith("The workspace objects [7/genome] either")  # fmt: skip


def test_run_job_accepts_the_job_and_what_is_beside_it_together(bridge: Bridge) -> None:
    job = run(bridge, meta={"k": "v"})
    side = bridge.db.ee2_legacy.find_one({"_id": bridge.record(job)["_id"]})
    assert side["meta"] == {"k": "v"} and side["service"] == "alice"
    assert bridge.started.ids[-1] == job
