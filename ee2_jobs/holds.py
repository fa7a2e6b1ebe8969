"""What is noted on records of jobs that the pool holds for a reason of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bson import ObjectId
from pymongo import UpdateOne

from ee2_jobs import logs
from ee2_jobs.model import LIVE, Document, now_s
from ee2_jobs.store import Store


@dataclass(frozen=True)
class Hold:
    """A job on hold: HTCondor's code, subcode and words, and when it began (s)."""

    job: ObjectId
    scheduler_id: str
    code: int
    subcode: int
    reason: str
    at_s: float


async def live_records(store: Store, scheduler_ids: Sequence[str]) -> dict[str, Document]:
    """The records of those of the pool's jobs that have not ended, by scheduler id."""
    found = store.jobs.find(
        {"scheduler_id": {"$in": list(scheduler_ids)}, "status": {"$in": list(LIVE)}},
        {
            "scheduler_id": 1,
            "held": 1,
            "released": 1,
            "status": 1,
            "job_input.requirements": 1,
        },
    )
    return {job["scheduler_id"]: job async for job in found}


async def note(store: Store, holds: Sequence[Hold], *, all_of_them: bool = True) -> None:
    """Put these holds on their records. all_of_them: there are no others, so what other records say
    is over."""
    updates = [
        UpdateOne(
            # Not if it stands there: `told` beside it is to stay.
            {"_id": one.job, "status": {"$in": list(LIVE)}, "held.at": {"$ne": one.at_s}},
            {
                "$set": {
                    "held": {
                        "code": one.code,
                        "subcode": one.subcode,
                        "reason": one.reason,
                        "at": one.at_s,
                    }
                }
            },
        )
        for one in holds
    ]
    if updates:
        await store.jobs.bulk_write(updates, ordered=False)
    if all_of_them:
        others = {"held.code": {"$exists": True}, "_id": {"$nin": [one.job for one in holds]}}
        await store.jobs.update_many(others, {"$unset": {"held": ""}})


async def note_released(store: Store, hold: Hold) -> None:
    """The engine has released the job, as it does once."""
    await store.jobs.update_one(
        {"_id": hold.job}, {"$set": {"released": {"code": hold.code, "at": now_s()}}}
    )
    line = logs.Line(
        f"HTCondor put the job on hold: {hold.reason}. It was released to try once more.",
        is_error=True,
        time_s=now_s(),
    )
    await logs.append(store, hold.job, [line], f"released.{hold.scheduler_id}.{hold.at_s:.0f}")


async def tell_owner(store: Store, hold: Hold, text: str) -> bool:
    """Say it in the job's log, once for each hold; whether it was said now."""
    done = await store.jobs.update_one(
        {"_id": hold.job, "held.at": hold.at_s, "held.told": {"$exists": False}},
        {"$set": {"held.told": now_s()}},
    )
    if done.modified_count:
        line = logs.Line(text, is_error=True, time_s=now_s())
        await logs.append(store, hold.job, [line], f"hold.{hold.scheduler_id}.{hold.at_s:.0f}")
    return bool(done.modified_count)
