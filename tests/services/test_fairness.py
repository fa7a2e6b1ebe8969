"""Fairness on a real pool: between users, between a user's own jobs, and no deadlocks."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from ee2_cli import htcondor
from ee2_jobs import submit
from ee2_jobs.cancel import cancel_job
from ee2_jobs.identity import Caller
from ee2_jobs.model import StageName
from ee2_operators.condor.pool import Pool
from ee2_operators.parts import Parts
from ee2_operators.stage import StageTry, run_stage
from tests.services.field_support import ALICE, Field, at_once, field, log

__all__ = ["field"]  # a fixture
BOB = Caller("bob")


def config_value(pool_config: htcondor.PoolConfig, name: str) -> float:
    """A number of the pool's configuration."""
    found = re.findall(rf"^{name} = (\d+)$", pool_config.config_file.read_text(), re.M)
    return float(found[-1])


STAMP = r"(\d\d/\d\d/\d\d \d\d:\d\d:\d\d)"


def logged(file: Path, what: str, since: float) -> list[float]:
    """When one of HTCondor's logs said so, whole seconds, from `since` on."""
    found = re.findall(rf"^{STAMP} .*{what}", file.read_text(), re.M)
    times = (time.mktime(time.strptime(one, "%m/%d/%y %H:%M:%S")) for one in found)
    return [at for at in times if at >= int(since)]


def begun(field: Field) -> dict[str, float]:
    """When each job began on its node, s."""
    return {
        path.stem: float(path.read_text() or "inf")
        for path in (field.folder / "times").glob("*.begin")
    }


async def until(what: Callable[[], bool], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def running(
    field: Field, parts: Parts, this: StageTry, caller: Caller
) -> AsyncIterator[asyncio.Task[object]]:
    """A stage that runs meanwhile, and is cancelled in the end."""
    task: asyncio.Task[object] = asyncio.create_task(run_stage(parts, this, log))
    try:
        yield task
    finally:
        await cancel_job(field.engine, caller, this.submission_id)
        parts.watcher.poke()
        await asyncio.wait_for(task, 90)


async def test_a_users_batch_of_1000_does_not_hold_anothers_single_job_back(
    field: Field, pool: Pool, pool_config: htcondor.PoolConfig
) -> None:
    """A slot becomes free for others when its claim has served its time: a user's next job is not
    taken any more. So no slot takes more of the batch meanwhile than fit into that time, and the
    first core that is given back goes to the other user in the next negotiation, however slow the
    machine is."""
    claim_s = config_value(pool_config, "CLAIM_WORKLIFE")
    job_s = 2.0
    field.runner(job_s)
    object.__setattr__(field.engine.settings, "max_batch_jobs", 1000)
    parts, slots = field.parts(pool), (await pool.resources()).cpus
    async with field.referee(), running(field, parts, await field.batch(1000), ALICE):
        await until(lambda: len(begun(field)) >= slots, 120)
        one = await field.job(BOB)
        async with running(field, parts, one, BOB):
            asked = time.time()
            await until(lambda: one.submission_id in begun(field), 120)
            times = begun(field)
            began = times.pop(one.submission_id)
    meanwhile = sum(asked < at < began for at in times.values())
    assert meanwhile <= slots * (claim_s / job_s + 1)
    logs = pool_config.local_dir / "log"
    mine = (await field.jobs(one.submission_id))[0]["scheduler_id"]
    matched = logged(logs / "MatchLog", rf"Matched {mine} ", asked)[-1]
    free = [at for at in logged(logs / "StartLog", "Unclaimed -> Delete", asked) if at <= matched]
    cycles = logged(logs / "NegotiatorLog", "Started Negotiation Cycle", asked)
    began_after = [at for at in cycles if free[0] < at <= matched]
    print(
        f"bob's job waited {began - asked:.1f} s, {began - free[0]:.0f} s of them after a core was"
        f" free, negotiations: {len(began_after)}; {meanwhile} of alice's began meanwhile"
    )
    assert len(began_after) <= 1, "a negotiation passed it over"


async def test_a_single_job_overtakes_its_own_users_batch(field: Field, pool: Pool) -> None:
    await field.limit("alice", 3)
    field.gated_runner()
    parts = field.parts(pool)
    batch = await field.batch(30)
    async with field.referee(), running(field, parts, batch, ALICE):
        await until(lambda: len(begun(field)) >= 3, 60)
        one = await field.job()
        run = asyncio.create_task(run_stage(parts, one, log))
        async with asyncio.timeout(60):
            while "scheduler_id" not in (await field.jobs(one.submission_id))[0]:
                await asyncio.sleep(0.05)
        field.open_gate()
        assert (await asyncio.wait_for(run, 60)).ok
        before = [s for job, s in begun(field).items() if s < begun(field)[one.submission_id]]
        assert len(before) < 14, "it did not wait for the batch"
    assert at_once(field.times(await field.jobs(batch.submission_id))) <= 3


async def test_ten_split_process_aggregate_runs_under_a_limit_of_ten(
    field: Field, pool: Pool
) -> None:
    await field.limit("alice", 10)
    field.runner(0.05)
    parts = field.parts(pool)

    async def run() -> None:
        asked = {"method": "m.f", "params": []}
        run_id = await submit.run_split_aggregate(field.engine, ALICE, asked)
        for stage in (StageName.SPLIT, StageName.SUBMIT, StageName.AGGREGATE):
            end = await run_stage(parts, StageTry(run_id, stage, 1), log)
            assert end.ok, end.message

    lists = {"result": [{"children": [{"params": [n]} for n in range(3)]}]}
    async with field.referee(outputs={StageName.SPLIT: lists}):
        await asyncio.wait_for(asyncio.gather(*(run() for _ in range(10))), 240)
    jobs = await field.engine.store.jobs.find({"batch_job": False}).to_list()
    assert len(jobs) == 50 and {job["status"] for job in jobs} == {"completed"}
    assert at_once(field.times(jobs)) <= 10


# A parent runs on its node until its child has ended; the child is submitted while it runs.
PARENT = """#!/bin/sh
cd {folder}/times || exit 9
date +%s.%N > $1.begin
if [ -e ../parents/$1 ]; then
    while [ ! -e ../parents/$1.done ]; do sleep 0.2; done
else
    sleep 0.1
fi
date +%s.%N > $1.end.part
mv $1.end.part $1.end
"""


async def parents_that_wait(field: Field, pool: Pool, *, levels: bool, timeout_s: float) -> int:
    """Ten parents, each of which waits for a child, under a limit of ten; how many children have
    begun at the end, or after `timeout_s`. levels: whether children have a level of their own."""
    folder = field.folder / "parents"
    folder.mkdir()
    folder.chmod(0o2775)
    (field.folder / "runner").write_text(PARENT.format(folder=field.folder))
    await field.limit("alice", 10)
    parts, store = field.parts(pool), field.engine.store
    parents = [await field.job() for _ in range(10)]
    for parent in parents:
        (folder / parent.submission_id).touch()
    children: list[StageTry] = []
    tasks: list[asyncio.Task[object]] = []

    def spawn(this: StageTry) -> None:
        tasks.append(asyncio.create_task(run_stage(parts, this, log)))

    async with field.referee():
        for parent in parents:
            spawn(parent)
        await until(lambda: len(begun(field)) == 10, 90)
        for parent in parents:
            child = await field.job(Caller("alice", job=parent.submission_id))
            if not levels:
                its = {"by_job": parent.submission_id}
                await store.jobs.update_one(its, {"$unset": {"level": 1}})
            children.append(child)
            spawn(child)
        end = time.monotonic() + timeout_s
        waiting = dict(zip(children, parents, strict=True))
        while waiting and time.monotonic() < end:
            for child in [c for c in waiting if (_end(field, c)).exists()]:
                (folder / f"{waiting.pop(child).submission_id}.done").touch()
            await asyncio.sleep(0.1)
        started = sum(child.submission_id in begun(field) for child in children)
        if waiting:
            for this in (*parents, *children):
                await cancel_job(field.engine, ALICE, this.submission_id)
            for parent in parents:
                (folder / f"{parent.submission_id}.done").touch()
            parts.watcher.poke()
        await asyncio.wait_for(asyncio.gather(*tasks), 120)
    return started


def _end(field: Field, this: StageTry) -> Path:
    return field.folder / "times" / f"{this.submission_id}.end"


async def test_parents_that_block_and_their_children_under_a_limit_of_ten(
    field: Field, pool: Pool
) -> None:
    assert await parents_that_wait(field, pool, levels=True, timeout_s=120) == 10
    jobs = await field.engine.store.jobs.find({}).to_list()
    assert len(jobs) == 20 and {job["status"] for job in jobs} == {"completed"}
    assert sorted(job.get("level", 0) for job in jobs) == [0] * 10 + [1] * 10


async def test_the_same_deadlocks_with_one_level_for_all(field: Field, pool: Pool) -> None:
    """The children on their parents' level: no place ever becomes free. This is what levels are
    for, and it shows that the test above can fail."""
    assert await parents_that_wait(field, pool, levels=False, timeout_s=5) == 0
