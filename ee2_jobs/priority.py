"""Priorities of jobs: which of a user's own waiting jobs are matched first.

A number from -20 to 20, higher first; HTCondor's job priority. It orders the jobs of one user among
themselves: between users the pool shares fairly, whatever the numbers are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson import ObjectId

from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput, WrongState, shown
from ee2_jobs.identity import Caller
from ee2_jobs.model import WAITING, Document, now_s
from ee2_jobs.rights import Level, find_permitted
from ee2_jobs.store import Store

LOWEST, HIGHEST = -20, 20
# A single job is somebody waiting at a screen: it goes before the same user's batches.
OF_SINGLE_JOBS, OF_BATCHES = 0, -5


def parse_priority(value: Any) -> int | None:
    """A `priority` as clients send it; None if it is not given."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not LOWEST <= value <= HIGHEST:
        raise InvalidInput(
            f"priority must be a whole number from {LOWEST} to {HIGHEST}, not {shown(value)}"
        )
    return value


async def set_priority(
    engine: Engine, caller: Caller, job_id: Any, priority: Any, *, as_admin: bool = False
) -> int:
    """Change the priority of a job that waits, or of all jobs of a batch that wait; how many.

    Whoever may manage the job may lower it; raising needs an administrator, so that what was put
    back by one stays there. WrongState if nothing waits. The pool is told within a second.
    """
    wanted = parse_priority(priority)
    if wanted is None:
        raise InvalidInput("Missing input parameter: priority")
    job = await find_permitted(engine, caller, job_id, Level.MANAGE, as_admin=as_admin)
    of_job: Document = {"_id": job["_id"]}
    if job.get("batch_job"):
        of_job = {"batch_id": str(job["_id"])}
    waiting = {**of_job, "status": {"$in": list(WAITING)}}
    lower = [{"priority": {"$lt": wanted}}]
    if wanted > OF_SINGLE_JOBS:
        lower.append({"priority": {"$exists": False}})
    if not as_admin and await engine.store.jobs.find_one({**waiting, "$or": lower}, {"_id": 1}):
        raise Denied(
            f"Job {job['_id']} waits with a lower priority than {wanted}: only an administrator "
            "may raise it"
        )
    fields = {"priority": wanted, "reprioritise": True, "updated": now_s()}
    if not as_admin:
        waiting["$nor"] = lower  # somebody may have lowered one meanwhile
    done = await engine.store.jobs.update_many(waiting, {"$set": fields})
    if not done.matched_count:
        raise WrongState(f"No job of {job['_id']} is waiting, so there is no priority to change")
    if job.get("batch_job"):
        # A split's children that are still to be made take it from their template.
        await engine.store.submissions.update_one(
            {"_id": str(job["_id"]), "children": {"$exists": True}},
            {"$set": {"children.priority": wanted}},
        )
    return done.matched_count


async def to_tell_the_pool(store: Store, limit: int = 5000) -> dict[int, dict[str, ObjectId]]:
    """Changed priorities of jobs in the pool: priority -> scheduler id -> job."""
    found: dict[int, dict[str, ObjectId]] = {}
    query = {"reprioritise": True, "scheduler_id": {"$gt": ""}}
    fields = {"scheduler_id": 1, "priority": 1}
    async for job in store.jobs.find(query, fields).limit(limit):
        found.setdefault(job["priority"], {})[job["scheduler_id"]] = job["_id"]
    return found


async def told_the_pool(store: Store, priority: int, jobs: Sequence[ObjectId]) -> None:
    """The pool knows; unless the priority has changed again meanwhile."""
    await store.jobs.update_many(
        {"_id": {"$in": list(jobs)}, "priority": priority}, {"$unset": {"reprioritise": ""}}
    )
