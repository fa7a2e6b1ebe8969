"""A rule on run time ends a job with code 3 and the rule's words; a running job only when asked."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ee2_cli import htcondor
from ee2_cli.htcondor_programs import release
from ee2_cli.stack import pool_config
from tests.conftest import Stack, until

APP = "ee2_test.sleep"


def rest(stack: Stack, verb: str, path: str, **more: Any) -> dict[str, Any]:
    answer = httpx.request(
        verb,
        f"{stack.rpc_url}/api/v1{path}",
        headers={"Authorization": stack.token},
        timeout=30,
        **more,
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def run(stack: Stack, seconds: float) -> str:
    return str(stack.ee2("run_job", {"method": APP, "params": [{"seconds": seconds}]}))


def limit_in_the_pool(stack: Stack, scheduler_id: str) -> int:
    """What the pool itself keeps of a job's limit, s."""
    pool = pool_config(stack.settings)
    condor_q = release(pool.prefix)["BIN"] / "condor_q"
    told = subprocess.run(
        [condor_q, scheduler_id, "-af", "EE2_TIME_LIMIT_S"],
        env=htcondor.client_environment(pool), capture_output=True, text=True, timeout=30,
    )
    return int(told.stdout.strip() or 0)


@pytest.fixture
def me(stack: Stack) -> Iterator[str]:
    user = str(rest(stack, "GET", "/limits/mine")["user"])
    yield user
    rest(stack, "DELETE", f"/limits/time/{APP}/{user}")


def test_a_rule_ends_jobs(stack: Stack, me: str) -> None:
    old = run(stack, 60)
    until(
        lambda: stack.ee2("get_job_status", {"job_id": old})["status"] == "running" or None,
        30, lambda: "the job to run",
    )
    rest(stack, "PUT", f"/limits/time/{APP}/{me}", json={"seconds": 2, "note": "a test"})
    state = stack.wait(run(stack, 60), 180)
    sentence = rf"time limit of 2 s and was stopped\. The limit is 2 s for {me}'s ee2_test\.sleep, "
    sentence += rf"set by {me} on \d{{4}}-\d\d-\d\d: a test\."
    assert (state["status"], state["error_code"]) == ("error", 3), state
    assert re.search(sentence, state["errormsg"]), state["errormsg"]
    before = stack.ee2("check_job", {"job_id": old})
    assert before["status"] == "running", "it was submitted before the rule"
    # Applied to what runs: first the pool is told, then, with a limit that is over, the job ends.
    body = {"seconds": 3600, "note": "a test", "apply_now": True}
    assert rest(stack, "PUT", f"/limits/time/{APP}/{me}", json=body)["applied"] == 1
    scheduler_id = before["scheduler_id"]
    until(
        lambda: limit_in_the_pool(stack, scheduler_id) == 3660 or None,
        15, lambda: f"the pool to know it: {limit_in_the_pool(stack, scheduler_id)}",
    )
    body["seconds"] = 1
    done = rest(stack, "PUT", f"/limits/time/{APP}/{me}", json=body)
    assert (done["applied"], done["preview"]["over"]) == (1, 1)
    state = stack.wait(old, 180)
    assert (state["status"], state["error_code"]) == ("error", 3), state
    assert re.search(rf"time limit of 1 s .* The limit is 1 s for {me}'s", state["errormsg"])
