"""What running a stage means for the records.

A stage is run by one Airflow task; each try of the task owns the jobs that carry its try number. A
later try (the stage was cleared in Airflow) runs again what did not complete, as new attempts of
the same jobs, and leaves what completed alone. A try has one round of jobs; more only where failed
jobs are tried again within it (see rounds.py). Each round is one HTCondor cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bson import ObjectId
from pymongo import UpdateOne

from ee2_jobs.cancel import terminate
from ee2_jobs.client_groups import POOL_ROUTE
from ee2_jobs.errors import NotFound
from ee2_jobs.model import (
    LIVE,
    TERMINAL,
    Document,
    ErrorCode,
    OnChildError,
    StageName,
    Status,
    TerminatedCode,
    now_s,
)
from ee2_jobs.pool_records import engine_error
from ee2_jobs.stage_jobs import (
    make_attempts,
    make_children,
    mark,
    waits_for_children,
    was_cleared,
)
from ee2_jobs.store import Store

_CHUNK = 500


@dataclass(frozen=True)
class StageRun:
    """A round of a try of a stage, as its trigger sees it. `jobs` are the records still to run,
    without their inputs. `begun_s`: when somebody last began to submit the round's cluster (s,
    epoch). `rounds`: how many the try has had. `route`: by which the jobs go, None for all of the
    round's jobs; `routed`: whether it stands on their records (see routing.py).
    """

    submission: Document
    stage: StageName
    try_number: int
    jobs: tuple[Document, ...]
    begun_s: float | None
    round_number: int = 1
    rounds: int = 1
    route: str | None = None
    routed: bool = False

    @property
    def submission_id(self) -> str:
        """The submission's id."""
        return str(self.submission["_id"])

    def query(self) -> Document:
        """The records of the round's jobs. Those of a first round carry no number."""
        number = self.round_number if self.round_number > 1 else None
        query: Document = {
            "submission": self.submission_id,
            "stage": self.stage.value,
            "try": self.try_number,
            "round": number,
        }
        if self.route is not None and self.routed:
            pool = {"$in": [None, POOL_ROUTE]}
            query["where.route"] = pool if self.route == POOL_ROUTE else self.route
        return query

    def round_mark(self, name: str) -> str:
        """The name of a note on the submission about the round."""
        return name if self.round_number == 1 else f"{name}_{self.round_number}"

    def begun_mark(self) -> str:
        """The name of the note that the round's cluster is being submitted, for each route."""
        mark = self.round_mark("begun")
        return mark if self.route in (None, POOL_ROUTE) else f"{mark}@{self.route}"


@dataclass(frozen=True)
class StageEnd:
    """How a stage ended, with a sentence for the Airflow log and run note."""

    ok: bool
    message: str


async def open_stage(
    store: Store,
    submission_id: str,
    stage: StageName,
    try_number: int,
    max_jobs: int,
    round_number: int = 1,
    route: str | None = None,
) -> StageRun:
    """The jobs of a round of a try of a stage, of one route if it is given; the first round's are
    made if they are not there yet. Safe to repeat: a trigger that was killed and starts again finds
    what its predecessor made.

    Raises NotFound for an unknown submission, InvalidInput if the split's output is not usable.
    """
    submission = await store.submissions.find_one({"_id": submission_id})
    if submission is None:
        raise NotFound(f"There is no submission {submission_id}")
    marks = submission["tries"].get(f"{stage}", {}).get(str(try_number), {})
    if not marks.get("made"):
        if stage == StageName.SUBMIT and waits_for_children(submission):
            await make_children(store, submission, try_number, max_jobs)
        elif try_number > 1 or was_cleared(submission):
            await make_attempts(store, submission, stage, try_number)
    rounds = 1 + marks.get("more_rounds", 0)
    run = StageRun(submission, stage, try_number, (), None, round_number, rounds, route)
    run = replace(run, routed=bool(marks.get(run.round_mark("routed"))))
    jobs = await (
        store.jobs.find(
            {**run.query(), "status": {"$in": list(LIVE)}},
            {
                "job_input.method": 1,
                "job_input.requirements": 1,
                "time_limit_s": 1,
                "priority": 1,
                "level": 1,
                "status": 1,
                "scheduler_id": 1,
                "index": 1,
                "where.route": 1,
            },
        )
        .sort([("index", 1), ("_id", 1)])
        .to_list()
    )
    return replace(run, jobs=tuple(jobs), begun_s=marks.get(run.begun_mark()))


async def begin_submit(store: Store, run: StageRun) -> StageRun | None:
    """Note that the stage's cluster is about to be submitted. A trigger that finds the note (see
    `StageRun.begun_s`) looks for the cluster in the pool before it submits one.

    None if another trigger has begun since `run` was opened.
    """
    field = mark(run.stage, run.try_number, run.begun_mark())
    begun_s = now_s()
    done = await store.submissions.update_one(
        {"_id": run.submission_id, field: run.begun_s}, {"$set": {field: begun_s}}
    )
    return replace(run, begun_s=begun_s) if done.modified_count else None


async def record_cluster(
    store: Store, run: StageRun, scheduler_ids: Mapping[str, str]
) -> None:
    """The jobs are in HTCondor's queue: `created` becomes `queued`, and each job gets its scheduler
    id (`cluster.proc`), given by job id. Jobs cancelled meanwhile are marked for removal."""
    now = now_s()
    mine = run.query()
    queued = {"status": Status.QUEUED.value, "queued": now, "updated": now}
    cluster = _cluster_in_order(run, scheduler_ids)
    if cluster is not None:
        # One update instead of one per job, which for 10,000 jobs takes seconds.
        scheduler_id = {"$concat": [f"{cluster}.", {"$toString": "$index"}]}
        done = await store.jobs.update_many(
            {**mine, "status": Status.CREATED.value},
            [{"$set": {**queued, "scheduler_id": scheduler_id, "scheduler_type": "condor"}}],
        )
        matched = done.matched_count
    else:
        of_created = {"status": Status.CREATED.value}
        matched = await _set_ids(store, scheduler_ids, of_created, queued)
    if matched == len(scheduler_ids):
        return
    # Some left `created` before that: they run already, or have ended, or were cancelled.
    without = {"scheduler_id": {"$exists": False}}
    quick = [str(job["_id"]) async for job in store.jobs.find({**mine, **without}, {"_id": 1})]
    await _set_ids(store, {j: scheduler_ids[j] for j in quick if j in scheduler_ids}, without, {})
    await store.jobs.update_many(
        {**mine, "status": Status.TERMINATED.value, "scheduler_id": {"$exists": True}},
        {"$set": {"remove": True}},
    )
    await store.jobs.update_many(
        {**mine, "status": Status.RUNNING.value, "queued": {"$exists": False}},
        {"$set": {"queued": now}},
    )


def _cluster_in_order(run: StageRun, scheduler_ids: Mapping[str, str]) -> str | None:
    """The cluster, if it has all jobs of the try and the proc of each is its place in the stage."""
    cluster = next(iter(scheduler_ids.values())).partition(".")[0]
    if len(run.jobs) != len(scheduler_ids):
        return None
    for job in run.jobs:
        if scheduler_ids.get(str(job["_id"])) != f"{cluster}.{job.get('index')}":
            return None
    return cluster


async def _set_ids(
    store: Store, scheduler_ids: Mapping[str, str], condition: Document, more: Document
) -> int:
    """Set the scheduler ids, one update per job, where the condition holds; how many matched."""
    pairs, matched = list(scheduler_ids.items()), 0
    for start in range(0, len(pairs), _CHUNK):
        updates = [
            UpdateOne(
                {"_id": ObjectId(job_id), **condition},
                {"$set": {**more, "scheduler_id": sid, "scheduler_type": "condor"}},
            )
            for job_id, sid in pairs[start : start + _CHUNK]
        ]
        matched += (await store.jobs.bulk_write(updates, ordered=False)).matched_count
        await asyncio.sleep(0)
    return matched


async def submit_failed(
    store: Store, run: StageRun, message: str, job_ids: Sequence[ObjectId] | None = None
) -> None:
    """The scheduler refused the round, or these of its jobs: they end in `error`, code 6, if they
    still wait."""
    now = now_s()
    query: Document = run.query() if job_ids is None else {"_id": {"$in": list(job_ids)}}
    await store.jobs.update_many(
        {**query, "status": Status.CREATED.value},
        {
            "$set": {
                "status": Status.ERROR.value,
                "error_code": int(ErrorCode.SUBMIT_FAILED),
                "errormsg": message,
                "error": engine_error(message, ErrorCode.SUBMIT_FAILED),
                "finished": now,
                "updated": now,
            }
        },
    )


async def live_counts(
    store: Store, runs: Sequence[tuple[str, StageName, int]]
) -> dict[tuple[str, StageName, int], int]:
    """How many jobs of each (submission, stage, try) are still to end; one query for all."""
    counts = dict.fromkeys(runs, 0)
    pipeline: list[Document] = [
        {
            "$match": {
                "submission": {"$in": sorted({r[0] for r in runs})},
                "status": {"$in": list(LIVE)},
            }
        },
        {"$group": {"_id": {"s": "$submission", "g": "$stage", "t": "$try"}, "n": {"$sum": 1}}},
    ]
    async for row in await store.jobs.aggregate(pipeline):
        key = (row["_id"]["s"], StageName(row["_id"]["g"]), row["_id"]["t"])
        if key in counts:
            counts[key] = row["n"]
    return counts


async def failed_stages(
    store: Store, runs: Sequence[tuple[str, StageName, int]]
) -> set[tuple[str, StageName, int]]:
    """Those of the tries in which some job has failed for good (for `on_child_error: abort`)."""
    found = set()
    for run in runs:
        submission_id, stage, try_number = run
        query = {
            "submission": submission_id,
            "stage": stage.value,
            "status": Status.ERROR.value,
            "try": try_number,
            "superseded": {"$ne": True},
        }
        if await store.jobs.find_one(query, {"_id": 1}):
            found.add(run)
    return found


async def abort_stage(store: Store, run: StageRun) -> int:
    """End the live jobs of a stage because one has failed and the client asked for that."""
    return await terminate(
        store,
        {"submission": run.submission_id, "stage": run.stage.value},
        TerminatedCode.BY_BATCH_ABORT,
        "Another job of the batch failed, and the batch was started with on_child_error 'abort'.",
    )


async def end_stage(store: Store, run: StageRun) -> StageEnd:
    """How the stage stands now that its jobs have ended; what cannot follow any more is settled.

    A stage is ok if all its jobs completed; with `continue` and an aggregate to follow, if any did.
    """
    counts: dict[str, int] = {}
    async for row in await store.jobs.aggregate(
        [
            {
                "$match": {
                    "submission": run.submission_id,
                    "stage": run.stage.value,
                    "superseded": {"$ne": True},
                }
            },
            {"$group": {"_id": "$status", "n": {"$sum": 1}}},
        ]
    ):
        counts[row["_id"]] = row["n"]
    total, good = sum(counts.values()), counts.get(Status.COMPLETED.value, 0)
    goes_on = (
        run.stage == StageName.SUBMIT
        and run.submission["on_child_error"] == OnChildError.CONTINUE.value
        and await store.jobs.find_one(
            {
                "submission": run.submission_id,
                "stage": StageName.AGGREGATE.value,
                "status": {"$in": list(LIVE)},
            },
            {"_id": 1},
        )
        is not None
    )
    ok = good == total or (goes_on and good > 0)
    message = f"{good} of {total} job{'s' if total != 1 else ''} completed"
    others = [f"{counts[s]} {s}" for s in TERMINAL[1:] if counts.get(s)]
    if others:
        message += f" ({', '.join(others)})"
    if total == 1 and not ok:
        job = await store.jobs.find_one(
            {"submission": run.submission_id, "stage": run.stage.value,
             "superseded": {"$ne": True}}, {"errormsg": 1, "status": 1}
        )
        if job and job.get("errormsg"):
            message = f"The job ended in {job['status']}: {job['errormsg']}"
    if not ok:
        await settle_later_stages(store, run.submission_id, run.stage)
    await store.submissions.update_one(
        {"_id": run.submission_id}, {"$set": {f"ends.{run.stage.value}": message}}
    )
    return StageEnd(ok, message)


async def settle_later_stages(store: Store, submission_id: str, stage: StageName) -> int:
    """End the jobs of the stages after `stage`: they will not be started."""
    order = list(StageName)
    later = [s.value for s in order[order.index(stage) + 1 :]]
    if not later:
        return 0
    return await terminate(
        store,
        {"submission": submission_id, "stage": {"$in": later}},
        TerminatedCode.BY_BATCH_ABORT,
        f"Not started, because the {stage.value} stage before it did not complete.",
    )


async def fail_stage(store: Store, run_key: tuple[str, StageName, int], message: str) -> None:
    """The stage could not be run at all: its live jobs and those of later stages end."""
    submission_id, stage, try_number = run_key
    now = now_s()
    await store.jobs.update_many(
        {
            "submission": submission_id,
            "stage": stage.value,
            "try": try_number,
            "status": {"$in": list(LIVE)},
        },
        {
            "$set": {
                "status": Status.ERROR.value,
                "error_code": int(ErrorCode.TERMINATED_BY_AUTOMATION),
                "errormsg": message,
                "error": engine_error(message, ErrorCode.TERMINATED_BY_AUTOMATION),
                "finished": now,
                "updated": now,
                "remove": True,
            }
        },
    )
    await settle_later_stages(store, submission_id, stage)


async def stop_try(
    store: Store, submission_id: str, stage: StageName, try_number: int, message: str
) -> int:
    """End the live jobs of one try (marked failed or cleared in Airflow), and of no other."""
    stopped = await terminate(
        store,
        {"submission": submission_id, "stage": stage.value, "try": try_number},
        TerminatedCode.BY_ADMIN,
        message,
    )
    return stopped
