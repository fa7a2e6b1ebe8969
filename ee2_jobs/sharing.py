"""Use cases: the owner of a job that belongs to no workspace shares it with named users.

They may read it, by every method. A job in a workspace is shared with the workspace's users and
with nobody else. What is done to a batch is done to its jobs. The texts are UserAndJobState's.
"""

from __future__ import annotations

from typing import Any

from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput, NotFound
from ee2_jobs.identity import Caller, Identity
from ee2_jobs.model import Document
from ee2_jobs.rights import Level, find_permitted, in_workspace

MAX_USERS = 1000
_FIELDS = {"user": 1, "wsid": 1, "authstrat": 1, "shared": 1, "batch_job": 1}


async def share(
    engine: Engine,
    identity: Identity,
    caller: Caller,
    job_id: Any,
    users: Any,
    *,
    as_admin: bool = False,
) -> None:
    """Let these users read the caller's job. Those who may already, and the owner, are passed over.

    users: names, at most MAX_USERS. Raises NotFound if the caller owns no such job outside
    workspaces, InvalidInput for a name that no user has; then nobody was added.
    """
    names = _names(users)
    missing = not_owned(job_id, caller)
    job = await _job(engine, caller, job_id, as_admin, missing)
    if not as_admin and job["user"] != caller.user:
        raise missing
    await _require_users(identity, caller, names)
    wanted = [name for name in names if name != job["user"]]
    if wanted:
        await _change(engine, job, "$addToSet", {"$each": wanted})


async def unshare(
    engine: Engine,
    identity: Identity,
    caller: Caller,
    job_id: Any,
    users: Any,
    *,
    as_admin: bool = False,
) -> None:
    """Take the right to read away from these users; the owner may do that to all, who reads by it
    only to himself. Those who had none are passed over. Raises as `share`, and Denied."""
    names = _names(users)
    job = await _job(engine, caller, job_id, as_admin, not_visible(job_id, caller))
    if not as_admin and job["user"] != caller.user and set(names) != {caller.user}:
        raise Denied(f"User {caller.user} may only stop sharing job {job_id} for themselves")
    shared = job.get("shared", ())
    await _require_users(identity, caller, [name for name in names if name not in shared])
    await _change(engine, job, "$pull", {"$in": names})


async def shared_with(
    engine: Engine, caller: Caller, job_id: Any, *, as_admin: bool = False
) -> list[str]:
    """With whom the caller's job is shared, in the order of the alphabet; empty in a workspace.

    Raises NotFound as for every read, Denied for a reader who does not own the job.
    """
    job = await find_permitted(
        engine, caller, job_id, Level.READ, as_admin=as_admin, projection=_FIELDS
    )
    if not as_admin and job["user"] != caller.user:
        raise Denied(f"User {caller.user} may not access the sharing list of job {job_id}")
    return [] if in_workspace(job) else sorted(job.get("shared", ()))


def not_owned(job_id: object, caller: Caller) -> NotFound:
    """For who would share a job that is not his, or is in a workspace, or is not there."""
    return NotFound(
        f"There is no job {job_id} with default authorization owned by user {caller.user}"
    )


def not_visible(job_id: object, caller: Caller) -> NotFound:
    """For who would end the sharing of a job that is not shared with him, or not there."""
    return NotFound(
        f"There is no job {job_id} with default authorization visible to user {caller.user}"
    )


async def _job(
    engine: Engine, caller: Caller, job_id: Any, as_admin: bool, missing: NotFound
) -> Document:
    """A job outside workspaces that the caller may read; otherwise `missing` is raised."""
    level = Level.WRITE if as_admin else Level.READ
    try:
        job = await find_permitted(
            engine, caller, job_id, level, as_admin=as_admin, projection=_FIELDS
        )
    except NotFound:
        raise missing from None
    if in_workspace(job):
        raise missing
    return job


def _names(users: Any) -> list[str]:
    if not users or not isinstance(users, list):
        raise InvalidInput("The user list may not be null or empty")
    if not all(isinstance(name, str) and name.strip() for name in users):
        raise InvalidInput("A user name cannot be null or the empty string")
    if len(users) > MAX_USERS:
        raise InvalidInput(f"At most {MAX_USERS} users in one call, not {len(users)}")
    return list(dict.fromkeys(name.strip() for name in users))


async def _require_users(identity: Identity, caller: Caller, names: list[str]) -> None:
    unknown = await identity.unknown_users(caller, names) if names else []
    if unknown:
        raise InvalidInput(f"User {unknown[0]} is not a valid user")


async def _change(engine: Engine, job: Document, operator: str, value: Document) -> None:
    """Change the list of a job and its later attempts, which have it from that; of a batch, on its
    jobs too, and on those that its split makes. Attempts of another user's (an administrator's) are
    not for the owner to share, but what they took over is taken away."""
    job_id = str(job["_id"])
    of_job = [{"_id": job["_id"]}, {"retry_parent": job_id}]
    if job.get("batch_job"):
        await engine.store.submissions.update_one(
            {"_id": job_id, "children": {"$exists": True}}, {operator: {"children.shared": value}}
        )
        of_job.append({"batch_id": job_id})
    query: Document = {"$or": of_job}
    if operator == "$addToSet":
        query["user"] = job["user"]
    await engine.store.jobs.update_many(query, {operator: {"shared": value}})
