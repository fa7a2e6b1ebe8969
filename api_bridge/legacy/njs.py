"""NarrativeJobService: a function per method, each one call of a use case.

It ran apps before EE2 did, first through AWE and then through HTCondor.
"""

from __future__ import annotations

from typing import Any

from api_bridge.envelope import JAVA_ERROR
from api_bridge.params import Params, whole
from api_bridge.service import Method, Service
from ee2_jobs import checks
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.legacy import njs_jobs
from ee2_jobs.legacy.njs_run import run_job as accept_job
from ee2_jobs.legacy.njs_states import job_states, service_url, ujs_url
from ee2_jobs.legacy.records import find_viewable
from ee2_jobs.model import TERMINAL, Document, Status, truthy

VERSION = "0.2.11"
_NOT_DEFINED = "<not-defined>"


def _given(params: Params | None) -> Params:
    if params is None:
        raise InvalidInput("No parameters supplied to method")
    return params


def _job_id(params: Params | None) -> Any:
    job_id = _given(params).get("job_id")
    if job_id is None or job_id == "":
        raise InvalidInput("No job id supplied")
    return job_id


async def ver(service: Service, caller: Caller) -> str:
    """The version of the service that is answered for."""
    return VERSION


async def status(service: Service, caller: Caller) -> Document:
    """That the service answers; the counts that it never told in its last years, as it did."""
    counts = ("reboot_mode", "stopping_mode", "running_tasks_total", "tasks_in_queue")
    return {
        **dict.fromkeys(counts, -1),
        "config": await list_config(service, caller),
        "git_commit": service.engine.settings.git_commit,
    }


async def list_config(service: Service, caller: Caller) -> dict[str, str]:
    """The settings under their old names; what has no counterpart is `<not-defined>`."""
    engine = service.engine
    return {
        "awe.srv.url": service_url(engine, "awe-api"),
        "docker.registry.url": _NOT_DEFINED,
        "jobstatus.srv.url": ujs_url(engine),
        "scratch": _NOT_DEFINED,
        "shock.url": service_url(engine, "shock-api"),
        "workspace.srv.url": service_url(engine, "ws"),
        "kbase.endpoint": _base(service),
        "self.external.url": service_url(engine, "njs_wrapper"),
        "condor.mode": "1",
        "condor.submit.desc.file.path": _NOT_DEFINED,
        "ref.data.base": "/kb/data",
        "catalog.srv.url": service_url(engine, "catalog"),
        "awe.client.docker.uri": _NOT_DEFINED,
        "awe.client.callback.networks": _NOT_DEFINED,
    }


def _base(service: Service) -> str:
    return service_url(service.engine, "").rstrip("/")


def _worker_config(service: Service) -> dict[str, str]:
    """What a worker is told beside a job's parameters; what is not set is left out."""
    engine = service.engine
    base = _base(service)
    return {
        "workspace.srv.url": service_url(engine, "ws"),
        "jobstatus.srv.url": ujs_url(engine),
        "catalog.srv.url": service_url(engine, "catalog"),
        "ref.data.base": "/kb/data",
        "auth-service-url": service_url(engine, "auth/api/legacy/KBase/Sessions/Login"),
        "auth.service.url.v2": service_url(engine, "auth/api/V2/token"),
        "kbase.endpoint": base,
        "self.external.url": service_url(engine, "njs_wrapper"),
        "shock.url": service_url(engine, "shock-api"),
        "handle.url": service_url(engine, "handle_service"),
        "srv.wiz.url": service_url(engine, "service_wizard"),
        "ee.server.version": VERSION,
        "auth-service-url-allow-insecure": "true" if base.startswith("http:") else "false",
    }


async def run_job(service: Service, caller: Caller, params: Params | None) -> str:
    """Accept one job.

    Fields: `method` ("Module.method"), `params` (list), `service_ver` (`dev`, `beta`, `release`, a
    version or a commit) = `release`, `app_id`, `wsid`, `source_ws_objects` (references
    `ws/object/version` or `ws/object`, numbers or names), `meta` (texts by name), `parent_job_id`,
    `rpc_context`, `remote_url`.
    Result: the job's id.
    Right: write `wsid` (without it the job is its owner's alone), read the objects.
    """
    return await accept_job(service.engine, caller, _given(params))


async def get_job_params(
    service: Service, caller: Caller, job_id: Any
) -> tuple[Document, dict[str, str]]:
    """What a worker needs to run a job.

    Result: two values: the fields of run_job, with `service_ver` as a commit and
    `requested_release` for the tag that was asked for; settings by their old names.
    Right: read the job.
    """
    job, side = await find_viewable(service.engine, caller, job_id)
    what = await checks.runnable(service.engine.store, job)
    return {**njs_jobs.run_params(job, side), "params": what["params"]}, _worker_config(service)


async def update_job(service: Service, caller: Caller, params: Params | None) -> Document:
    """The worker has begun. On a job that runs already, or has ended, this does nothing.

    Fields: `job_id`; `is_started`, which must be 1.
    Result: `{messages: []}`.
    Right: the owner.
    """
    given = _given(params)
    await njs_jobs.set_started(
        service.engine, caller, _job_id(given), given.get("is_started")
    )
    service.memory.note_seen(caller.job)
    return {"messages": []}


async def add_job_logs(service: Service, caller: Caller, job_id: Any, lines: Any) -> int:
    """Append lines to a job's log, each cut at 1000 letters.

    Of each line: `line`, `is_error` (0 or 1).
    Result: how many lines there are then.
    Right: write the job.
    """
    count = await njs_jobs.add_logs(service.engine, caller, job_id, lines)
    service.memory.note_seen(caller.job)
    return count


async def get_job_logs(service: Service, caller: Caller, params: Params | None) -> Document:
    """The lines of a job's log after those that the client holds. None if there is no log.

    Fields: `job_id`, `skip_lines` = 0.
    Result: `{lines: [{line, is_error}, …], last_line_number}`; the latter is what to skip next.
    Right: read the job; administrators may read all logs.
    """
    given = _given(params)
    skip = whole(given.get("skip_lines"), "skip_lines")
    return await njs_jobs.read_logs(service.engine, caller, _job_id(given), skip)


async def finish_job(
    service: Service, caller: Caller, job_id: Any, params: Params | None
) -> None:
    """The worker tells how the job ended. If it had ended already this leaves a line in its log.

    Fields: one of `result` (list), `error` (`{name, code, message, error}`), `is_canceled` (1).
    Right: the owner; for `is_canceled`, write the job.
    """
    await njs_jobs.finish(service.engine, caller, job_id, _given(params))


async def check_job(service: Service, caller: Caller, job_id: Any) -> Document:
    """The state of a job. That a job has failed is no error here.

    Result: `{job_id, finished (0 or 1), job_state, status, creation_time, exec_start_time,
    finish_time (ms), canceled, cancelled (0 or 1, of jobs that have ended), result, error,
    sub_jobs, ujs_url, awe_job_state, awe_job_id}`; what is null is left out. `job_state` is queued,
    in-progress, completed, suspend (failed) or cancelled; `status` are the 7 values of
    UserAndJobState's get_job_status.
    Right: read the job.
    """
    job, side = await find_viewable(service.engine, caller, job_id)
    job_id = str(job["_id"])
    return (await job_states(service.engine, [job], {job_id: side}))[job_id]


async def check_jobs(service: Service, caller: Caller, params: Params | None) -> Document:
    """The states of several jobs. What is wrong with one does not fail the others.

    Fields: `job_ids` (list), `with_job_params` = 0.
    Result: `{job_states, check_error}`, and `job_params` if asked for; each a mapping by id.
    Right: read the job; if not, the job is among the errors.
    """
    given = _given(params)
    job_ids = given.get("job_ids")
    if not isinstance(job_ids, list):
        raise InvalidInput("Input parameters should include 'job_ids' property")
    states, records, errors = await njs_jobs.check_many(service.engine, caller, job_ids)
    answer: Document = {
        "job_states": states,
        "check_error": {
            job_id: {"name": "JSONRPCError", "code": JAVA_ERROR, "message": str(e)}
            for job_id, e in errors.items()
        },
    }
    if truthy(given.get("with_job_params")):
        answer["job_params"] = {
            job_id: njs_jobs.run_params(job, side) for job_id, (job, side) in records.items()
        }
    return answer


async def list_job_statuses(service: Service, caller: Caller, workspace: Any) -> list[Document]:
    """The states of all jobs of a workspace that were started, oldest first.

    The workspace's id is a text of digits.
    Result: `[JobState, …]`.
    Right: read the workspace.
    """
    return await njs_jobs.workspace_states(service.engine, caller, workspace)


async def cancel_job(service: Service, caller: Caller, params: Params | None) -> None:
    """Cancel a job. On one that has ended this does nothing.

    Fields: `job_id`.
    Right: write the job.
    """
    await njs_jobs.cancel(service.engine, caller, _job_id(params))


async def check_job_canceled(
    service: Service, caller: Caller, params: Params | None
) -> Document:
    """Whether a job has ended, and whether by a cancel.

    Fields: `job_id`.
    Result: `{job_id, finished, canceled (0 or 1), ujs_url}`.
    Right: read the job.
    """
    job, _ = await find_viewable(
        service.engine, caller, _job_id(params), projection=njs_jobs.FACTS
    )
    service.memory.note_seen(caller.job)
    return {
        "job_id": str(job["_id"]),
        "finished": int(job["status"] in TERMINAL),
        "canceled": int(job["status"] == Status.TERMINATED.value),
        "ujs_url": ujs_url(service.engine),
    }


_NAME = "NarrativeJobService"
NJS_METHODS: dict[str, Method] = {
    f"{_NAME}.ver": Method(ver, auth="none"),
    f"{_NAME}.status": Method(status, auth="none"),
    f"{_NAME}.list_config": Method(list_config, auth="optional"),
    f"{_NAME}.run_job": Method(run_job, (dict,), job_token="live"),
    f"{_NAME}.get_job_params": Method(
        get_job_params, (str,), job_token="live", values="many"
    ),
    f"{_NAME}.update_job": Method(update_job, (dict,), job_token="always"),
    f"{_NAME}.add_job_logs": Method(add_job_logs, (str, list), job_token="always"),
    f"{_NAME}.get_job_logs": Method(get_job_logs, (dict,), job_token="always"),
    f"{_NAME}.finish_job": Method(finish_job, (str, dict), job_token="always", values="none"),
    f"{_NAME}.check_job": Method(check_job, (str,), job_token="always"),
    f"{_NAME}.check_jobs": Method(check_jobs, (dict,), job_token="live"),
    f"{_NAME}.list_job_statuses": Method(list_job_statuses, (str,)),
    f"{_NAME}.cancel_job": Method(cancel_job, (dict,), job_token="always", values="none"),
    f"{_NAME}.check_job_canceled": Method(check_job_canceled, (dict,), job_token="always"),
}
