"""How many jobs were made in a span of time, and where a page far into such a list begins.

MongoDB counts and skips by walking an index: a quarter of a second for a million jobs. Ids begin
with the time at which they were made, so the counts of past hours hardly ever change; they are kept
in memory, and only the last hour or two is counted each time. Jobs that are deleted, or imported
with old ids, are noticed by the number of all records, which MongoDB knows without counting: then
all hours are counted again.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from ee2_jobs.model import now_s

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection

SLOT_S = 3600
RECOUNT_S = 30.0  # after counting all hours, not again for so long
_QUERY_MS = 30_000
_LAST_S = 2**32 - 1


@dataclass(frozen=True)
class Start:
    """Where a page begins. matching: how many jobs the whole span has. first_s, end_s: what is left
    of the span (whole seconds, end excluded); skip: jobs to leave out there."""

    matching: int
    first_s: int
    end_s: int
    skip: int


class IdCounts:
    """The counts of a collection. One per process and event loop."""

    def __init__(self, jobs: AsyncCollection[dict[str, Any]]) -> None:
        self._jobs = jobs
        self._lock = asyncio.Lock()
        self._slots: dict[int, int] = {}  # from old to new
        self._until = 0  # slots before this one are counted
        self._others = 0  # records that are in no slot, as far as MongoDB's number is right
        self._counted_s: float | None = None

    async def start(
        self, first_s: int, end_s: int, offset: int, *, ascending: bool
    ) -> Start | None:
        """Where the page begins that leaves out `offset` jobs of a span of time; None if the counts
        cannot be trusted now, and MongoDB has to walk."""
        async with self._lock:
            if not await self._refresh():
                return None
            parts = await self._parts(first_s, min(end_s, _LAST_S))
        matching = sum(count for _, _, count in parts)
        if not ascending:
            parts.reverse()
        left = offset
        for start_s, stop_s, count in parts:
            if left < count:
                return Start(
                    matching,
                    start_s if ascending else first_s,
                    end_s if ascending else stop_s,
                    left,
                )
            left -= count
        return Start(matching, first_s, first_s, 0)

    async def _parts(self, first_s: int, end_s: int) -> list[tuple[int, int, int]]:
        """The span in parts (from, to, jobs), in the order of time."""
        low, high = -(-first_s // SLOT_S), min(end_s // SLOT_S, self._until)
        if low >= high:
            return [(first_s, end_s, await self._count(first_s, end_s))]
        edges = ((first_s, low * SLOT_S), (high * SLOT_S, end_s))
        before, after = [(a, b, await self._count(a, b)) for a, b in edges]
        slots = [
            (slot * SLOT_S, (slot + 1) * SLOT_S, count)
            for slot, count in self._slots.items()
            if low <= slot < high
        ]
        return [before, *slots, after]

    async def _refresh(self) -> bool:
        """Count what is new; whether the counts are right."""
        until = int(now_s()) // SLOT_S
        if self._counted_s is not None:
            await self._add(until)
            if await self._agrees():
                return True
            if time.monotonic() - self._counted_s < RECOUNT_S:
                return False
        self._slots, self._until = {}, 0
        await self._add(until)
        self._counted_s = time.monotonic()
        number, counted = await self._numbers()
        self._others = number[1] - counted
        return number[0] == number[1]

    async def _agrees(self) -> bool:
        """Whether the slots and what was made since are all records that there are."""
        (before, after), counted = await self._numbers()
        return before <= counted + self._others <= after

    async def _numbers(self) -> tuple[tuple[int, int], int]:
        """MongoDB's number of records, before and after we count, and what we count."""
        before = await self._jobs.estimated_document_count()
        newest = await self._count(self._until * SLOT_S, _LAST_S)
        after = await self._jobs.estimated_document_count()
        return (before, after), sum(self._slots.values()) + newest

    async def _add(self, until: int) -> None:
        """Count the slots up to, not including, `until`."""
        if until <= self._until:
            return
        # The last bytes of an id do not matter to its time.
        second = {"$toLong": {"$divide": [{"$toLong": {"$toDate": "$_id"}}, 1000 * SLOT_S]}}
        pipeline: list[dict[str, Any]] = [
            {"$match": _between(self._until * SLOT_S, until * SLOT_S)},
            {"$group": {"_id": second, "jobs": {"$sum": 1}}},
            {"$sort": {"_id": 1}},
        ]
        rows = await self._jobs.aggregate(pipeline, hint="_id_", maxTimeMS=_QUERY_MS)
        async for row in rows:
            self._slots[row["_id"]] = row["jobs"]
        self._until = until

    async def _count(self, first_s: int, end_s: int) -> int:
        if end_s <= first_s:
            return 0
        query = _between(first_s, end_s)
        return await self._jobs.count_documents(query, hint="_id_", maxTimeMS=_QUERY_MS)


def first_id(second: int) -> ObjectId:
    """The least id of a second."""
    return ObjectId(f"{second:08x}{'0' * 16}")


def second_of(oid: ObjectId) -> int:
    """When an id was made, whole seconds."""
    return int.from_bytes(oid.binary[:4], "big")


def _between(first_s: int, end_s: int) -> dict[str, Any]:
    return {"_id": {"$gte": first_id(first_s), "$lt": first_id(end_s)}}
