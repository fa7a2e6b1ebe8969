"""What the page of a job says of rights: with whom it is shared, what the caller may do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.model import LIVE, WAITING, Document, StageName
from ee2_jobs.page.values import cut
from ee2_jobs.retry import RETRYABLE
from ee2_jobs.rights import Level, in_workspace, permitted
from ee2_jobs.sharing import rights_by_name

if TYPE_CHECKING:
    from ee2_jobs.page.job import Held

_MOST_NAMES = 20
_RIGHTS = ("user", "wsid", "authstrat", "shared", "managers")


def shared(job: Document, caller: Caller, as_admin: bool) -> Document | None:
    """With whom the job is shared by name, and for what: for its owner and administrators."""
    if not may_share(job, caller, as_admin):
        return None
    users = [
        {"user": cut(name, 80), "right": right} for name, right in rights_by_name(job).items()
    ]
    return {"users": users[:_MOST_NAMES], "more": max(0, len(users) - _MOST_NAMES)}


def may_share(job: Document, caller: Caller, as_admin: bool) -> bool:
    """Whether the job is one that is shared by name, and the caller its owner or (`as_admin`) an
    administrator."""
    return not in_workspace(job) and (as_admin or job["user"] == caller.user)


async def can(
    engine: Engine,
    caller: Caller,
    held: Held,
    attempts: Sequence[Mapping[str, Any]],
    *,
    as_admin: bool,
) -> dict[str, bool]:
    """What the caller may do with the job now. attempts: all at the job that he may read."""
    job, status = held.job, held.job["status"]
    again = (
        held.may_manage
        and status in RETRYABLE
        and not any(one["status"] in LIVE for one in attempts)
        and bool((job.get("job_input") or {}).get("method"))
        and job.get("role") != StageName.SPLIT.value
    )
    if again and not as_admin and job.get("batch_id"):
        parents = await parents_of(engine, [job])
        again = bool(await permitted(engine, caller, parents, Level.MANAGE))
    return {
        "cancel": held.may_manage and status in LIVE,
        "retry": again,
        "share": held.may_manage and may_share(job, caller, as_admin),
        "reprioritise": held.may_manage and status in WAITING,
    }


async def parents_of(engine: Engine, jobs: Sequence[Mapping[str, Any]]) -> list[Document]:
    """The parents of the batches that these jobs are of, as far as rights go: a child is run again
    by who may manage the batch, too."""
    ids = {batch_id for job in jobs if ObjectId.is_valid(batch_id := job.get("batch_id") or "")}
    if not ids:
        return []
    query = {"_id": {"$in": [ObjectId(one) for one in ids]}}
    return await engine.store.jobs.find(query, list(_RIGHTS)).to_list()
