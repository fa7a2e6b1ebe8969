"""Jobs that do nothing, through the whole of EE2 and with plain condor_submit, in turn."""

from __future__ import annotations

import time
from typing import Any

from bench.engine import TRUE, Engine
from bench.figures import Figure, ratios, summary
from bench.pool import plain_s
from ee2_cli.settings import StackError

BATCH = 500
# Longer than a claim is kept for the next job, so that each job finds the pool as it is when idle.
PAUSE_S = 8


def measure(engine: Engine) -> list[Figure]:
    """The figures of this family."""
    return _one(engine) + _many(engine)


def _one(engine: Engine) -> list[Figure]:
    ours, peers = [], []
    for _ in range(engine.runs(10, 3)):
        time.sleep(PAUSE_S)
        began_s = time.time()
        job_id = engine.rpc.call("run_job", {"method": TRUE, "params": [{}]})
        job = _completed(engine.wait_job(job_id))
        ours.append(job["finished"] - began_s)
        engine.settle()
        time.sleep(PAUSE_S)
        peers.append(plain_s(engine, 1))
        engine.settle()
    peer = summary("condor_submit of one job", "s", [[p] for p in peers])
    over = [[mine - other] for mine, other in zip(ours, peers, strict=True)]
    return [
        Figure(
            "one true job in an idle stack: call to completed",
            "s",
            [[x] for x in ours],
            round(peer["p50"] + 1.5, 2),
            peer=peer,
            note="target: the peer's median plus 1.5 s",
        ),
        Figure("one true job in an idle stack: over the pool's own time", "s", over),
    ]


def _many(engine: Engine) -> list[Figure]:
    ours, peers, empty = [], [], []
    size = engine.runs(BATCH, 100)
    for _ in range(engine.runs(4, 1)):
        batch = engine.batch(size)
        ours.append(engine.wait_children(batch, "completed"))
        while engine.pool_jobs():
            time.sleep(0.05)
        empty.append(time.perf_counter() - batch.began)
        engine.settle()
        peers.append(plain_s(engine, size))
        engine.settle()
    peer = summary(f"condor_submit of {size} jobs", "s", [[p] for p in peers])
    name = f"{size} true jobs as one batch"
    return [
        Figure(name, "s", [[x] for x in ours], peer=peer, note="call to all completed"),
        Figure(f"{name}: out of the pool", "s", [[x] for x in empty]),
        Figure(f"{name}: ratio to condor_submit", "x", ratios(ours, peers), 1.1),
    ]


def _completed(job: dict[str, Any]) -> dict[str, Any]:
    if job["status"] != "completed":
        raise StackError(f"Job {job['_id']} is {job['status']}: {job.get('errormsg')}")
    return job
