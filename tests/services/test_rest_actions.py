"""Actions on many jobs at once: what they are done to, once, by whom."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from unittest.mock import patch

import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect

from ee2_jobs import action_runs, actions
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.limits.users import set_user_limit
from ee2_jobs.submit import run_job, run_job_batch
from tests.services.engines import close_engine, open_engine
from tests.services.rest_support import get, post, refused
from tests.services.rpc_support import Bridge

ALICE = Caller("alice")


def ended(bridge: Bridge, action: str, who: str = "alice", **params: Any) -> Any:
    """The action's state once it is done."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        state = get(bridge, f"/actions/{action}", who=who, **params)
        if state["state"] == "done":
            return state
        time.sleep(0.05)
    raise AssertionError("the action does not end")


def set_status(bridge: Bridge, ids: list[str], status: str, **more: Any) -> None:
    bridge.db.ee2_jobs.update_many(
        {"_id": {"$in": [ObjectId(one) for one in ids]}},
        {"$set": {"status": status, **more}},
    )


def statuses(bridge: Bridge, ids: list[str]) -> list[str]:
    return [bridge.record(one)["status"] for one in ids]


@pytest.fixture
def batch(bridge: Bridge) -> dict[str, Any]:
    """Six children: two failed, one completed, three live (one of them running for two hours)."""
    made: dict[str, Any] = bridge.call("run_job_batch", [{"method": "m.f"}] * 6, {"wsid": 7})
    ids = made["child_job_ids"]
    set_status(bridge, ids[:2], "error", error_code=1, finished=time.time())
    set_status(bridge, ids[2:3], "completed", finished=time.time())
    set_status(bridge, ids[3:4], "running", running=time.time() - 7200)
    return made


def test_cancel_what_is_live_of_a_batch(bridge: Bridge, batch: dict[str, Any]) -> None:
    ids = batch["child_job_ids"]
    body = {"action": "cancel", "filter": {"batch": batch["batch_id"]}, "reason": "wrong reads"}
    seen = post(bridge, "/actions/preview", body)
    assert seen["jobs"] == 3 and seen["hours_lost"] == 2.0 and seen["excluded"] == []
    assert {one["id"] for one in seen["sample"]} == set(ids[3:])
    action = post(bridge, "/actions", {**body, "expect": 3, "key": "k1"}, status=202)["id"]
    assert post(bridge, "/actions", {**body, "expect": 3, "key": "k1"}, status=202)["id"] == action
    assert refused(
        bridge, "/actions", method="POST", body={**body, "action": "retry", "key": "k1"}
    )[0] == 409
    state = ended(bridge, action)
    assert (state["total"], state["done"]) == (3, 3) and state["reason"] == "wrong reads"
    assert statuses(bridge, ids) == ["error"] * 2 + ["completed"] + ["terminated"] * 3
    record = bridge.record(ids[3])
    assert record["remove"] and record["terminated_code"] == 0
    assert record["ended_by"] == {
        "kind": "user", "user": "alice", "reason": "wrong reads", "action": action,
    }
    assert get(bridge, f"/jobs/{ids[3]}", who="rob")["reason"] == "wrong reads"
    assert bridge.record(batch["batch_id"])["status"] == "created"


def test_not_too_many_actions_at_a_time(
    bridge: Bridge, batch: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "MAX_OPEN", 1)
    other = bridge.db.ee2_actions.insert_one({"user": "alice", "open": True}).inserted_id
    body = {"action": "cancel", "filter": {"batch": batch["batch_id"]}}
    status, text = refused(bridge, "/actions", method="POST", body=body)
    assert status == 429 and "1 actions of alice are not done yet" in text
    bridge.db.ee2_actions.update_one({"_id": other}, {"$set": {"user": "rob"}})
    try:
        assert ended(bridge, post(bridge, "/actions", body, status=202)["id"])["done"] == 3
    finally:
        bridge.db.ee2_actions.delete_one({"_id": other})


def test_retry_what_failed_of_a_batch_is_one_submission(
    bridge: Bridge, batch: dict[str, Any]
) -> None:
    before = bridge.counts()
    body = {"action": "retry", "filter": {"batch": batch["batch_id"], "status": "error"}}
    state = ended(bridge, post(bridge, "/actions", body, status=202)["id"])
    assert state["done"] == 2 and state["failed"] == {"count": 0, "items": []}
    jobs, submissions = bridge.counts()
    assert (jobs - before[0], submissions - before[1]) == (2, 1)
    page = get(bridge, f"/batches/{batch['batch_id']}")
    assert "error" not in page["counts"] and page["children"] == 6
    assert post(bridge, "/actions/preview", body)["jobs"] == 0


def test_of_runs_the_newest_attempts(bridge: Bridge, batch: dict[str, Any]) -> None:
    """A list of each run has superseded attempts too: there is a newer one of these."""
    older, newer = batch["child_job_ids"][:2]
    set_status(bridge, [older], "error", superseded=True)
    words = {"runs": "true", "batch": batch["batch_id"], "status": "error"}
    listed = get(bridge, "/jobs?" + "&".join(f"{k}={v}" for k, v in words.items()))["items"]
    assert {row["id"] for row in listed} == {older, newer}
    seen = post(bridge, "/actions/preview", {"action": "retry", "filter": words})
    assert [one["id"] for one in seen["sample"]] == [newer]


def test_what_a_retry_is_expected_to_take(bridge: Bridge, batch: dict[str, Any]) -> None:
    ids, now = batch["child_job_ids"], time.time()
    body = {"action": "retry", "filter": {"batch": batch["batch_id"], "status": "error"}}
    app = f"known{ObjectId()}/f"
    fields = {"job_input.app_id": app, "job_input.requirements.cpu": 4}
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(ids[0])}, {"$set": fields})
    other = {"job_input.app_id": f"other{ObjectId()}/f"}
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(ids[1])}, {"$set": other})
    assert post(bridge, "/actions/preview", body)["expected_cpu_hours"] is None
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(ids[0])}, {"$set": {
        "job_input.app_id": f"{app}2"
    }})  # fmt: skip
    bridge.db.ee2_jobs.insert_many(
        {"user": "bob", "status": "completed", "running": now - 7200, "finished": now,
         "job_input": {"app_id": f"{app}2"}} for _ in range(5)
    )  # fmt: skip
    seen = post(bridge, "/actions/preview", body)
    assert (seen["expected_cpu_hours"], seen["expected_of"], seen["jobs"]) == (8.0, 1, 2)
    assert seen["hours_lost"] == 0


def test_what_no_retry_can_do(bridge: Bridge, batch: dict[str, Any]) -> None:
    ids = batch["child_job_ids"]
    split = {"$set": {"role": "split"}}
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(ids[0])}, split)
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(ids[1])}, {"$unset": {"job_input": 1}})
    body = {"action": "retry", "filter": {"batch": batch["batch_id"], "status": "error"}}
    seen = post(bridge, "/actions/preview", body)
    assert seen["jobs"] == 0
    assert {one["reason"].partition(":")[0]: one["ids"] for one in seen["excluded"]} == {
        "it is the split step of its batch": [ids[0]], "another service ran it": [ids[1]],
    }  # fmt: skip


def test_what_goes_with_a_batch(bridge: Bridge, batch: dict[str, Any]) -> None:
    seen = post(bridge, "/actions/preview", {"action": "cancel", "ids": [batch["batch_id"]]})
    assert (seen["jobs"], seen["children"], seen["hours_lost"]) == (1, 3, 2.0)
    assert seen["expected_cpu_hours"] is None and seen["expected_of"] == 0


def test_ids_and_what_is_left_out(bridge: Bridge, batch: dict[str, Any]) -> None:
    mine, done = bridge.job(), batch["child_job_ids"][2]
    others = bridge.job(who="bob", wsid=8)
    nowhere = str(ObjectId())
    body = {"action": "cancel", "ids": [mine, done, others, nowhere, mine.upper()]}
    seen = post(bridge, "/actions/preview", body)
    assert seen["jobs"] == 1
    by_reason = {one["reason"]: one["ids"] for one in seen["excluded"]}
    assert by_reason == {
        "Cannot find job with ids: ['‹id›']": [others, nowhere], "it is completed": [done],
    }
    state = ended(bridge, post(bridge, "/actions", body, status=202)["id"])
    assert (state["total"], state["done"], state["failed"]["count"]) == (4, 1, 3)
    reasons = {one["id"]: one["reason"] for one in state["failed"]["items"]}
    assert reasons[others].replace(others, "") == reasons[nowhere].replace(nowhere, "")
    assert statuses(bridge, [mine, others]) == ["terminated", "created"]


def test_rights(bridge: Bridge, batch: dict[str, Any]) -> None:
    batch_id, ids = batch["batch_id"], batch["child_job_ids"]
    body = {"action": "cancel", "filter": {"batch": batch_id}}
    assert refused(bridge, "/actions", who="bob", method="POST", body=body)[0] == 404
    assert refused(bridge, "/actions", who=None, method="POST", body=body)[0] == 401
    reader = ended(bridge, post(bridge, "/actions", body, who="rob", status=202)["id"], who="rob")
    assert reader["done"] == 0 and reader["failed"]["count"] == 3
    assert "does not have permission" in reader["failed"]["items"][0]["reason"]
    live = {"action": "cancel", "filter": {"status": "live"}}
    assert post(bridge, "/actions/preview", live, who="rob")["jobs"] == 0, "of others nothing"
    in_workspace = {"action": "cancel", "filter": {"ws": 7, "status": "running"}}
    assert post(bridge, "/actions/preview", in_workspace, who="bob")["jobs"] == 0
    assert refused(
        bridge, "/actions", who="root", method="POST", body=body, as_admin=1
    ) == (400, "reason: say why: with as_admin it is required, and the jobs' owner is shown it")
    why = {**body, "reason": "pool is closed"}
    for who in ("alice", "eva"):
        assert refused(bridge, "/actions", who=who, method="POST", body=why, as_admin=1)[0] == 403
    action = post(bridge, "/actions", why, who="root", as_admin=1, status=202)["id"]
    assert ended(bridge, action, who="root")["done"] == 3
    assert bridge.record(ids[3])["terminated_code"] == 1
    assert get(bridge, f"/jobs/{ids[3]}")["sentence"].endswith("administrator: pool is closed")
    entry = bridge.db.ee2_audit.find_one({"target": ids[3], "what": "rest.actions.cancel"})
    assert entry is not None
    assert entry["outcome"] == "done" and entry["reason"] == "pool is closed"
    hidden = refused(bridge, f"/actions/{action}")
    nowhere = str(ObjectId())
    assert hidden[1].replace(action, nowhere) == refused(bridge, f"/actions/{nowhere}")[1]
    assert hidden[0] == 404 and get(bridge, f"/actions/{action}", who="eva", as_admin=1)["done"]
    writer = {"action": "retry", "filter": {"batch": batch_id, "status": "terminated"}}
    done = ended(bridge, post(bridge, "/actions", writer, who="wendy", status=202)["id"], "wendy")
    assert done["done"] == 3


@pytest.mark.parametrize(
    "body",
    [
        {}, {"action": "delete", "ids": [str(ObjectId())]}, {"action": "cancel"},
        {"action": "cancel", "filter": {}}, {"action": "cancel", "filter": {"stauts": "queued"}},
        {"action": "cancel", "filter": {"status": "completed"}},
        {"action": "retry", "filter": {"status": "running"}},
        {"action": "cancel", "filter": {"status": "x"}}, {"action": "cancel", "ids": []},
        {"action": "cancel", "ids": ["x"]}, {"action": "cancel", "ids": [1]},
        {"action": "cancel", "filter": {"q": "x"}, "ids": [str(ObjectId())]},
        {"action": "cancel", "filter": {"status": "live"}, "surprise": 1},
        {"action": "cancel", "filter": {"status": "live"}, "key": ""},
        {"action": "cancel", "filter": {"status": "live"}, "expect": -1},
        {"action": "cancel", "filter": {"status": "live"}, "reason": "x" * 1001},
        {"action": "cancel", "filter": {"from": "yesterday"}},
    ],
)  # fmt: skip
def test_bad_input(bridge: Bridge, body: dict[str, Any]) -> None:
    assert refused(bridge, "/actions", method="POST", body=body)[0] == 400


def test_a_number_that_is_far_off(bridge: Bridge) -> None:
    ids = [bridge.job() for _ in range(4)]
    body = {"action": "cancel", "ids": ids, "expect": 1}
    status, text = refused(bridge, "/actions", method="POST", body=body)
    assert status == 409 and "4 jobs" in text and "1 were expected" in text
    assert set(statuses(bridge, ids)) == {"created"}


async def _many(engine: Engine, count: int) -> list[ObjectId]:
    made = await run_job_batch(engine, ALICE, [{"method": "m.f"}] * count, {"wsid": 7})
    return [ObjectId(one) for one in made.child_job_ids]


async def _accepted(engine: Engine, action: str, ids: list[ObjectId]) -> ObjectId:
    """An action that nobody has begun with."""
    request = actions.parse_request(ALICE, action=action, ids=[str(one) for one in ids])
    with patch.object(action_runs, "start"):
        return ObjectId(await actions.accept(engine, ALICE, request))


@pytest.mark.asyncio
async def test_what_was_interrupted_is_done_once(mongo_uri: str) -> None:
    engine = await open_engine(mongo_uri)
    jobs = engine.store.jobs
    try:
        with patch.object(actions, "_CHUNK", 5):
            ids = await _many(engine, 12)
            await jobs.update_many({"_id": {"$in": ids}}, {"$set": {"status": "error"}})
            action = await _accepted(engine, "retry", ids)
        settled = 0
        real = action_runs._settle

        async def dies(*args: Any) -> None:
            nonlocal settled
            settled += 1
            if settled == 2:
                raise AutoReconnect("the server was killed in the middle of the second chunk")
            await real(*args)

        with patch.object(action_runs, "_settle", dies):
            with pytest.raises(AutoReconnect):
                await action_runs.run(engine, action)
        assert await jobs.count_documents({"retry_parent": {"$exists": True}}) == 5
        # The attempts fail at once: nothing but the action's own notes tells that they were made.
        await jobs.update_many({"retry_parent": {"$exists": True}}, {"$set": {"status": "error"}})
        both = [action_runs.run(engine, action), action_runs.run(engine, action)]
        await asyncio.gather(*both)
        assert await jobs.count_documents({"retry_parent": {"$exists": True}}) == 12
        state = await actions.read(engine, ALICE, str(action))
        assert (state["state"], state["done"], state["skipped"]["count"]) == ("done", 12, 0)
        await action_runs.run(engine, action)
        assert await jobs.count_documents({"retry_parent": {"$exists": True}}) == 12
    finally:
        await close_engine(engine, mongo_uri)


@pytest.mark.asyncio
async def test_open_actions_are_taken_up(mongo_uri: str) -> None:
    engine = await open_engine(mongo_uri)
    jobs = engine.store.jobs
    try:
        ids = await _many(engine, 3)
        parent = ObjectId((await jobs.find_one({"_id": ids[0]}))["batch_id"])  # type: ignore[index]
        single = ObjectId(await run_job(engine, ALICE, {"method": "m.f", "wsid": 7}))
        action = await _accepted(engine, "cancel", [parent, single])
        # A first go that ended the jobs and did not live to say so.
        await jobs.update_one(
            {"_id": single},
            {"$set": {"status": "terminated", "ended_by": {"action": str(action)}}},
        )
        assert await action_runs.resume(engine) == 1
        await asyncio.gather(*action_runs._running.values())
        state = await actions.read(engine, ALICE, str(action))
        assert (state["state"], state["done"]) == ("done", 2)
        codes = [one["terminated_code"] async for one in jobs.find({"_id": {"$in": ids}})]
        assert codes == [3, 3, 3], "a batch is cancelled with its children"
        assert await action_runs.resume(engine) == 0
    finally:
        await close_engine(engine, mongo_uri)


@pytest.mark.asyncio
async def test_results_come_in_pages(mongo_uri: str) -> None:
    engine = await open_engine(mongo_uri)
    try:
        nowhere = [ObjectId() for _ in range(1500)]
        action = await _accepted(engine, "cancel", nowhere)
        await action_runs.run(engine, action)
        items, start = [], 0
        while start is not None:
            page = await actions.read(engine, ALICE, str(action), start=start)
            items += page["failed"]["items"]
            start = page["next"]
        assert [one["id"] for one in items] == [str(one) for one in nowhere]
        with pytest.raises(InvalidInput):
            actions.parse_request(ALICE, action="cancel", ids=[str(ObjectId())] * 100_001)
        with pytest.raises(WrongState):
            request = actions.parse_request(
                ALICE, action="cancel", ids=[str(ObjectId())], expect=100
            )
            await actions.accept(engine, ALICE, request)
    finally:
        await close_engine(engine, mongo_uri)


@pytest.mark.asyncio
async def test_a_retry_that_a_limit_refuses_says_so_and_ends(mongo_uri: str) -> None:
    engine = await open_engine(mongo_uri)
    try:
        ids = await _many(engine, 3)
        await engine.store.jobs.update_many({"_id": {"$in": ids}}, {"$set": {"status": "error"}})
        action = await _accepted(engine, "retry", ids)
        root = Caller("root", frozenset({"admin"}))
        await set_user_limit(engine, root, "alice", 0)
        await action_runs.run(engine, action)
        state = await actions.read(engine, ALICE, str(action))
        assert (state["state"], state["done"], state["failed"]["count"]) == ("done", 0, 3)
        reasons = {one["reason"] for one in state["failed"]["items"]}
        assert len(reasons) == 1 and "User alice may not start jobs" in reasons.pop()
        assert await engine.store.jobs.count_documents({"retry_parent": {"$exists": True}}) == 0
    finally:
        await close_engine(engine, mongo_uri)
