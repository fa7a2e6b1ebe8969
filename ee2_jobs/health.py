"""The daily report on the engine's health, in words: what was done, what waits, what is wrong.

The newest KEPT reports are in `ee2_health`: {_id (the day, ISO), at (s), problems, lines}.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ee2_jobs import outbox, silent
from ee2_jobs.controls import Control, controls
from ee2_jobs.model import TERMINAL, WAITING, Document, Status, now_s
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store

DAY_S = 86_400.0
KEPT = 60
MOST_JOBS = 500_000
SOON_S = 7 * DAY_S
FULL_PART = 0.9
_APPS_NAMED = 10


@dataclass(frozen=True)
class Health:
    """problems: what somebody should look after. lines: the facts. Both are sentences."""

    day: str
    at_s: float
    problems: tuple[str, ...]
    lines: tuple[str, ...]

    def text(self) -> str:
        """All of it, for a log or a page."""
        head = f"The engine on {self.day}, {_clock(self.at_s)}"
        wrong = ["Needs attention:", *(f"  ! {p}" for p in self.problems)]
        return "\n".join([head, *(wrong if self.problems else ["All is well."]), *self.lines])


async def report(
    store: Store, settings: Settings, *, problems: Sequence[str] = (), now: float | None = None
) -> Health:
    """How the engine is, and what the last 24 hours brought; it changes nothing.

    problems: what the caller knows of, beside what is found here (the file of client groups, the
    pool). now: s, for tests.
    """
    at_s = now_s() if now is None else now
    wrong, lines = list(problems), []
    parts = (
        _ended(store, at_s),
        _waiting(store, at_s),
        _silent(store, settings),
        _outbox(store),
        _disk(settings),
        _controls(store),
        _limits(store, at_s),
        _chores(store, at_s),
    )
    for found, bad in await asyncio.gather(*parts):
        lines += found
        wrong += bad
    day = time.strftime("%Y-%m-%d", time.gmtime(at_s))
    return Health(day, at_s, tuple(wrong), tuple(lines))


async def keep(store: Store, health: Health) -> None:
    """Keep the report; of a day the newest one, and of all the newest KEPT."""
    document = {
        "_id": health.day,
        "at": health.at_s,
        "problems": list(health.problems),
        "lines": list(health.lines),
    }
    await store.health.replace_one({"_id": health.day}, document, upsert=True)
    old = store.health.find({}, ["_id"]).sort("_id", -1).skip(KEPT)
    await store.health.delete_many({"_id": {"$in": [one["_id"] async for one in old]}})


async def latest(store: Store) -> Health | None:
    """The newest report; None if there is none yet."""
    found = await store.health.find_one(sort=[("_id", -1)])
    if found is None:
        return None
    return Health(found["_id"], found["at"], tuple(found["problems"]), tuple(found["lines"]))


async def note_chore(store: Store, name: str, *, said: str, ok: bool) -> None:
    """A chore has run. Kept so that a report can say which have not."""
    now = now_s()
    fields: Document = {"at": now, "said": said[:500], "ok": ok}
    if ok:
        fields["ok_at"] = now
    await store.marks.update_one({"_id": f"chore.{name}"}, {"$set": fields}, upsert=True)


_Found = tuple[list[str], list[str]]


async def _ended(store: Store, at_s: float) -> _Found:
    """From the index on the end of jobs; a day has at most MOST_JOBS for this purpose."""
    ended: list[Document] = [
        {
            "$match": {
                "status": {"$in": list(TERMINAL)},
                "finished": {"$gte": at_s - DAY_S, "$lt": at_s},
            }
        },
        {"$limit": MOST_JOBS},
        {"$match": {"batch_job": {"$ne": True}}},
        {"$group": {"_id": {"s": "$status", "a": "$job_input.app_id"}, "n": {"$sum": 1}}},
    ]
    counts: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    async for row in await store.jobs.aggregate(ended):
        counts[row["_id"]["s"]] += row["n"]
        if row["_id"]["s"] == Status.ERROR:
            failed[row["_id"].get("a") or "unknown app"] += row["n"]
    total = sum(counts.values())
    lines = [
        f"In 24 hours {total} jobs ended: {counts['completed']} completed, {counts['error']} "
        f"failed, {counts['terminated']} were cancelled."
    ]
    if failed:
        named = ", ".join(f"{app} {n}" for app, n in failed.most_common(_APPS_NAMED))
        more = len(failed) - _APPS_NAMED
        lines.append(f"Failed, by app: {named}{f' and {more} other apps' if more > 0 else ''}.")
    bad = []
    if total >= 20 and counts["error"] * 2 > total:
        bad.append(f"{counts['error']} of {total} jobs failed in 24 hours.")
    return lines, bad


async def _waiting(store: Store, at_s: float) -> _Found:
    query: Document = {
        "status": {"$in": list(WAITING)}, "batch_job": False, "submission": {"$exists": True},
    }  # fmt: skip
    running = await store.jobs.count_documents({"status": Status.RUNNING.value})
    waiting = await store.jobs.count_documents(query)
    lines = [f"{running} jobs run, {waiting} wait."]
    oldest = await store.jobs.find_one(query, ["user", "queued"], sort=[("_id", 1)])
    if oldest is not None:
        since_s = oldest.get("queued") or oldest["_id"].generation_time.timestamp()
        lines.append(
            f"The oldest that waits is {oldest['_id']} of {oldest['user']}, for "
            f"{_long(at_s - since_s)}."
        )
    return lines, []


async def _silent(store: Store, settings: Settings) -> _Found:
    found = len(await silent.silent_jobs(store, settings.silent_runner_s))
    text = f"{found} running jobs have not been heard of for {settings.silent_runner_s} s."
    return ([], [text]) if found else ([], [])


async def _outbox(store: Store) -> _Found:
    lines: list[str] = []
    bad: list[str] = []
    for one in await outbox.waiting(store):
        if one.count:
            (bad if one.late else lines).append(f"{outbox.sentence(one)}.")
    return lines, bad


async def _disk(settings: Settings) -> _Found:
    lines: list[str] = []
    bad: list[str] = []
    for what, url in (("artifacts", settings.artifacts_url), ("stage files", settings.stage_dir)):
        parts = urlsplit(url)
        if parts.scheme not in ("", "file"):
            continue  # a store of objects has no end
        try:
            usage = await asyncio.to_thread(shutil.disk_usage, Path(parts.path))
        except OSError as e:
            bad.append(f"The folder of {what} cannot be read: {e.strerror}.")
            continue
        used = 1 - usage.free / usage.total
        text = (
            f"The disk of {what} is {used:.0%} full, {usage.free / 1e9:.1f} GB of "
            f"{usage.total / 1e9:.1f} GB are free."
        )
        (bad if used > FULL_PART else lines).append(text)
    return lines, bad


async def _controls(store: Store) -> _Found:
    now = await controls(store)
    lines = [f"The client group {g} is drained{_by(c)}." for g, c in now.drained.items()]
    return lines, [f"The engine is paused{_by(now.paused)}."] if now.paused else []


def _by(control: Control) -> str:
    reason = f": {control.reason}" if control.reason else ""
    return f" since {_date(control.at_s)}, by {control.by}{reason}"


async def _limits(store: Store, at_s: float) -> _Found:
    """What of the limits ends within a week."""
    soon = store.limits.find({"expires": {"$gt": at_s, "$lt": at_s + SOON_S}}).sort("expires", 1)
    return [
        f"The limit {one['_id']} ends on {_date(one['expires'])}." async for one in soon.limit(100)
    ], []


async def _chores(store: Store, at_s: float) -> _Found:
    """Chores whose last run did not succeed; one that failed once and then did its work is fine."""
    bad = []
    marks: Mapping[str, Document] = {"_id": {"$gte": "chore.", "$lt": "chore/"}}
    async for one in store.marks.find(marks):
        if not one.get("ok"):
            name = one["_id"].removeprefix("chore.")
            bad.append(f"The chore {name} failed {_long(at_s - one['at'])} ago: {one['said']}")
    return [], bad


def _date(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at_s))


def _clock(at_s: float) -> str:
    return time.strftime("%H:%M UTC", time.gmtime(at_s))


def _long(seconds: float) -> str:
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * DAY_S else f"{seconds / DAY_S:.1f} days"
