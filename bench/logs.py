"""Logs: appending to a long one, reading its end, and many writers at once."""

from __future__ import annotations

import json

from bench.engine import Engine
from bench.figures import Figure
from bench.wire import Connection, Server, closed_loop

LONG = 100_000
WRITERS, CALLS, LINES = 8, 50, 10


def measure(engine: Engine) -> list[Figure]:
    """The figures of this family."""
    with engine.queued_batch(1 + engine.runs(5, 2)) as batch:
        figures = _long_log(engine, batch.children[0])
        return figures + _writers(engine, batch.children[1:])


def _lines(count: int, text: str) -> list[dict[str, object]]:
    return [{"line": f"{text} {n}: reads aligned so far", "is_error": 0} for n in range(count)]


def _long_log(engine: Engine, job_id: str) -> list[Figure]:
    part = 1000
    for start in range(0, LONG, part):
        engine.rpc.call("add_job_logs", {"job_id": job_id}, _lines(part, f"line {start} +"))
    append = engine.server.request("add_job_logs", {"job_id": job_id}, _lines(LINES, "more"))
    appends, reads = [], []
    for _ in range(engine.runs(5, 2)):
        with Connection(engine.server) as connection:
            appends.append([connection.timed_ms(append) for _ in range(60)])
            count = json.loads(connection.call(_read(engine.server, job_id, LONG - 1)))
            skip = count["result"][0]["count"] - LINES
            read = _read(engine.server, job_id, skip)
            assert len(json.loads(connection.call(read))["result"][0]["lines"]) == LINES
            reads.append([connection.timed_ms(read) for _ in range(60)])
    return [
        Figure(f"append {LINES} lines to a log of 100,000", "ms", appends, 4),
        Figure(f"read the last {LINES} lines of a log of 100,000", "ms", reads, 5),
    ]


def _read(server: Server, job_id: str, skip: int) -> bytes:
    return server.request("get_job_logs", {"job_id": job_id, "skip_lines": skip})


def _writers(engine: Engine, job_ids: list[str]) -> list[Figure]:
    """Each run has a new log; the loads are of other processes."""
    kept, positions, seconds = [], [], []
    for job_id in job_ids:
        requests = [
            [engine.server.request("add_job_logs", {"job_id": job_id}, _lines(LINES, f"by {w},"))]
            for w in range(WRITERS)
        ]
        load = closed_loop(engine.server, requests, calls=CALLS)
        lines = engine.rpc.call("get_job_logs", {"job_id": job_id})["lines"]
        kept.append([float(len(lines))])
        positions.append([float(len({line["linepos"] for line in lines}))])
        seconds.append([load.seconds])
    total = WRITERS * CALLS * LINES
    name = f"{WRITERS} writers x {CALLS} calls x {LINES} lines to one new log"
    return [
        Figure(f"{name}: lines kept", "lines", kept, total, better="more"),
        Figure(f"{name}: different positions", "positions", positions, total, better="more"),
        Figure(f"{name}: duration", "s", seconds),
    ]
