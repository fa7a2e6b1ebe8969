"""UserAndJobState: its methods on jobs, and on what programs keep for users.

Every method but `ver` and `status` acts for the user of the call's token. The services that start,
update and end jobs prove who they are by a second token, among the parameters.
"""

from __future__ import annotations

from typing import Any

from api_bridge.legacy.ujs_state import STATE_METHODS, service_of
from api_bridge.service import Method, Service
from ee2_jobs import sharing
from ee2_jobs.identity import Caller
from ee2_jobs.legacy import ujs_jobs, ujs_list
from ee2_jobs.legacy.records import UjsView, find_viewable, ujs_time, ujs_view

VERSION = "0.2.3"


async def ver(service: Service, caller: Caller) -> str:
    """The version of UserAndJobState whose interface this is."""
    return VERSION


async def status(service: Service, caller: Caller) -> dict[str, str]:
    """That the service answers."""
    return {"state": "OK", "message": "", "version": VERSION, "git_url": ""}


async def create_job(service: Service, caller: Caller) -> str:
    """A new job of the caller's; its id."""
    return await ujs_jobs.create(service.engine, caller, {})


async def create_job2(service: Service, caller: Caller, params: Any) -> str:
    """A new job, in a workspace or with labels; its id."""
    return await ujs_jobs.create(service.engine, caller, params or {})


async def start_job(
    service: Service,
    caller: Caller,
    job: Any,
    token: Any,
    status: Any,
    desc: Any,
    progress: Any,
    est_complete: Any,
) -> None:
    """A service begins to work on a job."""
    await ujs_jobs.start(
        service.engine,
        caller,
        job,
        await service_of(service, token),
        status=status,
        description=desc,
        progress=progress,
        est_complete=est_complete,
    )


async def create_and_start_job(
    service: Service,
    caller: Caller,
    token: Any,
    status: Any,
    desc: Any,
    progress: Any,
    est_complete: Any,
) -> str:
    """A new job that a service begins to work on at once; its id."""
    return await ujs_jobs.create_and_start(
        service.engine,
        caller,
        await service_of(service, token),
        status=status,
        description=desc,
        progress=progress,
        est_complete=est_complete,
    )


async def update_job_progress(
    service: Service,
    caller: Caller,
    job: Any,
    token: Any,
    status: Any,
    prog: Any,
    est_complete: Any,
) -> None:
    """How a job goes, and by how much it has got on since it was last told."""
    await ujs_jobs.update(
        service.engine,
        caller,
        job,
        await service_of(service, token),
        status=status,
        est_complete=est_complete,
        increment=prog,
    )


async def update_job(
    service: Service, caller: Caller, job: Any, token: Any, status: Any, est_complete: Any
) -> None:
    """How a job goes."""
    await update_job_progress(service, caller, job, token, status, None, est_complete)


async def complete_job(
    service: Service, caller: Caller, job: Any, token: Any, status: Any, error: Any, res: Any
) -> None:
    """A job has ended; with `error` it has failed."""
    await ujs_jobs.complete(
        service.engine,
        caller,
        job,
        await service_of(service, token),
        status=status,
        error=error,
        results=res,
    )


async def cancel_job(service: Service, caller: Caller, job: Any, status: Any) -> None:
    """Cancel a job; one that the engine runs leaves the pool."""
    await ujs_jobs.cancel(service.engine, caller, job, status)


async def _view(service: Service, caller: Caller, job: Any) -> UjsView:
    record, side = await find_viewable(
        service.engine, caller, job, projection=ujs_jobs.WITHOUT_LARGE
    )
    return ujs_view(record, side)


async def get_job_description(service: Service, caller: Caller, job: Any) -> list[Any]:
    """5 values: service, kind of progress, its maximum, description, start."""
    one = await _view(service, caller, job)
    return [one.service, one.ptype, one.max_prog, one.description, ujs_time(one.started_s)]


async def get_job_status(service: Service, caller: Caller, job: Any) -> list[Any]:
    """7 values: last update, stage, status, progress, estimated end, complete, error."""
    return (await _view(service, caller, job)).status_tuple()


async def get_job_info(service: Service, caller: Caller, job: Any) -> list[Any]:
    """One tuple of 14."""
    return _info(await _view(service, caller, job))


async def get_job_info2(service: Service, caller: Caller, job: Any) -> list[Any]:
    """One tuple of 13."""
    return _info2(await _view(service, caller, job))


def _info(job: UjsView) -> list[Any]:
    return [
        job.job_id, job.service, job.stage, ujs_time(job.started_s), job.status,
        ujs_time(job.updated_s), job.prog, job.max_prog, job.ptype, ujs_time(job.est_complete_s),
        job.complete, job.error, job.description, job.results,
    ]  # fmt: skip


def _info2(job: UjsView) -> list[Any]:
    times = (job.started_s, job.updated_s, job.est_complete_s)
    return [
        job.job_id, [job.owner, job.canceledby], job.service, job.stage, job.status,
        [ujs_time(at_s) for at_s in times], [job.prog, job.max_prog, job.ptype], job.complete,
        job.error, list(job.auth), job.meta, job.description, job.results,
    ]  # fmt: skip


async def get_results(service: Service, caller: Caller, job: Any) -> Any:
    """Where the results of a job are; null before it has told."""
    return (await _view(service, caller, job)).results


async def get_detailed_error(service: Service, caller: Caller, job: Any) -> str | None:
    """Why a job has failed; null if it has not."""
    return (await _view(service, caller, job)).detailed_error


async def list_jobs(
    service: Service, caller: Caller, services: Any, letters: Any
) -> list[list[Any]]:
    """Tuples of 14 of the caller's started jobs, with S also of those that others share."""
    found = await ujs_list.list_jobs(
        service.engine, caller, services=services, filter_letters=letters
    )
    return [_info(job) for job in found]


async def list_jobs2(service: Service, caller: Caller, params: Any) -> list[list[Any]]:
    """Tuples of 13 of started jobs: the caller's, or those of workspaces."""
    params = params or {}
    found = await ujs_list.list_jobs(
        service.engine,
        caller,
        services=params.get("services"),
        filter_letters=params.get("filter"),
        strategy=params.get("authstrat"),
        strategy_params=params.get("authparams"),
    )
    return [_info2(job) for job in found]


async def list_job_services(service: Service, caller: Caller) -> list[str]:
    """The services that have worked on jobs of the caller's or shared with the caller."""
    return await ujs_list.list_services(service.engine, caller)


async def share_job(service: Service, caller: Caller, job: Any, users: Any) -> None:
    """Let users read a job that is in no workspace."""
    await ujs_jobs.require_shown(service.engine, caller, job, sharing.not_owned(job, caller))
    await sharing.share(service.engine, service.identity, caller, job, users)


async def unshare_job(service: Service, caller: Caller, job: Any, users: Any) -> None:
    """Let users no longer read it."""
    await ujs_jobs.require_shown(service.engine, caller, job, sharing.not_visible(job, caller))
    await sharing.unshare(service.engine, service.identity, caller, job, users)


async def get_job_owner(service: Service, caller: Caller, job: Any) -> str:
    """Whose job it is."""
    return (await _view(service, caller, job)).owner


async def get_job_shared(service: Service, caller: Caller, job: Any) -> list[str]:
    """Whom the caller has shared the job with."""
    await _view(service, caller, job)
    return list(await sharing.shared_with(service.engine, caller, job))


async def delete_job(service: Service, caller: Caller, job: Any) -> None:
    """Hide a job that has ended."""
    await ujs_jobs.delete(service.engine, caller, job)


async def force_delete_job(service: Service, caller: Caller, token: Any, job: Any) -> None:
    """Hide a job that the service has started. The token comes first, here alone."""
    started_by = await service_of(service, token)
    await ujs_jobs.force_delete(service.engine, caller, started_by, job)


def _read(call: Any, values: Any = "one") -> Method:
    """A question after one job, which the job itself may ask too."""
    return Method(call, (str,), job_token="always", values=values)


METHODS: dict[str, Method] = {
    f"UserAndJobState.{name}": method
    for name, method in {
        "ver": Method(ver, auth="none"),
        "status": Method(status, auth="none"),
        "create_job": Method(create_job),
        "create_job2": Method(create_job2, (dict,)),
        "start_job": Method(start_job, (str, str, str, str, dict, str), values="none"),
        "create_and_start_job": Method(create_and_start_job, (str, str, str, dict, str)),
        "update_job_progress": Method(
            update_job_progress, (str, str, str, int, str), values="none"
        ),
        "update_job": Method(update_job, (str, str, str, str), values="none"),
        "complete_job": Method(complete_job, (str, str, str, str, dict), values="none"),
        "cancel_job": Method(cancel_job, (str, str), values="none"),
        "get_job_description": _read(get_job_description, "many"),
        "get_job_status": _read(get_job_status, "many"),
        "get_job_info": _read(get_job_info),
        "get_job_info2": _read(get_job_info2),
        "get_results": _read(get_results),
        "get_detailed_error": _read(get_detailed_error),
        "list_jobs": Method(list_jobs, (list, str)),
        "list_jobs2": Method(list_jobs2, (dict,)),
        "list_job_services": Method(list_job_services),
        "share_job": Method(share_job, (str, list), values="none"),
        "unshare_job": Method(unshare_job, (str, list), values="none"),
        "get_job_owner": _read(get_job_owner),
        "get_job_shared": Method(get_job_shared, (str,)),
        "delete_job": Method(delete_job, (str,), values="none"),
        "force_delete_job": Method(force_delete_job, (str, str), values="none"),
        **STATE_METHODS,
    }.items()
}
