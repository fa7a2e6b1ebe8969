"""States and codes in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ee2_jobs.model import ErrorCode, Status, TerminatedCode
from ee2_jobs.page.values import cut, first_line

_ERRORS = {
    ErrorCode.UNKNOWN: "failed for an unknown reason",
    ErrorCode.CRASHED: "the app failed",
    ErrorCode.TERMINATED_BY_AUTOMATION: "ended by the engine",
    ErrorCode.OVER_TIME_LIMIT: "over its time limit",
    ErrorCode.MISSING_OUTPUT: "no usable output",
    ErrorCode.TOKEN_EXPIRED: "its login expired",
    ErrorCode.SUBMIT_FAILED: "could not be handed to the scheduler",
}
_TERMINATED = {
    TerminatedCode.BY_USER: "cancelled",
    TerminatedCode.BY_ADMIN: "cancelled by an administrator",
    TerminatedCode.BY_AUTOMATION: "cancelled by the engine",
    TerminatedCode.BY_BATCH_ABORT: "cancelled with its batch",
    TerminatedCode.BY_SERVER_FAILURE: "cancelled because of a failure of the server",
}
_STATES = {
    Status.CREATED: "Accepted, and on its way to the queue.",
    Status.ESTIMATING: "Its needs are being estimated.",
    Status.QUEUED: "Waiting for a free place in the pool.",
    Status.RUNNING: "Running.",
    Status.COMPLETED: "Completed.",
}


def code_words(job: Mapping[str, Any]) -> str | None:
    """What the code of a job that failed or was cancelled means; None for others."""
    try:
        if job["status"] == Status.ERROR:
            return _ERRORS[ErrorCode(job.get("error_code", 0))]
        if job["status"] == Status.TERMINATED:
            code = TerminatedCode(job.get("terminated_code", 0))
            return _TERMINATED[code if _is_true(job, code) else TerminatedCode.BY_USER]
    except (ValueError, TypeError):  # of a database that EE2 has written
        return _ERRORS[ErrorCode.UNKNOWN]
    return None


def _is_true(job: Mapping[str, Any], code: int) -> bool:
    """Whether a cancel was what its code says. EE2's clients choose the code as they like, so who
    is no administrator could be taken for one. Old records do not tell."""
    kind = (job.get("ended_by") or {}).get("kind")
    return code != TerminatedCode.BY_ADMIN or kind in (None, "admin")


def ended_by_words(job: Mapping[str, Any]) -> str | None:
    """`owner`, `user` (another with the right), `administrator`, `batch`, `engine` or `runner`: who
    ended a job that was cancelled; None for others."""
    if job.get("status") != Status.TERMINATED:
        return None
    code = job.get("terminated_code", 0)
    if code == TerminatedCode.BY_BATCH_ABORT:
        return "batch"
    told = job.get("ended_by") or {}
    kind = told.get("kind")
    if kind == "admin" or (code == TerminatedCode.BY_ADMIN and _is_true(job, code)):
        return "administrator"
    if kind == "runner":
        return "runner"
    if code in (TerminatedCode.BY_AUTOMATION, TerminatedCode.BY_SERVER_FAILURE):
        return "engine"
    if kind == "user":
        return "owner" if told.get("user") == job.get("user") else "user"
    return "owner"


def reason_of(job: Mapping[str, Any]) -> str | None:
    """The reason that was given for a cancel."""
    return cut((job.get("ended_by") or {}).get("reason"), 500)


def sentence(job: Mapping[str, Any]) -> str:
    """How a job stands, in one plain sentence."""
    status = job["status"]
    if status == Status.TERMINATED:
        who = code_words(job) or "cancelled"
        reason = reason_of(job)
        return f"{who[:1].upper()}{who[1:]}{f': {reason}' if reason else '.'}"
    if status == Status.ERROR:
        words = code_words(job) or "failed"
        message = first_line(job.get("errormsg"), 500)
        same = message is not None and message.rstrip(".").lower() == words.lower()
        told = f": {message}" if message and not same else "."
        return f"{words[:1].upper()}{words[1:]}{told}"
    return _STATES.get(status, str(status))
