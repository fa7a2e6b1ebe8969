"""A job that is in no workspace, shared with named users: what they may do then, and after."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ee2_cli import job_commands
from ee2_client import Client
from tests.services.rest_support import get, post, refused
from tests.services.rpc_support import Bridge, RpcError

NOBODY = "5f0c" * 6


def share(bridge: Bridge, job: str, *users: str, who: str = "alice", **more: Any) -> None:
    assert bridge.call("share_job", {"job_id": job, "users": list(users), **more}, who=who) is None


def unshare(bridge: Bridge, job: str, *users: str, who: str = "alice", **more: Any) -> None:
    params = {"job_id": job, "users": list(users), **more}
    assert bridge.call("unshare_job", params, who=who) is None


def shared_with(bridge: Bridge, job: str, who: str = "alice") -> Any:
    return bridge.call("get_job_shared", {"job_id": job}, who=who)


def reads(bridge: Bridge, job: str, who: str) -> dict[str, bool]:
    """Which of the reading methods answer this user for the job."""
    found = {}
    for method in ("get_job_status", "check_job_canceled", "get_job_params", "get_job_logs"):
        try:
            bridge.call(method, {"job_id": job}, who=who)
            found[method] = True
        except RpcError as e:
            assert str(e) == f"Cannot find job with ids: ['{job}']"
            found[method] = False
    state = bridge.call("check_job", {"job_id": job}, who=who)
    found["check_job"] = state.get("job_id") == job
    states = bridge.call("check_jobs", {"job_ids": [job]}, who=who)["job_states"]
    found["check_jobs"] = states[0].get("job_id") == job
    artifact = f"{bridge.url}/artifacts/{job}/{job}/a.txt"
    answer = bridge.http.get(artifact, headers={"Authorization": bridge.tokens[who]})
    assert answer.status_code == 200 or (
        answer.status_code == 404 and answer.text == f"There is no artifact '{job}/{job}/a.txt'"
    )
    found["artifact"] = answer.status_code == 200
    return found


def all_of(found: dict[str, bool]) -> bool:
    """Whether all of them answer; none of them otherwise."""
    assert len(set(found.values())) == 1, found
    return all(found.values())


@pytest.fixture
def job(bridge: Bridge) -> str:
    """A job of alice's without workspace, with a log and an artifact; known to the process."""
    job = bridge.job(wsid=None)
    bridge.call("add_job_logs", {"job_id": job}, [{"line": "x"}])
    put = bridge.http.put(
        f"{bridge.url}/artifacts/{job}/{job}/a.txt",
        headers={"Authorization": str(bridge.token(job))},
        content=b"a",
    )
    assert put.status_code == 201
    assert all_of(reads(bridge, job, "alice"))
    return job


def test_before_while_and_after(bridge: Bridge, job: str) -> None:
    assert not all_of(reads(bridge, job, "bob"))
    share(bridge, job, "bob", "rob", "alice")
    assert all_of(reads(bridge, job, "bob")) and all_of(reads(bridge, job, "rob"))
    assert not all_of(reads(bridge, job, "wendy"))
    assert shared_with(bridge, job) == ["bob", "rob"]
    unshare(bridge, job, "bob", "wendy")
    assert not all_of(reads(bridge, job, "bob")) and all_of(reads(bridge, job, "rob"))
    unshare(bridge, job, "rob", who="rob")
    assert not all_of(reads(bridge, job, "rob"))
    assert shared_with(bridge, job) == []


def test_to_read_is_not_to_write(bridge: Bridge, job: str) -> None:
    share(bridge, job, "bob")
    before = bridge.record(job)
    for method, *more in (
        ("cancel_job",), ("start_job",), ("finish_job",), ("retry_job",), ("add_job_logs", []),
    ):  # fmt: skip
        with pytest.raises(RpcError, match="User bob does not have permission to Job.*WRITE job"):
            bridge.call(method, {"job_id": job, "job_output": {}}, *more, who="bob")
    for method, text in (
        ("share_job", f"There is no job {job} with default authorization owned by user bob"),
        ("unshare_job", f"User bob may only stop sharing job {job} for themselves"),
        ("get_job_shared", f"User bob may not access the sharing list of job {job}"),
    ):
        with pytest.raises(RpcError) as raised:
            bridge.call(method, {"job_id": job, "users": ["rob"]}, who="bob")
        assert str(raised.value) == text
    assert bridge.record(job) == before


def test_others_jobs_are_in_no_list_of_ones_own(bridge: Bridge, job: str) -> None:
    share(bridge, job, "bob")
    span = {"start_time": 0, "end_time": 2**32 * 1000, "filter": {"id": job}}
    assert bridge.call("check_jobs_date_range_for_user", span, who="bob")["jobs"] == []
    with pytest.raises(RpcError, match="not authorized to view all records"):
        bridge.call("check_jobs_date_range_for_user", {**span, "user": "alice"}, who="bob")


def test_a_job_in_a_workspace_is_refused(bridge: Bridge) -> None:
    job = bridge.job(wsid=7)
    for method, word in (("share_job", "owned by"), ("unshare_job", "visible to")):
        with pytest.raises(RpcError) as raised:
            bridge.call(method, {"job_id": job, "users": ["bob"]})
        assert str(raised.value) == (
            f"There is no job {job} with default authorization {word} user alice"
        )
    assert shared_with(bridge, job) == []
    assert "shared" not in bridge.record(job)
    # What a record has from before it was in a workspace counts for nothing.
    bridge.db.ee2_jobs.update_one({"_id": bridge.record(job)["_id"]}, {"$set": {"shared": ["bob"]}})
    with pytest.raises(RpcError, match="Cannot find job"):
        bridge.call("get_job_status", {"job_id": job}, who="bob")


@pytest.mark.parametrize("who", ["wendy", "root"])
def test_strangers_learn_nothing(bridge: Bridge, job: str, who: str) -> None:
    for one in (job, NOBODY):
        for method, text in (
            ("share_job", f"There is no job {one} with default authorization owned by user {who}"),
            ("unshare_job",
             f"There is no job {one} with default authorization visible to user {who}"),
            ("get_job_shared", f"Cannot find job with ids: ['{one}']"),
        ):  # fmt: skip
            with pytest.raises(RpcError) as raised:
                bridge.call(method, {"job_id": one, "users": [who]}, who=who)
            assert str(raised.value) == text
    assert "shared" not in bridge.record(job)


@pytest.mark.parametrize(
    ("users", "text"),
    [
        (None, "The user list may not be null or empty"),
        ([], "The user list may not be null or empty"),
        ("bob", "The user list may not be null or empty"),
        (["bob", ""], "A user name cannot be null or the empty string"),
        (["bob", 7], "A user name cannot be null or the empty string"),
        (["bob", "no_such", "nor_this"], "User no_such is not a valid user"),
        (["u"] * 1001, "At most 1000 users in one call, not 1001"),
    ],
)
def test_lists_of_users(bridge: Bridge, job: str, users: Any, text: str) -> None:
    for method in ("share_job", "unshare_job"):
        with pytest.raises(RpcError) as raised:
            bridge.call(method, {"job_id": job, "users": users})
        assert str(raised.value) == text
    assert "shared" not in bridge.record(job)


def test_who_has_left_can_be_taken_off_the_list(bridge: Bridge, job: str) -> None:
    bridge.db.ee2_jobs.update_one({"_id": bridge.record(job)["_id"]}, {"$set": {"shared": ["ex"]}})
    unshare(bridge, job, "ex")
    assert shared_with(bridge, job) == []


def test_administrators_share_for_others(bridge: Bridge, job: str) -> None:
    share(bridge, job, "bob", who="root", as_admin=1)
    assert all_of(reads(bridge, job, "bob"))
    entry = bridge.db.ee2_audit.find_one({"what": "execution_engine2.share_job", "target": job})
    assert entry is not None and (entry["who"], entry["outcome"]) == ("root", "done")
    unshare(bridge, job, "bob", who="root", as_admin=1)
    assert not all_of(reads(bridge, job, "bob"))
    with pytest.raises(RpcError, match="read-only admin"):
        share(bridge, job, "bob", who="eva", as_admin=1)


def test_a_batch_is_shared_with_its_jobs(bridge: Bridge) -> None:
    made = bridge.call("run_job_batch", [{"method": "m.f"}] * 2, {"aggregate": "report"})
    batch, children = made["batch_id"], made["child_job_ids"]
    share(bridge, batch, "bob")
    answer = bridge.call("check_job_batch", {"job_id": batch}, who="bob")
    assert [c["job_id"] for c in answer["child_jobstates"]] == children
    aggregate = answer["batch_jobstate"]["stage_jobs"]["aggregate"]
    assert bridge.call("get_job_status", {"job_id": aggregate}, who="bob")
    bridge.call("cancel_job", {"job_id": children[0]})
    again = bridge.call("retry_job", {"job_id": children[0]})["retry_id"]
    assert bridge.call("get_job_status", {"job_id": again}, who="bob")
    unshare(bridge, batch, "bob", who="bob")
    for job in (batch, aggregate, again, *children):
        with pytest.raises(RpcError, match="Cannot find job"):
            bridge.call("get_job_status", {"job_id": job}, who="bob")


def test_jobs_that_a_split_will_make_are_shared_too(bridge: Bridge) -> None:
    batch = bridge.call("run_split_aggregate", {"method": "m.f", "params": []})
    share(bridge, batch, "bob")
    kept = bridge.db.ee2_submissions.find_one({"_id": batch})
    assert kept is not None and kept["children"]["shared"] == ["bob"]


def give(bridge: Bridge, job: str, right: str | None, *users: str, **more: Any) -> dict[str, str]:
    """Share over REST; who has which right then."""
    body = {"users": list(users), "right": right, **more.pop("body", {})}
    shared = post(bridge, f"/jobs/{job}/share", body, **more)["shared"]
    return {one["user"]: one["right"] for one in shared}


def can(bridge: Bridge, job: str, who: str) -> set[str]:
    """What the page of a job says that this user may do."""
    return {what for what, may in get(bridge, f"/jobs/{job}", who=who)["can"].items() if may}


def test_to_manage_is_to_read_cancel_retry_and_put_back(bridge: Bridge, job: str) -> None:
    assert give(bridge, job, "manage", "bob", "alice") == {"bob": "manage"}
    assert all_of(reads(bridge, job, "bob"))
    assert can(bridge, job, "bob") == {"cancel", "reprioritise"}
    for method, more in (("start_job", ()), ("finish_job", ()), ("add_job_logs", ([],))):
        with pytest.raises(RpcError, match="User bob does not have permission to Job.*WRITE job"):
            bridge.call(method, {"job_id": job, "job_output": {}}, *more, who="bob")
    assert post(bridge, f"/jobs/{job}/priority", {"priority": -7}, who="bob")["priority"] == -7
    up = {"priority": 1}
    assert refused(bridge, f"/jobs/{job}/priority", who="bob", method="POST", body=up)[0] == 403
    body = {"users": ["rob"], "right": "read"}
    assert refused(bridge, f"/jobs/{job}/share", who="bob", method="POST", body=body)[0] == 404
    assert refused(bridge, f"/jobs/{job}/unshare", who="bob", method="POST", body=body)[0] == 403
    assert get(bridge, f"/jobs/{job}", who="bob")["shared"] is None
    assert post(bridge, f"/jobs/{job}/cancel", who="bob")["status"] == "terminated"
    assert bridge.record(job)["ended_by"] == {"kind": "user", "user": "bob"}
    assert can(bridge, job, "bob") == {"retry"}
    again = post(bridge, f"/jobs/{job}/retry", who="bob")["retry_id"]
    # It runs as bob's, and alice goes on having the say.
    assert bridge.record(again)["user"] == "bob"
    assert get(bridge, f"/jobs/{again}", who="bob")["shared"] == {
        "users": [{"user": "alice", "right": "manage"}], "more": 0,
    }
    assert can(bridge, again, "alice") == {"cancel", "reprioritise"}
    assert [a["id"] for a in get(bridge, f"/jobs/{job}")["attempts"]] == [job, again]
    post(bridge, f"/jobs/{job}/unshare", {"users": ["bob", "alice"]})
    assert not all_of(reads(bridge, job, "bob"))
    assert get(bridge, f"/jobs/{again}", who="alice")["status"] == "created"


def test_rights_change(bridge: Bridge, job: str) -> None:
    assert give(bridge, job, None, "bob") == {"bob": "read"}
    assert give(bridge, job, "manage", "bob", "rob") == {"bob": "manage", "rob": "manage"}
    before = bridge.record(job)
    assert give(bridge, job, "manage", "rob", "rob", "bob") == {"bob": "manage", "rob": "manage"}
    # Whoever only says "may read" takes nothing away: the old methods know no more.
    assert give(bridge, job, None, "bob") == {"bob": "manage", "rob": "manage"}
    share(bridge, job, "bob")
    assert bridge.record(job) == before and shared_with(bridge, job) == ["bob", "rob"]
    assert give(bridge, job, "read", "bob", "wendy") == {
        "bob": "read", "rob": "manage", "wendy": "read",
    }
    assert can(bridge, job, "bob") == set() and "cancel" in can(bridge, job, "rob")
    gone = post(bridge, f"/jobs/{job}/unshare", {"users": ["rob"]})
    assert [one["user"] for one in gone["shared"]] == ["bob", "wendy"]
    # Who is let in again has what he is given now, not what he had.
    assert give(bridge, job, "read", "rob")["rob"] == "read"


def test_bad_rights(bridge: Bridge, job: str) -> None:
    path = f"/jobs/{job}/share"
    for body, text in (
        ({"users": ["bob"], "right": "own"}, "right"),
        ({"users": ["bob", "no_such"], "right": "manage"}, "User no_such is not a valid user"),
        ({"users": [" "], "right": "manage"}, "cannot be null or the empty string"),
        ({"users": [], "right": "manage"}, "users"),
    ):
        status, told = refused(bridge, path, method="POST", body=body)
        assert status == 400 and text in told
    assert "shared" not in bridge.record(job) and "managers" not in bridge.record(job)
    in_workspace = bridge.job(wsid=7)
    body = {"users": ["bob"], "right": "manage"}
    assert refused(bridge, f"/jobs/{in_workspace}/share", method="POST", body=body)[0] == 404
    assert "managers" not in bridge.record(in_workspace)


def test_an_administrators_sharing_is_in_the_audit(bridge: Bridge, job: str) -> None:
    more = {"who": "root", "as_admin": 1, "body": {"reason": "alice is on leave"}}
    assert give(bridge, job, "manage", "bob", "rob", **more) == {"bob": "manage", "rob": "manage"}
    entry = bridge.db.ee2_audit.find_one({"what": "rest.jobs.share", "target": job})
    assert entry is not None and entry["details"] == "manage: bob, rob"


def test_a_batch_is_managed_with_its_jobs(bridge: Bridge) -> None:
    made = bridge.call("run_job_batch", [{"method": "m.f"}] * 3, {"aggregate": "report"})
    batch, (first, second, third) = made["batch_id"], made["child_job_ids"]
    assert give(bridge, batch, "manage", "bob") == {"bob": "manage"}
    page = get(bridge, f"/batches/{batch}")
    assert page["shared"]["users"] == [{"user": "bob", "right": "manage"}] and page["can"]["share"]
    page = get(bridge, f"/batches/{batch}", who="bob")
    assert page["shared"] is None
    assert page["can"] == {"cancel": True, "retry": False, "share": False}
    post(bridge, f"/jobs/{first}/cancel", who="bob")
    again = post(bridge, f"/jobs/{first}/retry", who="bob")["retry_id"]
    assert "cancel" in can(bridge, again, "alice")
    chosen = {"action": "cancel", "filter": {"batch": batch, "status": "live"}}
    previewed = post(bridge, "/actions/preview", chosen, who="bob")
    assert previewed["jobs"] == 4 and not previewed["excluded"]  # bob's attempt and the step, too
    # Many at once, in the background: what bob runs again so is alice's to manage, too.
    post(bridge, f"/jobs/{second}/cancel")
    retry = {"action": "retry", "filter": {"batch": batch, "status": "terminated"}}
    post(bridge, "/actions", retry, who="bob", status=202)
    query = {"retry_parent": second}
    deadline = time.monotonic() + 30
    while (made := bridge.db.ee2_jobs.find_one(query)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert made is not None and (made["user"], made["managers"]) == ("bob", ["alice"])
    # To read again: of the jobs, and of the attempt that bob has made only his own is left to him.
    assert give(bridge, batch, "read", "bob") == {"bob": "read"}
    assert can(bridge, third, "bob") == set() and "cancel" in can(bridge, again, "bob")
    assert get(bridge, f"/batches/{batch}", who="bob")["can"]["cancel"] is False
    assert refused(bridge, f"/jobs/{batch}/cancel", who="bob", method="POST")[0] == 403
    post(bridge, f"/jobs/{batch}/unshare", {"users": ["bob"]})
    assert refused(bridge, f"/jobs/{third}", who="bob")[0] == 404


def test_jobs_that_a_split_will_make_are_managed_too(bridge: Bridge) -> None:
    batch = bridge.call("run_split_aggregate", {"method": "m.f", "params": []})
    for right, managers in (("manage", ["bob"]), ("read", [])):
        give(bridge, batch, right, "bob")
        kept = bridge.db.ee2_submissions.find_one({"_id": batch})
        assert kept is not None and kept["children"]["managers"] == managers
        assert kept["children"]["shared"] == ["bob"]


def test_the_command(
    bridge: Bridge, job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`./ee2 share`, with an administrator's token as the stack's own."""
    monkeypatch.setattr(
        job_commands, "_engine", lambda: Client(bridge.url, token=bridge.tokens["root"])
    )
    job_commands.share(job, ["rob", "bob"])
    assert all_of(reads(bridge, job, "bob"))
    job_commands.share(job, ["bob"], remove=True)
    assert not all_of(reads(bridge, job, "bob"))
    assert capsys.readouterr().out == "Shared with bob, rob\nShared with rob\n"
    with pytest.raises(Exception, match="User no_such is not a valid user"):
        job_commands.share(job, ["no_such"])
