"""UserAndJobState's jobs and the engine: jobs that it runs, jobs that it does not; and races."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs import pool_records, silent
from ee2_jobs.identity import job_token
from ee2_jobs.messages import Change, messages
from ee2_jobs.store import Store
from tests.fakes.kbase_clients import ServerError
from tests.services.rpc_support import SECRET, Bridge
from tests.services.ujs_support import (
    NONE,
    RESULTS,
    TASK,
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


def test_a_job_that_the_engine_runs(bridge: Bridge, alice: Ujs) -> None:
    job = bridge.job(wsid=7, meta={"cell_id": "c1"})
    rows: list[tuple[dict[str, Any], list[Any]]] = [
        ({"status": "created"}, ["created", None, None, None, None, None]),
        ({"status": "estimating"}, ["started", "queued", None, None, 0, 0]),
        ({"status": "queued", "queued": 1e9}, ["started", "queued", None, None, 0, 0]),
        ({"status": "running", "running": 2e9}, ["started", "in-progress", None, None, 0, 0]),
        ({"status": "completed"}, ["complete", "done", None, None, 1, 0]),
        (
            {"status": "error", "errormsg": "x" * 300, "error": {"error": "the whole"}},
            ["error", "x" * 197 + "...", None, None, 1, 1],
        ),
        ({"status": "terminated"}, ["canceled", "canceled by user", None, None, 1, 0]),
    ]
    for fields, told in rows:
        bridge.db.ee2_jobs.update_one({"_id": ObjectId(job)}, {"$set": fields})
        assert alice.get_job_status(job)[1:] == told
        letter = {"created": None, "started": "R", "canceled": "N"}.get(told[0], told[0][0].upper())
        for one in "RCNE":
            wanted = {"authstrat": "kbaseworkspace", "authparams": ["7"], "filter": one}
            assert (job in ids(alice.list_jobs2(wanted))) == (one == letter), (fields, one)
        if fields["status"] == "completed":
            assert alice.get_results(job) == {}
        if fields["status"] == "error":
            assert alice.get_detailed_error(job) == "the whole"
    info = alice.get_job_info2(job)
    assert info[1:3] == [["alice", "alice"], "alice"]
    assert info[5][0] == "2033-05-18T03:33:20+0000"
    assert info[9:12] == [["kbaseworkspace", "7"], {"cell_id": "c1"}, "queued"]
    of_7 = {"authstrat": "kbaseworkspace", "authparams": ["7"], "services": ["alice"]}
    assert job in ids(alice.list_jobs2(of_7))
    assert job not in ids(alice.list_jobs2({**of_7, "services": ["bob"]}))
    assert "alice" in alice.list_job_services()
    alone = bridge.job(wsid=None)
    assert alice.get_job_info2(alone)[9] == ["DEFAULT", "DEFAULT"]


def test_the_engine_starts_and_ends_its_own_jobs(bridge: Bridge, alice: Ujs) -> None:
    job = bridge.job()
    before = bridge.record(job)
    assert alice.start_job(job, alice.token, "queued", "queued", NONE, None) is None
    assert alice.start_job(job, alice.token, "queued", "queued", NONE, None) is None
    over = f"There is no uncompleted job {job} for user alice started by service alice"
    refused(over, alice.update_job, job, alice.token, "s", None)
    refused(over, alice.complete_job, job, alice.token, "s", None, None)
    assert bridge.record(job) == before
    refused(
        f"There is no unstarted job {job} for user wendy", Ujs(bridge, "wendy").start_job, job,
        alice.token, "s", "d", NONE, None,
    )  # fmt: skip
    bridge.db.ee2_jobs.update_one(
        {"_id": ObjectId(job)}, {"$set": {"status": "running", "scheduler_id": "4.0"}}
    )
    assert Ujs(bridge, "wendy").cancel_job(job, "no more of this") is None
    record = bridge.record(job)
    assert (record["status"], record["terminated_code"], record["remove"]) == (
        "terminated", 0, True,
    )  # fmt: skip
    assert alice.get_job_info2(job)[1:5] == [
        ["alice", "wendy"], "alice", "canceled", "no more of this"
    ]  # fmt: skip
    refused(
        f"There is no unstarted job {job} for user alice", alice.start_job, job, alice.token, "s",
        "d", NONE, None,
    )  # fmt: skip


def test_a_batch_is_cancelled_with_its_jobs(bridge: Bridge, alice: Ujs) -> None:
    ids = bridge.call("run_job_batch", [{"method": "m.f"}] * 2, {"wsid": None})
    alice.cancel_job(ids["batch_id"], "s")
    children = [bridge.record(child) for child in ids["child_job_ids"]]
    assert [c["terminated_code"] for c in children] == [3, 3]


def test_ee2s_methods_on_such_a_job(bridge: Bridge, alice: Ujs, service: Ujs) -> None:
    job = alice.create_job2({"authstrat": "kbaseworkspace", "authparam": "7"})
    alice.start_job(job, service.token, "busy", "d", TASK, None)
    state = bridge.call("check_job", {"job_id": job}, who="rob")
    assert (state["status"], state["msg"], state["wsid"]) == ("running", "busy", 7)
    assert state["scheduler_type"] == "ujs" and "job_input" not in state
    assert job in bridge.call("check_workspace_jobs", {"workspace_id": 7, "return_list": 0})
    span = {"start_time": 0, "end_time": 2**32 * 1000, "filter": {"id": job}}
    listed = bridge.call("check_jobs_date_range_for_user", span)
    assert [one["job_id"] for one in listed["jobs"]] == [job]
    assert listed["stats"]["method"] == {"null": 1}
    params = bridge.call("get_job_params", {"job_id": job})
    assert params["method"] is None and params["params"] is None
    assert bridge.call("get_job_status", {"job_id": job}) == {"status": "running"}
    assert bridge.call("cancel_job", {"job_id": job}) is None
    assert alice.get_job_info2(job)[1:5] == [["alice", "alice"], service.user, "canceled", "busy"]
    with pytest.raises(Exception, match="cannot be retried: another service ran it"):
        bridge.call("retry_job", {"job_id": job})


def test_a_job_asks_after_itself_alone(bridge: Bridge, alice: Ujs) -> None:
    mine, another = bridge.job(), bridge.job()
    bridge.tokens[mine] = token = job_token(SECRET, mine)
    itself = Ujs(bridge, mine)
    assert itself.get_job_status(mine)[1] == "created"
    refused(f"There is no job {another} viewable by user alice", itself.get_job_status, another)
    refused(f"The token of job {mine} may not be used for UserAndJobState.cancel_job",
            itself.cancel_job, mine, "s")  # fmt: skip
    job = alice.create_job()
    refused("Couldn't validate the server token. The authentication server said: this is the token "
            "of a job", alice.start_job, job, token, "s", "d", NONE, None)  # fmt: skip


async def test_no_chore_of_the_engine_touches_such_jobs(
    bridge: Bridge, mongo_uri: str, owner: Ujs, service: Ujs
) -> None:
    running, waiting = started(owner, service), owner.create_job()
    canceled = started(owner, service)
    owner.cancel_job(canceled, "s")
    mine = {ObjectId(job) for job in (running, waiting, canceled)}
    long_ago = {"updated": 1.0, "running": 1.0}
    bridge.db.ee2_jobs.update_many({"_id": {"$in": list(mine)}}, {"$set": long_ago})
    assert bridge.call("cancel_job", {"job_id": waiting}, who=owner.user) is None
    store = Store(mongo_uri, bridge.database)
    try:
        in_the_pool = await pool_records.open_records(store, 0, 10**6)
        unheard = await silent.silent_jobs(store, 0, 10**6)
        assert not mine & {job["_id"] for job in in_the_pool + unheard}
        assert not mine & {ObjectId(j) for j in (await pool_records.to_remove(store)).values()}
        for job in mine:
            record = await store.jobs.find_one({"_id": job}) or {}
            change = Change("k", job, record["status"], at_s=1.0)
            assert not [m for m in messages(change, record, events=False)]  # no statistics
            assert messages(change, record, events=True)
    finally:
        await store.close()


def race(*calls: Callable[[], Any]) -> list[ServerError | None]:
    """All calls at once; what each raised."""
    barrier = threading.Barrier(len(calls))
    raised: list[ServerError | None] = [None] * len(calls)

    def run(n: int) -> None:
        barrier.wait()
        try:
            calls[n]()
        except ServerError as e:
            raised[n] = e

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_of_two_ends_one_counts(bridge: Bridge, owner: Ujs, service: Ujs) -> None:
    for _ in range(15):
        job = started(owner, service)
        raised = race(
            lambda job=job: owner.complete_job(job, service.token, "good", None, RESULTS),
            lambda job=job: owner.complete_job(job, service.token, "bad", "detail", None),
            lambda job=job: owner.cancel_job(job, "cancelled"),
        )
        assert raised.count(None) == 1
        status = ("completed", "error", "terminated")[raised.index(None)]
        record = bridge.record(job)
        assert record["status"] == status
        assert record["msg"] == ("good", "bad", "cancelled")[raised.index(None)]
        side = bridge.db.ee2_legacy.find_one({"_id": ObjectId(job)}) or {}
        assert ("results" in side, "errormsg" in record, "canceledby" in side) == (
            status == "completed", status == "error", status == "terminated",
        )  # fmt: skip
        texts = ("There is no uncompleted job", "There is no job")
        assert all(e is None or e.message.startswith(texts) for e in raised)


def test_a_job_is_deleted_once(owner: Ujs, service: Ujs) -> None:
    for _ in range(5):
        job = started(owner, service)
        owner.complete_job(job, service.token, "s", None, None)
        assert race(*[lambda job=job: owner.delete_job(job)] * 3).count(None) == 1


def test_no_progress_is_lost(owner: Ujs, service: Ujs) -> None:
    job = started(owner, service, {"ptype": "task", "max": 1000})
    calls = [lambda: owner.update_job_progress(job, service.token, "s", 3, None)] * 8
    assert race(*calls) == [None] * 8
    assert owner.get_job_info(job)[6] == 24


def test_a_job_is_started_once(owner: Ujs, service: Ujs, other: Ujs) -> None:
    for _ in range(10):
        job = owner.create_job()
        raised = race(
            *[
                lambda job=job, by=by: owner.start_job(job, by.token, by.user, None, NONE, None)
                for by in (service, other)
            ]
        )
        assert raised.count(None) == 1
        winner = (service, other)[raised.index(None)].user
        assert owner.get_job_info(job)[1] == owner.get_job_info(job)[4] == winner
