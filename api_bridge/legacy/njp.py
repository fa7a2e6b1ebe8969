"""NarrativeJobProxy: reads for those with whom a narrative was shared.

It asked the other services with an account of its own, to which all jobs were shared. Here the
caller's own rights reach as far, so it shows nothing that the caller may not see.
"""

from __future__ import annotations

from typing import Any

from api_bridge.legacy.njs import check_job, get_job_logs
from api_bridge.service import Method, Service
from ee2_jobs.identity import Caller
from ee2_jobs.legacy.njs_states import app_state
from ee2_jobs.legacy.records import find_viewable, ujs_time, ujs_view
from ee2_jobs.model import Document

VERSION = "0.0.2"


async def ver(service: Service, caller: Caller) -> str:
    """The version of the service that is answered for."""
    return VERSION


async def get_detailed_error(service: Service, caller: Caller, job_id: Any) -> str:
    """What a job failed with; the empty string if it did not, for this must be a string.

    Right: read the job.
    """
    job, side = await find_viewable(service.engine, caller, job_id)
    return ujs_view(job, side).detailed_error or ""


async def get_job_info(service: Service, caller: Caller, job_id: Any) -> list[Any]:
    """The 14 values of UserAndJobState's get_job_info, as one value.

    Right: read the job.
    """
    job, side = await find_viewable(service.engine, caller, job_id)
    view = ujs_view(job, side)
    return [
        view.job_id, view.service, view.stage, ujs_time(view.started_s), view.status,
        ujs_time(view.updated_s), view.prog, view.max_prog, view.ptype,
        ujs_time(view.est_complete_s), view.complete, view.error, view.description, view.results,
    ]  # fmt: skip


async def check_app_state(service: Service, caller: Caller, job_id: Any) -> Document:
    """The job as an app of one step.

    Result: `{job_id, job_state, running_step_id, step_outputs, step_errors, step_job_ids}`; the
    last three are mappings by step, outputs as JSON in a text.
    Right: read the job.
    """
    return app_state(await check_job(service, caller, job_id))


_NAME = "NarrativeJobProxy"
NJP_METHODS: dict[str, Method] = {
    f"{_NAME}.ver": Method(ver, auth="none"),
    f"{_NAME}.get_detailed_error": Method(get_detailed_error, (str,)),
    f"{_NAME}.get_job_info": Method(get_job_info, (str,)),
    f"{_NAME}.check_app_state": Method(check_app_state, (str,)),
    f"{_NAME}.get_job_logs": Method(get_job_logs, (dict,)),
}
