"""By hand, in Airflow: start no more jobs of a client group, or start them again. It is done for
the administrator who triggers the run, and is in the audit."""

from __future__ import annotations

from ee2_operators.dag import admin_dag, text_param

dag = admin_dag(
    "drain_group",
    "Drains a client group, or ends that",
    __doc__,
    None,
    group=text_param("Client group", "Its name in the file of client groups"),
    action=text_param("Action", "drain or undrain", "drain", "drain", "undrain"),
    reason=text_param("Reason", "Why; users and administrators see it"),
)
