"""The stack that is measured: calls, batches that stay queued, a pool that is empty afterwards."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pymongo import MongoClient

from bench.wire import Connection, Server
from ee2_cli import htcondor, htcondor_programs, stack
from ee2_cli.keys import load_keys
from ee2_cli.settings import StackError, StackSettings
from ee2_client import Client
from ee2_jobs.identity import job_token
from ee2_jobs.model import LIVE, TERMINAL

# No machine has so much memory: such jobs wait in HTCondor's queue until they are cancelled.
NEVER = {"request_memory": 100_000_000}
TRUE = "ee2_test.true"
_POLL_S = 0.01
# For what takes seconds: looking more often would slow down what is looked at.
_POLL_ENDS_S = 0.1


@dataclass(frozen=True)
class Batch:
    """A batch that was accepted: ids, and how long the call took, s. `began`: when it was made, by
    time.perf_counter."""

    batch_id: str
    children: list[str]
    call_s: float
    began: float


class Engine:
    """See the module. quick: fewer runs, for a first look. A context manager."""

    def __init__(self, settings: StackSettings, quick: bool, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.quick = quick
        self.say = say
        state = stack.status(settings)
        if not state.is_up or state.mongo_uri is None:
            raise StackError("The stack is not running: start it with ./ee2 up")
        token = stack.token_file(settings).read_text().strip()
        self.server = Server(settings.rpc_url, token)
        self.rpc = Client(settings.rpc_url, token, timeout_s=300, patience_s=0)
        self.mongo_uri = state.mongo_uri
        self._mongo: MongoClient[dict[str, Any]] = MongoClient(self.mongo_uri)
        self.db = self._mongo.get_default_database("ee2")
        self._secret_key = load_keys(settings.var_dir).ee2_secret_key

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self._mongo.close()
        self.rpc.__exit__()

    def runs(self, full: int, quick: int) -> int:
        """How many times to do something."""
        return quick if self.quick else full

    def job_token(self, job_id: str) -> str:
        """The token that a job's runner has."""
        return job_token(self._secret_key, job_id)

    # ---------------------------------------------------------------- jobs

    def batch(self, count: int, *, method: str = TRUE, params: Any = None, **extra: Any) -> Batch:
        """Have a batch of `count` jobs accepted. extra: further fields of each job."""
        children = [
            {"method": method, "params": [params if params is not None else {"n": n}], **extra}
            for n in range(count)
        ]
        request = self.server.request("run_job_batch", children, {})
        with Connection(self.server) as connection:
            began = time.perf_counter()
            body = connection.call(request)
            call_s = time.perf_counter() - began
        ids = json.loads(body)["result"][0]
        return Batch(ids["batch_id"], ids["child_job_ids"], call_s, began)

    def idle_batch(self, count: int) -> Batch:
        """A batch whose jobs stay in the queue."""
        return self.batch(count, job_requirements=NEVER)

    def wait_children(self, batch: Batch, status: str, timeout_s: float = 300) -> float:
        """Return when all children have this status; s since the batch's call began.

        Whether one is left is a question that costs the database next to nothing; counting them
        would take from what is measured.
        """
        before = LIVE[: LIVE.index(status)] if status in LIVE else LIVE
        children = {"batch_id": batch.batch_id, "role": "submit"}
        query = {**children, "status": {"$in": list(before)}}
        deadline = time.perf_counter() + timeout_s
        while self.db.ee2_jobs.find_one(query, {"_id": 1}) and time.perf_counter() < deadline:
            time.sleep(_POLL_S if status in LIVE else _POLL_ENDS_S)
        took_s = time.perf_counter() - batch.began
        if self.db.ee2_jobs.count_documents({**children, "status": status}) < len(batch.children):
            group = {"_id": "$status", "jobs": {"$sum": 1}}
            states = self.db.ee2_jobs.aggregate([{"$match": children}, {"$group": group}])
            raise StackError(
                f"Batch {batch.batch_id}: after {took_s:.0f} s not all of its jobs are {status}: "
                f"{ {s['_id']: s['jobs'] for s in states} }"
            )
        return took_s

    def wait_job(self, job_id: str, timeout_s: float = 120) -> dict[str, Any]:
        """Return a job's record when it has ended."""
        deadline = time.perf_counter() + timeout_s
        while True:
            job = self.db.ee2_jobs.find_one({"_id": ObjectId(job_id)})
            if job is not None and job["status"] in TERMINAL:
                return job
            if time.perf_counter() > deadline:
                raise StackError(f"Job {job_id} has not ended after {timeout_s:.0f} s: {job}")
            time.sleep(_POLL_S)

    def wait_queued(self, job_ids: Sequence[str], timeout_s: float = 120) -> list[dict[str, Any]]:
        """Return the records of these jobs when none is `created` any more, in their order."""
        query = {"_id": {"$in": [ObjectId(j) for j in job_ids]}}
        deadline = time.perf_counter() + timeout_s
        while self.db.ee2_jobs.count_documents({**query, "status": "created"}):
            if time.perf_counter() > deadline:
                raise StackError(f"Jobs are not queued after {timeout_s:.0f} s")
            time.sleep(_POLL_S)
        found = {str(job["_id"]): job for job in self.db.ee2_jobs.find(query)}
        return [found[job_id] for job_id in job_ids]

    def timed_s(self, method: str, *params: Any) -> float:
        """How long one call takes, s."""
        request = self.server.request(method, *params)
        with Connection(self.server) as connection:
            return connection.timed_ms(request) / 1000

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs and batches, and return when all is quiet again."""
        for job_id in job_ids:
            self.rpc.call("cancel_job", {"job_id": job_id})
        self.settle()

    def settle(self, timeout_s: float = 300) -> None:
        """Return when the pool is empty and no submission is under way."""
        deadline = time.perf_counter() + timeout_s
        while True:
            live = self.db.ee2_submissions.count_documents({"status": {"$ne": "ended"}})
            queued = self.pool_jobs()
            if not live and not queued:
                return
            if time.perf_counter() > deadline:
                raise StackError(
                    f"Not quiet after {timeout_s:.0f} s: {live} submissions are under way, "
                    f"{queued} jobs are in HTCondor's queue"
                )
            time.sleep(0.25)

    @contextmanager
    def queued_batch(self, count: int) -> Iterator[Batch]:
        """A batch whose jobs are all queued and stay so; cancelled at the end."""
        batch = self.idle_batch(count)
        try:
            self.wait_children(batch, "queued")
            yield batch
        finally:
            self.cancel([batch.batch_id])

    # ---------------------------------------------------------------- pool

    def pool_jobs(self) -> int:
        """How many jobs are in HTCondor's queue."""
        said = self.pool_tool("condor_q", "-allusers", "-af", "ClusterId")
        return len(said.split())

    def pool_tool(self, program: str, *arguments: str, **settings: Any) -> str:
        """What one of HTCondor's tools says. settings: `cwd`."""
        pool = stack.pool_config(self.settings)
        path = htcondor_programs.release(pool.prefix)["BIN"] / program
        env = htcondor.client_environment(pool)
        done = subprocess.run(
            [path, *arguments], env=env, capture_output=True, text=True, timeout=60, **settings
        )
        if done.returncode:
            raise StackError(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout
