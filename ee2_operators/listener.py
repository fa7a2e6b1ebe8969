"""The backstop at the end of a DAG run: whatever happened to its tasks, its jobs are settled.

Airflow calls this in the scheduler, and in the API server when somebody marks a run. There it holds
up others, so it makes one short call to MongoDB and gives up if that is not answered:
`ee2_reconcile` finds what was missed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

from airflow.listeners import hookimpl

from ee2_jobs.model import Document, StageName, TerminatedCode
from ee2_jobs.store import Store
from ee2_jobs.submissions import mark_ended
from ee2_operators import airflow_internals

log = logging.getLogger(__name__)

TIMEOUT_S = 2.0
# After a failure nobody is held up again for so long.
REST_S = 30.0


class _Background:
    """An event loop in a thread of its own, with its own connection to MongoDB."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._store: Store | None = None
        self._rest_until = 0.0

    def end(self, submission_id: str, code: TerminatedCode, message: str) -> Document | None:
        """The submission, marked as ended; None if that failed or there is no such submission."""
        if time.monotonic() < self._rest_until:
            return None
        try:
            with self._lock:
                if self._loop is None:
                    self._loop = self._start()
            ended = asyncio.run_coroutine_threadsafe(
                self._end(submission_id, code, message), self._loop
            )
            return ended.result(TIMEOUT_S)
        except Exception as e:
            self._rest_until = time.monotonic() + REST_S
            log.warning("Submission %s is settled later: %r", submission_id, e)
            return None

    def _start(self) -> asyncio.AbstractEventLoop:
        uri = airflow_internals.mongo_uri()
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="ee2 listener", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._connect(uri), loop).result(TIMEOUT_S)
        return loop

    async def _connect(self, uri: str) -> None:
        self._store = Store(uri)

    async def _end(
        self, submission_id: str, code: TerminatedCode, message: str
    ) -> Document | None:
        assert self._store is not None
        return await mark_ended(self._store, submission_id, code, message)


_background = _Background()


def note_of(submission: Document) -> str:
    """A run's note at its end: whose it is, and how each stage ended."""
    batch_id = submission.get("batch_id")
    what = f"batch {batch_id}" if batch_id else f"job {submission['_id']}"
    ends = submission.get("ends", {})
    lines = [f"{stage.value}: {ends[stage.value]}" for stage in StageName if stage.value in ends]
    return "\n".join([f"{what} of {submission['user']}", *lines])


def _ended(dag_run: Any, msg: str) -> None:
    if not airflow_internals.is_submission(dag_run):
        return
    by_hand = "manually" in msg
    submission = _background.end(
        dag_run.run_id,
        TerminatedCode.BY_ADMIN if by_hand else TerminatedCode.BY_BATCH_ABORT,
        "The run of the job was marked in Airflow." if by_hand else "The run of the job has ended.",
    )
    if submission is not None:
        airflow_internals.set_note(dag_run, note_of(submission))


@hookimpl
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    """Airflow's hook."""
    _ended(dag_run, msg)


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """Airflow's hook."""
    _ended(dag_run, msg)
