"""From a shape to its Airflow DAG: a pure function, and its publication.

The API server publishes a new shape's DAG at once, and the dag-processor builds the same DAG from
dags/submissions.py. Both call `build_dag`; whatever differed between two calls would make a new
version of the DAG each time.
"""

from __future__ import annotations

import datetime
from typing import Any

from airflow.sdk import DAG, Param

from ee2_jobs.model import StageName
from ee2_jobs.plan import MIXED, Shape
from ee2_operators import airflow_internals
from ee2_operators.operators import STAGE_OPERATORS, AdminOperator

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
# A run is one user's request; how many run at once is HTCondor's business.
NO_LIMIT = 1_000_000

_KINDS = {
    "job": "single jobs",
    "batch": "batches of jobs",
    "split_aggregate": "split–process–aggregate runs",
}
_STAGES = {
    StageName.SPLIT: "**split** runs `{}`, which lists the jobs.",
    StageName.SUBMIT: "**submit** runs the jobs (`{}`) as one HTCondor cluster.",
    StageName.AGGREGATE: "**aggregate** runs `{}` on the results of the jobs.",
}


def build_dag(shape: Shape) -> DAG:
    """The DAG of a shape: its stages in a row. A run's id is the id of the submission it runs."""
    main = next(s.method for s in shape.stages if s.name == StageName.SUBMIT)
    dag = DAG(
        shape.dag_id,
        description=f"EE2: {_KINDS[shape.kind]} of {_name(main)}",
        doc_md=_documentation(shape, main),
        tags=sorted({"ee2", main.partition(".")[0], shape.kind}),
        schedule=None,
        start_date=START,
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=NO_LIMIT,
        max_active_tasks=NO_LIMIT,
        # Running a stage again is a user's decision: its jobs may have cost days.
        default_args={"owner": "ee2", "retries": 0},
    )
    tasks = [
        STAGE_OPERATORS[stage.name](task_id=stage.name.value, dag=dag)
        for stage in shape.stages
    ]
    for before, after in zip(tasks, tasks[1:], strict=False):
        before >> after
    return dag


def _name(method: str) -> str:
    return "several apps" if method == MIXED else method


def _documentation(shape: Shape, main: str) -> str:
    lines = "\n".join(f"* {_STAGES[s.name].format(_name(s.method))}" for s in shape.stages)
    return (
        f"Each run is one request to the Execution Engine ({_KINDS[shape.kind]} of "
        f"`{_name(main)}`); the run's id is the request's.\n\n{lines}\n\n"
        "The button **EE2 jobs** on a task leads to the jobs. **Mark failed** cancels the jobs of "
        "the task. **Clear** runs again what did not complete.\n"
    )


def publish(shape: Shape) -> None:
    """Make the shape's DAG known to Airflow at once, from a process that may use its database."""
    airflow_internals.publish(build_dag(shape))


def admin_dag(
    chore: str,
    description: str,
    doc: str | None,
    schedule: str | datetime.timedelta | None,
    operator: type[AdminOperator] = AdminOperator,
    **params: Param,
) -> DAG:
    """The DAG `ee2_CHORE`, which runs one of the engine's own chores, one run at a time; what was
    missed is not made up for. The file that calls this must hold the word Airflow: others are not
    looked at.

    schedule: None for one that is triggered by hand. params: beside `dry_run`, which all have. Give
    them types only, and refuse what they must not be in the chore: a value that a Param refuses
    gets past the API's check where a run is cleared after an upgrade, and it stops the triggerer.
    """
    dry_run = Param(
        False,
        type="boolean",
        title="Dry run",
        description="Only say what would be done; nothing is changed",
    )
    dag = DAG(
        f"ee2_{chore}",
        description=description,
        doc_md=doc,
        schedule=schedule,
        start_date=START,
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        default_args={"owner": "ee2", "retries": 0},
        tags=["ee2", "admin", "scheduled" if schedule else "manual"],
        params={**params, "dry_run": dry_run},
    )
    operator(task_id=chore, chore=chore, dag=dag)
    return dag


def text_param(title: str, description: str, default: str = "", *examples: str) -> Param:
    """A Param with a text. examples: offered in the form; others may be typed."""
    more: dict[str, Any] = {"examples": list(examples)} if examples else {}
    # With null: a field that is left empty in the form is sent so.
    return Param(default, type=["string", "null"], title=title, description=description, **more)
