"""KBParallel and kb_BatchApp, called as their old clients call them, with jobs that really run."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.conftest import Stack, until
from tests.services.airflow_support import Run, database, submission_of

WSID = 4711


class ServerError(Exception):
    """What the old client raises for an error answer."""


class OldClient:
    """The generated client's asynchronous calls: submit, then ask less and less often."""

    def __init__(self, stack: Stack) -> None:
        self._url, self._headers = stack.rpc_url, {"Authorization": stack.token}

    def _post(self, method: str, params: list[Any], context: dict[str, Any]) -> Any:
        call = {"method": method, "params": params, "version": "1.1", "id": "1", "context": context}
        reply = httpx.post(self._url, json=call, headers=self._headers, timeout=60)
        if reply.status_code == 500:
            raise ServerError(reply.json()["error"]["message"])
        return reply.raise_for_status().json()["result"][0]

    def submit(self, method: str, *params: Any) -> str:
        module, _, name = method.partition(".")
        context = {"service_ver": "release"}
        return str(self._post(f"{module}._{name}_submit", list(params), context))

    def wait(self, method: str, job_id: str) -> Any:
        pause_s, deadline = 0.1, time.monotonic() + 240
        while True:
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 2.0)
            state = self._post(f"{method.partition('.')[0]}._check_job", [job_id], {})
            if state["finished"]:
                return state["result"][0]
            assert time.monotonic() < deadline, state

    def call(self, method: str, *params: Any) -> Any:
        return self.wait(method, self.submit(method, *params))


@pytest.fixture
def client(stack: Stack) -> OldClient:
    return OldClient(stack)


def task(**parameters: Any) -> dict[str, Any]:
    return {
        "module_name": "ee2_test", "function_name": "child", "version": "release",
        "parameters": parameters,
    }  # fmt: skip


def most_at_once(jobs: list[dict[str, Any]]) -> int:
    """How many of the jobs ran at the same time at most, by their records."""
    changes = sorted([(j["running"], 1) for j in jobs] + [(j["finished"], -1) for j in jobs])
    return max(sum(change for _, change in changes[: n + 1]) for n in range(len(changes)))


def test_kbparallel(stack: Stack, client: OldClient) -> None:
    listed = [task(value=0, seconds=1), task(value=1, fail=True), task(value=2, seconds=1)]
    params = {
        "tasks": listed, "runner": "parallel", "max_retries": 2,
        "concurrent_local_tasks": 0, "concurrent_njsw_tasks": 2,
    }  # fmt: skip
    batch = client.submit("KBParallel.run_batch", params)
    results = client.wait("KBParallel.run_batch", batch)["results"]
    assert [e["is_error"] for e in results] == [False, True, False]
    values = [e["result_package"]["result"] for e in results]
    assert values == [[{"value": 0}], None, [{"value": 2}]]
    assert "child 1 was told to fail" in str(results[1]["result_package"]["error"])
    assert [e["final_job_state"]["job_state"] for e in results] == [
        "completed", "error", "completed",
    ]  # fmt: skip
    with database(stack) as db:
        jobs = list(db.ee2_jobs.find({"batch_id": batch}))
    assert sorted(j["index"] for j in jobs) == [0, 1, 1, 2], "exactly two attempts of the middle"
    assert most_at_once(jobs) <= 2
    parent = stack.ee2("check_job", {"job_id": batch})
    assert parent["status"] == "completed" and parent["child_counts"] == {
        "completed": 2, "error": 1,
    }  # fmt: skip
    log = Run(stack, batch).log("submit")
    assert "1 failed; trying again" in log and "2 of 3 jobs completed" in log
    with pytest.raises(ServerError, match="Unknown or unsupported runner type: warp"):
        client.call("KBParallel.run_batch", {**params, "runner": "warp"})
    many = {"concurrent_njsw_tasks": 51, "concurrent_local_tasks": 21, "max_retries": 9}
    batch = client.submit("KBParallel.run_batch", {**params, **many})
    clamped = submission_of(stack, batch)
    assert (clamped["window"], clamped["max_attempts"]) == (70, 5)
    stack.ee2("cancel_job", {"job_id": batch})
    with pytest.raises(ServerError, match="was canceled"):
        client.wait("KBParallel.run_batch", batch)


def test_more_parents_than_slots(stack: Stack, client: OldClient) -> None:
    params = {"tasks": [task(value=1)], "runner": "local_serial"}
    count = stack.settings.pool_cpus + 1
    batches = [client.submit("KBParallel.run_batch", params) for _ in range(count)]
    for batch in batches:
        (entry,) = client.wait("KBParallel.run_batch", batch)["results"]
        assert entry["result_package"]["result"] == [{"value": 1}]


def test_batchapp(stack: Stack, client: OldClient) -> None:
    with database(stack) as db:
        db.ee2_workspaces.update_one(
            {"_id": WSID},
            {"$set": {"name": "kbparallel", "owner": stack.airflow_user, "acl": {},
                      "public": False}},
            upsert=True,
        )  # fmt: skip
    params = {
        "module_name": "ee2_test", "method_name": "child", "service_ver": "release",
        "wsid": str(WSID), "meta": {"cell_id": "x"},
        "batch_params": [{"params": [{"value": n}], "source_ws_objects": []} for n in (5, 6)],
    }  # fmt: skip
    batch = client.submit("kb_BatchApp.run_batch", params)
    result = client.wait("kb_BatchApp.run_batch", batch)
    children = stack.ee2("check_job", {"job_id": batch})["child_jobs"]
    assert set(result["batch_results"]) == set(children)
    values = [result["batch_results"][c]["result_package"]["result"][0]["value"] for c in children]
    assert values == [5, 6]
    assert result["report_name"].startswith("batch_report_")
    assert result["report_ref"].startswith(f"{WSID}/")
    with database(stack) as db:
        saved = db.ee2_objects.find_one({"_id": result["report_ref"]})
    assert saved is not None and saved["data"]["text_message"].startswith("2 of 2 tasks completed")
    with pytest.raises(ServerError, match="must be a list with a length >= 1"):
        client.call("kb_BatchApp.run_batch", {**params, "batch_params": []})
    until(
        lambda: submission_of(stack, batch).get("report_due") is None or None,
        10, lambda: "the report to be noted",
    )  # fmt: skip
