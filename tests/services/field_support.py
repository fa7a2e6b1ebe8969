"""Stages on a real pool without a server: jobs that note when they began and ended.

The runner is a stand-in that writes files; a referee in this process does to the records what the
engine's own runner would have the server do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest_asyncio
from bson import ObjectId

from ee2_jobs import submit
from ee2_jobs.client_groups import ClientGroup, ClientGroups
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.legacy import kbparallel
from ee2_jobs.model import LIVE, StageName
from ee2_jobs.settings import Settings
from ee2_operators.condor.pool import Pool, PoolAddress
from ee2_operators.parts import Parts
from ee2_operators.sampler import Sampler
from ee2_operators.stage import StageTry
from ee2_operators.teller import Teller
from ee2_operators.watcher import Watcher
from tests.services.engines import open_engine

ALICE, ROOT = Caller("alice"), Caller("root", frozenset({"admin"}))
HUGE = "huge"  # a client group whose jobs fit no slot of the pool
log = logging.getLogger(__name__)
RUNNER = """#!/bin/sh
cd {folder}/times || exit 9
date +%s.%N > $1.begin
sleep {seconds}
date +%s.%N > $1.end.part
mv $1.end.part $1.end
"""

# Each runs until the test lets all of them end.
GATED = """#!/bin/sh
cd {folder}/times || exit 9
date +%s.%N > $1.begin
while [ ! -e ../open ]; do sleep 0.1; done
date +%s.%N > $1.end.part
mv $1.end.part $1.end
"""

# A process of its own that runs a stage, as a triggerer does.
TRIGGERER = """
import asyncio, json, logging, sys
from ee2_jobs.model import StageName
from ee2_jobs.client_groups import ClientGroups
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from ee2_operators.condor.pool import Pool, PoolAddress
from ee2_operators.parts import Parts
from ee2_operators.stage import StageTry, run_stage
from ee2_operators.sampler import Sampler
from ee2_operators.teller import Teller
from ee2_operators import admission
from ee2_operators.watcher import Watcher

admission.HOLD_S, admission.RENEW_S = 2.0, 0.5  # of the one that is killed

async def main(uri, database, address, settings, groups, batch):
    store = Store(uri, database)
    async with Pool(PoolAddress(**address)) as pool:
        own, groups = Settings(**settings), ClientGroups(**groups)
        parts = Parts(settings=own, groups=groups, store=store, pool=pool,
                      watcher=Watcher(store, pool), teller=Teller(store, own),
                      sampler=Sampler(store, own, groups, pool))
        await run_stage(parts, StageTry(batch, StageName.SUBMIT, 1), logging.getLogger())

asyncio.run(main(**json.loads(sys.argv[1])))
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
        self._program(RUNNER.format(folder=self.folder, seconds=seconds))

    def gated_runner(self) -> None:
        """The jobs run until `open_gate`."""
        self._program(GATED.format(folder=self.folder))

    def open_gate(self) -> None:
        """Let the jobs of a gated runner end, and later ones at once."""
        (self.folder / "open").touch()

    def _program(self, text: str) -> None:
        program = self.folder / "runner"
        program.write_text(text)
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
            sampler=Sampler(store, self.settings, self.engine.groups, pool),
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

    async def batch(
        self, count: int, caller: Caller = ALICE, group: str | None = None, **options: Any
    ) -> StageTry:
        """A plain batch, in a client group that only administrators may ask for."""
        wanted = None if group is None else {"client_group": group}
        children = [{"method": "m.f", "params": [n], "job_requirements": wanted}
                    for n in range(count)]
        ids = await submit.run_job_batch(self.engine, caller, children, options)
        return StageTry(ids.batch_id, StageName.SUBMIT, 1)

    async def job(self, caller: Caller = ALICE, **options: Any) -> StageTry:
        """A single job."""
        job = await submit.run_job(self.engine, caller, {"method": "m.f", **options})
        return StageTry(job, StageName.SUBMIT, 1)

    async def limit(self, user: str, places: int | None, expires: float | None = None) -> None:
        """Set a user's limit in the database, or (None) take it away."""
        limits = self.engine.store.limits
        await limits.delete_one({"_id": f"user:{user}"})
        if places is not None:
            fields = {"kind": "user", "places": places, "expires": expires}
            await limits.insert_one({"_id": f"user:{user}", **fields})

    def triggerer(self, mongo_uri: str, this: StageTry) -> subprocess.Popen[bytes]:
        """A process of its own that runs a stage, as a triggerer does."""
        given = {
            "uri": mongo_uri,
            "database": self.engine.store.db.name,
            "address": asdict(self.address),
            "settings": self.settings.model_dump(),
            "groups": self.engine.groups.model_dump(),
            "batch": this.submission_id,
        }
        return subprocess.Popen([sys.executable, "-c", TRIGGERER, json.dumps(given)])

    async def jobs(self, batch: str) -> list[dict[str, Any]]:
        found = self.engine.store.jobs.find({"submission": batch, "batch_job": False})
        return await found.sort([("index", 1), ("attempt", 1)]).to_list()

    def times(self, jobs: list[dict[str, Any]]) -> list[tuple[float, float]]:
        """When the jobs began and ended on their nodes (s), in the order they began in. Of a job
        that was killed: the end that its record has, or now."""
        folder = self.folder / "times"

        def at(job: dict[str, Any], what: str) -> float | None:
            path = folder / f"{job['_id']}.{what}"
            return float(path.read_text()) if path.exists() else None

        began = [(begin, job) for job in jobs if (begin := at(job, "begin")) is not None]
        return sorted(
            (begin, at(job, "end") or job.get("finished") or time.time()) for begin, job in began
        )

    @asynccontextmanager
    async def referee(
        self,
        fails: Any = lambda job: False,
        outputs: Mapping[StageName, Mapping[str, Any]] = MappingProxyType({}),
    ) -> AsyncIterator[None]:
        """End the records of jobs that have ended, with an error where `fails(job)`. outputs: what
        the jobs of a stage return."""

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
                    if job["stage"] in outputs:
                        fields["job_output"] = dict(outputs[job["stage"]])
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
    huge = ClientGroup(cpus=1000, memory_mb=10, disk_gb=1)
    groups = ClientGroups(default="njs", groups={**engine.groups.groups, HUGE: huge})
    settings = engine.settings.model_copy(
        update={"stage_dir": str(stage_folder), "runner": str(stage_folder / "runner")}
    )
    engine = replace(engine, settings=settings, groups=groups)
    field = Field(engine, address, stage_folder, settings)
    field.runner(0.3)
    yield field
    async with Pool(address) as pool:  # nothing of a test that failed is left behind
        for batch in await engine.store.submissions.distinct("_id"):
            for stage in StageName:
                await pool.remove(StageTry(str(batch), stage, 1).key, "test over")
    await engine.store.client.drop_database(engine.store.db.name)
    await engine.store.close()
