"""The changes of a job's state: when, from what to what, and by whom, as far as the record knows.

`by` is one of: `owner`; `user` (another who may write the job); `administrator`, whose name other
users do not learn; `batch` (a cancel of all of it, or its rule for failed children); `runner` (the
program on the node); `pool` (HTCondor); `engine` (everything else that the engine decides by
itself, and what the record cannot tell).
"""

from __future__ import annotations

from typing import Any

from ee2_jobs import audit
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.messages import Change, created_s, previous_status
from ee2_jobs.model import TERMINAL, Document, ErrorCode, Status, now_s, to_ms
from ee2_jobs.page.job import load
from ee2_jobs.page.values import cut
from ee2_jobs.page.words import code_words, ended_by_words, reason_of

_NOT_HERE = ("job_input", "job_output", "child_jobs", "condor_job_ads", "error")
# Calls by which administrators change a record past all rules.
_FORCED = ("execution_engine2.update_job_status", "execution_engine2.handle_held_job")
_ENTRIES = 20


async def job_transitions(
    engine: Engine, caller: Caller, job_id: Any, *, as_admin: bool = False
) -> Document:
    """{id, status, transitions: [{at, from, to, by, user, words, reason}]}, oldest first; at in ms.

    user: the name, where one is to be told. A change that somebody forced has `to` null: the
    record does not say which state it was.
    """
    held = await load(engine, caller, job_id, as_admin=as_admin, without=_NOT_HERE)
    job = held.job
    rows = [_row(job, 0.0 + created_s(job["_id"]), Status.CREATED.value, "owner", job["user"])]
    claim = job.get("claim") or {}
    for state, by in (
        (Status.ESTIMATING, "runner"), (Status.QUEUED, "engine"), (Status.RUNNING, "runner"),
    ):  # fmt: skip
        at_s = job.get(state.value)
        if at_s:
            rows.append(_row(job, at_s, state.value, by))
            if state is Status.RUNNING and claim.get("host"):
                rows[-1]["words"] = f"on {cut(claim['host'], 120)}"
    if job["status"] in TERMINAL:
        rows.append(_ending(job, as_admin))
    rows += await _forced(engine, str(job["_id"]), as_admin)
    rows.sort(key=lambda row: row["at"])
    return {"id": str(job["_id"]), "status": job["status"], "transitions": rows}


def _row(job: Document, at_s: float, to: str, by: str, user: str | None = None) -> Document:
    before = None
    if to != Status.CREATED:
        before = previous_status(job, Change("", job["_id"], to, at_s))
    return {
        "at": to_ms(at_s), "from": before, "to": to, "by": by, "user": user, "words": None,
        "reason": None,
    }  # fmt: skip


def _ending(job: Document, as_admin: bool) -> Document:
    at_s = job.get("finished") or job.get("updated") or now_s()
    by, user = _who_ended(job), None
    told = job.get("ended_by") or {}
    if by in ("owner", "user") or as_admin:
        user = cut(told.get("user"), 100)
    row = _row(job, at_s, job["status"], by, user)
    return {**row, "words": code_words(job), "reason": reason_of(job)}


def _who_ended(job: Document) -> str:
    who = ended_by_words(job)
    if who is not None:
        return who
    code = job.get("error_code")
    if job["status"] == Status.ERROR and code == ErrorCode.OVER_TIME_LIMIT:
        return "pool"
    engines = (ErrorCode.UNKNOWN, ErrorCode.TERMINATED_BY_AUTOMATION, ErrorCode.SUBMIT_FAILED)
    if job["status"] == Status.ERROR and code in engines:
        return "engine"
    # KBase's JobRunner makes no claim, and nobody else says how a job went that has run.
    return "runner" if job.get("claim") or job.get("running") else "engine"


async def _forced(engine: Engine, job_id: str, as_admin: bool) -> list[Document]:
    rows = []
    for entry in await audit.entries(engine.store, target=job_id, limit=_ENTRIES):
        if entry["what"] in _FORCED and entry["outcome"] == "done":
            rows.append(
                {
                    "at": to_ms(entry["at"]), "from": None, "to": None, "by": "administrator",
                    "user": entry["who"] if as_admin else None, "words": "set by hand",
                    "reason": cut(entry.get("reason"), 500),
                }
            )  # fmt: skip
    return rows
