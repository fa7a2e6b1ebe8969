"""Every way into a job, for everybody who is not its owner: what each may do, that refusals change
nothing, and that neither words nor look-ups tell somebody else's job from one that is not there."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from bson import ObjectId
from pymongo import monitoring
from starlette.applications import Starlette
from starlette.requests import Request

from api_bridge.methods import METHODS
from api_bridge.pages import Pages
from ee2_jobs import cancel, retry, submit
from ee2_jobs.identity import Caller
from ee2_jobs.legacy import awe
from ee2_jobs.settings import Settings, load_settings
from ee2_jobs.workspaces import LocalWorkspaces
from tests.services.conftest import free_port
from tests.services.engines import close_engine, open_engine
from tests.services.rpc_support import Bridge, RpcError

UNKNOWN = "5f0c0000000000000000aaaa"
SERVICE = "a service's token"  # put in its place by `params_of`
NONE = {"ptype": "none"}

# What a call is answered, for a stranger, one with whom the job is shared, a reader of the job's
# workspace, the job's own token, and another job's token:
#   ok      it is done, or refused for another reason than rights
#   hidden  exactly as for a job that is not there
#   denied  may be read, and no more
#   admin   an administrator's method
#   token   not for the tokens of jobs
#   own     names no job: it is about what is the caller's
Classes = tuple[str, str, str, str, str]
PUBLIC: Classes = ("own", "own", "own", "own", "own")
OWN: Classes = ("own", "own", "own", "token", "token")
SUBMITS: Classes = ("own", "own", "own", "own", "own")  # see test_job_submits.py
READ: Classes = ("hidden", "ok", "ok", "ok", "hidden")
USERS_READ: Classes = ("hidden", "ok", "ok", "token", "token")
WRITE: Classes = ("hidden", "denied", "denied", "ok", "hidden")
USERS_WRITE: Classes = ("hidden", "denied", "denied", "token", "token")
OWNERS: Classes = ("hidden", "hidden", "hidden", "token", "token")
ADMIN: Classes = ("admin", "admin", "admin", "token", "token")
RUNNER: Classes = ("hidden", "hidden", "hidden", "ok", "hidden")

J = "JOB"  # put in its place by `params_of`
BY_ID = [{"job_id": J}]
SPAN = {"start_time": 0, "end_time": 2**32 * 1000}
EE2: dict[str, tuple[Classes, list[Any]]] = {
    "ver": (PUBLIC, []),
    "status": (PUBLIC, []),
    "get_client_groups": (PUBLIC, []),
    "list_config": (PUBLIC, []),
    "is_admin": (OWN, []),
    "get_admin_permission": (OWN, []),
    "run_job": (SUBMITS, [{"method": "m.f"}]),
    "run_job_concierge": (OWN, [{"method": "m.f"}, {}]),
    "run_job_batch": (SUBMITS, [[{"method": "m.f"}], {}]),
    "run_split_aggregate": (SUBMITS, [{"method": "m.f", "params": []}]),
    "retry_job": (USERS_WRITE, BY_ID),
    "retry_jobs": (USERS_WRITE, [{"job_ids": [J]}]),
    "cancel_job": (WRITE, BY_ID),
    "check_job": (READ, BY_ID),
    "check_jobs": (READ, [{"job_ids": [J]}]),
    "check_job_batch": (READ, BY_ID),
    "check_job_canceled": (READ, BY_ID),
    "get_job_status": (READ, BY_ID),
    "get_job_params": (READ, BY_ID),
    "start_job": (WRITE, BY_ID),
    "finish_job": (WRITE, [{"job_id": J, "job_output": {}}]),
    "update_job_status": (ADMIN, [{"job_id": J, "status": "error"}]),
    "handle_held_job": (ADMIN, ["1.0"]),
    "abandon_children": (USERS_WRITE, [{"batch_id": J, "child_job_ids": [UNKNOWN]}]),
    "cancel_batch_jobs_by_status": (USERS_WRITE, [{"job_id": J, "status_list": ["created"]}]),
    "retry_batch_jobs_by_status": (USERS_WRITE, [{"job_id": J, "status_list": ["error"]}]),
    "set_priority": (USERS_WRITE, [{"job_id": J, "priority": -20}]),
    # The stranger's workspace.
    "check_workspace_jobs": (
        ("own", "denied", "denied", "token", "token"), [{"workspace_id": 8}]
    ),
    "check_jobs_date_range_for_user": (OWN, [SPAN]),
    "check_jobs_date_range_for_all": (
        ("denied", "denied", "denied", "token", "token"), [SPAN]
    ),
    "add_job_logs": (WRITE, [{"job_id": J}, [{"line": "x"}]]),
    "get_job_logs": (READ, BY_ID),
    "share_job": (OWNERS, [{"job_id": J, "users": ["root"]}]),
    "unshare_job": (
        ("hidden", "denied", "hidden", "token", "token"), [{"job_id": J, "users": ["root"]}]
    ),
    "get_job_shared": (USERS_WRITE, BY_ID),
    "wait_for_jobs": (USERS_READ, [{"job_ids": [J], "timeout_s": 0}]),
}  # fmt: skip
RUN = {"job_id": J, "claim": "c" * 32}
RUNNERS: dict[str, tuple[Classes, list[Any]]] = {
    "claim": (RUNNER, [{**RUN, "starts": 1}]),
    "report": (RUNNER, [{**RUN, "lines": [{"line": "x"}]}]),
    "finish": (RUNNER, [{**RUN, "output": {}}]),
    "save_object": (RUNNER, [{"job_id": J, "name": "o", "type": "A.B", "data": 1}]),
}
NJS: dict[str, tuple[Classes, list[Any]]] = {
    "ver": (PUBLIC, []),
    "status": (PUBLIC, []),
    "list_config": (PUBLIC, []),
    "run_job": (SUBMITS, [{"method": "m.f", "params": []}]),
    "get_job_params": (READ, [J]),
    "update_job": (WRITE, [{"job_id": J, "is_started": 1}]),
    "add_job_logs": (WRITE, [J, [{"line": "x", "is_error": 0}]]),
    "get_job_logs": (READ, BY_ID),
    "finish_job": (WRITE, [J, {"result": []}]),
    "check_job": (READ, [J]),
    "check_jobs": (READ, [{"job_ids": [J], "with_job_params": 1}]),
    "list_job_statuses": (OWN, ["8"]),
    "cancel_job": (WRITE, BY_ID),
    "check_job_canceled": (READ, BY_ID),
}
NJP: dict[str, tuple[Classes, list[Any]]] = {
    "ver": (PUBLIC, []),
    "get_detailed_error": (USERS_READ, [J]),
    "get_job_info": (USERS_READ, [J]),
    "check_app_state": (USERS_READ, [J]),
    "get_job_logs": (USERS_READ, BY_ID),
}
UJS: dict[str, tuple[Classes, list[Any]]] = {
    "ver": (PUBLIC, []),
    "status": (PUBLIC, []),
    "create_job": (OWN, []),
    "create_job2": (OWN, [{}]),
    "start_job": (OWNERS, [J, SERVICE, "s", "d", NONE, None]),
    "create_and_start_job": (OWN, [SERVICE, "s", "d", NONE, None]),
    "update_job_progress": (OWNERS, [J, SERVICE, "s", 1, None]),
    "update_job": (OWNERS, [J, SERVICE, "s", None]),
    "complete_job": (OWNERS, [J, SERVICE, "s", None, None]),
    # NarrativeJobService's and UserAndJobState's writes say one thing to all who may not.
    "cancel_job": (OWNERS, [J, "s"]),
    **{
        name: (READ, [J])
        for name in ("get_job_description", "get_job_status", "get_job_info", "get_job_info2",
                     "get_results", "get_detailed_error", "get_job_owner")
    },
    "list_jobs": (OWN, [None, "S"]),
    "list_jobs2": (OWN, [{}]),
    "list_job_services": (OWN, []),
    "share_job": (OWNERS, [J, ["root"]]),
    "unshare_job": (("hidden", "denied", "hidden", "token", "token"), [J, ["root"]]),
    "get_job_shared": (USERS_WRITE, [J]),
    "delete_job": (OWNERS, [J]),
    "force_delete_job": (OWNERS, [SERVICE, J]),
    "set_state": (OWN, ["svc", "key", 1]),
    "set_state_auth": (OWN, [SERVICE, "key", 1]),
    "get_state": (OWN, ["svc", "key", 0]),
    "has_state": (OWN, ["svc", "key", 0]),
    "get_has_state": (OWN, ["svc", "key", 0]),
    "remove_state": (OWN, ["svc", "key"]),
    "remove_state_auth": (OWN, [SERVICE, "key"]),
    "list_state": (OWN, ["svc", 0]),
    "list_state_services": (OWN, [0]),
}  # fmt: skip
TABLE: dict[str, tuple[Classes, list[Any]]] = {
    f"{module}.{name}": row
    for module, rows in (
        ("execution_engine2", EE2), ("ee2_runner", RUNNERS), ("NarrativeJobService", NJS),
        ("NarrativeJobProxy", NJP), ("UserAndJobState", UJS),
    )
    for name, row in rows.items()
}  # fmt: skip
NAMING_A_JOB = sorted(m for m, (classes, _) in TABLE.items() if classes[0] == "hidden")
SDK = {"AnyModule._check_job": (READ, [J])}

_RIGHTS = re.compile(
    r"does not have permission|may only|may not access|Only (the )?owner|not authorized to view|"
    r"that may be canceled by"
)


def params_of(bridge: Bridge, params: Any, job: str) -> Any:
    """The parameters of a row, for a job."""
    text = json.dumps(params).replace(f'"{J}"', f'"{job}"')
    return json.loads(text.replace(SERVICE, bridge.tokens["root"]))


def answer(bridge: Bridge, method: str, params: Any, job: str, who: str) -> str:
    """What is said about a job, with JOB in place of its id."""
    call = {"version": "1.1", "id": "1", "method": method,
            "params": params_of(bridge, params, job)}  # fmt: skip
    text = bridge.post(call, bridge.token(who)).text
    return text.replace(job, J)


def kind(bridge: Bridge, method: str, row: Any, job: str, who: str) -> str:
    """The class of the answer."""
    classes, params = row
    said = answer(bridge, method, params, job, who)
    assert "Traceback" not in said and '"code":0,' not in said, said
    assert "server error occurred" not in said, said
    if re.search(r"The token of job [0-9a-fJOB]+ may not be used for " + re.escape(method), said):
        return "token"
    if "Access Denied: You are not an administrator" in said:
        return "admin"
    if J not in json.dumps(params):
        return "denied" if _RIGHTS.search(said) else "own"
    if said == answer(bridge, method, params, UNKNOWN, who):
        return "hidden"
    return "denied" if _RIGHTS.search(said) else "ok"


def stored(bridge: Bridge, job: str) -> list[Any]:
    """All there is about a job."""
    oid = ObjectId(job)
    return [
        bridge.db.ee2_jobs.find_one({"_id": oid}),
        bridge.db.ee2_legacy.find_one({"_id": oid}),
        list(bridge.db.ee2_log_buckets.find({"job": oid})),
        bridge.db.ee2_jobs.count_documents({"retry_parent": job}),
    ]


def shared_job(bridge: Bridge) -> str:
    """A job of alice's in no workspace, shared with wendy."""
    job = bridge.job(wsid=None)
    bridge.call("share_job", {"job_id": job, "users": ["wendy"]})
    return job


def test_the_table_names_every_method() -> None:
    assert set(TABLE) == set(METHODS), "say in the table what each may do with a new method"


@pytest.mark.parametrize("method", [*TABLE, *SDK])
def test_what_each_may_do(bridge: Bridge, method: str) -> None:
    row = {**TABLE, **SDK}[method]
    in_workspace, shared, other = bridge.job(), shared_job(bridge), bridge.job()
    for job in (in_workspace, shared):
        bridge.call("add_job_logs", {"job_id": job}, [{"line": "x"}])
    for job, who, expected in (
        (in_workspace, "bob", row[0][0]),
        (shared, "bob", row[0][0]),
        (shared, "wendy", row[0][1]),
        (in_workspace, "rob", row[0][2]),
        (in_workspace, other, row[0][4]),
    ):
        before = stored(bridge, job)
        assert kind(bridge, method, row, job, who) == expected, (who, job == shared)
        assert stored(bridge, job) == before, (who, "and it was changed all the same")
    assert kind(bridge, method, row, in_workspace, in_workspace) == row[0][3]


# What else may be done by whom a job is shared with to manage it; all others as to read it.
MANAGES = {
    "execution_engine2.retry_job", "execution_engine2.retry_jobs", "execution_engine2.cancel_job",
    "execution_engine2.cancel_batch_jobs_by_status",
    "execution_engine2.retry_batch_jobs_by_status", "execution_engine2.set_priority",
    "NarrativeJobService.cancel_job", "UserAndJobState.cancel_job",
}  # fmt: skip


def test_what_a_manager_may_do(bridge: Bridge) -> None:
    for method in NAMING_A_JOB:
        row = TABLE[method]
        job = shared_job(bridge)
        bridge.call("add_job_logs", {"job_id": job}, [{"line": "x"}])
        oid = ObjectId(job)
        bridge.db.ee2_jobs.update_one({"_id": oid}, {"$set": {"managers": ["wendy"]}})
        before = stored(bridge, job)
        expected = "ok" if method in MANAGES else row[0][1]
        assert kind(bridge, method, row, job, "wendy") == expected, method
        if method not in MANAGES:
            assert stored(bridge, job) == before, (method, "and it was changed all the same")
        # A name among the managers alone is no right.
        hidden = bridge.job(wsid=None)
        bridge.db.ee2_jobs.update_one({"_id": ObjectId(hidden)}, {"$set": {"managers": ["wendy"]}})
        assert kind(bridge, method, row, hidden, "wendy") == row[0][0], method


# What administrators may do in others' jobs without saying as_admin: look into logs, as
# NarrativeJobService let them.
BY_ROLE = {"NarrativeJobService.get_job_logs", "NarrativeJobProxy.get_job_logs"}


@pytest.mark.parametrize("who", ["root", "eva"])
def test_a_role_alone_is_no_right(bridge: Bridge, who: str) -> None:
    """Without as_admin, which the old services do not know, administrators are as anybody."""
    job = bridge.job(wsid=None)
    bridge.call("add_job_logs", {"job_id": job}, [{"line": "x"}])
    before = stored(bridge, job)
    for method in NAMING_A_JOB:
        expected = "ok" if method in BY_ROLE else "hidden"
        assert kind(bridge, method, TABLE[method], job, who) == expected, method
    assert stored(bridge, job) == before


def test_a_read_only_administrator_changes_nothing(bridge: Bridge) -> None:
    job = bridge.job(wsid=None)
    before, audited = stored(bridge, job), bridge.db.ee2_audit.count_documents({})
    for name, (classes, params) in EE2.items():
        first = params[0] if params and isinstance(params[0], dict) else None
        if first is None or classes not in (WRITE, USERS_WRITE, OWNERS) or name == "get_job_shared":
            continue
        asked = params_of(bridge, [{**first, "as_admin": 1}, *params[1:]], job)
        with pytest.raises(RpcError, match="Access Denied"):
            bridge.call(name, *asked, who="eva")
    assert stored(bridge, job) == before
    assert bridge.db.ee2_audit.count_documents({}) == audited


def test_every_write_of_an_administrator_is_audited(bridge: Bridge) -> None:
    """All methods that can change something by as_admin are audited."""
    for name, (classes, params) in EE2.items():
        takes_flag = bool(params) and isinstance(params[0], dict)
        writes = classes in (WRITE, USERS_WRITE, OWNERS) or name.startswith("run_")
        if takes_flag and writes and name != "get_job_shared":
            assert METHODS[f"execution_engine2.{name}"].audited != "no", name
    for method in (m for m in METHODS if not m.startswith("execution_engine2.")):
        assert METHODS[method].audited == "no", f"{method}: can an administrator's right reach it?"


class Looks(monitoring.CommandListener):
    """The commands that the database gets, by name and collection."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """See the base class."""
        task = asyncio.current_task()
        if task is not None and task.get_name().startswith("ee2 "):
            return  # of the service's own background, whoever asks what
        name = event.command_name
        if name in ("find", "aggregate", "update", "insert", "delete", "findAndModify", "distinct"):
            self.seen.append(f"{name} {event.command[name]}")

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """See the base class."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """See the base class."""


@pytest.fixture(scope="module")
def watched(
    mongo_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Bridge, Looks]]:
    """A bridge whose look-ups are counted."""
    looks = Looks()
    listeners = monitoring._LISTENERS.command_listeners
    listeners.append(looks)  # of all clients made from now on
    bridge = Bridge(mongo_uri, tmp_path_factory.mktemp("watched"), free_port())
    try:
        bridge.start()
    finally:
        listeners.remove(looks)
    bridge.call("is_admin", who="bob")
    bridge.call("is_admin", who="root")
    yield bridge, looks
    bridge.stop()


def looks_of(watched: tuple[Bridge, Looks], ask: Callable[[], Any]) -> list[str]:
    """What the database is asked meanwhile."""
    bridge, looks = watched
    looks.seen.clear()
    with pytest.MonkeyPatch.context() as patch:
        permissions = LocalWorkspaces.permissions

        async def counted(self: LocalWorkspaces, caller: Any, wsids: Any) -> Any:
            wanted = list(wsids)
            looks.seen.append(f"permissions of {len(wanted)} workspaces")
            return await permissions(self, caller, wanted)

        patch.setattr(LocalWorkspaces, "permissions", counted)
        ask()
    return list(looks.seen)


@pytest.mark.parametrize("method", [*NAMING_A_JOB, *SDK])
def test_no_look_up_tells_what_there_is(watched: tuple[Bridge, Looks], method: str) -> None:
    """A stranger's question costs the same, whatever it is about: also a job that the old services
    show to nobody any more."""
    bridge, _ = watched
    _, params = {**TABLE, **SDK}[method]
    deleted = bridge.job()
    bridge.db.ee2_legacy.update_one(
        {"_id": ObjectId(deleted)}, {"$set": {"deleted": True}}, upsert=True
    )
    retried = bridge.job()
    bridge.call("cancel_job", {"job_id": retried})
    attempt = bridge.call("retry_job", {"job_id": retried})["retry_id"]
    probes = (bridge.job(), bridge.job(wsid=None), deleted, attempt, UNKNOWN)
    told = {
        json.dumps(looks_of(watched, lambda job=job: answer(bridge, method, params, job, "bob")))
        for job in probes
    }
    assert len(told) == 1, told


@pytest.mark.parametrize("method", ["check_jobs", "wait_for_jobs", "retry_jobs",
                                    "NarrativeJobService.check_jobs"])  # fmt: skip
def test_nor_beside_a_job_of_ones_own(watched: tuple[Bridge, Looks], method: str) -> None:
    bridge, _ = watched
    mine = bridge.job(who="bob", wsid=None)
    told = set()
    for job in (bridge.job(), bridge.job(wsid=None), UNKNOWN):
        asked = {"job_ids": [mine, job], "timeout_s": 0}
        # Look-ups of one moment are made as one; how many of them are of one moment is chance.
        looks = [
            looks_of(watched, lambda asked=asked: bridge.call(method, asked, who="bob"))
            for _ in range(5)
        ]
        told.add(json.dumps(min(looks, key=len)))
    assert len(told) == 1, told


def test_nor_artifacts_and_awe(watched: tuple[Bridge, Looks]) -> None:
    bridge, _ = watched
    base = bridge.url.removesuffix("ee2") + "awe-api/job"
    token = bridge.tokens["bob"]
    told: dict[str, set[str]] = {}

    def ask(verb: str, url: str, authorization: str, job: str) -> None:
        said = bridge.http.request(verb, url, headers={"Authorization": authorization})
        text = re.sub(r'"[0-9a-f-]{36}"', '"UUID"', said.text.replace(job, J))
        told.setdefault(f"{verb} {url.replace(job, J)}", set()).add(f"{said.status_code} {text}")

    for job in (bridge.job(), bridge.job(wsid=None), UNKNOWN):
        one = [("GET", f"{bridge.url}/artifacts/{job}/{job}/x", token)]
        for tail in ("", "?position", "?report", "/acl"):
            one.append(("GET", f"{base}/{job}{tail}", f"OAuth {token}"))
        for tail in ("?suspend", "?resume", "?priority=3"):
            one.append(("PUT", f"{base}/{job}{tail}", f"OAuth {token}"))
        one.append(("DELETE", f"{base}/{job}", f"OAuth {token}"))
        for n, (verb, url, authorization) in enumerate(one):
            seen = looks_of(
                watched, lambda v=verb, u=url, a=authorization, j=job: ask(v, u, a, j)
            )
            told.setdefault(f"looks of {n}", set()).add(json.dumps(seen))
    assert {what: len(answers) for what, answers in told.items() if len(answers) > 1} == {}, told


def awe_call(bridge: Bridge, who: str, verb: str, path: str, **more: Any) -> tuple[int, Any]:
    """Status and content of an AWE resource."""
    url = bridge.url.removesuffix("ee2") + f"awe-api/job{path}"
    headers = {"Authorization": f"OAuth {bridge.tokens[who]}"}
    said = bridge.http.request(verb, url, headers=headers, **more)
    return said.status_code, said.json()


@pytest.mark.parametrize("change", [("PUT", "?suspend"), ("PUT", "?resume"),
                                    ("PUT", "?priority=3"), ("DELETE", ""), ("DELETE", "?full")])
def test_awe_changes_need_rights(bridge: Bridge, change: tuple[str, str]) -> None:
    verb, tail = change
    in_workspace, shared = bridge.job(), shared_job(bridge)
    for job, who, expected in ((in_workspace, "bob", 404), (shared, "wendy", 401),
                               (in_workspace, "rob", 401), (shared, "eva", 401)):  # fmt: skip
        before, audited = stored(bridge, job), bridge.db.ee2_audit.count_documents({})
        assert awe_call(bridge, who, verb, f"/{job}{tail}")[0] == expected, who
        assert stored(bridge, job) == before
        assert bridge.db.ee2_audit.count_documents({}) == audited
    awe_call(bridge, "root", verb, f"/{shared}{tail}")
    (entry,) = bridge.db.ee2_audit.find({"target": shared, "who": "root"})
    assert entry["what"].startswith(f"AWE {verb}") and len(entry["what"]) < 20


def test_a_workspaces_writer_cancels_by_awe_and_hides_nothing(bridge: Bridge) -> None:
    job = bridge.job()
    assert awe_call(bridge, "wendy", "DELETE", f"/{job}?full")[0] == 401
    assert awe_call(bridge, "wendy", "DELETE", f"/{job}")[0] == 200
    assert bridge.record(job)["status"] == "terminated"
    assert awe_call(bridge, "alice", "GET", f"/{job}")[0] == 200


def test_a_client_group_chosen_through_awe_is_on_record(bridge: Bridge) -> None:
    info = {"name": "m.f", "clientgroups": "bigmem", "user": "root"}
    upload = {"upload": json.dumps({"info": info, "tasks": [{}]}).encode()}
    status, content = awe_call(bridge, "root", "POST", "", files=upload)
    assert status == 200 and content["data"]["info"]["clientgroups"] == "bigmem"
    oid = awe.own_id(content["data"]["id"])
    (entry,) = bridge.db.ee2_audit.find({"made": str(oid)})
    assert entry["who"] == "root" and entry["outcome"] == "done"


def test_so_are_requirements_that_only_administrators_may_ask_for(bridge: Bridge) -> None:
    wanted = {"client_group": "bigmem"}
    one = bridge.call("run_job", {"method": "m.f", "job_requirements": wanted}, who="root")
    many = bridge.call(
        "run_job_batch", [{"method": "m.f", "job_requirements": wanted}], {}, who="root"
    )["batch_id"]
    for job in (one, many):
        (entry,) = bridge.db.ee2_audit.find({"made": job})
        assert entry["who"] == "root" and entry["outcome"] == "done"


def test_an_administrators_retry_is_not_shown_to_the_owner_by_awe(bridge: Bridge) -> None:
    job = bridge.job(wsid=None)
    bridge.call("cancel_job", {"job_id": job})
    asked = {"job_id": job, "as_admin": 1}
    attempt = bridge.call("retry_job", asked, who="root")["retry_id"]
    assert "failure" in bridge.call("check_job", {"job_id": attempt})
    status, content = awe_call(bridge, "alice", "GET", f"/{job}")
    assert status == 200 and content["data"]["info"]["user"] == "alice"
    assert content["data"]["state"] == "deleted", "the job, not the administrator's attempt"


def test_to_stop_sharing_reaches_later_attempts(bridge: Bridge) -> None:
    job = shared_job(bridge)
    bridge.call("cancel_job", {"job_id": job})
    attempt = bridge.call("retry_job", {"job_id": job})["retry_id"]
    assert bridge.call("check_job", {"job_id": attempt}, who="wendy")["status"] == "created"
    bridge.call("unshare_job", {"job_id": job, "users": ["wendy"]})
    assert "failure" in bridge.call("check_job", {"job_id": attempt}, who="wendy")


def test_no_secret_in_a_repr_or_an_error_of_settings() -> None:
    secrets = {"secret_key": "s3cret" * 4, "catalog_token": "s3cret-c",
               "workspace_admin_token": "s3cret-w", "webhook_url": "http://s3cret"}  # fmt: skip
    rest = {"rpc_url": "u", "stage_dir": "/s", "apps_dir": "/a", "artifacts_url": "/x",
            "client_groups": "", "runner": "/r"}  # fmt: skip
    assert "s3cret" not in repr(Settings.model_validate({**rest, **secrets}))
    for wrong in ({**secrets}, {**rest, **secrets, "secret_key": "s3cret"}):
        with pytest.raises(ValueError) as raised:
            Settings.model_validate(wrong)
        assert "s3cret" not in str(raised.value)
        with pytest.raises(Exception) as told:  # noqa: PT011
            load_settings(wrong)
        assert "s3cret" not in str(told.value)


async def test_pages_show_a_submission_to_who_may_read_all_of_it(mongo_uri: str) -> None:
    """Retries that were asked for in one call are one submission, of whatever workspaces."""
    engine = await open_engine(mongo_uri)
    alice = Caller("alice")
    shown, private = [
        await submit.run_job(engine, alice, {"method": "m.f", "wsid": wsid}) for wsid in (7, None)
    ]
    for job in (shown, private):
        await cancel.cancel_job(engine, alice, job)
    done = await retry.retry_jobs(engine, alice, [shown, private])
    both = done[0].retry_id

    async def viewer(request: Request) -> Caller:
        return Caller(request.headers["x-user"])

    async def nobody(dag: str, run: str) -> None:
        return None

    pages = Pages(lambda: engine, viewer, lambda dag, run: "", nobody)
    transport = httpx.ASGITransport(Starlette(routes=pages.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://ee2") as http:

        async def status(who: str, path: str) -> int:
            return (await http.get(f"/ee2/jobs/{path}", headers={"x-user": who})).status_code

        assert [await status(who, f"{both}") for who in ("alice", "rob", "bob")] == [200, 404, 404]
        assert await status("rob", shown) == 200
        assert await status("rob", f"{both}/{done[1].retry_id}/log") == 404
        texts = {
            (await http.get(f"/ee2/jobs/{shown}/{job}/log", headers={"x-user": "rob"}))
            .text.replace(job, "JOB")
            for job in (private, UNKNOWN)
        }
        assert len(texts) == 1
    await close_engine(engine, mongo_uri)
