"""A window on a stage, and attempts within a stage, on a real pool: never more jobs at a time than
asked for, whoever watches or is killed.

The runner is a stand-in that notes when it began and ended; a referee in this process does to the
records what the engine's own runner would have the server do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bson import ObjectId

from ee2_jobs.cancel import cancel_job
from ee2_jobs.engine import Engine
from ee2_jobs.errors import WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.interventions import end_held_job
from ee2_jobs.legacy import kbparallel
from ee2_jobs.model import LIVE, StageName, TerminatedCode
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from ee2_jobs.submissions import mark_ended
from ee2_operators.condor.pool import Pool, PoolAddress
from ee2_operators.parts import Parts
from ee2_operators.stage import StageTry, run_stage
from ee2_operators.teller import Teller
from ee2_operators.watcher import Watcher
from tests.services.engines import open_engine

ALICE, ROOT = Caller("alice"), Caller("root", frozenset({"admin"}))
log = logging.getLogger(__name__)
RUNNER = """#!/bin/sh
cd {folder}/times || exit 9
date +%s.%N > $1.begin
sleep {seconds}
date +%s.%N > $1.end.part
mv $1.end.part $1.end
"""


@dataclass
class Field:
    """A folder in which the jobs of a test note their times, and what the engine needs to run
    them."""

    engine: Engine
    address: PoolAddress
    folder: Path
    settings: Settings

    def runner(self, seconds: float) -> None:
        """What the jobs do."""
        program = self.folder / "runner"
        program.write_text(RUNNER.format(folder=self.folder, seconds=seconds))
        program.chmod(0o755)

    def parts(self, pool: Pool) -> Parts:
        store = self.engine.store
        return Parts(
            settings=self.settings,
            groups=self.engine.groups,
            store=store,
            pool=pool,
            watcher=Watcher(store, pool),
            teller=Teller(store, self.settings),
        )

    async def submit(self, count: int, places: int, attempts: int = 1) -> StageTry:
        task = {"module_name": "m", "function_name": "f", "version": "dev"}
        batch = await kbparallel.submit_batch(
            self.engine,
            ALICE,
            {
                "tasks": [{**task, "parameters": {"n": n}} for n in range(count)],
                "runner": "parallel",
                "concurrent_local_tasks": 0,
                "concurrent_njsw_tasks": places,
                "max_retries": attempts,
            },
        )
        return StageTry(batch, StageName.SUBMIT, 1)

    async def jobs(self, batch: str) -> list[dict[str, Any]]:
        found = self.engine.store.jobs.find({"submission": batch, "batch_job": False})
        return await found.sort([("index", 1), ("attempt", 1)]).to_list()

    def times(self, jobs: list[dict[str, Any]]) -> list[tuple[float, float]]:
        """When the jobs began and ended on their nodes (s), in the order they began in."""
        folder = self.folder / "times"
        return sorted(
            (float((folder / f"{j['_id']}.begin").read_text()),
             float((folder / f"{j['_id']}.end").read_text()))
            for j in jobs
            if (folder / f"{j['_id']}.begin").exists()
        )  # fmt: skip

    @asynccontextmanager
    async def referee(self, fails: Any = lambda job: False) -> AsyncIterator[None]:
        """End the records of jobs that have ended, with an error where `fails(job)`."""

        async def watch() -> None:
            folder, seen = self.folder / "times", set()
            while True:
                for path in folder.glob("*.end"):
                    if path.stem in seen:
                        continue
                    seen.add(path.stem)
                    query = {"_id": ObjectId(path.stem), "status": {"$in": list(LIVE)}}
                    job = await self.engine.store.jobs.find_one({"_id": ObjectId(path.stem)})
                    now = time.time()
                    fields: dict[str, Any] = {"status": "completed", "finished": now}
                    if fails(job):
                        fields |= {"status": "error", "errormsg": "boom", "error_code": 1}
                    await self.engine.store.jobs.update_one(query, {"$set": fields})
                await asyncio.sleep(0.05)

        task = asyncio.create_task(watch())
        try:
            yield
        finally:
            task.cancel()


def at_once(times: list[tuple[float, float]]) -> int:
    """How many ran at the same time at most."""
    changes = sorted([(begin, 1) for begin, _ in times] + [(end, -1) for _, end in times])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


@pytest_asyncio.fixture
async def field(
    mongo_uri: str, address: PoolAddress, stage_folder: Path
) -> AsyncIterator[Field]:
    engine = await open_engine(mongo_uri)
    (stage_folder / "times").mkdir()
    (stage_folder / "times").chmod(0o2777)
    settings = engine.settings.model_copy(
        update={"stage_dir": str(stage_folder), "runner": str(stage_folder / "runner")}
    )
    field = Field(replace(engine, settings=settings), address, stage_folder, settings)
    field.runner(0.3)
    yield field
    async with Pool(address) as pool:  # nothing of a test that failed is left behind
        for batch in await engine.store.submissions.distinct("_id"):
            await pool.remove(StageTry(str(batch), StageName.SUBMIT, 1).key, "test over")
    await engine.store.client.drop_database(engine.store.db.name)
    await engine.store.close()


async def test_never_more_than_the_window_and_the_next_one_soon(
    field: Field, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[float] = []
    release = pool.release

    async def noted(jobs: Sequence[str], reason: str) -> int:
        done = await release(jobs, reason)
        released.extend([time.time()] * done)
        return done

    monkeypatch.setattr(pool, "release", noted)
    this = await field.submit(10, places=2)
    async with field.referee():
        end = await asyncio.wait_for(run_stage(field.parts(pool), this, log), 60)
    assert end.ok and "10 of 10" in end.message
    jobs = await field.jobs(this.submission_id)
    times = field.times(jobs)
    assert len(times) == 10 and at_once(times) == 2
    # When a released job starts is the pool's business: at once on the slot that became free, or
    # after a negotiation.
    ends = sorted(end for _, end in times)
    waited = sorted(r - e for r, e in zip(sorted(released), ends, strict=False))
    print("from an end to the release of the next, s:", [round(w, 2) for w in waited])
    assert len(waited) == 8 and waited[0] > 0 and waited[4] < 1.0 and waited[-1] < 3.0
    begun = sorted(jobs, key=lambda j: (field.folder / f"times/{j['_id']}.begin").read_text())
    order = [job["index"] for job in begun]
    assert set(order[:2]) == {9, 8} and order[-1] in (0, 1), "the last task starts first"
    assert len({j["scheduler_id"].partition(".")[0] for j in jobs}) == 1, "one cluster"


async def test_jobs_that_wait_are_queued_and_nobody_takes_them_for_failed(
    field: Field, pool: Pool
) -> None:
    field.runner(30)
    this = await field.submit(4, places=1)
    run = asyncio.create_task(run_stage(field.parts(pool), this, log))
    while await pool.active() != {f"{this.submission_id}.submit": 1}:
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
    end = await asyncio.wait_for(run, 20)
    assert "4 terminated" in end.message
    assert {j["terminated_code"] for j in await field.jobs(this.submission_id)} == {3}
    until = time.monotonic() + 15
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
        end = await asyncio.wait_for(run_stage(field.parts(pool), this, log), 60)
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


# A process of its own that runs a stage, as a triggerer does.
_TRIGGERER = """
import asyncio, json, logging, sys
from ee2_jobs.model import StageName
from ee2_jobs.settings import ClientGroups, Settings
from ee2_jobs.store import Store
from ee2_operators.condor.pool import Pool, PoolAddress
from ee2_operators.parts import Parts
from ee2_operators.stage import StageTry, run_stage
from ee2_operators.teller import Teller
from ee2_operators.watcher import Watcher

async def main(uri, database, address, settings, groups, batch):
    store = Store(uri, database)
    async with Pool(PoolAddress(**address)) as pool:
        own = Settings(**settings)
        parts = Parts(settings=own, groups=ClientGroups(**groups), store=store, pool=pool,
                      watcher=Watcher(store, pool), teller=Teller(store, own))
        await run_stage(parts, StageTry(batch, StageName.SUBMIT, 1), logging.getLogger())

asyncio.run(main(**json.loads(sys.argv[1])))
"""


async def test_a_killed_triggerer_loses_nothing_and_adds_nothing(
    field: Field, pool: Pool, mongo_uri: str
) -> None:
    this = await field.submit(12, places=2, attempts=2)
    given = {
        "uri": mongo_uri,
        "database": field.engine.store.db.name,
        "address": asdict(field.address),
        "settings": field.settings.model_dump(),
        "groups": field.engine.groups.model_dump(),
        "batch": this.submission_id,
    }
    folder = field.folder / "times"

    def fails(job: dict[str, Any]) -> bool:
        return job["index"] == 10 and "attempt" not in job

    async with field.referee(fails):
        for ended in (1, 5):
            process = subprocess.Popen([sys.executable, "-c", _TRIGGERER, json.dumps(given)])
            until = time.monotonic() + 40
            while len(list(folder.glob("*.end"))) < ended:
                assert process.poll() is None and time.monotonic() < until
                await asyncio.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        end = await asyncio.wait_for(run_stage(field.parts(pool), this, log), 60)
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
        ends = await asyncio.wait_for(asyncio.gather(*runs), 60)
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
            asyncio.gather(*(run_stage(parts, this, log) for this in batches)), 60
        )
    assert all("3 of 3" in end.message for end in ends)
    store: Store = field.engine.store
    for this in batches:
        assert at_once(field.times(await field.jobs(this.submission_id))) <= 2
        await mark_ended(store, this.submission_id, TerminatedCode.BY_BATCH_ABORT, "over")
        parent = await store.jobs.find_one({"_id": ObjectId(this.submission_id)})
        assert parent["status"] == "completed" and "scheduler_id" not in parent
