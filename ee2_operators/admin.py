"""The engine's own chores, run on a schedule by the DAGs in dags/admin, in the triggerer."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from ee2_jobs import outbox, submissions
from ee2_jobs.artifacts import Artifacts
from ee2_jobs.identity import engine_token
from ee2_jobs.model import TerminatedCode
from ee2_operators import airflow_internals
from ee2_operators.parts import Parts, current_parts
from ee2_operators.reconcile import reconcile
from ee2_operators.silent import settle_silent

SETTLED_S = 60.0
DEADLINE_S = 600.0


class AdminTrigger(BaseTrigger):
    """Runs one chore by its name."""

    def __init__(self, chore: str) -> None:
        super().__init__()
        self.chore = chore

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See BaseTrigger."""
        return "ee2_operators.admin.AdminTrigger", {"chore": self.chore}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Run the chore; like any trigger of ours, never ends with an exception."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                await CHORES[self.chore](current_parts(), self.log)
            yield TaskSuccessEvent()
        except Exception as e:
            self.log.exception("The chore %s failed", self.chore)
            yield TaskFailedEvent(xcoms={"error": f"{type(e).__name__}: {e}"})


async def _nothing(parts: Parts, log: Any) -> None:
    """The anchor's task."""


async def _reconcile(parts: Parts, log: Any) -> None:
    """Start what waits; settle what ended unnoticed. One part that fails stops no other."""
    problems = []
    for part in (_empty_outbox, _settle_ended_runs, _settle_jobs):
        try:
            await part(parts, log)
        except Exception as e:
            log.exception("A part of the chore failed")
            problems.append(f"{type(e).__name__}: {e}")
    if problems:
        raise RuntimeError("; ".join(problems))


async def _empty_outbox(parts: Parts, log: Any) -> None:
    """Have the API server start what was accepted and not started: a trigger cannot make runs."""
    headers = {"Authorization": engine_token(parts.settings.secret_key)}
    try:
        async with httpx.AsyncClient(timeout=30, trust_env=False, headers=headers) as client:
            answer = await client.post(f"{parts.settings.rpc_url}/outbox")
    except httpx.TransportError as e:
        # It is being restarted, say. Next minute again.
        log.warning("The API server does not answer at %s: %r", parts.settings.rpc_url, e)
        return
    answer.raise_for_status()
    if count := answer.json()["starting"]:
        log.warning("Starting %d submissions that were accepted and not started", count)


async def _settle_ended_runs(parts: Parts, log: Any) -> None:
    """Settle submissions whose run ended unnoticed, and start those anew whose run is not there."""
    for submission_id, dag_id in await submissions.runs_to_check(parts.store, SETTLED_S):
        if parts.watcher.follows(submission_id):
            continue
        state = await airflow_internals.run_state(dag_id, submission_id)
        if state is None:
            log.warning("Submission %s has lost its run; it is started again", submission_id)
            await submissions.start_again(parts.store, submission_id)
        elif state in ("success", "failed"):
            log.warning("The run of submission %s has ended; settling its jobs", submission_id)
            await submissions.mark_ended(
                parts.store,
                submission_id,
                TerminatedCode.BY_SERVER_FAILURE,
                "The run of the job ended before the job did.",
            )


async def _settle_jobs(parts: Parts, log: Any) -> None:
    settled = await reconcile(parts.store, parts.pool, SETTLED_S)
    if settled:
        log.warning("Settled %d jobs that had left the pool unnoticed", settled)
    parts.watcher.poke()


async def _tell(parts: Parts, log: Any) -> None:
    """See to it that other services are told what changed; say what waits. Fails if something has
    waited for a day, or if the changes cannot be read."""
    parts.teller.poke()
    late = []
    for one in await outbox.waiting(parts.store):
        if one.count:
            (log.warning if one.error else log.info)(outbox.sentence(one))
        if one.late:
            late.append(outbox.sentence(one))
    if parts.teller.problem:
        late.append(f"nothing can be told: {parts.teller.problem}")
    if late:
        raise RuntimeError("; ".join(late))


async def _silent_runners(parts: Parts, log: Any) -> None:
    """End running jobs whose runner went silent."""
    settings = parts.settings
    ended = await settle_silent(
        parts.store, parts.pool, settings.rpc_url, settings.silent_runner_s, log
    )
    if ended:
        log.warning("Ended %d jobs whose runners had gone silent", ended)
        parts.watcher.poke()


async def _cleanup(parts: Parts, log: Any) -> None:
    """Delete by age (`artifact_days`): artifacts, files of ended stages, logs of tasks."""
    days = parts.settings.artifact_days
    gone = await Artifacts(parts.settings.artifacts_url).delete_older_than(days)
    log.info("Deleted the artifacts of %d submissions", gone)
    before_s = time.time() - days * 86400
    stage_dir = Path(parts.settings.stage_dir)
    old = await asyncio.to_thread(lambda: list(_older(stage_dir, before_s)))
    live = await submissions.with_live_jobs(parts.store, list({p.name[:24] for p in old}))
    old = [path for path in old if path.name[:24] not in live]
    await asyncio.to_thread(_delete, old)
    log.info("Deleted %d files and folders of ended stages", len(old))
    logs = await asyncio.to_thread(_delete_old_runs, airflow_internals.log_folder(), before_s)
    log.info("Deleted the logs of %d runs", logs)


def _older(folder: Path, before_s: float) -> Iterator[Path]:
    """What in a folder was last changed before that."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before_s:
                yield path


def _delete(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _delete_old_runs(logs: Path, before_s: float) -> int:
    """Delete the log folders of runs (dag_id=…/run_id=…) in which nothing is newer than that."""
    gone = 0
    for run in logs.glob("dag_id=*/run_id=*"):
        if all(p.stat().st_mtime < before_s for p in (run, *run.rglob("*"))):
            shutil.rmtree(run, ignore_errors=True)
            gone += 1
    return gone


CHORES: dict[str, Callable[[Parts, Any], Awaitable[None]]] = {
    "nothing": _nothing,
    "reconcile": _reconcile,
    "cleanup": _cleanup,
    "outbox": _tell,
    "silent_runners": _silent_runners,
}
