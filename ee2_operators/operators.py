"""The operators of a submission's DAG: one Airflow task per stage, however many jobs it has.

They run in the triggerer from start to end (`start_from_trigger`), so no worker process is started
for them. What they do is in `trigger` and `stage`.
"""

from __future__ import annotations

from typing import Any, NoReturn

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.triggers.base import StartTriggerArgs

from ee2_jobs.model import StageName
from ee2_operators.airflow_internals import base_path


def _start(stage: StageName) -> StartTriggerArgs:
    return StartTriggerArgs(
        trigger_cls="ee2_operators.trigger.StageTrigger",
        trigger_kwargs={"stage": stage.value},
        next_method="execute_complete",
    )


class TriggerOperator(BaseOperator):
    """A task that a trigger runs from its start to its end."""

    start_from_trigger = True

    def execute(self, context: Any) -> NoReturn:
        """Never called, unless Airflow stops to honour `start_from_trigger`."""
        raise RuntimeError(
            f"The task {self.task_id} runs in the triggerer only, and Airflow gave it to a worker:"
            " check that this version of Airflow is one that EE2 was tested with."
        )

    def execute_complete(self, context: Any, event: Any = None) -> NoReturn:
        """Never called: the trigger ends the task."""
        raise RuntimeError(f"The trigger of the task {self.task_id} left its end to a worker")


class SplitOperator(TriggerOperator):
    """Runs the app that lists a submission's jobs."""

    start_trigger_args = _start(StageName.SPLIT)
    ui_color = "#e0ecf8"


class SubmitOperator(TriggerOperator):
    """Runs all jobs of a submission, as one HTCondor cluster."""

    start_trigger_args = _start(StageName.SUBMIT)
    ui_color = "#e3f1e3"


class AggregateOperator(TriggerOperator):
    """Runs the app that puts the results of the jobs together."""

    start_trigger_args = _start(StageName.AGGREGATE)
    ui_color = "#f6ecd9"


class AdminOperator(TriggerOperator):
    """Runs one of the engine's own chores (see `chores`), named by `chore`."""

    ui_color = "#eeeeee"

    def __init__(self, *, chore: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="ee2_operators.admin.AdminTrigger",
            trigger_kwargs={"chore": chore},
            next_method="execute_complete",
        )


class NoticesOperator(AdminOperator):
    """Sends messages to people about their jobs: what is due is found out in the triggerer, and
    only if something is, it is sent from a worker."""

    def execute_complete(self, context: Any, event: Any = None) -> str:  # type: ignore[override]
        """In a worker: send what is due."""
        from ee2_operators.notifiers import send_now  # its libraries are large

        return send_now(self.log)


STAGE_OPERATORS: dict[StageName, type[TriggerOperator]] = {
    StageName.SPLIT: SplitOperator,
    StageName.SUBMIT: SubmitOperator,
    StageName.AGGREGATE: AggregateOperator,
}


def jobs_page(submission_id: str) -> str:
    """The path of the page that lists a submission's jobs (`plugins/ee2_plugin.py` serves it)."""
    return f"{base_path()}/services/ee2/jobs/{submission_id}"


class JobsLink(BaseOperatorLink):
    """The button on a stage's task that leads to its jobs. The plugin registers it."""

    name = "EE2 jobs"
    operators = list(STAGE_OPERATORS.values())

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The page of the run's jobs: the run's id is the submission's."""
        return jobs_page(ti_key.run_id)
