"""UserAndJobState's texts and limits, one by one, and the form of its calls and answers."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from ee2_jobs.errors import Unavailable
from ee2_jobs.identity import Caller
from ee2_jobs.legacy import ujs_jobs
from tests.fakes.kbase_clients import JavaClient, ServerError
from tests.services.rpc_support import Bridge
from tests.services.ujs_support import (
    NOBODY,
    NONE,
    RESULTS,
    TASK,
    Ujs,
    new_user,
    refused,
    started,
)


@pytest.fixture
def owner(bridge: Bridge) -> Ujs:
    return new_user(bridge)


@pytest.fixture
def service(bridge: Bridge) -> Ujs:
    return new_user(bridge)


LONG = "x" * 1001
TEXTS: list[tuple[str, str, list[Any]]] = [
    ("id cannot be null or the empty string", "get_job_info", [None]),
    ("id cannot be null or the empty string", "get_job_shared", [""]),
    ("Job ID xyz is not a legal ID", "get_job_info", ["xyz"]),
    ("Job ID xyz is not a legal ID", "cancel_job", ["xyz", "s"]),
    ("Job ID xyz is not a legal ID", "share_job", ["xyz", ["alice"]]),
    ("Invalid authorization strategy: foo", "create_job2", [{"authstrat": "foo"}]),
    ("authParam cannot be null or empty", "create_job2", [{"authstrat": "kbaseworkspace"}]),
    ("authParam cannot be null or empty", "create_job2",
     [{"authstrat": "kbaseworkspace", "authparam": ""}]),
    ("The string x7 is not a valid integer workspace ID", "create_job2",
     [{"authstrat": "kbaseworkspace", "authparam": "x7"}]),
    ("User OWNER cannot write to workspace 7", "create_job2",
     [{"authstrat": "kbaseworkspace", "authparam": "7"}]),
    ("User OWNER cannot write to workspace -1", "create_job2",
     [{"authstrat": "kbaseworkspace", "authparam": "-1"}]),
    ("meta.a must be a string, not 1", "create_job2", [{"meta": {"a": 1}}]),
    ("Service token cannot be null or the empty string", "start_job",
     ["JOB", None, "s", "d", NONE, None]),
    ("Service token cannot be null or the empty string", "complete_job",
     ["JOB", "", "s", None, None]),
    ("Couldn't validate the server token. The authentication server said: Error connecting to auth "
     "service: 401 Unauthorized\n10020 Invalid token", "create_and_start_job",
     ["bad", "s", "d", NONE, None]),
    (f"There is no unstarted job {NOBODY} for user OWNER", "start_job",
     [NOBODY, "TOKEN", "s", "d", NONE, None]),
    ("There is no unstarted job STARTED for user OWNER", "start_job",
     ["STARTED", "TOKEN", "s", "d", NONE, None]),
    ("InitProgress cannot be null", "start_job", ["JOB", "TOKEN", "s", "d", None, None]),
    ("Progress type cannot be null", "start_job", ["JOB", "TOKEN", "s", "d", {}, None]),
    ("No such progress type: foo", "start_job", ["JOB", "TOKEN", "s", "d", {"ptype": "foo"}, None]),
    ("Max progress cannot be null for task based progress", "start_job",
     ["JOB", "TOKEN", "s", "d", {"ptype": "task"}, None]),
    ("Max progress can be no greater than 2147483647", "start_job",
     ["JOB", "TOKEN", "s", "d", {"ptype": "task", "max": 2**31}, None]),
    ("The maximum progress for the job must be > 0", "create_and_start_job",
     ["TOKEN", "s", "d", {"ptype": "task", "max": 0}, None]),
    ("Unexpected arguments in InitProgress: foo", "start_job",
     ["JOB", "TOKEN", "s", "d", {"ptype": "none", "foo": 1}, None]),
    ("status exceeds the maximum length of 200", "start_job",
     ["JOB", "TOKEN", "x" * 201, "d", NONE, None]),
    ("description exceeds the maximum length of 1000", "start_job",
     ["JOB", "TOKEN", "s", LONG, NONE, None]),
    ("The estimated completion date must be in the future", "start_job",
     ["JOB", "TOKEN", "s", "d", NONE, "2001-01-01T00:00:00Z"]),
    ("progress cannot be negative", "update_job_progress", ["STARTED", "TOKEN", "s", -1, None]),
    ("There is no uncompleted job JOB for user OWNER started by service SERVICE", "update_job",
     ["JOB", "TOKEN", "s", None]),
    ("There is no uncompleted job STARTED for user OWNER started by service OWNER", "update_job",
     ["STARTED", "OWN", "s", None]),
    (f"There is no uncompleted job {NOBODY} for user OWNER started by service SERVICE",
     "complete_job", [NOBODY, "TOKEN", "s", None, None]),
    ("status exceeds the maximum length of 200", "update_job",
     ["STARTED", "TOKEN", "x" * 201, None]),
    ("error exceeds the maximum length of 100000", "complete_job",
     ["STARTED", "TOKEN", "s", "x" * 100_001, None]),
    ("Unexpected arguments in Results: foo", "complete_job",
     ["STARTED", "TOKEN", "s", None, {"foo": 1}]),
    ("Unexpected arguments in Result: foo", "complete_job",
     ["STARTED", "TOKEN", "s", None, {"results": [{"foo": 1}]}]),
    *[(text, "complete_job", ["STARTED", "TOKEN", "s", None, given]) for text, given in [
        ("shocknode cannot be null or the empty string", {"shocknodes": [""]}),
        ("shocknode exceeds the maximum length of 1000", {"shocknodes": [LONG]}),
        ("workspaceid cannot be null or the empty string", {"workspaceids": [None]}),
        ("workspaceid exceeds the maximum length of 1000", {"workspaceids": [LONG]}),
        ("shockurl cannot be null or the empty string", {"shockurl": ""}),
        ("shockurl exceeds the maximum length of 1000", {"shockurl": LONG}),
        ("workspaceurl exceeds the maximum length of 1000", {"workspaceurl": LONG}),
        ("servertype exceeds the maximum length of 100",
         {"results": [{"server_type": "x" * 101, "url": "u", "id": "i"}]}),
        ("servertype cannot be null or the empty string", {"results": [{"url": "u", "id": "i"}]}),
        ("url exceeds the maximum length of 1000",
         {"results": [{"server_type": "s", "url": LONG, "id": "i"}]}),
        ("id cannot be null or the empty string", {"results": [{"server_type": "s", "url": "u"}]}),
        ("id exceeds the maximum length of 1000",
         {"results": [{"server_type": "s", "url": "u", "id": LONG}]}),
        ("description exceeds the maximum length of 1000",
         {"results": [{"server_type": "s", "url": "u", "id": "i", "description": LONG}]}),
    ]],
    (f"There is no job {NOBODY} that may be canceled by user OWNER", "cancel_job", [NOBODY, "s"]),
    ("status exceeds the maximum length of 200", "cancel_job", ["STARTED", "x" * 201]),
    (f"There is no deletable job {NOBODY} for user OWNER", "delete_job", [NOBODY]),
    ("There is no deletable job JOB for user OWNER", "delete_job", ["JOB"]),
    (f"There is no deletable job {NOBODY} for user OWNER and service SERVICE", "force_delete_job",
     ["TOKEN", NOBODY]),
    ("The user list may not be null or empty", "share_job", ["STARTED", None]),
    ("The user list may not be null or empty", "unshare_job", ["STARTED", []]),
    ("A user name cannot be null or the empty string", "share_job", ["STARTED", ["alice", ""]]),
    ("A user name cannot be null or the empty string", "unshare_job", ["STARTED", [None]]),
    ("User no_such is not a valid user", "share_job", ["STARTED", ["alice", "no_such"]]),
    (f"There is no job {NOBODY} with default authorization owned by user OWNER", "share_job",
     [NOBODY, ["alice"]]),
    (f"There is no job {NOBODY} with default authorization visible to user OWNER", "unshare_job",
     [NOBODY, ["alice"]]),
    ("authParams cannot be null or empty", "list_jobs2", [{"authstrat": "kbaseworkspace"}]),
    ("No more than 10 workspace IDs may be specified", "list_jobs2",
     [{"authstrat": "kbaseworkspace", "authparams": ["7"] * 11}]),
    ("The string 1.5 is not a valid integer workspace ID", "list_jobs2",
     [{"authstrat": "kbaseworkspace", "authparams": ["1.5"]}]),
    ("User OWNER cannot read workspace 7", "list_jobs2",
     [{"authstrat": "kbaseworkspace", "authparams": ["7"]}]),
    ("Invalid authorization strategy: foo", "list_jobs2", [{"authstrat": "foo"}]),
    ("service cannot be null or the empty string", "list_jobs", [[""], None]),
    ("service exceeds the maximum length of 100", "list_jobs", [["x" * 101], None]),
]  # fmt: skip


@pytest.fixture(scope="module")
def stage(bridge: Bridge) -> dict[str, Any]:
    """An owner, a service, a job that was started and one that was not."""
    owner, service = new_user(bridge), new_user(bridge)
    words = {"OWNER": owner.user, "OWN": owner.token, "SERVICE": service.user,
             "TOKEN": service.token, "JOB": owner.create_job(),
             "STARTED": started(owner, service)}  # fmt: skip
    return {"owner": owner, "words": words}


@pytest.mark.parametrize(("text", "method", "params"), TEXTS)
def test_texts(
    bridge: Bridge, stage: dict[str, Any], text: str, method: str, params: list[Any]
) -> None:
    words: dict[str, str] = stage["words"]
    given = [words.get(p, p) if isinstance(p, str) else p for p in params]
    for word in ("STARTED", "JOB", "OWNER", "SERVICE"):
        text = re.sub(rf"\b{word}\b", words[word], text)
    before = [bridge.record(words["JOB"]), bridge.record(words["STARTED"]), bridge.counts()]
    refused(text, getattr(stage["owner"], method), *given)
    assert before == [bridge.record(words["JOB"]), bridge.record(words["STARTED"]), bridge.counts()]


async def test_the_workspace_service_does_not_answer() -> None:
    class Down:
        async def permissions(self, *_: object) -> None:
            raise Unavailable("no answer in 10 s")

    engine: Any = SimpleNamespace(workspaces=Down())
    text = "^Error contacting the workspace service to get permissions: no answer in 10 s$"
    with pytest.raises(Unavailable, match=text):
        await ujs_jobs.create(
            engine, Caller("alice"), {"authstrat": "kbaseworkspace", "authparam": "7"}
        )


def test_the_form_of_calls(bridge: Bridge, owner: Ujs) -> None:
    for method, params, code, says in [
        ("get_job_info", [], -32602, "Wrong parameter count for method"),
        ("list_jobs", [[]], -32602, "Wrong parameter count for method"),
        ("get_job_info", [1], -32602, "Wrong type of parameter 1 for method"),
        ("get_nothing", [], -32601, "Can not find method [UserAndJobState.get_nothing] in server"),
    ]:
        with pytest.raises(ServerError) as raised:
            getattr(owner, method)(*params)
        assert raised.value.code == code and says in raised.value.message
    bridge.tokens["wrong"] = "wrong"
    with pytest.raises(ServerError, match="Token validation failed") as raised:
        Ujs(bridge, "wrong").list_jobs(None, None)
    assert raised.value.code == -32400
    assert Ujs(bridge, "wrong").ver() == "0.2.3"
    assert Ujs(bridge, "wrong").status()["state"] == "OK"


def test_the_form_of_answers(bridge: Bridge, owner: Ujs, service: Ujs) -> None:
    """The wire itself: whole numbers for flags, `result` always there, nulls kept in tuples."""

    def result(method: str, *params: Any) -> Any:
        body = {"version": "1.1", "id": "1", "method": f"UserAndJobState.{method}",
                "params": list(params)}  # fmt: skip
        answer = bridge.post(body, owner.token)
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        return answer.json()["result"]

    job = started(owner, service)
    [info] = result("get_job_info2", job)
    assert [type(flag) for flag in info[7:9]] == [int, int] and len(info) == 13
    assert len(result("get_job_status", job)) == 7 and len(result("get_job_description", job)) == 5
    assert result("update_job", job, service.token, "s", None) is None
    told = {**RESULTS, "workspaceurl": None}
    told["results"] = [{**RESULTS["results"][0], "description": None}]  # type: ignore[dict-item]
    assert result("complete_job", job, service.token, "s", None, told) is None
    assert result("get_results", job) == [RESULTS]
    assert result("get_detailed_error", job) == [None]
    assert result("list_jobs", None, "N") == [[]]


RESULT_TYPE = {"server_type": str, "url": str, "id": str, "description": str}
RESULTS_TYPE = {"shocknodes": [str], "shockurl": str, "workspaceids": [str], "workspaceurl": str,
                "results": [RESULT_TYPE]}  # fmt: skip
INFO = (str, str, str, str, str, str, int, int, str, str, int, int, str, RESULTS_TYPE)
INFO2 = (str, (str, str), str, str, str, (str, str, str), (int, int, str), int, int, (str, str),
         {str: str}, str, RESULTS_TYPE)  # fmt: skip


def test_java_clients_can_read_the_answers(bridge: Bridge, owner: Ujs, service: Ujs) -> None:
    java = JavaClient(bridge.url.replace("/ee2", "/userandjobstate"), owner.token)

    def call(returns: Any, name: str, *params: Any) -> Any:
        return java.call(returns, f"UserAndJobState.{name}", *params)

    [job] = call((str,), "create_job2", {"meta": {"k": "v"}})
    for change in (
        lambda: owner.start_job(job, service.token, "s", "d", TASK, "2099-01-01T00:00:00Z"),
        lambda: owner.complete_job(job, service.token, "s", "detail", RESULTS),
    ):
        change()
        call((str, str, str, int, str, int, int), "get_job_status", job)
        call((str, str, int, str, str), "get_job_description", job)
        call((INFO,), "get_job_info", job)
        call((INFO2,), "get_job_info2", job)
        assert call(([INFO],), "list_jobs", None, None)[0]
        assert call(([INFO2],), "list_jobs2", {})[0]
        call((RESULTS_TYPE,), "get_results", job)
        call((str,), "get_detailed_error", job)
    assert call(None, "set_state", "s", "k", 1) is None
    assert call((int,), "has_state", "s", "k", 0) == [1]
    assert call((int, object), "get_has_state", "s", "k2", 0) == [0, None]
