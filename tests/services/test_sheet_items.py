"""What EE2's clients rely on and no other test asks for: rules, texts and shapes, a row each."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from ee2_cli.airflow import git_commit
from ee2_jobs.checks import check_job
from ee2_jobs.identity import Caller
from ee2_jobs.model import StageName
from ee2_jobs.stages import open_stage, submit_failed
from ee2_jobs.submit import run_job
from tests.services.conftest import free_port
from tests.services.engines import close_engine, open_engine
from tests.services.legacy_support import call, complete
from tests.services.rpc_support import Bridge, RpcError

METHOD = {"method": "m.f"}
ADDRESSES = ("ee2", "ee2/", "njs_wrapper", "njs_wrapper/", "userandjobstate", "narrativejobproxy",
             "awe-api", "awe-api/", "awe-api//job")  # fmt: skip
TIMES = {"created", "queued", "estimating", "running", "finished", "updated"}


def put(bridge: Bridge, job_id: str, **fields: Any) -> None:
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(job_id)}, {"$set": fields})


# --- what every answer has (C-01, C-02, C-20; traps 1 and 14)


@pytest.mark.parametrize("path", ADDRESSES)
def test_browsers_may_call_every_address(bridge: Bridge, path: str) -> None:
    url = f"{bridge.url.rsplit('/', 1)[0]}/{path}"
    asked = {"Access-Control-Request-Headers": "authorization, x-y", "Origin": "http://x"}
    answer = bridge.http.options(url, headers=asked)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "authorization, x-y"
    for verb in ("GET", "POST"):
        answer = bridge.http.request(verb, url, content=b"")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["content-type"] == "application/json"
        assert not answer.is_redirect


REPLIES: list[tuple[str, bytes | dict[str, Any]]] = [
    ("python", b"{"),
    ("python", b"[]"),
    ("python", b"\xff"),
    ("python", {"method": "execution_engine2.ver", "params": [], "id": [1]}),
    ("python", {"method": "execution_engine2.ver", "params": 5, "id": "1"}),
    ("python", {"method": "execution_engine2.ver", "params": {}, "id": "1"}),
    ("python", {"method": "execution_engine2.nosuch", "params": [], "id": "1"}),
    ("python", {"method": "execution_engine2.run_job", "params": [{}], "id": "1"}),
    ("java", {"method": "NarrativeJobService.nosuch", "params": [], "id": "1"}),
    ("java", {"method": "UserAndJobState.get_job_info2", "params": ["x"], "id": "1"}),
    ("python", {"method": "NarrativeJobProxy.get_job_info", "params": ["x"], "id": "1"}),
    ("sdk", {"method": "m._check_job", "params": ["x"], "id": "1"}),
    ("sdk", {"method": "nosuch._f_submit", "params": [], "id": "1"}),
]


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize(("dialect", "body"), REPLIES, ids=lambda value: str(value)[:60])
def test_errors_have_the_keys_that_clients_unpack(
    bridge: Bridge, dialect: str, body: Any, token: bool
) -> None:
    if isinstance(body, dict):
        body = {"version": "1.1", **body}
    answer = bridge.post(body, bridge.tokens["alice"] if token else None)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/json")
    error = answer.json()["error"]
    assert set(error) == {"name", "code", "message", "error"}
    assert (error["name"] == "JSONRPCError") == (dialect != "python")
    assert type(error["code"]) is int and error["error"] is None
    assert error["message"].strip() and "Traceback" not in error["message"]


# --- texts (section 2.4, 2.5, 5.3)

TEXTS: list[tuple[dict[str, Any], str]] = [
    ({"method": ".f"}, "Missing input parameter: module portion of method ID"),
    ({"method": "m. "}, "Missing input parameter: method portion of method ID"),
    ({**METHOD, "app_id": "m/"}, "Missing input parameter: application portion of application ID"),
    ({**METHOD, "app_id": "/f"}, "Missing input parameter: module portion of application ID"),
    ({**METHOD, "app_id": "m/f/g"}, "Expected exactly one '/' in application ID 'm/f/g'"),
    ({**METHOD, "app_id": "m\x01"}, "application ID contains control characters"),
    ({**METHOD, "app_id": "other"}, "Application module 'other' must equal method module 'm'"),
]
REQUIREMENTS: list[tuple[Any, str]] = [
    ({"request_cpus": 1.5}, "Found illegal cpu request '1.5' in job requirements from input job"),
    ({"request_memory": "4G"},
     "Found illegal memory request '4G' in job requirements from input job"),
    ({"request_disk": "1TB"},
     "Found illegal disk request '1TB' in job requirements from input job"),
    ({"client_group": "a=b"},
     "Found illegal client group 'a=b' in job requirements from input job"),
    ({"client_group": "nosuch"}, "No such clientgroup: nosuch"),
    ([], "job_requirements must be a mapping"),
    ({"request_cpus": 0}, "CPU count must be at least 1"),
    ({"request_memory": 0}, "memory in MB must be at least 1"),
    ({"request_disk": "0GB"}, "disk space in GB must be at least 1"),
]  # fmt: skip


@pytest.mark.parametrize(("params", "text"), TEXTS)
def test_texts_of_methods_and_apps(bridge: Bridge, params: Any, text: str) -> None:
    with pytest.raises(RpcError, match=f"^{re.escape(text)}$"):
        bridge.call("run_job", params)
    with pytest.raises(RpcError, match=f"^Job #2: {re.escape(text)}$"):
        bridge.call("run_job_batch", [METHOD, params], {})


@pytest.mark.parametrize(("wanted", "text"), REQUIREMENTS)
def test_texts_of_requirements(bridge: Bridge, wanted: Any, text: str) -> None:
    asked = {**METHOD, "job_requirements": wanted}
    with pytest.raises(RpcError, match=f"^{re.escape(text)}$"):
        bridge.call("run_job", asked, who="root")


def test_a_mapping_of_requirements_without_a_wish_needs_no_administrator(bridge: Bridge) -> None:
    for wanted in ({}, None, {"request_cpus": None, "client_group": " "}):
        assert bridge.call("run_job", {**METHOD, "job_requirements": wanted})


# --- administrators (2.0, D9)


@pytest.mark.parametrize("flag", [True, 1, 7, "wheee", "true", [1]])
def test_what_is_a_wish_to_act_as_administrator(bridge: Bridge, flag: Any) -> None:
    job = bridge.job()
    for method in ("check_job", "check_job_canceled", "get_job_status", "get_job_params"):
        with pytest.raises(RpcError, match="^Access Denied: You are not an administrator$"):
            bridge.call(method, {"job_id": job, "as_admin": flag})
    for method in ("cancel_job", "start_job", "finish_job"):
        with pytest.raises(RpcError, match="not an administrator. AdminPermissions.NONE$"):
            bridge.call(method, {"job_id": job, "as_admin": flag})
        with pytest.raises(RpcError, match="^Access Denied: You are a read-only admin. This fu"):
            bridge.call(method, {"job_id": job, "as_admin": flag}, who="eva")
    assert bridge.record(job)["status"] == "created"


@pytest.mark.parametrize("flag", [False, 0, None, "", "false", "0", []])
def test_what_is_none(bridge: Bridge, flag: Any) -> None:
    asked = {"job_id": bridge.job(), "as_admin": flag}
    assert bridge.call("get_job_status", asked) == {"status": "created"}


# --- ends (C-16, D48, D49)


@pytest.mark.parametrize("error", ["text", [1, 2], 5, True])
def test_an_error_is_a_mapping_whatever_was_told(bridge: Bridge, error: Any) -> None:
    """Told to us, and told to EE2, whose records we show."""
    job, old = bridge.job(), bridge.job()
    bridge.call("finish_job", {"job_id": job, "error_message": "bad", "error": error})
    put(bridge, old, status="error", error=error, error_code=1)
    text = error if isinstance(error, str) else json.dumps(error)
    for one in (job, old):
        told = bridge.call("check_job", {"job_id": one})["error"]
        assert told == {"name": "Error", "code": 1, "message": text, "error": text}


OUTPUTS: list[tuple[dict[str, Any], str]] = [
    ({"version": "1.1", "result": [1]}, "completed"),  # no id
    ({"version": "1.1", "result": [1], "id": None}, "completed"),
    ({"version": "1.1", "result": [1], "id": "5f0c0000000000000000aaaa"}, "completed"),
    ({"version": "1.1", "result": [1], "id": "8437"}, "error"),
    ({"version": "1.1", "result": [1], "id": 7}, "error"),
    ({"version": 1.1, "result": [1]}, "error"),
    ({"version": "1.1", "result": None}, "error"),
]


@pytest.mark.parametrize(("output", "status"), OUTPUTS)
def test_every_output_ends_the_job(bridge: Bridge, output: dict[str, Any], status: str) -> None:
    job = bridge.job()
    if status == "error":
        with pytest.raises(RpcError, match="^Something was wrong with the output object: "):
            bridge.call("finish_job", {"job_id": job, "job_output": output})
    else:
        assert bridge.call("finish_job", {"job_id": job, "job_output": output}) is None
    state = bridge.call("check_job", {"job_id": job})
    assert state["status"] == status
    assert state.get("job_output") == (output if status == "completed" else None)
    assert state.get("error_code") == (None if status == "completed" else 4)


def test_every_code_is_kept(bridge: Bridge) -> None:
    for code in (0, 1, 2, 3, 4, 5, 6, "3"):
        job = bridge.job()
        bridge.call("finish_job", {"job_id": job, "error_message": "bad", "error_code": code})
        assert bridge.call("check_job", {"job_id": job})["error_code"] == int(code)
    for code in (0, 1, 2, 3, 4):
        job = bridge.job()
        bridge.call("cancel_job", {"job_id": job, "terminated_code": code})
        assert bridge.call("check_job", {"job_id": job})["terminated_code"] == code


async def test_what_the_scheduler_refuses_has_a_code_of_its_own(mongo_uri: str) -> None:
    engine = await open_engine(mongo_uri)
    try:
        alice = Caller("alice")
        job = await run_job(engine, alice, METHOD)
        run = await open_stage(engine.store, job, StageName.SUBMIT, 1, 50)
        await submit_failed(engine.store, run, "The pool says no")
        state = await check_job(engine, alice, job)
        assert (state["status"], state["error_code"]) == ("error", 6)
        assert state["errormsg"] == state["error"]["message"] == "The pool says no"
    finally:
        await close_engine(engine, mongo_uri)


@pytest.mark.parametrize("status", ["completed", "error", "terminated"])
def test_what_a_runner_may_tell_of_a_job_that_has_ended(bridge: Bridge, status: str) -> None:
    """Its lines and its second cancel are taken (C-11, C-14), its end is refused (C-16)."""
    job = bridge.job()
    put(bridge, job, status=status, finished=time.time())
    before = bridge.record(job)
    told = {"job_id": job, "error_message": "Unexpected Job Error", "error_code": 2,
            "terminated_code": 2}  # fmt: skip
    for who in (job, "alice"):
        with pytest.raises(RpcError, match=f"^Cannot finish job with a status of {status}$"):
            bridge.call("finish_job", told, who=who)
        assert bridge.call("cancel_job", told, who=who) is None
        assert bridge.call("add_job_logs", {"job_id": job}, [{"line": "x"}], who=who)["success"]
    assert bridge.record(job) == before


# --- retries (D28, section 9)


def test_a_retry_keeps_what_an_administrator_chose(bridge: Bridge) -> None:
    wanted = {"request_cpus": 3, "request_memory": "77M", "client_group": "bigmem",
              "time_limit_s": 99}  # fmt: skip
    asked = {**METHOD, "params": [1], "wsid": 7, "job_requirements": wanted, "as_admin": 1}
    job = bridge.call("run_job", asked, who="root")
    first = bridge.record(job)
    bridge.call("finish_job", {"job_id": job, "error_message": "bad"}, who="wendy")
    for _ in range(2):  # the second retries the retry
        retry = bridge.call("retry_job", {"job_id": job}, who="wendy")["retry_id"]
        again = bridge.record(retry)
        assert again["user"] == "wendy" and again["retry_parent"] == str(first["_id"])
        assert again["job_input"] == first["job_input"]
        assert again["job_requirements"] == first["job_requirements"]
        assert again["time_limit_s"] == 99
        bridge.call("finish_job", {"job_id": retry, "error_message": "bad"}, who="wendy")
        job = retry
    assert first["job_input"]["requirements"] == {
        "clientgroup": "bigmem", "cpu": 3, "memory": 77, "disk": 1
    }  # fmt: skip


# --- logs: EE2's way and NarrativeJobService's beside each other (C-13, trap 5)


def test_one_log_by_both_services(bridge: Bridge) -> None:
    job = bridge.job()
    with pytest.raises(RpcError, match=f"^Cannot find job log with id: {job}$"):
        bridge.call("get_job_logs", {"job_id": job})
    none = {"lines": [], "last_line_number": 0}
    assert call(bridge, "get_job_logs", {"job_id": job}) == none
    texts = [f"line {n}" for n in range(8)]
    bridge.call("add_job_logs", {"job_id": job}, [{"line": t} for t in texts[:5]])
    assert call(bridge, "add_job_logs", job, [{"line": t, "is_error": 0} for t in texts[5:]]) == 8
    for skip, limit in ((0, 0), (1, 0), (5, 2), (7, 0), (8, 0), (50, 0)):
        asked: dict[str, Any] = {"job_id": job, "skip_lines": skip}
        ee2 = bridge.call("get_job_logs", {**asked, "limit": limit})
        assert [n["linepos"] for n in ee2["lines"]] == list(range(skip, 8))[: limit or None]
        assert ee2["last_line_number"] == min(skip, 8) + len(ee2["lines"])
        assert ee2["count"] == 8
        if not limit:
            njs = call(bridge, "get_job_logs", asked)
            assert [n["line"] for n in njs["lines"]] == [n["line"] for n in ee2["lines"]]
    seen: dict[str, list[str]] = {"held": [], "told": []}
    told = 0
    for n in range(4):  # the Narrative sends how many it holds, EE2's clients what they were told
        for way, asked in (
            ("held", {"skip_lines": len(seen["held"])}), ("told", {"offset": told})
        ):  # fmt: skip
            page = bridge.call("get_job_logs", {"job_id": job, **asked})
            seen[way] += [line["line"] for line in page["lines"]]
        told = page["last_line_number"]
        bridge.call("add_job_logs", {"job_id": job}, [{"line": f"more {n}"}])
    assert seen["held"] == seen["told"] == [*texts, "more 0", "more 1", "more 2"]
    with pytest.raises(RpcError, match="^Please provide only one of skip_lines or offset$"):
        bridge.call("get_job_logs", {"job_id": job, "skip_lines": 1, "offset": 1})


# --- types (C-03, C-04, C-05, C-09, C-19)


@pytest.fixture
def states(bridge: Bridge) -> Iterator[dict[str, Any]]:
    """Every kind of record in every answer that has states, by the name of the answer."""
    began = int(time.time()) - 1
    batch = bridge.call("run_job_batch", [METHOD] * 3, {"wsid": 7})
    parent, children = batch["batch_id"], batch["child_job_ids"]
    output = [{"report_ref": "7/1/1"}]
    complete(bridge, children[0], output)
    bridge.call("finish_job", {"job_id": children[1], "error_message": "bad"})
    retry = bridge.call("retry_job", {"job_id": children[1]})["retry_id"]
    for status in ("queued", "estimating", "running"):
        put(bridge, retry, **{status: time.time(), "status": status})
    put(bridge, children[2], scheduler_id="98001.2", queued=time.time())
    everything = [parent, *children, retry]
    one = bridge.call("check_job_batch", {"job_id": parent})
    span = {"start_time": began * 1000, "end_time": (began + 600) * 1000}
    of_7 = {"workspace_id": 7, "return_list": 0}
    yield {
        "check_job": [bridge.call("check_job", {"job_id": j}) for j in everything],
        "check_jobs": bridge.call("check_jobs", {"job_ids": everything})["job_states"],
        "parent": [one["batch_jobstate"]],
        "children": one["child_jobstates"],
        "workspace": list(bridge.call("check_workspace_jobs", of_7).values()),
        "range": bridge.call("check_jobs_date_range_for_user", span)["jobs"],
        "wait": list(bridge.call(
            "wait_for_jobs", {"job_ids": everything, "timeout_s": 0}
        )["job_states"].values()),
        "held": [bridge.call("handle_held_job", "98001.2", who="root")],
    }  # fmt: skip


def test_types_of_every_answer(states: dict[str, Any]) -> None:
    now_ms = time.time() * 1000
    mine = {state["job_id"] for state in states["check_jobs"]}  # other tests make up times
    for name, listed in states.items():
        assert listed, name
        for state in listed:
            assert {"created", "updated", "batch_job"} <= set(state), name
            for key in TIMES & set(state):
                assert type(state[key]) is int, (name, key)
                if state["job_id"] in mine:
                    assert 1e12 < state[key] <= now_ms + 1000, (name, key)
            assert type(state["batch_job"]) is bool and type(state["job_id"]) is str
            if name == "wait":
                continue
            assert type(state["child_jobs"]) is list and type(state["retry_ids"]) is list
            assert type(state.get("wsid", 1)) is int
            assert None not in [v for k, v in state.items() if k != "batch_id"], name
            if name != "range":
                assert type(state["retry_count"]) is int
    ids = [state["job_id"] for state in states["check_job"]]
    assert ids == sorted(ids), "ids sort by creation"
    assert states["parent"][0]["child_jobs"] == ids[1:]
    assert [state["job_id"] for state in states["children"]] == ids[1:]


# --- D22: nothing outside is told within a call


def test_a_call_waits_for_nobody_who_is_told_of_it(bridge: Bridge) -> None:
    """Changes of state are read from MongoDB's change stream: a call writes no message itself."""
    before = bridge.db.ee2_outbox.count_documents({})
    job = bridge.job()
    bridge.call("start_job", {"job_id": job})
    bridge.call("finish_job", {"job_id": job, "job_output": {}})
    bridge.call("cancel_job", {"job_id": bridge.job()})
    assert bridge.db.ee2_outbox.count_documents({}) == before


# --- status


def test_the_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    assert git_commit(tmp_path) == ""
    (tmp_path / ".git").mkdir()  # no repository
    assert git_commit(tmp_path) == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    assert re.fullmatch("[0-9a-f]{40}", git_commit(tmp_path))


def test_status_tells_the_commit(mongo_uri: str, tmp_path: Path) -> None:
    bridge = Bridge(mongo_uri, tmp_path, free_port(), git_commit="c0ffee")
    bridge.start()
    try:
        assert bridge.call("status", who=None)["git_commit"] == "c0ffee"
        assert call(bridge, "status", who=None)["git_commit"] == "c0ffee"
    finally:
        bridge.stop()
