"""What needs a second API process: the stack is restarted with one for it, and back afterwards."""

from __future__ import annotations

from bench.engine import Engine
from bench.figures import Figure
from bench.wire import closed_loop
from ee2_cli import stack
from ee2_cli.settings import load_settings

WORKERS = 2
CONNECTIONS = 50


def measure(engine: Engine) -> list[Figure]:
    """The figures of this family."""
    if engine.settings.api_workers == WORKERS:
        return _sustained(engine)
    settings = load_settings(api_workers=WORKERS)
    stack.up(settings, engine.say)
    try:
        with Engine(settings, engine.quick, engine.say) as other:
            return _sustained(other)
    finally:
        stack.up(engine.settings, engine.say)


def _sustained(engine: Engine) -> list[Figure]:
    with engine.queued_batch(CONNECTIONS) as batch:
        requests = [
            [engine.server.request("get_job_status", {"job_id": job_id})]
            for job_id in batch.children
        ]
        closed_loop(engine.server, requests, seconds=2)
        loads = [
            closed_loop(engine.server, requests, seconds=engine.runs(10, 4))
            for _ in range(engine.runs(5, 2))
        ]
    share = max(load.client_share for load in loads)
    note = (
        f"{CONNECTIONS} connections, {WORKERS} API processes; the load generator, a process of its "
        f"own, used up to {share:.0%} of a core"
    )
    name = "get_job_status, sustained"
    return [
        Figure(name, "calls/s", [[x.calls_per_s] for x in loads], 1500, better="more", note=note),
        Figure(f"{name}: p99", "ms", [x.latencies_ms for x in loads], judged="p99", note=note),
    ]
