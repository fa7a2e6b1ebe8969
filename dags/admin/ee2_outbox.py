"""Every minute, in Airflow: see to it that other services are told what changed."""

from __future__ import annotations

import datetime

from ee2_operators.dag import admin_dag

dag = admin_dag(
    "outbox",
    "Has execution statistics and changes of state told to other services",
    __doc__,
    datetime.timedelta(minutes=1),
)
