"""Jobs as NarrativeJobService showed them: JobState, and the JSON-RPC errors inside it.

Shapes: `legacy-apis` 2.2 and 2.4. Flags are 0 or 1, times whole ms; what is null is left out, for
KBParallel looks whether there is a key `error`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ee2_jobs.engine import Engine
from ee2_jobs.legacy.parents import settled
from ee2_jobs.legacy.records import created_s, legacy_documents, ujs_view
from ee2_jobs.model import TERMINAL, Document, Status, to_ms
from ee2_jobs.rights import in_workspace
from ee2_jobs.store import Store

_WAITING, _RUNNING = "queued", "in-progress"
_STATES = {
    Status.RUNNING: _RUNNING,
    Status.COMPLETED: "completed",
    Status.ERROR: "suspend",
    Status.TERMINATED: "cancelled",
}
CANCELED = "The job {} was canceled"


def service_url(engine: Engine, name: str) -> str:
    """The address of one of KBase's services, beside ours."""
    return f"{engine.settings.rpc_url.rsplit('/', 1)[0]}/{name}"


def ujs_url(engine: Engine) -> str:
    """Where UserAndJobState is: JobState names it."""
    return service_url(engine, "userandjobstate")


async def job_states(
    engine: Engine, jobs: Sequence[Document], sides: dict[str, Document] | None = None
) -> dict[str, Document]:
    """The JobState of each record, by job id; sides: their side documents, if read already."""
    if sides is None:
        sides = await legacy_documents(engine.store, [job["_id"] for job in jobs])
    jobs = await settled(engine, jobs)
    subs = await sub_jobs(engine.store, jobs)
    url = ujs_url(engine)
    return {
        (job_id := str(job["_id"])): job_state(job, sides.get(job_id), url, subs[job_id])
        for job in jobs
    }


def job_state(job: Document, side: Document | None, ujs: str, subs: list[str]) -> Document:
    """One JobState. ujs: the address of UserAndJobState; subs: the ids of the job's sub-jobs."""
    status = Status(job["status"])
    finished = status.value in TERMINAL
    word = _STATES.get(status, _WAITING)
    state: Document = {
        "job_id": str(job["_id"]),
        "finished": int(finished),
        "ujs_url": ujs,
        "status": ujs_view(job, side).status_tuple(),
        "job_state": word,
        "creation_time": to_ms(created_s(job["_id"])),
        "sub_jobs": subs,
    }
    if job.get("running"):
        state["exec_start_time"] = to_ms(job["running"])
    if side and side.get("awe_job_id"):
        state["awe_job_id"] = side["awe_job_id"]
    if not finished:
        state["awe_job_state"] = word
        return state
    if job.get("finished"):
        state["finish_time"] = to_ms(job["finished"])
    state["canceled"] = state["cancelled"] = int(status is Status.TERMINATED)
    if status is Status.COMPLETED:
        result = (job.get("job_output") or {}).get("result")
        state["result"] = [] if result is None else result
    elif status is Status.ERROR:
        state["error"] = rpc_error(job.get("error"), job)
    return state


def rpc_error(error: Any, job: Document) -> Document:
    """What a job failed with as a JSON-RPC error: `name`, `code`, `message`, `error` (if there is
    more to say) and no other key, or KBase's clients break on it."""
    message = str(job.get("errormsg") or "Unknown error")
    told: Document = error if isinstance(error, dict) else {"error": error}
    code = told.get("code")
    if not isinstance(code, int) or isinstance(code, bool):
        code = job.get("error_code") or -32000
    detail = told.get("error", told.get("data"))
    if detail is not None and not isinstance(detail, str):
        detail = json.dumps(detail, default=str)
    built: Document = {
        "name": str(told.get("name") or "JSONRPCError"),
        "code": code,
        "message": str(told.get("message") or message),
    }
    return built if detail is None else {**built, "error": detail}


async def sub_jobs(store: Store, jobs: Sequence[Document]) -> dict[str, list[str]]:
    """Per job, the ids of its children and of the jobs that name it as their parent. Who submits a
    job may name any parent: only those of the same owner or workspace are believed."""
    found: dict[str, list[str]] = {}
    parents = {}
    for job in jobs:
        found[str(job["_id"])] = list(job.get("child_jobs") or ())
        parents[str(job["_id"])] = job
    query = {"job_input.parent_job_id": {"$in": list(found)}}
    fields = {"job_input.parent_job_id": 1, "user": 1, "wsid": 1, "authstrat": 1}
    async for sub in store.jobs.find(query, fields).sort("_id", 1):
        parent = parents[sub["job_input"]["parent_job_id"]]
        ids = found[str(parent["_id"])]
        same = sub["user"] == parent["user"] or (
            in_workspace(sub) and in_workspace(parent) and sub["wsid"] == parent["wsid"]
        )
        if same and str(sub["_id"]) not in ids:
            ids.append(str(sub["_id"]))
    return found


def app_state(state: Document) -> Document:
    """A job as `check_app_state` showed apps (`legacy-apis` 2.7): an app of one step."""
    step, job_id = "step_1", state["job_id"]
    finished = bool(state["finished"])
    outputs, errors = {}, {}
    if "result" in state:
        outputs[step] = json.dumps(state["result"], default=str)
    elif "error" in state:
        errors[step] = state["error"]["message"]
    elif finished:
        errors[step] = CANCELED.format(job_id)
    return {
        "job_id": job_id,
        "job_state": state["job_state"],
        "running_step_id": "" if finished else step,
        "step_outputs": outputs,
        "step_errors": errors,
        "step_job_ids": {step: job_id},
    }
