"""Generates the DAG of each shape of a submission from the shapes' documents in MongoDB.

Never raises: an exception in this file would make the DAGs of all shapes stale within two minutes.
"""

from __future__ import annotations

import logging

from airflow.sdk import DAG, get_parsing_context

from ee2_jobs.plan import Shape
from ee2_operators.airflow_internals import mongo_uri, snapshot_file
from ee2_operators.dag import START, build_dag
from ee2_operators.operators import AdminOperator
from ee2_operators.shapes import load_shapes

log = logging.getLogger(__name__)

# The file must have a DAG of its own before the first shape comes, or Airflow does not know it.
with DAG(
    "ee2_anchor",
    description="Keeps the file that generates EE2's DAGs known; running it does nothing",
    schedule=None,
    start_date=START,
    catchup=False,
    tags=["ee2", "admin"],
) as anchor:
    AdminOperator(task_id="nothing", chore="nothing")

try:
    documents = load_shapes(mongo_uri(), snapshot_file(), get_parsing_context().dag_id)
except Exception:
    log.exception("The shapes could not be read")
    documents = []
for document in documents:
    try:
        globals()[f"shape {document['_id']}"] = build_dag(Shape.from_document(document))
    except Exception:
        log.exception("The shape %s cannot become a DAG", document.get("_id"))
