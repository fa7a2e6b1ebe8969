"""The methods on batches' children, forced states, held jobs and the concierge, over the wire."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bson import ObjectId

from tests.services.rpc_support import Bridge, RpcError

UNKNOWN = "5f0c0000000000000000aaaa"
ADMIN_NONE = "^Access Denied: You are not an administrator. AdminPermissions.NONE$"
ADMIN_READ = (
    "^Access Denied: You are a read-only admin. This function requires write access$"
)


def make_batch(bridge: Bridge, count: int, wsid: int | None = 7) -> tuple[str, list[str]]:
    ids = bridge.call(
        "run_job_batch", [{"method": "m.f", "params": [n]} for n in range(count)], {"wsid": wsid}
    )
    return ids["batch_id"], ids["child_job_ids"]


def put(bridge: Bridge, job_id: str, **fields: Any) -> None:
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(job_id)}, {"$set": fields})


def no_right(who: str, job_id: str) -> str:
    text = f"Cannot find job with ids: ['{job_id}']"
    if who == "rob":  # he may read it
        text = f"User {who} does not have permission to JobPermissions.WRITE job {job_id}"
    return f"^{re.escape(text)}$"


# --- abandon_children


def test_abandoned_children_leave_the_parents_list_and_run_on(bridge: Bridge) -> None:
    batch_id, children = make_batch(bridge, 3)
    asked = {"batch_id": batch_id, "child_job_ids": children[:2]}
    assert bridge.call("abandon_children", asked, who="wendy") == {
        "batch_id": batch_id, "child_job_ids": children[2:]
    }  # fmt: skip
    assert bridge.record(batch_id)["child_jobs"] == children[2:]
    assert bridge.record(children[0])["batch_id"] == batch_id
    bridge.call("cancel_job", {"job_id": batch_id})
    states = [bridge.record(c)["status"] for c in children]
    assert states == ["created", "created", "terminated"]


def test_what_cannot_be_abandoned(bridge: Bridge) -> None:
    batch_id, children = make_batch(bridge, 2)
    job = bridge.job()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"child_job_ids": children}, "batch_id"),
        ({"batch_id": batch_id}, "child_job_ids"),
        ({"batch_id": None, "child_job_ids": children}, "^Please provide valid batch_id$"),
        (
            {"batch_id": batch_id, "child_job_ids": []},
            "^Please provide job_ids of children to abandon$",
        ),
        (
            {"batch_id": batch_id, "child_job_ids": [children[0], job]},
            "^" + re.escape(f"Couldn't find {job} in ['{children[0]}', '{job}']"),
        ),
        ({"batch_id": job, "child_job_ids": [job]}, f"^Couldn't find {job} in "),
        ({"batch_id": UNKNOWN, "child_job_ids": [job]}, "^Cannot find job with ids: "),
    ]
    for params, text in wrong:
        with pytest.raises(RpcError, match=text):
            bridge.call("abandon_children", params)
    for who in ("rob", "bob"):
        with pytest.raises(RpcError, match=no_right(who, batch_id)):
            bridge.call(
                "abandon_children", {"batch_id": batch_id, "child_job_ids": children}, who=who
            )
    assert bridge.record(batch_id)["child_jobs"] == children


# --- cancel_batch_jobs_by_status, retry_batch_jobs_by_status


def test_children_are_cancelled_by_status(bridge: Bridge) -> None:
    batch_id, children = make_batch(bridge, 5)
    for child, status in zip(children, ("created", "queued", "running", "error"), strict=False):
        put(bridge, child, status=status)
    bridge.call("abandon_children", {"batch_id": batch_id, "child_job_ids": [children[4]]})
    asked = {"job_id": batch_id, "status_list": ["created", "queued"]}
    done = bridge.call("cancel_batch_jobs_by_status", asked, who="wendy")
    assert done == children[:2]
    records = [bridge.record(c) for c in children]
    assert [r["status"] for r in records] == [
        "terminated", "terminated", "running", "error", "created"
    ]  # fmt: skip
    assert records[0]["terminated_code"] == 0 and records[0]["remove"] is True
    assert bridge.record(batch_id)["status"] == "created"
    assert bridge.call("cancel_batch_jobs_by_status", asked) == []
    asked = {"job_id": batch_id, "status_list": ["running"], "terminated_code": 2}
    assert bridge.call("cancel_batch_jobs_by_status", asked) == [children[2]]
    assert bridge.record(children[2])["terminated_code"] == 2


def test_children_are_retried_by_status_in_one_submission(bridge: Bridge) -> None:
    batch_id, children = make_batch(bridge, 6)
    for child, status in zip(
        children, ("error", "terminated", "error", "error", "completed", "running"), strict=True
    ):
        put(bridge, child, status=status)
    retries = bridge.call("retry_jobs", {"job_ids": children[2:4]})
    live, good = (r["retry_id"] for r in retries)
    put(bridge, good, status="completed")

    before = bridge.counts()[1]
    asked = {"job_id": batch_id, "status_list": ["error", "terminated"]}
    done = bridge.call("retry_batch_jobs_by_status", asked)
    assert [set(d) for d in done] == [{"job_id", "retry_id"}] * 2
    assert [d["job_id"] for d in done] == children[:2]
    assert bridge.counts()[1] == before + 1
    first, second = (bridge.record(d["retry_id"]) for d in done)
    assert first["submission"] == second["submission"]
    assert bridge.record(batch_id)["child_jobs"] == [
        *children, live, good, *(d["retry_id"] for d in done)
    ]  # fmt: skip
    assert bridge.call("retry_batch_jobs_by_status", asked) == []

    # The newest attempt's state counts, and what runs again is the first one.
    put(bridge, done[0]["retry_id"], status="terminated")
    asked["status_list"] = ["error"]
    assert bridge.call("retry_batch_jobs_by_status", asked) == []
    asked["status_list"] = ["terminated"]
    again = bridge.call("retry_batch_jobs_by_status", asked)
    assert [d["job_id"] for d in again] == children[:1]
    assert len(bridge.record(children[0])["retry_ids"]) == 2

    # One that has completed needs no more, whatever was tried after it.
    later = bridge.call("retry_job", {"job_id": children[3]})["retry_id"]
    put(bridge, later, status="error")
    asked["status_list"] = ["error"]
    assert bridge.call("retry_batch_jobs_by_status", asked) == []


@pytest.mark.parametrize(
    ("method", "good", "bad"),
    [("cancel_batch_jobs_by_status", "created", "error"),
     ("retry_batch_jobs_by_status", "error", "created")],
)  # fmt: skip
def test_mistakes_and_rights_by_status(bridge: Bridge, method: str, good: str, bad: str) -> None:
    batch_id, children = make_batch(bridge, 1)
    put(bridge, children[0], status=good)
    before = bridge.record(children[0])
    for states in ([], None, bad, [bad], [good, bad], ["lost"], [[]], [None]):
        with pytest.raises(RpcError, match="^status_list must be a list of states of jobs that"):
            bridge.call(method, {"job_id": batch_id, "status_list": states})
    with pytest.raises(RpcError, match="Missing input parameter: status_list"):
        bridge.call(method, {"job_id": batch_id})
    for who in ("rob", "bob"):
        with pytest.raises(RpcError, match=no_right(who, batch_id)):
            bridge.call(method, {"job_id": batch_id, "status_list": [good]}, who=who)
    with pytest.raises(RpcError, match=f"^Job {children[0]} is not the parent of a batch$"):
        bridge.call(method, {"job_id": children[0], "status_list": [good]})
    admin = {"job_id": batch_id, "status_list": [good], "as_admin": True}
    with pytest.raises(RpcError, match=ADMIN_NONE):
        bridge.call(method, admin)
    with pytest.raises(RpcError, match=ADMIN_READ):
        bridge.call(method, admin, who="eva")
    assert bridge.record(children[0]) == before
    assert len(bridge.call(method, admin, who="root")) == 1
    if method.startswith("cancel"):
        assert bridge.record(children[0])["terminated_code"] == 1


def test_a_wrong_terminated_code_cancels_nothing(bridge: Bridge) -> None:
    batch_id, children = make_batch(bridge, 1)
    asked = {"job_id": batch_id, "status_list": ["created"], "terminated_code": 9}
    with pytest.raises(RpcError, match="^terminated_code must be one of"):
        bridge.call("cancel_batch_jobs_by_status", asked)
    assert bridge.record(children[0])["status"] == "created"


def test_the_same_by_status_at_once(bridge: Bridge) -> None:
    """Each child is in one answer: of four calls one ends it, and one starts it again."""
    barrier = threading.Barrier(4)

    def call(method: str, batch_id: str, status: str) -> list[Any]:
        barrier.wait()
        answer = bridge.call(method, {"job_id": batch_id, "status_list": [status]})
        assert isinstance(answer, list)
        return answer

    with ThreadPoolExecutor(4) as pool:
        for _ in range(15):
            batch_id, children = make_batch(bridge, 3)
            cancelled = ("cancel_batch_jobs_by_status", batch_id, "created")
            ended = [f.result() for f in [pool.submit(call, *cancelled) for _ in range(4)]]
            assert sorted(sum(ended, [])) == sorted(children)
            retried = ("retry_batch_jobs_by_status", batch_id, "terminated")
            tried = [f.result() for f in [pool.submit(call, *retried) for _ in range(4)]]
            started = [item["job_id"] for item in sum(tried, []) if "retry_id" in item]
            assert sorted(started) == sorted(children)
            assert len(bridge.record(batch_id)["child_jobs"]) == 6


# --- update_job_status


@pytest.mark.parametrize("status", ["estimating", "queued", "running", "completed", "created"])
def test_administrators_force_a_status(bridge: Bridge, status: str) -> None:
    job = bridge.job()
    for flag in ({}, {"as_admin": 1}):
        asked = {"job_id": job, "status": status, **flag}
        assert bridge.call("update_job_status", asked, who="root") == job
    assert bridge.call("get_job_status", {"job_id": job}) == {"status": status}
    record = bridge.record(job)
    assert status not in record and ("finished" in record) == (status == "completed")


def test_a_forced_end_leaves_the_pool_and_the_rest_alone(bridge: Bridge) -> None:
    job = bridge.job()
    bridge.call("finish_job", {"job_id": job, "error_message": "bad"})
    before = bridge.record(job)
    bridge.call("update_job_status", {"job_id": job, "status": "completed"}, who="root")
    after = bridge.record(job)
    assert {**after, "status": "error", "updated": before["updated"]} == before
    assert after["updated"] >= before["updated"]
    running = bridge.job()
    bridge.call("update_job_status", {"job_id": running, "status": "terminated"}, who="root")
    assert bridge.record(running)["remove"] is True


def test_nobody_else_forces_a_status(bridge: Bridge) -> None:
    job = bridge.job()
    for who, text in (
        ("alice", ADMIN_NONE), ("wendy", ADMIN_NONE), ("bob", ADMIN_NONE), ("eva", ADMIN_READ)
    ):  # fmt: skip
        for target in (job, UNKNOWN, "x"):
            with pytest.raises(RpcError, match=text):
                bridge.call("update_job_status", {"job_id": target, "status": "error"}, who=who)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"status": "error"}, "job_id"),
        ({"job_id": job}, "status"),
        ({"job_id": job, "status": None}, "^Please provide both job_id and status$"),
        ({"job_id": "", "status": "error"}, "^Please provide both job_id and status$"),
        ({"job_id": job, "status": "lost"}, "^status must be one of created, estimating,"),
        ({"job_id": job, "status": {"$ne": 1}}, "^status must be one of"),
        ({"job_id": UNKNOWN, "status": "error"}, "^Cannot find job with ids"),
    ]
    for params, text in wrong:
        with pytest.raises(RpcError, match=text):
            bridge.call("update_job_status", params, who="root")
    assert bridge.record(job)["status"] == "created"


# --- handle_held_job

HELD_TEXT = "Job was terminated by automation due to an unexpected error. Please resubmit."


@pytest.mark.parametrize(
    ("stored", "asked"), [("71001.0", "71001.0"), ("71002.0", "71002"), ("71003", "71003"),
                          ("71004", "71004.0"), ("71005.3", "71005")],
)  # fmt: skip
def test_a_held_job_ends(bridge: Bridge, stored: str, asked: str) -> None:
    job = bridge.job()
    put(bridge, job, status="running", scheduler_id=stored)
    answer = bridge.call("handle_held_job", asked, who="root")
    assert answer["_id"] == job and answer["status"] == "error"
    assert (answer["error_code"], answer["errormsg"]) == (2, "Job was held")
    assert answer["error"] == {
        "name": "Job was held", "code": 2, "message": HELD_TEXT, "error": HELD_TEXT
    }  # fmt: skip
    assert type(answer["finished"]) is int and abs(answer["finished"] / 1000 - time.time()) < 600
    assert "remove" not in answer and bridge.record(job)["remove"] is True
    log = bridge.call("get_job_logs", {"job_id": job})
    assert [(line["line"], line["is_error"]) for line in log["lines"]] == [(HELD_TEXT, 1)]
    assert bridge.call("handle_held_job", asked, who="root") == answer
    assert bridge.call("get_job_logs", {"job_id": job})["count"] == 1


def test_a_held_job_that_has_ended_stays_as_it_is(bridge: Bridge) -> None:
    job = bridge.job()
    bridge.call("finish_job", {"job_id": job, "job_output": {}})
    put(bridge, job, scheduler_id="72001.0")
    assert bridge.call("handle_held_job", "72001", who="root")["status"] == "completed"
    with pytest.raises(RpcError, match="Cannot find job log"):
        bridge.call("get_job_logs", {"job_id": job})


def test_which_job_of_a_cluster_is_held(bridge: Bridge) -> None:
    first, second, other = bridge.job(), bridge.job(), bridge.job()
    put(bridge, first, scheduler_id="73001.0")
    put(bridge, second, scheduler_id="73001.1")
    put(bridge, other, scheduler_id="730010.0")
    with pytest.raises(RpcError, match="73001: several jobs of this cluster are live.*give cluste"):
        bridge.call("handle_held_job", "73001", who="root")
    assert bridge.call("handle_held_job", "73001.1", who="root")["_id"] == second
    assert bridge.call("handle_held_job", "73001", who="root")["_id"] == first
    assert bridge.record(other)["status"] == "created"


def test_mistakes_and_rights_with_held_jobs(bridge: Bridge) -> None:
    job = bridge.job()
    put(bridge, job, scheduler_id="74001.0")
    for who, text in (("alice", ADMIN_NONE), ("eva", ADMIN_READ)):
        for given in ("74001.0", "1", "x"):
            with pytest.raises(RpcError, match=text):
                bridge.call("handle_held_job", given, who=who)
    for none in ("74002", "74001.1", "74001.", "", "None", ".0", "9" * 5000, "7400", None):
        with pytest.raises(RpcError, match=f"^Cluster id of {none}"):
            bridge.call("handle_held_job", none, who="root")
    with pytest.raises(RpcError) as e:
        bridge.call("handle_held_job", 74001, who="root")
    assert e.value.code == -32602
    assert bridge.record(job)["status"] == "created"


# --- run_job_concierge


def concierge(bridge: Bridge, more: Any, who: str = "kbaseconcierge", **params: Any) -> Any:
    return bridge.call("run_job_concierge", {"method": "m.f", **params}, more, who=who)


def test_the_concierge_chooses_requirements(bridge: Bridge) -> None:
    job = concierge(
        bridge,
        {"client_group": "bigmem", "request_cpus": "3", "request_memory": "70MB",
         "request_disk": 4, "request_cpu": 9, "account_group": "bob"},
        job_requirements={"request_cpus": "many"},
        as_admin=True,
    )  # fmt: skip
    record = bridge.record(job)
    assert record["user"] == "kbaseconcierge"
    assert record["job_input"]["requirements"] == {
        "clientgroup": "bigmem", "cpu": 3, "memory": 70, "disk": 4
    }  # fmt: skip
    plain = bridge.record(concierge(bridge, {}))
    assert plain["job_input"]["requirements"]["clientgroup"] == "njs"
    assert bridge.record(concierge(bridge, None))["status"] == "created"
    with pytest.raises(RpcError, match="^No such clientgroup: concierge$"):
        concierge(bridge, {"request_cpus": 1})


@pytest.mark.parametrize("who", ["alice", "root", "eva"])
@pytest.mark.parametrize("more", [{"request_cpus": 1}, {}, None])
def test_nobody_else_is_the_concierge(bridge: Bridge, who: str, more: Any) -> None:
    before = bridge.counts()
    with pytest.raises(RpcError, match="^You are not the concierge user. This method is not for y"):
        concierge(bridge, more, who=who)
    assert bridge.counts() == before


def test_mistakes_of_the_concierge(bridge: Bridge) -> None:
    before = bridge.counts()
    group = {"client_group": "bigmem"}
    wrong: list[tuple[Any, str]] = [
        (group | {"requirements_list": "a=b"}, "^requirements_list must be a list$"),
        (group | {"requirements_list": ["a"]}, "^Found illegal requirement in .*_list: a$"),
        (group | {"requirements_list": ["a=b=c"]}, "^Found illegal requirement in requirements_"),
        (group | {"requirements_list": [" =b"]}, "^Missing input parameter: key in scheduler re"),
        (group | {"requirements_list": ["a=b"]}, "ask for a client_group"),
        (
            {"request_cpus": 1.5},
            "^Found illegal cpu request '1.5' in job requirements from concierge parameters$",
        ),
        ({"client_group": "a=b"}, "^Found illegal client group 'a=b' in job requirements from con"),
        ({"request_disk": 0}, "^disk space in GB must be at least 1$"),
    ]  # fmt: skip
    for more, text in wrong:
        with pytest.raises(RpcError, match=text):
            concierge(bridge, more)
    with pytest.raises(RpcError, match="doesn't have permission to run jobs in workspace 7"):
        concierge(bridge, group, wsid=7, as_admin=True)
    assert bridge.counts() == before


# --- all of them


@pytest.mark.parametrize(
    ("method", "params"),
    [("abandon_children", [{}]), ("cancel_batch_jobs_by_status", [{}]),
     ("retry_batch_jobs_by_status", [{}]), ("update_job_status", [{}]), ("handle_held_job", ["1"]),
     ("run_job_concierge", [{}, {}]), ("check_workspace_jobs", [{}]),
     ("check_jobs_date_range_for_user", [{}]), ("check_jobs_date_range_for_all", [{}])],
)  # fmt: skip
def test_tokens_and_parameters(bridge: Bridge, method: str, params: list[Any]) -> None:
    job = bridge.job()
    with pytest.raises(RpcError, match=f"^The token of job {job} may not be used for"):
        bridge.call(method, *params, who=job)
    with pytest.raises(RpcError, match="^Authentication required for execution_engine2"):
        bridge.call(method, *params, who=None)
    for wrong in ([], [*params, {}], [5] * len(params)):
        with pytest.raises(RpcError) as e:
            bridge.call(method, *wrong)
        assert e.value.code == -32602
