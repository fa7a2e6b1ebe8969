"""Who may do what over the wire; and calls that race."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ee2_jobs.identity import hash_token
from ee2_jobs.workspaces import LocalWorkspaces
from tests.services.rpc_support import Bridge, RpcError

READS: dict[str, list[Any]] = {
    "get_job_status": [], "check_job_canceled": [], "get_job_params": [], "get_job_logs": [],
}  # fmt: skip
WRITES: dict[str, list[Any]] = {"add_job_logs": [[]], "start_job": [], "cancel_job": [],
                                "finish_job": []}  # fmt: skip
# user: (reads, writes) of alice's job in workspace 7
MAY = {"alice": (True, True), "wendy": (True, True), "rob": (True, False), "bob": (False, False),
       "root": (False, False), "eva": (False, False)}  # fmt: skip


def ask(bridge: Bridge, method: str, job: str, who: str, *more: Any, **flags: Any) -> Any:
    return bridge.call(method, {"job_id": job, **flags}, *more, who=who)


@pytest.mark.parametrize("who", MAY)
@pytest.mark.parametrize("method", [*READS, *WRITES])
def test_users(bridge: Bridge, who: str, method: str) -> None:
    job = bridge.job()
    ask(bridge, "add_job_logs", job, "alice", [])
    before = bridge.record(job)
    more = {**READS, **WRITES}[method]
    if MAY[who][method in WRITES]:
        ask(bridge, method, job, who, *more)
        return
    text = f"Cannot find job with ids: ['{job}']"
    if MAY[who][0]:
        text = f"User {who} does not have permission to JobPermissions.WRITE job {job}"
    with pytest.raises(RpcError, match=f"^{re.escape(text)}$"):
        ask(bridge, method, job, who, *more)
    assert bridge.record(job) == before


@pytest.mark.parametrize("method", [*READS, *WRITES, "check_job", "check_job_batch", "retry_job"])
def test_what_others_have_cannot_be_told_from_what_there_is_not(
    bridge: Bridge, method: str
) -> None:
    more = {**READS, **WRITES}.get(method, [])
    answers = set()
    for job in (bridge.job(), bridge.job(wsid=None), "5f0c0000000000000000aaaa"):
        try:
            answer = str(ask(bridge, method, job, "bob", *more))
        except RpcError as e:
            answer = str(e)
        assert job in answer
        answers.add(answer.replace(job, "JOB"))
    assert len(answers) == 1


def test_refusals_take_the_same_look_ups(bridge: Bridge) -> None:
    """How long a refusal takes must not tell, either: each asks for one workspace."""
    jobs = (bridge.job(), bridge.job(wsid=None), "5f0c0000000000000000aaaa")
    asked = []
    permissions = LocalWorkspaces.permissions

    async def counted(self: LocalWorkspaces, caller: Any, wsids: Any) -> Any:
        asked.append(list(wsids))
        return await permissions(self, caller, wsids)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalWorkspaces, "permissions", counted)
        for method in READS:
            for job in jobs:
                asked.clear()
                with pytest.raises(RpcError, match="^Cannot find job"):
                    ask(bridge, method, job, "bob", *READS[method])
                assert [len(wsids) for wsids in asked] == [1], (method, job)
        for job in jobs:
            asked.clear()
            assert "failure" in ask(bridge, "check_job", job, "bob")
            assert [len(wsids) for wsids in asked] == [1]


def test_a_job_without_workspace_is_its_owners_alone(bridge: Bridge) -> None:
    job = bridge.job(wsid=None)
    assert ask(bridge, "get_job_status", job, "alice")
    with pytest.raises(RpcError, match="^Cannot find job"):
        ask(bridge, "get_job_status", job, "wendy")


@pytest.mark.parametrize("flag", [True, 1, "true", "wheee", 7])
def test_as_admin_needs_the_role_even_for_the_owner(bridge: Bridge, flag: Any) -> None:
    job = bridge.job(wsid=None)
    ask(bridge, "add_job_logs", job, "root", [], as_admin=flag)
    for method in READS:
        assert ask(bridge, method, job, "eva", as_admin=flag)
        assert ask(bridge, method, job, "root", as_admin=flag)
        with pytest.raises(RpcError, match="^Access Denied: You are not an administrator$"):
            ask(bridge, method, job, "alice", as_admin=flag)
    for method, more in WRITES.items():
        with pytest.raises(RpcError, match="You are a read-only admin. This function requires wr"):
            ask(bridge, method, job, "eva", *more, as_admin=flag)
        with pytest.raises(RpcError, match="not an administrator. AdminPermissions.NONE$"):
            ask(bridge, method, job, "alice", *more, as_admin=flag)
    ask(bridge, "cancel_job", job, "root", as_admin=flag)
    assert bridge.record(job)["terminated_code"] == 1


@pytest.mark.parametrize("flag", [False, 0, None, "", "false", "0"])
def test_what_is_no_admin_request(bridge: Bridge, flag: Any) -> None:
    assert ask(bridge, "get_job_status", bridge.job(), "alice", as_admin=flag)


def test_retry_needs_the_right_to_write(bridge: Bridge) -> None:
    job = bridge.job()
    ask(bridge, "cancel_job", job, "alice")
    before = bridge.counts()
    with pytest.raises(RpcError, match="does not have permission to JobPermissions.WRITE"):
        ask(bridge, "retry_job", job, "rob")
    assert "error" in bridge.call("retry_jobs", {"job_ids": [job]}, who="rob")[0]
    assert bridge.counts() == before
    retry_id = ask(bridge, "retry_job", job, "wendy")["retry_id"]
    assert bridge.record(retry_id)["user"] == "wendy"


def test_a_jobs_token_is_for_that_job(bridge: Bridge) -> None:
    job, other = bridge.job(), bridge.job()
    for method, more in {**READS, **WRITES}.items():
        with pytest.raises(RpcError, match="^Cannot find job"):
            ask(bridge, method, other, job, *more)
    assert ask(bridge, "check_job", other, job) == {
        "failure": f"No read permissions for {other}", "check_job_error": True
    }  # fmt: skip
    for method in ("retry_job", "retry_jobs", "set_priority", "share_job", "is_admin"):
        params = [] if method == "is_admin" else [{"method": "m.f", "job_id": job}]
        with pytest.raises(RpcError, match=f"^The token of job {job} may not be used for"):
            bridge.call(method, *params, who=job)
    with pytest.raises(RpcError, match="Access Denied"):
        ask(bridge, "get_job_status", job, job, as_admin=True)
    assert bridge.call("ver", who=job) and bridge.call("list_config", who=job)


def test_a_jobs_token_after_the_end(bridge: Bridge) -> None:
    job = bridge.job()
    ask(bridge, "cancel_job", job, "alice")
    assert ask(bridge, "add_job_logs", job, job, [{"line": "late"}]) == {
        "success": True, "line_number": 1
    }  # fmt: skip
    assert ask(bridge, "get_job_logs", job, job)["count"] == 1
    assert ask(bridge, "check_job_canceled", job, job)["canceled"] is True
    assert ask(bridge, "get_job_status", job, job) == {"status": "terminated"}
    assert ask(bridge, "cancel_job", job, job) is None
    with pytest.raises(RpcError, match="Cannot finish job with a status of terminated"):
        ask(bridge, "finish_job", job, job, job_output={})
    with pytest.raises(RpcError, match=f"token of job {job} is no longer valid.*terminated"):
        ask(bridge, "get_job_params", job, job)
    with pytest.raises(RpcError, match="Unexpected job status"):
        ask(bridge, "start_job", job, job)


def test_an_expired_token_is_refused(bridge: Bridge) -> None:
    bridge.db.ee2_tokens.insert_one(
        {"_id": hash_token("old"), "user": "alice", "expires": time.time() - 1}
    )
    bridge.tokens["old"] = "old"
    with pytest.raises(RpcError, match="^Token validation failed"):
        bridge.call("is_admin", who="old")


def race(*calls: Callable[[], Any]) -> list[Exception | None]:
    """All calls at once; what each raised."""
    barrier = threading.Barrier(len(calls))
    raised: list[Exception | None] = [None] * len(calls)

    def run(n: int) -> None:
        barrier.wait()
        try:
            calls[n]()
        except RpcError as e:
            raised[n] = e

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_cancel_and_finish_at_once_leave_one_end(bridge: Bridge) -> None:
    for _ in range(25):
        job = bridge.job()
        ask(bridge, "start_job", job, "alice")
        canceled, finished = race(
            lambda job=job: ask(bridge, "cancel_job", job, "alice"),
            lambda job=job: ask(bridge, "finish_job", job, "alice", job_output={}),
        )
        assert canceled is None  # a cancel never fails
        record = bridge.record(job)
        if finished is None:
            assert record["status"] == "completed" and "terminated_code" not in record
        else:
            assert str(finished) == "Cannot finish job with a status of terminated"
            assert record["status"] == "terminated" and "job_output" not in record


def test_finishing_twice_at_once_stores_one_end(bridge: Bridge) -> None:
    for _ in range(25):
        job = bridge.job()
        raised = race(
            lambda job=job: ask(bridge, "finish_job", job, "alice", job_output={}),
            lambda job=job: ask(bridge, "finish_job", job, "alice", error_message="bad"),
        )
        record = bridge.record(job)
        loser = raised[1 if record["status"] == "completed" else 0]
        assert [r is None for r in raised].count(True) == 1
        assert str(loser) == f"Cannot finish job with a status of {record['status']}"
        assert ("job_output" in record) != ("errormsg" in record)


def test_retrying_at_once_starts_one_attempt(bridge: Bridge) -> None:
    for _ in range(10):
        job = bridge.job()
        ask(bridge, "cancel_job", job, "alice")
        race(*[lambda job=job: ask(bridge, "retry_job", job, "alice")] * 3)
        live = bridge.db.ee2_jobs.count_documents({"retry_parent": job, "status": "created"})
        assert live == 1
        assert len(bridge.record(job)["retry_ids"]) == 1
