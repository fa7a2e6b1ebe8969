"""Running jobs whose runner went silent: found by their last sign of life, ended with a reason.

A runner reports every few seconds, and what was heard is put on the records every half minute
(`seen`). HTCondor cannot tell a runner that hangs from one that works, so a job of which nothing is
heard while the pool says that it runs would stay `running` for ever.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from bson import ObjectId
from pymongo import UpdateOne

from ee2_jobs import logs
from ee2_jobs.model import Document, ErrorCode, Status, now_s
from ee2_jobs.pool_records import engine_error
from ee2_jobs.store import Store

MARK = "runners_heard"
FLUSH_S = 30.0
# So long without a flush and nobody was listening: the server was away, or MongoDB was.
GAP_S = 3 * FLUSH_S
_SIGNS = ("seen", "running", "claim.at")


async def note_seen(store: Store, job_ids: Iterable[str]) -> None:
    """Put on the records that the runners of these jobs were heard of, and note that somebody
    listens. One bulk update, however many they are."""
    now = now_s()
    oids = [ObjectId(job_id) for job_id in job_ids]
    if oids:
        await store.jobs.update_many(
            {"_id": {"$in": oids}, "status": Status.RUNNING.value}, {"$set": {"seen": now}}
        )
    gap = {"$gt": [now, {"$add": [{"$ifNull": ["$at", 0.0]}, GAP_S]}]}
    fields: Document = {"since": {"$cond": [gap, now, "$since"]}, "at": now}
    if oids:
        fields["anybody"] = now
    await store.marks.update_one({"_id": MARK}, [{"$set": fields}], upsert=True)


async def listened_s(store: Store) -> float:
    """For how long runners could be heard without a break until now, s; 0 if they cannot."""
    mark = await store.marks.find_one({"_id": MARK})
    if mark is None or now_s() - mark["at"] > GAP_S:
        return 0.0
    since_s: float = mark["since"]
    return now_s() - since_s


async def anybody_heard_s(store: Store) -> float | None:
    """When any runner at all was last heard of, s since the epoch; None if never."""
    mark = await store.marks.find_one({"_id": MARK}) or {}
    return mark.get("anybody")


async def silent_jobs(store: Store, silent_s: float, limit: int = 5000) -> list[Document]:
    """Running jobs in the pool that were last heard of more than `silent_s` ago: their
    `scheduler_id`, `claim` and times."""
    before = now_s() - silent_s
    query: Document = {
        "status": Status.RUNNING.value,
        "scheduler_id": {"$exists": True},
        "submission": {"$exists": True},
        "$nor": [{sign: {"$gte": before}} for sign in _SIGNS],
    }
    fields = ["scheduler_id", "claim", "seen", "running"]
    return await store.jobs.find(query, fields).limit(limit).to_list()


def last_sign_s(job: Document) -> float:
    """When a job's runner was last heard of, s since the epoch."""
    claimed_s = (job.get("claim") or {}).get("at") or 0.0
    return max(job.get("seen") or 0.0, job.get("running") or 0.0, claimed_s)


def reason(job: Document) -> str:
    """What the owner of a silent job is told."""
    host = (job.get("claim") or {}).get("host")
    node = f"the node {host}" if host else "its node"
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(last_sign_s(job)))
    return (
        f"The program that runs the job on {node} has not been heard of since {since}, although "
        "the pool says that it is there. The job was ended. Please run it again; if that happens "
        "again, report it with the job's id."
    )


async def end_silent(store: Store, jobs: Sequence[Document]) -> int:
    """End these jobs in `error`, code 2, unless they were heard of meanwhile, with a line in their
    logs, and have them removed from the pool; how many were ended."""
    if not jobs:
        return 0
    now, code = now_s(), ErrorCode.TERMINATED_BY_AUTOMATION
    updates = []
    for job in jobs:
        text = reason(job)
        unheard = {sign: {"$not": {"$gt": last_sign_s(job)}} for sign in _SIGNS}
        fields = {
            "status": Status.ERROR.value,
            "error_code": int(code),
            "errormsg": text,
            "error": engine_error(text, code),
            "finished": now,
            "updated": now,
            "remove": True,
        }
        query = {"_id": job["_id"], "status": Status.RUNNING.value, **unheard}
        updates.append(UpdateOne(query, {"$set": fields}))
    done = await store.jobs.bulk_write(updates, ordered=False)
    ended = store.jobs.find({"_id": {"$in": [j["_id"] for j in jobs]}, "finished": now}, ["_id"])
    by_id = {job["_id"]: job for job in jobs}
    async for job in ended:
        line = logs.Line(reason(by_id[job["_id"]]), is_error=True, time_s=now)
        await logs.append(store, job["_id"], [line], f"silent.{job['_id']}")
    return done.modified_count
