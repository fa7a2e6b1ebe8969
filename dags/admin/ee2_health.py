"""Every morning, in Airflow: report in words how the engine is. The report is the task's return
value, and the newest ones are kept in MongoDB."""

from __future__ import annotations

from ee2_operators.dag import admin_dag

dag = admin_dag("health", "Reports how the engine is", __doc__, "5 6 * * *")
