"""NarrativeJobService's clients, over the wire."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.fakes.kbase_clients import (
    CANCELED,
    JOB_STATE,
    JSON_RPC_ERROR,
    LOGS,
    RUN_JOB_PARAMS,
)
from tests.services.legacy_support import (
    ERROR,
    UNKNOWN,
    address,
    call,
    complete,
    fail,
    java_njs,
    njs,
    not_viewable,
    refused,
    run,
    start,
    state,
)
from tests.services.rpc_support import Bridge


def test_calls_without_a_job(bridge: Bridge) -> None:
    assert call(bridge, "ver", who=None) == "0.2.11"
    status = call(bridge, "status", who=None)
    assert status["reboot_mode"] == status["tasks_in_queue"] == -1
    config = call(bridge, "list_config", who=None)
    assert status["config"] == config and len(config) == 14
    assert config["awe.client.docker.uri"] == "<not-defined>"
    assert config["self.external.url"] == address(bridge, "njs_wrapper").rstrip("/")
    assert all(isinstance(value, str) for value in config.values())


def test_a_jobs_way(bridge: Bridge) -> None:
    job = run(bridge, wsid=7)
    before = state(bridge, job)
    assert set(before) == {"job_id", "finished", "ujs_url", "status", "job_state", "sub_jobs",
                           "creation_time", "awe_job_state"}  # fmt: skip
    assert before["job_id"] == job and before["finished"] == 0
    assert before["job_state"] == before["awe_job_state"] == "queued"
    assert before["status"][1:] == ["started", "queued", None, None, 0, 0]
    assert abs(before["creation_time"] / 1000 - time.time()) < 60
    assert before["ujs_url"] == address(bridge, "userandjobstate").rstrip("/")
    start(bridge, job)
    during = state(bridge, job)
    assert during["job_state"] == during["awe_job_state"] == "in-progress"
    assert during["status"][1:3] == ["started", "in-progress"]
    assert set(during) == set(before) | {"exec_start_time"}
    complete(bridge, job, [{"answer": 42}])
    after = state(bridge, job)
    assert set(after) == (set(during) - {"awe_job_state"}) | {
        "finish_time", "result", "canceled", "cancelled"
    }  # fmt: skip
    assert (after["finished"], after["job_state"]) == (1, "completed")
    assert (after["canceled"], after["cancelled"]) == (0, 0)
    assert after["result"][0] == {"answer": 42}
    assert after["status"][1:] == ["complete", "done", None, None, 1, 0]
    assert after["status"][0][10] == "T" and after["status"][0].endswith("+0000")
    assert after["creation_time"] <= after["exec_start_time"] + 999
    assert after["exec_start_time"] <= after["finish_time"]


def test_a_job_that_failed_is_no_error(bridge: Bridge) -> None:
    job = run(bridge, wsid=7)
    fail(bridge, job, {**ERROR, "message": "it broke " * 40})
    failed = state(bridge, job)
    assert (failed["finished"], failed["job_state"], failed["canceled"]) == (1, "suspend", 0)
    assert failed["error"] == {**ERROR, "message": "it broke " * 40}
    assert "result" not in failed
    stage, text, *_, complete_flag, error_flag = failed["status"][1:]
    assert (stage, complete_flag, error_flag) == ("error", 1, 1)
    assert len(text) == 200 and text.endswith("...")


@pytest.mark.parametrize("error", ["just a text", {"message": 7, "code": "x", "more": {}}, {}])
def test_errors_of_any_form_become_four_keys(bridge: Bridge, error: Any) -> None:
    job = run(bridge)
    fail(bridge, job, error)
    told = state(bridge, job)["error"]
    assert set(told) <= set(JSON_RPC_ERROR) and {"name", "code", "message"} <= set(told)


def test_cancel_twice(bridge: Bridge) -> None:
    job = run(bridge, wsid=7)
    java = java_njs(bridge)
    assert call(bridge, "check_job_canceled", {"job_id": job}) == {
        "job_id": job, "finished": 0, "canceled": 0,
        "ujs_url": address(bridge, "userandjobstate").rstrip("/"),
    }  # fmt: skip
    for _ in range(2):
        assert java.call(None, "NarrativeJobService.cancel_job", {"job_id": job}) is None
    told = java.call([CANCELED], "NarrativeJobService.check_job_canceled", {"job_id": job})[0]
    assert (told["finished"], told["canceled"]) == (1, 1)
    canceled = state(bridge, job)
    assert canceled["job_state"] == "cancelled" and canceled["finished"] == 1
    assert canceled["canceled"] == canceled["cancelled"] == 1
    assert not {"result", "error"} & set(canceled)
    assert canceled["status"][1:] == ["canceled", "canceled by user", None, None, 1, 0]
    assert bridge.record(job)["remove"] is True  # it leaves the pool
    assert bridge.record(job)["terminated_code"] == 0


def test_cancel_of_another_job_that_has_ended(bridge: Bridge) -> None:
    job = run(bridge)
    complete(bridge, job, [1])
    assert call(bridge, "cancel_job", {"job_id": job}) is None
    assert state(bridge, job)["job_state"] == "completed"


def test_who_may_cancel(bridge: Bridge) -> None:
    job = run(bridge, wsid=7)
    text = f"There is no job {job} that may be canceled by user rob"
    assert refused(bridge, "cancel_job", {"job_id": job}, who="rob") == text
    assert refused(bridge, "cancel_job", {"job_id": job}, who="bob") == not_viewable(job, "bob")
    assert state(bridge, job)["finished"] == 0
    call(bridge, "cancel_job", {"job_id": job}, who="wendy")
    assert state(bridge, job)["canceled"] == 1
    assert bridge.db.ee2_legacy.find_one({"_id": bridge.record(job)["_id"]})["canceledby"] == (
        "wendy"
    )


def test_logs_are_paged_by_count(bridge: Bridge) -> None:
    job = run(bridge, wsid=7)
    java = java_njs(bridge)

    def logs(skip: int | None) -> dict[str, Any]:
        params = {"job_id": job} if skip is None else {"job_id": job, "skip_lines": skip}
        found: dict[str, Any] = java.call([LOGS], "NarrativeJobService.get_job_logs", params)[0]
        return found

    assert logs(None) == {"lines": [], "last_line_number": 0}
    lines = [{"line": "one", "is_error": 0}, {"line": "x" * 1001, "is_error": 1}]
    add = java.call([int], "NarrativeJobService.add_job_logs", job, lines)
    assert add == [2]
    page = logs(0)
    assert page == {
        "lines": [{"line": "one", "is_error": 0}, {"line": "x" * 997 + "...", "is_error": 1}],
        "last_line_number": 2,
    }
    assert logs(page["last_line_number"]) == {"lines": [], "last_line_number": 2}
    more = [{"line": "y" * 1000, "is_error": 0}]
    assert java.call([int], "NarrativeJobService.add_job_logs", job, more) == [3]
    assert logs(2) == {"lines": more, "last_line_number": 3}
    assert logs(50) == {"lines": [], "last_line_number": 50}


def test_who_may_read_and_write_logs(bridge: Bridge) -> None:
    job = run(bridge, wsid=7)
    line = [{"line": "l", "is_error": 0}]
    assert call(bridge, "add_job_logs", job, line, who="wendy") == 1
    assert call(bridge, "get_job_logs", {"job_id": job}, who="rob")["lines"] == line
    assert "does not have permission" in refused(bridge, "add_job_logs", job, line, who="rob")
    assert refused(bridge, "add_job_logs", job, line, who="bob") == not_viewable(job, "bob")
    assert refused(bridge, "get_job_logs", {"job_id": job}, who="bob") == not_viewable(job, "bob")
    assert call(bridge, "get_job_logs", {"job_id": job}, who="eva")["lines"] == line
    assert "is_error" in refused(bridge, "add_job_logs", job, [{"line": "l"}])


def test_job_params_are_two_values(bridge: Bridge) -> None:
    given = {
        "params": [{"x": "ä"}], "meta": {"cell_id": "c", "mine": "m"}, "wsid": 7, "app_id": "m/f",
        "service_ver": "beta", "rpc_context": {"run_id": "r", "call_stack": []},
        "remote_url": "http://other", "parent_job_id": UNKNOWN,
        "source_ws_objects": ["7/1/2", "7/777000"],
    }  # fmt: skip
    job = run(bridge, **given)
    found = java_njs(bridge).call(
        (RUN_JOB_PARAMS, {str: str}), "NarrativeJobService.get_job_params", job
    )
    assert found[0] == {**given, "method": "m.f", "service_ver": "c0ffee",
                        "requested_release": "beta"}  # fmt: skip
    assert found[1]["kbase.endpoint"] == bridge.url.rsplit("/", 1)[0]
    assert found[1]["auth-service-url-allow-insecure"] == "true"
    bare = run(bridge)
    params, _ = call(bridge, "get_job_params", bare)
    assert params == {"method": "m.f", "params": [1], "service_ver": "c0ffee",
                      "requested_release": "release", "source_ws_objects": []}  # fmt: skip
    assert "requested_release" not in call(bridge, "get_job_params",
                                           run(bridge, service_ver="c0ffee"))[0]  # fmt: skip
    # EE2's clients see what EE2's record has a place for.
    record = bridge.call("check_job", {"job_id": job})["job_input"]
    assert record["narrative_cell_info"] == {"cell_id": "c"}
    assert record["source_ws_objects"] == ["7/1/2"]


def test_check_jobs_tells_of_each(bridge: Bridge) -> None:
    mine, others, failed = run(bridge, wsid=7), run(bridge, who="bob", wsid=8), run(bridge)
    fail(bridge, failed, ERROR)
    ids = [mine, others, UNKNOWN, "nonsense", failed]
    java = java_njs(bridge)
    shape = {"job_states": {str: JOB_STATE}, "check_error": {str: JSON_RPC_ERROR},
             "job_params": {str: RUN_JOB_PARAMS}}  # fmt: skip
    answer = java.call([shape], "NarrativeJobService.check_jobs", {"job_ids": ids})[0]
    assert set(answer) == {"job_states", "check_error"}
    assert set(answer["job_states"]) == {mine, failed}
    assert answer["job_states"][mine] == state(bridge, mine)
    assert answer["job_states"][failed]["error"] == ERROR
    assert {job: e["message"] for job, e in answer["check_error"].items()} == {
        others: not_viewable(others),
        UNKNOWN: not_viewable(UNKNOWN),
        "nonsense": "Job ID nonsense is not a legal ID",
    }
    asked = {"job_ids": [mine, UNKNOWN], "with_job_params": 1}
    params = java.call([shape], "NarrativeJobService.check_jobs", asked)[0]["job_params"]
    assert set(params) == {mine} and params[mine]["method"] == "m.f"
    assert refused(bridge, "check_jobs", {}) == (
        "Input parameters should include 'job_ids' property"
    )


def test_jobs_of_a_workspace(bridge: Bridge) -> None:
    job = run(bridge, wsid=7)
    alone = run(bridge)
    unstarted = bridge.job()  # submitted to EE2, and not yet in the pool
    listed = java_njs(bridge, "rob").call(
        [[JOB_STATE]], "NarrativeJobService.list_job_statuses", "7"
    )[0]
    ids = [s["job_id"] for s in listed]
    assert job in ids and alone not in ids and unstarted not in ids
    assert next(s for s in listed if s["job_id"] == job) == state(bridge, job)
    assert refused(bridge, "list_job_statuses", "7", who="bob") == (
        "User bob cannot read workspace 7"
    )
    assert refused(bridge, "list_job_statuses", "99") == "User alice cannot read workspace 99"
    assert refused(bridge, "list_job_statuses", "seven") == (
        "The string seven is not a valid integer workspace ID"
    )


def test_sub_jobs(bridge: Bridge) -> None:
    parent = run(bridge)
    child = run(bridge, parent_job_id=parent)
    run(bridge, who="bob", parent_job_id=parent)  # whoever says so is not believed
    assert state(bridge, parent)["sub_jobs"] == [child]
    batch = bridge.call("run_job_batch", [{"method": "m.f"}, {"method": "m.f"}], {})
    assert state(bridge, batch["batch_id"])["sub_jobs"] == batch["child_job_ids"]


def test_a_job_without_workspace_is_its_owners(bridge: Bridge) -> None:
    job = run(bridge)
    assert refused(bridge, "check_job", job, who="wendy") == not_viewable(job, "wendy")
    info = njs(bridge).call("UserAndJobState.get_job_info2", job)
    assert info[9] == ["DEFAULT", "DEFAULT"] and info[2] == "alice" and info[11] == "queued"
    shared = run(bridge, wsid=7)
    assert njs(bridge).call("UserAndJobState.get_job_info2", shared)[9] == ["kbaseworkspace", "7"]
    assert state(bridge, shared, who="rob")["job_id"] == shared


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("check_job", lambda job: (job,)),
        ("get_job_params", lambda job: (job,)),
        ("get_job_logs", lambda job: ({"job_id": job},)),
        ("add_job_logs", lambda job: (job, [])),
        ("update_job", lambda job: ({"job_id": job, "is_started": 1},)),
        ("finish_job", lambda job: (job, {"result": []})),
        ("cancel_job", lambda job: ({"job_id": job},)),
        ("check_job_canceled", lambda job: ({"job_id": job},)),
    ],
)
def test_what_may_not_be_seen_is_not_there(bridge: Bridge, method: str, params: Any) -> None:
    job = run(bridge, wsid=7)
    for wanted in (job, UNKNOWN):
        assert refused(bridge, method, *params(wanted), who="bob") == not_viewable(wanted, "bob")
    assert refused(bridge, method, *params("x")) == "Job ID x is not a legal ID"
    other = run(bridge)
    assert refused(bridge, method, *params(job), who=other) == not_viewable(job)
    assert state(bridge, job)["job_state"] == "queued"


def test_sharing_and_deleting_in_user_and_job_state(bridge: Bridge) -> None:
    job, deleted = run(bridge), run(bridge, wsid=7)
    ujs = njs(bridge)
    ujs.call("UserAndJobState.share_job", job, ["bob"])
    assert state(bridge, job, who="bob")["job_state"] == "queued"
    assert "does not have permission" in refused(bridge, "add_job_logs", job, [], who="bob")
    complete(bridge, deleted, [1])
    ujs.call("UserAndJobState.delete_job", deleted)
    assert refused(bridge, "check_job", deleted) == not_viewable(deleted)
    assert deleted in call(bridge, "check_jobs", {"job_ids": [deleted]})["check_error"]
    assert deleted not in [s["job_id"] for s in call(bridge, "list_job_statuses", "7")]
    assert bridge.call("check_job", {"job_id": deleted})["status"] == "completed"


def test_a_job_that_clients_of_user_and_job_state_drive(bridge: Bridge) -> None:
    ujs, token = njs(bridge), bridge.tokens["wendy"]
    job = ujs.call("UserAndJobState.create_job")
    assert state(bridge, job)["status"][1:] == ["created", None, None, None, None, None]
    assert state(bridge, job)["job_state"] == "queued"
    progress = {"ptype": "task", "max": 3}
    ujs.call("UserAndJobState.start_job", job, token, "go", "desc", progress, None)
    assert state(bridge, job)["status"][1:] == ["started", "go", 0, None, 0, 0]
    ujs.call("UserAndJobState.complete_job", job, token, "fine", None, None)
    ended = state(bridge, job)
    assert (ended["job_state"], ended["result"]) == ("completed", [])
    assert ended["status"][1:] == ["complete", "fine", 3, None, 1, 0]


def test_resources_are_never_the_callers_choice(bridge: Bridge) -> None:
    wanted = {"request_cpus": 64, "client_group": "bigmem"}
    job = run(bridge, who="root", job_requirements=wanted, as_admin=True)
    assert bridge.record(job)["job_input"]["requirements"]["clientgroup"] == "njs"
    assert bridge.record(job)["job_input"]["requirements"]["cpu"] == 1
