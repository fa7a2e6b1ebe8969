"""Limits on users and sizes: what they refuse, what a change would do, lost races, the audit."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from bson import ObjectId

from ee2_jobs import runs
from ee2_jobs.cancel import cancel_job
from ee2_jobs.client_groups import ClientGroup, ClientGroups
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput, TooMany, WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.limits import live, sizes, users
from ee2_jobs.model import StageName, now_s
from ee2_jobs.retry import retry_jobs
from ee2_jobs.stages import open_stage
from ee2_jobs.submit import run_job, run_job_batch, run_split_aggregate
from tests.services.engines import close_engine, open_engine

ANA, BEN = Caller("ana"), Caller("ben")
ROOT, AUDITOR = Caller("root", frozenset({"admin"})), Caller("eva", frozenset({"admin_read"}))
JOB = {"method": "m.f"}


@pytest_asyncio.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    opened = await open_engine(mongo_uri)
    yield opened
    await close_engine(opened, mongo_uri)


async def make(engine: Engine, caller: Caller, waiting: int, running: int = 0, **more: Any) -> None:
    """Live jobs of a user."""
    ids = [await run_job(engine, caller, JOB) for _ in range(waiting + running)]
    run = [ObjectId(i) for i in ids[:running]]
    query = {"_id": {"$in": run}}
    await engine.store.jobs.update_many(
        query, {"$set": {"status": "running", "running": now_s(), **more}}
    )


async def entries(engine: Engine) -> list[dict[str, Any]]:
    return await engine.store.audit.find().sort("_id", 1).to_list()


async def test_own_value_default_and_expiry(engine: Engine) -> None:
    store = engine.store
    assert (await users.user_limits(store)).of("ana") is None
    await users.set_user_limit(engine, ROOT, "*", 10)
    await users.set_user_limit(engine, ROOT, "ana", 0)
    soon = now_s() + 0.3
    await users.set_user_limit(engine, ROOT, "ben", 99, expires=soon)
    limits = await users.user_limits(store)
    assert (limits.of("ana"), limits.of("ben"), limits.of("carl")) == (0, 99, 10)
    await asyncio.sleep(max(0, soon - now_s()) + 0.01)
    assert (await users.user_limits(store)).of("ben") == 10, "it has expired"
    await users.unset_user_limit(engine, ROOT, "ana")
    assert (await users.user_limits(store)).of("ana") == 10


async def test_who_may_not_start_jobs(engine: Engine) -> None:
    """What was accepted stays; everything new is refused, whichever way it comes."""
    before = await run_job(engine, ANA, JOB)
    failed = await run_job(engine, ANA, JOB)
    await cancel_job(engine, ANA, failed)
    await users.set_user_limit(engine, ROOT, "ana", 0, note="a course", expires="2099-01-31")
    sentence = (
        r"^User ana may not start jobs: the limit is 0 jobs for user ana, set by root on "
        r"\d{4}-\d\d-\d\d, until 2099-02-01: a course\. What was accepted before waits"
    )
    count = await engine.store.jobs.count_documents({})
    with pytest.raises(Denied, match=sentence):
        await run_job(engine, ANA, JOB)
    with pytest.raises(Denied, match=sentence):
        await run_job_batch(engine, ANA, [JOB], {})
    with pytest.raises(Denied, match=sentence):
        await run_split_aggregate(engine, ANA, JOB)
    with pytest.raises(Denied, match=sentence):
        await retry_jobs(engine, ANA, [failed])
    assert await engine.store.jobs.count_documents({}) == count
    job = await engine.store.jobs.find_one({"_id": ObjectId(before)})
    assert job is not None and job["status"] == "created"
    await run_job(engine, BEN, JOB)
    await users.set_user_limit(engine, ROOT, "*", 0)
    with pytest.raises(Denied, match="0 jobs for every user"):
        await run_job(engine, BEN, JOB)
    await users.set_user_limit(engine, ROOT, "ben", 1)
    await run_job(engine, BEN, JOB)


async def test_a_preview_counts_levels_by_themselves(engine: Engine) -> None:
    await make(engine, ANA, waiting=5, running=3)
    await make(engine, BEN, waiting=2, running=1)
    await engine.store.jobs.update_many(
        {"user": "ben", "status": "created"}, {"$set": {"level": 1}}
    )
    preview = await users.preview_user_limit(engine, AUDITOR, "*", 2)
    by_user = {one.user: one for one in preview.users}
    # ana: 3 run (one over), 5 wait. ben: 1 runs at level 0, 2 wait at level 1, both find places.
    assert (by_user["ana"].held_back, by_user["ana"].over) == (5, 1)
    assert "ben" not in by_user
    assert preview.text == (
        "Would hold back 5 waiting jobs of ana. Running beyond the limit, and going on: 1."
    )
    one = await users.preview_user_limit(engine, AUDITOR, "*", 1)
    assert {u.user: u.held_back for u in one.users} == {"ana": 5, "ben": 1}
    assert (await users.preview_user_limit(engine, ROOT, "ana", 8)).held_back == 0
    assert (await users.preview_user_limit(engine, ROOT, "carl", 0)).users == ()
    await users.set_user_limit(engine, ROOT, "ana", 4)
    lifted = await users.preview_user_limit(engine, ROOT, "ana", None)
    assert (lifted.held_back_now, lifted.held_back) == (4, 0)
    default = await users.preview_user_limit(engine, ROOT, "*", 1)
    assert [u.user for u in default.users] == ["ben"], "ana has a value of her own"
    assert not (await engine.store.limits.find({"_id": "user:*"}).to_list()), "only a preview"


async def test_the_audit_says_who_would_be_held_back(engine: Engine) -> None:
    await make(engine, ANA, waiting=3)
    changed = await users.set_user_limit(engine, ROOT, "ana", 1, reason="Too many", note="n")
    assert changed.limit is not None and changed.limit.places == 1
    assert changed.preview.held_back == 2
    (entry,) = await entries(engine)
    assert (entry["who"], entry["what"]) == ("root", "set_user_limit")
    assert entry["target"] == ["user ana"]
    assert entry["reason"] == "Too many" and entry["outcome"] == "done"
    assert entry["details"] == "Limit: 1 job. Would hold back 2 waiting jobs of ana."
    again = await users.set_user_limit(engine, ROOT, "ana", 1, reason="Too many", note="n")
    assert again.limit == changed.limit and len(await entries(engine)) == 1, "nothing changed"
    await users.unset_user_limit(engine, ROOT, "ana")
    await users.unset_user_limit(engine, ROOT, "ana")
    await users.set_user_limit(engine, ROOT, "*", 7)
    last = await entries(engine)
    assert [e["what"] for e in last[1:]] == ["unset_user_limit", "set_user_limit"]
    assert last[2]["target"] == ["default"]


async def test_a_lost_race_is_noticed(engine: Engine) -> None:
    first = (await users.set_user_limit(engine, ROOT, "ana", 5, revision=0)).limit
    assert first is not None
    with pytest.raises(WrongState, match="not as you saw it: root changed it at "):
        await users.set_user_limit(engine, ROOT, "ana", 6, revision=0)
    second = (await users.set_user_limit(engine, ROOT, "ana", 6, revision=first.revision)).limit
    assert second is not None and second.revision > first.revision
    with pytest.raises(WrongState):
        await users.unset_user_limit(engine, ROOT, "ana", revision=first.revision)
    await users.unset_user_limit(engine, ROOT, "ana", revision=second.revision)
    with pytest.raises(WrongState, match="it was removed"):
        await users.set_user_limit(engine, ROOT, "ana", 7, revision=second.revision)
    third = (await users.set_user_limit(engine, ROOT, "ana", 5)).limit
    assert third is not None and third.revision > second.revision, "never used again"
    # Of ten who saw the same, one changes it; without a revision the last one counts, none is lost.
    tries = [users.set_user_limit(engine, ROOT, "ana", n, revision=third.revision)
             for n in range(10, 20)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, WrongState) for one in done) == 9
    await asyncio.gather(*(users.set_user_limit(engine, ROOT, "ben", n) for n in range(10)))
    assert 0 <= ((await users.user_limits(engine.store)).of("ben") or 0) < 10
    # Who lost is there as well, if it had come so far.
    assert {"done"} <= {e["outcome"] for e in await entries(engine)} <= {"done", "failed"}


async def test_bad_limits(engine: Engine) -> None:
    bad: list[tuple[Any, Any, str]] = [
        ("ana", -1, "places must be a whole number from 0 to 1,000,000"),
        ("ana", 1.5, "places must be"),
        ("ana", True, "places must be"),
        ("ana", 10**7, "places must be"),
        ("", 1, "user must be the name"),
        ("a b", 1, "'a b' is not the name of a user"),
        (7, 1, "user must be the name"),
    ]
    for user, places, text in bad:
        with pytest.raises(InvalidInput, match=text):
            await users.set_user_limit(engine, ROOT, user, places)
    for more, text in (
        ({"expires": "2001-01-01"}, "expires: 2001-01-02 is over already"),
        ({"expires": "soon"}, "expires must be a date such as"),
        ({"expires": 10**30}, "expires must be a date"),
        ({"note": "x" * 301}, "note must be a text of at most 300 letters"),
        ({"note": "a\nb"}, "note must be one line"),
        ({"reason": 5}, "reason must be a text"),
        ({"revision": -1}, "revision must be a whole number"),
        ({"revision": "1"}, "revision must be a whole number"),
    ):
        with pytest.raises(InvalidInput, match=text):
            await users.set_user_limit(engine, ROOT, "ana", 1, **more)
    bad_sizes: list[tuple[dict[str, Any], str]] = [
        ({}, "Give at least one of cpus"),
        ({"gpus": 1}, "There is no ceiling 'gpus'"),
        ({"cpus": 0}, "cpus must be a whole number from 1"),
        ({"waiting": -1}, "waiting must be a whole number from 0"),
        ({"memory_mb": "5"}, "memory_mb must be a whole number"),
    ]
    for figures, text in bad_sizes:
        with pytest.raises(InvalidInput, match=text):
            await sizes.set_size(engine, ROOT, "ana", figures)
    assert await engine.store.limits.count_documents({}) == 0


async def test_who_may_do_what(engine: Engine) -> None:
    for caller in (ANA, AUDITOR, Caller("root", frozenset({"admin"}), job="1" * 24)):
        with pytest.raises(Denied):
            await users.set_user_limit(engine, caller, "ana", 1)
        with pytest.raises(Denied):
            await users.unset_user_limit(engine, caller, "ana")
        with pytest.raises(Denied):
            await sizes.set_size(engine, caller, "ana", {"cpus": 1})
    with pytest.raises(Denied):
        await users.preview_user_limit(engine, ANA, "ana", 1)
    with pytest.raises(Denied):
        await users.user_rows(engine, ANA)
    assert await entries(engine) == [], "what was refused is no act"


async def test_the_list_of_users(engine: Engine) -> None:
    await make(engine, ANA, waiting=3, running=1)
    await users.set_user_limit(engine, ROOT, "*", 2)
    await users.set_user_limit(engine, ROOT, "zoe", 4, note="n", expires="2099-01-01")
    await run_job_batch(engine, BEN, [JOB], {})
    default, rows = await users.user_rows(engine, AUDITOR)
    assert default is not None and default.places == 2
    ana, ben, zoe = rows
    assert (ana.user, ana.limit, ana.running, ana.waiting, ana.held_back) == ("ana", 2, 1, 3, 2)
    assert ana.own is None and (ben.waiting, ben.held_back) == (1, 0), "a parent is no job"
    assert zoe.own is not None and zoe.own.note == "n" and zoe.limit == 4
    default, mine = await users.own_row(engine, ANA)
    assert mine == ana and default is not None


async def test_bad_sizesat_submission(engine: Engine) -> None:
    groups = {"njs": ClientGroup(cpus=4, memory_mb=100, disk_gb=1)}
    object.__setattr__(engine, "groups", ClientGroups(default="njs", groups=groups))
    await sizes.set_size(engine, ROOT, "*", {"cpus": 2, "memory_mb": 1000}, note="small")
    text = (
        r"m\.f needs 4 cores per job, which is over the ceiling of 2 cores per job for every user, "
        r"set by root on [-0-9]+: small\. Ask an administrator"
    )
    with pytest.raises(InvalidInput, match=f"^{text}"):
        await run_job(engine, ANA, JOB)
    with pytest.raises(InvalidInput, match=f"^Job #1: {text}"):
        await run_job_batch(engine, ANA, [JOB, JOB], {})
    asked = {**JOB, "job_requirements": {"request_cpus": 1}}
    with pytest.raises(InvalidInput, match=r"^Job #2: m\.f needs 4 cores"):
        await run_job_batch(engine, ROOT, [asked, JOB], {})
    assert await engine.store.jobs.count_documents({}) == 0
    await sizes.set_size(engine, ROOT, "ana", {"cpus": 4, "children": 3})
    await run_job_batch(engine, ANA, [JOB] * 3, {})
    with pytest.raises(InvalidInput, match="^The batch has 4 jobs, which is over the ceiling of 3"):
        await run_job_batch(engine, ANA, [JOB] * 4, {})
    await sizes.set_size(engine, ROOT, "ana", {"cpus": 4, "memory_mb": 99})
    with pytest.raises(InvalidInput, match="needs 100 MB of memory per job"):
        await run_job(engine, ANA, JOB)
    await sizes.unset_size(engine, ROOT, "ana")
    with pytest.raises(InvalidInput, match="over the ceiling of 2 cores"):
        await run_job(engine, ANA, JOB)


async def test_how_many_may_wait(engine: Engine) -> None:
    await sizes.set_size(engine, ROOT, "ana", {"waiting": 3})
    with pytest.raises(TooMany, match=r"4 more jobs wait: the ceiling is 3 waiting jobs for user"):
        await run_job_batch(engine, ANA, [JOB] * 4, {})
    await run_job_batch(engine, ANA, [JOB] * 2, {})
    last = await run_job(engine, ANA, JOB)
    with pytest.raises(TooMany, match="one more job wait: .*; 3 of them wait now"):
        await run_job(engine, ANA, JOB)
    await cancel_job(engine, ANA, last)
    retried = await retry_jobs(engine, ANA, [last])
    assert retried[0].retry_id
    with pytest.raises(TooMany):
        await run_job(engine, ANA, JOB)
    await engine.store.jobs.update_one(
        {"_id": ObjectId(retried[0].retry_id)}, {"$set": {"status": "running"}}
    )
    await run_job(engine, ANA, JOB)
    await make(engine, BEN, waiting=4)
    preview = await sizes.preview_size(engine, AUDITOR, "*", {"waiting": 1, "cpus": 1})
    assert [(u.user, u.figure, u.jobs) for u in preview.users] == [("ben", "waiting", 3)]
    everything = await sizes.preview_size(engine, AUDITOR, "ben", {"memory_mb": 9, "children": 1})
    assert [(u.user, u.figure, u.jobs) for u in everything.users] == [("ben", "memory_mb", 4)]
    changed = await sizes.set_size(engine, ROOT, "ben", {"memory_mb": 9}, reason="r")
    assert changed.preview.jobs == 4
    entry = (await entries(engine))[-1]
    assert entry["target"] == ["sizes of user ben"] and "4 of ben (memory_mb)" in entry["details"]


async def test_without_a_ceiling_the_usual_one_ends_a_flood(engine: Engine) -> None:
    few = engine.settings.model_copy(update={"max_waiting_jobs": 5})
    engine = replace(engine, settings=few)
    await run_job_batch(engine, ANA, [JOB] * 3, {})
    jobs = [await run_job(engine, ANA, JOB) for _ in range(2)]
    with pytest.raises(TooMany, match=r"one more job wait: .* 5 waiting jobs for who .* 5 of them"):
        await run_job(engine, ANA, JOB)
    with pytest.raises(TooMany, match=r"6 more jobs wait: the ceiling is 5 waiting jobs"):
        await run_job_batch(engine, BEN, [JOB] * 6, {})
    await run_job(engine, BEN, JOB)
    # What has ended makes room at once, and a ceiling that was set counts in its place.
    await cancel_job(engine, ANA, jobs[0])
    await run_job(engine, ANA, JOB)
    with pytest.raises(TooMany):
        await retry_jobs(engine, ANA, [jobs[0]])
    await sizes.set_size(engine, ROOT, "ana", {"waiting": 6})
    await run_job(engine, ANA, JOB)


async def test_a_count_looks_at_the_users_waiting_jobs_only(engine: Engine) -> None:
    for _ in range(3):
        await run_job_batch(engine, ANA, [JOB], {})
    await make(engine, BEN, waiting=5, running=1)
    await make(engine, ANA, waiting=0, running=4)
    query = {**live.COUNTED_WAITING, "user": "ana"}
    plan = await engine.store.db.command(
        "explain", {"find": "ee2_jobs", "filter": query, "hint": live.INDEX},
        verbosity="executionStats",
    )
    assert plan["executionStats"]["totalDocsExamined"] == 3
    assert await live.waiting_jobs(engine.store, "ana", 100) == 3
    assert await live.waiting_jobs(engine.store, "ana", 2) == 2, "no further than asked"


async def test_a_split_keeps_the_ceiling_on_children(engine: Engine) -> None:
    batch = await run_split_aggregate(engine, ANA, JOB)
    (split,) = (await open_stage(engine.store, batch, StageName.SPLIT, 1, 50)).jobs
    children = [{"params": [n]} for n in range(3)]
    await runs.claim(engine, split["_id"], claim_id="c", scheduler_id=None, starts=1, host="n")
    output = {"version": "1.1", "result": [{"children": children}]}
    await runs.finish_run(engine, split["_id"], {"output": output}, claim_id="c")
    await sizes.set_size(engine, ROOT, "*", {"children": 2})
    with pytest.raises(InvalidInput, match="^The split listed 3 jobs, which is over the ceiling"):
        await open_stage(engine.store, batch, StageName.SUBMIT, 1, 50)
    await sizes.set_size(engine, ROOT, "ana", {"children": 3})
    run = await open_stage(engine.store, batch, StageName.SUBMIT, 1, 50)
    assert len(run.jobs) == 3
