"""Use cases of a run on a node: claim, start, log, finish.

The engine's own runner claims the job's attempt before it starts the app, so that a job which
HTCondor runs twice (a lost node, a crash of the schedd) is completed once. KBase's JobRunner uses
EE2's start_job and finish_job instead; both end in the same conditional updates.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bson
from bson import ObjectId

from ee2_jobs import logs, user_tokens
from ee2_jobs.catalog import method_of
from ee2_jobs.checks import error_mapping, find_job, runnable
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, WrongState, shown
from ee2_jobs.identity import Caller
from ee2_jobs.model import (
    LIVE,
    TERMINAL,
    WAITING,
    Document,
    ErrorCode,
    Status,
    job_oid,
    now_s,
)
from ee2_jobs.requests import storable
from ee2_jobs.rights import Level, find_permitted

MAX_OUTPUT_BYTES = 12_000_000
MAX_MESSAGE_LETTERS = 100_000
WHERE, MAX_WHERE_LETTERS = ("slot", "group", "cluster", "route", "batch_id"), 200
HEARTBEAT_S = 4
LOG_FLUSH_S = 1


async def start_job(
    engine: Engine,
    caller: Caller,
    job_id: Any,
    *,
    skip_estimation: bool = True,
    as_admin: bool = False,
) -> None:
    """EE2's start_job: a waiting job becomes `running` (or `estimating` first, if asked for)."""
    job = await find_permitted(
        engine,
        caller,
        job_id,
        Level.WRITE,
        as_admin=as_admin,
        null_message="Please provide valid job_id",
    )
    _refuse_parent(job)
    while True:
        if job["status"] not in WAITING:
            raise WrongState(
                f"Unexpected job status for {job['_id']}: {job['status']}.  You cannot start a job "
                "that is not in ['created', 'queued', 'estimating']"
            )
        run = skip_estimation or job["status"] == Status.ESTIMATING.value
        status = Status.RUNNING if run else Status.ESTIMATING
        now = now_s()
        done = await engine.store.jobs.update_one(
            {"_id": job["_id"], "status": job["status"]},
            {"$set": {"status": status.value, status.value: now, "updated": now}},
        )
        if done.modified_count:
            return
        job = await find_job(engine.store, job["_id"])


def _refuse_parent(job: Document) -> None:
    """A batch's parent runs nothing: it stays `created` until it is cancelled (rule C-10)."""
    if job.get("batch_job"):
        raise WrongState(f"Job {job['_id']} is the parent of a batch, which runs nothing")


@dataclass(frozen=True)
class Ending:
    """How a job ended, as the fields of its record."""

    status: Status
    fields: Document


def failed(message: str, code: int, error: Any = None) -> Ending:
    """An ending in `error`. An `error` that is no mapping becomes EE2's of four keys: the browser
    breaks on a string (rule C-16). What cannot be stored is left out: the job has ended all the
    same."""
    if len(message) > MAX_MESSAGE_LETTERS:
        message = f"{message[:MAX_MESSAGE_LETTERS]} … (cut)"
    fields: Document = {"errormsg": message, "error_code": code}
    problem = _not_storable(error, "error")
    if problem is None and error is not None:
        error = error_mapping(error, code)
        problem = _not_storable(error, "error")
    if problem is not None:
        error = {
            "name": "Error",
            "code": code,
            "message": message,
            "error": f"The app's own account of its error was not kept: {problem}",
        }
    if error is not None:
        fields["error"] = error
    return Ending(Status.ERROR, fields)


def _not_storable(value: Any, field: str) -> str | None:
    """Why MongoDB cannot hold a value in a record; None if it can."""
    try:
        size = len(bson.encode({"value": storable(value, field)}))
    except InvalidInput as e:
        return str(e)
    if size > MAX_OUTPUT_BYTES:
        return (
            f"it is {size / 1e6:.1f} MB large, and a record holds at most "
            f"{MAX_OUTPUT_BYTES / 1e6:g} MB: leave large results as artifacts"
        )
    return None


def completed(output: Any) -> Ending:
    """An ending from the content of an app's output: `completed`, or an error if it is no output.

    Output is {} or has `version` (string), `result` (not null) and `id` (24 hex, or absent).
    Raises InvalidInput if it is not a mapping: the record stays as it was.
    """
    if not isinstance(output, Mapping):
        raise InvalidInput("job_output must be a mapping")
    if not output:
        return Ending(Status.COMPLETED, {"job_output": {}})
    wrong = []
    if not isinstance(output.get("version"), str):
        wrong.append("version must be a string")
    if output.get("result") is None:
        wrong.append("result is missing")
    given_id = output.get("id")
    if given_id is not None and not ObjectId.is_valid(given_id):
        wrong.append(f"id '{given_id}' is not a job id")
    problem = _not_storable(dict(output), "job_output")
    if problem is not None:
        wrong.append(problem)
    if wrong:
        text = f"Something was wrong with the output object: {'; '.join(wrong)}"
        return failed(
            "Something was wrong with the output object",
            ErrorCode.MISSING_OUTPUT,
            {"code": -1, "name": "Output object is invalid", "message": text, "error": text},
        )
    return Ending(Status.COMPLETED, {"job_output": dict(output)})


def parse_ending(params: Mapping[str, Any]) -> Ending:
    """The ending that a finish_job call tells (the table of `ee2-api` 2.14)."""
    code = _error_code(params.get("error_code"))
    error = params.get("error")
    message = params.get("error_message")
    if message:
        return failed(str(message), ErrorCode.CRASHED if code is None else code, error)
    output = params.get("job_output")
    if output is None:
        text = (
            "Missing job output required in order to successfully finish job. "
            "Something went wrong"
        )
        number = int(ErrorCode.MISSING_OUTPUT if code is None else code)
        built = {"code": number, "name": text, "error": text, "message": text}
        return failed(text, number, built if error is None else error)
    return completed(output)


def _error_code(value: Any) -> int | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        return int(ErrorCode(int(value)))
    except (ValueError, TypeError):
        raise InvalidInput(
            f"error_code must be one of {', '.join(str(c.value) for c in ErrorCode)}, "
            f"not {shown(value)}"
        ) from None


async def end(
    engine: Engine, query: Document, ending: Ending, extra: Document | None = None
) -> bool:
    """End a live job that matches; False if it had ended already (whoever loses does nothing)."""
    now = now_s()
    done = await engine.store.jobs.update_one(
        {**query, "status": {"$in": list(LIVE)}},
        {
            "$set": {
                **ending.fields,
                **(extra or {}),
                "status": ending.status.value,
                "finished": now,
                "updated": now,
            }
        },
    )
    return bool(done.modified_count)


async def finish_job(
    engine: Engine, caller: Caller, job_id: Any, params: Mapping[str, Any], *, as_admin: bool
) -> None:
    """EE2's finish_job. WrongState with EE2's text if the job has ended."""
    job = await find_permitted(engine, caller, job_id, Level.WRITE, as_admin=as_admin)
    _refuse_parent(job)
    ending = parse_ending(params)
    if job["status"] in TERMINAL or not await end(engine, {"_id": job["_id"]}, ending):
        job = await find_job(engine.store, job["_id"])
        raise WrongState(f"Cannot finish job with a status of {job['status']}")
    if ending.fields.get("error_code") == ErrorCode.MISSING_OUTPUT and params.get("job_output"):
        raise InvalidInput(ending.fields["error"]["message"])


async def claim(
    engine: Engine,
    job_id: Any,
    *,
    claim_id: str,
    scheduler_id: str | None,
    starts: int,
    host: str,
    where: Any = None,
) -> Document:
    """The runner takes the job's attempt and gets all it needs; the job is `running` then.

    Returns the answer of `ee2_runner.claim` (`docs/reference/methods.md`): `proceed` false with a
    reason if the job has ended, or if another HTCondor job holds it. The same HTCondor job started
    again (HTCondor runs one at a time) takes over from its earlier start.
    """
    store = engine.store
    oid = job_oid(job_id)
    delegate = shlex.split(engine.settings.runner_delegate) or None
    now = now_s()
    changes: Document = {
        "claim": {
            "id": claim_id,
            "scheduler_id": scheduler_id,
            "starts": starts,
            "host": host,
            "at": now,
        },
        "where": {"host": host, **_where(where)},
        "updated": now,
    }
    if delegate is None:
        changes |= {"status": Status.RUNNING.value, "running": now}
    mine: list[Document] = [{"claim": {"$exists": False}}, {"claim.id": claim_id}]
    query: Document = {"_id": oid, "status": {"$in": list(LIVE)}}
    if scheduler_id is not None:
        mine.append({"claim.scheduler_id": scheduler_id})
        changes |= {"scheduler_id": scheduler_id, "scheduler_type": "condor"}
        query["$and"] = [
            {"$or": [{"scheduler_id": {"$exists": False}}, {"scheduler_id": scheduler_id}]}
        ]
    # Not find_one_and_update: for that MongoDB keeps a second copy of the record.
    done = await store.jobs.update_one({**query, "$or": mine}, {"$set": changes})
    job = await find_job(store, oid)
    if job["status"] in TERMINAL:
        return {"proceed": False, "reason": f"the job has ended already: {job['status']}"}
    if not done.matched_count or job["claim"]["id"] != claim_id:
        holder = job.get("claim", {}).get("scheduler_id") or job.get("scheduler_id")
        return {"proceed": False, "reason": f"the job is run by HTCondor job {holder}"}
    return await _answer(engine, job, delegate)


def _where(said: Any) -> dict[str, str]:
    """What a runner says of where it runs; what is no word of ours is left out."""
    if not isinstance(said, Mapping):
        return {}
    return {
        name: said[name][:MAX_WHERE_LETTERS]
        for name in WHERE
        if isinstance(said.get(name), str) and said[name].isprintable()
    }


async def _answer(engine: Engine, job: Document, delegate: list[str] | None) -> Document:
    what = await runnable(engine.store, job)
    module, _, function = what["method"].partition(".")
    app = await engine.catalog.app(module, what["service_ver"], function)
    method = method_of(app, function)
    if method.command is not None:
        folder = f"{engine.settings.apps_dir}/{app.folder}"
        how: Document = {"kind": "command", "command": list(method.command), "folder": folder}
    else:
        how = {"kind": "container", "image": method.image}
    how |= {"output": method.output, "artifacts": method.artifacts}
    wanted = job["job_input"].get("requirements") or {}
    settings = engine.settings
    user_token = None
    if settings.jobs_act_as_user:
        submission = await engine.store.submissions.find_one(
            {"_id": job.get("submission")}, {user_tokens.FIELD: 1}
        )
        user_token = user_tokens.opened(settings, submission)
    return {
        "proceed": True,
        "job": what,
        "app": how,
        "limits": {
            "time_s": job.get("time_limit_s"),
            "time_rule": job.get("time_limit_rule"),
            "memory_mb": wanted.get("memory"),
            "cpus": wanted.get("cpu"),
        },
        "client_group": wanted.get("clientgroup"),
        "config": {
            "kbase_endpoint": settings.services_base,
            "job_service_url": settings.rpc_url,
            "workspace_url": settings.workspace_address,
            "auth_service_url": f"{settings.auth_address}/api/legacy/KBase/Sessions/Login",
        },
        "delegate": delegate,
        "artifacts_url": f"{settings.rpc_url}/artifacts",
        "submission_id": job.get("submission"),
        "user_token": user_token,
        "heartbeat_s": HEARTBEAT_S,
        "log_flush_s": LOG_FLUSH_S,
    }


async def report(
    engine: Engine, job_id: Any, *, claim_id: str, key: str | None, lines: Any
) -> Document:
    """Log lines and sign of life of a runner; tells it whether to stop, and the limits that may
    change while the job runs."""
    oid = job_oid(job_id)
    if lines:
        await logs.append(engine.store, oid, logs.parse_lines(lines), key)
    fields = {"status": 1, "claim.id": 1, "time_limit_s": 1, "time_limit_rule": 1}
    job = await find_job(engine.store, oid, fields)
    if job["status"] in TERMINAL:
        return {"canceled": True, "reason": f"the job is {job['status']}"}
    holder = job.get("claim", {}).get("id")
    if holder is not None and holder != claim_id:
        return {"canceled": True, "reason": "another start of this job has taken over"}
    limits = {"time_s": job.get("time_limit_s"), "time_rule": job.get("time_limit_rule")}
    return {"canceled": False, "reason": None, "limits": limits}


async def finish_run(
    engine: Engine, job_id: Any, params: Mapping[str, Any], *, claim_id: str
) -> None:
    """The runner tells how the job ended. Repeating it with the same claim changes nothing; with a
    claim that is no longer the job's, nothing is stored but the log lines."""
    oid = job_oid(job_id)
    if params.get("lines"):
        await logs.append(engine.store, oid, logs.parse_lines(params["lines"]), params.get("key"))
    error = params.get("error")
    if error is not None:
        code = _error_code(params.get("error_code"))
        message = error.get("message") if isinstance(error, Mapping) else str(error)
        ending = failed(
            str(message or "The app failed"), ErrorCode.CRASHED if code is None else code, error
        )
    else:
        ending = completed(params.get("output") or {})
    extra: Document = {}
    usage = params.get("usage")
    if isinstance(usage, Mapping) and _not_storable(dict(usage), "usage") is None:
        extra["usage"] = dict(usage)
    query: Document = {"_id": oid, "claim.id": claim_id}
    if not await end(engine, query, ending, extra) and extra:
        # Cancelled meanwhile: what it used is worth keeping.
        await engine.store.jobs.update_one(
            {**query, "usage": {"$exists": False}}, {"$set": extra}
        )
