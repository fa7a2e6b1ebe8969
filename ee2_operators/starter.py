"""Starts accepted submissions: the implementation of the ground floor's Orchestrator port for a
process that may use Airflow's database (the API server).

What cannot be started here stays in the outbox, from which the scheduled DAG `ee2_reconcile` has it
started again within a minute.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Iterable, Sequence

from ee2_jobs import submissions
from ee2_jobs.model import Document, TerminatedCode
from ee2_jobs.plan import Shape
from ee2_jobs.store import Store
from ee2_operators import airflow_internals
from ee2_operators.airflow_internals import NewRun
from ee2_operators.dag import publish

log = logging.getLogger(__name__)

# Runs created in one transaction, and the pause after it, in which other writers get their turn.
AT_ONCE = 50
PAUSE_S = 0.01
# Airflow takes a DAG for stale a minute after its file stopped to have it.
FRESH_S = 20.0


class Starter:
    """See the module. Belongs to one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._fresh_until: dict[str, float] = {}

    def start(self, submission_ids: Sequence[str]) -> None:
        """See the port: have these started soon; returns at once and never raises."""
        self._waiting.update(dict.fromkeys(submission_ids))
        if self._task is None or self._task.done():
            try:
                self._task = asyncio.get_running_loop().create_task(
                    self._work(), name="ee2 starter", context=contextvars.Context()
                )
            except RuntimeError:
                log.error("No event loop here: %d submissions wait", len(submission_ids))

    async def close(self) -> None:
        """Finish what was asked for."""
        if self._task is not None:
            await self._task

    async def _work(self) -> None:
        while self._waiting:
            ids = list(self._waiting)[:AT_ONCE]
            for submission_id in ids:
                del self._waiting[submission_id]
            try:
                await self._start(ids)
            except Exception:
                log.exception("%d submissions could not be started now; they wait", len(ids))
            await asyncio.sleep(PAUSE_S)

    async def _start(self, ids: Sequence[str]) -> None:
        found = await submissions.to_start(self._store, ids)
        live = await submissions.with_live_jobs(self._store, [s["_id"] for s in found])
        for over in (s["_id"] for s in found if s["_id"] not in live):
            await submissions.mark_ended(
                self._store, over, TerminatedCode.BY_AUTOMATION, "Ended before it was started."
            )
        to_run = [s for s in found if s["_id"] in live]
        errors = await self._make_fresh({s["shape"] for s in to_run})
        failed = {s["_id"]: errors[s["shape"]] for s in to_run if s["shape"] in errors}
        runs = [_new_run(s) for s in to_run if s["_id"] not in failed]
        if runs:
            failed |= await asyncio.to_thread(airflow_internals.create_runs, runs)
        await submissions.mark_started(
            self._store, [s["_id"] for s in to_run if s["_id"] not in failed]
        )
        if failed:
            log.error("Not started yet: %s", failed)
            await submissions.mark_start_failed(self._store, failed)
            for submission in to_run:
                if submission["_id"] in failed:
                    self._fresh_until.pop(submission["shape"], None)

    async def _make_fresh(self, dag_ids: Iterable[str]) -> dict[str, str]:
        """See that Airflow knows the DAGs; why not, by DAG id, for those where that fails."""
        now = time.monotonic()
        unsure = [d for d in dag_ids if self._fresh_until.get(d, 0.0) < now]
        if not unsure:
            return {}
        known = await asyncio.to_thread(airflow_internals.fresh_dags, unsure)
        errors: dict[str, str] = {}
        for dag_id in unsure:
            if dag_id not in known:
                try:
                    await self._publish(dag_id)
                except Exception as e:
                    log.exception("The DAG %s could not be published", dag_id)
                    errors[dag_id] = f"The DAG {dag_id} could not be made: {e}"
                    continue
            self._fresh_until[dag_id] = now + FRESH_S
        return errors

    async def _publish(self, dag_id: str) -> None:
        document = await self._store.shapes.find_one({"_id": dag_id})
        if document is None:
            raise LookupError(f"there is no shape {dag_id}")
        began = time.monotonic()
        await asyncio.to_thread(publish, Shape.from_document(document))
        log.info("Published the DAG %s in %.2f s", dag_id, time.monotonic() - began)


def _new_run(submission: Document) -> NewRun:
    user, batch_id = submission["user"], submission.get("batch_id")
    what = f"batch {batch_id}" if batch_id else f"job {submission['_id']}"
    return NewRun(submission["shape"], submission["_id"], user, f"{what} of {user}")
