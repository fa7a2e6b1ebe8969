"""What is not jobs in the seeded database: the pool as it was last seen, samples of a week,
statistics, limits, announcements, messages, and what administrators did."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ee2_jobs import audit, controls, health
from ee2_jobs.engine import Engine
from ee2_jobs.identity import ROLE_ADMIN, Caller
from ee2_jobs.limits.sizes import set_size
from ee2_jobs.limits.time_rules import set_time_rule
from ee2_jobs.limits.users import set_user_limit
from ee2_jobs.notices import sending
from ee2_jobs.notices.wishes import Wishes
from ee2_jobs.queue import announcements, samples
from ee2_jobs.queue.announcements import NewAnnouncement
from ee2_jobs.queue.history import HistoryKeeper
from ee2_jobs.queue.order import line_up
from ee2_jobs.queue.snapshot import PoolJob, Share, Slot, Snapshot, State, keep_pool
from ee2_jobs.statistics.daily import roll_up
from ee2_jobs.store import Store
from tests.browser.seed_jobs import Found
from tests.browser.seed_records import ATTACK, Document, Records

ROOT = Caller("root", frozenset({ROLE_ADMIN}))
_AIRFLOW = {
    name: {"status": "healthy"}
    for name in ("metadatabase", "scheduler", "triggerer", "dag_processor")
}


async def fill(engine: Engine, records: Records, found: Found, jobs: Sequence[Document]) -> None:
    """All of it."""
    store = engine.store
    await _limits(engine)
    await _samples(store, records)
    await keep_fresh(store, pool(records.now_s, jobs))
    await roll_up(store, budget_s=600)
    keeper = HistoryKeeper(store, engine.groups.default)
    for _ in range(2):
        await keeper.refresh()
    await _people(engine, found)
    await health.keep(store, await health.report(store, engine.settings))


async def keep_fresh(store: Store, snapshot: Snapshot) -> None:
    """What the sampler and the runners do all the time, so that nothing looks dead."""
    now = time.time()
    await keep_pool(store, replace(snapshot, at_s=now))
    await samples.note_pool(store, None)
    await samples.note_parts(store, _AIRFLOW, None)
    heard = {"status": "running", "seen": {"$gt": now - 600}}
    await store.jobs.update_many(heard, {"$set": {"seen": now}})


def pool(now_s: float, jobs: Sequence[Document]) -> Snapshot:
    """The pool that the live jobs are in."""
    found, claimed, waiting = [], Counter[str](), Counter[tuple[str, str]]()
    for job in jobs:
        if job["status"] not in ("queued", "running") or job["batch_job"]:
            continue
        one = _pool_job(job, waiting)
        found.append(one)
        if one.host:
            claimed[one.host] += one.cpus
    slots = [
        *(_slot(f"node{n}", 64, 256_000, "njs", claimed, drained=n == 12) for n in range(1, 13)),
        *(_slot(f"big{n}", 128, 1_000_000, "bigmem", claimed) for n in range(1, 7)),
    ]
    shares = {
        user: Share(500.0 + n * 400, 40.0 * n) for n, user in enumerate(("cho", "ben", "ana"))
    }
    return line_up(now_s, found, slots, shares)


def _pool_job(job: Document, waiting: Counter[tuple[str, str]]) -> PoolJob:
    needs = job["job_input"]["requirements"]
    runs, batch = job["status"] == "running", job.get("batch_id", "")
    state = State.RUNNING if runs else State.IDLE
    if not runs:
        waiting[job["user"], batch] += 1
        held_back = waiting[job["user"], batch] > 100 or (
            job["user"] == "cho" and waiting["cho", batch] > 2
        )
        state = State.WAITS if held_back else state
    cluster, _, proc = job["scheduler_id"].partition(".")
    memory_mb = needs["memory"]
    return PoolJob(
        job_id=str(job["_id"]), user=job["user"], submitter=job["user"],
        group=needs["clientgroup"], level=0, state=state.value, priority=job["priority"],
        queued_s=int(job["queued"]), cluster=int(cluster), proc=int(proc), cpus=needs["cpu"],
        memory_mb=memory_mb, disk_mb=30_000, used_memory_mb=memory_mb // 2 if runs else 0,
        used_disk_mb=4000 if runs else 0, started_s=int(job["running"]) if runs else 0,
        window=batch, window_places=400 if batch else 0, route="",
        host=job["claim"]["host"] if runs else "", hold="",
    )  # fmt: skip


def _slot(
    machine: str, cpus: int, memory_mb: int, group: str, claimed: Counter[str],
    drained: bool = False,
) -> Slot:  # fmt: skip
    used = min(cpus, claimed[machine])
    return Slot(
        machine=machine, cpus=cpus, free_cpus=cpus - used, memory_mb=memory_mb,
        free_memory_mb=memory_mb - used * memory_mb // (cpus * 2), disk_mb=2_000_000,
        free_disk_mb=2_000_000 - used * 8000, load=round(used * 0.83, 1),
        state="Claimed" if used else "Unclaimed", drained=drained, groups=(group,),
    )  # fmt: skip


async def _samples(store: Store, records: Records) -> None:
    """A week, every ten minutes: days busier than nights, a gap when the pool was down."""
    rnd, rows = records.random, []
    for n in range(7 * 144):
        at = records.now_s - n * 600
        if 400 < n < 420:
            continue
        hour = datetime.fromtimestamp(at, UTC).hour
        busy = 0.35 + 0.5 * max(0.0, 1 - abs(hour - 14) / 8)
        running = round(350 * busy * rnd.uniform(0.9, 1.1))
        waiting = round(900 * busy**3 * rnd.uniform(0.7, 1.3))
        rows.append(
            {
                "at": datetime.fromtimestamp(at, UTC), "waiting": waiting, "running": running,
                "cpus": 1472, "cpus_claimed": running * 3,
                "groups": [["bigmem", waiting // 5, running // 6], ["njs", waiting, running]],
            }
        )  # fmt: skip
    await store.samples.insert_many(rows)


async def _limits(engine: Engine) -> None:
    year = time.strftime("%Y-12-31", time.gmtime(time.time() + 40 * 86400))
    await set_user_limit(engine, ROOT, "*", 100, note="The default for everybody")
    await set_user_limit(
        engine, ROOT, "cho", 3, expires=year, note="A course", reason="too many at once"
    )
    await set_user_limit(engine, ROOT, "user12", 0, reason="asked to stop", note=ATTACK)
    await set_time_rule(
        engine, ROOT, "kb_SPAdes.run_SPAdes", "*", 172_800, note="Assemblies take long"
    )
    await set_time_rule(
        engine, ROOT, "kb_Bowtie2.align_reads", "ana", 86_400, reason="endless alignments"
    )
    await set_size(engine, ROOT, "*", {"cpus": 64, "memory_mb": 500_000, "children": 20_000})
    await controls.drain(engine, ROOT, "bigmem", "New disks are put in")
    await announcements.replace(
        engine, ROOT,
        [
            NewAnnouncement(text="No new jobs on Tuesday from 8 to 9: the pool is updated."),
            NewAnnouncement(text=f"Staging is slow today. {ATTACK}", level="warning"),
        ],
    )  # fmt: skip


async def _people(engine: Engine, found: Found) -> None:
    """Messages that ana has got, and older entries of the audit."""
    store, now = engine.store, time.time()
    events = {"failure": ("email",), "batch_done": ("email",)}
    wishes = Wishes(events=events, email="ana@example.org")
    await store.notice_settings.insert_one(
        {"_id": "ana", **wishes.model_dump(), "confirmed": {"email": "ana@example.org"}}
    )
    failed = found.jobs["failed"]
    body: Document = {
        "user": "ana", "job_id": str(failed["_id"]), "app": failed["job_input"]["app_id"],
        "counts": {"error": 1}, "error": failed["errormsg"], "took_s": 610.0, "batch_id": None,
    }  # fmt: skip
    done = {**body, "counts": {"completed": 3}, "error": None, "app": "kb_fastqc/run_fastqc",
            "batch_id": str(found.batches["small"]["_id"])}  # fmt: skip
    told = [
        sending.notice_document("seed.1", "ana", "email", "ana@example.org", "failure", body),
        sending.notice_document("seed.2", "ana", "email", "ana@example.org", "batch_done", done),
    ]
    for n, one in enumerate(told):
        one |= {"state": "sent", "at": now - 4000 * (n + 1)}
    await sending.put(store, told)
    for n, (what, target, reason) in enumerate(_ACTS):
        entry = await audit.begin(store, "root", what, [target], reason)
        await audit.end(store, entry, error="Nobody answers" if n == 4 else None)
        await store.audit.update_one({"_id": entry}, {"$set": {"at": now - (n + 1) * 20_000}})
    for chore in ("reap", "statistics", "retention"):
        await health.note_chore(store, chore, said="Done.", ok=True)


_ACTS = tuple(
    (what, target, reason)
    for n in range(12)
    for what, target, reason in (
        ("execution_engine2.cancel_job", f"66f2a1b3c4d5e6f7081920{n:02x}", "runs in circles"),
        ("set_user_limit", f"user user{n:02d}", "too many at once"),
        ("execution_engine2.retry_job", f"66f2a1b3c4d5e6f7081921{n:02x}", ATTACK),
    )
)
