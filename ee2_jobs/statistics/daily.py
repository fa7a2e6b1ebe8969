"""Roll-ups: how each user's jobs ended, by UTC day and app, in `ee2_daily`.

One document per user and day, and one per day with user `*` for all users:

    {user, day, runs, completed, error: {code: runs}, terminated: {code: runs},
     wait_s, run_s, cpu_s,
     apps: {app: [...], the same fields: [...], failed, stopped, waits, spans, last_s}}

`apps` is a table in columns, because a year of all users has 20,000 rows, which are read four times
as fast so as in documents of their own.
`day` counts from 1970-01-01. A job belongs to the day on which it ended; every attempt is a run;
the parents of batches are none. `wait_s` is from submission to the start, `run_s` from the start to
the end, of jobs that have started; `waits` and `spans` are their buckets (`histogram.py`). `app` is
the app's id, `Module/app`, or else made from the method. Codes are EE2's, `none` where there is
none; `failed` and `stopped` are the sums of `error` and `terminated`.

Which days are to be done again is found without notes by those who write jobs: a day's stamp is how
many ended jobs it has and the sum of their `updated`, both answered from an index alone. So late
changes, imported records and deleted ones are all seen.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bson import Binary
from pymongo import ReplaceOne

from ee2_jobs.model import TERMINAL, Document, Status, now_s
from ee2_jobs.statistics.histogram import bucket_expression, encode
from ee2_jobs.store import Store

ALL = "*"
DAY_S = 86_400
NO_CODE = "none"
_MARK = "statistics"
_INDEX = "finished_-1__id_-1_status_1_updated_1"
_LATEST_S = 253_402_300_799.0  # the end of the year 9999
_QUERY_MS = 120_000
_WRITES = 1000
Stamp = list[int]
_CODES = ("error", "terminated")
COLUMNS = (
    "app", "runs", "completed", "failed", "stopped", "wait_s", "run_s", "cpu_s", "waits", "spans",
    "last_s",
)  # fmt: skip


async def roll_up(
    store: Store,
    *,
    dry_run: bool = False,
    since_s: float | None = None,
    budget_s: float = 60.0,
) -> int:
    """Bring the roll-ups of all days on which something has changed up to date, the newest day
    first; how many days that were (with dry_run: would be).

    since_s: look only at the day of this time and later ones (a look at all days of a million jobs
    takes about 2 s). budget_s: after this time the rest is left to the next call. May be called by
    two at once: both write the same.
    """
    began, started_s = time.monotonic(), now_s()
    first = 0 if since_s is None else int(since_s // DAY_S)
    stamps = await _stamps(store, first)
    known = {day: stamp for day, stamp in (await _known(store)).items() if day >= first}
    changed = [d for d in {*stamps, *known} if stamps.get(d) != known.get(d)]
    if dry_run:
        return len(changed)
    done = 0
    for day in sorted(changed, reverse=True):
        await _write_day(store, day, stamps.get(day))
        done += 1
        if time.monotonic() - began > budget_s:
            break
    if done == len(changed):
        await store.marks.update_one(
            {"_id": _MARK}, {"$max": {"as_of": started_s}}, upsert=True
        )
    return done


async def as_of_s(store: Store) -> float | None:
    """Up to when the roll-ups are complete; None before the first is done."""
    mark = await store.marks.find_one({"_id": _MARK}, {"as_of": 1})
    return None if mark is None else mark.get("as_of")


async def _stamps(store: Store, first: int) -> dict[int, Stamp]:
    """Per day with ended jobs, from `first` on: how many, and the sum of when they were changed,
    ms."""
    number = {"$cond": [{"$isNumber": "$updated"}, "$updated", 0]}
    pipeline: list[Document] = [
        {"$match": _ended(first * DAY_S, _LATEST_S)},
        {
            "$group": {
                "_id": {"$floor": {"$divide": ["$finished", DAY_S]}},
                "jobs": {"$sum": 1},
                "changed": {"$sum": {"$toLong": {"$multiply": [number, 1000]}}},
            }
        },
    ]
    rows = await store.jobs.aggregate(pipeline, hint=_INDEX, maxTimeMS=_QUERY_MS)
    return {int(row["_id"]): [row["jobs"], row["changed"]] async for row in rows}


async def _known(store: Store) -> dict[int, Stamp]:
    """The stamps that the roll-ups were made with."""
    mark = await store.marks.find_one({"_id": _MARK}) or {}
    return {int(day): stamp for day, stamp in mark.get("days", {}).items()}


def _ended(from_s: float, to_s: float) -> Document:
    return {"status": {"$in": list(TERMINAL)}, "finished": {"$gte": from_s, "$lt": to_s}}


async def _write_day(store: Store, day: int, stamp: Stamp | None) -> None:
    """Replace what is kept of a day; the stamp comes last, and from before the jobs were read: what
    changed meanwhile, or was not written, is done again at the next call."""
    users = await _read_day(store, day) if stamp else {}
    documents = [_document(user, day, apps) for user, apps in users.items()]
    for i in range(0, len(documents), _WRITES):
        await store.daily.bulk_write(
            [
                ReplaceOne({"user": d["user"], "day": day}, d, upsert=True)
                for d in documents[i : i + _WRITES]
            ],
            ordered=False,
        )
    await store.daily.delete_many({"day": day, "user": {"$nin": list(users)}})
    mark = f"days.{day}"
    change: Document = {"$set": {mark: stamp}} if stamp else {"$unset": {mark: ""}}
    await store.marks.update_one({"_id": _MARK}, change, upsert=True)


@dataclass
class Sums:
    """Runs of an app, or of all: what the documents keep."""

    runs: int = 0
    completed: int = 0
    error: dict[str, int] = field(default_factory=dict)
    terminated: dict[str, int] = field(default_factory=dict)
    wait_s: float = 0.0
    run_s: float = 0.0
    cpu_s: float = 0.0

    def add(self, row: Document) -> None:
        """Add what a document or a part of one counts."""
        self.runs += row["runs"]
        self.completed += row["completed"]
        self.wait_s += row["wait_s"]
        self.run_s += row["run_s"]
        self.cpu_s += row["cpu_s"]
        for mine, other in ((self.error, row["error"]), (self.terminated, row["terminated"])):
            for code, runs in other.items():
                mine[code] = mine.get(code, 0) + runs

    def as_document(self) -> Document:
        """As it is kept."""
        return {
            "runs": self.runs, "completed": self.completed, "error": self.error,
            "terminated": self.terminated, "wait_s": round(self.wait_s, 3),
            "run_s": round(self.run_s, 3), "cpu_s": round(self.cpu_s, 3),
        }  # fmt: skip


@dataclass
class _App(Sums):
    waits: list[int] = field(default_factory=list)
    spans: list[int] = field(default_factory=list)
    last_s: float = 0.0

    def add_group(self, row: Document) -> None:
        """Add a group of jobs with the same ending."""
        how, code = row["_id"]["status"], row["_id"].get("code", NO_CODE)
        runs: int = row["runs"]
        self.add({
            "runs": runs, "completed": runs if how == Status.COMPLETED else 0,
            "error": {code: runs} if how == Status.ERROR else {},
            "terminated": {code: runs} if how == Status.TERMINATED else {},
            "wait_s": row["wait_s"], "run_s": row["run_s"], "cpu_s": row["cpu_s"],
        })  # fmt: skip
        self.waits += row["waits"]
        self.spans += row["spans"]
        self.last_s = max(self.last_s, row["last_s"])


async def _read_day(store: Store, day: int) -> dict[str, dict[str, _App]]:
    """The day's ended jobs by user and app; `*` among the users."""
    users: dict[str, dict[str, _App]] = defaultdict(lambda: defaultdict(_App))
    rows = await store.jobs.aggregate(
        day_pipeline(day), hint=_INDEX, maxTimeMS=_QUERY_MS, allowDiskUse=True
    )
    async for row in rows:
        key = row["_id"]
        for user in (str(key.get("user")), ALL):
            users[user][key["app"]].add_group(row)
    return users


def day_pipeline(day: int) -> list[Document]:
    """Groups of a day's ended jobs by user, app and ending."""
    made = {"$convert": {"input": "$_id", "to": "date", "onError": None}}
    created = {"$divide": [{"$toLong": made}, 1000]}
    started = {"$and": [{"$gt": ["$running", 0]}, {"$lte": ["$running", "$finished"]}]}
    text = {"$eq": [{"$type": "$job_input.app_id"}, "string"]}
    method = {"$convert": {"input": "$job_input.method", "to": "string", "onError": "",
                           "onNull": ""}}  # fmt: skip
    as_app = {"$replaceOne": {"input": method, "find": ".", "replacement": "/"}}
    return [
        {"$match": {**_ended(day * DAY_S, (day + 1) * DAY_S), "batch_job": {"$ne": True}}},
        {
            "$project": {
                "user": 1,
                "status": 1,
                "finished": 1,
                "app": {"$cond": [text, "$job_input.app_id", as_app]},
                "code": {"$cond": [{"$eq": ["$status", Status.ERROR.value]}, "$error_code",
                                   "$terminated_code"]},
                # Ids have whole seconds: a job that starts at once waits for 0 s.
                "wait": {"$cond": [started, {"$max": [0, {"$subtract": ["$running", created]}]},
                                   None]},
                "run": {"$cond": [started, {"$subtract": ["$finished", "$running"]}, None]},
                "cpu": {"$add": [_used("cpu_user_s", "RemoteUserCpu"),
                                 _used("cpu_system_s", "RemoteSysCpu")]},
            }
        },
        {
            "$group": {
                "_id": {
                    "user": "$user",
                    "app": "$app",
                    "status": "$status",
                    "code": {"$cond": [{"$isNumber": "$code"}, {"$toString": {"$toLong": "$code"}},
                                       NO_CODE]},
                },
                "runs": {"$sum": 1},
                "wait_s": {"$sum": "$wait"},
                "run_s": {"$sum": "$run"},
                "cpu_s": {"$sum": "$cpu"},
                "last_s": {"$max": "$finished"},
                "waits": {"$push": _if_number("$wait")},
                "spans": {"$push": _if_number("$run")},
            }
        },
    ]  # fmt: skip


def _used(ours: str, condors: str) -> Document:
    """Processor time as the runner measured it, or as EE2 kept HTCondor's."""
    given = {"$ifNull": [f"$usage.{ours}", f"$condor_job_ads.{condors}"]}
    return {"$cond": [{"$isNumber": given}, given, 0]}


def _if_number(value: str) -> Document:
    """The bucket of a time; left out of a `$push` where there is none."""
    return {"$cond": [{"$isNumber": value}, bucket_expression(value), "$$REMOVE"]}


def _document(user: str, day: int, apps: dict[str, _App]) -> Document:
    total = Sums()
    columns: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, *_CODES)}
    for app, sums in sorted(apps.items()):
        row = sums.as_document()
        total.add(row)
        row |= {
            "app": app, "failed": sum(sums.error.values()),
            "stopped": sum(sums.terminated.values()), "last_s": sums.last_s,
            "waits": Binary(encode(sums.waits)), "spans": Binary(encode(sums.spans)),
        }  # fmt: skip
        for name, column in columns.items():
            column.append(row[name])
    return {"user": user, "day": day, **total.as_document(), "apps": columns}


def row_of(document: Document, app: str) -> Document | None:
    """What a day's document counts of one app; None if nothing."""
    columns: dict[str, list[Any]] = document["apps"]
    try:
        place = columns["app"].index(app)
    except ValueError:
        return None
    return {name: column[place] for name, column in columns.items()}


def rows_of(document: Document) -> Iterator[tuple[Any, ...]]:
    """All apps of a day's document, each in the order of COLUMNS."""
    columns: dict[str, list[Any]] = document["apps"]
    return zip(*(columns[name] for name in COLUMNS), strict=True)


Parts = Literal["none", "table", "all"]


async def days_of(
    store: Store, user: str, first: int, end: int, *, apps: Parts
) -> Sequence[Document]:
    """The documents of a user (ALL: of all) for the days from `first` up to, not including, `end`.
    apps: what of the apps; `table`: for `rows_of`, `all`: for `row_of`."""
    without = {
        "none": ("apps",), "table": tuple(f"apps.{name}" for name in _CODES), "all": (),
    }  # fmt: skip
    but = dict.fromkeys(("_id", "user", *without[apps]), 0)
    query = {"user": user, "day": {"$gte": first, "$lt": end}}
    return await store.daily.find(query, but, batch_size=10_000).sort("day", 1).to_list()
