"""The log of a job for those who may read the job: pages, following, searching."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from bson import ObjectId

from ee2_jobs import log_pages
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.log_follow import LogFollow
from ee2_jobs.log_match import Match, matcher
from ee2_jobs.model import LIVE, Document, Status, to_ms
from ee2_jobs.page.values import json_bytes
from ee2_jobs.rights import Level, find_permitted

MAX_FULL_LINES = 5
MAX_FOUND = 1000
_ALL_LETTERS = 1_000_100  # more than a stored line has
_FIELDS = ("user", "wsid", "authstrat", "shared", "status", "batch_job", "log_expired")


async def _job(engine: Engine, caller: Caller, job_id: Any, as_admin: bool) -> Document:
    return await find_permitted(
        engine, caller, job_id, Level.READ, as_admin=as_admin,
        projection=dict.fromkeys(_FIELDS, 1),
    )  # fmt: skip


async def log_page(
    engine: Engine,
    caller: Caller,
    job_id: Any,
    *,
    start: int = 0,
    limit: int = 2000,
    tail: int | None = None,
    full: bool = False,
    follow: LogFollow | None = None,
    wait_s: float = 0.0,
    as_admin: bool = False,
) -> Document:
    """{id, status, from, lines, count, next, note}; `next` is the `start` that goes on from here.

    tail: the last so many lines instead. full: lines are not cut, MAX_FULL_LINES at most. wait_s:
    if there is nothing from `start` on and the job has not ended, wait for it. note: why there is
    nothing to see.
    """
    if full and (limit if tail is None else tail) > MAX_FULL_LINES:
        raise InvalidInput(f"full: at most {MAX_FULL_LINES} lines at a time, set limit")
    job = await _job(engine, caller, job_id, as_admin)
    oid: ObjectId = job["_id"]
    store = engine.store
    letters = _ALL_LETTERS if full else log_pages.CUT_LETTERS

    async def look() -> tuple[list[Document], int]:
        return await log_pages.page(
            store, oid, start=start, limit=limit, tail=tail, cut_letters=letters
        )

    lines, count = await look()
    if wait_s and follow is not None and tail is None and not lines and job["status"] in LIVE:
        await follow.wait(caller.user, oid, max(start, count), wait_s)
        job = await store.jobs.find_one({"_id": oid}, {"status": 1, "log_expired": 1}) or job
        lines, count = await look()
    first = lines[0]["n"] if lines else min(start, count)
    return {
        "id": str(oid),
        "status": job["status"],
        "from": first,
        "lines": lines,
        "count": count,
        "next": first + len(lines),
        "note": None if count else _why_empty(job),
    }


def _why_empty(job: Document) -> str:
    if job.get("log_expired"):
        return f"Log expired on {time.strftime('%Y-%m-%d', time.gmtime(job['log_expired']))}"
    if job.get("batch_job"):
        return "A batch prints nothing itself: its jobs have logs"
    if job["status"] == Status.RUNNING:
        return "Running, nothing printed so far"
    return "Queued: no output yet" if job["status"] in LIVE else "This job printed nothing"


async def log_search(
    engine: Engine,
    caller: Caller,
    job_id: Any,
    *,
    text: str = "",
    regex: bool = False,
    case: bool = False,
    errors_only: bool = False,
    start: int = 0,
    limit: int = 100,
    as_admin: bool = False,
) -> Document:
    """{id, matches: [{n, text, marks, err}], total, exact, next}: the lines in which the text is
    found, from line `start` on; of all lines with `errors_only`, those that are errors. total: of
    the whole log; `exact` is false where there are more."""
    wanted = matcher(text, regex=regex, case=case)
    if not text and not errors_only:
        raise InvalidInput("q is empty: give the text to look for")
    job = await _job(engine, caller, job_id, as_admin)
    found = await log_pages.search(
        engine.store, job["_id"], wanted, errors_only=errors_only, start=start, limit=limit
    )
    last = found.matches[-1].number if found.matches else None
    return {
        "id": str(job["_id"]),
        "matches": [_shown(one) for one in found.matches],
        "total": found.total,
        "exact": found.exact,
        "next": last + 1 if last is not None and len(found.matches) == limit else None,
    }


def _shown(match: Match) -> Document:
    return {
        "n": match.number, "text": match.excerpt, "marks": match.marks, "err": match.is_error,
    }  # fmt: skip


async def open_log(
    engine: Engine, caller: Caller, job_id: Any, *, as_json: bool, as_admin: bool = False
) -> tuple[str, AsyncIterator[bytes]]:
    """The job's id, and the whole log in parts: plain text, or one JSON value per line ({n, t, err,
    text}). Errors before the first part."""
    job = await _job(engine, caller, job_id, as_admin)
    return str(job["_id"]), _all_of(engine, job["_id"], as_json)


async def _all_of(engine: Engine, oid: ObjectId, as_json: bool) -> AsyncIterator[bytes]:
    async for lines in log_pages.text_of(engine.store, oid):
        if as_json:
            rows = (
                {
                    "n": line.position, "err": line.is_error, "text": line.text,
                    "t": to_ms(line.time_s) if line.time_s else None,
                }
                for line in lines
            )  # fmt: skip
            yield b"".join(json_bytes(row) + b"\n" for row in rows)
        else:
            yield "".join(f"{line.text}\n" for line in lines).encode("utf-8", "replace")
