"""What the server carries at most: some connections, each with its next call when the last is
answered. And the stack with another number of API processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.engine import Engine
from bench.figures import Figure
from bench.wire import closed_loop
from ee2_cli import stack
from ee2_cli.settings import load_settings

CONNECTIONS = 50


def sustained(
    engine: Engine,
    name: str,
    requests: Sequence[Sequence[bytes]],
    *,
    target: float,
    p99_ms: float | None = None,
    about: str,
) -> list[Figure]:
    """Calls a second and their latency; requests: per connection, those that it makes in turn."""
    closed_loop(engine.server, requests, seconds=2)
    loads = [
        closed_loop(engine.server, requests, seconds=engine.runs(10, 4))
        for _ in range(engine.runs(5, 2))
    ]
    share = max(load.client_share for load in loads)
    note = (
        f"{len(requests)} connections, {about}; the load generator, a process of its own, used up "
        f"to {share:.0%} of a core"
    )
    rates, latencies = [[x.calls_per_s] for x in loads], [x.latencies_ms for x in loads]
    return [
        Figure(f"{name}, sustained", "calls/s", rates, target, better="more", note=note),
        Figure(f"{name}, sustained: p99", "ms", latencies, p99_ms, "p99", note=note),
    ]


@contextmanager
def api_workers(engine: Engine, count: int) -> Iterator[Engine]:
    """The stack restarted with so many API processes, and as it was afterwards."""
    if engine.settings.api_workers == count:
        yield engine
        return
    settings = load_settings(api_workers=count)
    stack.up(settings, engine.say)
    try:
        with Engine(settings, engine.quick, engine.say) as other:
            yield other
    finally:
        stack.up(engine.settings, engine.say)
