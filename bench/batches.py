"""Batches: accepting, queueing, cancelling, retrying, and what other callers feel of it."""

from __future__ import annotations

import time

from bench.engine import Engine
from bench.figures import Figure
from bench.wire import probing

PROBE_EVERY_S = 0.005


def measure(engine: Engine) -> list[Figure]:
    """The figures of this family."""
    figures = _sizes(engine)
    figures += _cancel(engine)
    figures += _retry(engine)
    return figures


def _sizes(engine: Engine) -> list[Figure]:
    """Batches of two sizes. Each is submitted twice a run: alone, and with a probe beside it, whose
    longest call is the stall."""
    figures = []
    for size, call_target_s, queued_target_s, runs in ((1000, 0.2, 2, 5), (10_000, 2, 10, 3)):
        calls_s, queued_s, stalls_ms = [], [], []
        for _ in range(engine.runs(runs, 1)):
            batch = engine.idle_batch(size)
            queued_s.append([engine.wait_children(batch, "queued")])
            calls_s.append([batch.call_s])
            engine.cancel([batch.batch_id])
            stalls_ms.append([_stall_ms(engine, size, batch.children[0])])
        name = f"run_job_batch of {size:,}"
        figures += [
            Figure(f"{name}: call", "s", calls_s, call_target_s),
            Figure(f"{name}: all queued", "s", queued_s, queued_target_s),
            Figure(
                f"{name}: worst stall of another call",
                "ms",
                stalls_ms,
                100,
                note=f"the longest get_job_status, one each {PROBE_EVERY_S * 1000:g} ms from "
                "another process, from the call until all jobs are queued",
            ),
        ]
    return figures


def _stall_ms(engine: Engine, size: int, any_job: str) -> float:
    request = engine.server.request("get_job_status", {"job_id": any_job})
    with probing(engine.server, request, PROBE_EVERY_S) as probe:
        batch = engine.idle_batch(size)
        engine.wait_children(batch, "queued")
    engine.cancel([batch.batch_id])
    return max(probe.result.latencies_ms)


def _cancel(engine: Engine) -> list[Figure]:
    calls_s, gone_s = [], []
    for _ in range(engine.runs(5, 2)):
        batch = engine.idle_batch(500)
        engine.wait_children(batch, "queued")
        began = time.perf_counter()
        calls_s.append([engine.timed_s("cancel_job", {"job_id": batch.batch_id})])
        engine.settle()
        gone_s.append([time.perf_counter() - began])
    name = "cancel a batch of 500 queued children"
    return [
        Figure(f"{name}: call", "s", calls_s, 0.5, note="all records are changed then"),
        Figure(f"{name}: out of the pool, Airflow's run ended", "s", gone_s),
    ]


def _retry(engine: Engine) -> list[Figure]:
    """100 jobs that failed on a node are retried together; each run retries the same ones, whose
    latest attempts have failed meanwhile."""
    batch = engine.batch(100, method="ee2_test.fail", params={"how": "exit"})
    engine.wait_children(batch, "error")
    engine.settle()
    calls_s = []
    for _ in range(engine.runs(5, 2)):
        calls_s.append([engine.timed_s("retry_jobs", {"job_ids": batch.children})])
        engine.settle()
    return [Figure("retry 100 failed jobs: call", "s", calls_s, 0.3)]
