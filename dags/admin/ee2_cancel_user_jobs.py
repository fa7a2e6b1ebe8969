"""By hand, in Airflow: cancel all jobs of a user that have not ended, or those in one state. It is
done for the administrator who triggers the run, and is in the audit."""

from __future__ import annotations

from ee2_operators.dag import admin_dag, text_param

dag = admin_dag(
    "cancel_user_jobs",
    "Cancels the jobs of a user",
    __doc__,
    None,
    user=text_param("User", "Whose jobs are to be cancelled"),
    reason=text_param("Reason", "Why; it is kept in the audit"),
    status=text_param(
        "State", "Only jobs in this state; empty for all that have not ended",
        "", "created", "estimating", "queued", "running",
    ),
)  # fmt: skip
