"""Every way a job can end arrives as EE2's status and code, with a sentence for a scientist."""

import signal
import subprocess
from typing import Any

import psutil
import pytest

from ee2_cli import htcondor
from ee2_cli.stack import pool_config
from tests.conftest import Stack, until


def run(stack: Stack, function: str, params: dict[str, Any], **more: Any) -> str:
    call = {"method": f"ee2_test.{function}", "params": [params], **more}
    return str(stack.ee2("run_job", call))


@pytest.mark.parametrize(
    ("function", "params", "more", "code", "words"),
    [
        ("fail", {"how": "error", "message": "bad reads"}, {}, 1, ["bad reads"]),
        ("fail", {"how": "exit", "exit_code": 3}, {}, 1, ["3"]),
        ("fail", {"how": "signal", "signal": 11}, {}, 1, ["signal", "11"]),
        ("fail", {"how": "no_output"}, {}, 4, ["output"]),
        ("sleep", {"seconds": 60}, {"job_requirements": {"time_limit_s": 2}}, 3, ["2 s"]),
        ("hog", {"memory_mb": 400, "seconds": 60},
         {"job_requirements": {"request_memory": 100}}, 1, ["memory", "100"]),
    ],
)
def test_ends_that_the_runner_tells(
    stack: Stack, function: str, params: dict, more: dict, code: int, words: list[str]
) -> None:
    state = stack.wait(run(stack, function, params, **more), 180)
    assert (state["status"], state["error_code"]) == ("error", code), state
    for word in words:
        assert word in state["errormsg"], state["errormsg"]
    assert set(state["error"]) >= {"name", "code", "message", "error"}
    assert state["usage"]["wall_s"] >= 0


def runner_of(job_id: str) -> psutil.Process | None:
    """The runner's process."""
    for process in psutil.process_iter(["cmdline", "name"]):
        line = process.info["cmdline"] or []
        if job_id in line and "condor" not in (process.info["name"] or ""):
            return process
    return None


def running(stack: Stack, job_id: str) -> psutil.Process:
    """The runner of a job that is running."""
    until(
        lambda: stack.ee2("get_job_status", {"job_id": job_id})["status"] == "running" or None,
        30, lambda: f"job {job_id} to run",
    )
    return until(lambda: runner_of(job_id), 120, lambda: "its runner")


def test_a_runner_that_is_killed(stack: Stack) -> None:
    job_id = run(stack, "sleep", {"seconds": 120})
    running(stack, job_id).send_signal(signal.SIGKILL)
    state = stack.wait(job_id, 180)
    assert state["status"] == "error" and state["error_code"] in (1, 2), state
    assert "signal 9" in state["errormsg"] or "killed" in state["errormsg"].lower()


def test_a_job_removed_by_hand(stack: Stack) -> None:
    job_id = run(stack, "sleep", {"seconds": 120})
    running(stack, job_id)
    scheduler_id = stack.ee2("check_job", {"job_id": job_id})["scheduler_id"]
    condor(stack, "condor_rm", scheduler_id)
    state = stack.wait(job_id, 180)
    assert state["status"] in ("terminated", "error"), state
    assert state["errormsg"], "the scientist is told why"


def condor(stack: Stack, program: str, *arguments: str) -> str:
    """Run one of HTCondor's programs as the engine."""
    pool = pool_config(stack.settings)
    done = subprocess.run(
        [htcondor.release(pool.prefix)["BIN"] / program, *arguments],
        env=htcondor.client_environment(pool), capture_output=True, text=True, timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_daemons_do_not_outlive_their_job(stack: Stack) -> None:
    state = stack.wait(run(stack, "fork", {"seconds": 600}))
    assert state["status"] == "completed", state
    pid = state["job_output"]["result"][0]["daemon_pid"]
    until(lambda: None if psutil.pid_exists(pid) else True, 120, lambda: "the daemon to end")


def test_a_cancelled_app_ends_within_five_seconds(stack: Stack) -> None:
    job_id = run(stack, "sleep", {"seconds": 120})
    process = running(stack, job_id)
    stack.ee2("cancel_job", {"job_id": job_id})
    assert stack.ee2("get_job_status", {"job_id": job_id}) == {"status": "terminated"}
    until(lambda: None if process.is_running() else True, 120, lambda: "the runner to end")


def test_no_secret_is_in_the_job_ad(stack: Stack) -> None:
    job_id = run(stack, "sleep", {"seconds": 30})
    running(stack, job_id)
    ad = condor(
        stack, "condor_q", "-long", stack.ee2("check_job", {"job_id": job_id})["scheduler_id"]
    )
    stack.ee2("cancel_job", {"job_id": job_id})
    assert job_id in ad
    assert "ee2job." not in ad and stack.token not in ad
    assert "KB_AUTH_TOKEN" not in ad
