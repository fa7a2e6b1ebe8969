"""The benchmark's statistics, its verdicts, and the files it writes. Nothing is timed here."""

import json
import socket
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from bench import figures
from bench.figures import Figure, percentile, ratios
from bench.steady import steady
from bench.wire import CallError, Connection, Server

PEER = figures.summary("other", "s", [[1], [3]])


def test_percentile_lies_between_its_neighbours() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([7], 0.95) == 7
    assert percentile(list(range(101)), 0.95) == 95
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("values", "target", "judged", "better", "reached"),
    [
        ([1, 2, 3], 2, "p50", "less", True),
        ([1, 2, 3], 1.9, "p50", "less", False),
        ([1, 2, 300], 100, "max", "less", False),
        ([799, 801], 800, "p50", "more", True),
        ([799, 800], 800, "p50", "more", False),
        ([1], None, "p50", "less", None),
    ],
)
def test_verdict(values, target, judged, better, reached) -> None:
    figure = Figure("x", "s", [values], target, judged, better)
    assert figure.reached is reached


def test_ratios_are_of_the_runs_beside_each_other() -> None:
    assert ratios([2, 9], [1, 3]) == [[2], [3]]
    with pytest.raises(ValueError):
        ratios([1, 2], [1])


def test_file_of_results(tmp_path: Path) -> None:
    found = [
        Figure("call", "ms", [[1, 2, 3], [10, 20, 30]], 5, peer=PEER),
        Figure("kept", "lines", [[4000]], 4000, better="more"),
        Figure("unexplained", "s", [[2]], 1),
        Figure("for information", "s", [[0.123456]]),
    ]
    path = tmp_path / "deeper" / "calls.json"
    figures.write(path, found, {"call": "because"}, machine={"cores": 2}, date="2024-01-01")
    content = json.loads(path.read_text())
    assert content["name"] == "calls"
    assert content["machine"] == {"cores": 2}
    call, kept, unexplained, information = content["figures"]
    assert call["p50"] == 6.5
    assert call["runs"] == 2
    assert call["spread"] == [2, 20]
    assert call["reached"] is False
    assert call["reason"] == "because"
    assert call["peer"] == PEER
    assert kept["reached"] is True
    assert "reason" not in kept
    assert unexplained["reason"] == "not looked into yet"
    assert information["reached"] is None
    assert information["p50"] == 0.123


def test_table_shows_what_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        Figure("stall", "ms", [[50, 150]], 100, "max"),
        Figure("ratio", "x", [[2]], 3, peer=PEER),
    ]
    figures.show("title", found, Console(width=200))
    shown = capsys.readouterr().out
    assert "missed (150)" in shown
    assert "max ≤ 100" in shown
    assert "other, s" in shown
    assert "reached" in shown


class Answers:
    """A server that reads one request for each of the given answers, and sends that in pieces."""

    def __init__(self, *answers: list[bytes]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.server = Server(f"http://127.0.0.1:{self._listener.getsockname()[1]}/rpc", "token")
        self.requests: list[bytes] = []
        self._answers = answers
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "Answers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            for pieces in self._answers:
                self.requests.append(connection.recv(1 << 16))
                for piece in pieces:
                    connection.sendall(piece)


def test_client_reads_answers_in_pieces() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    with Answers([head[:20], head[20:] + b"01234", b"56789"], [head + b"abcdefghij"]) as there:
        request = there.server.request("get_job_status", {"job_id": "x"}, token="other")
        with Connection(there.server) as connection:
            assert connection.call(request) == b"0123456789"
            assert connection.call(request) == b"abcdefghij"
    sent = there.requests[0]
    head_sent, _, body = sent.partition(b"\r\n\r\n")
    assert b"POST /rpc HTTP/1.1" in head_sent
    assert b"Authorization: other" in head_sent
    assert json.loads(body)["params"] == [{"job_id": "x"}]


def test_client_does_not_take_an_error_for_an_answer() -> None:
    with Answers([b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\nbad!"]) as there:
        with Connection(there.server) as connection, pytest.raises(CallError, match="bad!"):
            connection.call(there.server.request("ver"))


def test_client_notices_that_the_server_has_gone() -> None:
    with Answers([b"HTTP/1.1 200 OK\r\n"]) as there:
        with Connection(there.server) as connection, pytest.raises(CallError, match="closed"):
            connection.call(there.server.request("ver"))


class Delayed(threading.Thread):
    """A server that answers each call after `delay_s`, one at a time, on any number of connections;
    calls with "bad" in them get an error."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(daemon=True)
        self._delay_s = delay_s
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.server = Server(f"http://127.0.0.1:{self._listener.getsockname()[1]}/rpc", "token")
        self.connections = 0
        self._one = threading.Lock()
        self.start()

    def run(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        while request := connection.recv(1 << 16):
            with self._one:
                time.sleep(self._delay_s)
            status = b"500 Oops" if b"bad" in request else b"200 OK"
            connection.sendall(b"HTTP/1.1 " + status + b"\r\ncontent-length: 2\r\n\r\n{}")


@pytest.mark.parametrize("keep", [True, False])
def test_steady_load_counts_from_when_a_call_was_due(keep: bool) -> None:
    there = Delayed(0.02)  # 50 calls a second
    requests = [there.server.request("ver", n) for n in range(10)]
    load = steady(there.server, requests, per_s=100, seconds=0.5, keep_connections=keep)
    assert len(load.latencies_ms) == 50 and load.errors == {}
    assert there.connections == (10 if keep else 50)
    # The last of 50 calls was due after 0.5 s and is answered after 1 s.
    assert max(load.latencies_ms) > 400 > min(load.latencies_ms)
    assert load.calls_per_s < 60


def test_steady_load_counts_errors() -> None:
    there = Delayed(0)
    requests = [there.server.request("ver"), there.server.request("bad")]
    load = steady(there.server, requests, per_s=100, seconds=0.2, keep_connections=True)
    assert len(load.latencies_ms) == 10
    assert sum(load.errors.values()) == 10
