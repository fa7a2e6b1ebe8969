"""Use case: a page of a list of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pymongo.errors import ExecutionTimeout

from ee2_jobs.browse import words as filter_words
from ee2_jobs.browse.batch_ends import settle
from ee2_jobs.browse.query import (
    MAX_MS,
    SORTS,
    Branch,
    ListSort,
    Part,
    Place,
    Reach,
    branches,
    live_batches_query,
    too_slow,
)
from ee2_jobs.browse.rows import FIELDS, Facts, Row, batch_state, facts, rows_of
from ee2_jobs.browse.scope import reach as reach_of
from ee2_jobs.browse.words import Filter
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.model import LIVE, Document, now_s
from ee2_jobs.waiting import batch_standings

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_COUNT = 1000
MAX_LIVE_BATCHES = 200
_COUNT_MS = 1000


@dataclass(frozen=True)
class Count:
    """How many rows a list has. exact: not more than that."""

    value: int
    exact: bool


@dataclass(frozen=True)
class Page:
    """A part of a list. next, prev: where the pages after and before it begin, if there are any.
    count: with the first page only."""

    items: list[Row]
    next: Place | None
    prev: Place | None
    count: Count | None


@dataclass(frozen=True)
class Listing:
    """A list that the caller may see: what, of whom, in which order."""

    engine: Engine
    caller: Caller
    scope: str
    sought: Filter
    sort: ListSort
    reach: Reach
    titled: Collection[int]
    live_batches: Collection[ObjectId] | None

    @property
    def name(self) -> str:
        """The same for the same list: what its cursors are bound to."""
        return f"jobs {self.scope} {self.caller.user} {self.sort} {self.reach.attempts} " + str(
            self.sought
        )

    @property
    def shared_name(self) -> str | None:
        """The same for lists of other callers too if they ask for the same records; None if nobody
        else's does."""
        if self.sought.batch is None and self.scope == "readable":
            return None
        if self.reach.picked is not None:
            return None  # by the caller's own stars, say
        whose = self.caller.user if self.sought.batch is None and self.scope == "mine" else ""
        live = None if self.live_batches is None else sorted(self.live_batches)
        return repr((
            self.scope, whose, self.sort, self.reach.attempts, str(self.sought),
            sorted(self.titled), live,
        ))  # fmt: skip

    def branches(self, place: Place | None = None) -> list[Branch]:
        """Its queries."""
        return branches(
            self.reach, self.sought, self.sort, place, now_s=now_s(), titled=self.titled,
            live_batches=self.live_batches,
        )  # fmt: skip

    async def jobs(
        self, limit: int, place: Place | None = None, fields: Sequence[str] = FIELDS
    ) -> list[Document]:
        """The records from a place on, `limit` of them and one more if there is one; in the list's
        order, or against it for a place that looks back. InvalidInput if it takes too long."""
        back = place is not None and place.back
        try:
            found = await asyncio.gather(
                *(
                    self.engine.store.jobs.find(
                        branch.query, fields, batch_size=limit + 1, hint=branch.hint,
                        max_time_ms=MAX_MS,
                    )
                    .sort(branch.order(self.sort, back=back))
                    .limit(limit + 1)
                    .to_list()
                    for branch in self.branches(place)
                )
            )  # fmt: skip
        except ExecutionTimeout:
            if self.sought == Filter():
                raise
            raise too_slow(self.sought) from None
        if len(found) == 1:
            return found[0]
        merged = {job["_id"]: job for part in found for job in part}
        down = self.sort.startswith("-") != back
        return sorted(merged.values(), key=self._key, reverse=down)[: limit + 1]

    def _key(self, job: Document) -> tuple[float, ObjectId]:
        return self.value(job), job["_id"]

    def value(self, job: Document) -> float:
        """What the list is sorted by, besides the id."""
        if self.sort == "index":
            return float(job.get("index") or 0)
        if not self.sort.endswith("finished"):
            return 0.0
        return float(job.get("finished") or (job.get("batch_end") or {}).get("at") or 0.0)

    async def count(self) -> Count:
        """How many rows the list has, as far as that can be told soon."""
        most: dict[str, Any] = {"limit": MAX_COUNT + 1, "maxTimeMS": _COUNT_MS}
        jobs = self.engine.store.jobs
        try:
            parts = await asyncio.gather(
                *(
                    jobs.count_documents(b.query, **(most | ({"hint": b.hint} if b.hint else {})))
                    for b in self.branches()
                )
            )
        except ExecutionTimeout:
            return Count(0, exact=False)
        total = sum(parts)
        return Count(min(total, MAX_COUNT), exact=total <= MAX_COUNT)

    async def rows(self, jobs: Sequence[Document]) -> list[Row]:
        """The rows of records of this list."""
        return await self.rows_of(await self.facts(jobs))

    async def facts(self, jobs: Sequence[Document]) -> list[Facts]:
        """What the rows of records tell, the same for all who may see them."""
        return await facts(self.engine, jobs, self.sought.batch)

    async def rows_of(self, told: Sequence[Facts]) -> list[Row]:
        """The rows for this caller."""
        return await rows_of(self.engine, self.caller, told, as_admin=self.scope == "all")


async def open_list(
    engine: Engine,
    caller: Caller,
    *,
    scope: str = "mine",
    words: Mapping[str, str],
    sort: str | None = None,
    attempts: bool = False,
    known_batches: Mapping[ObjectId, str] | None = None,
) -> Listing:
    """The list that the words describe. sort: one of SORTS; None: by end, newest first, for what
    has ended, else by submission; index: the children of one batch as they were listed, a later
    attempt in the place of the first. known_batches: the live batches of the scope with what each
    does, if the caller has just looked. Raises InvalidInput, and as `scope.reach`."""
    sought = filter_words.parse(words)
    only_ended = sought.statuses is not None and not sought.live
    if sort is None:
        sort = "-finished" if only_ended and sought.batch is None else "-created"
    order = next((known for known in SORTS if known == sort), None)
    if order is None:
        raise InvalidInput(f'sort must be one of {", ".join(SORTS)}, not "{sort[:60]}"')
    if order.endswith("finished") and not sought.ended:
        raise InvalidInput("sort: jobs that have not ended cannot be sorted by their end")
    if order == "index" and sought.batch is None:
        raise InvalidInput("sort: only the children of one batch have an index; name it with batch")
    reach = await reach_of(engine, caller, scope, sought, attempts=attempts)
    if order == "index" and not await _indexed(engine, sought.batch):
        order = "created"
    if reach.only_live and order.endswith("finished"):
        raise InvalidInput(
            "sort: the scope readable lists jobs that have not ended, which cannot be sorted by "
            "their end; name one workspace with ws"
        )
    titled: list[int] = []
    if sought.q is not None:
        titled = await engine.workspaces.titled(caller, sought.q)
    live_batches = None
    only_live = reach.only_live or not sought.ended
    if only_live and sought.live != set(LIVE) and sought.batch is None and not sought.runs:
        found = known_batches
        if found is None:
            found = await find_live_batches(engine, reach.parts, sought)
        live_batches = [oid for oid, state in found.items() if state in sought.live]
    return Listing(engine, caller, scope, sought, order, reach, titled, live_batches)


async def _indexed(engine: Engine, batch: str | None) -> bool:
    """Whether a batch's children have an index; those of the engine before this have none."""
    child = await engine.store.jobs.find_one({"batch_id": batch}, {"index": 1})
    # Answered from an index alone, what is missing comes as null.
    return child is None or child.get("index") is not None


async def find_live_batches(
    engine: Engine, parts: Sequence[Part], sought: Filter
) -> dict[ObjectId, str]:
    """The newest live batches, at most MAX_LIVE_BATCHES, with what each does as a whole. Those that
    have ended without that being written down yet are left out, and noted."""
    parents: dict[ObjectId, Document] = {}
    for part in parts:
        branch = live_batches_query(part, sought)
        found = engine.store.jobs.find(
            branch.query, FIELDS, hint=branch.hint, max_time_ms=MAX_MS
        )
        async for parent in found.sort("_id", -1).limit(MAX_LIVE_BATCHES):
            parents[parent["_id"]] = parent
    standings = await batch_standings(engine.store, list(parents.values()))
    late = [b for b, standing in standings.items() if standing.end is not None]
    if late:
        await settle(engine.store, late)
    return {
        oid: batch_state(parent, standings[str(oid)])
        for oid, parent in parents.items()
        if standings[str(oid)].end is None
    }


async def page(
    listing: Listing, *, limit: int = DEFAULT_LIMIT, place: Place | None = None
) -> Page:
    """A page of a list, from a place on. limit: rows at most, 1 to MAX_LIMIT."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"limit must be from 1 to {MAX_LIMIT}, not {limit}")
    counting = asyncio.ensure_future(listing.count()) if place is None else None
    try:
        found = await listing.jobs(limit, place)
        more, found = len(found) > limit, found[:limit]
        if place is not None and place.back:
            found.reverse()
        items = await listing.rows(found)
        count = await counting if counting is not None else None
    finally:
        if counting is not None:
            counting.cancel()
    if listing.reach.only_live or not listing.sought.ended:
        # A batch whose end is not written down yet: it has no place here any more.
        late = [row["id"] for row in items if row["status"] not in LIVE]
        if late:
            await settle(listing.engine.store, late)
            items = [row for row in items if row["status"] in LIVE]
    if count is not None:
        count = Count(max(count.value, len(items)), count.exact)
    back = place is not None and place.back
    first_more = bool(found) and (more if back else place is not None)
    last_more = bool(found) and (True if back else more)
    return Page(
        items,
        next=place_after(listing, found[-1]) if last_more else None,
        prev=place_after(listing, found[0], back=True) if first_more else None,
        count=count,
    )


def place_after(listing: Listing, job: Document, *, back: bool = False) -> Place:
    """Where the page after this record begins; back: that before it."""
    return Place(listing.value(job), job["_id"], back)


def place_of(values: Sequence[Any]) -> Place:
    """A place from the values of a cursor; InvalidInput if they are none."""
    match values:
        case [float() as value, str() as oid, bool() as back] if ObjectId.is_valid(oid):
            return Place(value, ObjectId(oid), back)
    raise InvalidInput("This cursor is spoilt: leave it out to begin at the first page")


def values_of(place: Place) -> tuple[float, str, bool]:
    """The values for a cursor."""
    return place.value, str(place.oid), place.back

