"""What UserAndJobState's clients do to jobs: the use cases that EE2's interface does not have.

UserAndJobState runs nothing: a user makes a job, a service (proved by a token of its own) starts it
and tells how it goes. Here that is an ordinary record with `scheduler_type` "ujs" and without a
submission, and a side document for what EE2's records have no field for. Both change in one
transaction, under a condition on the state: of two that end a job at once, one is told that there
is no such job to end.

A job that the engine runs is the engine's to start and to end; here it can be read, cancelled and
deleted. The texts are UserAndJobState's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from ee2_jobs.cancel import cancel_children, terminated
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, EngineError, InvalidInput, NotFound, Unavailable
from ee2_jobs.identity import Caller
from ee2_jobs.legacy.records import DEFAULT, UJS, find_viewable, legal_id
from ee2_jobs.legacy.ujs_values import (
    MAX_DETAIL,
    MAX_STATUS,
    MAX_TEXT,
    optional_text,
    parse_est_complete,
    parse_increment,
    parse_meta,
    parse_progress,
    parse_results,
    parse_workspace,
)
from ee2_jobs.model import LIVE, TERMINAL, Document, ErrorCode, Status, TerminatedCode, now_s
from ee2_jobs.rights import Level, find_permitted
from ee2_jobs.workspaces import Permission

WORKSPACE = "kbaseworkspace"
# What of a record a view has no use for.
WITHOUT_LARGE = {"job_output": 0, "job_input.params": 0, "condor_job_ads": 0, "child_jobs": 0}
_FACTS = {"user": 1, "wsid": 1, "authstrat": 1, "shared": 1, "managers": 1, "status": 1,
          "scheduler_type": 1,
          "batch_job": 1, "child_jobs": 1}  # fmt: skip


async def create(engine: Engine, caller: Caller, params: Mapping[str, Any]) -> str:
    """A new job that nothing runs and no list shows until a service starts it; its id.

    params: `authstrat` (`DEFAULT`: the owner and whom he shares with; `kbaseworkspace`: the users
    of a workspace), `authparam` (that workspace's id, as a string), `meta` (strings by name).
    """
    strategy = params.get("authstrat") or DEFAULT
    meta = parse_meta(params.get("meta"))
    job: Document = {
        "_id": ObjectId(),
        "user": caller.user,
        "authstrat": strategy,
        "status": Status.CREATED.value,
        "updated": now_s(),
        "batch_job": False,
        "child_jobs": [],
        "retry_ids": [],
        "retry_saved_toggle": False,
        "scheduler_type": UJS,
    }
    if strategy == WORKSPACE:
        wsid = parse_workspace(_authparam(params.get("authparam")))
        if (await workspace_permissions(engine, caller, [wsid]))[wsid] not in ("w", "a"):
            raise Denied(f"User {caller.user} cannot write to workspace {wsid}")
        job["wsid"] = wsid
    elif strategy != DEFAULT:
        raise InvalidInput(f"Invalid authorization strategy: {strategy}")

    async def write(session: AsyncClientSession) -> None:
        await engine.store.jobs.insert_one(job, session=session)
        if meta:
            side = {"_id": job["_id"], "meta": meta}
            await engine.store.legacy.insert_one(side, session=session)

    await engine.store.transaction(write)
    return str(job["_id"])


def _authparam(value: Any) -> Any:
    if value is None or value == "":
        raise InvalidInput("authParam cannot be null or empty")
    return value


async def workspace_permissions(
    engine: Engine, caller: Caller, wsids: list[int]
) -> dict[int, Permission]:
    """The caller's permission per workspace; `n` for what cannot be a workspace's id."""
    try:
        found = await engine.workspaces.permissions(caller, [w for w in wsids if w > 0])
    except Unavailable as e:
        raise Unavailable(
            f"Error contacting the workspace service to get permissions: {e}"
        ) from None
    return {wsid: found.get(wsid, "n") for wsid in wsids}


async def start(
    engine: Engine,
    caller: Caller,
    job_id: Any,
    service: str,
    *,
    status: Any,
    description: Any,
    progress: Any,
    est_complete: Any,
) -> None:
    """A service begins to work on a job of the caller's. On a live job that the engine runs this
    does nothing: old clients start what they have submitted."""
    oid = legal_id(job_id)
    begun = _begun(service, description, progress, est_complete)
    told = _message(status)
    no_job = NotFound(f"There is no unstarted job {job_id} for user {caller.user}")

    async def write(session: AsyncClientSession) -> bool:
        now = now_s()
        done = await engine.store.jobs.update_one(
            {
                "_id": oid,
                "user": caller.user,
                "scheduler_type": UJS,
                "status": Status.CREATED.value,
            },
            _with({"status": Status.RUNNING.value, "running": now, "updated": now}, told),
            session=session,
        )
        if done.matched_count:
            await engine.store.legacy.update_one(
                {"_id": oid}, {"$set": begun}, upsert=True, session=session
            )
        return bool(done.matched_count)

    if await engine.store.transaction(write):
        return
    of_engine = {
        "_id": oid,
        "user": caller.user,
        "scheduler_type": {"$ne": UJS},
        "status": {"$in": list(LIVE)},
    }
    if await engine.store.jobs.find_one(of_engine, {"_id": 1}) is None:
        raise no_job
    if (await _side(engine, oid)).get("deleted"):
        raise no_job


async def create_and_start(
    engine: Engine,
    caller: Caller,
    service: str,
    *,
    status: Any,
    description: Any,
    progress: Any,
    est_complete: Any,
) -> str:
    """Both in one call; nothing is made if the start would be refused."""
    _begun(service, description, progress, est_complete)
    _message(status)
    job_id = await create(engine, caller, {})
    await start(
        engine,
        caller,
        job_id,
        service,
        status=status,
        description=description,
        progress=progress,
        est_complete=est_complete,
    )
    return job_id


async def update(
    engine: Engine,
    caller: Caller,
    job_id: Any,
    service: str,
    *,
    status: Any,
    est_complete: Any,
    increment: Any = None,
) -> None:
    """The service that started a job tells how it goes. status: replaces the one before, also when
    null. increment: by how much it has got on."""
    oid = legal_id(job_id)
    changes: Document = {"$inc": {"prog": parse_increment(increment)}}
    estimated = parse_est_complete(est_complete)
    if estimated is not None:
        changes["$set"] = {"estcompl": estimated}
    change = _with({"updated": now_s()}, _message(status))
    await _of_service(engine, caller, oid, service, change, changes)


async def complete(
    engine: Engine,
    caller: Caller,
    job_id: Any,
    service: str,
    *,
    status: Any,
    error: Any,
    results: Any,
) -> None:
    """The service that started a job ends it: with `error` (a text) the job has failed."""
    oid = legal_id(job_id)
    told = _message(status)
    detail = optional_text(error, "error", MAX_DETAIL)
    kept = parse_results(results)
    now = now_s()
    fields: Document = {"status": Status.COMPLETED.value, "finished": now, "updated": now}
    if detail is not None:
        fields |= {
            "status": Status.ERROR.value,
            "errormsg": detail,
            "error_code": int(ErrorCode.UNKNOWN),
            "error": {
                "name": "Error",
                "code": int(ErrorCode.UNKNOWN),
                "message": told or detail[:MAX_STATUS],
                "error": detail,
            },
        }
    change = {"$set": {"results": kept}} if kept is not None else {"$unset": {"results": ""}}
    await _of_service(engine, caller, oid, service, _with(fields, told), change)


async def _of_service(
    engine: Engine,
    caller: Caller,
    oid: ObjectId,
    service: str,
    change: Document,
    side_change: Document,
) -> None:
    """Change a job that this service has started for its owner and that has not ended."""

    async def write(session: AsyncClientSession) -> None:
        done = await engine.store.jobs.update_one(
            {
                "_id": oid,
                "user": caller.user,
                "scheduler_type": UJS,
                "status": Status.RUNNING.value,
            },
            change,
            session=session,
        )
        if done.matched_count:
            done = await engine.store.legacy.update_one(
                {"_id": oid, "service": service}, side_change, session=session
            )
        if not done.matched_count:
            raise NotFound(
                f"There is no uncompleted job {oid} for user {caller.user} started by service "
                f"{service}"
            )

    await engine.store.transaction(write)


async def cancel(engine: Engine, caller: Caller, job_id: Any, status: Any) -> None:
    """Cancel a job that has not ended, started or not; if the engine runs it, it leaves the pool.
    Of a batch, its jobs are cancelled too."""
    oid = legal_id(job_id)
    told = _message(status)
    no_job = NotFound(f"There is no job {job_id} that may be canceled by user {caller.user}")
    job = await _changeable(engine, caller, oid, Level.MANAGE, no_job)
    await _terminate(engine, caller, job, no_job, told)
    await cancel_children(engine.store, job)


async def delete(engine: Engine, caller: Caller, job_id: Any) -> None:
    """Hide a job that has ended from every method of the old services. The record stays."""
    oid = legal_id(job_id)
    no_job = NotFound(f"There is no deletable job {job_id} for user {caller.user}")
    job = await _changeable(engine, caller, oid, Level.DELETE, no_job)
    if job["status"] not in TERMINAL:
        raise no_job
    await _hide(engine, oid, no_job)


async def force_delete(engine: Engine, caller: Caller, service: str, job_id: Any) -> None:
    """Hide a job that this service has started, also one that has not ended: it is cancelled then,
    if it is not the engine's, because nobody could end it any more."""
    oid = legal_id(job_id)
    no_job = NotFound(
        f"There is no deletable job {job_id} for user {caller.user} and service {service}"
    )
    job = await _changeable(engine, caller, oid, Level.DELETE, no_job)
    of_ujs = job.get("scheduler_type") == UJS
    side = await _side(engine, oid)
    started_by = side.get("service")
    if started_by is None and not of_ujs and job["status"] != Status.CREATED.value:
        started_by = job["user"]
    if started_by != service:
        raise no_job
    if of_ujs and job["status"] in LIVE:
        try:
            await _terminate(engine, caller, job, no_job, "deleted")
        except NotFound:
            pass  # it has ended meanwhile
    await _hide(engine, oid, no_job)


async def require_shown(engine: Engine, caller: Caller, job_id: Any, missing: EngineError) -> None:
    """`missing` unless the old services show this job to the caller."""
    try:
        await find_viewable(engine, caller, job_id, projection=_FACTS)
    except NotFound:
        raise missing from None


async def _side(engine: Engine, oid: ObjectId) -> Document:
    return await engine.store.legacy.find_one({"_id": oid}) or {}


async def _changeable(
    engine: Engine, caller: Caller, oid: ObjectId, level: Level, no_job: EngineError
) -> Document:
    """A job that the caller may change and that was not deleted; `no_job` for every other."""
    try:
        job = await find_permitted(engine, caller, oid, level, projection=_FACTS)
    except (NotFound, Denied):
        raise no_job from None
    if (await _side(engine, oid)).get("deleted"):
        raise no_job
    return job


async def _terminate(
    engine: Engine, caller: Caller, job: Document, no_job: EngineError, told: str | None
) -> None:
    fields = terminated(TerminatedCode.BY_USER)
    if job.get("scheduler_type") == UJS:
        del fields["remove"]  # it is in no pool

    async def write(session: AsyncClientSession) -> None:
        done = await engine.store.jobs.update_one(
            {"_id": job["_id"], "status": {"$in": list(LIVE)}},
            _with(fields, told),
            session=session,
        )
        if not done.matched_count:
            raise no_job
        await engine.store.legacy.update_one(
            {"_id": job["_id"]},
            {"$set": {"canceledby": caller.user}},
            upsert=True,
            session=session,
        )

    await engine.store.transaction(write)


async def _hide(engine: Engine, oid: ObjectId, no_job: EngineError) -> None:
    try:
        await engine.store.legacy.update_one(
            {"_id": oid, "deleted": {"$ne": True}}, {"$set": {"deleted": True}}, upsert=True
        )
    except DuplicateKeyError:  # another call has just done it
        raise no_job from None


def _begun(service: str, description: Any, progress: Any, est_complete: Any) -> Document:
    """The fields of the side document of a job that a service starts."""
    way = parse_progress(progress)
    fields: Document = {"service": service, "progtype": way.kind, "prog": 0}
    if way.most is not None:
        fields["maxprog"] = way.most
    text = optional_text(description, "description", MAX_TEXT)
    if text is not None:
        fields["desc"] = text
    estimated = parse_est_complete(est_complete)
    if estimated is not None:
        fields["estcompl"] = estimated
    return fields


def _message(status: Any) -> str | None:
    return optional_text(status, "status", MAX_STATUS)


def _with(fields: Document, message: str | None) -> Document:
    """An update of a record that sets these fields, and the message, or takes it away."""
    if message is None:
        return {"$set": fields, "$unset": {"msg": ""}}
    return {"$set": {**fields, "msg": message}}
