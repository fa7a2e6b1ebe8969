"""Every minute, in Airflow: tell people what became of their jobs, as they want to be told."""

from __future__ import annotations

import datetime

from airflow.sdk import DAG

from ee2_operators.dag import START
from ee2_operators.notices import NoticesOperator

with DAG(
    "ee2_notices",
    description="Sends messages to people about their jobs",
    doc_md=__doc__,
    schedule=datetime.timedelta(minutes=1),
    start_date=START,
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    default_args={"owner": "ee2", "retries": 0},
    tags=["ee2", "admin"],
) as dag:
    NoticesOperator(task_id="notices")
