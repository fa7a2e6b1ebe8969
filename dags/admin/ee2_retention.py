"""Every night, in Airflow: delete by age the logs of jobs, artifacts, the files of ended stages,
and the logs of tasks. The ages are settings: `log_days`, `log_days_failed`, `artifact_days`,
`artifact_days_failed`."""

from __future__ import annotations

from ee2_operators.dag import admin_dag

dag = admin_dag(
    "retention",
    "Deletes old logs and artifacts, files of ended stages, and task logs",
    __doc__,
    "17 3 * * *",
)
