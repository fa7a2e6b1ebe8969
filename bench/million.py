"""How fast lists, counts, statistics and logs are with a million jobs on record.

The records (`million_data.py`) are loaded into a database of their own in the stack's MongoDB,
which is dropped afterwards; migrations and roll-ups run on it, and an API server of its own answers
(`million_server.py`). Times are those of whole HTTP calls on kept connections, so a little more
than the server's own. What a call costs API and mongod of the processor stands beside each.
"""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import psutil
from bson import ObjectId
from pymongo import MongoClient

from bench.engine import Engine
from bench.figures import Figure
from bench.million_data import ANA, WORKSPACES, Data, empty, load
from bench.million_server import serving
from bench.wire import Connection, Server
from ee2_jobs import logs
from ee2_jobs.browse.batch_ends import settle_all
from ee2_jobs.identity import add_user, create_token
from ee2_jobs.migrations import migrate
from ee2_jobs.statistics.daily import roll_up
from ee2_jobs.store import Store

T = TypeVar("T")

DATABASE = "ee2_bench_million"
FULL, QUICK = 1_000_000, 100_000
LOG_LINES = 100_000
_DAY_S = 86_400
_DEEP_PAGES = 8


def measure(engine: Engine) -> list[Figure]:
    """The figures of this family, beside the running stack."""
    return measure_at(engine.mongo_uri, quick=engine.quick, say=engine.say)


def measure_at(
    uri: str, *, quick: bool, say: Callable[[str], None], keep: bool = False
) -> list[Figure]:
    """The figures on a MongoDB. keep: see `loaded`."""
    with loaded(uri, quick=quick, say=say, keep=keep) as (name, data, figures):
        token = token_of_ana(uri, name)
        with served(uri, name) as (address, pid):
            client: MongoClient[dict[str, Any]] = MongoClient(uri)
            processes = [pid, int(client.admin.command("serverStatus")["pid"])]
            client.close()
            rounds, each = (3, 10) if quick else (5, 20)
            calls = _Calls(address, token, processes, rounds, each)
            return figures + _figures(calls, data, say)


@contextmanager
def loaded(
    uri: str, *, quick: bool, say: Callable[[str], None], keep: bool = False
) -> Iterator[tuple[str, Data, list[Figure]]]:
    """The database while the block runs: its name, what is in it, and what loading it took. keep:
    leave it there, and use it if it is there."""
    count = QUICK if quick else FULL
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    name = f"{DATABASE}_{count}"
    try:
        found = client[name].bench.find_one({"_id": "data"}) if keep else None
        figures: list[Figure] = []
        if found is not None:
            data = Data(**{k: v for k, v in found.items() if k != "_id"})
        else:
            empty(client, [name])
            data, figures = _prepare(client, uri, name, count, say)
            client[name].bench.insert_one({"_id": "data", **vars(data)})
        yield name, data, figures
    finally:
        if not keep:
            empty(client, [name])
        client.close()


@contextmanager
def served(uri: str, name: str) -> Iterator[tuple[str, int]]:
    """An API server on the database: its address, and its process."""
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        with serving(uri, name, port, Path(folder) / "api.log") as found:
            yield found


def _run(uri: str, name: str, use: Callable[[Store], Awaitable[T]]) -> T:
    async def run() -> T:
        store = Store(uri, name)
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(run())


def token_of_ana(uri: str, name: str) -> str:
    """A token of ana, who may also read everything."""

    async def make(store: Store) -> str:
        await store.users.delete_many({"_id": ANA})
        await add_user(store, ANA, roles=("admin_read",))
        return await create_token(store, ANA)

    return _run(uri, name, make)


def _prepare(
    client: MongoClient[dict[str, Any]], uri: str, name: str, count: int, say: Callable[[str], None]
) -> tuple[Data, list[Figure]]:
    """Load, migrate with a reader beside it, write down the ends of batches, roll up."""
    say(f"loading {count:,} records")
    data = load(client, name, count)
    say("migrations, with a reader beside them")
    reader = _Reader(client, name)
    migrate_s, _ = _timed(lambda: _run(uri, name, migrate))
    waits_ms = reader.stop()
    say("ends of batches, roll-ups")
    settle_s, _ = _timed(lambda: _run(uri, name, settle_all))
    roll_s, days = _timed(lambda: _run(uri, name, lambda s: roll_up(s, budget_s=3600)))
    again_s = [_timed(lambda: _run(uri, name, roll_up))[0] for _ in range(3)]
    recent = time.time() - 2 * _DAY_S
    soon_s = [
        _timed(lambda: _run(uri, name, lambda s: roll_up(s, since_s=recent)))[0] for _ in range(3)
    ]
    _run(uri, name, lambda store: _long_log(store, data))
    return data, [
        Figure(f"loading {count:,} records", "s", [[data.seconds]]),
        Figure("all migrations on the loaded database", "s", [[migrate_s]]),
        Figure(
            "reads of the newest 50 records meanwhile", "ms", [waits_ms], judged="p95",
            note="a reader beside the migrations, without an index of its own but that of ids",
        ),
        Figure("writing down the ends of all batches", "s", [[settle_s]]),
        Figure("roll-ups of three years, first time", "s", [[roll_s]], note=f"{days} days"),
        Figure("roll-ups when nothing has changed, all days", "s", [[s] for s in again_s]),
        Figure("roll-ups when nothing has changed, two days", "s", [[s] for s in soon_s]),
    ]  # fmt: skip


def _timed(do: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    result = do()
    return time.perf_counter() - began, result


class _Reader:
    """Reads every 50 ms while something else goes on, and notes how long it waits."""

    def __init__(self, client: MongoClient[dict[str, Any]], name: str) -> None:
        self._jobs = client[name].ee2_jobs
        self._waits_ms: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._done.wait(0.05):
            took_s, _ = _timed(lambda: list(self._jobs.find().sort("_id", -1).limit(50)))
            self._waits_ms.append(took_s * 1000)

    def stop(self) -> list[float]:
        """End it; the times of its reads, ms."""
        self._done.set()
        self._thread.join()
        return self._waits_ms


async def _long_log(store: Store, data: Data) -> None:
    """A log of LOG_LINES lines."""
    oid = ObjectId(data.long_log)
    for start in range(0, LOG_LINES, 1000):
        lines = [
            logs.Line(f"step {n}: reads aligned so far, all is well", n % 997 == 0, data.now_s)
            for n in range(start, start + 1000)
        ]
        await logs.append(store, oid, lines)


@dataclass(frozen=True)
class _Times:
    """The times of calls, ms, by run; and what each cost of the processor, as words."""

    rounds: list[list[float]]
    note: str


class _Calls:
    """Times calls: `rounds` runs of `calls` each, on a new connection each. processes: API and
    mongod."""

    def __init__(
        self, address: str, token: str, processes: Sequence[int], rounds: int, calls: int
    ) -> None:
        self._server = Server(f"{address}/services/ee2", token)
        self._processes = [psutil.Process(pid) for pid in processes]
        self._rounds, self._calls = rounds, calls

    def rest(self, path: str, **query: Any) -> bytes:
        """A GET request; a trailing underscore of a name is left out (from_)."""
        words = urlencode({k.rstrip("_"): v for k, v in query.items()})
        host, port = self._server.address
        target = f"/services/ee2/api/v1{path}" + (f"?{words}" if words else "")
        return (
            f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: {self._server.token}\r\n\r\n"
        ).encode()

    def rpc(self, method: str, **params: Any) -> bytes:
        """A JSON-RPC request."""
        return self._server.request(method, params)

    def ask(self, request: bytes) -> Any:
        """The answer to one request."""
        with Connection(self._server) as connection:
            return json.loads(connection.call(request))

    def times(self, requests: Sequence[bytes], calls: int | None = None) -> _Times:
        """The times of the requests in turn. Each was made once before."""
        with Connection(self._server) as connection:
            for request in requests:
                connection.call(request)
        rounds = []
        each = max(calls or self._calls, len(requests))
        before = self._cpu_ms()
        for _ in range(self._rounds):
            with Connection(self._server) as connection:
                rounds.append(
                    [connection.timed_ms(requests[n % len(requests)]) for n in range(each)]
                )
        used = [b - a for a, b in zip(before, self._cpu_ms(), strict=True)]
        api, mongod = (ms / each / self._rounds for ms in used)
        return _Times(rounds, f"processor per call: API {api:.1f} ms, mongod {mongod:.1f} ms")

    def _cpu_ms(self) -> list[float]:
        return [sum(p.cpu_times()[:2]) * 1000 for p in self._processes]


def _both(name: str, times: _Times, p50: float, p95: float) -> list[Figure]:
    """A figure with a target for its median, and one for its tail, ms."""
    return [
        _one(name, times, p50),
        Figure(f"{name}: tail", "ms", times.rounds, p95, "p95", note=times.note),
    ]


def _one(name: str, times: _Times, target: float | None = None, note: str = "") -> Figure:
    note = f"{times.note}; {note}" if note else times.note
    return Figure(name, "ms", times.rounds, target, note=note)


def _figures(calls: _Calls, data: Data, say: Callable[[str], None]) -> list[Figure]:
    found: list[Figure] = []
    say("lists")
    for limit in (10, 100):
        newest = [calls.rest("/jobs", limit=limit)]
        found += _both(f"one user's newest {limit} (REST)", calls.times(newest), 10, 20)
        span = {"start_time": 0, "end_time": int(data.now_s * 1000) + _DAY_S * 1000}
        rpc = calls.rpc("check_jobs_date_range_for_user", **span, limit=limit, ascending=0)
        found += _both(f"one user's newest {limit} (JSON-RPC)", calls.times([rpc]), 10, 20)
    for place in ("first", "deep", "last"):
        requests = [_page(calls, words, place) for words in _lists(data)]
        times = calls.times(requests, calls=2 * len(requests))
        found += _both(f"list pages of 50, {place} pages of {len(requests)} lists", times, 30, 100)
    say("methods of EE2")
    for wsid, count in WORKSPACES.items():
        request = calls.rpc("check_workspace_jobs", workspace_id=wsid)
        target = 60.0 if count == 1000 else 600.0
        times = calls.times([request], calls=5)
        found.append(_one(f"check_workspace_jobs of {count:,} jobs", times, target))
    offset = data.count // 2
    far = {"start_time": 0, "end_time": int(data.now_s * 1000) + _DAY_S * 1000, "limit": 100}
    request = calls.rpc("check_jobs_date_range_for_all", **far, offset=offset, as_admin=1)
    first_s, _ = _timed(lambda: calls.ask(request))
    name = f"check_jobs_date_range_for_all, limit 100, offset {offset:,}"
    note = f"the first call of a process counts all hours: {first_s:.1f} s"
    found.append(_one(name, calls.times([request]), 100, note))
    say("counts, statistics, logs")
    scopes = [calls.rest("/jobs/counts", scope=scope) for scope in ("mine", "all")]
    found += _both("counts (mine, all)", calls.times(scopes), 20, 50)
    batch = [calls.rest(f"/batches/{data.big_batch}", as_admin="true")]
    found += _both("batch summary of 10,000 children", calls.times(batch), 20, 50)
    found += _statistics(calls, data)
    return found + _log(calls, data)


def _lists(data: Data) -> list[dict[str, Any]]:
    """Lists with their filters, of one user and of all."""
    month = {"from_": int((data.now_s - 400 * _DAY_S) * 1000),
             "to_": int((data.now_s - 370 * _DAY_S) * 1000)}  # fmt: skip
    app = "kb_Bowtie2/run_app_0"
    return [
        {"scope": "mine"},
        {"scope": "mine", "status": "live"},
        {"scope": "mine", "status": "completed,error,terminated"},
        {"scope": "mine", "status": "error"},
        {"scope": "mine", "status": "error", "runs": "true"},
        {"scope": "mine", "status": "live", "runs": "true"},
        {"scope": "mine", "app": app},
        {"scope": "mine", **month},
        {"scope": "readable", "status": "live"},
        {"scope": "readable", "ws": 5},
        {"scope": "all"},
        {"scope": "all", "status": "live"},
        {"scope": "all", "status": "running"},
        {"scope": "all", "status": "completed,error,terminated"},
        {"scope": "all", "status": "error"},
        {"scope": "all", "status": "terminated", **month},
        {"scope": "all", "status": "completed", "app": app},
        {"scope": "all", "user": "u1"},
        {"scope": "all", "status": "live", "group": "bigmem"},
        {"scope": "all", "batch": data.big_batch},
    ]


def _page(calls: _Calls, words: dict[str, Any], place: str) -> bytes:
    """The request for the first page of a list, for one some thousand rows on, or for the first
    page of the list the other way round, which is its last one."""
    if place == "first":
        return calls.rest("/jobs", **words)
    if place == "last":
        ended = words.get("status", "live") not in ("live", "running")
        return calls.rest("/jobs", **words, sort="finished" if ended else "created")
    cursor = None
    for _ in range(_DEEP_PAGES):
        more: dict[str, str] = {} if cursor is None else {"cursor": cursor}
        found = calls.ask(calls.rest("/jobs", **words, **more, limit=200))["next"]
        if found is None:
            break
        cursor = found
    return calls.rest("/jobs", **words, **({} if cursor is None else {"cursor": cursor}))


def _statistics(calls: _Calls, data: Data) -> list[Figure]:
    last = time.gmtime(data.now_s)
    span = {
        "from_": f"{last.tm_year - 1}-{last.tm_mon:02}-{min(last.tm_mday, 28):02}",
        "to_": time.strftime("%Y-%m-%d", last),
    }
    found = []
    for scope, p50, p95 in (("mine", 50, 200), ("all", 100, 300)):
        words = {**span, "scope": scope}
        whole = [calls.rest("/stats", by="week", **words)]
        table = [calls.rest("/stats/apps", **words)]
        whose = "a user" if scope == "mine" else "all"
        found += _both(f"statistics of a year for {whose}", calls.times(whole), p50, p95)
        found += _both(f"table of apps of a year for {whose}", calls.times(table), p50, p95)
    path = "/apps/kb_Bowtie2/run_app_0/percentiles"
    return [*found, _one("percentiles of an app", calls.times([calls.rest(path)]))]


def _log(calls: _Calls, data: Data) -> list[Figure]:
    path = f"/jobs/{data.long_log}/log"
    pages = [
        calls.rest(path, start=start, limit=200, as_admin="true")
        for start in (0, LOG_LINES // 2, LOG_LINES - 200)
    ]
    search = [calls.rest(f"{path}/search", q="99999:", as_admin="true")]
    return [
        _one("log page of 200 lines, of 100,000", calls.times(pages), 5),
        _one("search in a log of 100,000 lines", calls.times(search, calls=5), 300),
    ]
