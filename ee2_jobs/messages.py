"""What is told to other services of a job's change: EE2's Kafka messages, and the statistics.

The kinds and fields are EE2's (`ee2-api` 8.4). What is different, and why:

* A cancel makes one `cancel` message per job that was really ended by it, and none for one that had
  ended before; its `condor` message says that the job is to leave the pool (EE2 sent up to four per
  child, and false ones: D46).
* `finish` is sent by whoever ends the job: the runner, the watcher, the reconciler.
* Nothing says "held" or "evicted": these are no states of a job.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bson import ObjectId

from ee2_jobs.catalog import ExecStats
from ee2_jobs.model import TERMINAL, Document, Status

Kind = Literal["event", "stats"]

# What messages are made from. `told`: when the job's statistics were sent, s.
FIELDS = (
    "user", "batch_job", "status", "queued", "estimating", "running", "finished", "updated",
    "scheduler_id", "error_code", "errormsg", "terminated_code", "job_input.method",
    "job_input.app_id", "job_input.service_ver", "told",
)  # fmt: skip
_BELOW = (Status.QUEUED, Status.ESTIMATING, Status.RUNNING)
_TOPIC = "ee2"


@dataclass(frozen=True)
class Change:
    """One change of a record's status. `key` is unique, the same however often the change is read,
    and sorts in the order of the changes. at_s: when, s since the epoch. created: the record is
    new. `user` is known of new records only."""

    key: str
    job_id: ObjectId
    status: str
    at_s: float
    created: bool = False
    user: str | None = None


def created_s(job_id: ObjectId) -> int:
    """When a job was made, whole s since the epoch."""
    return int.from_bytes(job_id.binary[:4], "big")


def previous_status(job: Document, change: Change) -> str:
    """The state before a change, as the record's time stamps tell it: of the states that the job
    had entered before it entered the new one, the last.

    It can know only states with a stamp of their own. A job that ran before the engine had noted it
    as queued gets its `queued` stamp later than `running`; the state before is then `created`,
    which is right. A state that somebody forced has no stamp, so after `update_job_status` the
    answer is the last state that was reached the usual way.
    """
    stamp = "finished" if change.status in TERMINAL else change.status
    at_s = job.get(stamp) or change.at_s
    best, best_s = Status.CREATED.value, 0.0
    for state in _BELOW:
        entered_s = job.get(state.value)
        if entered_s and best_s <= entered_s <= at_s and state.value != change.status:
            best, best_s = state.value, entered_s
    return best


def messages(change: Change, job: Document | None, *, events: bool) -> list[Document]:
    """The outbox documents of a change; `job` is the record as it is now (FIELDS), or None if it is
    gone or not needed. events: whether anybody wants more than the statistics."""
    bodies: list[Document] = []
    if events and change.created and change.status == Status.CREATED:
        bodies.append(
            {"user": change.user, "job_id": str(change.job_id), "status_change": "created"}
        )
    if events and not change.created and job is not None:
        bodies += _status_bodies(change, job)
    made: list[Document] = [
        _document(f"{change.key}.{n}", "event", change, body) for n, body in enumerate(bodies)
    ]
    if not change.created and job is not None and change.status in TERMINAL:
        stats = exec_stats(job, change)
        if stats is not None and "told" not in job:
            made.append(_document(f"stats.{change.job_id}", "stats", change, {**vars(stats)}))
    return made


def _document(key: str, kind: Kind, change: Change, body: Document) -> Document:
    return {"_id": key, "kind": kind, "job": str(change.job_id), "at": change.at_s, "body": body}


def _status_bodies(change: Change, job: Document) -> list[Document]:
    job_id, scheduler_id = str(change.job_id), job.get("scheduler_id")
    body: Document = {
        "job_id": job_id,
        "previous_status": previous_status(job, change),
        "new_status": change.status,
        "scheduler_id": scheduler_id,
        "topic": _TOPIC,
        "event_type": "job_status_update",
        "error": False,
    }
    if change.status == Status.QUEUED:
        return [{**body, "status_change": "queued"}]
    if change.status in (Status.COMPLETED, Status.ERROR):
        told = {"error_code": job.get("error_code"), "error_message": job.get("errormsg")}
        return [{**body, **told}]
    if change.status == Status.TERMINATED:
        cancel = {
            **body,
            "terminated_code": job.get("terminated_code"),
            "status_change": "terminated",
        }
        condor = {
            "condor_command": "condor_rm",
            "job_id": job_id,
            "scheduler_id": scheduler_id,
            "event_type": "condor_request",
        }
        return [cancel, condor] if scheduler_id else [cancel]
    return [body]


def exec_stats(job: Document, change: Change) -> ExecStats | None:
    """The execution statistics of an ended job (`ee2-api` 8.3); None for one that never ran, for a
    batch's parent, and for a record without an app (made by a client of UJS, say).

    A job that was cancelled while it ran counts as one that did not succeed (EE2 lost these: D47).
    """
    what = job.get("job_input") or {}
    module, dot, function = str(what.get("method") or "").partition(".")
    if job.get("batch_job") or not job.get("running") or not dot:
        return None
    return ExecStats(
        job_id=str(change.job_id),
        user_id=job["user"],
        module=module,
        function=function,
        git_commit=what.get("service_ver") or "",
        app_id=what.get("app_id"),
        created_s=created_s(change.job_id),
        started_s=job["running"],
        finished_s=job.get("finished") or change.at_s,
        is_error=change.status != Status.COMPLETED,
    )
