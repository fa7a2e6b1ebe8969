"""Rules on run time: which counts, for whom they would be, who may set them, running jobs."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from bson import ObjectId

from ee2_jobs import pool_records, runs
from ee2_jobs.cancel import cancel_job
from ee2_jobs.client_groups import ClientGroup, ClientGroups
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput, WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.limits import time as time_limits
from ee2_jobs.limits import time_rules as rules
from ee2_jobs.model import Document, StageName, Status, now_s
from ee2_jobs.pool_records import PoolEnd
from ee2_jobs.retry import retry_jobs
from ee2_jobs.rounds import next_round
from ee2_jobs.stages import open_stage
from ee2_jobs.submit import run_job, run_job_batch, run_split_aggregate
from tests.services.engines import close_engine, open_engine

ANA, BEN, OLGA = Caller("ana"), Caller("ben"), Caller("olga")
ROOT, AUDITOR = Caller("root", frozenset({"admin"})), Caller("eva", frozenset({"admin_read"}))
JOB = {"method": "m.f"}


@pytest_asyncio.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    """olga owns the app m, whose method a declares 500 s."""
    opened = await open_engine(mongo_uri)
    await opened.store.apps.update_one(
        {"module": "m"},
        {"$set": {"owners": ["olga"], "methods.a.requirements": {"time_limit_s": 500}}},
    )
    yield opened
    await close_engine(opened, mongo_uri)


def with_group(engine: Engine, **more: Any) -> None:
    group = ClientGroup(cpus=1, memory_mb=10, disk_gb=1, **more)
    object.__setattr__(engine, "groups", ClientGroups(default="njs", groups={"njs": group}))


async def record(engine: Engine, job_id: object) -> Document:
    job = await engine.store.jobs.find_one({"_id": ObjectId(str(job_id))})
    assert job is not None
    return job


async def limit_of(engine: Engine, caller: Caller = ANA, **more: Any) -> tuple[Any, Any]:
    """Limit and rule of a new job."""
    job = await record(engine, await run_job(engine, caller, {**JOB, **more}))
    return job.get("time_limit_s"), job.get("time_limit_rule")


async def test_the_most_specific_rule_counts(engine: Engine) -> None:
    assert await limit_of(engine) == (None, None)
    assert await limit_of(engine, method="m.a") == (500, "8 min 20 s, declared by m.a")
    for n, (app, user) in enumerate([("*", "*"), ("*", "ana"), ("m.f", "*"), ("m.f", "ana")], 1):
        await rules.set_time_rule(engine, ROOT, app, user, 1000 * n, note=f"no. {n}")
        seconds, rule = await limit_of(engine)
        assert seconds == 1000 * n and rule.endswith(f"no. {n}")
    assert rule.startswith("1 h 6 min 40 s for ana's m.f, set by root on 20")
    assert (await limit_of(engine, BEN))[0] == 3000
    assert (await limit_of(engine, BEN, method="m.s"))[0] == 1000
    assert (await limit_of(engine, ANA, method="m.a"))[0] == 2000, "a rule goes before the app"
    for app, user, left in (("m.f", "ana", 3000), ("m.f", "*", 2000), ("*", "ana", 1000)):
        await rules.unset_time_rule(engine, ROOT, app, user)
        assert (await limit_of(engine))[0] == left


async def test_what_was_asked_for_and_the_ceiling_of_the_group(engine: Engine) -> None:
    asked: Any = {"job_requirements": {"time_limit_s": 50}}
    await rules.set_time_rule(engine, ROOT, "*", "*", 100)
    assert await limit_of(engine, ROOT, **asked) == (50, "50 s, asked for with the job")
    await rules.set_time_rule(engine, ROOT, "m.f", "*", 20)
    assert (await limit_of(engine, ROOT, **asked))[0] == 20, "never more than the rule"
    with_group(engine, time_limit_s=70, max_time_limit_s=90)
    await rules.set_time_rule(engine, ROOT, "m.f", "*", 200)
    assert await limit_of(engine) == (90, "90 s, the ceiling of client group njs")
    await rules.unset_time_rule(engine, ROOT, "m.f", "*")
    await rules.unset_time_rule(engine, ROOT, "*", "*")
    assert await limit_of(engine) == (70, "70 s, the default of client group njs")


async def test_the_tester(engine: Engine) -> None:
    await rules.set_time_rule(engine, ROOT, "m.a", "ana", 7200, note="a note")
    found = await rules.effective(engine, AUDITOR, "ana", "m.a")
    assert found.seconds == 7200 and found.rule is not None
    assert found.rule.startswith("2 h for ana's m.a, set by root on ")
    assert found.rule.endswith(": a note")
    assert (await rules.effective(engine, BEN, "ben", "m.a")).seconds == 500
    assert (await rules.effective(engine, OLGA, "ana", "m.a")).seconds == 7200, "of an own app"
    with pytest.raises(Denied):
        await rules.effective(engine, BEN, "ana", "m.a")
    with pytest.raises(InvalidInput, match="has no method 'nope'"):
        await rules.effective(engine, ROOT, "ana", "m.nope")
    with pytest.raises(InvalidInput, match="Name a user and an app"):
        await rules.effective(engine, ROOT, "*", "m.a")


async def test_later_attempts_take_the_rules_of_now(engine: Engine) -> None:
    await rules.set_time_rule(engine, ROOT, "m.f", "ana", 100)
    job = await run_job(engine, ANA, JOB)
    await cancel_job(engine, ANA, job)
    await rules.set_time_rule(engine, ROOT, "m.f", "ana", 200)
    assert (await record(engine, job))["time_limit_s"] == 100, "only what is submitted later"
    (retried,) = await retry_jobs(engine, ANA, [job])
    assert (await record(engine, retried.retry_id))["time_limit_s"] == 200
    # A round of a stage.
    ids = await run_job_batch(engine, ANA, [JOB], {})
    await engine.store.submissions.update_one({"_id": ids.batch_id}, {"$set": {"max_attempts": 2}})
    await engine.store.jobs.update_one(
        {"_id": ObjectId(ids.child_job_ids[0])}, {"$set": {"status": "error"}}
    )
    await rules.unset_time_rule(engine, ROOT, "m.f", "ana")
    run = await open_stage(engine.store, ids.batch_id, StageName.SUBMIT, 1, 50)
    again = await next_round(engine.store, run)
    assert again is not None and "time_limit_s" not in again.jobs[0]
    # A later try of a stage, and the children that a split lists.
    await rules.set_time_rule(engine, ROOT, "*", "ana", 300)
    later = await open_stage(engine.store, ids.batch_id, StageName.SUBMIT, 2, 50)
    assert [j["time_limit_s"] for j in later.jobs] == [300]
    batch = await run_split_aggregate(engine, ANA, JOB)
    (split,) = (await open_stage(engine.store, batch, StageName.SPLIT, 1, 50)).jobs
    await runs.claim(engine, split["_id"], claim_id="c", scheduler_id=None, starts=1, host="n")
    output = {"version": "1.1", "result": [{"children": [{"params": [1]}]}]}
    await runs.finish_run(engine, split["_id"], {"output": output}, claim_id="c")
    await rules.set_time_rule(engine, ROOT, "*", "ana", 400)
    (child,) = (await open_stage(engine.store, batch, StageName.SUBMIT, 1, 50)).jobs
    assert child["time_limit_s"] == 400


async def test_a_record_from_before_the_rules_keeps_its_limit(engine: Engine) -> None:
    job = await run_job(engine, ANA, JOB)
    await cancel_job(engine, ANA, job)
    await engine.store.jobs.update_one({"_id": ObjectId(job)}, {"$set": {"time_limit_s": 77}})
    (retried,) = await retry_jobs(engine, ANA, [job])
    assert (await record(engine, retried.retry_id))["time_limit_s"] == 77


async def running(engine: Engine, caller: Caller, for_s: float) -> str:
    job = await run_job(engine, caller, JOB)
    await engine.store.jobs.update_one(
        {"_id": ObjectId(job)},
        {"$set": {"status": "running", "running": now_s() - for_s, "scheduler_id": f"7.{job}"}},
    )
    return job


async def test_a_preview_and_running_jobs_only_when_asked(engine: Engine) -> None:
    store = engine.store
    old, young = await running(engine, ANA, 500), await running(engine, ANA, 10)
    waits = await run_job(engine, ANA, JOB)
    bens = await running(engine, BEN, 500)
    await rules.set_time_rule(engine, ROOT, "m.f", "ben", 9000)
    preview = await rules.preview_time_rule(engine, AUDITOR, "m.f", "*", 100)
    assert (preview.waiting, preview.running, preview.over) == (1, 2, 1), "ben has his own rule"
    assert preview.text == "Of ana, 1 wait and 2 run, of which 1 longer than that already."
    assert [u.user for u in preview.users] == ["ana"]
    assert (await rules.preview_time_rule(engine, ROOT, "*", "ben", 5)).users == ()
    assert (await rules.preview_time_rule(engine, ROOT, "m.f", "ben", None)).running == 1
    later = await rules.set_time_rule(engine, ROOT, "m.f", "*", 100)
    assert later.applied == 0 and later.preview.over == 1
    assert "time_limit_s" not in await record(engine, old)
    assert await time_limits.to_tell_the_pool(store) == {}
    now = await rules.set_time_rule(engine, ROOT, "m.f", "*", 100, apply_now=True)
    assert now.applied == 3, "the same rule, asked for running jobs now"
    for job in (old, young, waits):
        found = await record(engine, job)
        assert found["time_limit_s"] == 100
        assert found["time_limit_rule"].startswith("100 s for m.f, set by root on ")
    assert "time_limit_s" not in await record(engine, bens)
    # The pool is told of those that are in it; unless the limit changes meanwhile.
    told = await time_limits.to_tell_the_pool(store)
    assert told == {100: {f"7.{old}": ObjectId(old), f"7.{young}": ObjectId(young)}}
    await rules.set_time_rule(engine, ROOT, "m.f", "*", 60, apply_now=True)
    await time_limits.told_the_pool(store, 100, list(told[100].values()))
    assert list(await time_limits.to_tell_the_pool(store)) == [60]
    gone = await rules.unset_time_rule(engine, ROOT, "m.f", "*", apply_now=True)
    assert gone.applied == 3 and gone.rule is None
    assert "time_limit_s" not in await record(engine, old)
    told_none = await time_limits.to_tell_the_pool(store)
    assert list(told_none) == [None]
    await time_limits.told_the_pool(store, None, list(told_none[None].values()))
    assert await time_limits.to_tell_the_pool(store) == {}
    details = [e["details"] async for e in store.audit.find().sort("_id", 1)]
    assert details[1].endswith("already. Not applied to them, only to jobs that come.")
    assert details[2].startswith("Run time: 100 s. Of ana, 1 wait and 2 run")
    assert details[2].endswith("Applied to them now.")


async def test_a_runner_learns_the_limit_and_its_rule(engine: Engine) -> None:
    await rules.set_time_rule(engine, ROOT, "m.f", "*", 100)
    job = await run_job(engine, ANA, JOB)
    claimed = await runs.claim(
        engine, job, claim_id="c", scheduler_id="7.0", starts=1, host="n"
    )
    assert claimed["limits"]["time_s"] == 100
    assert claimed["limits"]["time_rule"].startswith("100 s for m.f, set by root")
    await rules.set_time_rule(engine, ROOT, "m.f", "ana", 5, apply_now=True)
    answer = await runs.report(engine, job, claim_id="c", key=None, lines=[])
    assert answer["limits"]["time_s"] == 5
    assert answer["limits"]["time_rule"].startswith("5 s for ana's m.f")


async def test_an_end_at_the_limit_names_the_rule_if_only_the_pool_tells_it(engine: Engine) -> None:
    await rules.set_time_rule(engine, ROOT, "m.f", "*", 100, note="until July")
    late, other = await run_job(engine, ANA, JOB), await run_job(engine, ANA, JOB)
    ends = [
        PoolEnd(late, Status.ERROR, 3, "It ran longer than its time limit."),
        PoolEnd(other, Status.ERROR, 2, "It was held."),
    ]
    assert await pool_records.apply_pool_ends(engine.store, ends) == 2
    found = await record(engine, late)
    day = found["time_limit_rule"].split(" on ")[1][:10]
    sentence = (
        "It ran longer than its time limit. The limit is 100 s for m.f, set by root on "
        f"{day}: until July."
    )
    assert found["errormsg"] == found["error"]["message"] == sentence
    assert (await record(engine, other))["errormsg"] == "It was held."


async def test_owners_of_an_app(engine: Engine) -> None:
    made = await rules.set_time_rule(engine, OLGA, "m.f", "*", 3600)
    assert made.rule is not None and made.rule.by_owner and made.preview.users == ()
    await running(engine, ANA, 9000)
    seen = await rules.preview_time_rule(engine, OLGA, "m.f", "*", 60)
    assert seen.over == 1 and seen.users == () and "ana" not in seen.text
    assert [r.app for r in await rules.rules_seen(engine, OLGA)] == ["m.f"]
    week = 7 * 86400
    with pytest.raises(Denied, match="for 7 days at most, not 7 days 1 h 1 s: ask an admin"):
        await rules.set_time_rule(engine, OLGA, "m.f", "*", week + 3601)
    with pytest.raises(Denied, match="apply a rule to jobs that wait or run already"):
        await rules.set_time_rule(engine, OLGA, "m.f", "*", 60, apply_now=True)
    for app in ("*", "ee2_recipes.report"):
        with pytest.raises(Denied):
            await rules.set_time_rule(engine, OLGA, app, "*", 60)
    with pytest.raises(Denied, match="owners of m may say .* and ana is neither"):
        await rules.set_time_rule(engine, ANA, "m.f", "ana", 60)
    with pytest.raises(Denied):
        await rules.rules_seen(engine, ANA)
    await rules.set_time_rule(engine, ROOT, "m.f", "*", 30 * 86400)
    for change in (
        rules.set_time_rule(engine, OLGA, "m.f", "*", 60),
        rules.unset_time_rule(engine, OLGA, "m.f", "*"),
    ):
        with pytest.raises(Denied, match="an administrator's rule, ask one to change it: 30 days"):
            await change
    await rules.set_time_rule(engine, ROOT, "m.f", "*", 600)
    with pytest.raises(Denied, match="longer than an administrator's rule for the app: 10 min"):
        await rules.set_time_rule(engine, OLGA, "m.f", "ana", 601)
    await rules.set_time_rule(engine, OLGA, "m.f", "ana", 599)
    assert len(await rules.rules_seen(engine, AUDITOR)) == 2
    await rules.unset_time_rule(engine, OLGA, "m.f", "ana")
    assert len(await rules.rules_seen(engine, ROOT)) == 1


async def test_an_owners_rule_is_never_in_the_way_of_an_administrators(engine: Engine) -> None:
    await rules.set_time_rule(engine, ROOT, "*", "olga", 600)
    with pytest.raises(Denied, match="longer than an administrator's rule for the user: 10 min"):
        await rules.set_time_rule(engine, OLGA, "m.f", "olga", 3600)
    await rules.set_time_rule(engine, OLGA, "m.f", "*", 3600)
    assert (await limit_of(engine, OLGA))[0] == 600, "not by a rule for everybody either"
    assert (await limit_of(engine))[0] == 3600
    await rules.set_time_rule(engine, OLGA, "m.f", "ana", 7200)
    assert (await limit_of(engine))[0] == 7200
    await rules.set_time_rule(engine, ROOT, "*", "ana", 900)  # after the owner's
    assert (await limit_of(engine))[0] == 900
    await rules.set_time_rule(engine, ROOT, "m.f", "ana", 86400)
    assert (await limit_of(engine))[0] == 86400, "an administrator's most specific one counts"
    await rules.set_time_rule(engine, ROOT, "*", "*", 60)
    assert (await limit_of(engine, BEN))[0] == 3600, "the default is less specific"


async def test_bad_rules_and_lost_races(engine: Engine) -> None:
    bad: list[tuple[Any, Any, Any, str]] = [
        ("m", "*", 5, "Please input module_name.function_name"),
        ("m.x", "*", 5, "has no method 'x'"),
        ("nope.f", "*", 5, "There is no app 'nope'"),
        ("m.f", "a:b", 5, "'a:b' is not the name of a user"),
        ("m.f", None, 5, "user must be the name"),
        ("m.f", "*", 0, "seconds must be a whole number from 1 to 31,536,000"),
        ("m.f", "*", "2h", "seconds must be"),
    ]
    for app, user, seconds, text in bad:
        with pytest.raises(InvalidInput, match=text):
            await rules.set_time_rule(engine, ROOT, app, user, seconds)
    with pytest.raises(Denied):
        await rules.set_time_rule(engine, AUDITOR, "m.f", "*", 5)
    first = (await rules.set_time_rule(engine, ROOT, "m.f", "*", 5, revision=0)).rule
    assert first is not None
    with pytest.raises(WrongState, match="The limit for run time of m.f is not as you saw it"):
        await rules.set_time_rule(engine, ROOT, "m.f", "*", 6, revision=0)
    assert await engine.store.limits.count_documents({}) == 1
