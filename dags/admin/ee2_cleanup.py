"""Every night: delete by age the artifacts, the files of ended stages, and the logs of tasks."""

from __future__ import annotations

from airflow.sdk import DAG

from ee2_operators.dag import START
from ee2_operators.operators import AdminOperator

with DAG(
    "ee2_cleanup",
    description="Deletes old artifacts, files of ended stages, and task logs",
    doc_md=__doc__,
    schedule="17 3 * * *",
    start_date=START,
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    default_args={"owner": "ee2", "retries": 0},
    tags=["ee2", "admin"],
) as dag:
    AdminOperator(task_id="cleanup", chore="cleanup")
