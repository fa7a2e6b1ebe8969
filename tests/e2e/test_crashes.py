"""kill -9 in the middle of a batch: nothing is lost, nothing is completed twice."""

import time

import psutil
import pymongo

from tests.conftest import Stack, until


def start_batch(stack: Stack, count: int = 50) -> list[str]:
    """A batch that is well under way."""
    job = {"method": "ee2_test.child", "params": [{"seconds": 1}]}
    ids = stack.ee2(
        "run_job_batch",
        [{**job, "params": [{"value": n, "seconds": 1}]} for n in range(count)],
        {"aggregate": {"method": "ee2_test.sum"}},
    )

    def some_ended() -> bool | None:
        counts = stack.ee2("check_job", {"job_id": ids["batch_id"]})["child_counts"]
        return counts.get("completed", 0) >= 5 or None

    until(some_ended, 120, lambda: "some children to end")
    return [ids["batch_id"], *ids["child_job_ids"]]


def check_batch(stack: Stack, ids: list[str]) -> None:
    """All children completed once, by one claim each, and the aggregate counts them all."""
    batch_id, *children = ids
    batch = stack.wait_batch(batch_id, 240)
    assert batch["batch_jobstate"]["child_counts"] == {"completed": len(children)}, [
        (c["status"], c.get("errormsg")) for c in batch["child_jobstates"]
        if c["status"] != "completed"
    ]
    assert [c["job_id"] for c in batch["child_jobstates"]] == children
    aggregate = stack.wait(batch["batch_jobstate"]["stage_jobs"]["aggregate"])
    result = aggregate["job_output"]["result"][0]
    assert result["sum"] == sum(range(len(children))) and result["failed"] == 0
    with pymongo.MongoClient(stack.mongo_uri) as client:
        jobs = client.get_default_database().ee2_jobs
        stored = list(jobs.find({"batch_id": batch_id, "role": "submit"}))
    assert len(stored) == len(children), "no child was made twice"
    clusters = {j["scheduler_id"].split(".")[0] for j in stored}
    assert len(clusters) == 1, "the stage was submitted once"


def test_the_triggerer_is_killed(stack: Stack) -> None:
    ids = start_batch(stack)
    stack.kill("triggerer")
    check_batch(stack, ids)


def test_the_schedd_is_killed(stack: Stack) -> None:
    ids = start_batch(stack)
    master = psutil.Process(stack.pid("htcondor"))
    schedd = next(p for p in master.children(recursive=True) if p.name() == "condor_schedd")
    schedd.kill()
    check_batch(stack, ids)


def test_the_api_server_is_killed(stack: Stack) -> None:
    ids = start_batch(stack)
    stack.kill("api-server")

    def back() -> bool | None:
        try:
            return bool(stack.ee2("ver"))
        except Exception:
            time.sleep(0.5)
            return None

    until(back, 240, lambda: "the API server to come back")
    check_batch(stack, ids)
