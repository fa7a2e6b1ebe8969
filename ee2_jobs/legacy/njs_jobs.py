"""What NarrativeJobService's clients and workers do to jobs and ask of them.

All of it forgives: a call that comes twice, or too late, changes nothing and is no error
(`legacy-apis` 2.3). The texts are NarrativeJobService's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId

from ee2_jobs import logs, runs
from ee2_jobs.checks import ONE_BATCH, require_few
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, EngineError, InvalidInput, NotFound, WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.legacy import ujs_jobs
from ee2_jobs.legacy.njs_run import json_bytes
from ee2_jobs.legacy.njs_states import job_states
from ee2_jobs.legacy.records import (
    CANCELED_TEXT,
    UJS,
    cut,
    find_viewable,
    legacy_documents,
    legal_id,
    not_viewable,
)
from ee2_jobs.model import TERMINAL, WAITING, Document, ErrorCode, Status, truthy
from ee2_jobs.rights import Level, permitted, require

MAX_OUTPUT_BYTES = 1_048_576
MAX_LINE_LETTERS = 1000
FACTS = {"user": 1, "wsid": 1, "authstrat": 1, "shared": 1, "status": 1}
_FINISHED_TWICE = "Attempt to finish already completed job"


async def set_started(engine: Engine, caller: Caller, job_id: Any, is_started: Any) -> None:
    """update_job: the job runs. On a job that runs already or has ended this does nothing."""
    job, _ = await find_viewable(engine, caller, job_id, projection=FACTS)
    if caller.user != job["user"]:
        raise Denied("Only owner of the job can update it")
    if is_started != 1:
        raise InvalidInput(
            "Method is currently supported only for switching jobs into stated state"
        )
    await _start(engine, caller, job)


async def _start(engine: Engine, caller: Caller, job: Document) -> None:
    if job["status"] in WAITING:
        try:
            await runs.start_job(engine, caller, str(job["_id"]))
        except WrongState:
            pass  # it was started or has ended meanwhile


async def add_logs(engine: Engine, caller: Caller, job_id: Any, lines: Any) -> int:
    """Append lines, each cut at 1000 letters; how many the log has then. For who may write the job:
    NarrativeJobService let mere readers write into others' logs."""
    if lines is None:
        raise InvalidInput("lines cannot be null")
    job, _ = await find_viewable(engine, caller, job_id, projection=FACTS)
    await require(engine, caller, job, Level.WRITE)
    for i, line in enumerate(lines):
        if isinstance(line, Mapping) and line.get("is_error") is None:
            raise InvalidInput(f"lines index {i} must have 'is_error', 0 or 1")
    short = [
        logs.Line(cut(line.text, MAX_LINE_LETTERS), line.is_error, line.time_s)
        for line in logs.parse_lines(lines)
    ]
    return await logs.append(engine.store, job["_id"], short)


async def read_logs(engine: Engine, caller: Caller, job_id: Any, skip_lines: int) -> Document:
    """The lines after the first `skip_lines`; `last_line_number` is what to skip next. No lines if
    there is no log. Administrators may read all logs."""
    job, _ = await find_viewable(
        engine, caller, job_id, as_admin=caller.can_admin_read, projection=FACTS
    )
    try:
        page = await logs.read(engine.store, job["_id"], skip_lines)
    except NotFound:
        page = logs.LogPage((), 0)
    return {
        "lines": [{"line": n.text, "is_error": int(n.is_error)} for n in page.lines],
        "last_line_number": skip_lines + len(page.lines),
    }


async def finish(engine: Engine, caller: Caller, job_id: Any, params: Mapping[str, Any]) -> None:
    """finish_job: {result}, {error: {name, code, message, error}} or {is_canceled: 1}. On a job
    that has ended this only leaves a line in its log."""
    job, _ = await find_viewable(engine, caller, job_id, projection=FACTS)
    if truthy(params.get("is_canceled")) or truthy(params.get("is_cancelled")):
        await _cancel(engine, caller, job)
        return
    if caller.user != job["user"]:
        raise Denied("Only the owner of a job can complete it")
    if job["status"] not in TERMINAL:
        size = json_bytes(params)
        if size > MAX_OUTPUT_BYTES:
            raise InvalidInput(
                f"Output parameters for job ID {job_id} are above {MAX_OUTPUT_BYTES}B maximum: "
                f"{size}"
            )
        await _start(engine, caller, job)
        try:
            await runs.finish_job(
                engine, caller, str(job["_id"]), _ending(job, params), as_admin=False
            )
            return
        except WrongState:
            pass
    line = {"line": _FINISHED_TWICE, "is_error": 1}
    await logs.append(engine.store, job["_id"], logs.parse_lines([line]))


def _ending(job: Document, params: Mapping[str, Any]) -> Document:
    """FinishJobParams as those of EE2's finish_job."""
    error = params.get("error")
    if error is None:
        output = {key: value for key, value in params.items() if value is not None}
        return {"job_output": {"version": "1.1", "result": [], **output, "id": str(job["_id"])}}
    message = error.get("message") if isinstance(error, Mapping) else error
    return {
        "error_message": str(message or "Unknown error"),
        "error": dict(error) if isinstance(error, Mapping) else str(error),
        "error_code": int(ErrorCode.CRASHED),
    }


async def cancel(engine: Engine, caller: Caller, job_id: Any) -> None:
    """cancel_job: for who may write the job. A job that has ended stays as it is."""
    job, _ = await find_viewable(engine, caller, job_id, projection=FACTS)
    await _cancel(engine, caller, job)


async def _cancel(engine: Engine, caller: Caller, job: Document) -> None:
    if job["status"] in TERMINAL:
        return
    try:
        await ujs_jobs.cancel(engine, caller, str(job["_id"]), CANCELED_TEXT)
    except NotFound:
        now = await engine.store.job_states.get(job["_id"])
        if now is None or now["status"] not in TERMINAL:
            raise


async def check_many(
    engine: Engine, caller: Caller, job_ids: Sequence[Any]
) -> tuple[dict[str, Document], dict[str, tuple[Document, Document]], dict[str, EngineError]]:
    """JobStates, (record, side document) and errors, each by the id as given: what is wrong with
    one job does not fail the others."""
    require_few(job_ids, "job_ids")
    errors: dict[str, EngineError] = {}
    wanted: dict[str, ObjectId] = {}
    for job_id in job_ids:
        try:
            wanted[str(job_id)] = legal_id(job_id)
        except InvalidInput as e:
            errors[str(job_id)] = e
    ids = list(set(wanted.values()))
    jobs = await engine.store.jobs.find({"_id": {"$in": ids}}).to_list()
    allowed = await permitted(engine, caller, jobs, Level.READ, ids)
    sides = await legacy_documents(engine.store, ids)
    seen = {
        str(job["_id"]): job
        for job in jobs
        if str(job["_id"]) in allowed and not sides.get(str(job["_id"]), {}).get("deleted")
    }
    states = await job_states(engine, list(seen.values()), sides)
    found: dict[str, Document] = {}
    records: dict[str, tuple[Document, Document]] = {}
    for given, oid in wanted.items():
        job_id = str(oid)
        if job_id in seen:
            found[given] = states[job_id]
            records[given] = (seen[job_id], sides.get(job_id, {}))
        else:
            errors[given] = not_viewable(caller, given)
    return found, records, errors


async def workspace_states(engine: Engine, caller: Caller, workspace: Any) -> list[Document]:
    """list_job_statuses: the JobStates of all jobs of a workspace, oldest first, without those that
    were never started. workspace: its id, digits in a string."""
    text = str(workspace).strip()
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:20]) < 2**63:
        raise InvalidInput(f"The string {workspace} is not a valid integer workspace ID")
    wsid = int(text)
    if (await engine.workspaces.permissions(caller, [wsid]))[wsid] == "n":
        raise Denied(f"User {caller.user} cannot read workspace {wsid}")
    query = {"wsid": wsid, "authstrat": "kbaseworkspace"}
    found = engine.store.jobs.find(query, {"job_input.params": 0}, batch_size=ONE_BATCH)
    jobs = await found.sort("_id", 1).to_list()
    sides = await legacy_documents(engine.store, [job["_id"] for job in jobs])
    shown = []
    for job in jobs:
        side = sides.get(str(job["_id"]), {})
        begun = side.get("service") or (
            job["status"] != Status.CREATED.value and job.get("scheduler_type") != UJS
        )
        if begun and not side.get("deleted"):
            shown.append(job)
    return list((await job_states(engine, shown, sides)).values())


def run_params(job: Document, side: Document) -> Document:
    """The RunJobParams of a job; what is null is left out."""
    job_input = job.get("job_input") or {}
    params: Document = {
        "method": job_input.get("method"),
        "params": job_input.get("params"),
        "service_ver": job_input.get("service_ver"),
        "requested_release": job_input.get("requested_release", side.get("requested_release")),
        "rpc_context": side.get("rpc_context"),
        "remote_url": side.get("remote_url"),
        "source_ws_objects": side.get("source_refs", job_input.get("source_ws_objects")),
        "app_id": job_input.get("app_id"),
        "meta": side.get("meta") or job_input.get("narrative_cell_info") or None,
        "wsid": job_input.get("wsid"),
        "parent_job_id": job_input.get("parent_job_id"),
    }
    return {key: value for key, value in params.items() if value is not None}
