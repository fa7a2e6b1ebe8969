"""How long the newest runs of an app waited and ran, and where one job stands among them."""

from __future__ import annotations

import asyncio
import bisect
import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from bson import ObjectId
from cachetools import TTLCache
from pymongo.errors import ExecutionTimeout, PyMongoError

from ee2_jobs.model import Document, Status
from ee2_jobs.store import Store

RUNS = 200
# Of fewer, the figures would be somebody's.
FEWEST = 5
# So many apps are read at a time.
_AT_ONCE = 2
KEPT_S = 60
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
_KEPT_APPS = 500
_QUERY_MS = 2000
_FIELDS = {"running": 1, "finished": 1}


@dataclass(frozen=True)
class AppTimes:
    """The waiting and running times, s, of an app's newest completed runs, each in rising order;
    no names, no ids."""

    app: str
    waits_s: tuple[float, ...]
    runs_s: tuple[float, ...]

    @property
    def runs(self) -> int:
        """How many runs these are: at most RUNS."""
        return len(self.runs_s)


_kept: weakref.WeakKeyDictionary[Store, TTLCache[str, asyncio.Task[AppTimes]]] = (
    weakref.WeakKeyDictionary()
)
_reading: weakref.WeakKeyDictionary[Store, asyncio.Semaphore] = weakref.WeakKeyDictionary()


async def app_times(store: Store, app: str) -> AppTimes:
    """The times of an app, given as `Module/app` or `Module.method`; kept for a minute. An app that
    was run fewer than FEWEST times has none."""
    kept = _kept.setdefault(store, TTLCache(_KEPT_APPS, KEPT_S))
    task = kept.get(app)
    if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
        task = kept[app] = asyncio.create_task(_read(store, app.replace(".", "/", 1)))
    return await asyncio.shield(task)


async def _read(store: Store, app: str) -> AppTimes:
    async with _reading.setdefault(store, asyncio.Semaphore(_AT_ONCE)):
        jobs = await _newest(store, {"job_input.app_id": app})
        if len(jobs) < RUNS:
            # What a program submits names a method only.
            method = {"job_input.app_id": None, "job_input.method": app.replace("/", ".", 1)}
            jobs += await _newest(store, method)
    if len(jobs) < FEWEST:
        return AppTimes(app, (), ())
    if len(jobs) > RUNS:
        jobs.sort(key=lambda job: float(job["finished"]), reverse=True)
    waits, runs = [], []
    for job in jobs[:RUNS]:
        oid: ObjectId = job["_id"]
        waits.append(max(0.0, job["running"] - int.from_bytes(oid.binary[:4], "big")))
        runs.append(max(0.0, job["finished"] - job["running"]))
    return AppTimes(app, tuple(sorted(waits)), tuple(sorted(runs)))


async def _newest(store: Store, query: Document) -> list[Document]:
    found = store.jobs.find(
        # Old records, and what was set by hand, may lack an end.
        {**query, "status": Status.COMPLETED.value, "running": {"$gt": 0}, "finished": {"$gt": 0}},
        _FIELDS,
        batch_size=RUNS,
        max_time_ms=_QUERY_MS,
    )
    try:
        return await found.sort([("finished", -1), ("_id", -1)]).limit(RUNS).to_list()
    except ExecutionTimeout:
        return []  # runs without an app's id are found by reading through all of those


@dataclass(frozen=True)
class Ranks:
    """Where a job stands among the newest runs of its app: the shares, 0 to 1, of those that waited
    and ran less; None: it has not waited or run, or nobody has."""

    runs: int
    wait: float | None
    run: float | None


async def ranks(
    store: Store, app: str, wait_ms: int | None, run_ms: int | None, *, within_s: float
) -> Ranks | None:
    """The ranks of these times. None if the app's times are not known `within_s` seconds; they are
    read on, and the next who asks has them."""
    try:
        async with asyncio.timeout(within_s):
            found = await app_times(store, app)
    except (TimeoutError, PyMongoError):
        return None
    return ranks_among(found, wait_ms, run_ms)


def ranks_among(times: AppTimes, wait_ms: int | None, run_ms: int | None) -> Ranks:
    """The ranks of these times among an app's."""

    def place(ordered: Sequence[float], ms: int | None) -> float | None:
        share = None if ms is None else rank(ordered, ms / 1000)
        return None if share is None else round(share, 4)

    return Ranks(times.runs, place(times.waits_s, wait_ms), place(times.runs_s, run_ms))


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The least of the values (in rising order) that at least this share (0 to 1) of them does not
    exceed; None without values."""
    return ordered[max(1, math.ceil(share * len(ordered))) - 1] if ordered else None


def rank(ordered: Sequence[float], value: float) -> float | None:
    """The share, 0 to 1, of the values (in rising order) that are less; ties count half."""
    if not ordered:
        return None
    less = bisect.bisect_left(ordered, value)
    return (less + bisect.bisect_right(ordered, value)) / 2 / len(ordered)
