"""Use case: what has changed in a list since its page was read."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from bson import ObjectId

from ee2_jobs.browse.lists import Listing
from ee2_jobs.browse.query import MAX_MS
from ee2_jobs.browse.rows import FIELDS, Row
from ee2_jobs.feed import Change
from ee2_jobs.model import Document

MAX_CHANGED = 200


@dataclass(frozen=True)
class Changed:
    """The rows that changed, and the ids of jobs that the list does not have any more."""

    items: list[Row]
    gone: list[str]


def concerned(
    changes: Iterable[Change], listing: Listing, workspaces: Collection[int] = ()
) -> list[ObjectId]:
    """The jobs among the changes that the list may show. workspaces: those that the caller of a
    list of scope `readable` may read. This only spares queries: rights are in those."""
    everybody = listing.scope == "all" or listing.sought.batch is not None
    user = listing.caller.user
    return [c.oid for c in changes if everybody or c.concerns(user, workspaces)]


async def changed(listing: Listing, oids: Collection[ObjectId]) -> Changed:
    """What has become of these jobs. Of a job that the caller may not see nothing is said, not even
    that it is gone."""
    if not oids:
        return Changed([], [])
    store = listing.engine.store
    among = {"_id": {"$in": list(oids)}}
    seen: set[ObjectId] = set()
    for part in listing.reach.parts:
        # The children of batches are in lists of their own.
        top = {} if part.index == "batch" else {"batch_id": None}
        query = {"$and": [among, part.query, top]}
        found = store.jobs.find(query, {"_id": 1}, hint="_id_", max_time_ms=MAX_MS)
        seen |= {job["_id"] async for job in found}
    jobs: dict[ObjectId, Document] = {}
    for branch in listing.branches():
        query = {"$and": [among, branch.query]}
        rows = store.jobs.find(query, FIELDS, hint="_id_", max_time_ms=MAX_MS)
        jobs |= {job["_id"]: job async for job in rows}
    items = await listing.rows([jobs[oid] for oid in sorted(jobs, reverse=True)])
    return Changed(items, [str(oid) for oid in sorted(seen - jobs.keys(), reverse=True)])
