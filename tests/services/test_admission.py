"""Limits per user, a paused engine and drained groups, on a real pool."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from ee2_jobs import controls
from ee2_jobs.cancel import cancel_job
from ee2_jobs.errors import WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.interventions import end_held_job
from ee2_operators.condor.events import Kind
from ee2_operators.condor.pool import Pool
from ee2_operators.condor.submit import HELD_BACK_SUBCODE, log_path
from ee2_operators.parts import Parts
from ee2_operators.stage import StageTry, run_stage
from tests.services.field_support import HUGE, ROOT, Field, at_once, field, log

__all__ = ["field"]  # a fixture
BOB = Caller("bob")
AT_ONCE_S = 20.0  # the rules are read twice a second; the rest is for a busy machine


async def until(what: Callable[[], object], timeout_s: float) -> float:
    """Wait for it; after how long it was so, s. what: gives an awaitable that is true then."""
    began = time.monotonic()
    while not await what():  # type: ignore[misc]
        assert time.monotonic() - began < timeout_s, "it did not come to that"
        await asyncio.sleep(0.03)
    return time.monotonic() - began


async def most_running(pool: Pool, field: Field, this: StageTry) -> int:
    """The most jobs of a stage that ran at a time, by HTCondor's own log of it."""
    events, _ = await pool.events({log_path(str(field.folder), this.key): None})
    running: set[str] = set()
    most = 0
    for event in events:
        if event.kind is Kind.STARTED:
            running.add(event.scheduler_id)
        elif event.kind in (Kind.ENDED, Kind.EVICTED, Kind.REMOVED):
            running.discard(event.scheduler_id)
        most = max(most, len(running))
    return most


async def test_never_more_than_the_limits_and_the_next_one_soon(
    field: Field, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: dict[str, list[float]] = {}  # by cluster
    release = pool.release

    async def noted(jobs: Sequence[str], reason: str) -> int:
        done = await release(jobs, reason)
        for job in jobs:
            released.setdefault(job.partition(".")[0], []).append(time.time())
        return done

    monkeypatch.setattr(pool, "release", noted)
    await field.limit("alice", 3)
    await field.limit("*", 2)
    field.runner(0.5)
    parts = field.parts(pool)
    mine, other = await field.batch(12), await field.batch(4, BOB)
    async with field.referee():
        both = asyncio.gather(*(run_stage(parts, this, log) for this in (mine, other)))
        assert [end.ok for end in await asyncio.wait_for(both, 120)] == [True, True]
    waited: list[float] = []
    for this, limit in ((mine, 3), (other, 2)):
        assert await most_running(pool, field, this) <= limit
        jobs = await field.jobs(this.submission_id)
        times = field.times(jobs)
        assert at_once(times) <= limit and len(times) == len(jobs)
        of_stage = sorted(released[jobs[0]["scheduler_id"].partition(".")[0]])
        assert len(of_stage) == len(jobs), "all were submitted on hold, and released once"
        ends = sorted(end for _, end in times)
        assert of_stage[limit - 1] < ends[0], "so many are released at first"
        waited += [r - e for r, e in zip(of_stage[limit:], ends, strict=False)]
    print("from a free place to the next release, s:", [round(w, 2) for w in waited])
    # How soon on a machine that does nothing else, bench/ measures.
    assert min(waited) > 0 and statistics.median(waited) < 5.0


class Queue:
    """What is in the queue of stages whose jobs never start: their group fits no slot."""

    def __init__(self, field: Field, pool: Pool, parts: Parts, *stages: StageTry) -> None:
        self.field, self.pool, self.parts = field, pool, parts
        self.keys = [this.key for this in stages]

    async def idle(self) -> int:
        """How many may be matched; the others are on hold."""
        ads = await self.pool.live(self.keys)
        states = Counter(ad["JobStatus"] for ad in ads)
        assert set(states) <= {1, 5}
        codes = {ad.get("HoldReasonCode") for ad in ads if ad["JobStatus"] == 5}
        subcodes = {ad["HoldReasonSubCode"] for ad in ads if ad.get("HoldReasonCode") == 1}
        assert codes <= {1, 15} and subcodes <= {HELD_BACK_SUBCODE}
        return states[1]

    async def becomes(self, idle: int) -> None:
        async def so() -> bool:
            return await self.idle() == idle

        await until(so, AT_ONCE_S)


@asynccontextmanager
async def waiting_jobs(field: Field, pool: Pool, count: int) -> AsyncIterator[Queue]:
    """A batch of root's in the group that fits no slot, followed by a watcher."""
    parts = field.parts(pool)
    this = await field.batch(count, ROOT, HUGE)
    run = asyncio.create_task(run_stage(parts, this, log))
    queue = Queue(field, pool, parts, this)

    async def there() -> bool:
        jobs = await field.jobs(this.submission_id)
        return all(job["status"] == "queued" for job in jobs)

    await until(there, 30)
    try:
        yield queue
        jobs = await field.jobs(this.submission_id)
        assert {job["status"] for job in jobs} == {"queued"}, "nobody took a hold for an end"
        (followed,) = parts.watcher._followed.values()
        assert followed.notes == []
    finally:
        await cancel_job(field.engine, ROOT, this.submission_id)
        parts.watcher.poke()
        await asyncio.wait_for(run, 60)


async def test_a_changed_limit_is_in_force_at_once(field: Field, pool: Pool) -> None:
    async with waiting_jobs(field, pool, 6) as queue:
        assert await queue.idle() == 6, "without a rule nothing waits"
        await field.limit("root", 4)
        await queue.becomes(4)
        await field.limit("root", 1)
        await queue.becomes(1)
        held = (await pool.waiting())[0]
        with pytest.raises(WrongState, match="turn: of root's jobs, at most 1 run at a time"):
            await end_held_job(field.engine, ROOT, f"{held['ClusterId']}.{held['ProcId']}")
        await field.limit("root", 5)
        await queue.becomes(5)
        await field.limit("root", 0)
        await queue.becomes(0)
        expires = time.time() + 2.0
        await field.limit("root", 0, expires=expires)
        await field.limit("*", 3)
        await asyncio.sleep(0.7)
        assert await queue.idle() == 0 or time.time() > expires
        await queue.becomes(3)  # expired: the default counts
        await field.limit("root", None)
        await field.limit("*", None)
        await queue.becomes(6)


async def test_paused_and_drained(field: Field, pool: Pool) -> None:
    engine = field.engine
    await controls.drain(engine, ROOT, HUGE, "new disks")
    async with waiting_jobs(field, pool, 3) as queue:
        assert await queue.idle() == 0
        other = await field.job()
        async with field.referee():  # another group's jobs run
            assert (await asyncio.wait_for(run_stage(queue.parts, other, log), 60)).ok
        await controls.undrain(engine, ROOT, HUGE)
        await queue.becomes(3)
        await controls.pause(engine, ROOT)
        await queue.becomes(0)
        again = await field.job()
        async with field.referee():
            run = asyncio.create_task(run_stage(queue.parts, again, log))
            await asyncio.sleep(1.0)
            (record,) = await field.jobs(again.submission_id)
            assert record["status"] == "queued" and not run.done()
            await controls.drain(engine, ROOT, HUGE)
            await controls.resume(engine, ROOT)
            assert (await asyncio.wait_for(run, 60)).ok
        assert await queue.idle() == 0
        await controls.undrain(engine, ROOT, HUGE)
        await queue.becomes(3)


async def test_what_somebody_put_on_hold_by_hand_stays_so(field: Field, pool: Pool) -> None:
    async with waiting_jobs(field, pool, 3) as queue:
        first, *_ = [f"{ad['ClusterId']}.{ad['ProcId']}" for ad in await pool.live(queue.keys)]
        await pool._ask("act", {"action": "Hold", "jobs": [first], "reason": "a look at it"})
        await field.limit("root", 2)  # its place stays its own
        one = {"constraint": "JobStatus == 1 && EE2_USER == \"root\"", "projection": ["ProcId"]}

        async def one_is_idle() -> bool:
            return len(await pool._ask("query", one)) == 1

        await until(one_is_idle, AT_ONCE_S)
        await field.limit("root", None)
        await asyncio.sleep(1.0)
        held = {ad["ProcId"]: ad for ad in await pool.live(queue.keys) if ad["JobStatus"] == 5}
        assert [ad["HoldReasonSubCode"] for ad in held.values()] == [0]


async def test_what_runs_is_never_touched(field: Field, pool: Pool) -> None:
    field.gated_runner()
    await field.limit("alice", 3)
    this, parts = await field.batch(4), field.parts(pool)

    async def running() -> int:
        return sum(ad["JobStatus"] == 2 for ad in await pool.live([this.key]))

    async def three() -> bool:
        return await running() == 3

    async with field.referee():
        run = asyncio.create_task(run_stage(parts, this, log))
        await until(three, 60)
        await field.limit("alice", 1)
        await asyncio.sleep(1.2)
        assert await running() == 3
        field.open_gate()
        assert (await asyncio.wait_for(run, 60)).ok
    times = field.times(await field.jobs(this.submission_id))
    assert len(times) == 4 and at_once(times) <= 3
    assert times[3][0] > max(end for _, end in times[:3]), "not before one of one place is free"


async def test_a_killed_triggerer_loses_no_place_and_no_job(
    field: Field, pool: Pool, mongo_uri: str
) -> None:
    await field.limit("alice", 2)
    this = await field.batch(8)
    async with field.referee():
        process = field.triggerer(mongo_uri, this)
        ended = field.folder / "times"
        until_s = time.monotonic() + 90
        while len(list(ended.glob("*.end"))) < 3:
            assert process.poll() is None and time.monotonic() < until_s
            await asyncio.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert (await asyncio.wait_for(run_stage(field.parts(pool), this, log), 90)).ok
    jobs = await field.jobs(this.submission_id)
    times = field.times(jobs)
    assert len(jobs) == len(times) == 8, "every job ran once"
    assert at_once(times) <= 2 and await most_running(pool, field, this) <= 2


async def test_nothing_is_asked_of_the_pool_without_a_rule(
    field: Field, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    admitted = pool.admitted

    async def noted(scope: str) -> list[dict[str, object]]:
        asked.append(scope)
        return await admitted(scope)

    monkeypatch.setattr(pool, "admitted", noted)
    field.runner(0.7)
    parts = field.parts(pool)
    async with field.referee():
        for _ in range(2):
            assert (await run_stage(parts, await field.batch(1), log)).ok
    assert len(asked) == 1, "a process that starts looks once; jobs of another may wait"
