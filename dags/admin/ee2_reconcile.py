"""Every minute, in Airflow: start what was accepted but not started, settle what ended
unnoticed."""

from __future__ import annotations

import datetime

from ee2_operators.dag import admin_dag

dag = admin_dag(
    "reconcile",
    "Starts accepted submissions that wait, settles jobs that ended unnoticed",
    __doc__,
    datetime.timedelta(minutes=1),
)
