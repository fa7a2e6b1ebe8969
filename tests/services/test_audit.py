"""What administrators change is on record: who, when, what, to what, why, and how it went."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.services.rpc_support import Bridge, RpcError


def entries(bridge: Bridge, target: str) -> list[dict[str, Any]]:
    """The entries about a job, oldest first."""
    return list(bridge.db.ee2_audit.find({"target": target}).sort("_id", 1))


def test_a_cancel_by_an_administrator(bridge: Bridge) -> None:
    job = bridge.job()
    before = time.time()
    asked = {"job_id": job, "as_admin": 1, "reason": "The node is on fire"}
    bridge.call("cancel_job", asked, who="root")
    (entry,) = entries(bridge, job)
    assert before <= entry["at"] <= time.time()
    assert entry["who"] == "root" and entry["what"] == "execution_engine2.cancel_job"
    assert entry["reason"] == "The node is on fire" and entry["outcome"] == "done"
    assert entry["target"] == [job] and entry["targets"] == 1


def test_what_came_of_it(bridge: Bridge) -> None:
    job = bridge.job()
    bridge.call("cancel_job", {"job_id": job})
    assert entries(bridge, job) == [], "the owner's own doing is nobody's business"
    retry = bridge.call("retry_job", {"job_id": job, "as_admin": True}, who="root")["retry_id"]
    (entry,) = entries(bridge, job)
    assert entry["made"] == [retry] and entry["reason"] is None
    started = bridge.call("run_job", {"method": "m.f", "wsid": 8, "as_admin": 1}, who="root")
    (entry,) = entries(bridge, "workspace 8")
    assert entry["made"] == [started]


def test_what_failed(bridge: Bridge) -> None:
    job = bridge.job()
    bridge.call("cancel_job", {"job_id": job})
    with pytest.raises(RpcError, match="Cannot finish job"):
        bridge.call("finish_job", {"job_id": job, "as_admin": 1, "job_output": {}}, who="root")
    (entry,) = entries(bridge, job)
    assert entry["outcome"] == "failed" and "terminated" in entry["error"]


def test_methods_that_are_always_an_administrators(bridge: Bridge) -> None:
    job = bridge.job()
    bridge.call("update_job_status", {"job_id": job, "status": "error"}, who="root")
    assert [e["what"] for e in entries(bridge, job)] == ["execution_engine2.update_job_status"]
    with pytest.raises(RpcError, match="Cluster id of 77.0: no job has it"):
        bridge.call("handle_held_job", "77.0", who="root")
    assert entries(bridge, "77.0")[0]["outcome"] == "failed"


@pytest.mark.parametrize("who", ["alice", "eva"])
def test_a_refused_call_and_a_look_leave_nothing(bridge: Bridge, who: str) -> None:
    job = bridge.job()
    before = bridge.db.ee2_audit.count_documents({})
    with pytest.raises(RpcError, match="Access Denied"):
        bridge.call("cancel_job", {"job_id": job, "as_admin": 1}, who=who)
    with pytest.raises(RpcError, match="Access Denied"):
        bridge.call("update_job_status", {"job_id": job, "status": "error"}, who=who)
    bridge.call("check_job", {"job_id": job, "as_admin": 1}, who="root")
    assert bridge.db.ee2_audit.count_documents({}) == before
