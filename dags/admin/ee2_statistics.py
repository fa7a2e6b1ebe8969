"""Every ten minutes, in Airflow: bring the statistics by day up to date."""

from __future__ import annotations

import datetime

from ee2_operators.dag import admin_dag

dag = admin_dag(
    "statistics",
    "Brings the statistics by day up to date",
    __doc__,
    datetime.timedelta(minutes=10),
)
