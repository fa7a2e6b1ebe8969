"""Ranges noted on jobs when they were queued, so that it can be counted how often they held.

A sample is enough: a bounded number a round, the first range of each job and no later one. On the
record: `expected` {at, start: [from, to], end: [from, to]}, s since the epoch; either may be
missing.
"""

from __future__ import annotations

from pymongo import UpdateOne

from ee2_jobs.model import Document, Status, now_s
from ee2_jobs.queue.expect import expect
from ee2_jobs.queue.history import FACTS, History
from ee2_jobs.queue.reason import Facts
from ee2_jobs.store import Store

AT_ONCE = 100
# A range for a job that waits for longer is no first one.
NEW_S = 300.0


async def note_new(
    store: Store, facts: Facts, history: History, default: str, at_once: int = AT_ONCE
) -> int:
    """Note what is expected of jobs queued lately; of how many. default: the default group."""
    if facts.snapshot is None:
        return 0
    now = now_s()
    query: Document = {
        "status": Status.QUEUED.value,
        "queued": {"$gt": now - NEW_S},
        "expected": {"$exists": False},
        "batch_job": {"$ne": True},
    }
    updates = []
    async for job in store.jobs.find(query, FACTS).sort("_id", -1).limit(at_once):
        found = expect(job, facts, history, default, now)
        told: Document = {"at": now}
        if found.start is not None:
            told["start"] = list(found.start)
        if found.end is not None:
            told["end"] = list(found.end)
        if len(told) > 1:
            unstarted = {"_id": job["_id"], "status": Status.QUEUED.value}
            updates.append(UpdateOne(unstarted, {"$set": {"expected": told}}))
    if updates:
        await store.jobs.bulk_write(updates, ordered=False)
    return len(updates)
