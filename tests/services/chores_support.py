"""A house for the engine's chores: an engine, a pool in which time has passed, and how a chore is
run there: dry, in earnest, and once more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bson import ObjectId
from pymongo import MongoClient

from ee2_jobs import logs
from ee2_jobs.catalog import LocalCatalog
from ee2_jobs.client_groups import ClientGroup, ClientGroups
from ee2_jobs.engine import Engine
from ee2_jobs.errors import NotFound
from ee2_jobs.identity import Caller
from ee2_jobs.model import TERMINAL, Document, now_s
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from ee2_jobs.workspaces import LocalWorkspaces
from ee2_operators.chores import CHORES
from ee2_operators.chores.common import Done, Work
from ee2_operators.condor.pool import PoolUnavailable
from tests.services.engines import Started, open_engine

DAY_S = 86_400.0
ROOT, READER = Caller("root", frozenset({"admin"})), Caller("looker", frozenset({"admin_read"}))
log = logging.getLogger(__name__)
SETTINGS = Settings(
    rpc_url="http://127.0.0.1:9/services/ee2", secret_key="k" * 32, stage_dir="/tmp",
    apps_dir="/apps", artifacts_url="/tmp/a", client_groups="", runner="/r",
)  # fmt: skip


class FakePool:
    """A queue with these ads. What time does in a real pool cannot be waited for."""

    def __init__(self) -> None:
        self.ads: list[dict[str, Any]] = []
        self.released: list[str] = []
        self.away = False

    def add(self, scheduler_id: str, status: int, for_s: float, **more: Any) -> None:
        cluster, proc = map(int, scheduler_id.split("."))
        since = int(now_s() - for_s)
        self.ads.append(
            {"ClusterId": cluster, "ProcId": proc, "JobStatus": status,
             "EnteredCurrentStatus": since, **more}
        )  # fmt: skip

    def hold(self, scheduler_id: str, code: int, for_s: float, reason: str = "no reason") -> None:
        self.ads = [ad for ad in self.ads if f"{ad['ClusterId']}.{ad['ProcId']}" != scheduler_id]
        more = {"HoldReasonCode": code, "HoldReasonSubCode": 2, "HoldReason": reason}
        self.add(scheduler_id, 5, for_s, **more)

    async def _answer(self, status: int) -> list[dict[str, Any]]:
        if self.away:
            raise PoolUnavailable("it is away")
        return [ad for ad in self.ads if ad["JobStatus"] == status]

    async def held(self, limit: int) -> list[dict[str, Any]]:
        return (await self._answer(5))[:limit]

    async def idle(self, longer_than_s: float, limit: int) -> list[dict[str, Any]]:
        before = now_s() - longer_than_s
        ads = [ad for ad in await self._answer(1) if ad["EnteredCurrentStatus"] < before]
        return ads[:limit]

    async def live(self) -> list[dict[str, Any]]:
        return self.ads

    async def ended(self, *_: Any) -> list[dict[str, Any]]:
        return []

    async def resources(self) -> None:
        await self._answer(0)

    async def release(self, scheduler_ids: list[str], reason: str) -> int:
        self.released += scheduler_ids
        return len(scheduler_ids)


class Helper:
    """A watcher and a teller that note what they are asked for."""

    def __init__(self) -> None:
        self.pokes = 0
        self.problem: str | None = None

    def poke(self) -> None:
        self.pokes += 1

    def follows(self, submission_id: str) -> bool:
        return False


class House:
    """An engine with a pool, and its chores."""

    def __init__(self, engine: Engine, tmp_path: Path, pool: Any = None) -> None:
        self.pool: Any = pool or FakePool()
        self.tmp_path = tmp_path
        for name in ("stage", "artifacts", "logs"):
            (tmp_path / name).mkdir(exist_ok=True)
        settings = engine.settings.model_copy(
            update={
                "stage_dir": str(tmp_path / "stage"),
                "artifacts_url": (tmp_path / "artifacts").as_uri(),
            }
        )
        self.engine, self.store = engine, engine.store
        self.parts = SimpleNamespace(
            settings=settings, groups=engine.groups, store=engine.store, pool=self.pool,
            watcher=Helper(), teller=Helper(),
        )  # fmt: skip

    async def run(
        self, chore: str, *, dry_run: bool = False, who: Caller = ROOT, **params: Any
    ) -> Done:
        async def caller() -> Caller:
            return who

        until = time.monotonic() + 60
        work = Work(cast(Any, self.parts), log, until, dry_run, params, caller)
        return await CHORES[chore].run(work)

    async def everything(self) -> dict[str, Any]:
        """All that is in the database, and in the folders."""
        names = sorted(await self.store.db.list_collection_names())
        content = {n: await self.store.db[n].find().sort("_id", 1).to_list() for n in names}
        files = sorted(str(p) for p in self.tmp_path.rglob("*"))
        return {**{n: c for n, c in content.items() if c}, "files": files}

    async def thrice(
        self, chore: str, expected: int, check: Callable[[], Awaitable[None]], **params: Any
    ) -> Done:
        """A dry run, which changes nothing; a run; and a run with nothing left to do."""
        before = await self.everything()
        dry = await self.run(chore, dry_run=True, **params)
        assert await self.everything() == before, "a dry run changed something"
        done = await self.run(chore, **params)
        assert (dry.count, done.count) == (expected, expected), (dry, done)
        assert dry.said == done.said
        await check()
        again = await self.run(chore, **params)
        assert again.count == 0, again
        await check()
        return done

    async def job(self, status: str = "queued", **fields: Any) -> ObjectId:
        """A record. age_s: for how long it has been as it is."""
        age_s = fields.pop("age_s", 0.0)
        at = now_s() - age_s
        oid = ObjectId(f"{int(at):08x}" + str(ObjectId())[8:])
        job: Document = {
            "_id": oid, "user": "alice", "status": status, "updated": at, "batch_job": False,
            "submission": str(oid), "stage": "submit", "try": 1,
            "job_input": {
                "app_id": "m/f", "method": "m.f",
                "requirements": {"clientgroup": "njs", "cpu": 4, "memory": 2000, "disk": 3},
            },
        }  # fmt: skip
        if status in TERMINAL:
            job["finished"] = at
        await self.store.jobs.insert_one({**job, **fields})
        return oid

    async def submission(self, oid: ObjectId, status: str = "started", **fields: Any) -> None:
        document = {"_id": str(oid), "user": "alice", "status": status, "starts": 0,
                    "shape": "x", "accepted": now_s() - 9999, "tries": {}, **fields}  # fmt: skip
        await self.store.submissions.insert_one(document)

    async def get(self, oid: ObjectId) -> Document:
        job = await self.store.jobs.find_one({"_id": oid})
        assert job is not None
        return job

    async def lines(self, oid: ObjectId) -> list[str]:
        try:
            return [line.text for line in (await logs.read(self.store, oid)).lines]
        except NotFound:
            return []


@pytest.fixture(scope="module")
def database(mongo_uri: str) -> Iterator[str]:
    """The name of a database with all indexes, which take a second to make."""

    async def make() -> str:
        engine = await open_engine(mongo_uri)
        await engine.store.close()
        return str(engine.store.db.name)

    name = asyncio.run(make())
    yield name
    with MongoClient[Document](mongo_uri) as client:
        client.drop_database(name)


@pytest.fixture
async def house(mongo_uri: str, database: str, tmp_path: Path) -> AsyncIterator[House]:
    store = Store(mongo_uri, database)
    groups = {"njs": ClientGroup(cpus=1, memory_mb=10, disk_gb=1)}
    engine = Engine(
        store=store, settings=SETTINGS, groups=ClientGroups(default="njs", groups=groups),
        catalog=LocalCatalog(store), workspaces=LocalWorkspaces(store), orchestrator=Started(),
    )  # fmt: skip
    yield House(engine, tmp_path)
    for name in await store.db.list_collection_names():
        if name not in ("ee2_migrations", "ee2_apps", "ee2_workspaces"):
            await store.db[name].delete_many({})
    await store.close()
