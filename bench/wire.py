"""A client that costs little, so that what is measured is the server: HTTP/1.1 on plain sockets,
and a load generator in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_SPAWN = multiprocessing.get_context("spawn")
_TIMEOUT_S = 120.0


class CallError(Exception):
    """The server answered with an error, or went away."""


@dataclass(frozen=True)
class Server:
    """Where JSON-RPC is spoken, and as whom."""

    url: str
    token: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "127.0.0.1", parts.port or 80

    def request(self, method: str, *params: Any, token: str | None = None) -> bytes:
        """The whole HTTP request of a call of `execution_engine2.<method>`."""
        body = json.dumps(
            {
                "version": "1.1",
                "id": "1",
                "method": f"execution_engine2.{method}",
                "params": params,
            },
            separators=(",", ":"),
        ).encode()
        host, port = self.address
        head = (
            f"POST {urlsplit(self.url).path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: {token or self.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Connection:
    """One kept connection. Not for several calls at once."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(server.address, timeout=_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parts: list[bytes] = []
        self._missing: int | None = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def call(self, request: bytes) -> bytes:
        """Send a request and return the body of its answer; CallError if that is an error."""
        self.send(request)
        while (body := self.receive()) is None:
            pass
        return body

    def timed_ms(self, request: bytes) -> float:
        """How long a call takes until its answer is complete, ms."""
        began = time.perf_counter()
        self.call(request)
        return (time.perf_counter() - began) * 1000

    def send(self, request: bytes) -> None:
        """Send a request."""
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Read what is there; the body once the answer is complete, None before that."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise CallError("the server closed the connection")
        if self._missing is None:
            self._parts.append(data)
            head, end, rest = b"".join(self._parts).partition(b"\r\n\r\n")
            if not end:
                return None
            lower = head.lower()
            place = lower.index(b"content-length:") + len(b"content-length:")
            length = int(lower[place:].split(b"\r\n", 1)[0])
            self._failed = not head.startswith(b"HTTP/1.1 200")
            self._parts = [rest]
            self._missing = length - len(rest)
        else:
            self._parts.append(data)
            self._missing -= len(data)
        if self._missing > 0:
            return None
        body = b"".join(self._parts)
        self._parts, self._missing = [], None
        if self._failed:
            raise CallError(body[:500].decode(errors="replace"))
        return body


@dataclass(frozen=True)
class Load:
    """What a load generator saw. latencies_ms: of each call; ended_s: when each was answered, from
    the start; client_cpu_s: what the generator itself used."""

    latencies_ms: list[float]
    ended_s: list[float]
    seconds: float
    client_cpu_s: float

    @property
    def calls_per_s(self) -> float:
        """Answers a second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def client_share(self) -> float:
        """How busy the generator was, 0 to 1: near 1 it was the limit, not the server."""
        return self.client_cpu_s / self.seconds


def closed_loop(
    server: Server,
    requests: Sequence[Sequence[bytes]],
    *,
    seconds: float | None = None,
    calls: int | None = None,
) -> Load:
    """Load from another process: one connection per element of `requests`, each sending its
    requests in turn, the next one when the last is answered; for some seconds, or for so many calls
    on each connection."""
    with _SPAWN.Pool(1) as pool:
        return pool.apply(_closed_loop, (server, requests, seconds, calls))


def _closed_loop(
    server: Server,
    requests: Sequence[Sequence[bytes]],
    seconds: float | None,
    calls: int | None,
) -> Load:
    latencies_ms: list[float] = []
    ended_s: list[float] = []
    selector = selectors.DefaultSelector()
    connections = [Connection(server) for _ in requests]
    cpu = time.process_time()
    began = time.perf_counter()
    end = began + seconds if seconds is not None else float("inf")
    state: list[list[Any]] = []
    for number, connection in enumerate(connections):
        selector.register(connection.socket, selectors.EVENT_READ, number)
        connection.send(requests[number][0])
        state.append([time.perf_counter(), 1])
    open_connections = len(connections)
    while open_connections:
        for key, _ in selector.select():
            number = key.data
            connection = connections[number]
            if connection.receive() is None:
                continue
            now = time.perf_counter()
            sent, count = state[number]
            latencies_ms.append((now - sent) * 1000)
            ended_s.append(now - began)
            if now >= end or count == calls:
                selector.unregister(connection.socket)
                connection.socket.close()
                open_connections -= 1
                continue
            row = requests[number]
            connection.send(row[count % len(row)])
            state[number] = [time.perf_counter(), count + 1]
    took_s = time.perf_counter() - began
    return Load(latencies_ms, ended_s, took_s, time.process_time() - cpu)


class Probe:
    """The running probe of `probing`; `result` is there afterwards."""

    result: Load


@contextmanager
def probing(server: Server, request: bytes, every_s: float) -> Iterator[Probe]:
    """While the block runs, another process makes the same call every `every_s` seconds (at once,
    if the call before took longer)."""
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_probe, args=(there, server, request, every_s))
    process.start()
    probe = Probe()
    try:
        there.close()
        here.recv()
        yield probe
        here.send("stop")
        probe.result = here.recv()
    finally:
        here.close()
        process.join(5)
        if process.is_alive():
            process.kill()


def _probe(pipe: Any, server: Server, request: bytes, every_s: float) -> None:
    latencies_ms: list[float] = []
    ended_s: list[float] = []
    with Connection(server) as connection:
        connection.call(request)
        pipe.send("ready")
        cpu = time.process_time()
        began = due = time.perf_counter()
        while not pipe.poll(max(0.0, due - time.perf_counter())):
            latencies_ms.append(connection.timed_ms(request))
            now = time.perf_counter()
            ended_s.append(now - began)
            due = max(due + every_s, now)
        took_s = time.perf_counter() - began
        pipe.send(Load(latencies_ms, ended_s, took_s, time.process_time() - cpu))
