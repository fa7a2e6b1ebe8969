"""Use case: cancel a job or a batch. One conditional update per call; what is in the pool is
removed by the watcher, which looks for records that carry `remove`.

Who did it, and why, stands in the record's `ended_by`: {kind: `user`, `admin` (by an
administrator's right) or `runner` (by the job's own token), user, reason, action (the id of the
bulk action, see actions.py)}. EE2's clients do not get it.
"""

from __future__ import annotations

from typing import Any

from bson import ObjectId

from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, shown
from ee2_jobs.identity import Caller
from ee2_jobs.model import LIVE, Document, Status, TerminatedCode, now_s
from ee2_jobs.rights import Level, find_permitted
from ee2_jobs.store import Store

MAX_REASON_LETTERS = 1000


def ended_by(
    caller: Caller, *, as_admin: bool, reason: str | None = None, action: str | None = None
) -> Document:
    """The record's account of who cancels. reason: shown to the job's owner."""
    kind = "runner" if caller.job else "admin" if as_admin else "user"
    told: Document = {"kind": kind, "user": caller.user}
    if reason:
        told["reason"] = reason[:MAX_REASON_LETTERS]
    if action:
        told["action"] = action
    return told


def terminated(
    code: TerminatedCode, message: str | None = None, by: Document | None = None
) -> Document:
    """The `$set` that ends a live job as terminated and has it removed from the pool. by: as of
    `ended_by`, where somebody cancels."""
    now = now_s()
    fields: Document = {
        "status": Status.TERMINATED.value,
        "terminated_code": int(code),
        "finished": now,
        "updated": now,
        "remove": True,
    }
    if message:
        fields["errormsg"] = message
    if by:
        fields["ended_by"] = by
    return fields


async def terminate(
    store: Store,
    query: Document,
    code: TerminatedCode,
    message: str | None = None,
    by: Document | None = None,
) -> int:
    """End all live jobs that match; returns how many. Jobs that have ended are left alone."""
    done = await store.jobs.update_many(
        {**query, "status": {"$in": list(LIVE)}}, {"$set": terminated(code, message, by)}
    )
    return done.modified_count


def parse_terminated_code(value: Any) -> TerminatedCode:
    """EE2's terminated codes 0 to 4; null is 0, terminated by the user."""
    try:
        if isinstance(value, bool):
            raise ValueError
        return TerminatedCode.BY_USER if value is None else TerminatedCode(int(value))
    except (ValueError, TypeError):
        raise InvalidInput(
            f"terminated_code must be one of {', '.join(str(c.value) for c in TerminatedCode)}, "
            f"not {shown(value)}"
        ) from None


async def cancel_job(
    engine: Engine,
    caller: Caller,
    job_id: Any,
    *,
    terminated_code: Any = None,
    as_admin: bool = False,
    reason: str | None = None,
) -> None:
    """Cancel a job; of a batch's parent, its live children too (with code 3), before this returns.

    A job that has ended already is a silent success: KBase's JobRunner needs that. Children that
    were abandoned by the parent go on running.
    """
    # What a job's token may read is the job and what it has submitted: both are its to end.
    needed = Level.MANAGE if caller.job is None else Level.READ
    job = await find_permitted(engine, caller, job_id, needed, as_admin=as_admin)
    code = parse_terminated_code(terminated_code)
    by = ended_by(caller, as_admin=as_admin, reason=reason)
    await terminate(engine.store, {"_id": job["_id"]}, code, by=by)
    await cancel_children(engine.store, job, by)


async def cancel_children(store: Store, job: Document, by: Document | None = None) -> None:
    """End the live jobs of a batch whose parent was cancelled; nothing for a single job."""
    if job.get("batch_job"):
        batch_id = str(job["_id"])
        # Of a batch that had ended: its own record tells its end now, and lists have it once.
        await store.jobs.update_one(
            {"_id": job["_id"], "status": Status.TERMINATED.value}, {"$unset": {"batch_end": ""}}
        )
        # As they are now that the parent has ended: a new attempt may have joined since `job` was
        # read, and none can any more.
        now = await store.jobs.find_one({"_id": job["_id"]}, {"child_jobs": 1}) or {}
        for query in (
            {"_id": {"$in": [ObjectId(c) for c in now.get("child_jobs", ())]}},
            {"batch_id": batch_id, "role": {"$in": ["split", "aggregate"]}},
        ):
            await terminate(
                store, query, TerminatedCode.BY_BATCH_ABORT, "The batch was cancelled.", by
            )

