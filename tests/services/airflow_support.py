"""What the tests of the Airflow side share: code run inside the stack's Airflow, its REST API, its
database, its pool."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
from pymongo.database import Database

from tests.conftest import Stack, until


def in_airflow(stack: Stack, code: str, **given: Any) -> Any:
    """Run code as a program of the stack would run it (its settings, connections and database);
    `given` are its variables, and what it assigns to `answer` comes back, as JSON.

    Airflow prints to both outputs, so the answer has a file of its own.
    """
    program = f"""
import json, sys
given, place = json.loads(sys.argv[1]), sys.argv[2]
globals().update(given)
{textwrap.dedent(code)}
open(place, "w").write(json.dumps(answer))
"""
    place = stack.var_dir / "run" / "answer.json"
    place.unlink(missing_ok=True)
    done = subprocess.run(
        [
            "/bin/sh", "-c", '. "$0"; exec "$@"', stack.var_dir / "etc" / "airflow.env",
            sys.executable, "-c", program, json.dumps(given), str(place),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return json.loads(place.read_text())


@contextmanager
def database(stack: Stack) -> Iterator[Database[dict[str, Any]]]:
    """The engine's database."""
    with pymongo.MongoClient[dict[str, Any]](stack.mongo_uri) as client:
        yield client.get_default_database()


def jobs_of(stack: Stack, submission: str) -> list[dict[str, Any]]:
    """The records of a submission's jobs, in the order they were made."""
    with database(stack) as db:
        return list(db.ee2_jobs.find({"submission": submission}).sort("_id"))


def submission_of(stack: Stack, submission: str) -> dict[str, Any]:
    """The record of a submission."""
    with database(stack) as db:
        found = db.ee2_submissions.find_one({"_id": submission})
    assert found is not None
    return found


def in_queue(stack: Stack) -> dict[str, dict[str, Any]]:
    """The ads of the engine's jobs in the pool's queue, by scheduler id."""
    ads = in_airflow(
        stack,
        """
        import asyncio
        from ee2_operators.parts import current_parts
        async def ask():
            parts = current_parts()
            try:
                return await parts.pool.live()
            finally:
                await parts.pool.close()
        answer = asyncio.run(ask())
        """,
    )
    return {f"{ad['ClusterId']}.{ad['ProcId']}": ad for ad in ads}


class Run:
    """A submission's DAG run, through Airflow's REST API."""

    def __init__(self, stack: Stack, submission: str, timeout_s: float = 30) -> None:
        self.stack = stack
        self.id = submission
        until(
            lambda: submission_of(stack, submission)["status"] != "accepted" or None,
            timeout_s,
            lambda: f"submission {submission} to start",
        )
        self.dag_id = submission_of(stack, submission)["shape"]
        self.api = stack.airflow()
        self._path = f"/dags/{self.dag_id}/dagRuns/{submission}"

    def get(self, below: str = "") -> dict[str, Any]:
        """The run itself, or what lies below it."""
        found: dict[str, Any] = self.api.get(self._path + below).raise_for_status().json()
        return found

    def task(self, name: str) -> dict[str, Any]:
        """One task of the run."""
        return self.get(f"/taskInstances/{name}")

    def wait(self, timeout_s: float = 60) -> dict[str, Any]:
        """The run once it has ended."""

        def ended() -> dict[str, Any] | None:
            run = self.get()
            return run if run["state"] in ("success", "failed") else None

        return until(ended, timeout_s, lambda: f"run {self.id} to end, it is {self.get()}")

    def wait_running(self, count: int = 1, timeout_s: float = 60) -> list[dict[str, Any]]:
        """The jobs, once `count` of them run on a node."""

        def running() -> list[dict[str, Any]] | None:
            jobs = jobs_of(self.stack, self.id)
            return jobs if sum(j["status"] == "running" for j in jobs) >= count else None

        return until(running, timeout_s, lambda: f"{count} jobs of {self.id} to run")

    def mark(self, state: str, task: str | None = None) -> None:
        """Mark the run, or one of its tasks, as the buttons in the UI do."""
        if task is None:
            answer = self.api.patch(self._path, json={"state": state})
        else:
            answer = self.api.patch(
                f"{self._path}/taskInstances/{task}", json={"new_state": state}
            )
        answer.raise_for_status()

    def clear(self, *tasks: str, downstream: bool = False) -> None:
        """Clear tasks as the button in the UI does; of a run that has ended, it goes on."""
        body = {
            "dry_run": False, "task_ids": list(tasks), "dag_run_id": self.id, "only_failed": False,
            "reset_dag_runs": True, "include_downstream": downstream,
        }
        self.api.post(f"/dags/{self.dag_id}/clearTaskInstances", json=body).raise_for_status()

    def log(self, task: str, attempt: int = 1) -> str:
        """The log of a task's try, as text."""
        path = f"{self._path}/taskInstances/{task}/logs/{attempt}"
        content = self.api.get(path).raise_for_status().json()["content"]
        return "\n".join(e if isinstance(e, str) else str(e.get("event", "")) for e in content)
