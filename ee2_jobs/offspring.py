"""Jobs that jobs submit: what a job's own token may start and see of it, and on which level it is.

An app that starts jobs and waits for them (KBParallel's way) holds a place of its user's limit as
long as they run. So jobs have levels, each with the limit's number of places to itself: 0 for what
a user submits, 1 for what such a job submits, and so on. Parents then cannot starve their children.

A live job's token may submit, as the job's owner, into the job's own workspace or none. The records
carry its id as `by_job`, which nobody else can set: those jobs, and no others of the owner's, it
may look at and cancel.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bson import ObjectId

from ee2_jobs import user_tokens
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.model import LIVE, Document
from ee2_jobs.store import Store

# Each level has all the places of its user's limit, so there must be a last one.
MAX_LEVEL = 8


async def may_write(engine: Engine, caller: Caller, wsid: int) -> bool:
    """Whether the caller may run jobs in the workspace."""
    if caller.job is not None:
        return await _workspace(engine.store, caller.job) == wsid
    return (await engine.workspaces.permissions(caller, [wsid]))[wsid] in ("w", "a")


async def inaccessible(engine: Engine, caller: Caller, refs: Collection[str]) -> list[str]:
    """Those of the object references that a job of the caller's may not be given. Of a job's own
    token: all that are not in its workspace."""
    if not refs:
        return []
    if caller.job is None:
        return await engine.workspaces.inaccessible(caller, sorted(refs))
    own = await _workspace(engine.store, caller.job)
    return [ref for ref in sorted(refs) if own is None or ref.partition("/")[0] != str(own)]


async def _workspace(store: Store, job_id: str) -> int | None:
    job = await store.job_states.get(ObjectId(job_id))
    return None if job is None else job.get("wsid")


async def place(
    engine: Engine, caller: Caller, submission: Document, jobs: Sequence[Document]
) -> None:
    """Write on new records whose offspring they are, and their level. The parent is the job whose
    token the caller has. Where apps have their users' tokens (`jobs_act_as_user`), it may also be
    the live job of the same user that `parent_job_id` names; elsewhere only users send that, and
    nobody is to have more places by naming a job.

    Denied if the token's job has ended. InvalidInput if jobs start jobs too deep.
    """
    parent = await _parent(engine, caller, jobs)
    if parent is None:
        return
    level = int(parent.get("level", 0)) + 1
    if level > MAX_LEVEL:
        raise InvalidInput(
            f"Job {parent['_id']} was itself started by a job, and that one too, {MAX_LEVEL} times "
            "over: it may not start further jobs"
        )
    template = submission.get("children")
    for job in [*jobs, template] if template else jobs:
        if not job.get("batch_job"):
            job["level"] = level
        if caller.job is not None:
            job["by_job"] = caller.job
            if job["job_input"].get("parent_job_id") != submission["_id"]:
                job["job_input"]["parent_job_id"] = caller.job
    if caller.job is not None and engine.settings.jobs_act_as_user:
        kept = await engine.store.submissions.find_one(
            {"_id": parent.get("submission"), user_tokens.FIELD: {"$exists": True}},
            {user_tokens.FIELD: 1},
        )
        if kept is not None:
            submission[user_tokens.FIELD] = kept[user_tokens.FIELD]


async def _parent(
    engine: Engine, caller: Caller, jobs: Sequence[Document]
) -> Document | None:
    named = caller.job
    if named is None and engine.settings.jobs_act_as_user:
        given = (job["job_input"].get("parent_job_id") for job in jobs)
        named = next((one for one in given if one is not None), None)
    if named is None or not ObjectId.is_valid(named):
        return None
    parent = await engine.store.jobs.find_one(
        {
            "_id": ObjectId(named),
            "user": caller.user,
            "status": {"$in": list(LIVE)},
            "batch_job": {"$ne": True},
        },
        {"level": 1, "submission": 1},
    )
    if parent is None and caller.job is not None:
        raise Denied(f"Job {caller.job} has ended, so it cannot start jobs")
    return parent


async def is_parent(store: Store, caller: Caller, job: Document) -> bool:
    """Whether the caller is a live job that has submitted this one by its own token."""
    if caller.job is None or job.get("by_job") != caller.job:
        return False
    state = await store.job_states.get(ObjectId(caller.job))
    return state is not None and state["status"] in LIVE
