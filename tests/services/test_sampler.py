"""The sampler on a real pool and a real MongoDB: what it takes, that it works alone, and that it
says when it cannot."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ee2_jobs.client_groups import ClientGroup, ClientGroups
from ee2_jobs.engine import Engine
from ee2_jobs.queue.figures import FiguresReader
from ee2_jobs.queue.snapshot import Snapshot, Snapshots, State
from ee2_operators import sampler as module
from ee2_operators.condor.pool import Pool, PoolAddress
from ee2_operators.condor.submit import StageJob, StageKey, StageSubmission, files_dir, ticket_path
from ee2_operators.sampler import Sampler, take
from tests.services.engines import close_engine, open_engine

GROUPS = ClientGroups(
    default="njs",
    groups={
        "njs": ClientGroup(cpus=1, memory_mb=10, disk_gb=1),
        "bigmem": ClientGroup(
            cpus=1, memory_mb=10, disk_gb=1, requires={"CLIENTGROUP": "bigmem"}
        ),
    },
)


@pytest.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    engine = await open_engine(mongo_uri)
    yield engine
    await close_engine(engine, mongo_uri)


async def submit(pool: Pool, folder: Path, user: str, jobs: list[StageJob]) -> None:
    program = folder / "sleeper"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    key = StageKey(os.urandom(12).hex(), "submit", 1)
    files = Path(files_dir(str(folder), key))
    files.mkdir()
    files.chmod(0o2775)
    for job in jobs:
        Path(ticket_path(str(folder), key, job.job_id)).write_text("x")
    await pool.submit(
        StageSubmission(
            key, tuple(jobs), str(program), "http://127.0.0.1:1/services/ee2", str(folder),
            accounting_user=user, user=user,
        )
    )


async def until(check: Callable[[], Awaitable[Any]], timeout_s: float = 90) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := await check()):
        assert time.monotonic() < deadline, "it never was so"
        await asyncio.sleep(0.2)
    return found


async def test_a_picture_of_a_real_pool(pool: Pool, stage_folder: Path, engine: Engine,
                                        address: PoolAddress) -> None:
    ids = {name: os.urandom(12).hex() for name in ("runs", "waits", "large", "far", "late")}
    await submit(
        pool, stage_folder, "ana",
        [
            StageJob(ids["runs"], memory_mb=50, group="njs"),
            StageJob(ids["waits"], memory_mb=60, group="njs", waits=True, level=1, priority=3),
            StageJob(ids["large"], memory_mb=900_000, group="njs", priority=-2),
        ],
    )
    away = GROUPS.groups["bigmem"].machine_requirements()
    await submit(pool, stage_folder, "ben",
                 [StageJob(ids["far"], group="bigmem", requirements=away)])
    try:
        async def runs() -> Snapshot | None:
            found = await take(pool, GROUPS)
            job = found.job(ids["runs"])
            assert job is not None
            return found if job.state == State.RUNNING else None

        snapshot: Snapshot = await until(runs)
        jobs = {name: snapshot.job(job_id) for name, job_id in ids.items()}
        run, waits, large, far = (jobs[n] for n in ("runs", "waits", "large", "far"))
        assert run and waits and large and far and jobs["late"] is None
        assert (run.user, run.submitter, run.group, run.memory_mb) == ("ana", "ana", "njs", 50)
        assert time.time() - 60 < run.started_s <= time.time() and run.host and run.disk_mb == 1024
        assert (waits.state, waits.level, waits.priority) == (State.WAITS, 1, 3)
        assert (large.state, far.state, far.group) == (State.IDLE, State.IDLE, "bigmem")
        # In line: what may start before what is held back.
        order = [job.job_id for job in snapshot.jobs[: len(snapshot.places)]]
        assert order.index(ids["large"]) < order.index(ids["waits"])
        assert order.index(ids["far"]) < order.index(ids["waits"])
        machines = {slot.machine for slot in snapshot.slots}
        assert len(machines) == 1 and run.host in machines
        [one] = snapshot.slots
        assert one.groups == ("njs",) and one.cpus >= one.free_cpus and one.free_disk_mb > 0

        async def told() -> bool:
            """The collector hears of slots and shares some seconds later."""
            found = await take(pool, GROUPS)
            return "ana" in found.shares and found.slots[0].free_cpus < found.slots[0].cpus

        await until(told)

        await _works_alone_and_tells(engine, address, ids)
    finally:
        for user in ("ana", "ben"):
            await pool._ask(
                "act", {"action": "Remove", "jobs": f'EE2_USER == "{user}"', "reason": "over"}
            )


async def _works_alone_and_tells(
    engine: Engine, address: PoolAddress, ids: dict[str, str]
) -> None:
    """Two samplers at once: one works. What it keeps is what a reader gets."""
    store = engine.store
    both = [Sampler(store, engine.settings, GROUPS, Pool(address)) for _ in range(2)]
    try:
        for one in both:
            one.poke()
        reader = Snapshots(store)
        first = await until(reader.current)
        assert first.job(ids["runs"]).state == State.RUNNING
        figures = await FiguresReader(store).current()
        large = first.job(ids["large"])
        assert figures.facts.of_pool_job(large).code == "no_such_slot"
        assert figures.facts.of_pool_job(first.job(ids["far"])).code == "no_machines"

        async def sampled() -> Any:
            parts = await store.marks.find_one({"_id": "parts"})
            return parts and await store.samples.count_documents({})

        assert await until(sampled) == 1
        lease = await store.marks.find_one({"_id": "lease.sampler"})
        assert lease is not None and [s.problem for s in both] == [None, None]
    finally:
        for one in both:
            await one.stop()
    assert await store.marks.find_one({"_id": "lease.sampler"}) is None


async def test_a_pool_that_does_not_answer_is_noted(
    engine: Engine, address: PoolAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUICK_S", 0.2)
    nowhere = PoolAddress("127.0.0.1", 9, address.token_directory)
    sampler = Sampler(engine.store, engine.settings, GROUPS, Pool(nowhere, call_timeout_s=8))
    sampler.poke()
    try:
        async def noted() -> Any:
            return await engine.store.marks.find_one({"_id": "pool_answers"})

        mark = await until(noted)
        assert mark["problem"] and await engine.store.snapshots.find_one({"_id": "pool"}) is None
    finally:
        await sampler.stop()
