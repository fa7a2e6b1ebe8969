"""The methods by which the owner of a job shares it with named users."""

from __future__ import annotations

from api_bridge.params import Params, is_as_admin
from api_bridge.service import Method, Service
from ee2_jobs import sharing
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.requests import required


async def share_job(service: Service, caller: Caller, params: Params) -> None:
    """Let users read a job that is in no workspace; of a batch, its jobs too.

    Fields: `job_id`, `users` (list of names), `right` (`read` or `manage`; without it they may
    read, and who manages it goes on managing it), `as_admin` = 0.
    Right: the job's owner.
    """
    right = params.get("right")
    if right not in (None, "read", "manage"):
        raise InvalidInput("right must be read or manage")
    await sharing.share(
        service.engine,
        service.identity,
        caller,
        required(params, "job_id"),
        required(params, "users"),
        right=right,
        as_admin=is_as_admin(params),
    )


async def unshare_job(service: Service, caller: Caller, params: Params) -> None:
    """Let users no longer read it.

    Fields: `job_id`, `users`, `as_admin` = 0.
    Right: the job's owner.
    """
    await sharing.unshare(
        service.engine,
        service.identity,
        caller,
        required(params, "job_id"),
        required(params, "users"),
        as_admin=is_as_admin(params),
    )


async def get_job_shared(service: Service, caller: Caller, params: Params) -> list[str]:
    """With whom a job is shared.

    Fields: `job_id`, `as_admin` = 0.
    Result: the names of the users.
    Right: the job's owner.
    """
    found = await sharing.shared_with(
        service.engine, caller, required(params, "job_id"), as_admin=is_as_admin(params)
    )
    return list(found)


SHARING_METHODS: dict[str, Method] = {
    "execution_engine2.share_job": Method(
        share_job, (dict,), audited="as_admin", values="none"
    ),
    "execution_engine2.unshare_job": Method(
        unshare_job, (dict,), audited="as_admin", values="none"
    ),
    "execution_engine2.get_job_shared": Method(get_job_shared, (dict,)),
}
