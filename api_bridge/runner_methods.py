"""The methods of runners and apps: claim, report, finish, save_object. Only a job's own token may
call them, for that job.

The protocol is described in `docs/reference/methods.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api_bridge.service import Method, Service
from ee2_jobs import objects, runs
from ee2_jobs.errors import Denied, InvalidInput, shown
from ee2_jobs.identity import Caller
from ee2_jobs.requests import required

Params = Mapping[str, Any]


def _own(caller: Caller, params: Params) -> tuple[str, str]:
    """(job id, claim id) of a call, if the token is that job's."""
    job_id = required(params, "job_id")
    if caller.job is None:
        raise Denied("The methods of ee2_runner need the token of the job, not a user's")
    if caller.job != job_id:
        raise Denied(f"The token of job {caller.job} may not be used for job {job_id}")
    return caller.job, _text(params, "claim")


def _text(params: Params, field: str) -> str:
    value = required(params, field)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{field} must be a string that is not empty")
    return value


def _text_or_none(params: Params, field: str) -> str | None:
    return None if params.get(field) is None else _text(params, field)


async def claim(service: Service, caller: Caller, params: Params) -> Any:
    """The runner takes the job, which is `running` then.

    Fields: `job_id`; `claim`: a word that is fresh for every start of the runner; `scheduler_id`;
    `starts` = 1: how often HTCondor has started the job; `host`; `where`: more of where it runs,
    words by the names `slot`, `group`, `cluster`, `route`, `batch_id`.
    Result: `{"proceed": true, job, app, limits, config, delegate, artifacts_url, submission_id,
    heartbeat_s, log_flush_s, …}`, or `{"proceed": false, reason}`.
    """
    job_id, claim_id = _own(caller, params)
    starts = params.get("starts", 1)
    if not isinstance(starts, int) or not 0 <= starts < 2**31:
        raise InvalidInput(f"starts must be a whole number from 0 on, not {shown(starts)}")
    return await runs.claim(
        service.engine,
        job_id,
        claim_id=claim_id,
        scheduler_id=_text_or_none(params, "scheduler_id"),
        starts=starts,
        host=str(params.get("host") or ""),
        where=params.get("where"),
    )


async def report(service: Service, caller: Caller, params: Params) -> Any:
    """Log lines, and a sign of life.

    Fields: `job_id`, `claim`; `lines` as of add_job_logs; `key`: lines that come again with the
    same key are stored once.
    Result: `{canceled, reason, limits}`: whether to stop; if not, `limits` has `time_s` and
    `time_rule` as they are now.
    """
    job_id, claim_id = _own(caller, params)
    answer = await runs.report(
        service.engine,
        job_id,
        claim_id=claim_id,
        key=_text_or_none(params, "key"),
        lines=params.get("lines"),
    )
    if not answer["canceled"]:
        service.memory.note_seen(job_id)
    return answer


async def finish(service: Service, caller: Caller, params: Params) -> None:
    """How the job ended. Repeating it changes nothing.

    Fields: `job_id`, `claim`, `key`, `lines`; `output`, or `error` with `error_code` = 1; `usage`.
    """
    job_id, claim_id = _own(caller, params)
    await runs.finish_run(service.engine, job_id, params, claim_id=claim_id)


async def save_object(service: Service, caller: Caller, params: Params) -> dict[str, str]:
    """An app saves an object in its job's workspace, for the job's owner. Needs no claim: the app
    has the job's token and nothing else.

    Fields: `job_id`, `name`, `type`, `data`, `meta`.
    Result: `{ref}`.
    """
    job_id = required(params, "job_id")
    if caller.job is None or caller.job != job_id:
        raise Denied("Only a job itself may save objects this way, with its own token")
    return {"ref": await objects.save_object(service.engine, caller.job, params)}


RUNNER_METHODS: dict[str, Method] = {
    "ee2_runner.claim": Method(claim, (dict,), job_token="always"),
    "ee2_runner.report": Method(report, (dict,), job_token="always"),
    "ee2_runner.finish": Method(finish, (dict,), job_token="always"),
    "ee2_runner.save_object": Method(save_object, (dict,), job_token="live"),
}
