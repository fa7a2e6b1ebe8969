"""Single calls: how long they take, and how many a second one API process carries."""

from __future__ import annotations

import json
import time

from bench.engine import NEVER, TRUE, Engine
from bench.figures import Figure
from bench.sustained import CONNECTIONS, sustained
from bench.wire import Connection

_RUN_JOB = {"method": TRUE, "params": [{}], "job_requirements": NEVER}


def measure(engine: Engine) -> list[Figure]:
    """The figures of this family."""
    figures = _run_job(engine)
    figures += _run_job_paced(engine)
    with engine.queued_batch(1000) as batch:
        figures += _checks(engine, batch.batch_id, batch.children)
        figures += _sustained(engine, batch.children)
    return figures


def _run_job(engine: Engine) -> list[Figure]:
    """One client, each call when the one before has been answered."""
    rounds = []
    request = engine.server.request("run_job", _RUN_JOB)
    for _ in range(engine.runs(5, 2)):
        ids, latencies_ms = [], []
        with Connection(engine.server) as connection:
            for _ in range(engine.runs(60, 20)):
                began = time.perf_counter()
                body = connection.call(request)
                latencies_ms.append((time.perf_counter() - began) * 1000)
                ids.append(json.loads(body)["result"][0])
        rounds.append(latencies_ms)
        engine.wait_queued(ids)
        engine.cancel(ids)
    note = "one client, the next call when the last is answered; Airflow works them off meanwhile"
    return [
        Figure("run_job call, p50", "ms", rounds, 10, note=note),
        Figure("run_job call, p95", "ms", rounds, 25, "p95", note=note),
    ]


def _run_job_paced(engine: Engine) -> list[Figure]:
    """One call a second: a stack with little to do."""
    call_rounds, queue_rounds = [], []
    request = engine.server.request("run_job", _RUN_JOB)
    for _ in range(engine.runs(3, 1)):
        ids, calls_ms, began_s = [], [], []
        with Connection(engine.server) as connection:
            for _ in range(engine.runs(20, 10)):
                began_s.append(time.time())
                began = time.perf_counter()
                body = connection.call(request)
                calls_ms.append((time.perf_counter() - began) * 1000)
                ids.append(json.loads(body)["result"][0])
                time.sleep(1)
        jobs = engine.wait_queued(ids)
        queue_rounds.append([j["queued"] - b for j, b in zip(jobs, began_s, strict=True)])
        call_rounds.append(calls_ms)
        engine.cancel(ids)
    return [
        Figure("run_job call, one a second", "ms", call_rounds),
        Figure("run_job call to HTCondor queue", "s", queue_rounds, 1.0, note="one call a second"),
    ]


def _checks(engine: Engine, batch_id: str, children: list[str]) -> list[Figure]:
    questions = {
        ("check_jobs of 100", 10.0): ("check_jobs", {"job_ids": children[:100]}, 60),
        ("check_jobs of 1,000", 50.0): ("check_jobs", {"job_ids": children}, 20),
        ("check_job_batch of 1,000 children", 50.0): ("check_job_batch", {"job_id": batch_id}, 20),
        ("get_job_status", 3.0): ("get_job_status", {"job_id": children[0]}, 300),
    }
    figures = []
    for (name, target), (method, params, count) in questions.items():
        request = engine.server.request(method, params)
        rounds = []
        for _ in range(engine.runs(5, 2)):
            with Connection(engine.server) as connection:
                connection.call(request)
                rounds.append([connection.timed_ms(request) for _ in range(count)])
        figures.append(Figure(name, "ms", rounds, target))
    return figures


def _sustained(engine: Engine, children: list[str]) -> list[Figure]:
    """What KBase's JobRunner asks of every running job, from some connections that never rest."""
    requests = []
    for job_id in children[:CONNECTIONS]:
        token = engine.job_token(job_id)
        requests.append(
            [
                engine.server.request("check_job_canceled", {"job_id": job_id}, token=token),
                engine.server.request("add_job_logs", {"job_id": job_id}, [], token=token),
            ]
        )
    return sustained(
        engine,
        "check_job_canceled + empty add_job_logs",
        requests,
        target=800,
        p99_ms=100,
        about="jobs' own tokens, one API process",
    )
