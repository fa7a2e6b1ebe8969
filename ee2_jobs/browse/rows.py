"""The row of a list: what a table of jobs shows, and no inputs, outputs or logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from ee2_jobs.browse.words import ENDED_BY
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.model import LIVE, Document, Status, to_ms
from ee2_jobs.page.labels import STEPS, labels
from ee2_jobs.page.permits import parents_of
from ee2_jobs.retry import RETRYABLE
from ee2_jobs.rights import Level, permitted
from ee2_jobs.tags import tags_of
from ee2_jobs.waiting import Standing, batch_standings
from ee2_jobs.workspaces import Narrative

FIELDS = (
    "user", "wsid", "authstrat", "shared", "managers", "status", "queued", "running", "finished",
    "updated", "batch_job", "batch_id", "batch_end", "retry_parent", "superseded", "claim.host",
    "error_code", "errormsg", "terminated_code", "time_limit_s", "job_input.app_id",
    "job_input.method", "job_input.requirements.clientgroup", "index", "usage.cpu_user_s",
    "usage.cpu_system_s", "role", "scheduler_id",
)
MAX_ERROR_CHARS = 160
MAX_TITLE_CHARS = 60
_ENDED_BY = {int(code): word for word, code in ENDED_BY.items()}

Row = dict[str, Any]
"""See `Row` in `api_bridge/rest/lists.py`; what is not known or not so is left out."""


@dataclass(frozen=True)
class Facts:
    """A record that was read with FIELDS, and what its row tells besides, the same for everybody.
    batch: of a batch, how it stands. attempt: which one it is, if it is not the first. label: of a
    child, what differs between the inputs."""

    job: Document
    batch: Standing | None
    attempt: int | None
    label: str | None = None


async def facts(
    engine: Engine, jobs: Sequence[Document], batch_id: str | None = None
) -> list[Facts]:
    """The facts of records that were read with FIELDS, in their order. batch_id: they are children
    of this batch."""
    standings = await batch_standings(engine.store, [j for j in jobs if j.get("batch_job")])
    attempts = await _attempts(engine, jobs)
    differ: Mapping[ObjectId, str] = {}
    if batch_id is not None and jobs:
        differ = await labels(engine.store, batch_id, [job["_id"] for job in jobs])
    return [
        Facts(
            job, standings.get(str(job["_id"])), attempts.get(str(job["_id"])),
            differ.get(job["_id"]),
        )
        for job in jobs
    ]  # fmt: skip


async def rows_of(
    engine: Engine, caller: Caller, told: Sequence[Facts], *, as_admin: bool
) -> list[Row]:
    """The rows of records, in their order, with what this caller may know and do. as_admin: the
    list is shown to an administrator as such."""
    jobs = [one.job for one in told]
    titles = await narratives(engine, caller, jobs)
    manageable = await _manageable(engine, caller, jobs, as_admin)
    apps = await engine.catalog.titles()
    noted = await tags_of(engine.store, caller.user, [job["_id"] for job in jobs])
    found = []
    for one in told:
        own = noted.get(one.job["_id"], {})
        more = {
            "label": one.label,
            "star": own.get("star") or None,
            "labels": own.get("labels") or None,
            "scheduler_id": one.job.get("scheduler_id") if as_admin else None,
            "limit_s": one.job.get("time_limit_s") if as_admin else None,
        }
        row = _row(
            one.job,
            one.batch,
            titles.get(one.job.get("wsid") or 0),
            one.attempt,
            apps,
            may_cancel=(job_id := str(one.job["_id"])) in manageable,
            # A child is run again by who may manage its batch, too (retry.py).
            may_retry={job_id, one.job.get("batch_id") or job_id} <= manageable,
        )
        found.append(row | {name: value for name, value in more.items() if value is not None})
    return found


async def narratives(
    engine: Engine, caller: Caller, jobs: Sequence[Document]
) -> dict[int, Narrative]:
    """What the workspaces of these jobs are called, as far as the caller may read them."""
    wsids = {wsid for job in jobs if (wsid := job.get("wsid"))}
    return await engine.workspaces.narratives(caller, sorted(wsids)) if wsids else {}


async def _attempts(engine: Engine, jobs: Sequence[Document]) -> dict[str, int]:
    """Which attempt a job is, of those that are not the first."""
    roots = {root for job in jobs if (root := job.get("retry_parent"))}
    if not roots:
        return {}
    found = engine.store.jobs.find(
        {"_id": {"$in": [ObjectId(r) for r in roots if ObjectId.is_valid(r)]}}, {"retry_ids": 1}
    )
    return {
        str(again): number
        async for root in found
        for number, again in enumerate(root.get("retry_ids") or (), 2)
    }


async def _manageable(
    engine: Engine, caller: Caller, jobs: Sequence[Document], as_admin: bool
) -> set[str]:
    """The ids of those of the jobs, and of the batches of those that have failed, that the caller
    may cancel and retry."""
    parents = await parents_of(engine, [job for job in jobs if job["status"] in RETRYABLE])
    everything = [*jobs, *parents]
    if as_admin and caller.can_admin:
        return {str(job["_id"]) for job in everything}
    if as_admin:
        everything = [job for job in everything if job["user"] == caller.user]
    return await permitted(engine, caller, everything, Level.MANAGE)


def batch_state(parent: Mapping[str, Any], standing: Standing | None) -> str:
    """What a batch does as a whole, in the words of jobs."""
    if standing is None:
        return str(parent["status"])
    if standing.end is not None:
        return standing.end
    states = {*(standing.child_counts or {}), *(standing.stages or {}).values()}
    for state in (Status.RUNNING, Status.QUEUED, Status.ESTIMATING):
        if state in states:
            return state.value
    # Some have ended and others not begun: it is on its way.
    begun = states - {Status.CREATED.value}
    return Status.RUNNING.value if begun else Status.CREATED.value


def _row(
    job: Document,
    batch: Standing | None,
    narrative: Narrative | None,
    attempt: int | None,
    apps: Mapping[str, str],
    *,
    may_cancel: bool,
    may_retry: bool,
) -> Row:
    job_input = job.get("job_input") or {}
    status = batch_state(job, batch) if job.get("batch_job") else job["status"]
    live = status in LIVE
    created = round(job["_id"].generation_time.timestamp() * 1000)
    running = _ms(job.get("running"))
    finished = _ms(job.get("finished") or (job.get("batch_end") or {}).get("at"))
    if live:
        finished = None
    limit_s = job.get("time_limit_s")
    row: Row = {
        "id": str(job["_id"]),
        "status": status,
        "app_id": job_input.get("app_id"),
        "app_title": apps.get(str(job_input.get("method")), "")[:MAX_TITLE_CHARS] or None,
        "method": job_input.get("method"),
        "user": job["user"],
        "ws_id": job.get("wsid"),
        "narrative": narrative.title if narrative else None,
        "batch_id": job.get("batch_id"),
        "index": job.get("index") if job.get("batch_id") else None,
        "role": job.get("role") if job.get("role") in STEPS else None,
        "retry_of": job.get("retry_parent"),
        "attempt": attempt,
        "group": (job_input.get("requirements") or {}).get("clientgroup"),
        "node": (job.get("claim") or {}).get("host"),
        "created": created,
        "queued": _ms(job.get("queued")),
        "running": running,
        "finished": finished,
        "wait_ms": max(0, running - created) if running else None,
        "run_ms": max(0, finished - running) if running and finished else None,
        "cpu_ms": _cpu_ms(job),
        "error_code": job.get("error_code") if status == Status.ERROR else None,
        "error_line": _error_line(job) if status in RETRYABLE else None,
        "limit_at": running + round(limit_s * 1000) if live and running and limit_s else None,
    }
    if status == Status.TERMINATED:
        row["ended_by"] = _ENDED_BY.get(job.get("terminated_code", 0))
    failed = status in RETRYABLE
    if batch is not None:
        row["is_batch"] = True
        counts = dict(batch.child_counts or {})
        row["children"] = counts
        failed = job["status"] in LIVE and any(counts.get(state) for state in RETRYABLE)
    if job.get("superseded"):
        row["superseded"] = True
        failed = False
    row["can_cancel"] = (may_cancel and live) or None
    row["can_retry"] = (may_retry and failed) or None
    return {name: value for name, value in row.items() if value is not None}


def _ms(value_s: float | None) -> int | None:
    return to_ms(value_s) if value_s else None


def _cpu_ms(job: Document) -> int | None:
    """What the runner has measured."""
    parts = [v for v in (job.get("usage") or {}).values() if isinstance(v, int | float)]
    return to_ms(sum(parts)) if parts else None


def _error_line(job: Document) -> str | None:
    """The first line of the message, cut where it is long."""
    for line in str(job.get("errormsg") or "").splitlines():
        text = line.strip()
        if text:
            return text if len(text) <= MAX_ERROR_CHARS else f"{text[: MAX_ERROR_CHARS - 1]}…"
    return None
