"""Use cases: the owner of a job that belongs to no workspace shares it with named users.

They may read it, by every method; with the right `manage` also cancel it, run it again and put it
back in line, as a workspace's writers may. A job in a workspace is shared with the workspace's
users and with nobody else. What is done to a batch is done to its jobs. The texts are
UserAndJobState's.

The record's `shared` has all names, and `managers` those of them with the right `manage`: what
older records and the old services know of is the right to read.
"""

from __future__ import annotations

from typing import Any, Literal

from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput, NotFound
from ee2_jobs.identity import Caller, Identity
from ee2_jobs.model import Document
from ee2_jobs.rights import Level, find_permitted, in_workspace, named_right

MAX_USERS = 1000
Right = Literal["read", "manage"]
_FIELDS = {"user": 1, "wsid": 1, "authstrat": 1, "shared": 1, "managers": 1, "batch_job": 1}


async def share(
    engine: Engine,
    identity: Identity,
    caller: Caller,
    job_id: Any,
    users: Any,
    *,
    right: Right | None = None,
    as_admin: bool = False,
) -> None:
    """Let these users read, or read and manage, the caller's job: `right` is what they have then,
    whatever it was before. None: to read, and who manages it goes on managing it. The owner is
    passed over.

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
    if not wanted:
        return
    if right == "read":
        await _change(engine, job, {"$pull": {"managers": {"$in": wanted}}}, of_all=True)
    lists = ("shared", "managers") if right == "manage" else ("shared",)
    added = {name: {"$each": wanted} for name in lists}
    await _change(engine, job, {"$addToSet": added}, of_all=False)


async def unshare(
    engine: Engine,
    identity: Identity,
    caller: Caller,
    job_id: Any,
    users: Any,
    *,
    as_admin: bool = False,
) -> None:
    """Take every right away from these users; the owner may do that to all, who has one only to
    himself. Those who had none are passed over. Raises as `share`, and Denied."""
    names = _names(users)
    job = await _job(engine, caller, job_id, as_admin, not_visible(job_id, caller))
    if not as_admin and job["user"] != caller.user and set(names) != {caller.user}:
        raise Denied(f"User {caller.user} may only stop sharing job {job_id} for themselves")
    shared = job.get("shared", ())
    await _require_users(identity, caller, [name for name in names if name not in shared])
    # Attempts that others have made are shared with the owner: that is not taken away here.
    gone = {"$in": [name for name in names if name != job["user"]]}
    await _change(engine, job, {"$pull": {"shared": gone, "managers": gone}}, of_all=True)


async def shared_with(
    engine: Engine, caller: Caller, job_id: Any, *, as_admin: bool = False
) -> dict[str, Right]:
    """With whom the caller's job is shared and what they may do, in the order of the alphabet; of a
    job in a workspace nobody.

    Raises NotFound as for every read, Denied for a reader who does not own the job.
    """
    job = await find_permitted(
        engine, caller, job_id, Level.READ, as_admin=as_admin, projection=_FIELDS
    )
    if not as_admin and job["user"] != caller.user:
        raise Denied(f"User {caller.user} may not access the sharing list of job {job_id}")
    return rights_by_name(job)


def rights_by_name(job: Document) -> dict[str, Right]:
    """What users may do with a job by name, in the order of the alphabet. job: a record with its
    `shared` and `managers`."""
    if in_workspace(job):
        return {}
    names = sorted(str(name) for name in job.get("shared") or ())
    return {name: "manage" if named_right(job, name) == "m" else "read" for name in names}


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


async def _change(engine: Engine, job: Document, update: Document, *, of_all: bool) -> None:
    """Change the lists of a job and its later attempts, which have them from that; of a batch, on
    its jobs too, and on those that its split makes. of_all: also of attempts of another user's (an
    administrator's, a manager's): these are not for the owner to share, but what they took over is
    taken away."""
    job_id = str(job["_id"])
    of_job = [{"_id": job["_id"]}, {"retry_parent": job_id}]
    if job.get("batch_job"):
        of_children = {
            operator: {f"children.{name}": value for name, value in lists.items()}
            for operator, lists in update.items()
        }
        await engine.store.submissions.update_one(
            {"_id": job_id, "children": {"$exists": True}}, of_children
        )
        of_job.append({"batch_id": job_id})
    query: Document = {"$or": of_job}
    if not of_all:
        query["user"] = job["user"]
    await engine.store.jobs.update_many(query, update)
