"""Logs as people look at them: pages, the whole of one, and what a search finds in it.

The log of a job is in buckets (`logs.py`), and where EE2 wrote it, in one document of EE2's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
from bson import ObjectId

from ee2_jobs import logs
from ee2_jobs.log_match import Match, Matcher
from ee2_jobs.model import Document
from ee2_jobs.store import Store

MAX_PAGE_LINES = 5000
CUT_LETTERS = 4096  # of a line in a page
_PAGE_LETTERS = 2_000_000  # of a page
COUNTED = 10_000  # matches of a search that are counted
_SEARCH_S = 5.0
_BATCH_BUCKETS = 20  # looked through at a time: some 5 ms


def page_line(line: Document, number: int, cut_letters: int = CUT_LETTERS) -> Document:
    """A stored line as pages show it: n (from 0), t (ms or None), err, text, and `cut` (how many
    letters it has) if it is not all there."""
    text, time_s = line.get("line") or "", line.get("ts")
    shown: Document = {
        "n": number,
        "t": round(time_s * 1000) if time_s else None,
        "err": bool(line.get("error")),
        "text": text,
    }
    if len(text) > cut_letters:
        shown |= {"text": text[:cut_letters], "cut": len(text)}
    return shown


async def page(
    store: Store,
    job: ObjectId,
    *,
    start: int = 0,
    limit: int = 2000,
    tail: int | None = None,
    cut_letters: int = CUT_LETTERS,
) -> tuple[list[Document], int]:
    """Lines as `page_line` shows them, and how many the log has (0: none, or no log).

    start: the first line's number, at most `limit` lines; tail: instead, the last so many. A page
    of very long lines ends (with tail: begins) earlier.
    """
    newest = await logs.newest_buckets(store, job, 1)
    total = logs.end_of(newest[0]) if newest else await logs.count(store, job)
    if tail is not None:
        start, limit = max(0, total - tail), tail
    end = min(start + limit, total)
    lines: list[Document] = []
    if start < end:
        async for base, stored in _stored(store, job, start, end, in_buckets=bool(newest)):
            skip = max(0, start - base)
            lines += [
                page_line(line, number, cut_letters)
                for number, line in enumerate(stored[skip : end - base], base + skip)
            ]
    letters, fit = 0, 0
    for line in reversed(lines) if tail is not None else lines:
        letters += len(line["text"])
        if letters > _PAGE_LETTERS and fit:
            break
        fit += 1
    return (lines[len(lines) - fit :] if tail is not None else lines[:fit]), total


async def _stored(
    store: Store, job: ObjectId, start: int, end: int, *, in_buckets: bool = True
) -> AsyncIterator[tuple[int, Sequence[Document]]]:
    """The stored lines in runs, each with its first line's number, that hold the lines from number
    `start` up to `end`; the first and the last run may hold more."""
    first = None
    if in_buckets:
        first = await store.log_buckets.find_one(
            {"job": job, "base": {"$lte": start}}, {"base": 1}, sort=[("base", -1)]
        )
    if first is None:
        old = await (
            await store.old_logs.aggregate(
                [
                    {"$match": {"_id": job}},
                    {"$project": {"lines": {"$slice": ["$lines", start, max(1, end - start)]}}},
                ]
            )
        ).to_list()
        if old and old[0].get("lines"):
            yield start, old[0]["lines"]
    if in_buckets:
        found = store.log_buckets.find(
            {"job": job, "base": {"$gte": first["base"] if first else 0, "$lt": end}},
            {"base": 1, "lines": 1},
            batch_size=_BATCH_BUCKETS,
        ).sort("base", 1)
        async for bucket in found:
            yield bucket["base"], logs.stored_lines(bucket)


async def text_of(store: Store, job: ObjectId) -> AsyncIterator[Sequence[logs.Line]]:
    """The whole log, in runs of lines."""
    async for base, stored in _stored(store, job, 0, 2**31 - 1):
        yield logs.lines_between(stored, base, 0, None)


@dataclass
class Found:
    """What a search has found. matches: those from the line asked for on, in order. total: lines
    with a match in the whole log; `exact` is false where it was not counted to the end."""

    matches: list[Match] = field(default_factory=list)
    total: int = 0
    exact: bool = True


async def search(
    store: Store,
    job: ObjectId,
    wanted: Matcher,
    *,
    errors_only: bool = False,
    start: int = 0,
    limit: int = 100,
) -> Found:
    """Look through the whole log; the first `limit` lines with a match from number `start` on.

    Counting ends at COUNTED, and after some seconds. Other calls of this process go on meanwhile:
    MongoDB's answers are taken apart in a thread, a few thousand lines at a time.
    """
    found = Found()
    began = time.monotonic()
    old = await logs.old_log(store, job)
    if old is not None:
        await asyncio.to_thread(
            _look, [{"base": 0, **old}], wanted, errors_only, start, limit, found
        )
    raw: Any = store.log_buckets.find_raw_batches(
        {"job": job},
        {"_id": 0, "base": 1, "lines.line": 1, "lines.error": 1},
        batch_size=_BATCH_BUCKETS,
    ).sort("base", 1)
    try:
        async for batch in raw:
            enough = found.total >= COUNTED and len(found.matches) >= limit
            if enough or time.monotonic() - began > _SEARCH_S:
                found.exact = False
                break
            await asyncio.to_thread(_look, batch, wanted, errors_only, start, limit, found)
    finally:
        await raw.close()
    if found.total > COUNTED:
        found.total, found.exact = COUNTED, False
    return found


def _look(
    buckets: bytes | Sequence[Document],
    wanted: Matcher,
    errors_only: bool,
    start: int,
    limit: int,
    found: Found,
) -> None:
    """Add what these buckets have to what was found."""
    for bucket in bson.decode_all(buckets) if isinstance(buckets, bytes) else buckets:
        stored, base = logs.stored_lines(bucket), bucket["base"]
        places: Sequence[int] = range(len(stored))
        if errors_only:
            places = [i for i, line in enumerate(stored) if line.get("error")]
        texts = [stored[i].get("line") or "" for i in places]
        for place, at_byte in wanted.lines(texts):
            found.total += 1
            number = base + places[place]
            if number >= start and len(found.matches) < limit:
                excerpt, marks = wanted.excerpt(texts[place], at_byte)
                is_error = bool(stored[places[place]].get("error"))
                found.matches.append(Match(number, excerpt, marks, is_error))
            elif found.total > COUNTED and len(found.matches) >= limit:
                return


async def first_error(store: Store, job: ObjectId) -> tuple[int, str] | None:
    """Number and text of the log's first error line; None if it has none."""
    is_error = {"$in": ["$$this.error", [True, 1]]}
    steps: list[Document] = [
        {"$sort": {"base": 1}},
        {"$limit": 1},
        {"$set": {"errors": {"$map": {"input": "$lines", "in": is_error}}}},
        {"$set": {"at": {"$indexOfArray": ["$errors", True]}}},
        {"$project": {"base": 1, "at": 1, "text": {"$arrayElemAt": ["$lines.line", "$at"]}}},
    ]
    marked = {"lines.error": {"$in": [True, 1]}}
    for collection, its in ((store.old_logs, {"_id": job}), (store.log_buckets, {"job": job})):
        found = await collection.aggregate([{"$match": {**its, **marked}}, *steps])
        for one in await found.to_list():
            return int(one.get("base", 0) + one["at"]), str(one.get("text") or "")
    return None
