"""A window on a stage, and attempts within a stage, on a real pool: never more jobs at a time than
asked for, whoever watches or is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs.cancel import cancel_job
from ee2_jobs.errors import WrongState
from ee2_jobs.interventions import end_held_job
from ee2_jobs.model import TerminatedCode
from ee2_jobs.store import Store
from ee2_jobs.submissions import mark_ended
from ee2_operators.condor.pool import Pool, PoolAddress
from ee2_operators.stage import run_stage
from tests.services.field_support import ALICE, ROOT, Field, at_once, field, log

__all__ = ["field"]  # a fixture


async def test_never_more_than_the_window_and_the_next_one_soon(
    field: Field, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[float] = []
    which: list[str] = []
    release = pool.release

    async def noted(jobs: Sequence[str], reason: str) -> int:
        done = await release(jobs, reason)
        released.extend([time.time()] * done)
        which.extend(jobs)
        return done

    monkeypatch.setattr(pool, "release", noted)
    this = await field.submit(10, places=2)
    async with field.referee():
        end = await asyncio.wait_for(run_stage(field.parts(pool), this, log), 120)
    assert end.ok and "10 of 10" in end.message
    jobs = await field.jobs(this.submission_id)
    times = field.times(jobs)
    assert len(times) == 10 and at_once(times) <= 2
    ends = sorted(end for _, end in times)
    waited = sorted(r - e for r, e in zip(sorted(released), ends, strict=False))
    print("from an end to the release of the next, s:", [round(w, 2) for w in waited])
    # None before its place was free; how soon on a machine that does nothing else, bench/ measures.
    assert len(waited) == 8 and waited[0] > 0 and waited[4] < 5.0
    # When a released job starts is the pool's business: at once on the slot that became free, or
    # after a negotiation.
    index = {job["scheduler_id"]: job["index"] for job in jobs}
    assert [index[job] for job in which] == [7, 6, 5, 4, 3, 2, 1, 0], "the last task goes first"
    assert len({j["scheduler_id"].partition(".")[0] for j in jobs}) == 1, "one cluster"


async def test_jobs_that_wait_are_queued_and_nobody_takes_them_for_failed(
    field: Field, pool: Pool
) -> None:
    field.runner(30)
    this = await field.submit(4, places=1)
    run = asyncio.create_task(run_stage(field.parts(pool), this, log))
    while len(await pool.admitted("True")) != 1:
        await asyncio.sleep(0.1)
    while (jobs := await field.jobs(this.submission_id))[0]["status"] == "created":
        await asyncio.sleep(0.1)
    assert [job["status"] for job in jobs] == ["queued"] * 4
    ads = await pool.live([this.key])
    assert sorted(ad["JobStatus"] == 5 for ad in ads) == [False, True, True, True]
    assert {ad.get("HoldReasonCode") for ad in ads if ad["JobStatus"] == 5} == {15}
    with pytest.raises(WrongState, match="waits for its turn"):
        await end_held_job(field.engine, ROOT, jobs[0]["scheduler_id"])
    await cancel_job(field.engine, ALICE, this.submission_id)
    end = await asyncio.wait_for(run, 60)
    assert "4 terminated" in end.message
    assert {j["terminated_code"] for j in await field.jobs(this.submission_id)} == {3}
    until = time.monotonic() + 60
    while await pool.live([this.key]):
        assert time.monotonic() < until, "cancelled jobs that waited are still in the pool"
        await asyncio.sleep(0.2)


async def test_what_fails_is_tried_again_at_once_in_the_same_window(
    field: Field, pool: Pool
) -> None:
    this = await field.submit(4, places=2, attempts=3)

    def fails(job: dict[str, Any]) -> bool:
        return job["index"] == 1 or (job["index"] == 3 and "attempt" not in job)

    async with field.referee(fails):
        end = await asyncio.wait_for(run_stage(field.parts(pool), this, log), 120)
    assert "3 of 4 jobs completed (1 error)" in end.message
    jobs = await field.jobs(this.submission_id)
    assert [(j["index"], j.get("attempt", 1), j["status"]) for j in jobs] == [
        (0, 1, "completed"),
        (1, 1, "error"), (1, 2, "error"), (1, 3, "error"),
        (2, 1, "completed"),
        (3, 1, "error"), (3, 2, "completed"),
    ]  # fmt: skip
    assert at_once(field.times(jobs)) <= 2
    roots = {str(j["_id"]): j for j in jobs if "retry_parent" not in j}
    for job in jobs:
        if "retry_parent" in job:
            assert str(job["_id"]) in roots[job["retry_parent"]]["retry_ids"]
    parent = await field.engine.store.jobs.find_one({"_id": ObjectId(this.submission_id)})
    assert parent["child_jobs"] and set(parent["child_jobs"]) == {str(j["_id"]) for j in jobs}


async def test_a_killed_triggerer_loses_nothing_and_adds_nothing(
    field: Field, pool: Pool, mongo_uri: str
) -> None:
    this = await field.submit(12, places=2, attempts=2)
    folder = field.folder / "times"

    def fails(job: dict[str, Any]) -> bool:
        return job["index"] == 10 and "attempt" not in job

    async with field.referee(fails):
        for ended in (1, 5):
            process = field.triggerer(mongo_uri, this)
            until = time.monotonic() + 90
            while len(list(folder.glob("*.end"))) < ended:
                assert process.poll() is None and time.monotonic() < until
                await asyncio.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        end = await asyncio.wait_for(run_stage(field.parts(pool), this, log), 120)
    assert end.ok and "12 of 12" in end.message
    jobs = await field.jobs(this.submission_id)
    times = field.times(jobs)
    assert len(jobs) == 13 and len(times) == 13, "every attempt ran once"
    assert at_once(times) <= 2


async def test_two_watchers_release_no_more_than_one(
    field: Field, pool: Pool, address: PoolAddress
) -> None:
    this = await field.submit(8, places=2)
    async with field.referee(), Pool(address) as another:
        runs = [
            asyncio.create_task(run_stage(field.parts(each), this, log)) for each in (pool, another)
        ]
        ends = await asyncio.wait_for(asyncio.gather(*runs), 120)
    assert all("8 of 8" in end.message for end in ends)
    times = field.times(await field.jobs(this.submission_id))
    assert len(times) == 8 and at_once(times) <= 2


async def test_parents_hold_no_slot(field: Field, pool: Pool) -> None:
    """More KBParallel runs at once than the pool has slots: as apps that wait on a node for their
    tasks, they would fill it and wait for ever."""
    field.runner(0.1)
    slots = (await pool.resources()).cpus
    batches = [await field.submit(3, places=2) for _ in range(slots + 3)]
    parts = field.parts(pool)
    async with field.referee():
        ends = await asyncio.wait_for(
            asyncio.gather(*(run_stage(parts, this, log) for this in batches)), 180
        )
    assert all("3 of 3" in end.message for end in ends)
    store: Store = field.engine.store
    for this in batches:
        assert at_once(field.times(await field.jobs(this.submission_id))) <= 2
        await mark_ended(store, this.submission_id, TerminatedCode.BY_BATCH_ABORT, "over")
        parent = await store.jobs.find_one({"_id": ObjectId(this.submission_id)})
        assert parent["status"] == "completed" and "scheduler_id" not in parent
