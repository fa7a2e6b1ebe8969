"""What the pool says of jobs, on their records: ends that no runner told, and removals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bson import ObjectId
from pymongo import UpdateOne

from ee2_jobs import logs
from ee2_jobs.limits.words import with_rule
from ee2_jobs.model import LIVE, Document, ErrorCode, Status, now_s
from ee2_jobs.store import Store


def engine_error(message: str, code: int) -> Document:
    """The `error` mapping of a record that the engine itself ended."""
    return {"name": "Engine error", "code": int(code), "message": message, "error": message}


@dataclass(frozen=True)
class PoolEnd:
    """What the pool says of a job that the runner did not end itself.

    line: for the job's log, beside the message. among: states in which the record may be.
    """

    job_id: str
    status: Status
    code: int
    message: str
    remove: bool = False
    line: str | None = None
    among: tuple[str, ...] = LIVE


async def apply_pool_ends(store: Store, ends: Sequence[PoolEnd]) -> int:
    """End records whose job has left the pool (or is stuck there) and whose runner said nothing;
    returns how many were still live. One bulk write."""
    if not ends:
        return 0
    now = now_s()
    updates = []
    for one in await _with_rules(store, ends):
        fields: Document = {
            "status": one.status.value,
            "finished": now,
            "updated": now,
            "errormsg": one.message,
        }
        if one.status == Status.TERMINATED:
            fields["terminated_code"] = one.code
        else:
            fields |= {"error_code": one.code, "error": engine_error(one.message, one.code)}
        if one.remove:
            fields["remove"] = True
        updates.append(
            UpdateOne(
                {"_id": ObjectId(one.job_id), "status": {"$in": list(one.among)}}, {"$set": fields}
            )
        )
    done = await store.jobs.bulk_write(updates, ordered=False)
    await _log(store, {ObjectId(e.job_id): e.line for e in ends if e.line}, now)
    return done.modified_count


async def _log(store: Store, lines: dict[ObjectId, str], ended_s: float) -> None:
    """Add a last line to the logs of those of the jobs that ended just then."""
    if not lines:
        return
    mine = store.jobs.find({"_id": {"$in": list(lines)}, "finished": ended_s}, ["_id"])
    async for job in mine:
        line = logs.Line(lines[job["_id"]], is_error=True, time_s=ended_s)
        await logs.append(store, job["_id"], [line], f"held.{job['_id']}")


async def _with_rules(store: Store, ends: Sequence[PoolEnd]) -> list[PoolEnd]:
    """The ends; those at a time limit name the rule that set it, which the pool does not know."""
    late = [ObjectId(one.job_id) for one in ends if one.status == Status.ERROR
            and one.code == ErrorCode.OVER_TIME_LIMIT]
    if not late:
        return list(ends)
    found = store.jobs.find({"_id": {"$in": late}}, {"time_limit_rule": 1})
    rules = {str(job["_id"]): job.get("time_limit_rule") async for job in found}
    return [
        replace(one, message=with_rule(one.message, rules.get(one.job_id))) for one in ends
    ]


async def to_remove(store: Store, limit: int = 5000) -> dict[str, str]:
    """Job id by scheduler id of what has to leave the pool."""
    found = store.jobs.find(
        {"remove": True, "scheduler_id": {"$gt": ""}}, {"scheduler_id": 1}
    ).limit(limit)
    return {job["scheduler_id"]: str(job["_id"]) async for job in found}


async def removed(store: Store, job_ids: Sequence[str]) -> None:
    """These have left the pool."""
    if job_ids:
        await store.jobs.update_many(
            {"_id": {"$in": [ObjectId(j) for j in job_ids]}}, {"$unset": {"remove": ""}}
        )


async def note_batch_ids(store: Store, there: Mapping[ObjectId, str]) -> None:
    """These live jobs have these ids in the batch system that they were sent on to."""
    updates = [
        UpdateOne(
            {"_id": oid, "status": {"$in": list(LIVE)}}, {"$set": {"where.batch_id": batch_id}}
        )
        for oid, batch_id in there.items()
    ]
    if updates:
        await store.jobs.bulk_write(updates, ordered=False)


async def open_records(store: Store, older_than_s: float, limit: int = 5000) -> list[Document]:
    """Live records that say they are in the pool for longer than that: for reconciliation."""
    return await (
        store.jobs.find(
            {
                "status": {"$in": list(LIVE)},
                "scheduler_id": {"$exists": True},
                "submission": {"$exists": True},
                "updated": {"$lt": now_s() - older_than_s},
            },
            {"scheduler_id": 1, "submission": 1, "stage": 1, "try": 1, "updated": 1,
             "where.batch_id": 1},
        )
        .limit(limit)
        .to_list()
    )
