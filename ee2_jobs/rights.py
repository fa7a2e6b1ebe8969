"""Who may do what to a job. One function decides.

EE2's rule (`ee2-api` 2.0): the owner may read and write; for a job attached to a workspace, the
workspace's readers may read and its writers write; for a job without one, those with whom its owner
shares it may read, or manage it if he says so; nobody else, unless an administrator says
`as_admin`. A job's own token may do to that job what its runner needs, and may read the jobs that
it has submitted (offspring.py).

Who manages a job may cancel it, run it again and put it back in line, as a workspace's writers may;
but not what a runner does (start and end it, write its log), nor share it further.

Who may not read a job is told that it cannot be found, as for an id that no job has: an answer that
told the two apart would say which jobs there are.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Collection, Iterable
from typing import Any

from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, NotFound
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, job_oid
from ee2_jobs.offspring import is_parent


class Level(enum.StrEnum):
    """What is asked for; the value is how EE2's messages print it."""

    READ = "JobPermissions.READ"
    WRITE = "JobPermissions.WRITE"
    # Not EE2's: cancelling, running again, putting back in line.
    MANAGE = "JobPermissions.MANAGE"
    # Not EE2's: hiding a job from the old services, where a workspace's writers may not do it.
    DELETE = "JobPermissions.DELETE"


_ENOUGH = {
    Level.READ: ("r", "m", "w", "a"),
    Level.MANAGE: ("m", "w", "a"),
    Level.WRITE: ("w", "a"),
    Level.DELETE: ("a",),
}


def enough(held: str | None, level: Level) -> bool:
    """Whether what `rights_in` says of a job (None: nothing) is enough for `level`."""
    return held in _ENOUGH[level]


def named_right(job: Document, user: str) -> str | None:
    """What a job without workspace is shared with the user for: `m` (to manage), `r` (to read), or
    None. Whoever is not among `shared`, the list of all, has no right by `managers`."""
    if user not in job.get("shared", ()):
        return None
    return "m" if user in job.get("managers", ()) else "r"


def in_workspace(job: Document) -> bool:
    """Whether the job is shared with the users of a workspace, and so with nobody by name."""
    return job.get("authstrat") == "kbaseworkspace" and bool(job.get("wsid"))


def require_admin(caller: Caller, level: Level) -> None:
    """Denied with EE2's text unless the caller holds the role that `level` needs."""
    if caller.job is None and (
        caller.can_admin or (level is Level.READ and caller.can_admin_read)
    ):
        return
    if level is Level.READ:
        raise Denied("Access Denied: You are not an administrator")
    if caller.can_admin_read:
        raise Denied(
            "Access Denied: You are a read-only admin. This function requires write access"
        )
    raise Denied("Access Denied: You are not an administrator. AdminPermissions.NONE")


async def rights_in(
    engine: Engine, caller: Caller, jobs: Iterable[Document], asked: Collection[object] = ()
) -> dict[str, str]:
    """What the caller may do with each of the jobs: `r`, `m` (manage), `w`, or `a` (all, as its
    owner), by id; those that may not even be read are left out.

    asked: the ids that a client named. It takes one look at workspaces if one of them is not among
    the answers, whether it is a job in a workspace, one in none, or no job at all: how long a
    refusal takes, or a list with one in it, must not tell which jobs there are.
    """
    held: dict[str, str] = {}
    by_workspace: dict[int, list[str]] = {}
    for job in jobs:
        job_id = str(job["_id"])
        if caller.job is not None:
            if caller.job == job_id:
                held[job_id] = "a"
            elif await is_parent(engine.store, caller, job):
                held[job_id] = "r"
        elif job["user"] == caller.user:
            held[job_id] = "a"
        elif in_workspace(job):
            by_workspace.setdefault(job["wsid"], []).append(job_id)
        elif (right := named_right(job, caller.user)) is not None:
            held[job_id] = right
    refused = [str(one) for one in asked if str(one) not in held]
    if caller.job is None and refused and not by_workspace:
        by_workspace[_nowhere(refused[0])] = []
    if by_workspace:
        rights = await engine.workspaces.permissions(caller, by_workspace)
        for wsid, ids in by_workspace.items():
            permission = rights.get(wsid, "n")
            if permission != "n":
                held.update(dict.fromkeys(ids, permission))
    return held


def _nowhere(job_id: str) -> int:
    """The number of a workspace that there is not, always the same for a job: a second question
    about the same job may be answered from what is remembered of the first."""
    digest = hashlib.blake2b(job_id.encode(), digest_size=5).digest()
    return 10**12 + int.from_bytes(digest, "big")


async def permitted(
    engine: Engine,
    caller: Caller,
    jobs: Iterable[Document],
    level: Level,
    asked: Collection[object] = (),
) -> set[str]:
    """The ids of those jobs that the caller may read, manage or write, with one look at workspaces.
    asked: as of `rights_in`."""
    held = await rights_in(engine, caller, jobs, asked)
    return {job_id for job_id, permission in held.items() if enough(permission, level)}


async def require(
    engine: Engine, caller: Caller, job: Document, level: Level, *, as_admin: bool = False
) -> None:
    """Nothing if the caller may read or write the job. Otherwise NotFound, or Denied with EE2's
    text for who may read it and not write. With `as_admin` the role decides alone, even for the
    owner."""
    if as_admin:
        require_admin(caller, level)
        return
    held = await rights_in(engine, caller, [job], [job["_id"]])
    permission = held.get(str(job["_id"]))
    if permission is None:
        raise not_found(job["_id"])
    if not enough(permission, level):
        raise denied(caller, job["_id"])


def denied(caller: Caller, job_id: object) -> Denied:
    """For who may read a job and not write it (EE2's text)."""
    return Denied(
        f"User {caller.user} does not have permission to {Level.WRITE.value} job {job_id}"
    )


def not_found(job_id: object) -> NotFound:
    """For a job that is not there, or not for this caller."""
    return NotFound(f"Cannot find job with ids: ['{job_id}']")


async def find_permitted(
    engine: Engine,
    caller: Caller,
    job_id: Any,
    level: Level,
    *,
    as_admin: bool = False,
    projection: Document | None = None,
    null_message: str = "Please provide a valid job id",
) -> Document:
    """The record of a job that the caller may read or write. Raises InvalidInput for what is no id,
    and as `require`. projection must leave in `user`, `wsid`, `authstrat` and `shared`, and to
    manage `managers`."""
    if as_admin:
        require_admin(caller, level)
    oid = job_oid(job_id, null_message=null_message)
    job = await engine.store.jobs.find_one({"_id": oid}, projection)
    if job is None:
        if not as_admin:
            await rights_in(engine, caller, [], [oid])
        raise not_found(job_id)
    await require(engine, caller, job, level, as_admin=as_admin)
    return job
