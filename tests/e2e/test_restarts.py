"""The API server is restarted, or a part of it dies, under callers as patient as KBase's JobRunner:
its log pump tries a refused call again after a second, and then the healthy job is ended."""

import http.client
import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from ee2_cli import processes
from ee2_cli import stack as embedded
from ee2_cli.settings import StackError
from tests.conftest import Stack, until

CALLS_PER_S = 20
PATIENCE_S = 1.5
TRIES = 3


class Runner:
    """Polls as JobRunner does for a job, each call on a connection of its own, at a steady rate
    whatever the answers take. A context manager: the polling stops at its end."""

    def __init__(self, stack: Stack, job_id: str) -> None:
        parts = urlsplit(stack.rpc_url)
        self._host, self._port, self._path = parts.hostname or "", parts.port, parts.path
        self._headers = {"Authorization": stack.token}
        job = {"job_id": job_id}
        self._bodies = [
            json.dumps({"version": "1.1", "id": "1", "method": f"execution_engine2.{name}",
                        "params": params})
            for name, params in (("check_job_canceled", [job]), ("add_job_logs", [job, []]))
        ]
        self._stop = threading.Event()
        self._threads = ThreadPoolExecutor(500)
        self._ticker = threading.Thread(target=self._tick)
        self.answered = 0
        self.worst_s = 0.0
        self.refused: list[str] = []  # refused at the first try
        self.broken: list[str] = []  # connected, and got no answer at the first try
        self.lost: list[str] = []  # no answer within JobRunner's patience

    def __enter__(self) -> "Runner":
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._ticker.join()
        self._threads.shutdown()  # waits for the answers

    def _tick(self) -> None:
        due = time.monotonic()
        number = 0
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self._threads.submit(self._call, self._bodies[number % 2])
            number += 1
            due += 1 / CALLS_PER_S

    def _call(self, body: str) -> None:
        began = time.monotonic()
        for attempt in range(TRIES):
            try:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
                connection.request("POST", self._path, body, self._headers)
                answer = connection.getresponse()
                content = answer.read()
                assert answer.status == 200, content
                self.answered += 1
                self.worst_s = max(self.worst_s, time.monotonic() - began)
                return
            except (OSError, http.client.HTTPException) as e:
                if not attempt:
                    kind = self.refused if isinstance(e, ConnectionRefusedError) else self.broken
                    kind.append(repr(e))
                time.sleep(PATIENCE_S / TRIES)
            except AssertionError as e:
                self.lost.append(str(e))
                return
            finally:
                connection.close()
        self.lost.append("no answer")


@pytest.fixture
def job(stack: Stack) -> str:
    """A job that runs for a while."""
    job_id = str(stack.ee2("run_job", {"method": "ee2_test.sleep", "params": [{"seconds": 20}]}))
    until(
        lambda: stack.ee2("check_job", {"job_id": job_id})["status"] == "running" or None,
        180,
        lambda: "the job to run",
    )
    return job_id


def workers(stack: Stack) -> set[int]:
    return processes.workers(stack.pid("api-server"))


def replaced(stack: Stack, old: set[int]) -> None:
    """Wait for other workers."""
    until(lambda: bool(now := workers(stack)) and not now & old or None, 120, lambda: "new workers")


def test_a_restart_and_a_dead_worker_are_not_noticed(stack: Stack, job: str) -> None:
    holder, old = stack.pid("api-server"), workers(stack)
    assert old
    with Runner(stack, job) as runner:
        time.sleep(1)
        began = time.monotonic()
        embedded.restart(stack.settings, "api-server")
        took_s = time.monotonic() - began
        time.sleep(1)
    assert stack.pid("api-server") == holder, "who holds the socket stays"
    assert workers(stack) and not workers(stack) & old, "the code is loaded anew"
    assert runner.answered > CALLS_PER_S * 2
    assert (runner.refused, runner.broken, runner.lost) == ([], [], [])
    print(f"worst latency of a restart: {runner.worst_s:.3f} s")
    # Most of the time of a restart is the new worker's start.
    assert runner.worst_s < max(5, took_s / 2), "the old worker serves until the new one does"

    old = workers(stack)
    with Runner(stack, job) as runner:
        time.sleep(1)
        os.kill(min(old), signal.SIGKILL)
        replaced(stack, {min(old)})
        assert stack.ee2("ver")
    assert (runner.refused, runner.lost) == ([], [])
    assert len(runner.broken) <= 3, "only calls that the killed worker had begun may break"
    print(f"worst latency of a killed worker: {runner.worst_s:.3f} s")
    assert runner.worst_s < 60, "JobRunner's calls time out after a minute"

    assert stack.wait(job)["status"] == "completed"


def test_old_workers_stay_if_new_ones_do_not_start(stack: Stack) -> None:
    old = workers(stack)
    with ThreadPoolExecutor(1) as threads:
        restart = threads.submit(embedded.restart, stack.settings, "api-server")
        new = until(lambda: workers(stack) - old or None, 120, lambda: "a new worker")
        time.sleep(1)  # it loads Airflow
        os.kill(new.pop(), signal.SIGKILL)
        with pytest.raises(StackError, match="did not start; old ones serve on"):
            restart.result(60)
    assert workers(stack) == old
    assert stack.ee2("ver")


def test_workers_end_with_who_holds_their_socket(stack: Stack) -> None:
    holder, old = stack.pid("api-server"), workers(stack)
    os.kill(holder, signal.SIGKILL)
    until(lambda: None if any(map(alive, old)) else True, 120, lambda: "the workers to end")
    replaced(stack, old)
    assert stack.ee2("ver")


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
