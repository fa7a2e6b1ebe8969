"""Every night, in Airflow: delete by age the artifacts, the files of ended stages, and the logs of
tasks."""

from __future__ import annotations

from ee2_operators.dag import admin_dag

dag = admin_dag(
    "cleanup",
    "Deletes old artifacts, files of ended stages, and task logs",
    __doc__,
    "17 3 * * *",
)
