"""What AWE's clients do with jobs, as use cases of this engine. Rights are the engine's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from ee2_jobs import audit, cancel, priority, retry, submit
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput, NotFound, WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.legacy import awe
from ee2_jobs.legacy.records import find_viewable, legacy_documents
from ee2_jobs.model import LIVE, WAITING, Document, ErrorCode, Status
from ee2_jobs.rights import Level, permitted, require
from ee2_jobs.runs import end, failed

SUSPENDED = "manually suspended"
MOST_JOBS = 500
_QUERY_MS = 30_000
_SORTS = {"info.submittime": "_id", "updatetime": "updated", "info.completedtime": "finished"}


@dataclass(frozen=True)
class Found:
    """A job that a client named: its newest attempt (a resumed job goes on under the old id), its
    side document, and the id that it is shown under."""

    job: Document
    side: Document
    shown: ObjectId

    def document(self) -> Document:
        """As AWE shows it."""
        return awe.document({**self.job, "_id": self.shown}, self.side)

    def report(self) -> Document:
        """Its short log."""
        return awe.report({**self.job, "_id": self.shown}, self.side)


async def find(engine: Engine, caller: Caller, text: str) -> Found:
    """A job by its AWE id, for who may read it; administrators may. NotFound for all others
    alike."""
    oid = awe.own_id(text)
    if oid is None:
        side = await engine.store.legacy.find_one({"awe_job_id": text}, {"_id": 1})
        oid = side["_id"] if side else ObjectId()
    reads_all = caller.can_admin_read
    job, side = await find_viewable(engine, caller, str(oid), as_admin=reads_all)
    newest = await engine.store.jobs.find_one({"retry_parent": str(oid)}, sort=[("_id", -1)])
    if newest is not None and (
        reads_all or await permitted(engine, caller, [newest], Level.READ)
    ):
        job = newest
    return Found(job, side, oid)


async def by_admin(engine: Engine, caller: Caller, found: Found, level: Level) -> bool:
    """Whether the caller may write (or hide) the job by an administrator's right alone. Denied if
    not at all."""
    try:
        await require(engine, caller, found.job, level)
        return False
    except (Denied, NotFound):
        await require(engine, caller, found.job, level, as_admin=True)
        return True


async def submit_document(engine: Engine, caller: Caller, doc: Any) -> Document:
    """Accept a job from AWE's document; the document of the new job.

    The client groups are those of the catalog: a client's own wish counts for administrators only,
    as everywhere in this engine, and is recorded.
    """
    asked = awe.parse_submission(doc)
    user, groups, info = asked.pop("user"), asked.pop("clientgroups"), asked.pop("awe_info")
    if user and user != caller.user:
        raise Denied(f"info.user is {user}, but the token is {caller.user}'s")
    side = {"awe_info": info, "service": caller.user, "desc": "queued"}
    first = groups.split(",")[0].strip()
    if first and caller.can_admin:
        asked["job_requirements"] = {"client_group": first}
        entry = await audit.begin(engine.store, caller.user, "AWE POST clientgroups", [], None)
        try:
            job_id = await submit.run_job(engine, caller, asked, side=side)
        except Exception as e:
            await audit.end(engine.store, entry, error=str(e))
            raise
        await audit.end(engine.store, entry, made=[job_id])
    else:
        job_id = await submit.run_job(engine, caller, asked, side=side)
    oid = ObjectId(job_id)
    job = await engine.store.jobs.find_one({"_id": oid})
    assert job is not None
    return awe.document(job, side)


async def listing(
    engine: Engine,
    caller: Caller,
    wanted: Mapping[str, Sequence[str]],
    *,
    limit: int,
    offset: int,
    order: str,
    ascending: bool,
) -> tuple[list[Document], int]:
    """A page of the caller's jobs (administrators: of all jobs) as documents, and how many there
    are in all."""
    if order not in _SORTS:
        raise InvalidInput(f"order must be one of {', '.join(_SORTS)}, not '{order}'")
    query, possible = awe.list_query(wanted)
    if not possible:
        return [], 0
    query = {**query, "batch_job": {"$ne": True}}
    if not caller.can_admin_read:
        query["user"] = caller.user
    store = engine.store
    hidden = [d["_id"] async for d in store.legacy.find({"deleted": True}, {"_id": 1})]
    if hidden:
        query["$nor"] = [{"_id": {"$in": hidden}}]
    without = {"job_output": 0, "job_input.params": 0}
    found = store.jobs.find(query, without, max_time_ms=_QUERY_MS)
    found = found.sort(_SORTS[order], 1 if ascending else -1).skip(offset)
    jobs = await found.limit(min(limit, MOST_JOBS)).to_list()
    total = await store.jobs.count_documents(query, maxTimeMS=_QUERY_MS)
    sides = await legacy_documents(store, [job["_id"] for job in jobs])
    return [awe.document(job, sides.get(str(job["_id"]), {})) for job in jobs], total


async def position(engine: Engine, job: Document) -> int:
    """1 and the jobs of the same client group that go before this one. WrongState with AWE's text
    if it does not wait or run."""
    status = job["status"]
    if status not in (Status.QUEUED.value, Status.RUNNING.value, *WAITING):
        state = awe.STATES[Status(status)]
        raise WrongState(f"job is not queued or in-progress, job state:{state}")
    group = ((job.get("job_input") or {}).get("requirements") or {}).get("clientgroup")
    mine = int(job.get("priority") or 0)
    before: list[Document] = [
        {"priority": {"$gt": mine}},
        {"priority": mine, "_id": {"$lt": job["_id"]}},
    ]
    query = {
        "status": {"$in": list(LIVE)},
        "batch_job": {"$ne": True},
        "job_input.requirements.clientgroup": group,
        "$or": before,
    }
    return 1 + await engine.store.jobs.count_documents(query)


async def suspend(engine: Engine, job: Document) -> None:
    """End a live job so that it can be resumed: which makes a new attempt of it."""
    if job.get("batch_job"):
        raise WrongState("the parent of a batch runs nothing and cannot be suspended: its jobs can")
    text = {"name": "AWE", "code": 2, "message": SUSPENDED, "error": SUSPENDED}
    ending = failed(SUSPENDED, int(ErrorCode.TERMINATED_BY_AUTOMATION), text)
    if not await end(engine, {"_id": job["_id"]}, ending, {"remove": True}):
        raise WrongState(f"a job that has ended ({job['status']}) cannot be suspended")


async def resume(engine: Engine, caller: Caller, job: Document, *, as_admin: bool) -> None:
    """Run a suspended (failed) job again."""
    if job["status"] != Status.ERROR.value:
        state = awe.STATES[Status(job["status"])]
        raise WrongState(f"job is not suspended, job state:{state}")
    (done,) = await retry.retry_jobs(engine, caller, [str(job["_id"])], as_admin=as_admin)
    if done.error is not None:
        raise done.error


async def reprioritise(
    engine: Engine, caller: Caller, job: Document, value: str, *, as_admin: bool
) -> None:
    """Change a waiting job's priority: AWE's 1 is our 0, larger goes first."""
    if not (value.isascii() and value.isdigit()) or not 1 <= int(value[:4]) <= priority.HIGHEST + 1:
        raise InvalidInput(f"priority must be from 1 to {priority.HIGHEST + 1}, not '{value}'")
    await priority.set_priority(
        engine, caller, str(job["_id"]), int(value) - 1, as_admin=as_admin
    )


async def delete(
    engine: Engine, caller: Caller, found: Found, *, full: bool, as_admin: bool
) -> None:
    """Cancel a job; with `full` it is shown by the old services no more. The record stays."""
    await cancel.cancel_job(engine, caller, str(found.job["_id"]), as_admin=as_admin)
    if full:
        await engine.store.legacy.update_one(
            {"_id": found.shown}, {"$set": {"deleted": True}}, upsert=True
        )


async def counts(engine: Engine) -> dict[str, dict[str, int]]:
    """How many jobs that have not ended are in each of AWE's states, as AWE's queue told it: for
    jobs, tasks and work units, which are the same here; and no clients."""
    pipeline: list[Document] = [
        {"$match": {"status": {"$in": list(LIVE)}, "batch_job": {"$ne": True}}},
        {"$group": {"_id": "$status", "n": {"$sum": 1}}},
    ]
    found = dict.fromkeys(("init", "queued", "in-progress", "suspend"), 0)
    async for row in await engine.store.jobs.aggregate(pipeline):
        found[awe.STATES[Status(row["_id"])]] += row["n"]
    kinds = {**found, "total": sum(found.values())}
    clients = dict.fromkeys(("total", "busy", "idle", "suspend"), 0)
    return {"jobs": kinds, "tasks": dict(kinds), "workunits": dict(kinds), "clients": clients}
