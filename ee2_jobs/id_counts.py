"""How many jobs were made in a span of time, by all or by one user, and where a page far into the
list of all begins.

MongoDB counts and skips by walking an index: a quarter of a second for a million jobs. Ids begin
with the time at which they were made, so the counts of past hours hardly ever change; they are kept
in memory, and only the last hour or two is counted each time. Jobs that are deleted, or imported
with old ids, are noticed by the number of all records, which MongoDB knows without counting, or
from the change feed (`forget`): then what is kept is not used any more.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from cachetools import LRUCache

from ee2_jobs.model import now_s

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection

SLOT_S = 3600
LATE_S = 300  # what is stored so much later than its id was made counts as imported
RECOUNT_S = 30.0  # after counting all hours, not again for so long
_QUERY_MS = 30_000
_LAST_S = 2**32 - 1
_KEPT_SLOTS = 1_000_000  # of all users together; 16 bytes each
_BY_USER = "user_1__id_-1"


@dataclass(frozen=True)
class Start:
    """Where a page begins. matching: how many jobs the whole span has. first_s, end_s: what is left
    of the span (whole seconds, end excluded); skip: jobs to leave out there."""

    matching: int
    first_s: int
    end_s: int
    skip: int


@dataclass
class _OfUser:
    """The past hours of a user: those with jobs, from old to new, and before each how many jobs
    there were. state: what they were counted in; until: slots before this one are counted."""

    state: int
    until: int = 0
    jobs: int = 0
    slots: array[int] = field(default_factory=lambda: array("q"))
    before: array[int] = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.slots) + 1

    def between(self, low: int, high: int) -> int:
        """How many jobs the slots from `low` to, not including, `high` have."""
        return self._before(high) - self._before(low)

    def _before(self, slot: int) -> int:
        place = bisect_left(self.slots, slot)
        return self.before[place] if place < len(self.slots) else self.jobs


class IdCounts:
    """The counts of a collection. One per process and event loop."""

    def __init__(self, jobs: AsyncCollection[dict[str, Any]]) -> None:
        self._jobs = jobs
        self._lock = asyncio.Lock()
        self._until = 0  # slots before this one are past
        self._past: int | None = None  # records that are not of a later slot; None: not known
        self._state = 0  # another number whenever these have changed
        self._slots: dict[int, int] = {}  # of all, from old to new
        self._slots_state = -1
        self._slots_until = 0
        self._counted_s = -RECOUNT_S
        self._users: LRUCache[str, _OfUser] = LRUCache(_KEPT_SLOTS, getsizeof=len)

    def forget(self) -> None:
        """Records of the past were deleted or imported."""
        self._state += 1
        self._past = None

    def is_past(self, oid: object) -> bool:
        """Whether a new record with this id is one of the past."""
        return isinstance(oid, ObjectId) and second_of(oid) < self._until * SLOT_S

    async def start(
        self, first_s: int, end_s: int, offset: int, *, ascending: bool
    ) -> Start | None:
        """Where the page begins that leaves out `offset` jobs of a span of time; None if the counts
        cannot be trusted now, and MongoDB has to walk."""
        async with self._lock:
            if not await self._settled() or not await self._refresh():
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

    async def of_user(self, user: str, first_s: int, end_s: int) -> int | None:
        """How many jobs of a user a span of time has; None as of `start`."""
        end_s = min(end_s, _LAST_S)
        async with self._lock:
            if not await self._settled():
                return None
            state, until = self._state, self._until
        low, high = -(-first_s // SLOT_S), min(end_s // SLOT_S, until)
        if low >= high:
            return await self._count(first_s, end_s, user)
        edges = asyncio.gather(
            self._count(first_s, low * SLOT_S, user), self._count(high * SLOT_S, end_s, user)
        )
        kept = await self._kept(user, state, until)
        return kept.between(low, high) + sum(await edges)

    async def _settled(self) -> bool:
        """Whether it is known that the records of the past are those of `_state`."""
        until = int(now_s() - LATE_S) // SLOT_S
        if self._past is not None and until > self._until:
            self._past += await self._count(self._until * SLOT_S, until * SLOT_S)
        self._until = max(self._until, until)
        # Between two looks at the number, records may be added while we count.
        before = await self._jobs.estimated_document_count()
        newest = await self._count(self._until * SLOT_S, _LAST_S)
        if before - newest == self._past:
            return True
        after = await self._jobs.estimated_document_count()
        if self._past is not None and before - newest <= self._past <= after - newest:
            return True
        self._state += 1
        self._past = before - newest if before == after else None
        return self._past is not None

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
        """Count the past hours of all that are not counted; False if that was done just before."""
        if self._slots_state != self._state:
            if time.monotonic() - self._counted_s < RECOUNT_S:
                return False
            self._slots, self._slots_until = {}, 0
            self._slots_state, self._counted_s = self._state, time.monotonic()
        if self._slots_until < self._until:
            self._slots |= await self._by_slot(self._slots_until, self._until)
            self._slots_until = self._until
        return True

    async def _kept(self, user: str, state: int, until: int) -> _OfUser:
        """The past hours of a user, those before `until` at least."""
        kept = self._users.get(user)
        if kept is None or kept.state != state:
            kept = _OfUser(state)
        if kept.until < until:
            start = kept.until
            found = await self._by_slot(start, until, user)
            if kept.until == start:  # nobody else has done it meanwhile
                for slot, count in found.items():
                    kept.slots.append(slot)
                    kept.before.append(kept.jobs)
                    kept.jobs += count
                kept.until = until
            self._users.pop(user, None)
            if len(kept) <= self._users.maxsize:
                self._users[user] = kept
        return kept

    async def _by_slot(self, first: int, end: int, user: str | None = None) -> dict[int, int]:
        """The counts of the slots from `first` to, not including, `end`; in the order of time."""
        # The last bytes of an id do not matter to its time.
        slot = {"$toLong": {"$divide": [{"$toLong": {"$toDate": "$_id"}}, 1000 * SLOT_S]}}
        pipeline: list[dict[str, Any]] = [
            {"$match": _between(first * SLOT_S, end * SLOT_S, user)},
            {"$group": {"_id": slot, "jobs": {"$sum": 1}}},
            {"$sort": {"_id": 1}},
        ]
        rows = await self._jobs.aggregate(pipeline, hint=_hint(user), maxTimeMS=_QUERY_MS)
        return {row["_id"]: row["jobs"] async for row in rows}

    async def _count(self, first_s: int, end_s: int, user: str | None = None) -> int:
        if end_s <= first_s:
            return 0
        query = _between(first_s, end_s, user)
        return await self._jobs.count_documents(query, hint=_hint(user), maxTimeMS=_QUERY_MS)


def first_id(second: int) -> ObjectId:
    """The least id of a second."""
    return ObjectId(f"{second:08x}{'0' * 16}")


def second_of(oid: ObjectId) -> int:
    """When an id was made, whole seconds."""
    return int.from_bytes(oid.binary[:4], "big")


def _between(first_s: int, end_s: int, user: str | None) -> dict[str, Any]:
    ids = {"_id": {"$gte": first_id(first_s), "$lt": first_id(end_s)}}
    return ids if user is None else {"user": user, **ids}


def _hint(user: str | None) -> str:
    return "_id_" if user is None else _BY_USER
