"""An existing EE2 database: which of its records and logs this engine could not read.

Nothing is translated: what EE2 wrote is read as it stands (`ee2-api` section 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from bson import ObjectId

from ee2_jobs.checks import TIMES, job_state
from ee2_jobs.legacy.records import UJS
from ee2_jobs.model import LIVE, Document, Status

_STATES = frozenset(s.value for s in Status)
_LISTS = ("child_jobs", "retry_ids")
_STRINGS = ("user", "authstrat")
# Jobs of the engine before this one: those of this one have a submission, and those that UJS's
# clients drive run nowhere. A batch's parent runs nothing; EE2 leaves it `created` for good.
OLD_LIVE_JOBS: Document = {
    "status": {"$in": list(LIVE)},
    "submission": {"$exists": False},
    "batch_job": {"$ne": True},
    "scheduler_type": {"$ne": UJS},
}


def is_old_live_job(job: Mapping[str, Any]) -> bool:
    """Whether a record matches OLD_LIVE_JOBS."""
    return (
        job.get("status") in LIVE
        and "submission" not in job
        and job.get("batch_job") is not True
        and job.get("scheduler_type") != UJS
    )


def record_problem(job: Mapping[str, Any]) -> str | None:
    """Why a job's record could not be read, filtered or listed here; None if it can."""
    if not isinstance(job.get("_id"), ObjectId):
        return "_id is no ObjectId"
    for field in _STRINGS:
        if not isinstance(job.get(field), str):
            return f"{field} is not a string"
    if job.get("status") not in _STATES:
        return f"status is none of {', '.join(s.value for s in Status)}"
    for field in TIMES:
        if not isinstance(job.get(field, 0), int | float | None):
            return f"{field} is not a number of seconds"
    if not isinstance(job.get("wsid"), int | None):
        return "wsid is not a whole number"
    for field in _LISTS:
        ids = job.get(field) or []
        if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
            return f"{field} is not a list of job ids"
    problem = _input_problem(job.get("job_input"))
    if problem is not None:
        return problem
    try:
        orjson.dumps(job_state({**job}))
    except (TypeError, ValueError, OverflowError) as e:  # orjson's error is a TypeError
        return f"it cannot be sent as JSON ({e})"
    return None


def _input_problem(job_input: Any) -> str | None:
    if job_input is None:
        return None
    if not isinstance(job_input, Mapping):
        return "job_input is not a mapping"
    for field in ("requirements", "narrative_cell_info"):
        if not isinstance(job_input.get(field), Mapping | None):
            return f"job_input.{field} is not a mapping"
    return None


def log_problem(log: Mapping[str, Any]) -> str | None:
    """Why a log could not be read here; None if it can."""
    if not isinstance(log.get("_id"), ObjectId):
        return "_id is no ObjectId"
    lines = log.get("lines") or []
    if not isinstance(lines, list) or not all(isinstance(n, Mapping) for n in lines):
        return "lines is not a list of mappings"
    for line in lines:
        if not isinstance(line.get("line"), str):
            return "a line has no text"
        if not isinstance(line.get("ts"), int | float | None):
            return "a line's ts is not a number of seconds"
    return None
