"""What a second API process carries: the stack is restarted with one, and back afterwards."""

from __future__ import annotations

from bench.engine import Engine
from bench.figures import Figure
from bench.sustained import CONNECTIONS, api_workers, sustained

WORKERS = 2


def measure(engine: Engine) -> list[Figure]:
    """The figures of this family."""
    with api_workers(engine, WORKERS) as other, other.queued_batch(CONNECTIONS) as batch:
        requests = [
            [other.server.request("get_job_status", {"job_id": job_id})]
            for job_id in batch.children
        ]
        return sustained(
            other, "get_job_status", requests, target=1500, about=f"{WORKERS} API processes"
        )
