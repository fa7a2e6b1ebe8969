"""The status page: is each part well, how are the lines, how was the week. One document for all.

Lights: `ok`, `warning`, `bad`, `unknown`; each with a sentence. It is made once for all who ask
within `KEEP_S`. What names people, and the report on the engine's health, administrators see.
"""

from __future__ import annotations

import asyncio
import time

from pydantic import BaseModel, Field
from pymongo.errors import PyMongoError

from ee2_jobs import health, outbox, silent
from ee2_jobs.engine import Engine
from ee2_jobs.model import LIVE, Document, now_s, to_ms
from ee2_jobs.queue import announcements, samples
from ee2_jobs.queue.announcements import Announcement
from ee2_jobs.queue.figures import Figures, FiguresReader
from ee2_jobs.queue.position import GroupLine, lines
from ee2_jobs.queue.reason import LATE_S, clock, plural

KEEP_S = 5.0
CHART_KEEP_S = 300.0
# Nothing is told of the background of the engine for longer than this: it does not work.
SILENT_S = 120.0
# A submission that is accepted and not started for longer is late, s.
START_S = 60.0
MAX_LATE = 1000
MAX_USERS = 10_000


class Part(BaseModel):
    """A part of the engine and how it is."""

    part: str = Field(
        examples=["workers"],
        description="submission, scheduler, workers, storage, log, client_groups, outbox",
    )
    light: str = Field(examples=["ok"], description="ok, warning, bad or unknown")
    text: str = Field(examples=["12 machines with 384 cores, 301 of them in use."])


class HealthReport(BaseModel):
    """The newest daily report on the engine's health."""

    day: str = Field(examples=["2026-11-22"])
    at: int = Field(examples=[1727185950123], description="when it was made, ms")
    problems: list[str] = Field(
        examples=[["The chore reap failed 12 min ago: the pool does not answer"]],
        description="what somebody should look after",
    )
    lines: list[str] = Field(
        examples=[["In 24 hours 312 jobs ended: 290 completed, 12 failed, 10 were cancelled."]],
        description="the facts",
    )


class Status(BaseModel):
    """The status page."""

    parts: list[Part]
    paused: bool
    groups: list[GroupLine]
    waiting: int = Field(examples=[230])
    running: int = Field(examples=[64])
    started_last_hour: int = Field(examples=[312], description="in all client groups")
    active_users: int = Field(examples=[41], description="users with jobs that have not ended")
    active_user_names: list[str] | None = Field(
        default=None, description="for administrators; null for others"
    )
    health: HealthReport | None = Field(
        default=None, description="for administrators; null for others, and if there is none yet"
    )
    chart: list[list[float]] = Field(
        examples=[[[1727185800000, 12.5, 31.0, 64]]],
        description="seven days by the half hour: ms, waiting, running, cores (means)",
    )
    announcements: list[Announcement]
    as_of: int | None = Field(description="when the pool was looked at, ms")
    note: str | None = Field(examples=["figures from 14:02 UTC"])


class StatusPage:
    """Makes the page, once for all who ask. One per process."""

    def __init__(self, engine: Engine, reader: FiguresReader) -> None:
        self._engine = engine
        self._reader = reader
        self._line = asyncio.Lock()
        self._made = self._charted = -1e9
        self._page: Status | None = None
        self._chart: list[list[float]] = []

    def forget(self) -> None:
        """Make it anew when it is asked for next."""
        self._made = -1e9

    async def current(self, *, for_admin: bool) -> Status:
        """The page, at most KEEP_S old; for administrators with the names of active users and the
        report on the engine's health."""
        async with self._line:
            if self._page is None or time.monotonic() - self._made >= KEEP_S:
                self._page = await self._make()
                self._made = time.monotonic()
            page = self._page
        if for_admin:
            return page
        return page.model_copy(update={"active_user_names": None, "health": None})

    async def _make(self) -> Status:
        store = self._engine.store
        figures = await self._reader.current()
        if time.monotonic() - self._charted >= CHART_KEEP_S:
            self._chart = await samples.chart(store, now_s())
            self._charted = time.monotonic()
        users = await store.jobs.distinct("user", {"status": {"$in": list(LIVE)}})
        found = lines(self._engine, figures)
        return Status(
            parts=await parts(self._engine, figures),
            paused=found.paused,
            groups=found.groups,
            waiting=sum(group.waiting for group in found.groups),
            running=sum(group.running for group in found.groups),
            started_last_hour=sum(group.started_last_hour for group in found.groups),
            active_users=len(users),
            active_user_names=sorted(users)[:MAX_USERS],
            health=_told(await health.latest(store)),
            chart=self._chart,
            announcements=await announcements.current(store),
            as_of=found.as_of,
            note=found.note,
        )


def _told(report: health.Health | None) -> HealthReport | None:
    if report is None:
        return None
    return HealthReport(
        day=report.day, at=to_ms(report.at_s), problems=list(report.problems),
        lines=list(report.lines),
    )  # fmt: skip


async def parts(engine: Engine, figures: Figures) -> list[Part]:
    """How each part is."""
    store, now = engine.store, now_s()
    began = time.monotonic()
    await store.db.command("ping")
    ping_ms = (time.monotonic() - began) * 1000
    pool_mark, parts_mark = await samples.marks(store)
    late = await store.submissions.count_documents(
        {"status": "accepted", "accepted": {"$lt": now - START_S}}, limit=MAX_LATE
    )
    waits = await outbox.waiting(store)
    return [
        _submission(figures, late),
        _scheduler(parts_mark, now),
        _workers(figures, pool_mark, now),
        _storage(ping_ms),
        await _log(engine, figures),
        _groups(engine.groups.problem or parts_mark.get("groups_problem")),
        _outbox(waits),
    ]


def _submission(figures: Figures, late: int) -> Part:
    paused = figures.facts.controls.paused
    if late:
        many = f"{late:,}{'+' if late >= MAX_LATE else ''}"
        text = f"{many} accepted submissions wait for more than a minute to be started."
        return Part(part="submission", light="bad" if late > 20 else "warning", text=text)
    if paused is not None:
        why = f": {paused.reason}" if paused.reason else ""
        return Part(
            part="submission", light="warning",
            text=f"Jobs are accepted and not started: the engine is paused{why}.",
        )
    return Part(part="submission", light="ok", text="Jobs are accepted and started at once.")


def _scheduler(mark: Document, now: float) -> Part:
    name = "scheduler"
    if not mark:
        return Part(part=name, light="unknown", text="Nothing was told of Airflow yet.")
    if now - mark["at"] > SILENT_S:
        return Part(
            part=name, light="bad",
            text=f"The engine's part in Airflow's triggerer was last heard of at "
            f"{clock(mark['at'])}: look whether the triggerer runs.",
        )
    if mark["airflow"] is None:
        return Part(part=name, light="warning", text="Airflow does not tell how its parts are.")
    ill = sorted(part for part, state in mark["airflow"].items() if state != "healthy")
    if ill:
        return Part(part=name, light="bad", text=f"Airflow says of {', '.join(ill)}: not healthy.")
    return Part(part=name, light="ok", text="All parts of Airflow are healthy.")


def _workers(figures: Figures, mark: Document, now: float) -> Part:
    snapshot = figures.facts.snapshot
    if mark.get("problem") and now - mark["at"] <= SILENT_S:
        since = clock(mark["since"])
        text = f"The pool does not answer since {since}."
        return Part(part="workers", light="bad", text=text)
    if snapshot is None:
        return Part(part="workers", light="unknown", text="The pool was not looked at yet.")
    if now - snapshot.at_s > max(LATE_S, SILENT_S):
        text = f"The pool was last looked at at {clock(snapshot.at_s)}."
        return Part(part="workers", light="unknown", text=text)
    machines = {slot.machine for slot in snapshot.slots if not slot.drained}
    if not machines:
        return Part(part="workers", light="bad", text="The pool has no machine that takes jobs.")
    cpus = sum(slot.cpus for slot in snapshot.slots if not slot.drained)
    busy = sum(slot.cpus - slot.free_cpus for slot in snapshot.slots if not slot.drained)
    drained = len({slot.machine for slot in snapshot.slots} - machines)
    without = sorted(figures.facts.controls.drained)
    text = f"{plural(len(machines), 'machine')} with {plural(cpus, 'core')}, {busy} of them in use."
    if drained:
        text += f" {plural(drained, 'machine')} being emptied."
    if without:
        text += f" Drained client groups: {', '.join(without)}."
    return Part(part="workers", light="warning" if without or drained else "ok", text=text)


def _storage(ping_ms: float) -> Part:
    light = "ok" if ping_ms < 1000 else "warning"
    return Part(part="storage", light=light, text=f"The database answers in {ping_ms:.0f} ms.")


async def _log(engine: Engine, figures: Figures) -> Part:
    snapshot = figures.facts.snapshot
    runs = snapshot is not None and any(snapshot.running.values())
    try:
        listened_s = await silent.listened_s(engine.store)
    except PyMongoError:
        listened_s = 0.0
    if listened_s == 0.0 and runs:
        return Part(
            part="log", light="bad",
            text="Nobody takes in what running jobs report: look whether the API server runs.",
        )
    return Part(part="log", light="ok", text="Logs and reports of running jobs are taken in.")


def _groups(problem: str | None) -> Part:
    if problem:
        # Where and what is for administrators: `/groups` and the log tell them.
        text = "The file of client groups has an error; the last good one is in force."
        return Part(part="client_groups", light="warning", text=text)
    return Part(part="client_groups", light="ok", text="The file of client groups is in force.")


def _outbox(waits: list[outbox.Waiting]) -> Part:
    late = [outbox.sentence(one) for one in waits if one.late]
    if late:
        return Part(part="outbox", light="warning", text=f"{'; '.join(late)}.")
    count = sum(one.count for one in waits)
    text = f"{plural(count, 'message')} for other services wait." if count else (
        "Everything was told to other services."
    )
    return Part(part="outbox", light="ok", text=text)
