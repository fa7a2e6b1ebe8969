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
from pymongo.errors import ExecutionTimeout

from ee2_jobs.model import Document, Status
from ee2_jobs.store import Store

RUNS = 200
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


async def app_times(store: Store, app: str) -> AppTimes:
    """The times of an app, given as `Module/app` or `Module.method`; kept for a minute. An app that
    nobody has run has none."""
    kept = _kept.setdefault(store, TTLCache(_KEPT_APPS, KEPT_S))
    task = kept.get(app)
    if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
        task = kept[app] = asyncio.create_task(_read(store, app.replace(".", "/", 1)))
    return await asyncio.shield(task)


async def _read(store: Store, app: str) -> AppTimes:
    jobs = await _newest(store, {"job_input.app_id": app})
    if len(jobs) < RUNS:
        # What a program submits names a method only.
        method = {"job_input.app_id": None, "job_input.method": app.replace("/", ".", 1)}
        jobs += await _newest(store, method)
        jobs.sort(key=lambda job: float(job["finished"]), reverse=True)
    waits, runs = [], []
    for job in jobs[:RUNS]:
        oid: ObjectId = job["_id"]
        waits.append(max(0.0, job["running"] - int.from_bytes(oid.binary[:4], "big")))
        runs.append(max(0.0, job["finished"] - job["running"]))
    return AppTimes(app, tuple(sorted(waits)), tuple(sorted(runs)))


async def _newest(store: Store, query: Document) -> list[Document]:
    found = store.jobs.find(
        {**query, "status": Status.COMPLETED.value, "running": {"$gt": 0}},
        _FIELDS,
        batch_size=RUNS,
        max_time_ms=_QUERY_MS,
    )
    try:
        return await found.sort([("finished", -1), ("_id", -1)]).limit(RUNS).to_list()
    except ExecutionTimeout:
        return []  # runs without an app's id are found by reading through all of those


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
