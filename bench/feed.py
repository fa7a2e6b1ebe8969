"""How soon a page learns of a change, with 200 pages open: server-sent events of the REST API.

200 users have a list open each and a job that changes; then all of them watch the same jobs, as
administrators do. The database is one of its own in the stack's MongoDB, and so is the API server
(`million_server.py`). Delays are from before the update is sent until the event has arrived.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from bson import ObjectId

from bench.engine import Engine
from bench.figures import Figure
from bench.million_server import serving
from ee2_cli.settings import StackError
from ee2_jobs.identity import add_user, create_token
from ee2_jobs.migrations import migrate
from ee2_jobs.store import Store

DATABASE = "ee2_bench_feed"
CLIENTS = 200
PER_S = 20
_PATH = "/services/ee2/api/v1/jobs/events"
# Longer than a heartbeat.
_IDLE_S = 30.0
_ROUNDS = 3


def measure(engine: Engine) -> list[Figure]:
    """The figures of this family, beside the running stack."""
    return measure_at(engine.mongo_uri, quick=engine.quick, say=engine.say)


def measure_at(uri: str, *, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """The figures on a MongoDB."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    tokens, jobs = asyncio.run(_prepare(uri))
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            serving(uri, DATABASE, port, Path(folder) / "api.log") as (address, _),
        ):
            return asyncio.run(_measure(uri, address, port, tokens, jobs, quick, say))
    finally:
        asyncio.run(_drop(uri))


async def _prepare(uri: str) -> tuple[list[str], list[ObjectId]]:
    store = Store(uri, DATABASE)
    await store.client.drop_database(DATABASE)
    await migrate(store)
    tokens, jobs = [], []
    for n in range(CLIENTS):
        user = f"user{n}"
        await add_user(store, user, roles=("admin_read",))
        tokens.append(await create_token(store, user))
        jobs.append(ObjectId())
        await store.jobs.insert_one(
            {
                "_id": jobs[-1], "user": user, "status": "queued", "authstrat": "kbaseworkspace",
                "updated": time.time(), "queued": time.time(), "batch_job": False,
                "retry_ids": [], "child_jobs": [],
                "job_input": {"method": "m.f", "app_id": "m/f"},
            }
        )  # fmt: skip
    await store.close()
    return tokens, jobs


async def _drop(uri: str) -> None:
    store = Store(uri, DATABASE)
    await store.client.drop_database(DATABASE)
    await store.close()


@dataclass
class _Page:
    """A client with a list open. delays_ms: of the changes that it was told; a change is known by
    the time limit that was set, its number."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: dict[int, float]
    delays_ms: list[float] = field(default_factory=list)
    told: set[int] = field(default_factory=set)

    async def read(self) -> None:
        """Until the connection ends."""
        while line := await self.reader.readline():
            if not line.startswith(b"data: "):
                continue
            now = time.monotonic()
            for row in json.loads(line[6:]).get("items", ()):
                number = (row["limit_at"] - row["running"]) // 1000 if "limit_at" in row else 0
                if number in self.sent and number not in self.told:
                    self.told.add(number)
                    self.delays_ms.append((now - self.sent[number]) * 1000)


async def _open(address: str, token: str, query: str, sent: dict[int, float]) -> _Page:
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**22)
    writer.write(
        f"GET {_PATH}?{query} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: {token}\r\n\r\n"
        .encode()
    )
    status = await reader.readline()
    if b" 200 " not in status:
        raise StackError(f"The server refused a stream: {status!r}")
    return _Page(reader, writer, sent)


async def _measure(
    uri: str, address: str, port: int, tokens: Sequence[str], jobs: Sequence[ObjectId],
    quick: bool, say: Callable[[str], None],
) -> list[Figure]:
    server = _server(port)
    store = Store(uri, DATABASE)
    figures = []
    idle: list[list[float]] = []
    for query, what in (
        ("status=live", "each its own list"), ("scope=all&status=live", "all the same list")
    ):
        rounds, busy = [], []
        sent: dict[int, float] = {}
        async with AsyncExitStack() as opened:
            pages = await asyncio.gather(*(_open(address, t, query, sent) for t in tokens))
            reading = [asyncio.create_task(page.read()) for page in pages]
            for page, task in zip(pages, reading, strict=True):
                opened.callback(page.writer.close)
                opened.callback(task.cancel)
            await asyncio.sleep(3)
            if not idle:
                say(f"{CLIENTS} pages are open; nothing happens")
                before = _cpu_s(server)
                await asyncio.sleep(_IDLE_S)
                idle = [[(_cpu_s(server) - before) / _IDLE_S * 100]]
            for n in range(1 if quick else _ROUNDS):
                say(f"{what}: {PER_S} changes a second, round {n + 1}")
                for page in pages:
                    page.delays_ms.clear()
                before, began = _cpu_s(server), time.monotonic()
                await _change(store, jobs, sent)
                busy.append([(_cpu_s(server) - before) / (time.monotonic() - began) * 100])
                await asyncio.sleep(2.5)
                rounds.append([d for page in pages for d in page.delays_ms])
        note = f"{CLIENTS} open streams; {PER_S} changes a second"
        figures += [
            Figure(f"change to event, {what}", "ms", rounds, 1000.0, "p95", note=note),
            Figure(f"CPU of the API process meanwhile, {what}", "% of a core", busy, note=note),
        ]
    await store.close()
    return [
        Figure(
            "CPU of the API process, idle", "% of a core", idle, 20.0,
            note=f"{CLIENTS} open streams",
        ),
        *figures,
    ]  # fmt: skip


async def _change(store: Store, jobs: Sequence[ObjectId], sent: dict[int, float]) -> None:
    """Changes of random jobs, for ten seconds."""
    first = max(sent, default=0) + 1
    dice = random.Random(first)
    began = time.monotonic()
    for n in range(10 * PER_S):
        await asyncio.sleep(max(0.0, began + n / PER_S - time.monotonic()))
        sent[first + n] = time.monotonic()
        change: dict[str, Any] = {
            "status": "running", "running": 1_700_000_000.0, "time_limit_s": first + n
        }
        await store.jobs.update_one({"_id": dice.choice(jobs)}, {"$set": change})


def _server(port: int) -> psutil.Process:
    for process in psutil.Process().children():
        if str(port) in process.cmdline():
            return process
    raise StackError("The benchmark's API server is gone")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
