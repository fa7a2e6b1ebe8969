"""Load at a steady rate, whatever the answers take: a call that is due is not put off because
others have not been answered, and its time counts from when it was due, so that queueing shows."""

from __future__ import annotations

import gc
import multiprocessing
import resource
import selectors
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from bench.wire import CallError, Connection, Load, Server

_SPAWN = multiprocessing.get_context("spawn")
# What is not answered so long after the last call was due counts as an error.
_LAST_S = 10.0


@dataclass(frozen=True)
class SteadyLoad(Load):
    """What a generator at a steady rate saw. errors: calls with an error or no answer, by text.
    late_ms: by how much the generator itself sent its latest call too late; near the latencies, it
    was the limit."""

    errors: dict[str, int]
    late_ms: float


def steady(
    server: Server,
    requests: Sequence[bytes],
    *,
    per_s: float,
    seconds: float,
    keep_connections: bool,
) -> SteadyLoad:
    """From another process, make the calls of `requests` in turn, `per_s` each second. With kept
    connections, each request has one of its own; else, each call."""
    arguments = (server, list(requests), per_s, seconds, keep_connections)
    with _SPAWN.Pool(1) as pool:
        return pool.apply(_steady, arguments)


def _steady(
    server: Server, requests: list[bytes], per_s: float, seconds: float, keep_connections: bool
) -> SteadyLoad:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is an open file
    gc.disable()
    generator = _Generator(server, requests, keep_connections)
    return generator.run(per_s, int(per_s * seconds))


class _Line:
    """A kept connection, or the place of one; the calls that wait for it, by their due times."""

    __slots__ = ("connection", "due", "waiting")

    def __init__(self, connection: Connection | None) -> None:
        self.connection = connection
        self.due: float | None = None
        self.waiting: deque[float] = deque()


class _Generator:
    def __init__(self, server: Server, requests: list[bytes], keep: bool) -> None:
        self._server, self._requests, self._keep = server, requests, keep
        self._selector = selectors.DefaultSelector()
        self._lines = [_Line(None) for _ in requests] if keep else []
        for number in range(len(self._lines)):
            self._connect(number)
        self._open = 0
        self._latencies_ms: list[float] = []
        self._ended_s: list[float] = []
        self._errors: dict[str, int] = {}

    def run(self, per_s: float, count: int) -> SteadyLoad:
        cpu = time.process_time()
        self._began = began = time.perf_counter()
        sent, late_s = 0, 0.0
        end = began + count / per_s + _LAST_S
        while (sent < count or self._open) and (now := time.perf_counter()) < end:
            while sent < count and (due := began + sent / per_s) <= now:
                late_s = max(late_s, now - due)
                self._start(sent % len(self._requests), due)
                sent += 1
                now = time.perf_counter()
            pause_s = began + sent / per_s - now if sent < count else end - now
            for key, _ in self._selector.select(max(0.0, pause_s)):
                self._read(*key.data)
        if self._open:
            self._errors["no answer"] = self._open
        took_s = max(count / per_s, max(self._ended_s, default=0.0))
        cpu_s = time.process_time() - cpu
        return SteadyLoad(
            self._latencies_ms, self._ended_s, took_s, cpu_s, self._errors, late_s * 1000
        )

    def _connect(self, number: int) -> Connection:
        line = self._lines[number]
        line.connection = Connection(self._server)
        self._selector.register(line.connection.socket, selectors.EVENT_READ, (number, line))
        return line.connection

    def _start(self, number: int, due: float) -> None:
        self._open += 1
        line = self._lines[number] if self._keep else _Line(None)
        if line.due is not None:
            line.waiting.append(due)
            return
        line.due = due
        try:
            if not self._keep:
                line.connection = Connection(self._server)
                self._selector.register(
                    line.connection.socket, selectors.EVENT_READ, (number, line)
                )
            connection = line.connection or self._connect(number)
            connection.send(self._requests[number])
        except (OSError, CallError) as e:
            self._failed(number, line, e)

    def _read(self, number: int, line: _Line) -> None:
        connection = line.connection
        if connection is None:
            return
        if line.due is None:  # the server has closed a connection at rest
            self._close(line)
            return
        try:
            if connection.receive() is None:
                return
        except (OSError, CallError) as e:
            self._failed(number, line, e)
            return
        now = time.perf_counter()
        self._latencies_ms.append((now - line.due) * 1000)
        self._ended_s.append(now - self._began)
        if not self._keep:
            self._close(line)
        self._done(number, line)

    def _failed(self, number: int, line: _Line, error: Exception) -> None:
        text = str(error)[:80]
        self._errors[text] = self._errors.get(text, 0) + 1
        self._close(line)
        self._done(number, line)

    def _close(self, line: _Line) -> None:
        if line.connection is not None:
            self._selector.unregister(line.connection.socket)
            line.connection.socket.close()
            line.connection = None

    def _done(self, number: int, line: _Line) -> None:
        self._open -= 1
        line.due = None
        if line.waiting:
            self._open -= 1
            self._start(number, line.waiting.popleft())
