"""The real stack, once per test session: its own state folder, its own ports, the same programs."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

from ee2_cli import processes
from ee2_cli import stack as embedded
from ee2_cli.services import Supervisor
from ee2_cli.settings import StackSettings, load_settings

T = TypeVar("T")
# On the session's stack; and some pages, so that both halves take as long.
ON_STACK = re.compile(
    r"tests/(e2e/|browser/test_(homes|scenarios|settings|status)|services/test_(airflow_|stack))"
)
TERMINAL = {"completed", "error", "terminated"}


class RpcError(Exception):
    """An error reply of the service; `body` is its `error` object."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body["message"])
        self.body = body


class Halves(LoadScopeScheduling):
    """All tests in two processes (`./ee2 test`): those on the session's stack, which mostly wait
    for it, and the others. In each process in the order of their files."""

    def _split_scope(self, nodeid: str) -> str:
        return "on the stack" if ON_STACK.match(nodeid) else "others"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Halves:
    """See the class. A hook of pytest-xdist."""
    return Halves(config, log)


@dataclass(frozen=True)
class Stack:
    """A running stack, and a client of it."""

    settings: StackSettings
    rpc_url: str
    airflow_url: str
    mongo_uri: str
    airflow_user: str
    airflow_password: str
    token: str

    @property
    def var_dir(self) -> Path:
        """Where its state is."""
        return self.settings.var_dir

    def pid(self, service: str) -> int:
        """The process id of a service."""
        states = Supervisor(self.var_dir).states(embedded._services(self.settings))
        found = next(s.pid for s in states if s.name == service)
        assert found, f"{service} does not run"
        return found

    def kill(self, service: str) -> None:
        """kill -9 a service and what it has forked, as a crash of the machine's part would."""
        process = psutil.Process(self.pid(service))
        for one in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):  # helpers end with each other
                one.kill()

    def rpc(self, method: str, *params: Any, token: str | None = None) -> Any:
        """Call a method as KBase's clients do; RpcError for an error reply."""
        call = {"version": "1.1", "id": "1", "method": method, "params": list(params)}
        reply = httpx.post(
            self.rpc_url, json=call, timeout=180, headers={"Authorization": token or self.token}
        )
        body = reply.json()
        if "error" in body:
            raise RpcError(body["error"])
        return body["result"][0] if body["result"] else None

    def ee2(self, name: str, *params: Any, **more: Any) -> Any:
        """Call a method of execution_engine2."""
        return self.rpc(f"execution_engine2.{name}", *params, **more)

    def wait(self, job_id: str, timeout_s: float = 180) -> dict[str, Any]:
        """The state of a job once it has ended."""
        return until(
            lambda: (
                state
                if (state := self.ee2("check_job", {"job_id": job_id}))["status"] in TERMINAL
                else None
            ),
            timeout_s,
            lambda: f"job {job_id} to end; log: {self.log(job_id)}",
        )

    def wait_batch(self, batch_id: str, timeout_s: float = 240) -> dict[str, Any]:
        """A batch's check_job_batch once its children and stage jobs have ended."""

        def ended() -> dict[str, Any] | None:
            batch = self.ee2("check_job_batch", {"job_id": batch_id})
            parent = batch["batch_jobstate"]
            live = set(parent["child_counts"]) - TERMINAL
            steps = [self.ee2("get_job_status", {"job_id": j})["status"]
                     for j in parent["stage_jobs"].values()]
            return batch if not live and set(steps) <= TERMINAL and (
                batch["child_jobstates"] or steps
            ) else None

        return until(ended, timeout_s, lambda: f"batch {batch_id} to end")

    def log(self, job_id: str) -> list[str]:
        """The lines of a job's log; empty while there is none."""
        try:
            page = self.ee2("get_job_logs", {"job_id": job_id, "skip_lines": 0})
        except RpcError:
            return []
        return [line["line"] for line in page["lines"]]

    def airflow(self) -> httpx.Client:
        """A client of Airflow's REST API, logged in as the administrator."""
        login = {"username": self.airflow_user, "password": self.airflow_password}
        reply = httpx.post(f"{self.airflow_url}/auth/token", json=login, timeout=180)
        token = reply.raise_for_status().json()["access_token"]
        return httpx.Client(
            base_url=f"{self.airflow_url}/api/v2",
            headers={"Authorization": f"Bearer {token}"},
            timeout=180,
        )


def until(get: Callable[[], T | None], timeout_s: float, what: Callable[[], str]) -> T:
    """Ask again and again until the answer is not None."""
    deadline = time.monotonic() + timeout_s
    while (value := get()) is None:
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s} s for {what()}")
        time.sleep(0.1)
    return value


def triggered(airflow: httpx.Client, dag_id: str, body: dict[str, Any]) -> httpx.Response:
    """Airflow's answer to a request for a run of the DAG, once the DAG's file has been read."""

    def ask() -> httpx.Response | None:
        answer = airflow.post(f"/dags/{dag_id}/dagRuns", json=body)
        return None if answer.status_code == 404 else answer

    return until(ask, 120, lambda: f"the file of DAG {dag_id} to be read")


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on. None of those that the system gives
    to clients: one of them could have it by the time that a server wants it."""
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(20_000, 32_768)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return list(found)


def left_running(folder: Path) -> list[str]:
    """All processes that have anything to do with a stack's folder, looked at in three ways."""
    found = [p.name() for p in processes.of_stack(folder)]
    for p in psutil.process_iter():
        try:
            texts = [*p.cmdline(), *p.environ().values(), p.cwd()]
        except (psutil.Error, OSError):
            continue
        if p.pid != os.getpid() and any(t.startswith(str(folder)) for t in texts):
            found.append(p.name())
    return found


def running_stack(database: str) -> Iterator[Stack]:
    """Start a stack on free ports, and take it down at the end; EE2_TEST_KEEP keeps its folder."""
    var = Path(tempfile.mkdtemp(prefix=f"ee2-test-{database}-"))
    var.chmod(0o755)  # the pool's account has to enter
    os.environ["AIRFLOW__EE2__NOTICE_CHANNELS"] = "email"
    os.environ["AIRFLOW__EE2__LOG_DAYS"] = "365"
    airflow, mongo, condor, postgres = free_ports(4)
    settings = load_settings(
        var=var, airflow_port=airflow, mongo_port=mongo, condor_port=condor,
        postgres_port=postgres, database=database,
    )
    try:
        status = embedded.up(settings)
        yield Stack(
            settings=settings,
            rpc_url=status.rpc_url,
            airflow_url=status.airflow_url,
            mongo_uri=status.mongo_uri or "",
            airflow_user=status.airflow_user,
            airflow_password=status.airflow_password or "",
            token=Path(status.token_file).read_text().strip(),
        )
    finally:
        embedded.down(settings)
        deadline = time.monotonic() + 20  # for what a job has left, which ends by itself
        while (left := left_running(settings.var_dir)) and time.monotonic() < deadline:
            time.sleep(0.2)
        if "EE2_TEST_KEEP" not in os.environ:
            shutil.rmtree(var, ignore_errors=True)
        assert left == [], "something still runs after the stack was stopped"


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack of the session, with SQLite as Airflow's database."""
    yield from running_stack("sqlite")


@pytest.fixture(scope="session", params=["postgres", "sqlite"])
def any_stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The stack of the session and, for the tests that want both, one with PostgreSQL as Airflow's
    database. Of the session, so that pytest runs all tests on the one before those on the other;
    PostgreSQL first, so that it is gone then."""
    if request.param == "sqlite":
        yield request.getfixturevalue("stack")
    else:
        yield from running_stack(request.param)
