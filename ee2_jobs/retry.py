"""Use case: retry jobs. All jobs of one call become one submission, so that 100 retries are one
submission to the scheduler.

The tree is flat, as in EE2: every retry points to the first job (the root) by `retry_parent`, and
the root lists them in `retry_ids`. At most one attempt of a job is live.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from ee2_jobs import user_tokens
from ee2_jobs.browse.batch_ends import reopen
from ee2_jobs.checks import require_few
from ee2_jobs.engine import Engine
from ee2_jobs.errors import EngineError, InvalidInput, WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.limits.gate import admit
from ee2_jobs.limits.time import TimeRules, base_on
from ee2_jobs.model import LIVE, Document, StageName, Status, job_oid, now_s
from ee2_jobs.plan import shape_of
from ee2_jobs.rights import (
    Level,
    denied,
    in_workspace,
    named_right,
    not_found,
    permitted,
    require_admin,
)
from ee2_jobs.store import Store
from ee2_jobs.submissions import ensure_shape, insert_many, submission_document

RETRYABLE = (Status.ERROR.value, Status.TERMINATED.value)


@dataclass(frozen=True)
class Retried:
    """What became of one id: the root's id and the new job's, or the error."""

    job_id: Any
    retry_id: str | None = None
    error: EngineError | None = None


Within = Callable[[AsyncClientSession | None, Sequence[Retried]], Awaitable[None]]
"""What is written in one transaction with new attempts; the answers have no `retry_id` yet. Without
a session if there are none."""


async def retry_jobs(
    engine: Engine, caller: Caller, job_ids: Any, *, as_admin: bool = False
) -> list[Retried]:
    """Retry jobs in `error` or `terminated`; one answer per id, in order. What is wrong with one id
    stops no other. InvalidInput for an empty list or an id given twice."""
    if not isinstance(job_ids, list) or not job_ids:
        raise InvalidInput("No job_ids provided to retry")
    require_few(job_ids, "job_ids")
    twice = sorted(j for j, n in Counter(str(j) for j in job_ids).items() if n > 1)
    if twice:
        raise InvalidInput(
            "Retry of the same id in the same request is not supported. "
            f"Offending ids: {twice} "
        )
    if as_admin:
        require_admin(caller, Level.WRITE)
    return await _until_done(engine, caller, job_ids, as_admin, None)


async def retry_allowed(
    engine: Engine, caller: Caller, job_ids: Sequence[str], within: Within
) -> list[Retried]:
    """The same for different jobs that the caller was found to have the right to."""
    return await _until_done(engine, caller, job_ids, True, within)


async def _until_done(
    engine: Engine, caller: Caller, job_ids: Sequence[Any], as_admin: bool, within: Within | None
) -> list[Retried]:
    while True:
        try:
            return await _retry(engine, caller, job_ids, as_admin, within)
        except _Overtaken:
            pass  # what the other call started is among the live attempts now


class _Overtaken(Exception):
    """Another call has started an attempt of one of the jobs since they were looked at."""


async def _retry(
    engine: Engine, caller: Caller, job_ids: Sequence[Any], as_admin: bool, within: Within | None
) -> list[Retried]:
    jobs = await _load(engine.store, job_ids)
    if not as_admin:
        # What may not be read is as if it were not there, from here on.
        readable = await permitted(engine, caller, jobs.values(), Level.READ, job_ids)
        jobs = {job_id: job for job_id, job in jobs.items() if job_id in readable}
    roots = await _load(engine.store, [j.get("retry_parent") for j in jobs.values()])
    roots = {**jobs, **roots}
    related = [*jobs.values(), *(r for k, r in roots.items() if k not in jobs)]
    parents = await _load(engine.store, [j.get("batch_id") for j in related])
    attempts = await _live_attempts(engine.store, related)
    writable = None
    if not as_admin:
        everything = {str(j["_id"]): j for j in [*related, *parents.values()]}
        writable = await permitted(engine, caller, everything.values(), Level.MANAGE)
    answers: list[Retried] = []
    chosen: list[tuple[int, Document]] = []
    for job_id in job_ids:
        try:
            root = _retryable(job_id, jobs, roots, attempts, writable, caller)
            root = _shared_back(root, jobs[str(job_oid(job_id))], caller.user)
            if any(str(r["_id"]) == str(root["_id"]) for _, r in chosen):
                raise InvalidInput(
                    f"Job {job_id} is an attempt of job {root['_id']}, which this request "
                    "retries already"
                )
            chosen.append((len(answers), root))
            answers.append(Retried(job_id))
        except EngineError as e:
            answers.append(Retried(job_id, error=e))
    if chosen:

        async def also(session: AsyncClientSession) -> None:
            if within is not None:
                await within(session, answers)

        new_jobs = await _launch(engine, caller, [root for _, root in chosen], also)
        for (place, root), job in zip(chosen, new_jobs, strict=True):
            answers[place] = Retried(str(root["_id"]), str(job["_id"]))
    elif within is not None:
        await within(None, answers)
    return answers


async def _load(store: Store, ids: Sequence[Any]) -> dict[str, Document]:
    oids = [ObjectId(i) for i in ids if isinstance(i, str) and ObjectId.is_valid(i)]
    found = await store.jobs.find({"_id": {"$in": oids}}).to_list() if oids else []
    return {str(job["_id"]): job for job in found}


async def _live_attempts(store: Store, jobs: Sequence[Document]) -> dict[str, Document]:
    """Per root, an attempt that is still to run or running."""
    ids = [str(j.get("retry_parent") or j["_id"]) for j in jobs]
    found = store.jobs.find(
        {"retry_parent": {"$in": ids}, "status": {"$in": list(LIVE)}},
        {"retry_parent": 1, "status": 1},
    )
    return {job["retry_parent"]: job async for job in found}


def _retryable(
    job_id: Any,
    jobs: dict[str, Document],
    roots: dict[str, Document],
    attempts: dict[str, Document],
    writable: set[str] | None,
    caller: Caller,
) -> Document:
    """The root to run again for this id, or the error that says why not (EE2's texts)."""
    key = str(job_oid(job_id))
    job = jobs.get(key)
    if job is None:
        raise not_found(job_id)
    if writable is not None:
        for needed in (key, job.get("batch_id")):
            if needed is not None and needed not in writable:
                raise denied(caller, needed)
    if job.get("batch_job"):
        raise InvalidInput("Cannot retry batch job parents. Must retry individual jobs")
    root = roots.get(str(job.get("retry_parent") or key), job)
    if job["status"] not in RETRYABLE:
        raise WrongState(
            f"Error retrying job {job_id} with status {job['status']}: can only retry jobs with "
            "status 'error' or 'terminated'"
        )
    if not root.get("job_input"):
        raise InvalidInput(
            f"Job {job_id} cannot be retried: another service ran it, and only told this one about "
            "it. Start it again there"
        )
    live = attempts.get(str(root["_id"]))
    if live is not None:
        raise WrongState(
            f"Error retrying job {job_id}: its retry {live['_id']} is still {live['status']}"
        )
    if root.get("role") == StageName.SPLIT.value:
        raise WrongState(
            f"Job {job_id} is the split step of batch {root.get('batch_id')}: start the batch again"
        )
    return root


def _shared_back(root: Document, job: Document, user: str) -> Document:
    """The root as a new attempt takes it over, which `user` makes of `job`. If he may do so because
    the owner lets him manage the job, the attempt is his, and the owner manages that."""
    owner = root["user"]
    by_name = named_right(job, user) == "m" or named_right(job, owner) == "m"
    if owner == user or in_workspace(root) or not by_name:
        return root
    names = {f: sorted({*root.get(f, ()), owner} - {user}) for f in ("shared", "managers")}
    return {**root, **names}


def attempt_document(
    root: Document,
    *,
    user: str,
    submission: str,
    stage: StageName = StageName.SUBMIT,
    try_number: int = 1,
    rules: TimeRules,
) -> Document:
    """A new attempt of a job, to be run by `stage` of `submission`: the root's inputs, the same
    code version, the same requirements; the time limit by the rules of now."""
    kept = ("wsid", "authstrat", "shared", "managers", "batch_id", "job_requirements", "priority",
            "level", "by_job")
    job: Document = {k: root[k] for k in kept if k in root}
    job_input = dict(root["job_input"])
    job_input.setdefault("params", {})
    return {
        "_id": ObjectId(),
        **job,
        "user": user,
        "status": Status.CREATED.value,
        "updated": now_s(),
        "batch_job": False,
        "child_jobs": [],
        "retry_ids": [],
        "retry_parent": str(root.get("retry_parent") or root["_id"]),
        "retry_saved_toggle": True,
        "job_input": job_input,
        "submission": submission,
        "role": root.get("role", StageName.SUBMIT.value),
        "stage": stage.value,
        "index": root.get("index", 0),
        "try": try_number,
        **rules.fields(user, job_input["method"], base_on(root)),
    }


async def link_attempts(
    store: Store, new_jobs: Sequence[Document], session: AsyncClientSession
) -> None:
    """Insert new attempts, and tell their roots and their batches' parents."""
    await insert_many(store, new_jobs, session)
    now = now_s()
    updates = []
    for job in new_jobs:
        root, new_id = job["retry_parent"], str(job["_id"])
        updates += [
            UpdateOne(
                {"_id": ObjectId(root)},
                {"$push": {"retry_ids": new_id}, "$set": {"superseded": True, "updated": now}},
            ),
        ]
    await store.jobs.update_many(
        {"retry_parent": {"$in": [j["retry_parent"] for j in new_jobs]},
         "_id": {"$nin": [j["_id"] for j in new_jobs]}},
        {"$set": {"superseded": True}},
        session=session,
    )
    await store.jobs.bulk_write(updates, ordered=False, session=session)
    by_batch: dict[str, list[str]] = {}
    for job in new_jobs:
        if job.get("batch_id") and job["role"] == StageName.SUBMIT.value:
            by_batch.setdefault(job["batch_id"], []).append(str(job["_id"]))
    for batch_id, ids in by_batch.items():
        await store.jobs.update_one(
            {"_id": ObjectId(batch_id)},
            {"$push": {"child_jobs": {"$each": ids}}, "$set": {"updated": now}},
            session=session,
        )
    await reopen(store, {j["batch_id"] for j in new_jobs if j.get("batch_id")}, session)


async def _launch(
    engine: Engine,
    caller: Caller,
    roots: Sequence[Document],
    also: Callable[[AsyncClientSession], Awaitable[None]],
) -> list[Document]:
    """New attempts of the roots, as one submission whose id is the first attempt's. also: what else
    is written in its transaction."""
    methods = {root["job_input"]["method"] for root in roots}
    shape = shape_of("job" if len(roots) == 1 else "batch", methods)
    await ensure_shape(engine.store, shape)
    rules = await admit(
        engine.store,
        caller.user,
        [root["job_input"].get("requirements") or {} for root in roots],
        methods,
        name=lambda n: f"Job {roots[n]['_id']}: {roots[n]['job_input']['method']}",
        most_waiting=engine.settings.max_waiting_jobs,
    )
    new_jobs = [
        attempt_document(root, user=caller.user, submission="", rules=rules) for root in roots
    ]
    submission_id = str(new_jobs[0]["_id"])
    for job in new_jobs:
        job["submission"] = submission_id
    submission = submission_document(submission_id, user=caller.user, shape=shape)
    submission |= user_tokens.sealed(engine.settings, caller)

    live = {
        "retry_parent": {"$in": [job["retry_parent"] for job in new_jobs]},
        "status": {"$in": list(LIVE)},
    }

    async def write(session: AsyncClientSession) -> None:
        # Of two transactions that both change a root one is run again: it finds the other's here.
        if await engine.store.jobs.find_one(live, {"_id": 1}, session=session) is not None:
            raise _Overtaken
        await engine.store.submissions.insert_one(submission, session=session)
        await link_attempts(engine.store, new_jobs, session)
        await also(session)

    await engine.store.transaction(write)
    engine.orchestrator.start([submission_id])
    return new_jobs
