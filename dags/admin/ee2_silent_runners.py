"""Every five minutes, in Airflow: end running jobs whose runner has not been heard of."""

from __future__ import annotations

import datetime

from ee2_operators.dag import admin_dag

dag = admin_dag(
    "silent_runners",
    "Ends running jobs whose runner went silent",
    __doc__,
    datetime.timedelta(minutes=5),
)
