"""What the server tells, as frozen values. Times are datetimes in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

ENDED = ("completed", "error", "terminated")
LIVE = ("created", "estimating", "queued", "running")


def time_of(ms: Any) -> datetime | None:
    """A time of the wire (ms since 1970)."""
    return datetime.fromtimestamp(ms / 1000, UTC) if isinstance(ms, int | float) else None


@dataclass(frozen=True)
class JobState:
    """A job's record. status: created, estimating, queued, running, completed, error or terminated.

    job_input, job_output: as the server has them. child_counts: of a batch, how many children are
    in each state; stage_jobs: ids of its split and aggregate jobs. record: all that the server
    sent, with times in ms.
    """

    job_id: str
    status: str
    user: str | None = None
    wsid: int | None = None
    created: datetime | None = None
    queued: datetime | None = None
    running: datetime | None = None
    finished: datetime | None = None
    updated: datetime | None = None
    batch_job: bool = False
    batch_id: str | None = None
    child_jobs: tuple[str, ...] = ()
    retry_ids: tuple[str, ...] = ()
    retry_parent: str | None = None
    error_code: int | None = None
    error_message: str | None = None
    terminated_code: int | None = None
    job_input: Mapping[str, Any] = field(default_factory=dict, repr=False)
    job_output: Mapping[str, Any] | None = field(default=None, repr=False)
    child_counts: Mapping[str, int] = field(default_factory=dict)
    stage_jobs: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        """Whether the job has ended. A batch's own state tells only of a cancel."""
        return self.status in ENDED

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self:
        """From a record of the wire."""
        plain = ("user", "wsid", "batch_id", "retry_parent", "error_code", "terminated_code")
        times = ("created", "queued", "running", "finished", "updated")
        given: dict[str, Any] = {name: record.get(name) for name in plain}
        given |= {name: time_of(record.get(name)) for name in times}
        return cls(
            job_id=record["job_id"],
            status=record.get("status") or "",
            **given,
            batch_job=bool(record.get("batch_job")),
            child_jobs=tuple(record.get("child_jobs") or ()),
            retry_ids=tuple(record.get("retry_ids") or ()),
            error_message=record.get("errormsg"),
            job_input=record.get("job_input") or {},
            job_output=record.get("job_output"),
            child_counts=record.get("child_counts") or {},
            stage_jobs=record.get("stage_jobs") or {},
            record=record,
        )


def state_of(record: Any) -> JobState | None:
    """The state in an answer of check_jobs; None for a job that is not there or not for the
    caller (a `failure` mapping; of KBase's EE2 also an empty list)."""
    readable = isinstance(record, Mapping) and "job_id" in record
    return JobState.read(record) if readable else None


@dataclass(frozen=True)
class Batch:
    """A batch that was accepted; the children's ids in the order given."""

    batch_id: str
    child_job_ids: tuple[str, ...]


@dataclass(frozen=True)
class BatchState:
    """A batch's parent and its children; None for a child that is not for the caller."""

    parent: JobState
    children: tuple[JobState | None, ...]


@dataclass(frozen=True)
class Retried:
    """What became of one job that was to be run again: the new attempt's id, or why not. job_id is
    that of the job's first attempt."""

    job_id: str
    retry_id: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class LogLine:
    """One line of a log; number: its place, from 0."""

    text: str
    number: int
    is_error: bool = False
    at: datetime | None = None


@dataclass(frozen=True)
class Progress:
    """How a job or a batch stands.

    end: completed, error or terminated once all of it has ended, None until then. A batch has ended
    with its children (the newest attempt of each), its split and its aggregate. child_counts
    (children per state) and stages (states of `split` and `aggregate`) are a batch's.
    """

    job_id: str
    status: str
    end: str | None
    batch_job: bool = False
    created: datetime | None = None
    running: datetime | None = None
    finished: datetime | None = None
    child_counts: Mapping[str, int] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> Self:
        """From an answer of wait_for_jobs."""
        return cls(
            job_id=state["job_id"],
            status=state["status"],
            end=state["end"],
            batch_job=state["batch_job"],
            **{name: time_of(state.get(name)) for name in ("created", "running", "finished")},
            child_counts=state.get("child_counts") or {},
            stages=state.get("stages") or {},
        )

    @classmethod
    def of(cls, job: JobState, children: Sequence[JobState]) -> Self:
        """From records, for a server that has no wait_for_jobs (it has no split or aggregate). Of a
        child with several attempts the newest counts: ids grow with time."""
        newest: dict[str, JobState] = {}
        for child in sorted(children, key=lambda c: c.job_id):
            newest[child.retry_parent or child.job_id] = child
        counts: dict[str, int] = {}
        for child in newest.values():
            counts[child.status] = counts.get(child.status, 0) + 1
        end = job.status if job.ended else None
        if job.batch_job:
            if any(status in LIVE for status in counts):
                end = None
            elif end is None and counts:
                end = "completed" if set(counts) == {"completed"} else "error"
        return cls(
            job.job_id, job.status, end, job.batch_job, job.created, job.running, job.finished,
            counts,
        )  # fmt: skip
