"""The children of a batch: why those failed that did, and all of them as a table."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from ee2_jobs.alike import MESSAGE_LETTERS, alike
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.messages import created_s
from ee2_jobs.model import Document, Status
from ee2_jobs.page import labels
from ee2_jobs.page.batch import load_batch
from ee2_jobs.page.job import timings
from ee2_jobs.page.values import first_line
from ee2_jobs.page.words import code_words

MAX_GROUPS = 50
MAX_TABLE_ROWS = 100_000
_IDS = 5
_ROWS_AT_A_TIME = 500
_HEADER = (
    "number", "job_id", "differs", "state", "code", "attempt", "created", "queued", "running",
    "finished", "waited_s", "ran_s", "node", "error_line",
)  # fmt: skip


async def failures(
    engine: Engine, caller: Caller, batch_id: Any, *, as_admin: bool = False
) -> Document:
    """{id, failed, groups: [{message, sample, count, code, code_words, ids}], more}: the children
    in `error` by what they failed with, the largest group first.

    message: with numbers and ids taken out; sample: one as it is; ids: the first few.
    """
    held = await load_batch(engine, caller, batch_id, as_admin=as_admin)
    key = str(held.job["_id"])
    text = {"$substrCP": [{"$toString": {"$ifNull": ["$errormsg", ""]}}, 0, MESSAGE_LETTERS]}
    steps: list[Document] = [
        {"$match": {**labels.child_query(key), "status": Status.ERROR.value}},
        {"$project": {"message": text, "code": {"$ifNull": ["$error_code", 0]}}},
        {
            "$group": {
                "_id": {"m": "$message", "c": "$code"},
                "n": {"$sum": 1},
                "ids": {"$firstN": {"input": "$_id", "n": _IDS}},
            }
        },
    ]
    rows = await (await engine.store.jobs.aggregate(steps)).to_list()
    groups = await asyncio.to_thread(_grouped, rows)
    return {
        "id": key,
        "failed": sum(row["n"] for row in rows),
        "groups": groups[:MAX_GROUPS],
        "more": max(0, len(groups) - MAX_GROUPS),
    }


def _grouped(rows: Sequence[Document]) -> list[Document]:
    groups: dict[tuple[str, Any], Document] = {}
    for row in rows:
        message, code = row["_id"]["m"], row["_id"]["c"]
        words = code_words({"status": Status.ERROR.value, "error_code": code}) or ""
        name = alike(message) or words
        group = groups.setdefault(
            (name, code),
            {
                "message": name, "sample": first_line(message), "count": 0, "code": code,
                "code_words": words, "ids": [],
            },
        )  # fmt: skip
        group["count"] += row["n"]
        group["ids"] += [str(oid) for oid in row["ids"]]
    for group in groups.values():
        group["ids"] = sorted(group["ids"])[:_IDS]
    return sorted(groups.values(), key=lambda g: (-g["count"], g["message"]))


def safe_cell(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula: with an apostrophe before it if it begins
    like one. Line ends become blanks."""
    if not isinstance(value, str):
        return value
    text = " ".join(value.split())
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


async def open_table(
    engine: Engine, caller: Caller, batch_id: Any, *, as_admin: bool = False
) -> AsyncIterator[bytes]:
    """The table of the children as CSV, in UTF-8, in parts; at most MAX_TABLE_ROWS rows, and a last
    row that says so if there are more. Times in ISO 8601, UTC. Errors before the first part."""
    held = await load_batch(engine, caller, batch_id, as_admin=as_admin)
    key = str(held.job["_id"])
    return _table(engine, key, await labels.differing(engine.store, key))


async def _table(engine: Engine, batch_id: str, paths: Sequence[str]) -> AsyncIterator[bytes]:
    fields = ["index", "status", "queued", "running", "finished", "updated", "error_code",
              "terminated_code", "errormsg", "claim.host", "where.host", "retry_parent",
              "retry_ids", "attempt"]  # fmt: skip
    if paths:
        fields.append("job_input.params")
    found = engine.store.jobs.find(
        labels.child_query(batch_id), fields, batch_size=_ROWS_AT_A_TIME
    ).sort([("index", 1), ("_id", 1)])
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(_HEADER)
    count = 0
    async for child in found.limit(MAX_TABLE_ROWS + 1):
        count += 1
        if count > MAX_TABLE_ROWS:
            writer.writerow([f"Only the first {MAX_TABLE_ROWS} children are listed"])
            break
        writer.writerow([safe_cell(cell) for cell in _row(child, paths)])
        if count % _ROWS_AT_A_TIME == 0:
            yield buffer.getvalue().encode("utf-8", "replace")
            buffer.seek(0)
            buffer.truncate()
            await asyncio.sleep(0)
    yield buffer.getvalue().encode("utf-8", "replace")


def _row(child: Document, paths: Sequence[str]) -> list[Any]:
    when = timings(child)
    host = (child.get("where") or {}).get("host") or (child.get("claim") or {}).get("host")
    again = "again" if child.get("retry_parent") else "first"
    return [
        child.get("index"),
        str(child["_id"]),
        labels.label((child.get("job_input") or {}).get("params"), paths),
        child["status"],
        code_words(child) or "",
        again,
        _iso(created_s(child["_id"])),
        _iso(child.get("queued")),
        _iso(child.get("running")),
        _iso(child.get("finished")),
        _seconds(when["wait_ms"]),
        _seconds(when["run_ms"]),
        host or "",
        first_line(child.get("errormsg")) or "",
    ]


def _iso(seconds: Any) -> str:
    if not isinstance(seconds, int | float) or not 0 < seconds < 253_402_300_799:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _seconds(ms: int | None) -> float | str:
    return "" if ms is None else round(ms / 1000, 1)
