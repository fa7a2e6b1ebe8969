"""Running one try of a stage: its jobs into the pool exactly once, then waiting until they ended.

Nothing about a running stage is kept only in memory. Whoever runs it again (after a crash of the
triggerer) finds the jobs' records, and in the pool the cluster by the key in its job ads.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ee2_jobs import pool_records, rounds, stages
from ee2_jobs.client_groups import POOL_ROUTE
from ee2_jobs.errors import EngineError
from ee2_jobs.identity import job_token
from ee2_jobs.model import Document, OnChildError, StageName, now_s
from ee2_jobs.routing import by_route, group_of
from ee2_jobs.stages import StageEnd, StageRun
from ee2_operators.admission import Rules
from ee2_operators.condor.pool import CALL_S, SUBMIT_S_PER_JOB, SubmitRefused
from ee2_operators.condor.routes import GridRoute, grid_route
from ee2_operators.condor.submit import (
    BadSubmission,
    StageJob,
    StageKey,
    StageSubmission,
    files_dir,
    ticket_path,
)
from ee2_operators.parts import Parts
from ee2_operators.patience import Patience, is_outage, patiently
from ee2_operators.reconcile import lost
from ee2_operators.watcher import Followed, Window

CLOCK_DIFFERENCE_S = 60.0
_ACCOUNT = re.compile(r"[A-Za-z0-9_.-]{1,200}")


@dataclass(frozen=True)
class StageTry:
    """Which try of which stage of which submission."""

    submission_id: str
    stage: StageName
    try_number: int

    @property
    def key(self) -> StageKey:
        """The same for the pool."""
        return StageKey(self.submission_id, self.stage.value, self.try_number)

    @property
    def run_key(self) -> tuple[str, StageName, int]:
        """The same for the records."""
        return (self.submission_id, self.stage, self.try_number)


async def run_stage(parts: Parts, this: StageTry, log: Any) -> StageEnd:
    """Run the stage to its end, however long that takes; waits out outages of MongoDB and HTCondor.

    log: of the Airflow task; what is written there is for the scientist who opens it.
    """
    try:
        run = await _open(parts, this, log)
        if run.jobs:
            many = "1 job" if len(run.jobs) == 1 else f"{len(run.jobs)} jobs"
            log.info("%s to run for %s", many, run.submission["user"])
        else:
            log.info("No job of this stage is left to run")
        if run.jobs or run.submission.get("max_attempts"):
            jobs = dict(await _into_the_pool(parts, this, run, log)) if run.jobs else {}
            # Of a stage that is opened again: attempts that were under way.
            for number in range(2, run.rounds + 1):
                again = await _open(parts, this, log, number)
                if again.jobs:
                    jobs |= await _into_the_pool(parts, this, again, log)
            await _until_all_ended(parts, this, run, jobs, log)
        return await patiently(log, lambda: stages.end_stage(parts.store, run))
    except (EngineError, BadSubmission) as e:
        return await fail(parts, this, str(e), log)
    except Exception as e:
        log.exception("A defect of the engine stopped this stage")
        text = f"A defect of the engine stopped the stage: {type(e).__name__}: {e}"
        return await fail(parts, this, text, log)


async def fail(parts: Parts, this: StageTry, message: str, log: Any) -> StageEnd:
    """End the stage's jobs because it cannot be run."""
    await patiently(log, lambda: stages.fail_stage(parts.store, this.run_key, message))
    parts.watcher.poke()
    return StageEnd(False, message)


async def _open(
    parts: Parts, this: StageTry, log: Any, round_number: int = 1, route: str | None = None
) -> StageRun:
    limit = parts.settings.max_batch_jobs
    return await patiently(
        log, lambda: stages.open_stage(parts.store, *this.run_key, limit, round_number, route)
    )


async def _into_the_pool(
    parts: Parts, this: StageTry, run: StageRun, log: Any
) -> Mapping[str, str]:
    """Submit the round, each route's jobs by themselves, or adopt what was submitted before; job id
    by scheduler id."""
    jobs: dict[str, str] = {}
    for part in await patiently(log, lambda: by_route(parts.store, run, parts.groups)):
        if part.routed:
            part = await _open(parts, this, log, part.round_number, part.route)
            log.info("%d of them by the route '%s'", len(part.jobs), part.route)
        jobs |= await _part_into_the_pool(parts, this, part, log)
    return jobs


async def _part_into_the_pool(
    parts: Parts, this: StageTry, run: StageRun, log: Any
) -> Mapping[str, str]:
    patience = Patience(log)
    while run.jobs:
        try:
            jobs = await _submit_or_adopt(parts, this, run, log)
        except SubmitRefused as e:
            log.error("HTCondor refused the jobs: %s", e)
            await _refused(parts, run, f"The jobs could not be submitted. {e}", log)
            return {}
        except Exception as e:
            if not is_outage(e):
                raise
            await patience.wait(e)
            jobs = None
        if jobs:
            patience.over()
            log.info("In HTCondor's queue as cluster %s", next(iter(jobs)).partition(".")[0])
            return jobs
        # Look afresh: another triggerer may have begun, or our own attempt may have come through.
        run = await _open(parts, this, log, run.round_number, run.route)
    return {}


async def _refused(parts: Parts, run: StageRun, message: str, log: Any) -> None:
    await patiently(log, lambda: stages.submit_failed(parts.store, run, message))


async def _submit_or_adopt(
    parts: Parts, this: StageTry, run: StageRun, log: Any
) -> dict[str, str] | None:
    """The stage's jobs in the pool, noted on the records; None if it is not clear yet whether
    somebody is submitting them."""
    jobs: dict[str, str] | None = None
    if run.begun_s is not None:
        jobs = await _adopt(parts, this, run)
        if jobs:
            log.info("The stage was submitted before; following what is there")
            parts.watcher.admission.notice()
            known = set(jobs.values())
            missing = [str(j["_id"]) for j in run.jobs if "scheduler_id" not in j]
            ends = [lost(job_id) for job_id in missing if job_id not in known]
            await pool_records.apply_pool_ends(parts.store, ends)
        elif (wait_s := _may_be_under_way_s(run)) > 0:
            # By another triggerer, which took this one for dead; or by the schedd, which did not
            # answer in time and still does what it was asked.
            log.info("The stage is perhaps being submitted; looking again")
            await asyncio.sleep(min(wait_s, 2.0))
            return None
    if not jobs:
        jobs = await _submit(parts, this, run)
    if jobs:
        by_job = {job_id: scheduler_id for scheduler_id, job_id in jobs.items()}
        await stages.record_cluster(parts.store, run, by_job)
    return jobs


def _may_be_under_way_s(run: StageRun) -> float:
    """For how long, s, the submission that was begun last may still be under way."""
    assert run.begun_s is not None
    return run.begun_s + CALL_S + SUBMIT_S_PER_JOB * len(run.jobs) + 5.0 - now_s()


async def _adopt(parts: Parts, this: StageTry, run: StageRun) -> dict[str, str] | None:
    """The stage's jobs in the pool, also those that have left it: job id by scheduler id."""
    assert run.begun_s is not None
    since_s = run.begun_s - CLOCK_DIFFERENCE_S
    route = None if run.route == POOL_ROUTE else run.route
    if await parts.pool.find(this.key, since_s, run.round_number, route) is None:
        return None
    ads = await parts.pool.live([this.key]) + await parts.pool.ended([this.key], since_s)
    return {
        f"{ad['ClusterId']}.{ad['ProcId']}": ad["EE2_JOB_ID"]
        for ad in ads
        if ad.get("EE2_ROUND", 1) == run.round_number and ad.get("EE2_ROUTE") == route
    } or None


async def _submit(parts: Parts, this: StageTry, run: StageRun) -> dict[str, str] | None:
    """Submit the stage's jobs; None if another trigger has begun to do so."""
    rules = await parts.watcher.admission.rules()
    submission = describe_stage(parts, this, run, rules)
    ids = [job.job_id for job in submission.jobs]
    await asyncio.to_thread(_write_tickets, parts, this.key, ids)
    if await stages.begin_submit(parts.store, run) is None:
        return None
    cluster = await parts.pool.submit(submission)
    parts.watcher.admission.submitted(rules, held=any(job.waits for job in submission.jobs))
    return dict(zip(cluster.scheduler_ids(), ids, strict=True))


def describe_stage(
    parts: Parts, this: StageTry, run: StageRun, rules: Rules
) -> StageSubmission:
    """What the pool is told of a round: ids, figures and routes, no text of a user. rules: what
    may have jobs submitted on hold, for the admission to release them."""
    user = str(run.submission["user"])
    window = _window(this, run.submission)
    # The pool starts jobs of one priority in the order in which they come.
    jobs = run.jobs[::-1] if run.submission.get("last_first") else run.jobs
    places = len(jobs)
    if window is not None:
        # The window of a stage's first cluster is empty; later ones find jobs in it.
        first = (this.try_number, run.round_number) == (1, 1) and not run.routed
        places = window.places if first else 0
    if rules.concern(user, {_group_of(parts, job) for job in jobs}):
        places = 0
    return StageSubmission(
        key=this.key,
        jobs=tuple(_stage_job(parts, job, n >= places) for n, job in enumerate(jobs)),
        runner=os.path.abspath(parts.settings.runner),
        rpc_url=parts.settings.rpc_url,
        stage_dir=os.path.abspath(parts.settings.stage_dir),
        accounting_user=user if _ACCOUNT.fullmatch(user) else None,
        window=window.name if window is not None else None,
        round_number=run.round_number,
        user=user,
        window_places=window.places if window is not None else None,
        route=_route(parts, run.route),
    )


def _route(parts: Parts, name: str | None) -> GridRoute | None:
    """How the jobs leave our pool; SubmitRefused if the route has gone from the file."""
    if name is None or name == POOL_ROUTE:
        return None
    route = parts.groups.routes.get(name)
    if route is None:
        raise SubmitRefused(
            f"The route '{name}' of their client group has been taken out of the file of client "
            "groups. Run them again, or tell the administrators."
        )
    return grid_route(name, route)


def _window(this: StageTry, submission: Document) -> Window | None:
    """The window of the submission's submit stage, if it has one; all tries of the stage share it.
    """
    places = submission.get("window")
    if places is None or this.stage != StageName.SUBMIT:
        return None
    return Window(f"{this.submission_id}.{this.stage.value}", int(places))


def _group_of(parts: Parts, job: Document) -> str:
    return group_of(job, parts.groups.default)


def _stage_job(parts: Parts, job: Document, waits: bool) -> StageJob:
    wanted = job["job_input"].get("requirements") or {}
    groups = parts.groups
    name = _group_of(parts, job)
    group = groups.groups.get(name) or groups.groups[groups.default]
    return StageJob(
        job_id=str(job["_id"]),
        cpus=wanted.get("cpu") or group.cpus,
        memory_mb=wanted.get("memory") or group.memory_mb,
        disk_gb=wanted.get("disk") or group.disk_gb,
        requirements=group.machine_requirements(),
        priority=job.get("priority", 0),
        time_limit_s=job.get("time_limit_s"),
        waits=waits,
        group=name,
        level=job.get("level", 0),
    )


def _write_tickets(parts: Parts, key: StageKey, job_ids: Sequence[str]) -> None:
    """One file per job with its token, for its owner and the pool's account (by the group of the
    stage folder, which is set-gid)."""
    stage_dir = os.path.abspath(parts.settings.stage_dir)
    folder = Path(files_dir(stage_dir, key))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o2770)
    for job_id in job_ids:
        descriptor = os.open(
            ticket_path(stage_dir, key, job_id), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640
        )
        try:
            os.fchmod(descriptor, 0o640)
            os.write(descriptor, f"{job_token(parts.settings.secret_key, job_id)}\n".encode())
        finally:
            os.close(descriptor)


async def _until_all_ended(
    parts: Parts, this: StageTry, run: StageRun, jobs: Mapping[str, str], log: Any
) -> None:
    abort = run.submission.get("on_child_error") == OnChildError.ABORT.value
    again = run.submission.get("max_attempts", 1) > 1 and this.stage == StageName.SUBMIT
    followed = parts.watcher.follow(
        this.key,
        os.path.abspath(parts.settings.stage_dir),
        jobs,
        _window(this, run.submission),
    )
    try:
        while followed.live != 0:
            await followed.changed.wait()
            followed.changed.clear()
            while followed.notes:
                log.warning(followed.notes.pop(0))
            if again and followed.live is not None:
                await _try_again(parts, this, run, followed, log)
            if abort and followed.live and await patiently(
                log, lambda: stages.failed_stages(parts.store, [this.run_key])
            ):
                stopped = await patiently(log, lambda: stages.abort_stage(parts.store, run))
                log.warning("A job failed; %d others are stopped, as was asked for", stopped)
                parts.watcher.poke()
                abort = False
    finally:
        parts.watcher.unfollow(followed)


async def _try_again(
    parts: Parts, this: StageTry, run: StageRun, followed: Followed, log: Any
) -> None:
    """Put new attempts of what has failed into the pool, beside what still runs."""
    new = await patiently(log, lambda: rounds.next_round(parts.store, run))
    if new is not None:
        log.warning("%d failed; trying again", len(new.jobs))
        parts.watcher.add(followed, await _into_the_pool(parts, this, new, log))
    if followed.live == 0:
        # It was counted before the new attempts were made, or nothing is left indeed.
        counts = await patiently(log, lambda: stages.live_counts(parts.store, [this.run_key]))
        followed.live = counts[this.run_key]
