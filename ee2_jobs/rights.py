"""Who may do what to a job. One function decides.

EE2's rule (`ee2-api` 2.0): the owner may read and write; for a job attached to a workspace, the
workspace's readers may read and its writers write; nobody else, unless an administrator says
`as_admin`. A job's own token may do to that job what its runner needs.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document


class Level(enum.StrEnum):
    """What is asked for; the value is how EE2's messages print it."""

    READ = "JobPermissions.READ"
    WRITE = "JobPermissions.WRITE"


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


async def permitted(
    engine: Engine, caller: Caller, jobs: Iterable[Document], level: Level
) -> set[str]:
    """The ids of those jobs that the caller may read or write, with one workspace look-up."""
    allowed: set[str] = set()
    by_workspace: dict[int, list[str]] = {}
    for job in jobs:
        job_id = str(job["_id"])
        if caller.job is not None:
            if caller.job == job_id:
                allowed.add(job_id)
        elif job["user"] == caller.user:
            allowed.add(job_id)
        elif job.get("authstrat") == "kbaseworkspace" and job.get("wsid"):
            by_workspace.setdefault(job["wsid"], []).append(job_id)
    if by_workspace:
        enough = ("r", "w", "a") if level is Level.READ else ("w", "a")
        rights = await engine.workspaces.permissions(caller.user, by_workspace)
        for wsid, ids in by_workspace.items():
            if rights.get(wsid) in enough:
                allowed.update(ids)
    return allowed


async def require(
    engine: Engine, caller: Caller, job: Document, level: Level, *, as_admin: bool = False
) -> None:
    """Denied with EE2's text unless the caller may read or write the job. With `as_admin` the role
    decides alone, even for the owner."""
    if as_admin:
        require_admin(caller, level)
        return
    if caller.job is None and job["user"] == caller.user:
        return
    if str(job["_id"]) not in await permitted(engine, caller, [job], level):
        raise Denied(
            f"User {caller.user} does not have permission to {level.value} job {job['_id']}"
        )
