"""The children of a batch: why those failed that did, and all of them as a table."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.messages import created_s
from ee2_jobs.model import Document, Status
from ee2_jobs.page.batch import child_query, load_batch
from ee2_jobs.page.job import timings
from ee2_jobs.page.values import cut, first_line, json_bytes, leaves
from ee2_jobs.page.words import code_words

MAX_GROUPS = 50
MAX_TABLE_ROWS = 100_000
_IDS = 5
_MESSAGE_LETTERS = 400
_SAMPLE = 100  # children, from which the table learns what differs
_LABELS = 3  # differing values in a label
_ROWS_AT_A_TIME = 500
# What differs between messages that mean the same: ids, addresses, numbers, in this order.
_ALIKE = (
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "‹id›"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "‹n›"),
    (re.compile(r"\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{16,64}\b"), "‹id›"),
    (re.compile(r"\d+(?:[.,]\d+)*"), "‹n›"),
)  # fmt: skip
_HEADER = (
    "number", "job_id", "differs", "state", "code", "attempt", "created", "queued", "running",
    "finished", "waited_s", "ran_s", "node", "error_line",
)  # fmt: skip


def alike(message: str) -> str:
    """The first line of a message with ids and numbers taken out: the same for messages that tell
    of the same thing."""
    line = first_line(message[:_MESSAGE_LETTERS]) or ""
    for pattern, sign in _ALIKE:
        line = pattern.sub(sign, line)
    return line


async def failures(
    engine: Engine, caller: Caller, batch_id: Any, *, as_admin: bool = False
) -> Document:
    """{id, failed, groups: [{message, sample, count, code, code_words, ids}], more}: the children
    in `error` by what they failed with, the largest group first.

    message: with numbers and ids taken out; sample: one as it is; ids: the first few.
    """
    held = await load_batch(engine, caller, batch_id, as_admin=as_admin)
    key = str(held.job["_id"])
    text = {"$substrCP": [{"$toString": {"$ifNull": ["$errormsg", ""]}}, 0, _MESSAGE_LETTERS]}
    steps: list[Document] = [
        {"$match": {**child_query(key), "status": Status.ERROR.value}},
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


async def _differing(engine: Engine, batch_id: str) -> list[str]:
    """The places in the children's parameters whose values differ between them, those first that
    differ most; learnt from some of the children."""
    found = engine.store.jobs.find(child_query(batch_id), {"job_input.params": 1})
    values: dict[str, set[bytes]] = {}
    seen = 0
    async for child in found.limit(_SAMPLE):
        seen += 1
        for path, value in _few_leaves(child):
            values.setdefault(path, set()).add(json_bytes(value))
    differ = [(path, len(of)) for path, of in values.items() if len(of) > 1]
    if not differ and seen > 1:
        differ = [(path, 0) for path, of in values.items() if len(of) == 1][:1]
    return [path for path, _ in sorted(differ, key=lambda one: -one[1])[:_LABELS]]


def _few_leaves(child: Mapping[str, Any]) -> Sequence[tuple[str, Any]]:
    params = (child.get("job_input") or {}).get("params")
    return [leaf for leaf, _ in zip(leaves(params), range(200), strict=False)]


def _label(child: Mapping[str, Any], paths: Sequence[str]) -> str:
    """What differs, in words: `name=value`, the place shortened to its last name."""
    values = dict(_few_leaves(child))
    parts = []
    for path in paths:
        if path in values:
            value = values[path]
            text = value if isinstance(value, str) else json_bytes(value).decode()
            parts.append(f"{path.rsplit('.', 1)[-1]}={cut(text, 80)}")
    return ", ".join(parts)


async def open_table(
    engine: Engine, caller: Caller, batch_id: Any, *, as_admin: bool = False
) -> AsyncIterator[bytes]:
    """The table of the children as CSV, in UTF-8, in parts; at most MAX_TABLE_ROWS rows, and a last
    row that says so if there are more. Times in ISO 8601, UTC. Errors before the first part."""
    held = await load_batch(engine, caller, batch_id, as_admin=as_admin)
    key = str(held.job["_id"])
    return _table(engine, key, await _differing(engine, key))


async def _table(engine: Engine, batch_id: str, paths: Sequence[str]) -> AsyncIterator[bytes]:
    fields = ["index", "status", "queued", "running", "finished", "updated", "error_code",
              "terminated_code", "errormsg", "claim.host", "where.host", "retry_parent",
              "retry_ids", "attempt"]  # fmt: skip
    if paths:
        fields.append("job_input.params")
    found = engine.store.jobs.find(
        child_query(batch_id), fields, batch_size=_ROWS_AT_A_TIME
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
        _label(child, paths),
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
