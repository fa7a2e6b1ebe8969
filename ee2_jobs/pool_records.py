"""What the pool says of jobs, on their records: ends that no runner told, and removals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bson import ObjectId
from pymongo import UpdateOne

from ee2_jobs.model import LIVE, Document, Status, now_s
from ee2_jobs.store import Store


def engine_error(message: str, code: int) -> Document:
    """The `error` mapping of a record that the engine itself ended."""
    return {"name": "Engine error", "code": int(code), "message": message, "error": message}


@dataclass(frozen=True)
class PoolEnd:
    """What the pool says of a job that the runner did not end itself."""

    job_id: str
    status: Status
    code: int
    message: str
    remove: bool = False


async def apply_pool_ends(store: Store, ends: Sequence[PoolEnd]) -> int:
    """End records whose job has left the pool (or is stuck there) and whose runner said nothing;
    returns how many were still live. One bulk write."""
    if not ends:
        return 0
    now = now_s()
    updates = []
    for one in ends:
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
                {"_id": ObjectId(one.job_id), "status": {"$in": list(LIVE)}}, {"$set": fields}
            )
        )
    done = await store.jobs.bulk_write(updates, ordered=False)
    return done.modified_count


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
            {"scheduler_id": 1, "submission": 1, "stage": 1, "try": 1, "updated": 1},
        )
        .limit(limit)
        .to_list()
    )
