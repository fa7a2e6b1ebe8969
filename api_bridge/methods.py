"""EE2's methods, one thin function each: parameters in, one use case of `ee2_jobs`, answer out.

Forms and texts are EE2's; where we differ, `docs/compatibility.md` says why.
"""

from __future__ import annotations

import time
from typing import Any

from bson import ObjectId

from api_bridge.batch_methods import BATCH_METHODS
from api_bridge.listing_methods import LISTING_METHODS
from api_bridge.params import (
    Params,
    boolean,
    code_of_cancel,
    is_as_admin,
    retried_answer,
    whole,
)
from api_bridge.runner_methods import RUNNER_METHODS
from api_bridge.service import FACTS, Method, Service
from ee2_jobs import cancel, checks, concierge, interventions, logs, retry, runs, submit
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.model import truthy
from ee2_jobs.requests import required
from ee2_jobs.rights import Level, find_permitted


async def ver(service: Service, caller: Caller) -> str:
    """The version of this service."""
    return service.engine.settings.service_version


async def status(service: Service, caller: Caller) -> dict[str, Any]:
    """That the service answers, and what it is."""
    return {
        "server_time": time.time(),
        "git_commit": "",
        "version": service.engine.settings.service_version,
        "service": "KBase Execution Engine",
    }


async def list_config(service: Service, caller: Caller) -> dict[str, str | None]:
    """EE2's 15 keys; KBase's JobRunner stops if one of eleven is missing (rule C-17)."""
    rpc_url = service.engine.settings.rpc_url
    base = rpc_url.rsplit("/", 1)[0]
    return {
        "external-url": rpc_url,
        "kbase-endpoint": base,
        "workspace-url": f"{base}/ws",
        "catalog-url": f"{base}/catalog",
        "shock-url": f"{base}/shock-api",
        "handle-url": f"{base}/handle_service",
        "srv-wiz-url": f"{base}/service_wizard",
        "auth-service-url": f"{base}/auth/api/legacy/KBase/Sessions/Login",
        "auth-service-url-v2": f"{base}/auth/api/V2/token",
        "auth-service-url-allow-insecure": "true" if base.startswith("http:") else "false",
        "scratch": "/kb/module/work/tmp",
        "executable": None,
        "docker_timeout": "604805",
        "initialdir": None,
        "ref_data_base": "/kb/data",
    }


async def get_client_groups(service: Service, caller: Caller) -> list[str]:
    """The names of the client groups, in the order of their file."""
    return list(service.engine.groups.groups)


async def is_admin(service: Service, caller: Caller) -> int:
    """1 for either administrator's role, else 0 (typed clients declare an integer)."""
    return int(caller.can_admin_read)


async def get_admin_permission(service: Service, caller: Caller) -> dict[str, str]:
    """`w` for an administrator, `r` for one who may only read, `n` for others."""
    return {"permission": "w" if caller.can_admin else "r" if caller.can_admin_read else "n"}


async def run_job(service: Service, caller: Caller, params: Params) -> str:
    """Accept one job; its id."""
    return await submit.run_job(service.engine, caller, params)


async def run_job_concierge(
    service: Service, caller: Caller, params: Params, concierge_params: Params
) -> str:
    """Accept one job of the concierge; its id."""
    return await concierge.run_job_concierge(service.engine, caller, params, concierge_params)


async def run_job_batch(
    service: Service, caller: Caller, params: Any, batch_params: Params
) -> dict[str, Any]:
    """Accept a batch; its id and the children's, in the order given."""
    ids = await submit.run_job_batch(service.engine, caller, params, batch_params)
    return {"batch_id": ids.batch_id, "child_job_ids": ids.child_job_ids}


async def run_split_aggregate(service: Service, caller: Caller, params: Params) -> str:
    """Accept a split-process-aggregate run; the id of the batch's parent."""
    return await submit.run_split_aggregate(service.engine, caller, params)


async def retry_job(service: Service, caller: Caller, params: Params) -> dict[str, Any]:
    """Retry one job; the id of the first attempt and of the new one."""
    job_id = params.get("job_id")
    if job_id is None or job_id == "":
        raise InvalidInput("Please provide a valid job id")
    one = (
        await retry.retry_jobs(service.engine, caller, [job_id], as_admin=is_as_admin(params))
    )[0]
    if one.error is not None:
        raise one.error
    return retried_answer(one)


async def retry_jobs(service: Service, caller: Caller, params: Params) -> list[dict[str, Any]]:
    """Retry several jobs; one answer per id, in order."""
    done = await retry.retry_jobs(
        service.engine, caller, params.get("job_ids"), as_admin=is_as_admin(params)
    )
    return [retried_answer(one) for one in done]


async def cancel_job(service: Service, caller: Caller, params: Params) -> None:
    """Cancel a job or a batch. An administrator's cancel is recorded as one."""
    await cancel.cancel_job(
        service.engine,
        caller,
        required(params, "job_id"),
        terminated_code=code_of_cancel(params),
        as_admin=is_as_admin(params),
    )


async def check_job(service: Service, caller: Caller, params: Params) -> Any:
    """One job's state."""
    return await checks.check_job(
        service.engine,
        caller,
        required(params, "job_id"),
        exclude=params.get("exclude_fields"),
        as_admin=is_as_admin(params),
    )


async def check_jobs(service: Service, caller: Caller, params: Params) -> Any:
    """Several jobs' states, as a list in `job_states` or as a mapping by id."""
    as_list = boolean(params.get("return_list", 1), "return_list")
    states = await checks.check_jobs(
        service.engine,
        caller,
        params.get("job_ids"),
        exclude=params.get("exclude_fields"),
        as_admin=is_as_admin(params),
    )
    return {"job_states": list(states.values())} if as_list else states


async def check_job_batch(service: Service, caller: Caller, params: Params) -> Any:
    """A parent's state and its children's."""
    return await checks.check_job_batch(
        service.engine,
        caller,
        required(params, "job_id"),
        exclude=params.get("exclude_fields"),
        as_admin=is_as_admin(params),
    )


async def check_job_canceled(service: Service, caller: Caller, params: Params) -> dict[str, Any]:
    """Whether the job was cancelled, and whether it has ended."""
    job_id = required(params, "job_id")
    canceled, finished = await checks.job_canceled(
        service.engine, caller, job_id, as_admin=is_as_admin(params)
    )
    return {"job_id": job_id, "canceled": canceled, "finished": finished}


async def get_job_status(service: Service, caller: Caller, params: Params) -> dict[str, str]:
    """The status word alone."""
    word = await checks.job_status(
        service.engine, caller, required(params, "job_id"), as_admin=is_as_admin(params)
    )
    return {"status": word}


async def get_job_params(service: Service, caller: Caller, params: Params) -> Any:
    """What a runner needs to start the app."""
    return await checks.job_params(
        service.engine, caller, required(params, "job_id"), as_admin=is_as_admin(params)
    )


async def start_job(service: Service, caller: Caller, params: Params) -> None:
    """The runner has begun."""
    await runs.start_job(
        service.engine,
        caller,
        required(params, "job_id"),
        skip_estimation=truthy(params.get("skip_estimation", True)),
        as_admin=is_as_admin(params),
    )


async def finish_job(service: Service, caller: Caller, params: Params) -> None:
    """The runner tells how the job ended."""
    await runs.finish_job(
        service.engine,
        caller,
        required(params, "job_id"),
        params,
        as_admin=is_as_admin(params),
    )


async def update_job_status(service: Service, caller: Caller, params: Params) -> str:
    """Set a job's status by force; administrators only. The job's id."""
    return await interventions.force_status(
        service.engine, caller, required(params, "job_id"), required(params, "status")
    )


async def handle_held_job(service: Service, caller: Caller, cluster_id: Any) -> dict[str, Any]:
    """End the job that the scheduler holds under this id; administrators only. Its record."""
    return await interventions.end_held_job(service.engine, caller, cluster_id)


async def _job_of_log(
    service: Service, caller: Caller, params: Params, level: Level
) -> ObjectId:
    """The id of the job whose log is meant, if the caller may read or write it. For the owner and
    the job itself this process remembers enough: a runner asks every second."""
    job_id = required(params, "job_id")
    as_admin = is_as_admin(params)
    job = None if as_admin else service.memory.known(job_id)
    if job is None or not (caller.job == job_id if caller.job else caller.user == job["user"]):
        job = await find_permitted(
            service.engine, caller, job_id, level, as_admin=as_admin, projection=FACTS
        )
        service.memory.note_facts(job)
    oid: ObjectId = job["_id"]
    return oid


async def add_job_logs(
    service: Service, caller: Caller, params: Params, lines: Any
) -> dict[str, Any]:
    """Append log lines; how many lines there are then. An empty list, which a runner sends every
    second, is answered from memory once this process has seen the log."""
    job_oid = await _job_of_log(service, caller, params, Level.WRITE)
    job_id = str(job_oid)
    count = service.memory.log_lines(job_id)
    if lines or count is None:
        count = await logs.append(service.engine.store, job_oid, logs.parse_lines(lines))
        service.memory.note_log_lines(job_id, count)
    elif not isinstance(lines, list):
        raise InvalidInput("lines must be a list")
    return {"success": True, "line_number": count}


async def get_job_logs(service: Service, caller: Caller, params: Params) -> dict[str, Any]:
    """Lines of a log. `skip_lines: N` says "I hold the first N lines"; `last_line_number` is how
    many the client holds with this answer, fit to be sent as the next `skip_lines`."""
    if params.get("skip_lines") and params.get("offset"):
        raise InvalidInput("Please provide only one of skip_lines or offset")
    name = "skip_lines" if "skip_lines" in params else "offset"
    skip = whole(params.get(name), name)
    limit = whole(params.get("limit"), "limit")
    job_oid = await _job_of_log(service, caller, params, Level.READ)
    page = await logs.read(service.engine.store, job_oid, skip, limit or None)
    return {
        "lines": [logs.wire_line(line) for line in page.lines],
        "last_line_number": min(skip, page.count) + len(page.lines),
        "count": page.count,
    }


def _lines_not_stored(service: Service, params: list[Any]) -> dict[str, Any]:
    """The answer of add_job_logs while MongoDB is away: an error would end KBase's JobRunner."""
    job_id = params[0].get("job_id") if params and isinstance(params[0], dict) else None
    count = service.memory.log_lines(job_id) if isinstance(job_id, str) else None
    return {"success": False, "line_number": -1 if count is None else count}


METHODS: dict[str, Method] = {
    "execution_engine2.ver": Method(ver, auth="none"),
    "execution_engine2.status": Method(status, auth="none"),
    "execution_engine2.get_client_groups": Method(get_client_groups, auth="none"),
    "execution_engine2.list_config": Method(list_config, auth="optional"),
    "execution_engine2.is_admin": Method(is_admin),
    "execution_engine2.get_admin_permission": Method(get_admin_permission),
    "execution_engine2.run_job": Method(run_job, (dict,), audited="as_admin"),
    "execution_engine2.run_job_concierge": Method(
        run_job_concierge, (dict, dict), audited="always"
    ),
    "execution_engine2.run_job_batch": Method(run_job_batch, (list, dict), audited="as_admin"),
    "execution_engine2.run_split_aggregate": Method(
        run_split_aggregate, (dict,), audited="as_admin"
    ),
    "execution_engine2.retry_job": Method(retry_job, (dict,), audited="as_admin"),
    "execution_engine2.retry_jobs": Method(retry_jobs, (dict,), audited="as_admin"),
    "execution_engine2.cancel_job": Method(
        cancel_job, (dict,), job_token="always", audited="as_admin", void=True
    ),
    "execution_engine2.check_job": Method(check_job, (dict,), job_token="always"),
    "execution_engine2.check_jobs": Method(check_jobs, (dict,)),
    "execution_engine2.check_job_batch": Method(check_job_batch, (dict,)),
    "execution_engine2.check_job_canceled": Method(
        check_job_canceled, (dict,), job_token="always"
    ),
    "execution_engine2.get_job_status": Method(get_job_status, (dict,), job_token="always"),
    "execution_engine2.get_job_params": Method(get_job_params, (dict,), job_token="live"),
    "execution_engine2.start_job": Method(
        start_job, (dict,), job_token="always", audited="as_admin", void=True
    ),
    "execution_engine2.finish_job": Method(
        finish_job, (dict,), job_token="always", audited="as_admin", void=True
    ),
    "execution_engine2.update_job_status": Method(update_job_status, (dict,), audited="always"),
    "execution_engine2.handle_held_job": Method(handle_held_job, (str,), audited="always"),
    "execution_engine2.add_job_logs": Method(
        add_job_logs,
        (dict, list),
        job_token="always",
        audited="as_admin",
        on_trouble=_lines_not_stored,
    ),
    "execution_engine2.get_job_logs": Method(get_job_logs, (dict,), job_token="always"),
    **BATCH_METHODS,
    **LISTING_METHODS,
    **RUNNER_METHODS,
}
