"""The administrators' overview: capacity, nodes, what waits and why, who and what stands out. One
document for all who ask within `KEEP_S`."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter, defaultdict

from bson import ObjectId
from pydantic import BaseModel, Field

from ee2_jobs import silent
from ee2_jobs.call_counts import Calls, last_minutes
from ee2_jobs.engine import Engine
from ee2_jobs.model import Document, to_ms
from ee2_jobs.queue.capacity import GroupCapacity, Node, capacity, nodes
from ee2_jobs.queue.figures import Figures, FiguresReader
from ee2_jobs.queue.history import FACTS, app_of
from ee2_jobs.queue.snapshot import PoolJob, Snapshot, State

KEEP_S = 5.0
TEN = 10
SILENT_S = 60.0
MAX_SILENT = 100
# More machines than this are no heads-up display; the rest is counted in `capacity`.
MAX_NODES = 2000


class WaitingFor(BaseModel):
    """Jobs that wait for the same reason."""

    code: str = Field(examples=["limit"])
    count: int = Field(examples=[120])
    groups: dict[str, int] = Field(examples=[{"njs": 100, "bigmem": 20}])
    example: str = Field(examples=["The owner's limit of 5 running jobs is reached."])


class Standing(BaseModel):
    """A job that stands out."""

    job_id: str = Field(examples=["66f2a1b3c4d5e6f708192a3b"])
    user: str = Field(examples=["ana"])
    app: str = Field(examples=["kb_Msuite/run_checkM"])
    group: str = Field(examples=["njs"])
    since: int = Field(description="when it began to wait, to run, or to be silent, ms")
    reason: str | None = Field(default=None, description="of a job that waits: the reason's code")
    host: str | None = Field(default=None, examples=["node7"])


class UserLoad(BaseModel):
    """What a user has in the pool."""

    user: str = Field(examples=["ana"])
    running: int
    waiting: int
    cpus: int = Field(description="of the running jobs")
    priority: float | None = Field(
        description="the negotiator's effective priority: lower is served first"
    )


class AppFailures(BaseModel):
    """How often an app failed."""

    app: str = Field(examples=["kb_Msuite/run_checkM"])
    ended_hour: int
    failed_hour: int
    ended_week: int
    failed_week: int
    unusual: bool = Field(
        description="fails far more often now than in its week (3 or more failures in the hour)"
    )


class Overview(BaseModel):
    """The heads-up display."""

    capacity: list[GroupCapacity]
    nodes: list[Node]
    waiting: list[WaitingFor]
    longest_running: list[Standing]
    longest_waiting: list[Standing]
    largest_users: list[UserLoad]
    failures: list[AppFailures]
    silent: list[Standing] = Field(description="running jobs not heard of for 60 s")
    calls: list[Calls] = Field(
        description="of the API, all processes, in the last ten whole minutes, oldest first"
    )
    as_of: int | None
    note: str | None


class OverviewPage:
    """Makes the overview, once for all who ask. One per process."""

    def __init__(self, engine: Engine, reader: FiguresReader) -> None:
        self._engine = engine
        self._reader = reader
        self._line = asyncio.Lock()
        self._made = -KEEP_S
        self._page: Overview | None = None

    async def current(self) -> Overview:
        """The overview, at most KEEP_S old. Who may see it is the caller's business."""
        async with self._line:
            if self._page is None or time.monotonic() - self._made >= KEEP_S:
                self._page = await _make(self._engine, await self._reader.current())
                self._made = time.monotonic()
            return self._page


def routes_of(engine: Engine) -> dict[str, str]:
    """Where the jobs of each client group go."""
    return {name: group.route for name, group in engine.groups.groups.items()}


async def _make(engine: Engine, figures: Figures) -> Overview:
    snapshot = figures.facts.snapshot or Snapshot(0.0, ())
    running = [job for job in snapshot.jobs if job.state == State.RUNNING]
    long_running = heapq.nsmallest(TEN, running, key=lambda job: job.started_s)
    waiting = list(snapshot.jobs[: len(snapshot.places)])
    long_waiting = heapq.nsmallest(TEN, waiting, key=lambda job: job.queued_s)
    quiet = await silent.silent_jobs(engine.store, SILENT_S, MAX_SILENT)
    ids = {job.job_id for job in (*long_running, *long_waiting)} | {str(j["_id"]) for j in quiet}
    records = await _records(engine, ids)
    reasons = await asyncio.to_thread(by_reason, figures, waiting)
    drained = figures.facts.controls.drained
    return Overview(
        capacity=capacity(snapshot, routes_of(engine), drained),
        nodes=nodes(snapshot)[:MAX_NODES],
        waiting=reasons,
        longest_running=[_standing(job, records, job.started_s) for job in long_running],
        longest_waiting=[
            _standing(job, records, job.queued_s, figures.facts.of_pool_job(job).code)
            for job in long_waiting
        ],
        largest_users=largest_users(snapshot),
        failures=failures(figures),
        silent=[
            Standing(
                job_id=str(job["_id"]),
                user=records.get(str(job["_id"]), {}).get("user", ""),
                app=app_of(records.get(str(job["_id"]), {})),
                group=_group(snapshot, str(job["_id"]), engine.groups.default),
                since=to_ms(silent.last_sign_s(job)),
                host=(job.get("claim") or {}).get("host"),
            )
            for job in quiet
        ],
        calls=await last_minutes(engine.store),
        as_of=to_ms(figures.at_s) if figures.at_s is not None else None,
        note=figures.note,
    )


async def _records(engine: Engine, ids: set[str]) -> dict[str, Document]:
    oids = [ObjectId(i) for i in ids if ObjectId.is_valid(i)]
    found = engine.store.jobs.find({"_id": {"$in": oids}}, FACTS)
    return {str(job["_id"]): job async for job in found}


def _group(snapshot: Snapshot, job_id: str, default: str) -> str:
    job = snapshot.job(job_id)
    return job.group if job else default


def _standing(
    job: PoolJob, records: dict[str, Document], since_s: float, reason: str | None = None
) -> Standing:
    record = records.get(job.job_id, {})
    return Standing(
        job_id=job.job_id,
        user=record.get("user", job.user),
        app=app_of(record),
        group=job.group,
        since=to_ms(since_s),
        reason=reason,
        host=job.host or None,
    )


def by_reason(figures: Figures, waiting: list[PoolJob]) -> list[WaitingFor]:
    """Why the jobs in line and those that HTCondor holds wait, the commonest reason first."""
    snapshot = figures.facts.snapshot
    held = [job for job in snapshot.jobs if job.state == State.HELD] if snapshot else []
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    examples: dict[str, str] = {}
    for job in (*waiting, *held):
        code, text = figures.facts.of_pool_job(job)
        counts[code][job.group] += 1
        examples.setdefault(code, text)
    found = [
        WaitingFor(code=code, count=sum(groups.values()), groups=dict(groups.most_common()),
                   example=examples[code])
        for code, groups in counts.items()
    ]
    return sorted(found, key=lambda one: (-one.count, one.code))


def largest_users(snapshot: Snapshot) -> list[UserLoad]:
    """The ten users with the most cores, then with the most jobs in line."""
    cpus: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    waits: Counter[str] = Counter()
    submitters: dict[str, str] = {}
    for job in snapshot.jobs:
        submitters[job.user] = job.submitter
        if job.state == State.RUNNING:
            cpus[job.user] += job.cpus
            runs[job.user] += 1
        elif job.state in (State.IDLE, State.WAITS):
            waits[job.user] += 1
    users = heapq.nsmallest(
        TEN, {*cpus, *waits}, key=lambda user: (-cpus[user], -waits[user], user)
    )
    found = []
    for user in users:
        share = snapshot.shares.get(submitters[user])
        found.append(
            UserLoad(user=user, running=runs[user], waiting=waits[user], cpus=cpus[user],
                     priority=round(share.priority, 1) if share else None)
        )
    return found


def failures(figures: Figures) -> list[AppFailures]:
    """Apps that ended in the last hour, those with the most failures first."""
    found = []
    for app, (ended, failed, week, week_failed) in figures.history.failures.items():
        if not ended:
            continue
        usual = week_failed / week if week else 0.0
        unusual = failed >= 3 and failed / ended > max(2 * usual, usual + 0.2)
        found.append(
            AppFailures(app=app, ended_hour=ended, failed_hour=failed, ended_week=week,
                        failed_week=week_failed, unusual=unusual)
        )
    found.sort(key=lambda one: (-one.unusual, -one.failed_hour, -one.ended_hour, one.app))
    return found[:50]
