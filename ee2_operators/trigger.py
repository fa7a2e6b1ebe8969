"""The trigger that runs a stage, from the start of its Airflow task to the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from ee2_jobs import stages
from ee2_jobs.model import StageName
from ee2_jobs.stages import StageEnd
from ee2_operators import airflow_internals
from ee2_operators.condor.pool import PoolError
from ee2_operators.parts import current_parts
from ee2_operators.stage import StageTry, run_stage

# Between the event and the triggerer's sending it, which Airflow does after a line to its log.
SEND_AFTER_S = 0.02


class StageTrigger(BaseTrigger):
    """Runs one try of one stage. It may be started again at any time, even while another
    triggerer still runs it."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See BaseTrigger."""
        return "ee2_operators.trigger.StageTrigger", {"stage": self.stage}

    @property
    def this(self) -> StageTry:
        """The try that this trigger runs: the DAG run's id is the submission's."""
        task = self.task_instance
        assert task is not None
        return StageTry(task.run_id, StageName(self.stage), task.try_number)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Run the stage. An exception here would need a worker process to fail the task, so every
        one becomes an event; only a cancellation passes."""
        try:
            end = await run_stage(current_parts(), self.this, self.log)
        except Exception as e:
            self.log.exception("The stage could not be run")
            end = StageEnd(False, f"The stage could not be run: {e}")
        if end.ok:
            self.log.info(end.message)
        else:
            self.log.error(end.message)
        asyncio.get_running_loop().call_later(SEND_AFTER_S, airflow_internals.wake)
        yield TaskSuccessEvent() if end.ok else TaskFailedEvent(xcoms={"error": end.message})

    async def on_kill(self) -> None:
        """The task was marked or cleared in Airflow: stop the jobs of this try, and no others (at a
        clear the next try has begun already). It may be called on a fresh object."""
        parts, this = current_parts(), self.this
        stopped = await stages.stop_try(
            parts.store,
            *this.run_key,
            "The job's task was marked or cleared in Airflow.",
        )
        self.log.info("Stopped %d jobs, because the task was marked or cleared", stopped)
        # What it cannot remove now, the watcher removes when the pool answers again.
        with contextlib.suppress(PoolError):
            await parts.pool.remove(this.key, "the task was marked or cleared in Airflow")
        parts.watcher.poke()
