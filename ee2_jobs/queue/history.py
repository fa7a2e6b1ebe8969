"""What happened lately, as far as it tells when jobs will start and end: how long runs take, how
fast client groups start jobs, how long jobs waited, and how often ranges that were given held.

The sampler works it out, a bounded part at a time, and keeps it beside the snapshot.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from pymongo.errors import ExecutionTimeout

from ee2_jobs.model import TERMINAL, Document, Status, now_s
from ee2_jobs.queue.estimate import Pace, Runs, summarise
from ee2_jobs.queue.snapshot import keep, pack, unpack
from ee2_jobs.store import Store

T = TypeVar("T")
log = logging.getLogger(__name__)

NAME = "history"
DAY_S = 86400.0
RUNS_DAYS = 28
RUNS_PER_APP = 2000
RECENT = 5000
ENDS_KEPT = 300
# Apps whose runs are read anew in one call, and after how long, s.
APPS_AT_ONCE = 5
APP_AGE_S = 1800.0
HITS_AGE_S = 600.0
QUERY_MS = 10_000
ENDED = {"$in": list(TERMINAL)}
# Fewer ranges of one app than this say nothing of their own.
ENOUGH_HITS = 20


class Hits(NamedTuple):
    """How many starts, and how many ends, came within the range that was given: of how many."""

    starts: int = 0
    start_hits: int = 0
    ends: int = 0
    end_hits: int = 0


@dataclass(frozen=True)
class History:
    """See the module. runs: by app and client group, of completed jobs. group_runs: of all apps of
    a group. waits: of the jobs of a group that started in the last hour. hits: by app, '' for all.
    failures: by app, [ended, failed] in the last hour and in the last week."""

    at_s: float = 0.0
    runs: Mapping[str, Mapping[str, Runs]] = field(default_factory=dict)
    group_runs: Mapping[str, Runs] = field(default_factory=dict)
    waits: Mapping[str, Runs] = field(default_factory=dict)
    pace: Mapping[str, Pace] = field(default_factory=dict)
    hits: Mapping[str, Hits] = field(default_factory=dict)
    failures: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)

    def runs_of(self, app: str, group: str) -> tuple[Runs, str] | None:
        """The runs that tell most of an app in a group, and which they are, for people: its own
        there, its own anywhere, all of the group."""
        own = self.runs.get(app, {})
        if group in own and own[group].n >= 3:
            return own[group], f"{_runs(own[group].n)} of {app} in {group}"
        if "" in own:
            return own[""], f"{_runs(own[''].n)} of {app} in all client groups"
        of_group = self.group_runs.get(group)
        if of_group is not None:
            return of_group, f"{_runs(of_group.n)} of any app in {group}"
        return None

    def hits_of(self, app: str) -> tuple[Hits, str]:
        """How often ranges of the app held, or of all apps where its own are few."""
        own = self.hits.get(app, Hits())
        if own.starts >= ENOUGH_HITS and own.ends >= ENOUGH_HITS:
            return own, app
        return self.hits.get("", Hits()), "all apps"


def _runs(n: int) -> str:
    return f"{n} run" if n == 1 else f"{n} runs"


def encode(history: History) -> bytes:
    """For `decode`."""
    return pack({name: getattr(history, name) for name in History.__dataclass_fields__})


def decode(data: bytes) -> History:
    """What `encode` made."""
    stored = unpack(data)
    return History(
        stored["at_s"],
        {app: _all_runs(groups) for app, groups in stored["runs"].items()},
        _all_runs(stored["group_runs"]),
        _all_runs(stored["waits"]),
        {
            group: Pace(hour, day, mean_s, tuple(ends))
            for group, (hour, day, mean_s, ends) in stored["pace"].items()
        },
        {app: Hits(*hits) for app, hits in stored["hits"].items()},
        {app: tuple(counts) for app, counts in stored["failures"].items()},
    )


def _all_runs(stored: Mapping[str, Any]) -> dict[str, Runs]:
    return {name: Runs(n, tuple(marks)) for name, (n, marks) in stored.items()}


def app_of(record: Document) -> str:
    """What a job's runs are collected under: its app, or its method where it names no app."""
    given = record.get("job_input") or {}
    return str(given.get("app_id") or given.get("method") or "")


def group_of(record: Document, default: str) -> str:
    """The client group of a job."""
    given = (record.get("job_input") or {}).get("requirements") or {}
    return str(given.get("clientgroup") or default)


FACTS = {
    "job_input.app_id": 1,
    "job_input.method": 1,
    "job_input.requirements.clientgroup": 1,
    "status": 1,
    "queued": 1,
    "running": 1,
    "finished": 1,
    "user": 1,
}


async def _in_time(asked: Awaitable[T], otherwise: T) -> T:
    """What was asked for, or the other value if MongoDB takes longer than QUERY_MS: what is told of
    the past is then older, and the rest of the sampler's work goes on."""
    try:
        return await asked
    except ExecutionTimeout as e:
        log.warning("A part of the history is left as it was: %s", e)
        return otherwise


class HistoryKeeper:
    """Works the history out for the sampler. default: the default client group's name."""

    def __init__(self, store: Store, default: str) -> None:
        self._store = store
        self._default = default
        self._apps: dict[str, tuple[float, dict[str, Runs]]] = {}
        self._slow: tuple[float, dict[str, Hits], dict[str, list[int]]] | None = None

    async def refresh(self) -> History:
        """The history as of now, stored for all who ask: a few queries, each bounded."""
        now = now_s()
        recent = await _in_time(self._recent(now), [])
        await self._read_apps(now, await _in_time(self._live_apps(), []))
        if self._slow is None or now - self._slow[0] > HITS_AGE_S:
            hits, week = self._slow[1:] if self._slow else ({}, {})
            hits = await _in_time(self._hits(now), hits)
            self._slow = (now, hits, await _in_time(self._week(now), week))
        history = await asyncio.to_thread(self._put_together, now, recent)
        await keep(self._store, NAME, await asyncio.to_thread(encode, history), now)
        return history

    async def _recent(self, now: float) -> list[Document]:
        """The jobs that ended in the last day, the newest of them, and those that run."""
        jobs = self._store.jobs
        ended = jobs.find(
            {"status": ENDED, "finished": {"$gt": now - DAY_S}, "batch_job": {"$ne": True}}, FACTS
        ).sort([("finished", -1), ("_id", -1)]).limit(RECENT).max_time_ms(QUERY_MS)
        running = jobs.find({"status": Status.RUNNING.value, "batch_job": {"$ne": True}}, FACTS)
        return [*await ended.to_list(), *await running.limit(RECENT).to_list()]

    async def _live_apps(self) -> list[str]:
        waiting = {"$in": [Status.QUEUED.value, Status.RUNNING.value]}
        rows = await self._store.jobs.aggregate(
            [
                {"$match": {"status": waiting, "batch_job": {"$ne": True}}},
                {"$limit": 20_000},
                {"$group": {"_id": {"$ifNull": ["$job_input.app_id", "$job_input.method"]}}},
            ],
            maxTimeMS=QUERY_MS,
        )
        return [str(row["_id"]) async for row in rows if row["_id"]]

    async def _read_apps(self, now: float, apps: Iterable[str]) -> None:
        old = [a for a in apps if a not in self._apps or now - self._apps[a][0] > APP_AGE_S]
        old.sort(key=lambda app: self._apps[app][0] if app in self._apps else 0.0)
        for app in old[:APPS_AT_ONCE]:
            before = self._apps[app][1] if app in self._apps else {}
            self._apps[app] = (now, await _in_time(self._runs_of(now, app), before))

    async def _runs_of(self, now: float, app: str) -> dict[str, Runs]:
        # A method has a dot, an app's id a slash; who runs a method by its name gives no app.
        key: Document = {"job_input.app_id": app}
        if "/" not in app:
            key = {"$or": [key, {"job_input.app_id": None, "job_input.method": app}]}
        found: dict[str, list[float]] = defaultdict(list)
        query = {
            **key, "status": Status.COMPLETED.value, "finished": {"$gt": now - RUNS_DAYS * DAY_S},
        }
        async for job in (
            self._store.jobs.find(query, FACTS)
            .sort([("finished", -1), ("_id", -1)])
            .limit(RUNS_PER_APP)
            .max_time_ms(QUERY_MS)
        ):
            if "running" in job:
                took = job["finished"] - job["running"]
                found[group_of(job, self._default)].append(took)
                found[""].append(took)
        return {group: runs for group, took in found.items() if (runs := summarise(took))}

    async def _hits(self, now: float) -> dict[str, Hits]:
        """How often the ranges held that were noted on jobs when these were queued. Of ends those
        of completed jobs count: nobody foretells a failure, nor a cancel."""
        def within(moment: str) -> Document:
            key = {"running": "start", "finished": "end"}[moment]
            low, high = (
                {"$arrayElemAt": [f"$expected.{key}", n]} for n in (0, 1)
            )
            value = f"${moment}"
            return {"$and": [{"$gte": [value, low]}, {"$lte": [value, high]}]}

        def count(*conditions: Document) -> Document:
            return {"$sum": {"$cond": [{"$and": list(conditions)}, 1, 0]}}

        started = {"$and": [{"$gt": ["$running", 0]}, {"$isArray": "$expected.start"}]}
        ended = {
            "$and": [
                {"$eq": ["$status", Status.COMPLETED.value]}, {"$isArray": "$expected.end"},
            ]
        }
        rows = await self._store.jobs.aggregate(
            [
                {"$match": {
                    "finished": {"$gt": now - RUNS_DAYS * DAY_S}, "expected.at": {"$gt": 0},
                }},
                {"$sort": {"finished": -1}},
                {"$limit": 20_000},
                {"$group": {
                    "_id": {"$ifNull": ["$job_input.app_id", "$job_input.method"]},
                    "starts": count(started),
                    "start_hits": count(started, within("running")),
                    "ends": count(ended),
                    "end_hits": count(ended, within("finished")),
                }},
            ],
            maxTimeMS=QUERY_MS,
        )
        hits = {
            str(row.pop("_id")): Hits(**row) async for row in rows
        }
        hits[""] = Hits(*map(sum, zip(*hits.values(), strict=True))) if hits else Hits()
        return hits

    async def _week(self, now: float) -> dict[str, list[int]]:
        """Jobs that ended within a week, and those of them that failed, by app."""
        failed = {"$cond": [{"$eq": ["$status", Status.ERROR.value]}, 1, 0]}
        rows = await self._store.jobs.aggregate(
            [
                {"$match": {
                    "status": ENDED,
                    "finished": {"$gt": now - 7 * DAY_S},
                    "batch_job": {"$ne": True},
                }},
                {"$sort": {"finished": -1}},
                {"$limit": 50_000},
                {"$group": {
                    "_id": {"$ifNull": ["$job_input.app_id", "$job_input.method"]},
                    "ended": {"$sum": 1}, "failed": {"$sum": failed},
                }},
            ],
            maxTimeMS=QUERY_MS,
        )
        return {str(row["_id"]): [row["ended"], row["failed"]] async for row in rows}

    def _put_together(self, now: float, recent: list[Document]) -> History:
        assert self._slow is not None
        group_runs: dict[str, list[float]] = defaultdict(list)
        waits: dict[str, list[float]] = defaultdict(list)
        starts: dict[str, list[float]] = defaultdict(list)
        ended: dict[str, list[float]] = defaultdict(list)
        last_hour: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        ends = [job["finished"] for job in recent if "finished" in job]
        # Of a busy day only the newest are here: the span that they cover.
        span_s = now - min(ends) if len(ends) >= RECENT else DAY_S
        for job in recent:
            group = group_of(job, self._default)
            if "running" in job:
                starts[group].append(job["running"])
                if "queued" in job and now - job["running"] < 3600.0:
                    waits[group].append(job["running"] - job["queued"])
                if job["status"] == Status.COMPLETED.value and "finished" in job:
                    group_runs[group].append(job["finished"] - job["running"])
            if "finished" in job and now - job["finished"] < 3600.0:
                if "running" in job:
                    ended[group].append(job["finished"])
                last_hour[app_of(job)][0] += 1
                last_hour[app_of(job)][1] += job["status"] == Status.ERROR.value
        runs = {group: found for group, took in group_runs.items() if (found := summarise(took))}
        pace = {}
        for group, times in starts.items():
            hour = sum(now - t < min(3600.0, span_s) for t in times)
            pace[group] = Pace(
                round(hour * 3600.0 / min(3600.0, span_s)),
                round(len(times) * DAY_S / span_s),
                runs[group].mean_s if group in runs else None,
                tuple(round(t, 1) for t in sorted(ended[group], reverse=True)[:ENDS_KEPT]),
            )
        week = self._slow[2]
        return History(
            now,
            {app: found for app, (_, found) in self._apps.items() if found},
            runs,
            {group: found for group, took in waits.items() if (found := summarise(took))},
            pace,
            self._slow[1],
            {a: (*last_hour[a], *week.get(a, (0, 0))) for a in {*last_hour, *week}},
        )
