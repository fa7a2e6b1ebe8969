"""The three kinds of submission, end to end on the real stack, with Airflow on both databases."""

from typing import Any

import psutil
import pytest
from pymongo import MongoClient

from tests.conftest import RpcError, Stack, until


def test_one_job(any_stack: Stack) -> None:
    params = [{"say": "häl\"lo'$$"}]
    job_id = any_stack.ee2("run_job", {"method": "ee2_test.echo", "params": params})
    state = any_stack.wait(job_id)
    assert state["status"] == "completed", state
    assert state["job_output"]["result"] == params
    assert state["created"] <= state["queued"] + 1000
    assert state["queued"] <= state["running"] + 1000 <= state["finished"] + 1000
    assert state["scheduler_type"] == "condor"
    usage = state["usage"]
    assert usage["wall_s"] > 0 and usage["cpu_user_s"] >= 0
    assert usage["peak_memory_mb"] > 0 and usage["host"]
    with any_stack.airflow() as airflow:
        run = airflow.get(f"/dags/ee2_test.echo.job/dagRuns/{job_id}").json()
        assert run["dag_run_id"] == job_id, run
    with MongoClient[dict[str, Any]](any_stack.mongo_uri) as mongo:
        told = mongo.get_default_database()["ee2_exec_stats"]
        stats = until(lambda: told.find_one({"_id": job_id}), 90, lambda: "execution statistics")
    assert (stats["module"], stats["function"], stats["is_error"]) == ("ee2_test", "echo", False)
    assert round(stats["finished_s"] * 1000) == state["finished"]


def test_a_batch_with_a_report(any_stack: Stack) -> None:
    jobs: list[dict[str, Any]] = [
        {"method": "ee2_test.echo", "params": [{"n": n}]} for n in range(5)
    ]
    jobs[2] = {"method": "ee2_test.fail", "params": [{"message": "no luck today"}]}
    ids = any_stack.ee2("run_job_batch", jobs, {"aggregate": {"recipe": "report"}})
    batch = any_stack.wait_batch(ids["batch_id"])
    parent = batch["batch_jobstate"]
    assert [c["job_id"] for c in batch["child_jobstates"]] == ids["child_job_ids"]
    assert parent["child_counts"] == {"completed": 4, "error": 1}
    assert parent["status"] == "created", "a parent never ends by itself"
    assert all(c["batch_id"] == ids["batch_id"] for c in batch["child_jobstates"])
    assert "no luck today" in batch["child_jobstates"][2]["errormsg"]
    aggregate = any_stack.wait(parent["stage_jobs"]["aggregate"])
    assert aggregate["status"] == "completed", aggregate
    assert aggregate["job_output"]["result"][0]["report"].startswith("artifact:")


def test_split_process_aggregate(any_stack: Stack) -> None:
    batch_id = any_stack.ee2(
        "run_split_aggregate",
        {
            "method": "ee2_test.child",
            "params": [{"children": 6, "fail": [2]}],
        },
    )
    batch = any_stack.wait_batch(batch_id)
    assert batch["batch_jobstate"]["child_counts"] == {"completed": 5, "error": 1}
    aggregate = any_stack.wait(batch["batch_jobstate"]["stage_jobs"]["aggregate"])
    assert aggregate["status"] == "completed", aggregate


def test_a_split_that_fails_is_told_and_nothing_waits(any_stack: Stack) -> None:
    batch_id = any_stack.ee2(
        "run_split_aggregate",
        {
            "method": "ee2_test.echo",
            "split": {"method": "ee2_test.fail", "params": [{"message": "cannot split"}]},
            "aggregate": "report",
        },
    )
    batch = any_stack.wait_batch(batch_id)
    steps = batch["batch_jobstate"]["stage_jobs"]
    assert "cannot split" in any_stack.wait(steps["split"])["errormsg"]
    assert any_stack.wait(steps["aggregate"])["status"] == "terminated"


def test_abort_cancels_the_rest(stack: Stack) -> None:
    jobs = [
        {"method": "ee2_test.fail", "params": [{"how": "exit"}]},
        *({"method": "ee2_test.sleep", "params": [{"seconds": 60}]} for _ in range(3)),
    ]
    ids = stack.ee2(
        "run_job_batch", jobs, {"aggregate": "report", "on_child_error": "abort"}
    )
    batch = stack.wait_batch(ids["batch_id"], 240)
    assert batch["batch_jobstate"]["child_counts"] == {"error": 1, "terminated": 3}
    assert {c.get("terminated_code") for c in batch["child_jobstates"]} == {None, 3}


def test_cancel_of_a_running_batch_reaches_the_nodes(stack: Stack) -> None:
    sleep = {"method": "ee2_test.sleep", "params": [{"seconds": 300}]}
    ids = stack.ee2("run_job_batch", [sleep] * 4, {})
    child = ids["child_job_ids"][0]
    until(
        lambda: stack.ee2("get_job_status", {"job_id": child})["status"] == "running" or None,
        30, lambda: "a child to run",
    )
    stack.ee2("cancel_job", {"job_id": ids["batch_id"]})
    states = stack.ee2("check_job_batch", {"job_id": ids["batch_id"]})
    assert {c["status"] for c in states["child_jobstates"]} == {"terminated"}
    with pytest.raises(RpcError, match="Cannot finish job with a status of terminated"):
        stack.ee2("finish_job", {"job_id": child, "job_output": {}})

    def gone() -> bool | None:
        names = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
        return None if any(child in argument for line in names for argument in line) else True

    until(gone, 120, lambda: "the runner to leave the node")


def test_retry_of_failed_children(stack: Stack) -> None:
    fail = {"method": "ee2_test.fail", "params": [{"how": "exit", "exit_code": 1}]}
    ids = stack.ee2("run_job_batch", [fail] * 3, {})
    stack.wait_batch(ids["batch_id"])
    answers = stack.ee2("retry_jobs", {"job_ids": ids["child_job_ids"]})
    assert [a["job_id"] for a in answers] == ids["child_job_ids"]
    for answer in answers:
        state = stack.wait(answer["retry_id"])
        assert state["status"] == "error"
        assert state["retry_parent"] == answer["job_id"]
        assert state["batch_id"] == ids["batch_id"]
