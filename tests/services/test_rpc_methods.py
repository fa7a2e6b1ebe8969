"""The wire shape of each method (docs/reference/methods.md), against a live server and MongoDB."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from bson import ObjectId

from tests.services.rpc_support import Bridge, RpcError

HEX24 = re.compile(r"[0-9a-f]{24}")
UNKNOWN = "5f0c0000000000000000aaaa"


def test_ver_status_and_client_groups_need_no_token(bridge: Bridge) -> None:
    version = bridge.call("ver", who=None)
    assert isinstance(version, str)
    status = bridge.call("status", who=None)
    assert set(status) == {"server_time", "git_commit", "version", "service"}
    assert abs(status["server_time"] - time.time()) < 60 and status["version"] == version
    assert bridge.call("get_client_groups", who=None) == ["njs", "bigmem"]


def test_list_config_has_the_15_keys_with_any_token(bridge: Bridge) -> None:
    config = bridge.call("list_config", who=None)
    assert set(config) == {
        "external-url", "kbase-endpoint", "workspace-url", "catalog-url", "shock-url",
        "handle-url", "srv-wiz-url", "auth-service-url", "auth-service-url-v2",
        "auth-service-url-allow-insecure", "scratch", "executable", "docker_timeout", "initialdir",
        "ref_data_base",
    }  # fmt: skip
    assert all(value is None or isinstance(value, str) for value in config.values())
    assert config["external-url"] == bridge.url
    body = {"version": "1.1", "id": "1", "method": "execution_engine2.list_config", "params": []}
    assert bridge.post(body, "not a token").status_code == 200


@pytest.mark.parametrize(
    ("who", "admin", "permission"), [("alice", 0, "n"), ("eva", 1, "r"), ("root", 1, "w")]
)
def test_admin_questions(bridge: Bridge, who: str, admin: int, permission: str) -> None:
    answer = bridge.call("is_admin", who=who)
    assert answer == admin and type(answer) is int
    assert bridge.call("get_admin_permission", who=who) == {"permission": permission}


def test_run_job_and_check_job(bridge: Bridge) -> None:
    before_ms = int(time.time()) * 1000
    job_id = bridge.call(
        "run_job",
        {
            "method": "m.f", "app_id": "m/f", "service_ver": "release", "wsid": 7,
            "params": [{"a": 1}], "source_ws_objects": ["7 / 1 /2"], "parent_job_id": UNKNOWN,
            "meta": {"cell_id": "c", "run_id": "r", "tag": "release", "token_id": "t", "x": "y"},
            "unknown key": 1,
        },
    )
    assert HEX24.fullmatch(job_id)
    assert job_id in bridge.started.ids
    state = bridge.call("check_job", {"job_id": job_id})
    assert before_ms <= state.pop("created") <= state.pop("updated") + 1000
    assert state == {
        "job_id": job_id, "user": "alice", "authstrat": "kbaseworkspace", "wsid": 7,
        "status": "created", "batch_job": False, "batch_id": None, "child_jobs": [],
        "retry_ids": [], "retry_count": 0, "retry_saved_toggle": False, "priority": 0,
        "job_input": {
            "method": "m.f", "app_id": "m/f", "service_ver": "c0ffee", "wsid": 7,
            "params": [{"a": 1}], "source_ws_objects": ["7/1/2"], "parent_job_id": UNKNOWN,
            "requirements": {"clientgroup": "njs", "cpu": 1, "memory": 10, "disk": 1},
            "narrative_cell_info": {
                "cell_id": "c", "run_id": "r", "tag": "release", "token_id": "t"
            },
        },
    }  # fmt: skip


def test_check_job_leaves_out_what_is_excluded(bridge: Bridge) -> None:
    job_id = bridge.job(params=[{"big": "x"}])
    names = ["authstrat", "condor_job_ads", "retry_saved_toggle", "scheduler_type",
             "scheduler_id", "updated", "job_input__params", "user"]  # fmt: skip
    state = bridge.call("check_job", {"job_id": job_id, "exclude_fields": names}, who="rob")
    assert "updated" not in state and "user" not in state and "authstrat" not in state
    assert "params" not in state["job_input"] and state["job_input"]["method"] == "m.f"
    with pytest.raises(RpcError, match="exclude_fields: a job record has no field 'nonsense'"):
        bridge.call("check_job", {"job_id": job_id, "exclude_fields": ["nonsense"]})


def test_check_jobs_list_mapping_order_and_unknown_ids(bridge: Bridge) -> None:
    first, second = bridge.job(), bridge.job()
    ids = [second, UNKNOWN, first, second]
    listed = bridge.call("check_jobs", {"job_ids": ids})
    assert set(listed) == {"job_states"}
    unknown = {"failure": f"No read permissions for {UNKNOWN}", "check_job_error": True}
    assert [s.get("job_id") or s for s in listed["job_states"]] == [second, unknown, first]
    for flag in (0, None, "0", "False"):
        mapped = bridge.call("check_jobs", {"job_ids": ids, "return_list": flag})
        assert list(mapped) == [second, UNKNOWN, first] and mapped[UNKNOWN] == unknown
    assert "job_states" in bridge.call("check_jobs", {"job_ids": ids, "return_list": "True"})
    with pytest.raises(RpcError, match="return_list: maybe is not a boolean value"):
        bridge.call("check_jobs", {"job_ids": ids, "return_list": "maybe"})
    assert bridge.call("check_jobs", {"job_ids": [UNKNOWN]}) == {"job_states": [unknown]}
    as_admin = {"return_list": 0, "as_admin": 1}
    states = bridge.call("check_jobs", {"job_ids": ids, **as_admin}, who="eva")
    assert list(states) == [second, UNKNOWN, first] and states[UNKNOWN] == []
    with pytest.raises(RpcError, match=re.escape(f"Cannot find job with ids: ['{UNKNOWN}']")):
        bridge.call("check_jobs", {"job_ids": [UNKNOWN], **as_admin}, who="eva")
    for empty in ([], None):
        with pytest.raises(RpcError, match="Please provide a non empty list of job ids"):
            bridge.call("check_jobs", {"job_ids": empty})


def test_unreadable_jobs_are_a_failure_in_the_answer(bridge: Bridge) -> None:
    job_id = bridge.job()
    failure = {"failure": f"No read permissions for {job_id}", "check_job_error": True}
    assert bridge.call("check_job", {"job_id": job_id}, who="bob") == failure
    mine = bridge.job(who="bob", wsid=8)
    states = bridge.call("check_jobs", {"job_ids": [job_id, mine], "return_list": 0}, who="bob")
    assert states[job_id] == failure and states[mine]["user"] == "bob"


def test_batch(bridge: Bridge) -> None:
    answer = bridge.call(
        "run_job_batch",
        [{"method": "m.f", "params": [n]} for n in range(3)],
        {"wsid": 7, "meta": {"cell_id": "c"}},
    )
    assert set(answer) == {"batch_id", "child_job_ids"}
    batch_id, children = answer["batch_id"], answer["child_job_ids"]
    assert [bridge.record(c)["job_input"]["params"] for c in children] == [[0], [1], [2]]
    both = bridge.call("check_job_batch", {"job_id": batch_id})
    assert set(both) == {"batch_jobstate", "child_jobstates"}
    parent = both["batch_jobstate"]
    assert parent["batch_job"] is True and parent["child_jobs"] == children
    assert parent["status"] == "created" and parent["child_counts"] == {"created": 3}
    assert parent["job_input"] == {
        "method": "batch", "app_id": "batch", "service_ver": "batch", "source_ws_objects": [],
        "narrative_cell_info": {"cell_id": "c"},
    }  # fmt: skip
    states = both["child_jobstates"]
    assert [s["job_id"] for s in states] == children
    assert {s["batch_id"] for s in states} == {batch_id}
    with pytest.raises(RpcError, match="You can't exclude child jobs from this endpoint"):
        bridge.call("check_job_batch", {"job_id": batch_id, "exclude_fields": ["child_jobs"]})
    assert bridge.call("check_job_batch", {"job_id": children[0]})["child_jobstates"] == []


def test_admins_see_the_children_of_others_and_may_cancel_them(bridge: Bridge) -> None:
    batch = bridge.call("run_job_batch", [{"method": "m.f"}] * 2, {})
    for flag in (True, 1, "true"):
        both = bridge.call(
            "check_job_batch", {"job_id": batch["batch_id"], "as_admin": flag}, who="eva"
        )
        assert [s["status"] for s in both["child_jobstates"]] == ["created"] * 2
    bridge.call("cancel_job", {"job_id": batch["batch_id"], "as_admin": 1}, who="root")
    parent = bridge.record(batch["batch_id"])
    assert (parent["status"], parent["terminated_code"]) == ("terminated", 1)
    for child in map(bridge.record, batch["child_job_ids"]):
        assert (child["status"], child["terminated_code"]) == ("terminated", 3)


def test_run_split_aggregate_answers_with_the_batch_id(bridge: Bridge) -> None:
    batch_id = bridge.call("run_split_aggregate", {"method": "m.f", "params": [1], "wsid": 7})
    state = bridge.call("check_job", {"job_id": batch_id})
    assert state["batch_job"] is True and set(state["stage_jobs"]) == {"split", "aggregate"}
    batch_id = bridge.call(
        "run_split_aggregate", {"method": "m.f", "children": [[1], [2]], "aggregate": "report"}
    )
    assert bridge.call("check_job", {"job_id": batch_id})["child_counts"] == {"created": 2}
    ids = bridge.call(
        "run_job_batch", [{"method": "m.f"}], {"aggregate": {"recipe": "report"}}
    )
    assert set(bridge.call("check_job", {"job_id": ids["batch_id"]})["stage_jobs"]) == {"aggregate"}


def test_the_way_of_a_runner(bridge: Bridge) -> None:
    """What KBase's JobRunner asks and tells, with the job's own token."""
    job = bridge.job(params=[{"a": 1}], app_id="m/f")
    assert bridge.call("check_job_canceled", {"job_id": job}, who=job) == {
        "job_id": job, "canceled": False, "finished": False
    }  # fmt: skip
    assert bridge.call("get_job_params", {"job_id": job}, who=job) == {
        "method": "m.f", "params": [{"a": 1}], "service_ver": "c0ffee", "app_id": "m/f", "wsid": 7,
        "parent_job_id": None, "source_ws_objects": [],
    }  # fmt: skip
    assert bridge.call("start_job", {"job_id": job}, who=job) is None
    assert bridge.call("get_job_status", {"job_id": job}, who=job) == {"status": "running"}
    text = (
        f"Unexpected job status for {job}: running.  You cannot start a job that is not in "
        "['created', 'queued', 'estimating']"
    )
    with pytest.raises(RpcError, match=re.escape(text)):
        bridge.call("start_job", {"job_id": job}, who=job)
    output = {"version": "1.1", "id": job, "result": [{"report_ref": "7/1/1"}]}
    assert bridge.call("finish_job", {"job_id": job, "job_output": output}, who=job) is None
    state = bridge.call("check_job", {"job_id": job})
    assert state["status"] == "completed" and state["job_output"] == output
    assert state["running"] <= state["finished"] and type(state["finished"]) is int
    assert bridge.call("check_job_canceled", {"job_id": job}, who=job)["finished"] is True


def test_estimating_comes_first_if_asked_for(bridge: Bridge) -> None:
    job = bridge.job()
    for expected in ("estimating", "running"):
        bridge.call("start_job", {"job_id": job, "skip_estimation": False})
        assert bridge.call("get_job_status", {"job_id": job}) == {"status": expected}
    with pytest.raises(RpcError, match="Unexpected job status"):
        bridge.call("start_job", {"job_id": job, "skip_estimation": False})


@pytest.mark.parametrize(
    ("status", "canceled", "finished"),
    [("created", False, False), ("estimating", False, False), ("queued", False, False),
     ("running", False, False), ("completed", False, True), ("error", False, True),
     ("terminated", True, True)],
)  # fmt: skip
def test_check_job_canceled_in_every_state(
    bridge: Bridge, status: str, canceled: bool, finished: bool
) -> None:
    job = bridge.job()
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(job)}, {"$set": {"status": status}})
    assert bridge.call("check_job_canceled", {"job_id": job}) == {
        "job_id": job, "canceled": canceled, "finished": finished
    }  # fmt: skip


FINISHES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"error_message": "bad"}, {"status": "error", "errormsg": "bad", "error_code": 1}),
    (
        {"error_message": "bad", "error_code": 0, "error": {"name": "N", "code": 5}},
        {"status": "error", "error_code": 0, "error": {"name": "N", "code": 5}},
    ),
    (
        {"error_message": "Unexpected Job Error", "error_code": 2, "terminated_code": 2},
        {"status": "error", "error_code": 2},
    ),
    (
        {"error_message": "m", "error": "a plain string"},
        {"error": {"name": "Error", "code": 1, "message": "a plain string",
                   "error": "a plain string"}},
    ),
    ({}, {"status": "error", "error_code": 4}),
    ({"job_output": {}}, {"status": "completed", "job_output": {}}),
]  # fmt: skip


@pytest.mark.parametrize(("told", "stored"), FINISHES)
def test_finish_job(bridge: Bridge, told: dict[str, Any], stored: dict[str, Any]) -> None:
    job = bridge.job()
    bridge.call("finish_job", {"job_id": job, **told})
    state = bridge.call("check_job", {"job_id": job})
    assert {key: state.get(key) for key in stored} == stored
    assert state["finished"] > 0


def test_output_that_is_none_ends_the_job_in_error(bridge: Bridge) -> None:
    outputs: list[dict[str, Any]] = [
        {"result": [1]},
        {"version": "1.1", "id": "x", "result": [1]},
        {"version": "1.1", "result": [2**64]},
    ]
    for output in outputs:
        job = bridge.job()
        with pytest.raises(RpcError, match="Something was wrong with the output object"):
            bridge.call("finish_job", {"job_id": job, "job_output": output})
        state = bridge.call("check_job", {"job_id": job})
        assert (state["status"], state["error_code"]) == ("error", 4)
        assert state["error"]["code"] == -1 and "job_output" not in state


def test_an_error_that_cannot_be_stored_still_ends_the_job(bridge: Bridge) -> None:
    for error in ([2**70], {"a\0b": 1}):
        job = bridge.job()
        told = {"job_id": job, "error_message": "bad " * 50_000, "error": error}
        bridge.call("finish_job", told)
        state = bridge.call("check_job", {"job_id": job})
        assert state["status"] == "error" and len(state["errormsg"]) < 101_000
        assert "was not kept" in state["error"]["error"]


def test_cancel_and_retry(bridge: Bridge) -> None:
    job = bridge.job()
    assert bridge.call("cancel_job", {"job_id": job}) is None
    state = bridge.call("check_job", {"job_id": job})
    assert (state["status"], state["terminated_code"]) == ("terminated", 0)
    assert bridge.call("cancel_job", {"job_id": job, "terminated_code": 2}) is None
    assert bridge.record(job)["terminated_code"] == 0

    answer = bridge.call("retry_job", {"job_id": job})
    assert set(answer) == {"job_id", "retry_id"} and answer["job_id"] == job
    bridge.call("cancel_job", {"job_id": answer["retry_id"]})
    again = bridge.call("retry_job", {"job_id": answer["retry_id"]})
    assert again["job_id"] == job
    state = bridge.call("check_job", {"job_id": job})
    assert state["retry_ids"] == [answer["retry_id"], again["retry_id"]]
    assert state["retry_count"] == 2
    assert bridge.call("check_job", {"job_id": again["retry_id"]})["retry_parent"] == job


def test_retry_jobs_answers_per_item(bridge: Bridge) -> None:
    batch = bridge.call("run_job_batch", [{"method": "m.f"}] * 2, {})
    ended, live = batch["child_job_ids"]
    bridge.call("finish_job", {"job_id": ended, "error_message": "bad"})
    ids: list[Any] = [live, ended, UNKNOWN, batch["batch_id"], 5]
    answers = bridge.call("retry_jobs", {"job_ids": ids})
    assert answers[0] == {
        "job_id": live,
        "error": f"Error retrying job {live} with status created: can only retry jobs with status "
        "'error' or 'terminated'",
    }
    assert set(answers[1]) == {"job_id", "retry_id"}
    assert answers[2] == {"job_id": UNKNOWN, "error": f"Cannot find job with ids: ['{UNKNOWN}']"}
    assert answers[3]["error"] == "Cannot retry batch job parents. Must retry individual jobs"
    assert answers[4]["job_id"] == 5 and "not a valid ObjectId" in answers[4]["error"]
    parent = bridge.call("check_job", {"job_id": batch["batch_id"]})
    assert parent["child_jobs"] == [ended, live, answers[1]["retry_id"]]
    for empty in ([], None):
        with pytest.raises(RpcError, match="No job_ids provided to retry"):
            bridge.call("retry_jobs", {"job_ids": empty})
    with pytest.raises(RpcError, match="Retry of the same id in the same request"):
        bridge.call("retry_jobs", {"job_ids": [ended, ended]})


def test_records_that_ee2_took_over_from_its_predecessors_are_readable(bridge: Bridge) -> None:
    oid = ObjectId()
    bridge.db.ee2_jobs.insert_one(
        {"_id": oid, "user": "alice", "authstrat": "DEFAULT", "wsid": -1, "status": "error",
         "scheduler_type": "awe", "msg": "old", "running": 0, "error_code": 0, "error": "text",
         "updated": 1.5}
    )  # fmt: skip
    state = bridge.call("check_job", {"job_id": str(oid)})
    assert state["updated"] == 1500 and state["child_jobs"] == [] and "running" not in state
    assert state["error"]["message"] == "text"
