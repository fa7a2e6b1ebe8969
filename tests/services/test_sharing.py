"""A job that is in no workspace, shared with named users: what they may do then, and after."""

from __future__ import annotations

from typing import Any

import pytest

from ee2_cli import job_commands
from ee2_client import Client
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
