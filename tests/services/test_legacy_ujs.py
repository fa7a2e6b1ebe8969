"""UserAndJobState's job methods over the wire, called as KBase's Python client calls them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from tests.services.rpc_support import Bridge
from tests.services.ujs_support import (
    NOBODY,
    NONE,
    RESULTS,
    TASK,
    TIMED,
    Ujs,
    ids,
    new_user,
    refused,
    started,
)


@pytest.fixture
def owner(bridge: Bridge) -> Ujs:
    return new_user(bridge)


@pytest.fixture
def other(bridge: Bridge) -> Ujs:
    return new_user(bridge)


@pytest.fixture
def service(bridge: Bridge) -> Ujs:
    return new_user(bridge)


@pytest.fixture
def alice(bridge: Bridge) -> Ujs:
    return Ujs(bridge, "alice")


def test_a_job_from_its_making_to_its_end(bridge: Bridge, owner: Ujs, service: Ujs) -> None:
    job = owner.create_job2({"meta": {"tag": "x", "a.b": "$y"}})
    assert owner.get_job_info2(job) == [
        job, [owner.user, None], None, "created", None, [None, TIMED, None],
        [None, None, None], None, None, ["DEFAULT", "DEFAULT"], {"tag": "x", "a.b": "$y"}, None,
        None,
    ]  # fmt: skip
    assert owner.get_job_description(job) == [None] * 5
    assert owner.get_job_status(job) == [TIMED, "created", None, None, None, None, None]

    soon = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    assert owner.start_job(job, service.token, "busy", "what it does", TASK, None) is None
    assert owner.get_job_description(job) == [service.user, "task", 3, "what it does", TIMED]
    owner.update_job_progress(job, service.token, "going", 2, f"{soon:%Y-%m-%dT%H:%M:%S}.000Z")
    when = f"{soon:%Y-%m-%dT%H:%M:%S}+0000"
    assert owner.get_job_status(job) == [TIMED, "started", "going", 2, when, 0, 0]
    assert bridge.record(job)["status"] == "running" and bridge.record(job)["msg"] == "going"
    assert owner.complete_job(job, service.token, "well done", None, RESULTS) is None
    assert owner.get_job_info2(job) == [
        job, [owner.user, None], service.user, "complete", "well done", [TIMED, TIMED, when],
        [3, 3, "task"], 1, 0, ["DEFAULT", "DEFAULT"], {"tag": "x", "a.b": "$y"}, "what it does",
        RESULTS,
    ]  # fmt: skip
    assert owner.get_job_info(job) == [
        job, service.user, "complete", TIMED, "well done", TIMED, 3, 3, "task", when, 1, 0,
        "what it does", RESULTS,
    ]  # fmt: skip
    assert owner.get_results(job) == RESULTS
    assert owner.get_detailed_error(job) is None
    assert owner.get_job_owner(job) == owner.user
    assert owner.list_job_services() == [service.user]
    record = bridge.record(job)
    assert record["status"] == "completed" and record["finished"] >= record["running"]


def test_a_job_that_fails(bridge: Bridge, owner: Ujs, service: Ujs) -> None:
    job = started(owner, service, {"ptype": "percent", "max": 7})
    owner.update_job_progress(job, service.token, "half", 50, None)
    assert owner.get_job_info(job)[6:9] == [50, 100, "percent"]
    owner.complete_job(job, service.token, "no reads", "line 1\nline 2", None)
    assert owner.get_job_status(job) == [TIMED, "error", "no reads", 100, None, 1, 1]
    assert owner.get_detailed_error(job) == "line 1\nline 2"
    assert owner.get_results(job) is None
    record = bridge.record(job)
    assert (record["status"], record["error_code"]) == ("error", 0)
    assert record["error"] == {
        "name": "Error", "code": 0, "message": "no reads", "error": "line 1\nline 2",
    }  # fmt: skip


def test_progress(owner: Ujs, service: Ujs) -> None:
    job = started(owner, service, TASK)
    assert owner.get_job_info(job)[6:9] == [0, 3, "task"]
    owner.update_job_progress(job, service.token, "a", None, None)
    owner.update_job_progress(job, service.token, "b", 1, None)
    owner.update_job_progress(job, service.token, "c", 2**62, None)
    owner.update_job_progress(job, service.token, "c", 2**62, None)
    assert owner.get_job_info(job)[6:9] == [3, 3, "task"]
    owner.update_job(job, service.token, None, None)
    assert owner.get_job_status(job)[2:5] == [None, 3, None]
    plain = started(owner, service)
    owner.update_job_progress(plain, service.token, "a", 5, None)
    assert owner.get_job_info(plain)[6:9] == [None, None, "none"]
    owner.complete_job(plain, service.token, None, None, {})
    assert owner.get_job_info(plain)[4:9] == [None, TIMED, None, None, "none"]
    assert owner.get_results(plain) == {}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("2099-12-30T23:30:54+0000", "2099-12-30T23:30:54+0000"),
        ("2099-12-30T23:30:54-0800", "2099-12-31T07:30:54+0000"),
        ("2099-12-30T23:30:54.999Z", "2099-12-30T23:30:54+0000"),
        ("2099-12-30T23:30:54", None),
        ("2099-12-30T23:30:54-08:00", None),
        ("2099-12-30T23:30:54.12Z", None),
        ("2099-13-30T23:30:54Z", None),
        ("2099-12-30 23:30:54Z", None),
        ("9999-12-31T23:30:54-0800", None),
        ("soon", None),
    ],
)
def test_when_a_job_is_expected_to_end(
    owner: Ujs, service: Ujs, given: str, told: str | None
) -> None:
    job = started(owner, service)
    if told is None:
        refused(f'Unparseable date: "{given}"', owner.update_job, job, service.token, "s", given)
    else:
        owner.update_job(job, service.token, "s", given)
    assert owner.get_job_info(job)[9] == told
    owner.update_job(job, service.token, "t", None)
    assert owner.get_job_status(job)[4] == told


def test_lists_by_state_and_service(owner: Ujs, service: Ujs, bridge: Bridge) -> None:
    second = new_user(bridge)
    job = {letter: started(owner, service) for letter in "RCNE"}
    owner.complete_job(job["C"], service.token, "s", None, None)
    owner.complete_job(job["E"], service.token, "s", "bad", None)
    owner.cancel_job(job["N"], "no more")
    job["R2"] = started(owner, second)
    never = owner.create_job()
    gone = owner.create_job()
    owner.cancel_job(gone, "before it was started")
    assert owner.get_job_info2(gone)[1:5] == [
        [owner.user, owner.user], None, "canceled", "before it was started"
    ]  # fmt: skip
    every = set(job.values())
    assert never not in every and gone not in every
    expected = {
        "R": {job["R"], job["R2"]}, "C": {job["C"]}, "N": {job["N"]}, "E": {job["E"]},
        "EC": {job["E"], job["C"]}, "x N, r!": {job["N"]}, "S": every, "": every, "rcne": every,
    }  # fmt: skip
    for letters, found in expected.items():
        assert ids(owner.list_jobs(None, letters)) == found, letters
        assert ids(owner.list_jobs2({"filter": letters})) == found, letters
    assert ids(owner.list_jobs([], None)) == every
    assert ids(owner.list_jobs([service.user], None)) == every - {job["R2"]}
    assert ids(owner.list_jobs2({"services": [second.user, "nobody"]})) == {job["R2"]}
    assert all(len(one) == 14 for one in owner.list_jobs(None, None))
    listed = owner.list_jobs2({})
    assert all(one == owner.get_job_info2(one[0]) for one in listed)
    assert owner.list_job_services() == sorted([service.user, second.user])


def test_lists_of_shared_jobs_and_of_workspaces(
    bridge: Bridge, owner: Ujs, other: Ujs, service: Ujs
) -> None:
    alone = started(owner, service)
    shared = started(owner, service)
    owner.share_job(shared, [other.user])
    assert ids(other.list_jobs(None, "S")) == ids(other.list_jobs2({"filter": "RS"})) == {shared}
    assert ids(other.list_jobs(None, "R")) == ids(other.list_jobs(None, None)) == set()
    assert ids(other.list_jobs(None, "SC")) == set()
    assert other.list_job_services() == [service.user]

    wsid = 10_000 + int(owner.user.partition("_")[2])
    bridge.db.ee2_workspaces.insert_one(
        {"_id": wsid, "owner": owner.user, "acl": {other.user: "r"}, "public": False}
    )
    inside = owner.create_job2({"authstrat": "kbaseworkspace", "authparam": str(wsid)})
    owner.start_job(inside, service.token, "s", None, NONE, None)
    assert owner.get_job_info2(inside)[9] == ["kbaseworkspace", str(wsid)]
    of_workspace = {"authstrat": "kbaseworkspace", "authparams": [str(wsid)]}
    for reader in (owner, other):
        assert ids(reader.list_jobs2(of_workspace)) == {inside}
        assert ids(reader.list_jobs2({**of_workspace, "filter": "SC"})) == set()
    assert ids(owner.list_jobs2({})) == ids(owner.list_jobs(None, None)) == {alone, shared, inside}
    assert ids(owner.list_jobs2({"authstrat": "DEFAULT"})) == {alone, shared}
    assert ids(other.list_jobs(None, "S")) == {shared}
    stranger = new_user(bridge)
    # What a record has from before it was in a workspace counts for nothing.
    bridge.db.ee2_jobs.update_one(
        {"_id": ObjectId(inside)}, {"$set": {"shared": [stranger.user]}}
    )
    assert stranger.list_jobs(None, "S") == stranger.list_job_services() == []
    refused(f"There is no job {inside} viewable by user {stranger.user}", stranger.get_results,
            inside)  # fmt: skip
    refused(f"User {stranger.user} cannot read workspace {wsid}", stranger.list_jobs2, of_workspace)
    both = {**of_workspace, "authparams": [str(wsid), "8"]}
    refused(f"User {other.user} cannot read workspace 8", other.list_jobs2, both)


def test_a_list_has_an_end(bridge: Bridge, owner: Ujs, service: Ujs) -> None:
    """The bridge of the tests lists 20 jobs at most."""
    jobs = [started(owner, service) for _ in range(22)]
    assert [one[0] for one in owner.list_jobs(None, "R")] == jobs[:1:-1]


def test_sharing(owner: Ujs, other: Ujs, service: Ujs, bridge: Bridge) -> None:
    third = new_user(bridge)
    job = started(owner, service)
    unseen = f"There is no job {job} viewable by user {other.user}"
    refused(unseen, other.get_job_info, job)
    owner.share_job(job, [other.user, third.user, owner.user])
    owner.share_job(job, [other.user])
    assert other.get_job_info(job) == owner.get_job_info(job)
    assert owner.get_job_shared(job) == sorted([other.user, third.user])
    refused(
        f"User {other.user} may not access the sharing list of job {job}",
        other.get_job_shared, job,
    )  # fmt: skip
    refused(
        f"User {other.user} may only stop sharing job {job} for themselves",
        other.unshare_job, job, [third.user],
    )  # fmt: skip
    # To read is not to write.
    refused(
        f"There is no uncompleted job {job} for user {other.user} started by service "
        f"{service.user}",
        other.update_job, job, service.token, "s", None,
    )  # fmt: skip
    refused(
        f"There is no job {job} that may be canceled by user {other.user}",
        other.cancel_job, job, "s",
    )  # fmt: skip
    refused(
        f"There is no job {job} with default authorization owned by user {other.user}",
        other.share_job, job, [third.user],
    )  # fmt: skip
    third.unshare_job(job, [third.user])
    refused(f"There is no job {job} viewable by user {third.user}", third.get_job_info, job)
    owner.unshare_job(job, ["alice", other.user])
    refused(unseen, other.get_job_info, job)
    assert owner.get_job_shared(job) == []


def test_a_workspaces_users(bridge: Bridge, alice: Ujs, service: Ujs) -> None:
    """Workspace 7 is alice's; wendy may write, rob may read."""
    wendy, rob, bob = (Ujs(bridge, name) for name in ("wendy", "rob", "bob"))
    in_7 = {"authstrat": "kbaseworkspace", "authparam": "7"}
    refused("User rob cannot write to workspace 7", rob.create_job2, in_7)
    refused("User bob cannot write to workspace 7", bob.create_job2, in_7)
    job = wendy.create_job2(in_7)
    wendy.start_job(job, service.token, "s", "d", NONE, None)
    for reader in (alice, wendy, rob):
        assert reader.get_job_owner(job) == "wendy"
    refused(f"There is no job {job} viewable by user bob", bob.get_job_status, job)
    refused(
        f"There is no uncompleted job {job} for user alice started by service {service.user}",
        alice.complete_job, job, service.token, "s", None, None,
    )  # fmt: skip
    for share, word in ((wendy.share_job, "owned by"), (wendy.unshare_job, "visible to")):
        refused(
            f"There is no job {job} with default authorization {word} user wendy", share, job,
            ["bob"],
        )  # fmt: skip
    assert wendy.get_job_shared(job) == []
    refused("User rob may not access the sharing list of job " + job, rob.get_job_shared, job)
    refused(f"There is no job {job} that may be canceled by user rob", rob.cancel_job, job, "s")
    other = wendy.create_job2(in_7)
    alice.cancel_job(other, "by another")
    assert wendy.get_job_info2(other)[1] == ["wendy", "alice"]
    wendy.complete_job(job, service.token, "s", None, None)
    refused(f"There is no deletable job {job} for user rob", rob.delete_job, job)
    job2 = alice.create_and_start_job(service.token, "s", "d", NONE, None)
    assert bridge.record(job2).get("wsid") is None
    other7 = alice.create_job2(in_7)
    alice.cancel_job(other7, "s")
    refused(f"There is no deletable job {other7} for user wendy", wendy.delete_job, other7)
    alice.delete_job(job)  # an administrator of the workspace
    refused(f"There is no job {job} viewable by user wendy", wendy.get_job_status, job)


def test_a_cancelled_job(bridge: Bridge, owner: Ujs, service: Ujs) -> None:
    job = started(owner, service, TASK)
    assert owner.cancel_job(job, "enough") is None
    info = owner.get_job_info2(job)
    assert info[1:5] == [[owner.user, owner.user], service.user, "canceled", "enough"]
    assert info[6:9] == [[3, 3, "task"], 1, 0]
    refused(
        f"There is no job {job} that may be canceled by user {owner.user}", owner.cancel_job, job,
        "again",
    )  # fmt: skip
    over = f"There is no uncompleted job {job} for user {owner.user} started by service "
    refused(over + service.user, owner.update_job, job, service.token, "s", None)
    refused(over + service.user, owner.complete_job, job, service.token, "s", None, None)
    record = bridge.record(job)
    assert (record["status"], record["terminated_code"]) == ("terminated", 0)
    assert "remove" not in record


def test_deleting(bridge: Bridge, owner: Ujs, other: Ujs, service: Ujs) -> None:
    job = started(owner, service)
    none = f"There is no deletable job {job} for user {owner.user}"
    refused(none, owner.delete_job, job)
    owner.complete_job(job, service.token, "s", None, None)
    owner.share_job(job, [other.user])
    refused(f"There is no deletable job {job} for user {other.user}", other.delete_job, job)
    assert owner.delete_job(job) is None
    refused(none, owner.delete_job, job)
    for who in (owner, other):
        for method in READS:
            refused(
                f"There is no job {job} viewable by user {who.user}", getattr(who, method), job
            )
        assert not who.list_jobs(None, "S") and not who.list_job_services()
    refused(
        f"There is no job {job} with default authorization owned by user {owner.user}",
        owner.share_job, job, ["alice"],
    )  # fmt: skip
    refused(
        f"There is no job {job} with default authorization visible to user {owner.user}",
        owner.unshare_job, job, ["alice"],
    )  # fmt: skip
    assert bridge.record(job)["status"] == "completed"
    assert bridge.call("check_job", {"job_id": job}, who=owner.user)["status"] == "completed"


def test_deleting_by_force(bridge: Bridge, owner: Ujs, service: Ujs, other: Ujs) -> None:
    job = started(owner, service)
    unborn = owner.create_job()

    def none(job: str, whose: Ujs) -> str:
        return (
            f"There is no deletable job {job} for user {owner.user} and service {whose.user}"
        )

    refused(none(job, other), owner.force_delete_job, other.token, job)
    refused(none(unborn, service), owner.force_delete_job, service.token, unborn)
    assert owner.force_delete_job(service.token, job) is None
    refused(none(job, service), owner.force_delete_job, service.token, job)
    refused(f"There is no job {job} viewable by user {owner.user}", owner.get_job_status, job)
    refused(
        f"There is no uncompleted job {job} for user {owner.user} started by service "
        f"{service.user}",
        owner.update_job, job, service.token, "s", None,
    )  # fmt: skip
    # Nobody can end it any more: it does not stay `running` for ever.
    assert bridge.record(job)["status"] == "terminated"
    done = started(owner, service)
    owner.complete_job(done, service.token, "s", None, None)
    owner.force_delete_job(service.token, done)
    assert bridge.record(done)["status"] == "completed"


READS = (
    "get_job_description", "get_job_status", "get_job_info", "get_job_info2", "get_results",
    "get_detailed_error", "get_job_owner", "get_job_shared",
)  # fmt: skip


def test_what_one_may_not_see_is_not_there(owner: Ujs, other: Ujs, service: Ujs) -> None:
    theirs = started(owner, service)
    for method in READS:
        for job in (theirs, NOBODY):
            refused(
                f"There is no job {job} viewable by user {other.user}", getattr(other, method), job
            )
