"""A live job's own token starts jobs, sees and cancels exactly those, and nothing more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs.cancel import cancel_job
from ee2_jobs.identity import Caller
from ee2_jobs.submit import run_job, run_job_batch
from tests.services.engines import close_engine, open_engine
from tests.services.rpc_support import Bridge, RpcError

TASK = {"module_name": "m", "function_name": "f", "version": "release", "parameters": {}}


class Refused(Exception):
    """An error answer of any of the old services."""


def rpc(bridge: Bridge, method: str, *params: Any, who: str) -> Any:
    """Call a method of any service; the first value of its result."""
    call = {"version": "1.1", "id": "1", "method": method, "params": list(params)}
    content = bridge.post(call, bridge.token(who)).json()
    if "error" in content:
        raise Refused(content["error"]["message"])
    return (content["result"] or [None])[0]


def run(bridge: Bridge, who: str, **more: Any) -> str:
    return str(bridge.call("run_job", {"method": "m.f", "params": [], **more}, who=who))


def batch_of(bridge: Bridge, who: str) -> tuple[str, list[str]]:
    answer = bridge.call("run_job_batch", [{"method": "m.f"}] * 2, {}, who=who)
    return answer["batch_id"], answer["child_job_ids"]


def kbparallel(bridge: Bridge, who: str) -> str:
    given = {"tasks": [TASK, TASK], "runner": "parallel"}
    return str(rpc(bridge, "KBParallel._run_batch_submit", given, who=who))


def children(bridge: Bridge, batch: str) -> list[dict[str, Any]]:
    return list(bridge.db.ee2_jobs.find({"batch_id": batch}).sort("index", 1))


def test_levels(bridge: Bridge) -> None:
    """0 for a user's, one more for what a live job submits by its token."""
    top = bridge.job()
    assert "level" not in bridge.record(top)
    named = bridge.record(run(bridge, "alice", parent_job_id=top))
    assert not named.keys() & {"level", "by_job"}, "a user gets no more places by naming a job"
    mine = run(bridge, top)
    record = bridge.record(mine)
    assert (record["level"], record["by_job"], record["user"]) == (1, top, "alice")
    assert record["job_input"]["parent_job_id"] == top and "wsid" not in record
    assert bridge.record(run(bridge, mine))["level"] == 2
    batch, ids = batch_of(bridge, top)
    assert {bridge.record(one)["level"] for one in ids} == {1}
    assert bridge.record(batch)["by_job"] == top and "level" not in bridge.record(batch)
    tasks = children(bridge, kbparallel(bridge, top))
    assert {(job["level"], job["by_job"]) for job in tasks} == {(1, top)}
    split = bridge.call("run_split_aggregate", {"method": "m.f"}, who=top)
    template = bridge.db.ee2_submissions.find_one({"_id": split})["children"]
    assert (template["level"], template["by_job"]) == (1, top)
    assert {job["level"] for job in children(bridge, split)} == {1}


async def test_levels_where_jobs_act_as_their_users(mongo_uri: str) -> None:
    """An app has its user's token there, and says by `parent_job_id` which job it is."""
    engine = await open_engine(mongo_uri)
    settings = engine.settings.model_copy(update={"jobs_act_as_user": True})
    engine, alice, bob = replace(engine, settings=settings), Caller("alice"), Caller("bob")

    async def level(parent: str, caller: Caller = alice) -> Any:
        job_id = await run_job(engine, caller, {"method": "m.f", "parent_job_id": parent})
        return (await engine.store.jobs.find_one({"_id": ObjectId(job_id)}) or {}).get("level")

    top = await run_job(engine, alice, {"method": "m.f"})
    assert await level(top) == 1
    # What is not a live job of the user's is no parent.
    ended = await run_job(engine, alice, {"method": "m.f"})
    await cancel_job(engine, alice, ended)
    batch = await run_job_batch(engine, alice, [{"method": "m.f"}], {})
    for other in (ended, batch.batch_id, str(ObjectId()), "x"):
        assert await level(other) is None, other
    assert await level(top, bob) is None
    await close_engine(engine, mongo_uri)


def test_not_for_ever_deeper(bridge: Bridge) -> None:
    job = bridge.job()
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(job)}, {"$set": {"level": 8}})
    before = bridge.counts()
    with pytest.raises(RpcError, match="it may not start further jobs$"):
        run(bridge, job)
    assert bridge.counts() == before


def test_it_may_see_and_cancel_what_it_has_submitted(bridge: Bridge) -> None:
    top = bridge.job()
    one, (batch, ids) = run(bridge, top), batch_of(bridge, top)
    for job in (one, batch, *ids):
        assert bridge.call("check_job", {"job_id": job}, who=top)["job_id"] == job
        assert bridge.call("get_job_status", {"job_id": job}, who=top)["status"] == "created"
    states = bridge.call("check_jobs", {"job_ids": [one, *ids]}, who=top)["job_states"]
    assert [state["job_id"] for state in states] == [one, *ids]
    found = bridge.call("check_job_batch", {"job_id": batch}, who=top)
    assert len(found["child_jobstates"]) == 2
    assert rpc(bridge, "m._check_job", one, who=top)["finished"] == 0
    tasks = kbparallel(bridge, top)
    assert rpc(bridge, "KBParallel._check_job", tasks, who=top)["finished"] == 0
    bridge.call("cancel_job", {"job_id": one}, who=top)
    bridge.call("cancel_job", {"job_id": batch}, who=top)
    assert {bridge.record(job)["status"] for job in (one, batch, *ids)} == {"terminated"}


def test_nothing_else(bridge: Bridge) -> None:
    top = bridge.job()
    mine, other, sibling = run(bridge, top), bridge.job(), bridge.job()
    named = run(bridge, "alice", parent_job_id=top)  # it has not submitted that one
    grandchild = run(bridge, mine)
    for job in (other, named, grandchild):
        with pytest.raises(RpcError, match="Cannot find job"):
            bridge.call("get_job_status", {"job_id": job}, who=top)
        with pytest.raises(RpcError, match="Cannot find job"):
            bridge.call("cancel_job", {"job_id": job}, who=top)
    with pytest.raises(RpcError, match="Cannot find job"):
        bridge.call("get_job_status", {"job_id": top}, who=mine)  # nor a child its parent
    # It may look, not do a runner's work for it, nor what owners do.
    refused: list[tuple[str, list[Any]]] = [
        ("execution_engine2.start_job", [{"job_id": mine}]),
        ("execution_engine2.finish_job", [{"job_id": mine, "job_output": {}}]),
        ("execution_engine2.add_job_logs", [{"job_id": mine}, [{"line": "x"}]]),
        ("ee2_runner.claim", [{"job_id": mine, "claim": "c" * 32, "starts": 1}]),
        ("ee2_runner.finish", [{"job_id": mine, "claim": "c" * 32, "output": {}}]),
        ("ee2_runner.save_object", [{"job_id": mine, "name": "o", "type": "A.B", "data": 1}]),
        ("NarrativeJobService.update_job", [{"job_id": mine, "is_started": 1}]),
        ("NarrativeJobService.add_job_logs", [mine, [{"line": "x", "is_error": 0}]]),
        ("NarrativeJobService.finish_job", [mine, {"result": []}]),
        ("execution_engine2.retry_job", [{"job_id": mine}]),
        ("execution_engine2.set_priority", [{"job_id": mine, "priority": -20}]),
        ("execution_engine2.share_job", [{"job_id": mine, "users": ["bob"]}]),
        ("UserAndJobState.delete_job", [mine]),
    ]
    before = bridge.record(mine)
    for method, params in refused:
        with pytest.raises(Refused):
            rpc(bridge, method, *params, who=top)
    assert bridge.record(mine) == before
    assert bridge.db.ee2_log_buckets.count_documents({"job": ObjectId(mine)}) == 0
    # Nobody can put the mark on a job by hand.
    forged = run(bridge, "alice", by_job=sibling, level=5, meta={"by_job": sibling})
    assert "by_job" not in bridge.record(forged) and "level" not in bridge.record(forged)


def test_into_its_own_workspace_or_none(bridge: Bridge) -> None:
    inside, outside = bridge.job(), bridge.job(wsid=None)
    assert bridge.record(run(bridge, inside, wsid=7))["wsid"] == 7
    for who, wsid in ((outside, 7), (inside, 8), (inside, 99)):
        with pytest.raises(RpcError, match="doesn't have permission to run jobs"):
            run(bridge, who, wsid=wsid)
        with pytest.raises(RpcError, match="doesn't have permission to run jobs"):
            bridge.call("run_job_batch", [{"method": "m.f"}], {"wsid": wsid}, who=who)
        with pytest.raises(Refused, match="cannot write to workspace"):
            asked = {"method": "m.f", "params": [], "wsid": wsid}
            rpc(bridge, "NarrativeJobService.run_job", asked, who=who)
    for who in (outside, inside):
        with pytest.raises(RpcError, match="inaccessible"):
            run(bridge, who, source_ws_objects=["8/1/1"])
    assert rpc(bridge, "NarrativeJobService.run_job", {"method": "m.f", "params": []}, who=inside)


def test_never_with_an_administrators_rights(bridge: Bridge) -> None:
    of_root = bridge.job(who="root", wsid=None)
    before = bridge.counts()
    with pytest.raises(RpcError, match="Access Denied"):
        run(bridge, of_root, as_admin=1, wsid=7)
    with pytest.raises(RpcError, match="[Aa]dmin"):
        run(bridge, of_root, job_requirements={"request_cpus": 2})
    with pytest.raises(RpcError, match="may not be used"):
        bridge.call("run_job_concierge", {"method": "m.f"}, {}, who=of_root)
    with pytest.raises(RpcError, match="Access Denied"):
        bridge.call("check_job", {"job_id": bridge.job(), "as_admin": 1}, who=of_root)
    with pytest.raises(Refused, match="KBParallel.run_batch"):
        rpc(bridge, "kb_BatchApp._run_batch_submit", {}, who=of_root)
    assert bridge.counts() == (before[0] + 1, before[1] + 1), "the one looked at, and no more"


def test_not_after_its_end(bridge: Bridge) -> None:
    top = bridge.job()
    mine = run(bridge, top)
    bridge.call("cancel_job", {"job_id": top})
    for ask in (
        lambda: run(bridge, top),
        lambda: kbparallel(bridge, top),
        lambda: bridge.call("check_jobs", {"job_ids": [mine]}, who=top),
    ):
        with pytest.raises((RpcError, Refused), match="no longer valid"):
            ask()
    for method in ("get_job_status", "cancel_job", "get_job_logs"):
        with pytest.raises(RpcError, match="Cannot find job"):
            bridge.call(method, {"job_id": mine}, who=top)
    assert bridge.record(mine)["status"] == "created"


def test_a_retry_stays_on_its_level(bridge: Bridge) -> None:
    top = bridge.job()
    mine = run(bridge, top)
    bridge.call("cancel_job", {"job_id": mine})
    retry = bridge.call("retry_job", {"job_id": mine})["retry_id"]
    assert (bridge.record(retry)["level"], bridge.record(retry)["by_job"]) == (1, top)
