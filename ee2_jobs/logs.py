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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from ee2_jobs.errors import InvalidInput, NotFound
from ee2_jobs.model import Document, now_s, parse_time_s, to_ms
from ee2_jobs.store import Store

BUCKET_LINES = 250  # a bucket with as many is full; the last append may bring more
PART_LINES = 1000
BUCKET_BYTES = 400_000
MAX_LINE_BYTES = 1_000_000
PART_BYTES = 2_000_000
_KEYS_KEPT = 50
_KEY_BUCKETS = 4
_LATEST_S = 253_402_300_799.0  # the end of the year 9999


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
    except (TypeError, ValueError, OverflowError):
        return False


def _time_s(value: Any) -> float:
    try:
        time_s = parse_time_s(value)
    except (ValueError, OverflowError):
        return now_s()
    return time_s if 0 <= time_s <= _LATEST_S else now_s()


async def append(
    store: Store, job: ObjectId, lines: Sequence[Line], key: str | None = None
) -> int:
    """Append lines; returns how many lines the log has then.

    An empty list makes an empty log if there was none. `key`, if given, names this batch of lines:
    sending the same batch again stores nothing and answers with the count.
    """
    if not lines:
        return await _touch(store, job)
    for start, part in _parts(lines):
        count = await _append_part(store, job, part, f"{key}.{start}" if key else None)
    return count


def _size_bytes(line: Line) -> int:
    """About what a line takes in a bucket."""
    return len(line.text.encode("utf-8", "replace")) + 40


def _parts(lines: Sequence[Line]) -> Iterator[tuple[int, Sequence[Line]]]:
    """The lines in parts that a bucket can take on top of what it has, each with its first line's
    place: the same lines are always parted in the same way."""
    start = size = 0
    for i, line in enumerate(lines):
        more = _size_bytes(line)
        if i > start and (i - start >= PART_LINES or size + more > PART_BYTES):
            yield start, lines[start:i]
            start, size = i, 0
        size += more
    yield start, lines[start:]


async def _append_part(
    store: Store, job: ObjectId, lines: Sequence[Line], key: str | None
) -> int:
    """Push the lines to the last bucket, by its id: a search for an open one would read through
    all buckets of a long log whenever the last is full."""
    stored = [{"line": n.text, "error": n.is_error, "ts": n.time_s} for n in lines]
    push: dict[str, Any] = {"lines": {"$each": stored}}
    if key is not None:
        push["keys"] = {"$each": [key], "$slice": -_KEYS_KEPT}
    while True:
        newest = await newest_buckets(store, job, 1 if key is None else _KEY_BUCKETS)
        if any(key in bucket["keys"] for bucket in newest):
            return end_of(newest[0])
        if not newest or not _is_open(newest[0]):
            await _new_bucket(store, job, newest[0] if newest else None)
            continue
        bucket = await store.log_buckets.find_one_and_update(
            {
                "_id": newest[0]["_id"],
                "count": {"$lt": BUCKET_LINES},
                "bytes": {"$lt": BUCKET_BYTES},
                **({} if key is None else {"keys": {"$ne": key}}),
            },
            {
                "$push": push,
                "$inc": {"count": len(lines), "bytes": sum(_size_bytes(n) for n in lines)},
                "$set": {"updated": now_s()},
            },
            projection={"base": 1, "count": 1},
            return_document=ReturnDocument.AFTER,
        )
        if bucket is not None:
            return end_of(bucket)


async def newest_buckets(store: Store, job: ObjectId, how_many: int) -> list[Document]:
    """The last buckets without their lines, the last one first. A batch is sent again soon or
    never, so its key is looked for in these only."""
    fields = {"base": 1, "count": 1, "bytes": 1, "keys": 1}
    found = store.log_buckets.find({"job": job}, fields).sort("base", -1).limit(how_many)
    return await found.to_list()


def _is_open(bucket: Document) -> bool:
    return bool(bucket["count"] < BUCKET_LINES and bucket["bytes"] < BUCKET_BYTES)


def end_of(bucket: Document) -> int:
    """The number of the line after the bucket's last."""
    return int(bucket["base"] + bucket["count"])


async def _new_bucket(store: Store, job: ObjectId, last: Document | None) -> None:
    """Add the bucket after `last`, which is full and so takes no more lines (or the first one, if
    it is None), unless another writer just did."""
    document = {
        "job": job,
        "base": await count(store, job) if last is None else end_of(last),
        "count": 0,
        "bytes": 0,
        "keys": [],
        "updated": now_s(),
        "lines": [],
    }
    try:
        await store.log_buckets.insert_one(document)
    except DuplicateKeyError:
        pass


async def _last(store: Store, job: ObjectId) -> Document | None:
    newest = await newest_buckets(store, job, 1)
    return newest[0] if newest else None


async def old_log(store: Store, job: ObjectId) -> Document | None:
    """The log that EE2 wrote, as it stored it; None if there is none."""
    return await store.old_logs.find_one({"_id": job})


async def _touch(store: Store, job: ObjectId) -> int:
    last = await _last(store, job)
    if last is None:
        await _new_bucket(store, job, None)
        return await count(store, job)
    return end_of(last)


async def count(store: Store, job: ObjectId) -> int:
    """How many lines the log has; 0 if there is none."""
    last = await _last(store, job)
    if last is not None:
        return end_of(last)
    # EE2's own counts are too low where two writers met.
    size = {"$size": {"$ifNull": ["$lines", []]}}
    old = await store.old_logs.find_one({"_id": job}, {"lines": size})
    return int(old["lines"]) if old else 0


async def read(
    store: Store, job: ObjectId, skip_lines: int = 0, limit: int | None = None
) -> LogPage:
    """The lines from number `skip_lines` on, at most `limit` of them.

    Raises NotFound with EE2's text while nobody has logged anything for the job.
    """
    skip_lines = max(0, skip_lines)
    last = await store.log_buckets.find_one({"job": job}, {"keys": 0}, sort=[("base", -1)])
    if last is not None and skip_lines >= last["base"]:
        # The end of the log, which is what is asked for again and again while a job runs.
        end = lines_between(stored_lines(last), last["base"], skip_lines, limit)
        return LogPage(tuple(end), end_of(last))
    old = None
    first = await store.log_buckets.find_one({"job": job}, {"base": 1}, sort=[("base", 1)])
    if last is None or (first is not None and first["base"] > 0 and skip_lines < first["base"]):
        old = await old_log(store, job)
    if last is None and old is None:
        if await store.jobs.find_one({"_id": job, "log_expired": {"$gt": 0}}, ["_id"]):
            return LogPage((), 0)  # there was one, which was deleted by age
        raise NotFound(f"Cannot find job log with id: {job}")
    total = end_of(last) if last else len((old or {}).get("lines", ()))
    lines: list[Line] = []
    wanted = total if limit is None else limit
    if old is not None:
        lines += lines_between(stored_lines(old), 0, skip_lines, wanted)
    if last is not None and len(lines) < wanted:
        start = await store.log_buckets.find_one(
            {"job": job, "base": {"$lte": skip_lines}}, {"base": 1}, sort=[("base", -1)]
        )
        cursor = store.log_buckets.find(
            {"job": job, "base": {"$gte": start["base"] if start else 0}}, {"keys": 0}
        ).sort("base", 1)
        async for bucket in cursor:
            lines += lines_between(
                stored_lines(bucket), bucket["base"], skip_lines, wanted - len(lines)
            )
            if len(lines) >= wanted:
                break
    return LogPage(tuple(lines), total)


def stored_lines(document: Document) -> list[Document]:
    """The stored lines of a bucket or of a log that EE2 wrote."""
    return document.get("lines") or []


def lines_between(
    stored: Sequence[Document], base: int, skip: int, wanted: int | None
) -> list[Line]:
    """Stored lines, the first of which has the number `base`: those from number `skip` on, at most
    `wanted`."""
    start = max(0, skip - base)
    end = None if wanted is None else start + wanted
    return [
        Line(n.get("line", ""), bool(n.get("error")), n.get("ts"), base + start + i)
        for i, n in enumerate(stored[start:end])
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
