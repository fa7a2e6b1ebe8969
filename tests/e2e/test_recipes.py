"""The recipes `set` and `table` on the real stack, and a priority changed while jobs wait."""

import httpx
from pymongo import MongoClient

from tests.conftest import Stack, until


def database(stack: Stack) -> MongoClient:  # type: ignore[type-arg]
    return MongoClient(stack.mongo_uri)


def test_a_table_of_a_batch(stack: Stack) -> None:
    jobs = [{"method": "ee2_test.echo", "params": [{"rows": [{"n": n}]}]} for n in range(3)]
    jobs[1] = {"method": "ee2_test.fail", "params": [{}]}
    aggregate = {"recipe": "table", "params": {"field": "rows"}}
    batch_id = stack.ee2("run_job_batch", jobs, {"aggregate": aggregate})["batch_id"]
    state = stack.wait(stack.ee2("check_job", {"job_id": batch_id})["stage_jobs"]["aggregate"])
    assert state["status"] == "completed", state
    result = state["job_output"]["result"][0]
    assert (result["rows"], result["jobs"], len(result["left_out"])) == (2, 2, 1)
    url = f"{stack.rpc_url}/artifacts/{result['table'].removeprefix('artifact:')}"
    table = httpx.get(url, headers={"Authorization": stack.token}, timeout=60).text.splitlines()
    assert [line.split("\t")[0::2] for line in table] == [["child", "n"], ["0", "0"], ["2", "2"]]


def test_a_set_of_a_batch(stack: Stack) -> None:
    with database(stack) as mongo:
        db = mongo.get_default_database("ee2")
        owner = stack.ee2("check_job", {"job_id": _some_job(stack)})["user"]
        workspace = {"_id": 4712, "name": "x", "owner": owner, "acl": {}, "public": False}
        db.ee2_workspaces.insert_one(workspace)
        jobs = [
            {"method": "ee2_test.echo", "params": [{"genome_ref": f"4712/{n}/1"}]} for n in (1, 2)
        ]
        options = {"name": "genomes", "type": "KBaseSets.GenomeSet"}
        aggregate = {"recipe": "set", "params": options}
        batch_id = stack.ee2("run_job_batch", jobs, {"wsid": 4712, "aggregate": aggregate})[
            "batch_id"
        ]
        state = stack.wait(stack.ee2("check_job", {"job_id": batch_id})["stage_jobs"]["aggregate"])
        assert state["status"] == "completed", state
        saved = db.ee2_objects.find_one({"_id": state["job_output"]["result"][0]["set_ref"]})
    assert saved is not None and saved["user"] == owner and saved["wsid"] == 4712
    assert [item["ref"] for item in saved["data"]["items"]] == ["4712/1/1", "4712/2/1"]


def _some_job(stack: Stack) -> str:
    return str(stack.ee2("run_job", {"method": "ee2_test.true"}))


def test_a_changed_priority_reaches_the_pool(stack: Stack) -> None:
    """More jobs than the pool has room for: one of the last is put first, and overtakes others."""
    many = [{"method": "ee2_test.sleep", "params": [{"seconds": 3}]}] * 70
    answer = stack.ee2("run_job_batch", many, {})
    ids = answer["child_job_ids"]
    until(
        lambda: stack.ee2("get_job_status", {"job_id": ids[-1]})["status"] == "queued" or None,
        180,
        lambda: "the batch to be in the pool",
    )
    asked = {"job_id": ids[-1], "priority": 20, "as_admin": 1}
    assert stack.ee2("set_priority", asked) == {"changed": 1}
    batch = stack.wait_batch(answer["batch_id"])
    order = sorted(batch["child_jobstates"], key=lambda state: state["running"])
    place = [state["job_id"] for state in order].index(ids[-1])
    assert place < 60, f"it came {place + 1}. of {len(ids)}"
