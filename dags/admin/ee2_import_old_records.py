"""By hand, in Airflow: bring the records of an old service here. A run that is cut off goes on
where it stopped when another one is triggered. It is done for the administrator who triggers the
run, and is in the audit."""

from __future__ import annotations

from ee2_operators.dag import admin_dag, text_param

dag = admin_dag(
    "import_old_records",
    "Imports records of UserAndJobState, NarrativeJobService or EE2",
    __doc__,
    None,
    kind=text_param("Service", "ujs, njs or ee2", "", "ujs", "njs", "ee2"),
    source=text_param(
        "Source",
        "The old MongoDB: mongodb://HOST:PORT without a password, or the id of an Airflow "
        "connection of the type mongo",
    ),
    database=text_param("Database", "Its database; empty for the service's usual name"),
)
