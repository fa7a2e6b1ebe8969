"""A runner that hangs in the real pool: found, ended with a reason, and gone from the pool."""

import asyncio
import contextlib
import logging
import time

import psutil
from bson import ObjectId

from ee2_cli import htcondor
from ee2_cli.stack import pool_config
from ee2_jobs.model import now_s
from ee2_jobs.store import Store
from ee2_operators.condor.pool import Pool, PoolAddress
from ee2_operators.silent import settle_silent
from tests.conftest import Stack, until

SILENT_S = 3.0
log = logging.getLogger(__name__)


def runner_of(job_id: str) -> psutil.Process | None:
    """The process of a job's runner."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if job_id in words and any("ee2_runner" in word for word in words):
            return process
    return None


def stop(runner: psutil.Process) -> list[psutil.Process]:
    """Stop a runner and what it started; all that were stopped. The runner first: it starts
    nothing more then."""
    runner.suspend()
    stopped = [runner]
    for process in runner.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile
            process.suspend()
            stopped.append(process)
    return stopped


async def settle(stack: Stack, job_id: str) -> int:
    """As the scheduled DAG does it; the job's signs of life are an hour old."""
    client = htcondor.client_config(pool_config(stack.settings))
    host, port = client["collector"].split(":")
    folder, domain = client["token_directory"], client["trust_domain"]
    store = Store(stack.mongo_uri)
    ago_s = now_s() - 3600
    signs = {"seen": ago_s, "running": ago_s, "claim.at": ago_s}
    try:
        await store.jobs.update_one({"_id": ObjectId(job_id)}, {"$set": signs})
        async with Pool(PoolAddress(host, int(port), folder, None, domain)) as pool:
            return await settle_silent(store, pool, stack.rpc_url, SILENT_S, log)
    finally:
        await store.close()


def test_a_runner_that_hangs(stack: Stack) -> None:
    params = [{"seconds": 300}]
    job_id = stack.ee2("run_job", {"method": "ee2_test.sleep", "params": params})

    def runs() -> bool | None:
        return stack.ee2("get_job_status", {"job_id": job_id})["status"] == "running" or None

    until(runs, 120, lambda: "the job to run")

    def found() -> bool | None:
        # Once more if what was heard before was put on the record only now.
        asyncio.run(settle(stack, job_id))
        return not runs() or None

    stopped = stop(until(lambda: runner_of(job_id), 120, lambda: "the runner"))
    try:
        time.sleep(SILENT_S + 1)
        until(found, 99, lambda: "the job to be found")
        state = stack.wait(job_id)
        assert (state["status"], state["error_code"]) == ("error", 2), state
        assert "has not been heard of since" in state["errormsg"]
        assert state["errormsg"] in stack.log(job_id)
    finally:
        for process in stopped:
            if process.is_running():
                process.resume()
    until(lambda: runner_of(job_id) is None or None, 120, lambda: "the runner to leave the pool")
