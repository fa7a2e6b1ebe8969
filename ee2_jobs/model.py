"""The words of the record: states, codes, times, ids.

A job record is EE2's MongoDB document as it stands (collection `ee2_jobs`, EE2's field names, times
in float seconds, nulls not stored), so that an existing EE2 database is adopted without rewriting.
Fields of our own beside EE2's:

| field        | meaning |
|--------------|---------|
| `submission` | id (24 hex) of the submission that runs the job |
| `role`       | what the job is in its batch: `split`, `submit` (a child) or `aggregate` |
| `stage`      | the stage of its submission that runs it; differs from `role` for a retry |
| `index`      | place in the stage, from 0 |
| `try`        | try number of the stage's Airflow task that runs the job |
| `claim`      | the run on a node that holds the job: {id, scheduler_id, starts, host, at} |
| `where`      | where the newest run is or was: {host, slot, group, cluster, route, batch_id} |
| `usage`      | resources used, measured by the runner |
| `priority`   | -20 to 20, higher first among the user's own jobs |
| `level`      | 0 (or absent) for what a user submitted, 1 for what such a job submitted, … |
| `by_job`     | id of the job whose own token submitted this one (`offspring.py`) |
| `reprioritise` | true while the pool still has to be told of a changed priority |
| `time_limit_s` | how long one run of the job may take, s |
| `time_limit_rule` | what set that limit, in words |
| `time_limit_base` | what it would be without rules (`limits/time.py`) |
| `retime`     | true while the pool still has to be told of a changed time limit |
| `shared`     | users who may read a job that has no workspace |
| `managers`   | those of `shared` who may also manage it: cancel, retry, put back |
| `seen`       | when the job's runner was last heard of, s |
| `told`       | when the job's execution statistics were sent to the catalog, s |
| `remove`     | true while the job's HTCondor job still has to be removed |
| `ended_by`   | who cancelled the job: {kind: `user`, `admin` or `runner`, user, reason, action} |
| `abandoned`  | true for a child that its batch's parent was made to let go |
| `batch_end`  | on a batch's parent, {status, at}: how and when all of it had ended |
| `saved`      | objects that the job has saved: [{name, ref}] |
| `superseded` | true once a newer attempt of the same job exists |
| `attempt`    | from 2 on, which attempt this is within the stage's try (`rounds.py`) |
| `round`      | from 2 on, the round of the stage's try that the attempt belongs to |
| `job_requirements` | the requirements the client asked for, kept for retries |
| `held` | while the pool holds the job for a reason of its own: {code, subcode, reason, at} |
| `released` | when the engine released the job from such a hold, once: {code, at} |
| `expected` | what was expected when it was queued: {at, start: [from, to], end: [from, to]}, s |
| `log_expired` | when the job's log was deleted by age, s |
"""

from __future__ import annotations

import enum
import time
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from bson.errors import InvalidId

from ee2_jobs.errors import InvalidInput

Document = dict[str, Any]


class Status(enum.StrEnum):
    """EE2's seven job states; no client knows an eighth (a new word makes a job vanish)."""

    CREATED = "created"
    ESTIMATING = "estimating"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    ERROR = "error"
    TERMINATED = "terminated"


LIVE = (Status.CREATED.value, Status.ESTIMATING.value, Status.QUEUED.value, Status.RUNNING.value)
WAITING = (Status.CREATED.value, Status.ESTIMATING.value, Status.QUEUED.value)
TERMINAL = (Status.COMPLETED.value, Status.ERROR.value, Status.TERMINATED.value)


class ErrorCode(enum.IntEnum):
    """Why a job is in `error` (EE2's codes)."""

    UNKNOWN = 0
    CRASHED = 1
    TERMINATED_BY_AUTOMATION = 2
    OVER_TIME_LIMIT = 3
    MISSING_OUTPUT = 4
    TOKEN_EXPIRED = 5
    SUBMIT_FAILED = 6


class TerminatedCode(enum.IntEnum):
    """Why a job is `terminated` (EE2's codes)."""

    BY_USER = 0
    BY_ADMIN = 1
    BY_AUTOMATION = 2
    BY_BATCH_ABORT = 3
    BY_SERVER_FAILURE = 4


class StageName(enum.StrEnum):
    """A step of a submission."""

    SPLIT = "split"
    SUBMIT = "submit"
    AGGREGATE = "aggregate"


class OnChildError(enum.StrEnum):
    """What a submission does when some of its children fail."""

    CONTINUE = "continue"
    ABORT = "abort"


def now_s() -> float:
    """The time as records store it: seconds since the epoch."""
    return time.time()


def to_ms(seconds: float | int) -> int:
    """Stored seconds as the wire's integer milliseconds."""
    return round(float(seconds) * 1000)


def parse_time_s(value: Any) -> float:
    """A time as clients send it, in seconds since the epoch (`ee2-api` 2.12): whole number = ms,
    fraction = s, digits in a string = ms, digits with a dot = s, other string = an ISO date, in UTC
    unless it says otherwise. ValueError or OverflowError if it is none of these."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is no time")
    if isinstance(value, int):
        return value / 1000
    if isinstance(value, float):
        return value
    text = value.strip()
    if text.isdigit():
        return int(text) / 1000
    if text.replace(".", "", 1).isdigit():
        return float(text)
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def job_oid(value: Any, *, null_message: str = "Please provide a valid job id") -> ObjectId:
    """The id of a job, from what a client sent.

    Raises InvalidInput with EE2's texts: `null_message` for null or blank, and the ObjectId text
    for a malformed one. Upper-case hex is accepted (EE2's check methods broke on it).
    """
    if value is None or value == "":
        raise InvalidInput(null_message)
    if isinstance(value, ObjectId):
        return value
    try:
        if not isinstance(value, str):
            raise InvalidId
        return ObjectId(value)
    except InvalidId:
        raise InvalidInput(
            f"'{value}' is not a valid ObjectId, it must be a 12-byte input or a "
            "24-character hex string"
        ) from None


def missing(field: str) -> InvalidInput:
    """The error for a mandatory field that was not sent."""
    return InvalidInput(f"Missing input parameter: {field}")


def truthy(value: Any) -> bool:
    """A client's flag. Clients send 0/1, JSON booleans and strings; "false" and "0" mean no
    (EE2 took every non-empty string for yes: defect D9)."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "0", "false", "no", "none", "null")
    return bool(value)
