"""Priorities: at submission, changed while jobs wait, and told to the pool."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs import priority
from ee2_jobs.store import Store
from tests.services.rpc_support import Bridge, RpcError


def set_priority(bridge: Bridge, job: str, value: Any, who: str = "alice", **more: Any) -> int:
    asked = {"job_id": job, "priority": value, **more}
    return int(bridge.call("set_priority", asked, who=who)["changed"])


def make_batch(bridge: Bridge, **options: Any) -> tuple[str, list[str]]:
    children = [{"method": "m.f"}, {"method": "m.f", "priority": 3}]
    answer = bridge.call("run_job_batch", children, {"wsid": 7, **options})
    return answer["batch_id"], answer["child_job_ids"]


def test_a_single_job_goes_before_a_batch(bridge: Bridge) -> None:
    _, (plain, own) = make_batch(bridge)
    assert bridge.record(bridge.job())["priority"] == 0
    assert bridge.record(plain)["priority"] == -5 and bridge.record(own)["priority"] == 3
    _, (plain, own) = make_batch(bridge, priority=7)
    assert bridge.record(plain)["priority"] == 7 and bridge.record(own)["priority"] == 3
    batch = bridge.call("run_split_aggregate", {"method": "m.f", "priority": -9})
    steps = bridge.db.ee2_jobs.find({"batch_id": batch})
    assert {job["role"]: job["priority"] for job in steps} == {"split": -9, "aggregate": -9}
    assert bridge.db.ee2_submissions.find_one({"_id": batch})["children"]["priority"] == -9
    assert bridge.call("check_job", {"job_id": plain})["priority"] == 7


@pytest.mark.parametrize("wrong", [21, -21, "5", 1.5, True, [1]])
def test_what_is_no_priority(bridge: Bridge, wrong: Any) -> None:
    before = bridge.counts()
    with pytest.raises(RpcError, match="^priority must be a whole number from -20 to 20, not "):
        bridge.call("run_job", {"method": "m.f", "priority": wrong})
    with pytest.raises(RpcError, match="^priority must be"):
        make_batch(bridge, priority=wrong)
    assert bridge.counts() == before


def test_who_may_change_it(bridge: Bridge) -> None:
    job = bridge.job()
    assert set_priority(bridge, job, -3) == 1
    with pytest.raises(RpcError, match="only an administrator may raise it$"):
        set_priority(bridge, job, -2)
    with pytest.raises(RpcError, match="permission to JobPermissions.WRITE"):
        set_priority(bridge, job, -4, who="rob")
    with pytest.raises(RpcError, match="^Cannot find job"):
        set_priority(bridge, job, -4, who="bob")
    assert bridge.record(job)["priority"] == -3
    assert set_priority(bridge, job, 20, who="root", as_admin=1, reason="A course") == 1
    assert bridge.record(job)["priority"] == 20
    (entry,) = bridge.db.ee2_audit.find({"target": job})
    assert entry["what"].endswith("set_priority") and entry["reason"] == "A course"
    bridge.call("cancel_job", {"job_id": job})
    with pytest.raises(RpcError, match="is waiting, so there is no priority to change$"):
        set_priority(bridge, job, -5)
    with pytest.raises(RpcError, match="Missing input parameter: priority"):
        bridge.call("set_priority", {"job_id": job})


def test_all_waiting_jobs_of_a_batch_at_once(bridge: Bridge) -> None:
    batch, (first, second) = make_batch(bridge)
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(first)}, {"$set": {"status": "running"}})
    assert set_priority(bridge, batch, -20) == 1
    assert [bridge.record(j)["priority"] for j in (first, second)] == [-5, -20]
    run = bridge.call("run_split_aggregate", {"method": "m.f"})
    set_priority(bridge, run, -11)
    assert bridge.db.ee2_submissions.find_one({"_id": run})["children"]["priority"] == -11


async def test_a_retry_keeps_it(bridge: Bridge) -> None:
    job = bridge.job(priority=4)
    bridge.call("cancel_job", {"job_id": job})
    retry = bridge.call("retry_job", {"job_id": job})["retry_id"]
    assert bridge.record(retry)["priority"] == 4


async def test_the_pool_is_told_the_latest_value(bridge: Bridge, mongo_uri: str) -> None:
    job, early = bridge.job(), bridge.job()
    store = Store(mongo_uri, bridge.database)
    try:
        set_priority(bridge, early, -1)  # not in the pool yet
        bridge.db.ee2_jobs.update_one({"_id": ObjectId(job)}, {"$set": {"scheduler_id": "9.0"}})
        set_priority(bridge, job, -1)
        told = await priority.to_tell_the_pool(store)
        assert told == {-1: {"9.0": ObjectId(job)}}
        set_priority(bridge, job, -2)  # meanwhile
        await priority.told_the_pool(store, -1, [ObjectId(job)])
        assert await priority.to_tell_the_pool(store) == {-2: {"9.0": ObjectId(job)}}
        await priority.told_the_pool(store, -2, [ObjectId(job)])
        assert await priority.to_tell_the_pool(store) == {}
        bridge.db.ee2_jobs.update_one({"_id": ObjectId(early)}, {"$set": {"scheduler_id": "9.1"}})
        assert await priority.to_tell_the_pool(store) == {-1: {"9.1": ObjectId(early)}}
    finally:
        await store.close()
