"""Bulk writes in which no document stops the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson.errors import BSONError
from pymongo import InsertOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, OperationFailure

from ee2_jobs.legacy.imports.report import Report

_DUPLICATE_KEY = 11000
_TOO_LARGE = 10334


async def insert_new(
    collection: AsyncCollection[Any], documents: Mapping[Any, Any], report: Report
) -> None:
    """Insert documents by id; those that are there already stay as they are."""
    before = len(documents)
    missing = await write(collection, {k: InsertOne(d) for k, d in documents.items()}, report)
    report.already_here += missing["there"]
    report.made += before - missing["there"] - missing["refused"]


async def write(
    collection: AsyncCollection[Any], writes: Mapping[Any, Any], report: Report
) -> dict[str, int]:
    """Do the writes, in any order. Returns how many were not done: `there`, as the key is taken;
    `refused`, as MongoDB does not take them, which the report says with the reason."""
    undone = {"there": 0, "refused": 0}
    if not writes:
        return undone
    keys = list(writes)
    try:
        await collection.bulk_write(list(writes.values()), ordered=False)
    except BulkWriteError as e:
        for error in (e.details or {}).get("writeErrors", []):
            if error["code"] == _DUPLICATE_KEY:
                undone["there"] += 1
            else:
                undone["refused"] += 1
                reason = f"MongoDB does not take it: {error['errmsg'][:200]}"
                report.leave_out(keys[error["index"]], reason)
    except (BSONError, OverflowError, OperationFailure) as e:
        if isinstance(e, OperationFailure) and e.code != _TOO_LARGE:
            raise
        # One that cannot be encoded, or is too large, stops all that come after it.
        if len(keys) == 1:
            report.leave_out(keys[0], f"MongoDB does not take it: {str(e)[:200]}")
            return {"there": 0, "refused": 1}
        for key in keys:
            one = await write(collection, {key: writes[key]}, report)
            undone = {k: n + one[k] for k, n in undone.items()}
    return undone
