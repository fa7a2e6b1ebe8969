"""Use cases of administrators and of automation that set a record right by hand."""

from __future__ import annotations

import re
from typing import Any

from ee2_jobs import logs
from ee2_jobs.checks import find_job, job_state
from ee2_jobs.controls import controls
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, NotFound, WrongState, shown
from ee2_jobs.identity import Caller
from ee2_jobs.limits.users import user_limits
from ee2_jobs.model import LIVE, TERMINAL, WAITING, Document, ErrorCode, Status, job_oid, now_s
from ee2_jobs.rights import Level, require_admin
from ee2_jobs.runs import end, failed

_SCHEDULER_ID = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
HELD = "Job was held"
HELD_TEXT = "Job was terminated by automation due to an unexpected error. Please resubmit."


async def force_status(engine: Engine, caller: Caller, job_id: Any, status: Any) -> str:
    """Set a job's status, whatever it was (EE2's update_job_status); returns the job's id.

    For full administrators only: EE2 let everybody with write access revive and end jobs past all
    rules (D13). A live job that is forced into an end gets `finished` and leaves the pool; nothing
    else is touched.
    """
    require_admin(caller, Level.WRITE)
    if not job_id or not status:
        raise InvalidInput("Please provide both job_id and status")
    if status not in list(Status):
        raise InvalidInput(f"status must be one of {', '.join(Status)}, not {shown(status)}")
    job = await find_job(engine.store, job_oid(job_id))
    now = now_s()
    changes: Document = {"status": status, "updated": now}
    done = 0
    if status in TERMINAL:
        ended = await engine.store.jobs.update_one(
            {"_id": job["_id"], "status": {"$in": list(LIVE)}},
            {"$set": {**changes, "finished": now, "remove": True}},
        )
        done = ended.modified_count
    if not done:
        await engine.store.jobs.update_one({"_id": job["_id"]}, {"$set": changes})
    return str(job["_id"])


async def end_held_job(engine: Engine, caller: Caller, scheduler_id: Any) -> Document:
    """End the job that HTCondor holds under this id, in `error` with code 2, with a line in its
    log; returns the record as a JobState with `_id`. One that has ended is returned as it is.

    scheduler_id: `cluster.proc`, or `cluster` where only one job of the cluster can be meant.
    WrongState for a job that has not run and that a rule of the engine may hold back (a limit, a
    window, a pause): such jobs wait in HTCondor's queue on hold. For full administrators
    (`ee2-api` 2.25).
    """
    require_admin(caller, Level.WRITE)
    job = await _held(engine, str(scheduler_id or "").strip(), scheduler_id)
    if job["status"] in WAITING and "claim" not in job:
        why = await _waits_for(engine, job)
        if why is not None:
            raise WrongState(
                f"Job {job['_id']} is held by the engine and waits for its turn: {why}. Cancel it "
                "if it is not wanted"
            )
    fields: Document = {"name": HELD, "code": 2, "message": HELD_TEXT, "error": HELD_TEXT}
    ending = failed(HELD, int(ErrorCode.TERMINATED_BY_AUTOMATION), fields)
    if await end(engine, {"_id": job["_id"]}, ending, {"remove": True}):
        line = logs.Line(HELD_TEXT, is_error=True, time_s=now_s())
        await logs.append(engine.store, job["_id"], [line], f"held.{job['_id']}")
    job = await find_job(engine.store, job["_id"])
    return {**job_state(job), "_id": str(job["_id"])}


async def _waits_for(engine: Engine, job: Document) -> str | None:
    """The rule by which the engine itself may hold a job that has not run; None if none does."""
    query = {"_id": job.get("submission"), "window": {"$exists": True}}
    submission = await engine.store.submissions.find_one(query, {"window": 1})
    if submission is not None:
        return f"of its batch, at most {submission['window']} jobs run at a time"
    switched = await controls(engine.store)
    if switched.paused is not None:
        return "the engine is paused"
    wanted = (job.get("job_input") or {}).get("requirements") or {}
    group = wanted.get("clientgroup") or engine.groups.default
    if group in switched.drained:
        return f"the client group {group} is drained"
    limit = (await user_limits(engine.store)).of(job["user"])
    if limit is not None:
        return f"of {job['user']}'s jobs, at most {limit} run at a time"
    return None


async def _held(engine: Engine, wanted: str, given: Any) -> Document:
    """The job with this id of the scheduler; of several, the one that is live."""
    jobs: list[Document] = []
    if _SCHEDULER_ID.fullmatch(wanted):
        cluster, dot, proc = wanted.partition(".")
        query: Document = {"scheduler_id": wanted}
        if not dot:
            # "5." <= "5.17" < "5/": the ids of one cluster, by the index.
            procs = {"$gte": f"{cluster}.", "$lt": f"{cluster}/"}
            query = {"$or": [query, {"scheduler_id": procs}]}
        elif int(proc) == 0:
            # EE2's own records hold the cluster alone.
            query = {"scheduler_id": {"$in": [wanted, cluster]}}
        fields = {"status": 1, "scheduler_id": 1, "submission": 1, "claim.id": 1, "user": 1,
                  "job_input.requirements": 1}
        live = {**query, "status": {"$in": list(LIVE)}}
        jobs = await engine.store.jobs.find(live, fields).limit(2).to_list()
        if not jobs:
            jobs = await engine.store.jobs.find(query, fields).sort("_id", -1).limit(1).to_list()
    if not jobs:
        raise NotFound(f"Cluster id of {given}: no job has it")
    if len(jobs) > 1:
        raise InvalidInput(
            f"Cluster id of {given}: several jobs of this cluster are live, such as "
            f"{jobs[0]['scheduler_id']} and {jobs[1]['scheduler_id']}: give cluster.proc"
        )
    return jobs[0]
