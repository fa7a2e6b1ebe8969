"""The methods on the children of a batch."""

from __future__ import annotations

from typing import Any

from api_bridge.params import Params, code_of_cancel, is_as_admin, retried_answer
from api_bridge.service import Method, Service
from ee2_jobs import batches, priority
from ee2_jobs.identity import Caller
from ee2_jobs.requests import required


async def abandon_children(service: Service, caller: Caller, params: Params) -> dict[str, Any]:
    """Take children off a batch. They run on, and a cancel of the batch does not reach them.

    Fields: `batch_id`, `child_job_ids`, `as_admin` = 0.
    Result: `{batch_id, child_job_ids}`: those that are left.
    Right: write the batch.
    """
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
    """Cancel the children of a batch that are in one of the states; the batch itself is not
    cancelled.

    Fields: `job_id` (the batch's); `status_list`: any of `created`, `estimating`, `queued`,
    `running`; `terminated_code` = 0 (an administrator's 1); `as_admin` = 0.
    Result: the ids of those that were ended.
    Right: write the batch.
    """
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
    """Run again, in one submission, the children of a batch that ended in one of the states. Of a
    child with retries the newest one counts; a child that is live or has completed is left out.

    Fields: `job_id` (the batch's); `status_list`: `error`, `terminated` or both; `as_admin` = 0.
    Result: per job `{job_id, retry_id}` or `{job_id, error}`.
    Right: write the batch and the jobs.
    """
    done = await batches.retry_by_status(
        service.engine,
        caller,
        required(params, "job_id"),
        required(params, "status_list"),
        as_admin=is_as_admin(params),
    )
    return [retried_answer(one) for one in done]


async def set_priority(service: Service, caller: Caller, params: Params) -> dict[str, int]:
    """Change the priority of a waiting job, or of all waiting jobs of a batch.

    Fields: `job_id`; `priority`: whole number, -20 to 20, higher first; `as_admin` = 0.
    Result: `{changed}`: how many jobs.
    Right: write the job, to lower it; full administrators, to raise it.
    """
    count = await priority.set_priority(
        service.engine,
        caller,
        required(params, "job_id"),
        required(params, "priority"),
        as_admin=is_as_admin(params),
    )
    return {"changed": count}


BATCH_METHODS: dict[str, Method] = {
    f"execution_engine2.{call.__name__}": Method(call, (dict,), audited="as_admin")
    for call in (
        abandon_children,
        cancel_batch_jobs_by_status,
        retry_batch_jobs_by_status,
        set_priority,
    )
}
