"""Old clients, unchanged, against jobs that really run."""

import json

import httpx
import pytest

from tests.conftest import Stack, until
from tests.fakes.kbase_clients import JOB_STATE, LOGS, JavaClient, PythonClient, ServerError


def njs_url(stack: Stack) -> str:
    return f"{stack.rpc_url.rsplit('/', 1)[0]}/njs_wrapper/"


def test_a_module_is_called_as_by_another_module(stack: Stack) -> None:
    client = PythonClient(njs_url(stack), stack.token)
    assert client.run("ee2_test.echo", {"x": [1, None, "ä"]}) == {"x": [1, None, "ä"]}
    with pytest.raises(ServerError, match="bad reads"):
        client.run("ee2_test.fail", {"how": "error", "message": "bad reads"})


def test_a_job_of_narrative_job_service(stack: Stack) -> None:
    client = JavaClient(njs_url(stack), stack.token)
    params = {"method": "ee2_test.lines", "params": [{"count": 5, "pause_s": 0.5}]}
    job = client.call([str], "NarrativeJobService.run_job", params)[0]
    seen = []

    def finished() -> dict | None:
        state = client.call([JOB_STATE], "NarrativeJobService.check_job", job)[0]
        if state["job_state"] not in seen:
            seen.append(state["job_state"])
        return state if state["finished"] else None

    state = until(finished, 120, lambda: f"job {job} to finish; it was {seen}")
    assert seen == ["queued", "in-progress", "completed"]
    assert state["result"][0] and state["canceled"] == 0
    assert state["status"][1:3] == ["complete", "done"]
    assert state["creation_time"] <= state["exec_start_time"] + 999 <= state["finish_time"] + 999
    asked = {"job_id": job, "skip_lines": 2}
    logs = client.call([LOGS], "NarrativeJobService.get_job_logs", asked)[0]
    first = client.call([LOGS], "NarrativeJobService.get_job_logs", {"job_id": job})[0]
    assert logs["lines"] == first["lines"][2:] and len(first["lines"]) >= 5
    asked["skip_lines"] = logs["last_line_number"]
    again = client.call([LOGS], "NarrativeJobService.get_job_logs", asked)[0]
    assert again == {"lines": [], "last_line_number": len(first["lines"])}


def test_a_job_of_awe(stack: Stack) -> None:
    url = f"{stack.rpc_url.rsplit('/', 1)[0]}/awe-api"
    info = {"pipeline": "ExecutionEngine", "name": "ee2_test.echo", "project": "SDK",
            "user": "admin", "clientgroups": "", "userattr": {"params": [{"a": 1}]}}  # fmt: skip
    document = json.dumps({"info": info, "tasks": [{"taskid": "0", "cmd": {}}]}).encode()
    with httpx.Client(headers={"Authorization": f"OAuth {stack.token}"}, timeout=60) as client:

        def data(answer: httpx.Response) -> dict:
            content = answer.json()
            assert (answer.status_code, content["status"], content["error"]) == (200, 200, None)
            found: dict = content["data"]
            return found

        job = data(client.post(f"{url}//job", files={"upload": document}))
        seen = []

        def completed() -> dict | None:
            found = data(client.get(f"{url}//job/{job['id']}"))
            seen.append(found["state"])
            assert found["state"] in ("init", "queued", "in-progress", "completed")
            return found if found["state"] == "completed" else None

        done = until(completed, 120, lambda: f"AWE's job to be completed; it was {seen}")
        assert done["tasks"][0]["completeddate"] >= done["tasks"][0]["starteddate"]
        listed = data(client.get(f"{url}/job?query&info.user=admin&state=completed&limit=1"))
        assert listed[0]["id"] == job["id"]
