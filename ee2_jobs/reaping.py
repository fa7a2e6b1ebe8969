"""Jobs that have waited too long to be still wanted or still possible: found, and ended.

What a job waits for decides, not its age alone. A job is `created` until it is in the pool's queue,
and much of that is as it should be: the parent of a batch is `created` for as long as its children
run, an aggregate until they have ended, a job whose DAG somebody has paused until that is over; and
while MongoDB, Airflow or the pool is away the waiting is ours and the user's job must not pay for
it. So a `created` job is given up only if one of these is the case, for longer than its client
group allows:

- its submission has ended, or is not there: nothing will start it;
- its submission could not be started although that was tried TRIES times: every minute while the
  scheduler works, so an outage does not count;
- its stage began to submit it and did not come to an end. A stage that is waiting for the pool
  begins anew every few seconds, so this is one whose trigger was lost for good.

A job with no submission is an older engine's; `./ee2 import ee2 --in-place --end-live` ends those.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bson import ObjectId

from ee2_jobs import submissions
from ee2_jobs.client_groups import POOL_ROUTE
from ee2_jobs.model import Document, ErrorCode, Status, TerminatedCode, now_s
from ee2_jobs.pool_records import PoolEnd, apply_pool_ends
from ee2_jobs.store import Store

TRIES = 10
CREATED_S, QUEUED_S = 3600, 14 * 86_400
_NOT_SUBMITTED = (Status.CREATED.value, Status.ESTIMATING.value)


class Group(Protocol):
    """What is asked of a client group."""

    @property
    def max_created_s(self) -> int:
        """How long a job may be `created`, s."""
        ...

    @property
    def max_queued_s(self) -> int:
        """How long a job may be ready to start, s."""
        ...


@dataclass(frozen=True)
class Overdue:
    """A job to give up. submission: set if all of the submission is to be given up with it."""

    job: ObjectId
    message: str
    submission: str | None = None


def group_of(job: Document, groups: Mapping[str, Group]) -> Group | None:
    """The client group of a job; None if the file has it no more."""
    name = job.get("job_input", {}).get("requirements", {}).get("clientgroup")
    return groups.get(name)


def max_created_s(group: Group | None) -> int:
    """See Group."""
    return CREATED_S if group is None else group.max_created_s


def max_queued_s(group: Group | None) -> int:
    """See Group."""
    return QUEUED_S if group is None else group.max_queued_s


async def overdue_created(
    store: Store, groups: Mapping[str, Group], limit: int = 20_000
) -> list[Overdue]:
    """Jobs that have been `created` for too long, for a reason that will not go away; see the
    module. At most `limit` records are looked at, the oldest first."""
    now = now_s()
    shortest_s = min([CREATED_S, *(max_created_s(g) for g in groups.values())])
    before = datetime.datetime.fromtimestamp(now - shortest_s, datetime.UTC)
    jobs = await (
        store.jobs.find(
            {
                "status": {"$in": list(_NOT_SUBMITTED)},
                "_id": {"$lt": ObjectId.from_datetime(before)},
                "updated": {"$lt": now - shortest_s},
                "batch_job": False,
                "submission": {"$exists": True},
            },
            {
                "submission": 1, "stage": 1, "try": 1, "round": 1, "updated": 1,
                "job_input.requirements": 1, "where.route": 1,
            },
        )  # fmt: skip
        .sort("_id", 1)
        .limit(limit)
        .to_list()
    )
    ids = list({job["submission"] for job in jobs})
    fields = {"status": 1, "starts": 1, "error": 1, "tries": 1, "ended": 1}
    found = {s["_id"]: s async for s in store.submissions.find({"_id": {"$in": ids}}, fields)}
    overdue = []
    for job in jobs:
        longest_s = max_created_s(group_of(job, groups))
        if job["updated"] < now - longest_s:
            one = _given_up(job, found.get(job["submission"]), now - longest_s)
            if one is not None:
                overdue.append(one)
    return overdue


def _given_up(job: Document, submission: Document | None, before_s: float) -> Overdue | None:
    """Why the job will not get into the pool's queue any more; None if it may."""
    again = "Please run it again; if that happens again, report it with the job's id."
    oid = job["_id"]
    if submission is None:
        return Overdue(oid, f"The request that the job belonged to is gone. {again}")
    if submission["status"] == "ended":
        if submission.get("ended", 0.0) > before_s:
            return None
        return Overdue(oid, f"The run of the job ended, and the job was never started. {again}")
    if submission["status"] == "accepted":
        if submission.get("starts", 0) < TRIES or not submission.get("error"):
            return None
        why = submission["error"]
        text = f"The job could not be started, after {submission['starts']} tries. {again} ({why})"
        return Overdue(oid, text, submission["_id"])
    marks = submission.get("tries", {}).get(job.get("stage"), {}).get(str(job.get("try")), {})
    number, route = job.get("round", 1), (job.get("where") or {}).get("route")
    # As StageRun.begun_mark: each route of a round is submitted by itself.
    mark = "begun" if number == 1 else f"begun_{number}"
    begun_s = marks.get(mark if route in (None, POOL_ROUTE) else f"{mark}@{route}")
    if begun_s is None or begun_s > before_s:
        return None
    return Overdue(oid, f"The job did not get into the pool's queue in all this time. {again}")


async def give_up(store: Store, overdue: Sequence[Overdue]) -> int:
    """End these in `error`, code 2, where they are still `created`; how many were ended."""
    code = int(ErrorCode.TERMINATED_BY_AUTOMATION)
    ended = await apply_pool_ends(
        store,
        [
            PoolEnd(
                str(one.job), Status.ERROR, code, one.message, remove=True, line=one.message,
                among=_NOT_SUBMITTED,
            )
            for one in overdue
        ],
    )  # fmt: skip
    for submission_id in {one.submission for one in overdue if one.submission}:
        await submissions.mark_ended(
            store, submission_id, TerminatedCode.BY_AUTOMATION, "The request could not be started."
        )
    return ended


def not_started(job: Document, waited_s: float) -> str:
    """What the owner of a job is told that nothing in the pool would run."""
    wanted = job.get("job_input", {}).get("requirements", {})
    size = ", ".join(
        f"{wanted[key]} {unit}"
        for key, unit in (("cpu", "cores"), ("memory", "MB memory"), ("disk", "GB disk"))
        if key in wanted
    )
    group = wanted.get("clientgroup")
    return (
        f"The job was ready to start for {waited_s / 86400:.1f} days and the pool had no place for "
        f"it{f' in the client group {group}' if group else ''}{f' ({size})' if size else ''}. It "
        "was ended. Run it again with smaller requirements, or ask the administrators."
    )
