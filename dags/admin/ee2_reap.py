"""Every ten minutes, in Airflow: end jobs that nothing will start any more (`created` for an hour),
and jobs that were ready to start for two weeks; each client group may have its own times."""

from __future__ import annotations

import datetime

from ee2_operators.dag import admin_dag

dag = admin_dag(
    "reap",
    "Ends jobs that have waited too long",
    __doc__,
    datetime.timedelta(minutes=10),
)
