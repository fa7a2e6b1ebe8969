"""Every minute, in Airflow: tell people what became of their jobs, as they want to be told."""

from __future__ import annotations

import datetime

from ee2_operators.dag import admin_dag
from ee2_operators.operators import NoticesOperator

dag = admin_dag(
    "notices",
    "Sends messages to people about their jobs",
    __doc__,
    datetime.timedelta(minutes=1),
    NoticesOperator,
)
