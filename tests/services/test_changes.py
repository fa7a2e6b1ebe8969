"""From changes of records to messages in the outbox, on a real change stream."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import ObjectId
from pymongo import UpdateOne

from ee2_jobs import changes, pool_records, runs
from ee2_jobs.cancel import cancel_job, terminate
from ee2_jobs.changes import ChangeReader, Moved
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.interventions import force_status
from ee2_jobs.lease import Lease
from ee2_jobs.model import Status, TerminatedCode, now_s
from ee2_jobs.pool_records import PoolEnd
from ee2_jobs.submit import run_job, run_job_batch
from tests.services.engines import close_engine, open_engine

ALICE = Caller("alice")
ROOT = Caller("root", frozenset({"admin"}))


@pytest.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    engine = await open_engine(mongo_uri)
    await changes.begin(engine.store)
    yield engine
    await close_engine(engine, mongo_uri)


async def read(engine: Engine, *, events: bool = True) -> ChangeReader:
    """Read until nothing comes any more; the reader, still open."""
    reader = ChangeReader(engine.store, events=events, wait_s=0.2)
    await reader.step()  # opens the stream
    while await reader.step():
        pass
    return reader


async def outbox(engine: Engine, kind: str = "event") -> list[dict[str, Any]]:
    """The bodies in the outbox, in order."""
    found = engine.store.outbox.find({"kind": kind}).sort("_id", 1)
    return [one["body"] async for one in found]


async def all_read(engine: Engine, kind: str = "event", *, events: bool = True) -> list[Any]:
    reader = await read(engine, events=events)
    await reader.aclose()
    return await outbox(engine, kind)


async def new_job(engine: Engine, **more: Any) -> str:
    return await run_job(engine, ALICE, {"method": "m.f", "app_id": "m/f", **more})


async def into_pool(engine: Engine, *job_ids: str) -> None:
    """As `stages.record_cluster` does it."""
    for n, job_id in enumerate(job_ids):
        now = now_s()
        await engine.store.jobs.update_one(
            {"_id": ObjectId(job_id)},
            {"$set": {"status": "queued", "queued": now, "updated": now, "scheduler_id": f"9.{n}"}},
        )


async def test_a_job_from_its_creation_to_its_end(engine: Engine) -> None:
    job_id = await new_job(engine)
    await into_pool(engine, job_id)
    await runs.start_job(engine, ALICE, job_id)
    error = {"message": "no disk", "code": 7, "name": "Err"}
    await runs.finish_job(
        engine, ALICE, job_id, {"error_message": "no disk", "error": error}, as_admin=False
    )
    status = {
        "job_id": job_id, "scheduler_id": "9.0", "topic": "ee2",
        "event_type": "job_status_update", "error": False,
    }  # fmt: skip
    assert await all_read(engine) == [
        {"user": "alice", "job_id": job_id, "status_change": "created"},
        {**status, "previous_status": "created", "new_status": "queued", "status_change": "queued"},
        {**status, "previous_status": "queued", "new_status": "running"},
        {**status, "previous_status": "running", "new_status": "error", "error_code": 1,
         "error_message": "no disk"},
    ]  # fmt: skip
    (stats,) = await outbox(engine, "stats")
    job = await engine.store.jobs.find_one({"_id": ObjectId(job_id)}) or {}
    assert stats == {
        "job_id": job_id, "user_id": "alice", "module": "m", "function": "f",
        "git_commit": "c0ffee", "app_id": "m/f", "created_s": int(job_id[:8], 16),
        "started_s": job["running"], "finished_s": job["finished"], "is_error": True,
    }  # fmt: skip


@pytest.mark.parametrize("ran", [True, False])
@pytest.mark.parametrize("end", ["completed", "error", "terminated"])
async def test_each_ending(engine: Engine, end: str, ran: bool) -> None:
    job_id = await new_job(engine)
    if ran:
        await runs.start_job(engine, ALICE, job_id)
    if end == "completed":
        await runs.finish_job(engine, ALICE, job_id, {"job_output": {}}, as_admin=False)
    elif end == "error":
        await pool_records.apply_pool_ends(
            engine.store, [PoolEnd(job_id, Status.ERROR, 2, "lost")]
        )
    else:
        await cancel_job(engine, ALICE, job_id)
    told = await all_read(engine)
    assert told[-1]["new_status"] == end
    assert told[-1]["previous_status"] == ("running" if ran else "created")
    # null on success, as in EE2's message
    ending = {"completed": (None, None), "error": (2, "lost")}.get(end)
    if ending:
        assert (told[-1]["error_code"], told[-1]["error_message"]) == ending
    else:
        assert told[-1]["terminated_code"] == 0 and told[-1]["status_change"] == "terminated"
    stats = await outbox(engine, "stats")
    assert [s["is_error"] for s in stats] == ([end != "completed"] if ran else [])


async def test_one_cancel_message_for_each_job_that_it_ended(engine: Engine) -> None:
    ids = await run_job_batch(engine, ALICE, [{"method": "m.f"}] * 3, {})
    done, *live = ids.child_job_ids
    await into_pool(engine, *ids.child_job_ids)
    await runs.finish_job(engine, ALICE, done, {"job_output": {}}, as_admin=False)
    before = len(await all_read(engine))
    await cancel_job(engine, ALICE, ids.batch_id)
    await cancel_job(engine, ALICE, ids.batch_id)
    told = (await all_read(engine))[before:]
    ended = [m["job_id"] for m in told if m.get("status_change") == "terminated"]
    assert sorted(ended) == sorted([ids.batch_id, *live])
    assert {m["terminated_code"] for m in told if m["job_id"] in live and "error" in m} == {3}
    removals = [m for m in told if m["event_type"] == "condor_request"]
    assert sorted(m["job_id"] for m in removals) == sorted(live)
    assert set(removals[0]) == {"condor_command", "job_id", "scheduler_id", "event_type"}


async def test_a_batch_parent_has_messages_and_no_statistics(engine: Engine) -> None:
    ids = await run_job_batch(engine, ALICE, [{"method": "m.f"}], {})
    await engine.store.jobs.update_one(
        {"_id": ObjectId(ids.batch_id)}, {"$set": {"running": now_s()}}
    )
    await force_status(engine, ROOT, ids.batch_id, "completed")
    told = await all_read(engine)
    assert [m.get("status_change") for m in told[:2]] == ["created", "created"]
    assert told[2]["job_id"] == ids.batch_id and told[2]["new_status"] == "completed"
    assert await outbox(engine, "stats") == []


async def test_what_is_no_change_of_state_is_not_told(engine: Engine) -> None:
    job_id = await new_job(engine)
    await engine.store.jobs.update_one(
        {"_id": ObjectId(job_id)}, {"$set": {"seen": 1.0, "updated": 2.0, "told": 3.0}}
    )
    past = {"_id": ObjectId(), "user": "alice", "status": "completed", "running": 1.0}
    await engine.store.jobs.insert_one(past)
    await engine.store.jobs.delete_one({"_id": past["_id"]})
    assert [m["status_change"] for m in await all_read(engine)] == ["created"]


async def test_without_a_publisher_only_statistics_are_made(engine: Engine) -> None:
    job_id = await new_job(engine)
    await runs.start_job(engine, ALICE, job_id)
    await runs.finish_job(engine, ALICE, job_id, {"job_output": {}}, as_admin=False)
    assert await all_read(engine, events=False) == []
    assert len(await outbox(engine, "stats")) == 1


async def test_a_job_that_ran_before_it_was_noted_as_queued(engine: Engine) -> None:
    job_id = await new_job(engine)
    await runs.start_job(engine, ALICE, job_id)
    await engine.store.jobs.update_one(
        {"_id": ObjectId(job_id)}, {"$set": {"queued": now_s() + 0.5, "scheduler_id": "9.0"}}
    )
    told = await all_read(engine)
    assert [m.get("previous_status") for m in told] == [None, "created"]


async def test_statistics_are_made_once_per_job(engine: Engine) -> None:
    job_id = await new_job(engine)
    await runs.start_job(engine, ALICE, job_id)
    await runs.finish_job(engine, ALICE, job_id, {"job_output": {}}, as_admin=False)
    await force_status(engine, ROOT, job_id, "running")
    await force_status(engine, ROOT, job_id, "completed")
    assert len(await all_read(engine, "stats")) == 1
    await engine.store.outbox.delete_many({})
    await engine.store.jobs.update_one({"_id": ObjectId(job_id)}, {"$set": {"told": now_s()}})
    await force_status(engine, ROOT, job_id, "error")
    assert await all_read(engine, "stats") == []
    assert [m["new_status"] for m in await outbox(engine)] == ["error"]


async def test_a_crash_between_the_outbox_and_the_place(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The messages are in the outbox, the place was not moved: the next reader adds none twice."""
    reader = await read(engine)
    ids = await run_job_batch(engine, ALICE, [{"method": "m.f"}] * 20, {})
    await terminate(engine.store, {"batch_id": ids.batch_id}, TerminatedCode.BY_USER)

    async def killed(token: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reader, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        await reader.step()
    first = await outbox(engine)
    assert first
    told = await all_read(engine)
    assert told[: len(first)] == first
    assert len(told) == 21 + 20
    assert len({(m["job_id"], m["status_change"]) for m in told}) == 41


async def test_a_place_that_is_lost(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """The server cannot find it (a database that was restored, say): present states are told."""
    async with await engine.store.workspaces.watch() as elsewhere:
        await engine.store.workspaces.insert_one({"_id": 99})
        token = (await elsewhere.next())["_id"]
    reader = await read(engine)
    job_id, other = await new_job(engine), await new_job(engine)
    while await reader.step():
        pass
    await runs.start_job(engine, ALICE, job_id)
    await runs.finish_job(engine, ALICE, job_id, {"job_output": {}}, as_admin=False)
    await cancel_job(engine, ALICE, other)
    await engine.store.outbox.delete_many({})
    long_ago = now_s() - 3600
    await engine.store.jobs.insert_one(
        {"_id": ObjectId(), "user": "a", "status": "error", "updated": long_ago}
    )
    await reader.aclose()
    await engine.store.marks.update_one({"_id": changes.MARK}, {"$set": {"token": token}})
    told = await all_read(engine)
    assert "can no longer be read" in caplog.text
    assert sorted(m["new_status"] for m in told) == ["completed", "terminated"]
    assert len(await outbox(engine, "stats")) == 1
    await new_job(engine)
    assert (await all_read(engine))[-1]["status_change"] == "created"


async def test_a_second_reader(engine: Engine) -> None:
    """Two at once put nothing into the outbox twice; the one that comes second stops."""
    one, two = await read(engine), await read(engine)
    await new_job(engine)
    assert await one.step() == 1
    with pytest.raises(Moved):
        await two.step()
    assert await two.step() == 0  # it has taken the place up where it is now
    assert len(await outbox(engine)) == 1
    await one.aclose()
    await two.aclose()


async def test_a_lease_has_one_holder(engine: Engine) -> None:
    one, two = (Lease(engine.store, "x", 0.4) for _ in range(2))
    assert await one.take() and await one.take()
    assert not await two.take()
    await asyncio.sleep(0.5)
    assert await two.take() and not await one.take()
    await one.release()
    assert not await one.take()
    await two.release()
    assert await one.take()


async def test_two_thousand_at_once(engine: Engine) -> None:
    oids = [ObjectId() for _ in range(2000)]
    job = {"user": "alice", "status": "created", "updated": now_s(), "batch_job": False,
           "job_input": {"method": "m.f", "service_ver": "c0ffee"}}  # fmt: skip
    await engine.store.jobs.insert_many([{**job, "_id": oid, "n": n} for n, oid in enumerate(oids)])
    jobs, now = engine.store.jobs, now_s()
    scheduler_id = {"$concat": ["5.", {"$toString": "$n"}]}
    queued = {"status": "queued", "queued": now, "updated": now, "scheduler_id": scheduler_id}
    await jobs.update_many({}, [{"$set": queued}])
    await jobs.bulk_write(
        [UpdateOne({"_id": oid}, {"$set": {"status": "running", "running": now + 1}})
         for oid in oids], ordered=False
    )
    await terminate(engine.store, {}, TerminatedCode.BY_USER)
    told = await all_read(engine)
    assert len(told) == 5 * 2000
    of_one = [m for m in told if m["job_id"] == str(oids[7])]
    assert [m.get("new_status") for m in of_one] == [
        None, "queued", "running", "terminated", None
    ]
    assert of_one[1]["scheduler_id"] == "5.7"
    assert len(await outbox(engine, "stats")) == 2000
