"""The bridge on the seeded database, without Airflow and without a pool: `python -m
tests.browser.site PORT FOLDER` serves it, with a mongod of its own, until it is ended."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from api_bridge.app import create_app
from ee2_jobs.engine import Engine
from ee2_jobs.model import Document
from ee2_jobs.settings import ClientGroup, ClientGroups, Settings
from ee2_jobs.store import Store
from kbase_services.ports import open_ports
from tests.browser.seed import Seeded, seed
from tests.browser.seed_pool import keep_fresh, pool
from tests.services.rpc_support import Bridge, _browser

FRESH_S = 10.0
GROUPS = ClientGroups(
    default="njs",
    groups={
        "njs": ClientGroup(description="everyday jobs", cpus=4, memory_mb=8000, disk_gb=30),
        "bigmem": ClientGroup(
            description="machines with 1 TB of memory", cpus=16, memory_mb=96_000, disk_gb=100
        ),
    },
)


class Site(Bridge):
    """The server; see Bridge. finished: how many ended jobs ana has, others: all others."""

    def __init__(
        self, mongo_uri: str, folder: Path, port: int, finished: int = 2000, others: int = 1500,
        **settings: Any,
    ) -> None:  # fmt: skip
        super().__init__(mongo_uri, folder, port, **settings)
        self._sizes = (finished, others)
        self._fresh: asyncio.Task[None] | None = None
        self.seeded = Seeded()
        self.dashboard = f"{self.url}/dashboard"
        self.app = create_app(
            self._make_engine, make_identity=self._make_identity, browser=_browser,
            on_stop=self._close_ports, run_url=lambda dag, run: f"/dags/{dag}/runs/{run}",
        )  # fmt: skip

    async def _make_engine(self) -> Engine:
        store = Store(self._uri, self.database)
        await store.ensure_indexes()
        settings = Settings.model_validate(self._settings)
        ports = self._ports = open_ports(settings, store)
        engine = Engine(
            store=store, settings=settings, groups=GROUPS, catalog=ports.catalog,
            workspaces=ports.workspaces, orchestrator=self.started,
        )  # fmt: skip
        self.seeded = await seed(engine, *self._sizes)
        self.seeded.database = {"uri": self._uri, "name": self.database}
        self.tokens = self.seeded.tokens
        self._fresh = asyncio.create_task(self._keep_fresh(store))
        return engine

    async def _keep_fresh(self, store: Store) -> None:
        while True:
            live: list[Document] = await store.jobs.find(
                {"status": {"$in": ["queued", "running"]}}
            ).to_list()
            await keep_fresh(store, await asyncio.to_thread(pool, time.time(), live))
            await asyncio.sleep(FRESH_S)

    async def _close_ports(self) -> None:
        if self._fresh is not None:
            self._fresh.cancel()
            with suppress(asyncio.CancelledError):
                await self._fresh
        await super()._close_ports()


def main(port: int, folder: Path) -> None:
    """Serve until the process is ended; what was seeded is written to FOLDER/seeded.json."""
    from tests.services.conftest import Mongod

    shutil.rmtree(folder / "mongo", ignore_errors=True)  # all is made anew, on another port
    mongod = Mongod(folder / "mongo")
    mongod.start()
    # As a Ctrl-C, so that what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    site = Site(mongod.uri, folder / "artifacts", port)
    try:
        site.start()
        told = json.dumps(dataclasses.asdict(site.seeded), indent=1)
        (folder / "seeded.json").write_text(told)
        print(f"{site.dashboard}\n{told}", flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
    finally:
        site.stop()
        mongod.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
