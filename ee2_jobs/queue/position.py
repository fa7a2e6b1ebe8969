"""Use cases: where a job stands in line, why it waits, when it starts and ends; lines of groups.

Others' jobs are counted, never named. What a job's own reader may know follows `rights`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cachetools import TTLCache
from pydantic import BaseModel, Field

from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, NotFound
from ee2_jobs.identity import Caller
from ee2_jobs.model import LIVE, WAITING, Document, StageName, Status, job_oid, now_s, to_ms
from ee2_jobs.queue.estimate import Pace
from ee2_jobs.queue.expect import Expected, expect, expect_batch
from ee2_jobs.queue.figures import Figures
from ee2_jobs.queue.history import FACTS, app_of, group_of
from ee2_jobs.queue.snapshot import State
from ee2_jobs.rights import Level, find_permitted, permitted, require_admin

MAX_CHILDREN = 20_000
MAX_IDS = 200
# Of a batch: when it ends, and its first job in line. They take a look at all of its live jobs, so
# all who ask within a moment share one.
_KEPT_S = 3.0
_batches: TTLCache[
    tuple[str, str, float | None], tuple[Expected | None, Document | None]
] = TTLCache(1000, _KEPT_S)


class WaitingReason(BaseModel):
    """Why a job waits."""

    code: str = Field(examples=["slots_busy"], description="one of the words listed in the docs")
    text: str = Field(examples=["All machines of njs that could take the job are busy."])


class HitRate(BaseModel):
    """How often such a range was right."""

    of: str = Field(examples=["all apps"], description="the app whose ranges were counted")
    starts: int = Field(examples=[412], description="ranges for a start that were counted")
    start_share: float | None = Field(examples=[0.83], description="of them held")
    ends: int = Field(examples=[380])
    end_share: float | None = Field(examples=[0.79])


class JobQueue(BaseModel):
    """A live job's place, reason and expectation; all of it null for a job that has ended."""

    job_id: str = Field(examples=["66f2a1b3c4d5e6f708192a3b"])
    status: str = Field(examples=["queued"])
    group: str = Field(examples=["njs"], description="its client group")
    position: int | None = Field(examples=[14], description="its place in the group's line, from 1")
    ahead: int | None = Field(examples=[13], description="jobs of the group before it")
    in_line: int | None = Field(examples=[230], description="jobs in the group's line")
    position_overall: int | None = Field(examples=[31], description="its place in the whole pool")
    in_line_overall: int | None = Field(examples=[402])
    text: str | None = Field(examples=["14th of 230 in njs"])
    reason: WaitingReason | None
    expected_start: list[int] | None = Field(
        examples=[[1727186000000, 1727186900000]], description="from, to, ms"
    )
    expected_end: list[int] | None = Field(
        examples=[[1727187000000, 1727190000000]], description="from, to, ms"
    )
    basis: list[str] = Field(
        examples=[["84 jobs ended in njs in the last 40 min", "57 runs of m/f in njs"]],
        description="what the ranges rest on, or why there are none",
    )
    hit_rate: HitRate | None
    as_of: int | None = Field(
        examples=[1727185950123], description="when the pool was looked at, ms; null: never"
    )
    note: str | None = Field(examples=["figures from 14:02 UTC"], description="if they are late")


class JobPlace(BaseModel):
    """A waiting job's place and reason."""

    job_id: str = Field(examples=["66f2a1b3c4d5e6f708192a3b"])
    group: str = Field(examples=["njs"], description="its client group")
    position: int | None = Field(examples=[14], description="its place in the group's line, from 1")
    in_line: int | None = Field(examples=[230], description="jobs in the group's line")
    reason: WaitingReason


class JobPlaces(BaseModel):
    """Where jobs of a list stand; those that do not wait, and batches, are left out."""

    items: list[JobPlace]
    as_of: int | None = Field(description="when the pool was looked at, ms; null: never")
    note: str | None = Field(description="if the figures are late")


class GroupLine(BaseModel):
    """The line of a client group."""

    group: str = Field(examples=["njs"])
    waiting: int = Field(examples=[230])
    held_back: int = Field(
        examples=[120], description="of them by a limit, a window, a pause or a drain"
    )
    running: int = Field(examples=[64])
    oldest: int | None = Field(description="since when the oldest of them waits, ms")
    median_wait_ms: int | None = Field(
        examples=[41_000], description="of the jobs that started in the last hour"
    )
    p90_wait_ms: int | None = Field(examples=[310_000])
    started_last_hour: int = Field(examples=[84])
    drained: bool


class Lines(BaseModel):
    """The lines of all client groups."""

    groups: list[GroupLine]
    paused: bool = Field(description="the engine accepts jobs and starts none")
    as_of: int | None
    note: str | None


async def job_queue(
    engine: Engine, figures: Figures, caller: Caller, job_id: Any, *, as_admin: bool = False
) -> JobQueue:
    """Of a job that the caller may read; errors as `find_permitted`. Of a batch's parent the place
    and reason of its first child in line, and the end of the whole batch."""
    fields = {**FACTS, "wsid": 1, "authstrat": 1, "shared": 1, "batch_job": 1, "time_limit_s": 1}
    job = await find_permitted(
        engine, caller, job_id, Level.READ, as_admin=as_admin, projection=fields
    )
    default = engine.groups.default
    now = now_s()
    if job.get("batch_job"):
        key = (engine.store.db.name, str(job["_id"]), figures.at_s)
        if (kept := _batches.get(key)) is None:
            children = await _live_children(engine, str(job["_id"]))
            end = expect_batch(children, figures.facts, figures.history, default, now)
            waiting = [c for c in children if c["status"] != Status.RUNNING.value]
            kept = end if children else None, _first_in_line(figures, waiting)
            _batches[key] = kept
        expected, first = kept
        return _answer(figures, caller, job, first or job, expected, default)
    live = job["status"] in LIVE
    found = expect(job, figures.facts, figures.history, default, now) if live else None
    return _answer(figures, caller, job, job, found, default)


async def job_places(
    engine: Engine, figures: Figures, caller: Caller, job_ids: Sequence[str], *,
    as_admin: bool = False,
) -> JobPlaces:
    """Of those of these jobs (MAX_IDS at most) that wait, where they stand and why; jobs that the
    caller may not read are left out as those that are not there."""
    if as_admin:
        require_admin(caller, Level.READ)
    if not 0 < len(job_ids) <= MAX_IDS:
        raise InvalidInput(f"ids must name 1 to {MAX_IDS} jobs, separated by commas")
    oids = [job_oid(one) for one in job_ids]
    fields = [*FACTS, "wsid", "authstrat", "shared"]
    jobs = await engine.store.jobs.find(
        {
            "_id": {"$in": oids},
            "status": {"$in": list(WAITING)},
            "batch_job": {"$ne": True},
        },
        fields,
    ).to_list()
    if not as_admin:
        readable = await permitted(engine, caller, jobs, Level.READ, oids)
        jobs = [job for job in jobs if str(job["_id"]) in readable]
    default = engine.groups.default
    answers = [_answer(figures, caller, job, job, None, default) for job in jobs]
    return JobPlaces(
        items=[
            JobPlace(
                job_id=one.job_id, group=one.group, position=one.position, in_line=one.in_line,
                reason=one.reason,
            )
            for one in answers
            if one.reason is not None
        ],
        as_of=to_ms(figures.at_s) if figures.at_s is not None else None,
        note=figures.note,
    )


async def _live_children(engine: Engine, batch_id: str) -> list[Document]:
    return await (
        engine.store.jobs.find(
            {
                "batch_id": batch_id,
                "role": StageName.SUBMIT.value,
                "status": {"$in": list(LIVE)},
                "superseded": {"$ne": True},
            },
            FACTS,
        )
        .limit(MAX_CHILDREN)
        .to_list()
    )


def _first_in_line(figures: Figures, waiting: list[Document]) -> Document | None:
    snapshot = figures.facts.snapshot
    if not waiting:
        return None
    if snapshot is None:
        return waiting[0]
    index = snapshot.index
    return min(waiting, key=lambda c: index.get(str(c["_id"]), len(index)))


def _answer(
    figures: Figures,
    caller: Caller,
    job: Document,
    shown: Document,
    expected: Expected | None,
    default: str,
) -> JobQueue:
    snapshot, group = figures.facts.snapshot, group_of(shown, default)
    waits = shown["status"] in LIVE and shown["status"] != Status.RUNNING.value
    waits = waits and not shown.get("batch_job")
    place = snapshot.place(str(shown["_id"])) if snapshot and waits else None
    in_line = snapshot.in_line[group] if snapshot and place else None
    reason = None
    if waits:
        code, text = figures.facts.of_record(shown, mine=shown["user"] == caller.user)
        reason = WaitingReason(code=code, text=text)
    hits = None
    if expected is not None and (expected.start or expected.end):
        counted, whose = figures.history.hits_of(app_of(shown))
        hits = HitRate(
            of=whose,
            starts=counted.starts,
            start_share=_share(counted.start_hits, counted.starts),
            ends=counted.ends,
            end_share=_share(counted.end_hits, counted.ends),
        )
    return JobQueue(
        job_id=str(job["_id"]),
        status=job["status"],
        group=group,
        position=place.in_group if place else None,
        ahead=place.in_group - 1 if place else None,
        in_line=in_line,
        position_overall=place.overall if place else None,
        in_line_overall=len(snapshot.places) if snapshot and place else None,
        text=f"{_ordinal(place.in_group)} of {in_line:,} in {group}" if place else None,
        reason=reason,
        expected_start=_ms(expected.start) if expected else None,
        expected_end=_ms(expected.end) if expected else None,
        basis=list(expected.basis) if expected else [],
        hit_rate=hits,
        as_of=to_ms(figures.at_s) if figures.at_s is not None else None,
        note=figures.note,
    )


def _share(hits: int, of: int) -> float | None:
    return round(hits / of, 3) if of else None


def _ms(found: tuple[float, float] | None) -> list[int] | None:
    return [to_ms(found[0]), to_ms(found[1])] if found else None


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n:,}{ending}"


def lines(engine: Engine, figures: Figures) -> Lines:
    """The lines of all client groups, in the order of their file."""
    known = list(engine.groups.groups)
    snapshot = figures.facts.snapshot
    if snapshot is not None:
        known += sorted({*snapshot.in_line, *snapshot.running} - set(known))
    oldest: dict[str, int] = {}
    held_back: dict[str, int] = {}
    for job in snapshot.jobs[: len(snapshot.places)] if snapshot else ():
        oldest[job.group] = min(job.queued_s, oldest.get(job.group, job.queued_s))
        held_back[job.group] = held_back.get(job.group, 0) + (job.state == State.WAITS)
    found = []
    for group in known:
        waits = figures.history.waits.get(group)
        found.append(
            GroupLine(
                group=group,
                waiting=snapshot.in_line[group] if snapshot else 0,
                held_back=held_back.get(group, 0),
                running=snapshot.running[group] if snapshot else 0,
                oldest=to_ms(oldest[group]) if group in oldest else None,
                median_wait_ms=to_ms(waits.quantile(0.5)) if waits else None,
                p90_wait_ms=to_ms(waits.quantile(0.9)) if waits else None,
                started_last_hour=figures.history.pace.get(group, Pace()).hour,
                drained=group in figures.facts.controls.drained,
            )
        )
    return Lines(
        groups=found,
        paused=figures.facts.controls.paused is not None,
        as_of=to_ms(figures.at_s) if figures.at_s is not None else None,
        note=figures.note,
    )


def line(engine: Engine, figures: Figures, group: str) -> GroupLine:
    """The line of one client group; NotFound for one that there is not."""
    for found in lines(engine, figures).groups:
        if found.group == group:
            return found
    names = ", ".join(engine.groups.groups)
    raise NotFound(f"There is no client group '{group}': the groups are {names}")
