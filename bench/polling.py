"""What KBase's JobRunner asks, at its own pace: 1,000 running jobs, each with one
check_job_canceled and one empty add_job_logs a second, with one API process and with two."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from bson import ObjectId

from bench.engine import Engine
from bench.figures import Figure, percentile
from bench.steady import SteadyLoad, steady
from bench.sustained import api_workers
from ee2_cli import processes, stack

JOBS = 1000
PER_S = 2 * JOBS
P99_MS = 100.0
_STEP = 1.2
_MOST_PER_S = 20_000
# EE2's own clients open a connection for each call; a proxy in front of the server keeps them.
_MODES = {False: "a connection per call", True: "kept connections"}
_READS_AND_WRITES = ("query", "getmore", "insert", "update", "delete")


@dataclass(frozen=True)
class _Run:
    """A load, what the server's parts used meanwhile (cores), and MongoDB's operations a call."""

    load: SteadyLoad
    api: float
    mongod: float
    operations: float

    @property
    def p99_ms(self) -> float:
        return percentile(self.load.latencies_ms, 0.99) if self.load.latencies_ms else float("inf")

    @property
    def held(self) -> bool:
        """Whether every call was answered, 99 of 100 in time."""
        return not self.load.errors and self.p99_ms < P99_MS


def measure(engine: Engine) -> list[Figure]:
    """The figures of this family."""
    figures = []
    for workers in (1, 2):
        with api_workers(engine, workers) as other, _running_jobs(other) as requests:
            poller = _Poller(other, requests, f"{workers} API process" + "es" * (workers > 1))
            for keep in _MODES:
                figures += poller.at_their_pace(keep)
                figures.append(poller.highest(keep))
    return figures


@contextmanager
def _running_jobs(engine: Engine) -> Iterator[list[bytes]]:
    """Records of running jobs that nothing runs, taken away at the end; the two requests of each.

    They belong to no submission, so nothing of the engine's looks for them in the pool.
    """
    now = time.time()
    oids = [ObjectId() for _ in range(JOBS)]
    job = {
        "user": "admin", "authstrat": "DEFAULT", "status": "running", "updated": now,
        "queued": now, "running": now, "batch_job": False, "child_jobs": [], "retry_ids": [],
        "retry_saved_toggle": False, "scheduler_type": "bench",
    }  # fmt: skip
    requests = []
    for oid in oids:
        job_id, token = str(oid), engine.job_token(str(oid))
        server = engine.server
        requests.append(server.request("check_job_canceled", {"job_id": job_id}, token=token))
        requests.append(server.request("add_job_logs", {"job_id": job_id}, [], token=token))
    try:
        engine.db.ee2_jobs.insert_many([{"_id": oid, **job} for oid in oids])
        yield requests
    finally:
        for name in ("ee2_jobs", "ee2_log_buckets"):
            field = "_id" if name == "ee2_jobs" else "job"
            engine.db[name].delete_many({field: {"$in": oids}})


class _Poller:
    def __init__(self, engine: Engine, requests: list[bytes], about: str) -> None:
        self._engine, self._requests, self._about = engine, requests, about
        self._idle_per_s = self._operations(engine.runs(10, 3))
        self._run(PER_S, 4, True)  # each process looks each log up once

    def at_their_pace(self, keep: bool) -> list[Figure]:
        """2,000 calls a second."""
        engine = self._engine
        runs = [self._run(PER_S, engine.runs(15, 5), keep) for _ in range(engine.runs(3, 2))]
        loads = [r.load for r in runs]
        errors = sum(sum(x.errors.values()) for x in loads)
        note = (
            f"{self._about}, {_MODES[keep]}, open loop: the time counts from when a call was due; "
            f"{errors} errors; " + _used(runs)
        )
        name = f"{PER_S:,} calls/s of {JOBS:,} running jobs, {self._about}, {_MODES[keep]}"
        latencies = [x.latencies_ms for x in loads]
        answered = [[x.calls_per_s] for x in loads]
        operations = [[r.operations] for r in runs]
        return [
            Figure(f"{name}: p99", "ms", latencies, P99_MS, "p99", note=note),
            Figure(f"{name}: answered", "calls/s", answered, PER_S * 0.99, better="more"),
            Figure(f"{name}: MongoDB operations a call", "", operations, 1.0),
        ]

    def highest(self, keep: bool) -> Figure:
        """The highest rate with 99 of 100 calls answered within 100 ms, found step by step."""
        found: list[list[float]] = []
        last: list[_Run] = []
        for _ in range(self._engine.runs(3, 1)):
            rate, best = PER_S / _STEP**2, 0.0
            while rate <= _MOST_PER_S:
                run = self._run(rate, self._engine.runs(5, 3), keep)
                if not run.held:
                    break
                last = [*last[-2:], run]
                best = rate
                rate *= _STEP
            found.append([best])
        name = f"highest steady rate at p99 < {P99_MS:g} ms, {self._about}, {_MODES[keep]}"
        note = f"steps of {_STEP - 1:.0%}; at the highest: {_used(last)}" if last else ""
        return Figure(name, "calls/s", found, PER_S, better="more", note=note)

    def _run(self, per_s: float, seconds: float, keep: bool) -> _Run:
        api, mongod = self._processes()
        before = [_cpu_s(api), _cpu_s(mongod), float(self._counted())]
        began = time.perf_counter()
        load = steady(
            self._engine.server,
            self._requests,
            per_s=per_s,
            seconds=seconds,
            keep_connections=keep,
        )
        took_s = time.perf_counter() - began
        after = [_cpu_s(api), _cpu_s(mongod), float(self._counted())]
        used = [b - a for a, b in zip(before, after, strict=True)]
        calls = max(1, len(load.latencies_ms))
        operations = max(0.0, used[2] - took_s * self._idle_per_s) / calls
        return _Run(load, used[0] / load.seconds, used[1] / load.seconds, operations)

    def _processes(self) -> tuple[list[psutil.Process], list[psutil.Process]]:
        pids = {s.name: s.pid or 0 for s in stack.status(self._engine.settings).services}
        api = processes.workers(pids["api-server"])
        return [psutil.Process(p) for p in api], [psutil.Process(pids["mongod"])]

    def _operations(self, seconds: float) -> float:
        """MongoDB's operations a second while nothing is asked."""
        before = self._counted()
        time.sleep(seconds)
        return (self._counted() - before) / seconds

    def _counted(self) -> int:
        counters = self._engine.db.command("serverStatus")["opcounters"]
        return sum(counters[name] for name in _READS_AND_WRITES)


def _cpu_s(of: list[psutil.Process]) -> float:
    return float(sum(sum(p.cpu_times()[:2]) for p in of))


def _used(runs: list[_Run]) -> str:
    """What ran on the machine's cores, as words; the generator shares them with the server."""
    share = max(r.load.client_share for r in runs)
    late = max(r.load.late_ms for r in runs)
    api, mongod = max(r.api for r in runs), max(r.mongod for r in runs)
    return (
        f"processor, in cores: API {api:.2f}, mongod {mongod:.2f}, load generator on the same "
        f"machine {share:.2f} (it sent its latest call {late:.0f} ms too late)"
    )
