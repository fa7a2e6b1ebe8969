"""An API server of the benchmark's own, on a database of its own: `python -m bench.million_server
URI DATABASE PORT`. The same application as in the stack, without Airflow around it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

from api_bridge.app import create_app
from ee2_jobs.catalog import LocalCatalog
from ee2_jobs.engine import Engine
from ee2_jobs.settings import ClientGroup, ClientGroups, Settings
from ee2_jobs.store import Store
from ee2_jobs.workspaces import LocalWorkspaces

_START_S = 60
_SETTINGS = {
    "secret_key": "k" * 32, "stage_dir": "/tmp", "apps_dir": "/apps", "artifacts_url": "/tmp/a",
    "client_groups": "", "runner": "/r",
}  # fmt: skip


@contextmanager
def serving(uri: str, database: str, port: int, log: Path) -> Iterator[tuple[str, int]]:
    """A server on the database while the block runs: its address, without the service's path, and
    its process."""
    address = f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.million_server", uri, database, str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + _START_S
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The benchmark's API server did not start: see {log}")
            time.sleep(0.1)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/services/ee2/api/v1/me", trust_env=False).status_code == 401
    except httpx.HTTPError:
        return False


def main(uri: str, database: str, port: int) -> None:
    """Serve until the process is ended."""

    async def make_engine() -> Engine:
        store = Store(uri, database)
        rpc_url = f"http://127.0.0.1:{port}/services/ee2"
        group = ClientGroup(cpus=4, memory_mb=8000, disk_gb=30)
        return Engine(
            store=store,
            settings=Settings.model_validate({"rpc_url": rpc_url, **_SETTINGS}),
            groups=ClientGroups(default="njs", groups={"njs": group, "bigmem": group}),
            catalog=LocalCatalog(store),
            workspaces=LocalWorkspaces(store),
        )

    app = create_app(make_engine)
    host = FastAPI(lifespan=app.router.lifespan_context)
    host.mount("/services", app)
    config = uvicorn.Config(
        host, host="127.0.0.1", port=port, log_level="warning", access_log=False
    )
    asyncio.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
