"""The methods on the children of a batch."""

from __future__ import annotations

from typing import Any

from api_bridge.params import Params, code_of_cancel, is_as_admin, retried_answer
from api_bridge.service import Method, Service
from ee2_jobs import batches
from ee2_jobs.identity import Caller
from ee2_jobs.requests import required


async def abandon_children(service: Service, caller: Caller, params: Params) -> dict[str, Any]:
    """Take children off a batch; the ids of those that are left."""
    batch_id = required(params, "batch_id")
    left = await batches.abandon_children(
        service.engine,
        caller,
        batch_id,
        required(params, "child_job_ids"),
        as_admin=is_as_admin(params),
    )
    return {"batch_id": batch_id, "child_job_ids": left}


async def cancel_batch_jobs_by_status(
    service: Service, caller: Caller, params: Params
) -> list[str]:
    """Cancel the children that are in one of the states; their ids."""
    return await batches.cancel_by_status(
        service.engine,
        caller,
        required(params, "job_id"),
        required(params, "status_list"),
        terminated_code=code_of_cancel(params),
        as_admin=is_as_admin(params),
    )


async def retry_batch_jobs_by_status(
    service: Service, caller: Caller, params: Params
) -> list[dict[str, Any]]:
    """Retry the children that ended in one of the states; one answer per job."""
    done = await batches.retry_by_status(
        service.engine,
        caller,
        required(params, "job_id"),
        required(params, "status_list"),
        as_admin=is_as_admin(params),
    )
    return [retried_answer(one) for one in done]


BATCH_METHODS: dict[str, Method] = {
    f"execution_engine2.{call.__name__}": Method(call, (dict,), audited="as_admin")
    for call in (abandon_children, cancel_batch_jobs_by_status, retry_batch_jobs_by_status)
}
