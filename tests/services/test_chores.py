"""The engine's chores: what each does, that its dry run does nothing, nor its second run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bson import ObjectId

from ee2_jobs import health, reaping
from ee2_jobs.cancel import cancel_job
from ee2_jobs.client_groups import ClientGroup, ClientGroups
from ee2_jobs.controls import controls, drain, pause, resume
from ee2_jobs.model import Document, now_s
from ee2_operators import admin, airflow_internals
from ee2_operators.chores.common import ChoreFailed, tally
from ee2_operators.condor.pool import Pool
from tests.services.chores_support import DAY_S, ROOT, House, database, house, log
from tests.services.field_support import HUGE, Field, field

__all__ = ["database", "field", "house"]  # fixtures


def test_counts_in_words() -> None:
    assert tally([]) == tally([(0, "job(s) ended")]) == "nothing to do"
    assert tally([(1, "job(s) ended"), (2, "log(s)")]) == "1 job ended, 2 logs"


# --------------------------------------------------------------------------------- as Airflow's

class Recorder(logging.Handler):
    """Keeps the lines from `info` on."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def run_task(house: House, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a chore as the triggerer does; the event's XComs, the log, and the metrics."""

    async def run(chore: str, params: dict[str, Any], try_number: int = 1) -> Any:
        metrics: list[tuple[str, int]] = []
        monkeypatch.setattr(admin, "LOG_S", 0.0)
        monkeypatch.setattr(admin, "current_parts", lambda: house.parts)
        monkeypatch.setattr(airflow_internals, "run_params", lambda task: params)
        monkeypatch.setattr(airflow_internals, "count", lambda *a, level: metrics.append(a))
        recorder, own = Recorder(), logging.getLogger("test of a chore")
        own.setLevel(logging.DEBUG)
        own.handlers[:] = [recorder]
        trigger = admin.AdminTrigger(chore)
        monkeypatch.setattr(type(trigger), "log", own)
        task = SimpleNamespace(try_number=try_number, dag_id="d", run_id="r")
        trigger._task_instance = cast(Any, task)
        event: Any
        (event,) = [e async for e in trigger.run()]
        return event.xcoms, recorder.lines, metrics

    return run


async def test_a_chore_says_one_line_and_counts_one_metric(house: House, run_task: Any) -> None:
    oid = await house.job("created", age_s=4000)
    xcoms, lines, metrics = await run_task("reap", {"dry_run": True})
    said = "dry run, nothing is changed: 1 job ended that nothing would have started"
    assert xcoms["return_value"].startswith(f"{said}\n\n{oid}: ") and metrics == []
    assert lines == [f"reap: {xcoms['return_value']}"]
    assert await house.store.marks.find_one({"_id": "chore.reap"}) is None
    xcoms, lines, metrics = await run_task("reap", {"dry_run": False})
    assert metrics == [("ee2.chore.reap.ended", 1)] and len(lines) == 1
    mark = await house.store.marks.find_one({"_id": "chore.reap"}) or {}
    assert mark["ok"] and mark["said"].startswith("1 job ended")
    house.parts.teller.problem = "no change stream"
    xcoms, lines, metrics = await run_task("outbox", {})
    assert "no change stream" in xcoms["error"] and metrics == [] and len(lines) == 1
    mark = await house.store.marks.find_one({"_id": "chore.outbox"}) or {}
    assert mark["ok"] is False


async def test_an_order_is_carried_out_once(house: House, run_task: Any) -> None:
    """A run that is cleared has the name of whoever triggered it, not of whoever cleared it."""
    given = {"group": "njs", "action": "drain"}
    xcoms, _, _ = await run_task("drain_group", given, try_number=2)
    assert "has been carried out" in xcoms["error"]
    xcoms, _, _ = await run_task("drain_group", given)
    assert "ConnectError" in xcoms["error"], "the API server is asked who it is"
    assert (await controls(house.store)).drained == {}


# ------------------------------------------------------------------------------------ held jobs


async def test_a_job_that_the_pool_holds_ends_with_the_reason(house: House) -> None:
    oid = await house.job(scheduler_id="5.0")
    house.pool.hold("5.0", 6, 10, "Error from slot1: no\nsuch program")

    async def check() -> None:
        job = await house.get(oid)
        assert (job["status"], job["error_code"]) == ("error", 2)
        assert "could not be started" in job["errormsg"] and job["remove"] is True
        assert await house.lines(oid) == [
            "HTCondor put the job on hold: Error from slot1: no such program"
        ]

    done = await house.thrice("settle_held", 1, check)
    assert done.said == "1 job on hold ended"


async def test_a_hold_that_may_heal_is_released_once(house: House) -> None:
    oid = await house.job(scheduler_id="5.0")
    house.pool.hold("5.0", 13, 10, "transfer failed")

    async def check() -> None:
        job = await house.get(oid)
        assert job["status"] == "queued" and job["released"]["code"] == 13
        assert job["held"]["code"] == 13 and job["held"]["reason"] == "transfer failed"
        assert house.pool.released == ["5.0"]
        (line,) = await house.lines(oid)
        assert "transfer failed" in line and "once more" in line

    await house.thrice("settle_held", 1, check)
    house.pool.ads.clear()  # it was released
    assert (await house.run("settle_held")).count == 0
    assert "held" not in await house.get(oid)
    await house.store.jobs.update_one({"_id": oid}, {"$set": {"released.at": now_s() - 60}})
    house.pool.hold("5.0", 13, 5, "again")
    assert (await house.run("settle_held")).said == "1 job on hold ended"
    job = await house.get(oid)
    assert job["status"] == "error" and "could not be brought to the node" in job["errormsg"]
    assert (await house.lines(oid))[-1] == "HTCondor put the job on hold: again"


async def test_a_release_that_does_not_work_is_not_waited_for_for_ever(house: House) -> None:
    released = {"code": 13, "at": now_s() - 700}
    oid = await house.job(scheduler_id="5.0", released=released)
    house.pool.hold("5.0", 13, 900)
    assert (await house.run("settle_held")).count == 1
    assert (await house.get(oid))["status"] == "error"


async def test_spooling_has_time(house: House) -> None:
    await house.job(scheduler_id="5.0")
    house.pool.hold("5.0", 16, 60)
    assert (await house.run("settle_held")).count == 0 and house.pool.released == []
    house.pool.hold("5.0", 16, 700)
    assert (await house.run("settle_held")).count == 1 and house.pool.released == ["5.0"]


async def test_a_hold_by_hand_is_left_alone_and_told_after_a_day(house: House) -> None:
    oid = await house.job(scheduler_id="5.0")
    house.pool.hold("5.0", 1, 3600, "upgrade of the nodes")
    assert (await house.run("settle_held")).count == 0
    assert (await house.get(oid))["held"]["code"] == 1 and await house.lines(oid) == []
    house.pool.hold("5.0", 1, 2 * DAY_S, "upgrade of the nodes")
    await house.run("settle_held", dry_run=True)

    async def check() -> None:
        assert (await house.get(oid))["status"] == "queued"
        (line,) = await house.lines(oid)
        assert "upgrade of the nodes" in line and "waits to be released" in line

    await house.thrice("settle_held", 1, check)


async def test_a_job_that_has_ended_meanwhile_is_left_as_it_ended(house: House) -> None:
    oid = await house.job("completed", scheduler_id="5.0")
    house.pool.hold("5.0", 12, 10)
    assert (await house.run("settle_held")).count == 0
    assert (await house.get(oid))["status"] == "completed" and await house.lines(oid) == []


async def test_held_and_idle_jobs_of_a_real_pool(field: Field, pool: Pool, tmp_path: Path) -> None:
    """The queries, the release and the reasons are HTCondor's own. Waiting for admission and being
    on hold are told apart."""
    from ee2_operators.stage import run_stage

    house = House(field.engine, tmp_path, pool)
    parts = field.parts(pool)
    house.parts.watcher = parts.watcher
    this = await field.batch(2, ROOT, HUGE)
    waits = await field.job()
    await field.limit("alice", 0)
    running = [asyncio.create_task(run_stage(parts, one, log)) for one in (this, waits)]
    try:
        jobs: list[Document] = []
        for _ in range(300):
            jobs = await field.jobs(this.submission_id)
            jobs += await field.jobs(waits.submission_id)
            if all("scheduler_id" in job for job in jobs) and len(jobs) == 3:
                break
            await asyncio.sleep(0.1)
        sids = [job["scheduler_id"] for job in jobs]
        assert [ad["ProcId"] for ad in await pool.idle(-5, 100)] == [0, 1]
        assert await pool.idle(3600, 100) == []
        assert await pool.held(100) == []
        await pool._ask("act", {"action": "Hold", "jobs": [sids[0]], "reason": "by a test"})
        (ad,) = await pool.held(100)
        assert ad["HoldReason"].startswith("by a test")
        assert (await house.run("settle_held")).count == 0
        held = (await house.get(jobs[0]["_id"]))["held"]
        assert held["code"] == 1 and held["reason"].startswith("by a test")
        await pool.release([sids[0]], "by a test")
        assert (await house.run("settle_held")).count == 0
        assert "held" not in await house.get(jobs[0]["_id"])
    finally:
        for one in (this, waits):
            await cancel_job(field.engine, ROOT, one.submission_id, as_admin=True)
        await asyncio.wait_for(asyncio.gather(*running), 30)


# -------------------------------------------------------------------------------------- reaping


async def test_created_jobs_that_nothing_will_start(house: House) -> None:
    orphan = await house.job("created", age_s=4000)
    ended = await house.job("created", age_s=4000)
    await house.submission(ended, "ended", ended=now_s() - 3900)
    refused = await house.job("created", age_s=4000)
    await house.submission(refused, "accepted", starts=60, error="no DAG for it")
    stuck = await house.job("created", age_s=9000)
    begun = {"submit": {"1": {"begun": now_s() - 8000}}}
    await house.submission(stuck, tries=begun)

    async def check() -> None:
        for oid, words in (
            (orphan, "is gone"),
            (ended, "was never started"),
            (refused, "after 60 tries"),
            (stuck, "did not get into the pool's queue"),
        ):
            job = await house.get(oid)
            assert (job["status"], job["error_code"]) == ("error", 2)
            assert words in job["errormsg"] and "run it again" in job["errormsg"]
            assert await house.lines(oid) == [job["errormsg"]]
        submission = await house.store.submissions.find_one({"_id": str(refused)})
        assert submission is not None and submission["status"] == "ended"

    await house.thrice("reap", 4, check)


async def test_created_jobs_whose_wait_is_as_it_should_be(house: House) -> None:
    """The parent of a batch, an older engine's, one that waits for an earlier stage, one that could
    not be started for want of Airflow, one whose stage waits for the pool; and young ones."""
    parent = await house.job("created", age_s=9000, batch_job=True)
    await house.submission(parent)
    old = await house.job("created", age_s=9000)
    await house.store.jobs.update_one({"_id": old}, {"$unset": {"submission": ""}})
    later = await house.job("created", age_s=9000, stage="aggregate")
    await house.submission(later, tries={"submit": {"1": {"begun": now_s() - 8000}}})
    waiting = await house.job("created", age_s=9000)
    await house.submission(waiting, "accepted", starts=2, error="the database is away")
    trying = await house.job("created", age_s=9000)
    await house.submission(trying, tries={"submit": {"1": {"begun": now_s() - 20}}})
    second = await house.job("created", age_s=9000, round=2)
    marks = {"begun": now_s() - 8000, "begun_2": now_s() - 20}
    await house.submission(second, tries={"submit": {"1": marks}})
    young = await house.job("created", age_s=3000)
    done = await house.run("reap")
    assert done.count == 0
    for oid in (parent, old, later, waiting, trying, second, young):
        assert (await house.get(oid))["status"] == "created"


async def test_each_route_of_a_round_has_a_time_of_its_own(house: House) -> None:
    """What went to the pool hours ago says nothing of what still tries another route."""
    marks = {"begun": now_s() - 8000, "begun@far": now_s() - 20}
    trying = await house.job("created", age_s=9000, where={"route": "far"})
    await house.submission(trying, tries={"submit": {"1": marks}})
    assert (await house.run("reap")).count == 0
    assert (await house.get(trying))["status"] == "created"
    await house.store.submissions.update_one(
        {"_id": str(trying)}, {"$set": {"tries.submit.1": {"begun@far": now_s() - 8000}}}
    )
    assert (await house.run("reap")).count == 1
    assert (await house.get(trying))["status"] == "error"


async def test_a_created_job_that_gets_into_the_queue_meanwhile(house: House) -> None:
    oid = await house.job("created", age_s=4000)
    overdue = await reaping.overdue_created(house.store, house.parts.groups.groups)
    await house.store.jobs.update_one({"_id": oid}, {"$set": {"status": "queued"}})
    assert await reaping.give_up(house.store, overdue) == 0
    assert (await house.get(oid))["status"] == "queued" and await house.lines(oid) == []


async def test_queued_jobs_that_the_pool_has_no_place_for(house: House) -> None:
    old = await house.job(scheduler_id="5.0", age_s=15 * DAY_S)
    house.pool.add("5.0", 1, 14.5 * DAY_S)
    held = await house.job(scheduler_id="5.1", age_s=40 * DAY_S)
    house.pool.hold("5.1", 1, 40 * DAY_S)  # or waiting for admission: on hold, too
    released = await house.job(scheduler_id="5.2", age_s=40 * DAY_S)
    house.pool.add("5.2", 1, DAY_S)

    async def check() -> None:
        job = await house.get(old)
        assert (job["status"], job["error_code"], job["remove"]) == ("error", 2, True)
        assert "14.5 days" in job["errormsg"] and "4 cores, 2000 MB memory" in job["errormsg"]
        for oid in (held, released):
            assert (await house.get(oid))["status"] == "queued"

    await house.thrice("reap", 1, check)


async def test_the_thresholds_are_the_client_groups(house: House) -> None:
    quick = ClientGroup(cpus=1, memory_mb=10, disk_gb=1, max_created_s=60, max_queued_s=600)
    slow = quick.model_copy(update={"max_queued_s": 90 * 86400, "max_created_s": 90 * 86400})
    house.parts.groups = ClientGroups(default="njs", groups={"njs": quick, "slow": slow})
    wanted: dict[str, Any] = {"job_input": {"requirements": {"clientgroup": "slow"}}}
    jobs = {
        "njs": [await house.job(scheduler_id="5.0"), await house.job("created", age_s=100)],
        "slow": [
            await house.job(scheduler_id="5.1", **wanted),
            await house.job("created", age_s=9000, **wanted),
        ],
    }
    house.pool.add("5.0", 1, 700)
    house.pool.add("5.1", 1, 20 * DAY_S)
    assert (await house.run("reap")).count == 2
    for group, status in (("njs", {"error"}), ("slow", {"queued", "created"})):
        assert {(await house.get(oid))["status"] for oid in jobs[group]} == status


async def test_nothing_is_reaped_that_waits_because_of_us(house: House) -> None:
    oid = await house.job(scheduler_id="5.0")
    house.pool.add("5.0", 1, 15 * DAY_S)
    await house.job("created", age_s=4000)
    await pause(house.engine, ROOT, "upgrade")
    assert "paused" in (await house.run("reap")).said
    await resume(house.engine, ROOT)
    house.pool.away = True
    assert "does not answer" in (await house.run("reap")).said
    house.pool.away = False
    await drain(house.engine, ROOT, "njs")
    assert (await house.run("reap")).count == 1, "the created one only"
    assert (await house.get(oid))["status"] == "queued"


# ------------------------------------------------------------------- health, statistics, outbox


async def test_the_report_says_what_is_wrong(house: House) -> None:
    done = await house.run("health")
    assert done.said == "all is well" and "All is well." in (done.text or "")
    for status in ("completed", "error", "error", "terminated"):
        await house.job(status, age_s=100)
    await house.job("error", age_s=3 * DAY_S)
    await house.job("created", batch_job=True, age_s=9 * DAY_S)
    await house.job("queued", age_s=2 * DAY_S + 60)
    await house.job("running", age_s=5000, running=now_s() - 5000, scheduler_id="1.0")
    await pause(house.engine, ROOT, "new disks")
    await drain(house.engine, ROOT, "njs")
    soon = {"_id": "user:bob", "kind": "user", "places": 9, "expires": now_s() + DAY_S}
    await house.store.limits.insert_one(soon)
    await health.note_chore(house.store, "reap", said="it broke", ok=False)
    house.parts.teller.problem = "no change stream"
    house.pool.away = True
    before = await house.everything()
    assert (await house.run("health", dry_run=True)).text
    assert await house.everything() == before
    done = await house.run("health")
    text = done.text or ""
    for words in (
        "4 jobs ended: 1 completed, 2 failed, 1 were cancelled", "Failed, by app: m/f 2.",
        "1 jobs run, 1 wait.", "of alice, for 2.0 days", "paused since", "by root: new disks",
        "group njs is drained since", "The limit user:bob ends on", "chore reap failed",
        "no change stream", "The pool does not answer", "not been heard of for 900 s",
        "The disk of artifacts is",
    ):  # fmt: skip
        assert words in text, (words, text)
    assert text.count("  ! ") == done.count >= 5
    latest = await health.latest(house.store)
    assert latest is not None and latest.text() == text


async def test_the_newest_reports_are_kept(house: House) -> None:
    made = await health.report(house.store, house.parts.settings)
    for n in range(70):
        day = f"2030-{1 + n // 28:02}-{1 + n % 28:02}"
        await health.keep(house.store, health.Health(day, float(n), (), ("x",)))
    await health.keep(house.store, made)
    assert await house.store.health.count_documents({}) == 60
    latest = await health.latest(house.store)
    assert latest is not None and latest.at_s == 69.0


async def test_statistics(house: House) -> None:
    await house.job("completed", age_s=3600, running=now_s() - 3700)

    async def check() -> None:
        assert await house.store.daily.count_documents({}) > 0

    await house.thrice("statistics", 1, check)


async def test_the_outbox_says_what_waits(house: House) -> None:
    assert (await house.run("outbox", dry_run=True)).said == "nothing waits to be told"
    assert house.parts.teller.pokes == 0
    one: Document = {"kind": "event", "next": None, "body": {}, "at": now_s() - 60}
    await house.store.outbox.insert_one(dict(one))
    done = await house.run("outbox")
    assert done.count == 1 and "wait to be told" in done.said and house.parts.teller.pokes == 1
    await house.store.outbox.insert_one({**one, "at": now_s() - 2 * DAY_S})
    with pytest.raises(ChoreFailed, match="2 changes of state wait"):
        await house.run("outbox")


async def test_reconcile(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    states = {"failed": "failed", "lost": None, "running": "running"}
    oids: dict[str, ObjectId] = {}
    for name in states:
        oids[name] = await house.job("running", age_s=100)
        await house.submission(oids[name])
    by_id: Mapping[str, str | None] = {str(oids[name]): s for name, s in states.items()}

    async def run_state(dag_id: str, run_id: str) -> str | None:
        return by_id[run_id]

    monkeypatch.setattr(airflow_internals, "run_state", run_state)
    gone = await house.job("running", scheduler_id="7.0", age_s=100)
    before = await house.everything()
    dry = await house.run("reconcile", dry_run=True)
    assert await house.everything() == before
    done = await house.run("reconcile")
    assert done.count == dry.count == 3 and "2 submissions without a run settled" in done.said
    assert (await house.get(oids["failed"]))["status"] == "terminated"
    assert (await house.get(oids["running"]))["status"] == "running"
    assert (await house.get(gone))["status"] == "error"
    lost = await house.store.submissions.find_one({"_id": str(oids["lost"])})
    assert lost is not None and lost["status"] == "accepted"
    assert (await house.run("reconcile")).count == 0
    assert "1 submission being started" in (await house.run("reconcile", dry_run=True)).said


async def test_reconcile_notes_the_ids_that_jobs_have_in_slurm(house: House) -> None:
    there = "batch slurm schedd.kbase.example_9618_schedd#4711.%d#1790000000 slurm/20261122/%d"
    ids = {}
    for proc in (0, 1, 2):
        where = {"route": "hpc", **({"batch_id": "88"} if proc == 1 else {})}
        more = {"scheduler_id": f"4711.{proc}", "where": where, "age_s": 100}
        ids[proc] = await house.job(**more)
        # The second one has been sent again; the third one has not got there yet.
        grid_id = there % (proc, 90 + proc) if proc < 2 else "batch slurm"
        house.pool.add(f"4711.{proc}", 1, 100, EE2_JOB_ID=str(ids[proc]), GridJobId=grid_id)
    ended = await house.job("completed", scheduler_id="4711.3", age_s=10)
    house.pool.add("4711.3", 4, 10, EE2_JOB_ID=str(ended), GridJobId=there % (3, 93))
    before = await house.everything()
    await house.run("reconcile", dry_run=True)
    assert await house.everything() == before
    await house.run("reconcile")
    where = [(await house.get(oid))["where"] for oid in ids.values()]
    assert [one.get("batch_id") for one in where] == ["90", "91", None]
    assert all(one["route"] == "hpc" for one in where)
    assert (await house.get(ids[0]))["updated"] < now_s() - 90  # it is no sign of life
    assert "where" not in await house.get(ended)


async def test_silent_runners_has_a_dry_run(house: House) -> None:
    assert (await house.run("silent_runners", dry_run=True)).said == "nothing to do"
