"""Every minute: start what was accepted but not started, settle what ended unnoticed."""

from __future__ import annotations

import datetime

from airflow.sdk import DAG

from ee2_operators.dag import START
from ee2_operators.operators import AdminOperator

with DAG(
    "ee2_reconcile",
    description="Starts accepted submissions that wait, settles jobs that ended unnoticed",
    doc_md=__doc__,
    schedule=datetime.timedelta(minutes=1),
    start_date=START,
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    default_args={"owner": "ee2", "retries": 0},
    tags=["ee2", "admin"],
) as dag:
    AdminOperator(task_id="reconcile", chore="reconcile")
