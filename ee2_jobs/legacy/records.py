"""A job's record as UserAndJobState showed it, which is also what NarrativeJobService passed on.

What the old services knew of a job and EE2's record has no place for lies in a side document with
the same id (collection `ee2_legacy`), all fields optional:

| field | meaning |
|-------|---------|
| `service`, `desc`, `status` | who runs the job, what it does, how it goes: free texts |
| `progtype`, `prog`, `maxprog` | progress: none, percent or task; so far; at most |
| `started`, `estcompl` | s since the epoch |
| `results` | UJS's Results, as on the wire |
| `meta` | the client's own keys and values |
| `canceledby`, `deleted` | |
| `rpc_context`, `remote_url`, `source_refs` | of NarrativeJobService's run_job |
| `requested_release` | the tag that was asked for, where `service_ver` is a commit |
| `awe_id`, `awe_info`, `awe_job_id`, `app_job_id` | of jobs that came through AWE |
| `input_shock_id`, `output_shock_id`, `queue_time_ms` | the same |
| `imported_from` | `ujs`, `njs` or `ee2` |
| `imported_updated` | the record's `updated` at the import: another one is a change made here |
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, NotFound
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, Status, TerminatedCode
from ee2_jobs.rights import Level, find_permitted, in_workspace
from ee2_jobs.store import Store

UJS = "ujs"  # the scheduler_type of jobs that the clients of UserAndJobState drive themselves
DEFAULT = "DEFAULT"
CANCELED_TEXT = "canceled by user"
MAX_STATUS_LETTERS = 200
_CANCELED_BY = {
    TerminatedCode.BY_ADMIN: "admin",
    TerminatedCode.BY_AUTOMATION: "automation",
    TerminatedCode.BY_BATCH_ABORT: "batch abort",
    TerminatedCode.BY_SERVER_FAILURE: "server failure",
}


@dataclass(frozen=True)
class UjsView:
    """A job as UserAndJobState saw it. Flags are 0 or 1, times s since the epoch; what is None
    goes out as null.

    auth: strategy and its parameter. results: UJS's Results. detailed_error: of failed jobs only.
    """

    job_id: str
    owner: str
    stage: str
    status: str | None
    service: str | None
    description: str | None
    complete: int | None
    error: int | None
    canceledby: str | None
    started_s: float | None
    updated_s: float
    est_complete_s: float | None
    prog: int | None
    max_prog: int | None
    ptype: str | None
    auth: tuple[str, str]
    meta: dict[str, str]
    results: Document | None
    detailed_error: str | None

    def status_tuple(self) -> list[Any]:
        """The 7 values of get_job_status."""
        return [
            ujs_time(self.updated_s), self.stage, self.status, self.prog,
            ujs_time(self.est_complete_s), self.complete, self.error,
        ]  # fmt: skip


def ujs_time(seconds: float | None) -> str | None:
    """A time as UserAndJobState wrote it: UTC, whole seconds."""
    if seconds is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(seconds))


def cut(text: str, letters: int = MAX_STATUS_LETTERS) -> str:
    """The text, or its beginning and `...`, in at most so many letters."""
    return text if len(text) <= letters else text[: letters - 3] + "..."


async def legacy_documents(store: Store, ids: Iterable[ObjectId]) -> dict[str, Document]:
    """The side documents of jobs by job id; jobs without one are left out."""
    found = store.legacy.find({"_id": {"$in": list(ids)}})
    return {str(document["_id"]): document async for document in found}


def created_s(oid: ObjectId) -> float:
    """When a job was made, s."""
    return float(int.from_bytes(oid.binary[:4], "big"))


def ujs_view(job: Document, legacy: Document | None = None) -> UjsView:
    """The view of a job from its record (whole, or without `job_output`) and its side document.

    The rules are those of the tables 8.1 and 8.2 of `legacy-apis`.
    """
    side = legacy or {}
    status = Status(job["status"])
    driven = job.get("scheduler_type") == UJS
    service = side.get("service")
    begun = bool(service) if driven else status is not Status.CREATED or bool(service)
    canceledby = _canceled_by(job, side, status)
    complete = status in (Status.COMPLETED, Status.ERROR, Status.TERMINATED)
    shown = begun or complete
    started_s = None
    if begun:
        known = (side.get("started"), job.get("running"), job.get("queued"), job.get("estimating"))
        started_s = next((float(t) for t in known if t), created_s(job["_id"]))
        service = service or job["user"]
    ptype, prog, most = _progress(side, complete) if begun else (None, None, None)
    return UjsView(
        job_id=str(job["_id"]),
        owner=job["user"],
        stage=_stage(status, begun),
        status=_text(job, side, status, driven) if shown else None,
        service=service,
        description=side.get("desc", None if driven else "queued") if begun else None,
        complete=int(complete) if shown else None,
        error=int(status is Status.ERROR) if shown else None,
        canceledby=canceledby,
        started_s=started_s,
        updated_s=float(job.get("updated") or created_s(job["_id"])),
        est_complete_s=side.get("estcompl"),
        prog=prog,
        max_prog=most,
        ptype=ptype,
        auth=("kbaseworkspace", str(job["wsid"])) if in_workspace(job) else (DEFAULT, DEFAULT),
        meta=side.get("meta") or _cell(job),
        results=_results(side, status, driven),
        detailed_error=_detail(job) if status is Status.ERROR else None,
    )


def _stage(status: Status, begun: bool) -> str:
    """`complete`, as the service said it; its documents said `completed`."""
    ended = {
        Status.COMPLETED: "complete",
        Status.ERROR: "error",
        Status.TERMINATED: "canceled",
    }
    return ended.get(status) or ("started" if begun else "created")


def _canceled_by(job: Document, side: Document, status: Status) -> str | None:
    if status is not Status.TERMINATED:
        return None
    code = TerminatedCode(job.get("terminated_code") or 0)
    return str(side.get("canceledby") or _CANCELED_BY.get(code) or job["user"])


def _text(job: Document, side: Document, status: Status, driven: bool) -> str | None:
    """The status text: a client's own words, or those that NarrativeJobService used."""
    if driven or "status" in side:
        text: str | None = side.get("status", job.get("msg"))
        return text
    if status is Status.ERROR:
        return cut(str(job.get("errormsg") or "Unknown error"))
    if status in (Status.COMPLETED, Status.TERMINATED) and job.get("msg"):
        return cut(str(job["msg"]))
    if status in (Status.COMPLETED, Status.TERMINATED) and job.get("msg"):
        return str(job["msg"])
    return {
        Status.RUNNING: "in-progress",
        Status.COMPLETED: "done",
        Status.TERMINATED: CANCELED_TEXT,
    }.get(status, "queued")


def _progress(side: Document, complete: bool) -> tuple[str, int | None, int | None]:
    """(kind, so far, at most) as they are shown: at the end all is done, before it no more than
    all."""
    ptype = side.get("progtype") or "none"
    if ptype == "none":
        return ptype, None, None
    most = int(side.get("maxprog") or 100)
    return ptype, most if complete else min(int(side.get("prog") or 0), most), most


def _cell(job: Document) -> dict[str, str]:
    cell = (job.get("job_input") or {}).get("narrative_cell_info") or {}
    return {key: str(value) for key, value in cell.items() if value}


def _results(side: Document, status: Status, driven: bool) -> Document | None:
    """NarrativeJobService completed its jobs with empty results, and so not without."""
    empty: Document | None = {} if status is Status.COMPLETED and not driven else None
    results: Document | None = side.get("results", empty)
    return results


def _detail(job: Document) -> str:
    error = job.get("error")
    if isinstance(error, dict):
        error = error.get("error")
    return str(error or job.get("errormsg") or "")


def legal_id(job_id: Any) -> ObjectId:
    """A job's id as a client of the old services sent it; InvalidInput with UJS's texts."""
    if job_id is None or job_id == "":
        raise InvalidInput("id cannot be null or the empty string")
    if not isinstance(job_id, str) or not ObjectId.is_valid(job_id):
        raise InvalidInput(f"Job ID {job_id} is not a legal ID")
    return ObjectId(job_id)


def not_viewable(caller: Caller, job_id: Any) -> NotFound:
    """For a job that is not there, not for this caller, or deleted."""
    return NotFound(f"There is no job {job_id} viewable by user {caller.user}")


async def find_viewable(
    engine: Engine,
    caller: Caller,
    job_id: Any,
    *,
    as_admin: bool = False,
    projection: Document | None = None,
) -> tuple[Document, Document]:
    """A job's record and its side document, for who may read the job. NotFound with UJS's text,
    which is one and the same for all that the caller may not see; InvalidInput for no id.
    projection: as of find_permitted."""
    oid = legal_id(job_id)
    try:
        job = await find_permitted(
            engine, caller, job_id, Level.READ, as_admin=as_admin, projection=projection
        )
    except NotFound:
        raise not_viewable(caller, job_id) from None
    side = await engine.store.legacy.find_one({"_id": oid}) or {}
    if side.get("deleted"):
        raise not_viewable(caller, job_id)
    return job, side
