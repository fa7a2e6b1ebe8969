"""Logs of jobs, in buckets.

A log is a row of bucket documents {job, base, count, bytes, lines, keys}: `base` is the number of
the bucket's first line, and a line's number is `base` + its place. Appending is one atomic `$push`
to the last bucket, so line numbers are right with any number of writers, cost the same at any
length, and no document comes near MongoDB's 16 MB. A full bucket takes no more lines, which fixes
the base of the next.

EE2's own logs (one document per job in `ee2_logs`) are read as they are; lines appended to such a
log go to buckets that start where it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from ee2_jobs.errors import InvalidInput, NotFound
from ee2_jobs.model import Document, now_s, to_ms
from ee2_jobs.store import Store

BUCKET_LINES = 1000
BUCKET_BYTES = 400_000
MAX_LINE_BYTES = 1_000_000
_KEYS_KEPT = 50


@dataclass(frozen=True)
class Line:
    """One log line. `position` counts from 0; `time_s` may be None in logs that EE2 took over."""

    text: str
    is_error: bool
    time_s: float | None
    position: int = -1


@dataclass(frozen=True)
class LogPage:
    """Lines of a log, and how many lines the log has."""

    lines: tuple[Line, ...]
    count: int


def parse_lines(value: Any) -> list[Line]:
    """The lines of an `add_job_logs` call: mappings {line, is_error, ts}.

    ts (`ee2-api` 2.12): whole number = ms, fraction = s, digits in a string = ms, digits with a dot
    = s, other string = a date; absent or not readable = now. is_error: 1, true or "1".
    """
    if not isinstance(value, list):
        raise InvalidInput("lines must be a list")
    lines = []
    for i, item in enumerate(value):
        if not isinstance(item, Mapping) or not isinstance(item.get("line"), str):
            raise InvalidInput(f"lines index {i} must be a mapping with a string 'line'")
        text = item["line"]
        if len(text) > MAX_LINE_BYTES:
            text = text[:MAX_LINE_BYTES] + " … (line cut)"
        lines.append(Line(text, _is_error(item.get("is_error")), _time_s(item.get("ts"))))
    return lines


def _is_error(value: Any) -> bool:
    try:
        return int(value) == 1
    except (TypeError, ValueError):
        return False


def _time_s(value: Any) -> float:
    if isinstance(value, bool) or value is None:
        return now_s()
    if isinstance(value, int):
        return value / 1000
    if isinstance(value, float):
        return value
    try:
        text = str(value).strip()
        if text.isdigit():
            return int(text) / 1000
        if text.replace(".", "", 1).isdigit():
            return float(text)
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        return now_s()


async def append(
    store: Store, job: ObjectId, lines: Sequence[Line], key: str | None = None
) -> int:
    """Append lines; returns how many lines the log has then.

    An empty list makes an empty log if there was none. `key`, if given, names this batch of lines:
    sending the same batch again stores nothing and answers with the count.
    """
    if not lines:
        return await _touch(store, job)
    for start in range(0, len(lines), BUCKET_LINES):
        part = lines[start : start + BUCKET_LINES]
        count = await _append_part(store, job, part, f"{key}.{start}" if key else None)
    return count


async def _append_part(
    store: Store, job: ObjectId, lines: Sequence[Line], key: str | None
) -> int:
    stored = [{"line": n.text, "error": n.is_error, "ts": n.time_s} for n in lines]
    size = sum(len(n.text.encode("utf-8", "replace")) + 40 for n in lines)
    push: dict[str, Any] = {"lines": {"$each": stored}}
    query: dict[str, Any] = {
        "job": job,
        "count": {"$lt": BUCKET_LINES},
        "bytes": {"$lt": BUCKET_BYTES},
    }
    if key is not None:
        kept = await store.log_buckets.find_one({"job": job, "keys": key}, {"_id": 1})
        if kept is not None:
            return await count(store, job)
        push["keys"] = {"$each": [key], "$slice": -_KEYS_KEPT}
        query["keys"] = {"$ne": key}
    while True:
        bucket = await store.log_buckets.find_one_and_update(
            query,
            {"$push": push, "$inc": {"count": len(lines), "bytes": size},
             "$set": {"updated": now_s()}},
            projection={"base": 1, "count": 1},
            sort={"base": -1},
            return_document=ReturnDocument.AFTER,
        )
        if bucket is not None:
            return int(bucket["base"] + bucket["count"])
        await _new_bucket(store, job)


async def _new_bucket(store: Store, job: ObjectId) -> None:
    """Add the next bucket, unless another writer just did."""
    document = {
        "job": job,
        "base": await count(store, job),
        "count": 0,
        "bytes": 0,
        "lines": [],
        "keys": [],
        "updated": now_s(),
    }
    try:
        await store.log_buckets.insert_one(document)
    except DuplicateKeyError:
        pass


async def _last(store: Store, job: ObjectId) -> Document | None:
    return await store.log_buckets.find_one(
        {"job": job}, {"base": 1, "count": 1}, sort=[("base", -1)]
    )


async def _old_log(store: Store, job: ObjectId) -> Document | None:
    return await store.old_logs.find_one({"_id": job})


async def _touch(store: Store, job: ObjectId) -> int:
    last = await _last(store, job)
    if last is None:
        await _new_bucket(store, job)
        return await count(store, job)
    return int(last["base"] + last["count"])


async def count(store: Store, job: ObjectId) -> int:
    """How many lines the log has; 0 if there is none."""
    last = await _last(store, job)
    if last is not None:
        return int(last["base"] + last["count"])
    old = await store.old_logs.find_one({"_id": job}, {"stored_line_count": 1})
    return int(old.get("stored_line_count", 0)) if old else 0


async def read(
    store: Store, job: ObjectId, skip_lines: int = 0, limit: int | None = None
) -> LogPage:
    """The lines from number `skip_lines` on, at most `limit` of them.

    Raises NotFound with EE2's text while nobody has logged anything for the job.
    """
    skip_lines = max(0, skip_lines)
    last = await _last(store, job)
    old = None
    first = await store.log_buckets.find_one({"job": job}, {"base": 1}, sort=[("base", 1)])
    if last is None or (first is not None and first["base"] > 0 and skip_lines < first["base"]):
        old = await _old_log(store, job)
    if last is None and old is None:
        raise NotFound(f"Cannot find job log with id: {job}")
    total = int(last["base"] + last["count"]) if last else len((old or {}).get("lines", ()))
    lines: list[Line] = []
    wanted = total if limit is None else limit
    if old is not None:
        lines += _cut(_old_lines(old), 0, skip_lines, wanted)
    if last is not None and len(lines) < wanted:
        start = await store.log_buckets.find_one(
            {"job": job, "base": {"$lte": skip_lines}}, {"base": 1}, sort=[("base", -1)]
        )
        cursor = store.log_buckets.find(
            {"job": job, "base": {"$gte": start["base"] if start else 0}}, {"keys": 0}
        ).sort("base", 1)
        async for bucket in cursor:
            stored = [
                Line(n["line"], bool(n.get("error")), n.get("ts")) for n in bucket["lines"]
            ]
            lines += _cut(stored, bucket["base"], skip_lines, wanted - len(lines))
            if len(lines) >= wanted:
                break
    return LogPage(tuple(lines), total)


def _old_lines(old: Document) -> list[Line]:
    return [
        Line(n.get("line", ""), bool(n.get("error")), n.get("ts")) for n in old.get("lines", ())
    ]


def _cut(lines: Sequence[Line], base: int, skip: int, wanted: int) -> list[Line]:
    start = max(0, skip - base)
    return [
        Line(n.text, n.is_error, n.time_s, base + start + i)
        for i, n in enumerate(lines[start : start + wanted])
    ]


def wire_line(line: Line) -> dict[str, Any]:
    """A line as clients get it: `is_error` is the integer 0 or 1, `ts` in ms."""
    wire: dict[str, Any] = {
        "line": line.text,
        "linepos": line.position,
        "is_error": int(line.is_error),
    }
    if line.time_s:
        wire["ts"] = to_ms(line.time_s)
    return wire
