"""Parents of batches that an old service's client sees as one running job with a result.

A batch's parent stays `created` for EE2's clients. To a client of KBParallel or kb_BatchApp the
parent is the job that it waits for: `running` until its children have ended, then `completed`, with
a result made of theirs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ee2_jobs.checks import find_job
from ee2_jobs.engine import Engine
from ee2_jobs.legacy import batchapp, kbparallel
from ee2_jobs.model import LIVE, Document, Status

RESULTS: dict[str, Callable[[Engine, Document], Awaitable[list[Any]]]] = {
    kbparallel.METHOD: kbparallel.result_of,
    batchapp.METHOD: batchapp.result_of,
}
"""By the method in the parent's `job_input`: from the record of a completed parent to its result,
a list as an app returns it. It is made at each call: it may be larger than a record can be."""


async def settled(engine: Engine, jobs: Sequence[Document]) -> list[Document]:
    """The records, where completed parents have their `job_output`, and parents that wait only for
    the last step of their end have ended."""
    return [await _settled(engine, job) for job in jobs]


async def _settled(engine: Engine, job: Document) -> Document:
    method = (job.get("job_input") or {}).get("method", "") if job.get("batch_job") else ""
    result_of = RESULTS.get(method)
    if result_of is None:
        return job
    if (
        method == batchapp.METHOD
        and job["status"] in LIVE
        and await batchapp.settle(engine, str(job["_id"]))
    ):
        job = await find_job(engine.store, job["_id"])
    if job["status"] != Status.COMPLETED.value:
        return job
    result = await result_of(engine, job)
    return {**job, "job_output": {"version": "1.1", "id": str(job["_id"]), "result": result}}
