"""Use case: what has changed in a list since its page was read."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from bson import ObjectId
from cachetools import TTLCache

from ee2_jobs.browse.lists import Listing
from ee2_jobs.browse.query import MAX_MS
from ee2_jobs.browse.rows import FIELDS, Facts, Row
from ee2_jobs.feed import Change
from ee2_jobs.model import Document

MAX_CHANGED = 200
# Streams of one list read within a second or two of each other.
_KEPT_S = 10.0
_KEPT_JOBS = 5000


@dataclass(frozen=True)
class Changed:
    """The rows that changed, and the ids of jobs that the list does not have any more."""

    items: list[Row]
    gone: list[str]


@dataclass(frozen=True)
class _Reading:
    """What was read of a job after its change `number`. facts: None if the list does not have it;
    seen: then, whether the list's readers may know of it."""

    number: int
    facts: Facts | None
    seen: bool


class _Shared:
    """Who reads for the equal lists, and what those who wait want to have read."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.wanted: dict[ObjectId, Change] = {}

    def want(self, changes: Iterable[Change]) -> None:
        for change in changes:
            known = self.wanted.get(change.oid)
            if known is None or known.number < change.number:
                self.wanted[change.oid] = change


def concerned(
    changes: Iterable[Change], listing: Listing, workspaces: Collection[int] = ()
) -> list[Change]:
    """Those of the changes that the list may show. workspaces: those that the caller of a list of
    scope `readable` may read. This only spares queries: rights are in those."""
    everybody = listing.scope == "all" or listing.sought.batch is not None
    user = listing.caller.user
    return [c for c in changes if everybody or c.concerns(user, workspaces)]


class ListChanges:
    """Reads what has changed in lists. One per process and event loop.

    200 pages that show the same list want to know of the same jobs within a second: what one has
    read of a job after a change is good for the others, as long as their queries, with the rights
    in them, are the same.
    """

    def __init__(self) -> None:
        self._readings: TTLCache[tuple[str, ObjectId], _Reading] = TTLCache(_KEPT_JOBS, _KEPT_S)
        self._lists: WeakValueDictionary[str, _Shared] = WeakValueDictionary()

    async def read(self, listing: Listing, changes: Sequence[Change]) -> Changed:
        """What has become of these jobs. Of a job that the caller may not see nothing is said, not
        even that it is gone."""
        if not changes:
            return Changed([], [])
        name = listing.shared_name
        found = await (_read(listing, changes) if name is None else
                       self._shared(name, listing, changes))  # fmt: skip
        newest = sorted(found, reverse=True)
        items = await listing.rows_of([f for oid in newest if (f := found[oid].facts) is not None])
        gone = [oid for oid in newest if found[oid].facts is None and found[oid].seen]
        return Changed(items, [str(oid) for oid in gone])

    async def _shared(
        self, name: str, listing: Listing, changes: Sequence[Change]
    ) -> dict[ObjectId, _Reading]:
        if (found := self._known(name, changes)) and len(found) == len(changes):
            return found
        # Who comes while another reads waits. Then the first one reads for all who have come.
        shared = self._lists.setdefault(name, _Shared())
        shared.want(change for change in changes if change.oid not in found)
        async with shared.lock:
            found = self._known(name, changes)
            if missing := [change for change in changes if change.oid not in found]:
                shared.want(missing)
                wanted, shared.wanted = shared.wanted, {}
                news = await _read(listing, list(wanted.values()))
                self._readings.update({(name, oid): one for oid, one in news.items()})
                found |= {change.oid: news[change.oid] for change in missing}
        return found

    def _known(self, name: str, changes: Iterable[Change]) -> dict[ObjectId, _Reading]:
        """What was read after these changes already."""
        readings = ((c, self._readings.get((name, c.oid))) for c in changes)
        return {c.oid: r for c, r in readings if r is not None and r.number >= c.number}


async def _read(listing: Listing, changes: Sequence[Change]) -> dict[ObjectId, _Reading]:
    numbers = {change.oid: change.number for change in changes}
    store = listing.engine.store
    among = {"_id": {"$in": list(numbers)}}
    seen: set[ObjectId] = set()
    for part in listing.reach.parts:
        # The children of batches are in lists of their own, unless each run is listed.
        everything = (
            part.index == "batch" or listing.reach.picked is not None or listing.sought.runs
        )
        top = {} if everything else {"batch_id": None}
        query = {"$and": [among, part.query, top]}
        ids = store.jobs.find(query, {"_id": 1}, hint="_id_", max_time_ms=MAX_MS)
        seen |= {job["_id"] async for job in ids}
    jobs: dict[ObjectId, Document] = {}
    for branch in listing.branches():
        query = {"$and": [among, branch.query]}
        rows = store.jobs.find(query, FIELDS, hint="_id_", max_time_ms=MAX_MS)
        jobs |= {job["_id"]: job async for job in rows}
    facts = {one.job["_id"]: one for one in await listing.facts(list(jobs.values()))}
    return {
        oid: _Reading(number, facts.get(oid), oid in seen) for oid, number in numbers.items()
    }
