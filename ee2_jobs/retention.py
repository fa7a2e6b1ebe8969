"""Which logs and artifacts are old enough to go, by age and by how the jobs ended.

A job whose log was deleted keeps `log_expired` (s) on its record, so that the page can say so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from bson import ObjectId

from ee2_jobs.model import LIVE, Document, Status, now_s
from ee2_jobs.store import Store

CHUNK = 500
# Records of long ago may be imported, so the look begins again from the oldest every now and then.
AGAIN_S = 7 * 86_400
FAILED = (Status.ERROR.value, Status.TERMINATED.value)
_COMPLETED = (Status.COMPLETED.value,)


@dataclass(frozen=True)
class Expired:
    """Of how many jobs the logs went (dry run: would go), and whether there is more to do."""

    jobs: int = 0
    more: bool = False


async def expire_logs(
    store: Store,
    *,
    days: int,
    days_failed: int,
    in_time: Callable[[], bool],
    most: int,
    dry_run: bool = False,
) -> Expired:
    """Delete the logs of jobs that ended so long ago: `days` if they completed, `days_failed` if
    not, never if that is 0. It stops after about `most` logs, or when `in_time()` is False, and
    goes on there when it is called again."""
    jobs, more = 0, False
    for name, statuses, limit in (
        ("completed", _COMPLETED, days),
        ("failed", FAILED, days_failed),
    ):
        if limit:
            before_s = now_s() - limit * 86_400
            part = await _expire(store, name, statuses, before_s, in_time, most - jobs, dry_run)
            jobs, more = jobs + part.jobs, more or part.more
    return Expired(jobs, more)


async def _expire(
    store: Store,
    name: str,
    statuses: Sequence[str],
    before_s: float,
    in_time: Callable[[], bool],
    most: int,
    dry_run: bool,
) -> Expired:
    """By the time of their end, from where the last run stopped; the index on it has them so."""
    mark_id = f"retention.logs.{name}"
    mark = await store.marks.find_one({"_id": mark_id}) or {"after": 0.0, "since": 0.0}
    after_s: float = mark["after"]
    since_s: float = mark["since"]
    if now_s() - since_s > AGAIN_S:
        after_s, since_s = 0.0, now_s()
    gone = 0
    while in_time() and gone < most:
        query = {"status": {"$in": list(statuses)}, "finished": {"$gte": after_s, "$lt": before_s}}
        ended = store.jobs.find(query, ["finished"]).sort("finished", 1).limit(CHUNK)
        found = await ended.to_list()
        gone += await _delete(store, [job["_id"] for job in found], dry_run)
        last_s = found[-1]["finished"] if found else before_s
        if len(found) == CHUNK and last_s == found[0]["finished"]:
            # More jobs ended in the same moment than are looked at together: all of them.
            same = {"status": {"$in": list(statuses)}, "finished": last_s}
            ids = [job["_id"] async for job in store.jobs.find(same, ["_id"])]
            gone += await _delete(store, list(set(ids) - {job["_id"] for job in found}), dry_run)
            last_s += 1e-6
        after_s = last_s
        if not dry_run:
            fields_set = {"after": after_s, "since": since_s}
            await store.marks.update_one({"_id": mark_id}, {"$set": fields_set}, upsert=True)
        if len(found) < CHUNK:
            return Expired(gone, False)
    return Expired(gone, True)


async def _delete(store: Store, ids: Sequence[ObjectId], dry_run: bool) -> int:
    """Delete the logs of these jobs; how many had one. The mark on the record comes first, so that
    a run that is cut off leaves no log missing without it."""
    if not ids:
        return 0
    mine: Document = {"job": {"$in": list(ids)}}
    logged = set(await store.log_buckets.distinct("job", {**mine, "base": {"$gte": 0}}))
    old: Document = {"_id": {"$in": list(ids)}}
    logged |= {log["_id"] async for log in store.old_logs.find(old, ["_id"])}
    if logged and not dry_run:
        await store.jobs.update_many(
            {"_id": {"$in": list(logged)}}, {"$set": {"log_expired": now_s()}}
        )
        await store.log_buckets.delete_many({"job": {"$in": list(logged)}})
        await store.old_logs.delete_many({"_id": {"$in": list(logged)}})
    return len(logged)


async def kept(store: Store, ids: Collection[str], *, failed: bool) -> set[str]:
    """Those of the submissions that have jobs still to run or running; failed: or such as failed or
    were cancelled."""
    statuses = [*LIVE, *(FAILED if failed else ())]
    query = {"submission": {"$in": list(ids)}, "status": {"$in": statuses}}
    found: set[str] = set(await store.jobs.distinct("submission", query))
    return found
