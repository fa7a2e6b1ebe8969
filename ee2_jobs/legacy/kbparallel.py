"""Use case: KBParallel's run_batch, as a batch that holds no slot (`legacy-apis` section 5).

KBParallel was an app that ran other apps and waited for them on a node. Here a call of it is the
parent's record of a batch, which runs nothing; the tasks are the children, at most so many of them
active at a time as the caller asked for, each tried as often as the caller asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from cachetools import TTLCache

from ee2_jobs import user_tokens
from ee2_jobs.checks import job_state
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, shown
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, StageName, Status, now_s
from ee2_jobs.plan import shape_of
from ee2_jobs.requests import JobRequest, parent_document, parse_request, parse_wsid
from ee2_jobs.submissions import accept, submission_document
from ee2_jobs.submit import check_count, check_workspace, children_of

METHOD = "KBParallel.run_batch"
MAX_LOCAL, MAX_REMOTE, MAX_ATTEMPTS = 20, 50, 5
# runner: local and remote slots if nothing is said of them.
_RUNNERS = {"local_serial": (1, 0), "local_parallel": (2, 0), "parallel": (1, 3)}
_STATUS_S = 3600.0
_statuses: TTLCache[tuple[str, str, str], str] = TTLCache(10_000, _STATUS_S)
# Of an app's error that is no mapping (NarrativeJobService's form).
_NO_CODE = -32000


@dataclass(frozen=True)
class Tasks:
    """What a batch of tasks consists of, its form checked.

    method: of the parent's record. requests: in the order given. places: how many tasks may be
    active at a time. attempts: how often one is tried. wsid: of the parent; the children have what
    their request says. options: what is stored as the parent's parameters.
    """

    method: str
    requests: tuple[JobRequest, ...]
    places: int
    attempts: int
    wsid: int | None
    options: Document


async def submit_batch(engine: Engine, caller: Caller, params: Any) -> str:
    """Accept a batch of tasks (run_batch); returns the id of the job that stands for it.

    params: `tasks` (flat `{module_name, function_name, version, parameters}` or `{function: {
    module_name, function_name, version}, params}`), `runner`, `concurrent_local_tasks`,
    `concurrent_njsw_tasks`, `max_retries`, `parent_job_id`, `workspace_id`. Limits that are too
    high or too low are clamped without a word, as KBParallel did. Raises InvalidInput or Denied;
    then nothing is stored.
    """
    if not isinstance(params, Mapping):
        raise InvalidInput("KBParallel.run_batch takes one mapping")
    tasks = params.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        raise InvalidInput('"tasks" field with a list of tasks is required.')
    runner = params.get("runner")
    if not runner:
        raise InvalidInput('"runner" field is required')
    if runner not in _RUNNERS:
        raise InvalidInput(f"Unknown or unsupported runner type: {runner}")
    local, remote = _RUNNERS[runner]
    local = _clamped(params, "concurrent_local_tasks", local, 0, MAX_LOCAL)
    remote = _clamped(params, "concurrent_njsw_tasks", remote, 0, MAX_REMOTE)
    attempts = _clamped(params, "max_retries", 1, 1, MAX_ATTEMPTS)
    if local + remote == 0:
        raise InvalidInput(
            "concurrent_local_tasks and concurrent_njsw_tasks are both 0, so that no task could "
            "ever start: let at least one of them be 1 or more"
        )
    wsid = parse_wsid(params.get("workspace_id"), "workspace_id")
    parent_job_id = params.get("parent_job_id") or None
    requests = tuple(_task(task, n, wsid, parent_job_id) for n, task in enumerate(tasks, 1))
    options = {
        "runner": runner,
        "concurrent_local_tasks": local,
        "concurrent_njsw_tasks": remote,
        "max_retries": attempts,
    }
    return await accept_tasks(
        engine,
        caller,
        Tasks(METHOD, requests, local + remote, attempts, wsid, options),
        {"ends_parent": True},
    )


def _clamped(params: Mapping[str, Any], field: str, default: int, least: int, most: int) -> int:
    value = params.get(field)
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"{field} must be a whole number, not {shown(value)}")
    return max(least, min(value, most))


def _task(task: Any, n: int, wsid: int | None, parent_job_id: Any) -> JobRequest:
    """The request of a task; an error names the task, counted from 1."""
    flat = task.get("function", task) if isinstance(task, Mapping) else None
    if not isinstance(flat, Mapping):
        raise InvalidInput(
            f"Task #{n} must be a mapping with module_name, function_name, version and parameters"
        )
    for field in ("module_name", "function_name"):
        if not isinstance(flat.get(field), str) or not flat[field]:
            raise InvalidInput(f"Task #{n}: {field} must be a string")
    given = task.get("params") if "function" in task else task.get("parameters")
    try:
        return task_request(
            flat["module_name"],
            flat["function_name"],
            flat.get("version"),
            given,
            wsid=wsid,
            parent_job_id=parent_job_id,
        )
    except InvalidInput as e:
        raise InvalidInput(f"Task #{n}: {e}") from None


def task_request(
    module: str,
    function: str,
    version: Any,
    params: Any,
    *,
    wsid: int | None,
    parent_job_id: Any,
) -> JobRequest:
    """The request of one task: its method gets the one value `params`; the app's id is its module.
    """
    return parse_request(
        {
            "method": f"{module}.{function}",
            "params": [params],
            "service_ver": version,
            "app_id": module,
            "wsid": wsid,
            "parent_job_id": parent_job_id,
        }
    )


async def accept_tasks(engine: Engine, caller: Caller, tasks: Tasks, options: Document) -> str:
    """Check and store a batch of tasks; the id of its parent. options: of the submission, beside
    window, attempts and order.

    The parent is `running` until all tasks are settled: that is what callers poll for.
    """
    await check_workspace(engine, caller, {"wsid": tasks.wsid}, f"workspace {tasks.wsid}")
    check_count(engine, tasks.requests, "tasks")
    oid = ObjectId()
    batch_id = str(oid)
    children = []
    records = await children_of(engine, caller, tasks.requests, batch_id, None)
    for request, child in zip(tasks.requests, records, strict=True):
        job_input = child["job_input"]
        if request.wsid is not None:
            child["wsid"] = job_input["wsid"] = request.wsid
        job_input.setdefault("parent_job_id", batch_id)
        job_input["requested_release"] = request.service_ver or "release"
        children.append(child)
    parent = parent_document(
        oid,
        user=caller.user,
        wsid=tasks.wsid,
        cell={},
        children=[str(child["_id"]) for child in children],
    )
    now = now_s()
    parent |= {"status": Status.RUNNING.value, "queued": now, "running": now}
    module = tasks.method.partition(".")[0]
    parent["job_input"] |= {
        "method": tasks.method, "app_id": module, "params": [tasks.options],
    }
    shape = shape_of("batch", {request.method for request in tasks.requests})
    submission = submission_document(
        batch_id,
        user=caller.user,
        shape=shape,
        batch_id=batch_id,
        options={
            "window": tasks.places,
            "max_attempts": tasks.attempts,
            "last_first": True,
            **options,
        },
    )
    submission |= user_tokens.sealed(engine.settings, caller)
    await accept(engine, caller, submission, shape, [parent, *children])
    return batch_id


async def results(engine: Engine, parent: Document) -> list[Document]:
    """KBParallel's `results` of a batch that has ended: one entry per task, in the order of the
    tasks, whatever order they ended in.

    They are made from the children at each call, because all together may be larger than a record.
    What was run after the batch's end (a retry by hand) is not among them.
    """
    query: Document = {
        "submission": str(parent["_id"]),
        "stage": StageName.SUBMIT.value,
        "finished": {"$lte": parent["finished"]},
    }
    last: dict[int, Document] = {}
    found = engine.store.jobs.find(query).sort([("index", 1), ("try", 1), ("attempt", 1)])
    async for job in found:
        last[job["index"]] = job
    return [_entry(last[index]) for index in sorted(last)]


def _entry(job: Document) -> Document:
    """A task's entry of the results (`legacy-apis` 5.2)."""
    state = job_state(job)
    output = job.get("job_output") or {}
    result = output.get("result")
    failed = job["status"] == Status.ERROR.value
    error = _error(state) if failed else None
    state.pop("error", None)
    if failed:
        state["error"] = error  # a caller looks for the key, whatever its value
    state |= {
        "exec_start_time": state["created"],
        "finish_time": state.get("finished", state["updated"]),
        "job_state": state["status"],
        "result": result,
    }
    job_input = job["job_input"]
    module, _, function = job_input["method"].partition(".")
    return {
        "is_error": failed,
        "result_package": {
            "function": {
                "module_name": module,
                "method_name": function,
                "version": job_input.get("requested_release") or job_input.get("service_ver"),
            },
            "error": error,
            "result": result,
            "run_context": {
                "location": "njsw",
                "job_id": str(job["_id"]),
                "parent_job_id": job_input.get("parent_job_id"),
            },
        },
        "final_job_state": state,
    }


def _error(state: Document) -> Document:
    """The error of a failed task: always a mapping."""
    error = state.get("error")
    if isinstance(error, Mapping):
        return dict(error)
    text = str(state.get("errormsg") or "Unknown error")
    code = state.get("error_code") or _NO_CODE
    return {"name": "JSONRPCError", "code": code, "message": text, "error": text}


async def result_of(engine: Engine, parent: Document) -> list[Any]:
    """The result of an ended run_batch, as an app returns it."""
    return [{"results": await results(engine, parent)}]


async def submit_status(
    engine: Engine, caller: Caller, module: str, params: Sequence[Any]
) -> str:
    """KBParallel's and kb_BatchApp's `status` by the asynchronous convention: a job that has ended
    before its id is known. Who asks again within _STATUS_S gets the same one: it says nothing else,
    and asking must not fill the list of jobs."""
    if params:
        raise InvalidInput(f"{module}.status takes no parameters")
    key = (engine.store.db.name, caller.user, module)
    if key in _statuses:
        return _statuses[key]
    oid, now = ObjectId(), now_s()
    result = {
        "state": "OK",
        "message": "",
        "version": engine.settings.service_version,
        "git_url": "",
        "git_commit_hash": "",
    }
    await engine.store.jobs.insert_one(
        {
            "_id": oid,
            "user": caller.user,
            "authstrat": "kbaseworkspace",
            "status": Status.COMPLETED.value,
            "queued": now,
            "running": now,
            "finished": now,
            "updated": now,
            "batch_job": False,
            "child_jobs": [],
            "retry_ids": [],
            "retry_saved_toggle": False,
            "job_input": {
                "method": f"{module}.status",
                "app_id": module,
                "service_ver": "",
                "params": [],
                "source_ws_objects": [],
                "narrative_cell_info": {},
            },
            "job_output": {"version": "1.1", "id": str(oid), "result": [result]},
        }
    )
    _statuses[key] = str(oid)
    return str(oid)
