"""EE2's methods, one thin function each: parameters in, one use case of `ee2_jobs`, answer out.

Forms and texts are EE2's; where we differ, `docs/compatibility.md` says why.
"""

from __future__ import annotations

import time
from typing import Any

from api_bridge.batch_methods import BATCH_METHODS
from api_bridge.legacy import LEGACY_METHODS
from api_bridge.listing_methods import LISTING_METHODS
from api_bridge.log_methods import LOG_METHODS
from api_bridge.params import (
    Params,
    boolean,
    code_of_cancel,
    is_as_admin,
    retried_answer,
)
from api_bridge.runner_methods import RUNNER_METHODS
from api_bridge.service import Method, Service
from api_bridge.sharing_methods import SHARING_METHODS
from api_bridge.waiting_methods import WAITING_METHODS
from ee2_jobs import cancel, checks, concierge, interventions, retry, runs, submit
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.model import truthy
from ee2_jobs.requests import required


async def ver(service: Service, caller: Caller) -> str:
    """The version of this service."""
    return service.engine.settings.service_version


async def status(service: Service, caller: Caller) -> dict[str, Any]:
    """That the service answers, and what it is."""
    return {
        "server_time": time.time(),
        "git_commit": service.engine.settings.git_commit,
        "version": service.engine.settings.service_version,
        "service": "KBase Execution Engine",
    }


async def list_config(service: Service, caller: Caller) -> dict[str, str | None]:
    """The addresses of this service and its neighbours, under EE2's 15 keys. KBase's JobRunner
    stops if one of eleven is missing (rule C-17).
    """
    settings = service.engine.settings
    base, auth = settings.services_base, settings.auth_address
    return {
        "external-url": settings.rpc_url,
        "kbase-endpoint": base,
        "workspace-url": settings.workspace_address,
        "catalog-url": settings.catalog_address,
        "shock-url": f"{base}/shock-api",
        "handle-url": f"{base}/handle_service",
        "srv-wiz-url": f"{base}/service_wizard",
        "auth-service-url": f"{auth}/api/legacy/KBase/Sessions/Login",
        "auth-service-url-v2": f"{auth}/api/V2/token",
        "auth-service-url-allow-insecure": "true" if auth.startswith("http:") else "false",
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
    """Accept one job. The fields, and what else a job may say of itself, are in
    [run_job](reference/methods.md#run_job).

    Fields: `method`, `params`, `app_id`, `service_ver` = `release`, `source_ws_objects`, `meta`,
    `wsid`, `parent_job_id`, `job_requirements`, `priority` = 0, `as_admin` = 0.
    Result: the job's id; it can be asked for at once, and the job runs when its turn comes.
    Right: write the workspace `wsid`; `job_requirements`: administrators.
    """
    return await submit.run_job(service.engine, caller, params)


async def run_job_concierge(
    service: Service, caller: Caller, params: Params, concierge_params: Params
) -> str:
    """Accept one job of the concierge, past the resources of its app.

    Fields of the first: as of run_job. Of the second: `request_cpus`, `request_memory` (MB),
    `request_disk` (GB), `client_group` = `concierge`, `time_limit_s`, `requirements_list`.
    Result: the job's id.
    Right: the user `[ee2] concierge_user`, and to write the workspace.
    """
    return await concierge.run_job_concierge(service.engine, caller, params, concierge_params)


async def run_job_batch(
    service: Service, caller: Caller, params: Any, batch_params: Params
) -> dict[str, Any]:
    """Accept a batch: one job per element of the first parameter, each with the fields of run_job
    but `wsid`. See [run_job_batch](reference/methods.md#run_job_batch).

    Fields of the second: `wsid`, `meta`, `aggregate` (`{recipe, params}` or `{method, params}`),
    `on_child_error` = `continue` (or `abort`), `priority` = -5, `as_admin` = 0.
    Result: `{batch_id, child_job_ids}`, the children in the order given.
    Right: write the workspace.
    """
    ids = await submit.run_job_batch(service.engine, caller, params, batch_params)
    return {"batch_id": ids.batch_id, "child_job_ids": ids.child_job_ids}


async def run_split_aggregate(service: Service, caller: Caller, params: Params) -> str:
    """Accept a split-process-aggregate run: a split lists the jobs, an aggregate gets their
    results. See [run_split_aggregate](reference/methods.md#run_split_aggregate).

    Fields: `method`, `params`, `split`, `children`, `aggregate`, `on_child_error`, and those of
    run_job.
    Result: the id of the batch's parent.
    Right: write the workspace.
    """
    return await submit.run_split_aggregate(service.engine, caller, params)


async def retry_job(service: Service, caller: Caller, params: Params) -> dict[str, Any]:
    """Run a job again that ended in `error` or `terminated`. Of a retry, the first attempt is run
    again. Refused while another attempt is live.

    Fields: `job_id`, `as_admin` = 0.
    Result: `{job_id, retry_id}`: the first attempt and the new one.
    Right: write the job and its batch.
    """
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
    """The same for several jobs, in one submission. A job that cannot be retried does not stop the
    others.

    Fields: `job_ids`, each once; `as_admin` = 0.
    Result: in order, `{job_id, retry_id}` or `{job_id, error}`.
    Right: write the jobs and their batches.
    """
    done = await retry.retry_jobs(
        service.engine, caller, params.get("job_ids"), as_admin=is_as_admin(params)
    )
    return [retried_answer(one) for one in done]


async def cancel_job(service: Service, caller: Caller, params: Params) -> None:
    """Cancel a job; of a batch, its live children too, before the answer. A job that has ended
    stays as it is, which is no error.

    Fields: `job_id`; `terminated_code` = 0 (by the user; an administrator's 1); `reason` (shown to
    the job's owner); `as_admin` = 0.
    Right: write the job.
    """
    await cancel.cancel_job(
        service.engine,
        caller,
        required(params, "job_id"),
        terminated_code=code_of_cancel(params),
        as_admin=is_as_admin(params),
        reason=reason if isinstance(reason := params.get("reason"), str) else None,
    )


async def check_job(service: Service, caller: Caller, params: Params) -> Any:
    """One job's state.

    Fields: `job_id`; `exclude_fields`: names of fields to leave out; `as_admin` = 0.
    Result: a [JobState](reference/methods.md#jobstate), with its times in ms.
    Right: read the job; otherwise the result is
    `{"failure": "No read permissions for <id>", "check_job_error": true}`.
    """
    return await checks.check_job(
        service.engine,
        caller,
        required(params, "job_id"),
        exclude=params.get("exclude_fields"),
        as_admin=is_as_admin(params),
    )


async def check_jobs(service: Service, caller: Caller, params: Params) -> Any:
    """Several jobs' states.

    Fields: `job_ids`, `exclude_fields`, `return_list` = 1, `as_admin` = 0.
    Result: `{job_states: [JobState, …]}` in the order asked for, or with `return_list` 0
    `{id: JobState}`.
    Right: read the job; for each that may not be read, the `failure` of check_job. For
    administrators (`as_admin`) an unknown id gives `[]`.
    """
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
    """The state of a batch's parent and those of its children.

    Fields: `job_id`, `exclude_fields` (not `child_jobs`), `as_admin` = 0.
    Result: `{batch_jobstate, child_jobstates}`, the children in the order of `child_jobs`.
    Right: as check_job, each job for itself.
    """
    return await checks.check_job_batch(
        service.engine,
        caller,
        required(params, "job_id"),
        exclude=params.get("exclude_fields"),
        as_admin=is_as_admin(params),
    )


async def check_job_canceled(service: Service, caller: Caller, params: Params) -> dict[str, Any]:
    """Whether a job was cancelled, and whether it has ended. Runners ask every second.

    Fields: `job_id`, `as_admin` = 0.
    Result: `{job_id, canceled, finished}`, true or false.
    Right: read the job.
    """
    job_id = required(params, "job_id")
    canceled, finished = await checks.job_canceled(
        service.engine, caller, job_id, as_admin=is_as_admin(params)
    )
    service.memory.note_seen(caller.job)
    return {"job_id": job_id, "canceled": canceled, "finished": finished}


async def get_job_status(service: Service, caller: Caller, params: Params) -> dict[str, str]:
    """The status word of a job: the cheapest question.

    Fields: `job_id`, `as_admin` = 0.
    Result: `{status}`.
    Right: read the job.
    """
    word = await checks.job_status(
        service.engine, caller, required(params, "job_id"), as_admin=is_as_admin(params)
    )
    service.memory.note_seen(caller.job)
    return {"status": word}


async def get_job_params(service: Service, caller: Caller, params: Params) -> Any:
    """What a runner needs to start the app.

    Fields: `job_id`, `as_admin` = 0.
    Result: `{method, params, service_ver, app_id, wsid, parent_job_id, source_ws_objects}`, all
    present; `service_ver` is the commit.
    Right: read the job.
    """
    return await checks.job_params(
        service.engine, caller, required(params, "job_id"), as_admin=is_as_admin(params)
    )


async def start_job(service: Service, caller: Caller, params: Params) -> None:
    """The runner has begun: the job becomes `running`.

    Fields: `job_id`; `skip_estimation` = true (false: `estimating` first); `as_admin` = 0.
    Right: write the job. Only from `created`, `queued` or `estimating`.
    """
    await runs.start_job(
        service.engine,
        caller,
        required(params, "job_id"),
        skip_estimation=truthy(params.get("skip_estimation", True)),
        as_admin=is_as_admin(params),
    )


async def finish_job(service: Service, caller: Caller, params: Params) -> None:
    """The runner tells how the job ended.

    Fields: `job_id`, `as_admin` = 0, and `job_output` (`{version, result, id}`, 12 MB at most) for
    `completed`; or, for `error`: `error_message`, `error_code` = 1 and `error` (a mapping `{name,
    code, message, error}` or a text).
    Right: write the job. Only a job that has not ended.
    """
    await runs.finish_job(
        service.engine,
        caller,
        required(params, "job_id"),
        params,
        as_admin=is_as_admin(params),
    )


async def update_job_status(service: Service, caller: Caller, params: Params) -> str:
    """Set a job's status by force. The entry in the audit says by whom.

    Fields: `job_id`, `status`.
    Result: the job's id.
    Right: full administrators.
    """
    return await interventions.force_status(
        service.engine, caller, required(params, "job_id"), required(params, "status")
    )


async def handle_held_job(service: Service, caller: Caller, cluster_id: Any) -> dict[str, Any]:
    """End the job that HTCondor holds under this id, a text `"<cluster>.<proc>"` or `"<cluster>"`.

    Result: its JobState, with `_id`.
    Right: full administrators.
    """
    return await interventions.end_held_job(service.engine, caller, cluster_id)


METHODS: dict[str, Method] = {
    "execution_engine2.ver": Method(ver, auth="none"),
    "execution_engine2.status": Method(status, auth="none"),
    "execution_engine2.get_client_groups": Method(get_client_groups, auth="none"),
    "execution_engine2.list_config": Method(list_config, auth="optional"),
    "execution_engine2.is_admin": Method(is_admin),
    "execution_engine2.get_admin_permission": Method(get_admin_permission),
    "execution_engine2.run_job": Method(
        run_job, (dict,), job_token="live", audited="as_admin"
    ),
    "execution_engine2.run_job_concierge": Method(
        run_job_concierge, (dict, dict), audited="always"
    ),
    "execution_engine2.run_job_batch": Method(
        run_job_batch, (list, dict), job_token="live", audited="as_admin"
    ),
    "execution_engine2.run_split_aggregate": Method(
        run_split_aggregate, (dict,), job_token="live", audited="as_admin"
    ),
    "execution_engine2.retry_job": Method(retry_job, (dict,), audited="as_admin"),
    "execution_engine2.retry_jobs": Method(retry_jobs, (dict,), audited="as_admin"),
    "execution_engine2.cancel_job": Method(
        cancel_job, (dict,), job_token="always", audited="as_admin", values="none"
    ),
    "execution_engine2.check_job": Method(check_job, (dict,), job_token="always"),
    "execution_engine2.check_jobs": Method(check_jobs, (dict,), job_token="live"),
    "execution_engine2.check_job_batch": Method(check_job_batch, (dict,), job_token="live"),
    "execution_engine2.check_job_canceled": Method(
        check_job_canceled, (dict,), job_token="always"
    ),
    "execution_engine2.get_job_status": Method(get_job_status, (dict,), job_token="always"),
    "execution_engine2.get_job_params": Method(get_job_params, (dict,), job_token="live"),
    "execution_engine2.start_job": Method(
        start_job, (dict,), job_token="always", audited="as_admin", values="none"
    ),
    "execution_engine2.finish_job": Method(
        finish_job, (dict,), job_token="always", audited="as_admin", values="none"
    ),
    "execution_engine2.update_job_status": Method(update_job_status, (dict,), audited="always"),
    "execution_engine2.handle_held_job": Method(handle_held_job, (str,), audited="always"),
    **BATCH_METHODS,
    **LISTING_METHODS,
    **LOG_METHODS,
    **RUNNER_METHODS,
    **SHARING_METHODS,
    **WAITING_METHODS,
    **LEGACY_METHODS,
}
