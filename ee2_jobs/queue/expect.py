"""From the figures to what is told of one job: when it is expected to start and to end. Pure.

A job may stand in several lines at once, one after the other really: of its user's limit, of its
batch's window, of its client group. The slowest of them tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ee2_jobs.model import Document, Status
from ee2_jobs.queue.estimate import (
    CYCLE_S,
    Busy,
    Line,
    Pace,
    Range,
    batch_end,
    in_group_line,
    in_own_line,
    latest,
    next_run,
    one_after_another,
    remaining,
)
from ee2_jobs.queue.history import History, app_of, group_of
from ee2_jobs.queue.reason import Facts, plural
from ee2_jobs.queue.snapshot import PoolJob, State

# Nobody can say when these end: no range is given.
NO_TELLING = (
    "paused", "drained", "held", "no_machines", "no_such_slot", "routed", "not_seen", "no_figures",
)


@dataclass(frozen=True)
class Expected:
    """start, end: s since the epoch, None if nothing can be said. basis: what they rest on, or why
    there are none, a line for people each."""

    start: tuple[float, float] | None
    end: tuple[float, float] | None
    basis: tuple[str, ...]


def expect(record: Document, facts: Facts, history: History, default: str, now: float) -> Expected:
    """What is expected of a live job. default: the default client group's name."""
    group, app = group_of(record, default), app_of(record)
    known = history.runs_of(app, group)
    if record["status"] == Status.RUNNING.value:
        began = record.get("running", now)
        if known is None:
            return Expected(None, None, ("nothing is known of runs of this app",))
        rest = remaining(known[0], now - began)
        if rest is None:
            return Expected(None, None, (f"it runs longer than {known[1]}",))
        limit_s = record.get("time_limit_s")
        return Expected(None, _absolute(rest, now, began + limit_s if limit_s else None),
                        (known[1],))
    reason = facts.of_record(record)
    if reason.code in NO_TELLING:
        return Expected(None, None, ("until this is over nobody can say",))
    line = _lines(record, facts, history, group, known[0].mean_s if known else None, now)
    if line is None:
        return Expected(None, None, (f"nothing is known of how fast {group} starts jobs",))
    start = _absolute(line.range, now)
    if known is None:
        return Expected(start, None, (line.basis, "nothing is known of runs of this app"))
    end = one_after_another(line.range, next_run(known[0]))
    return Expected(start, _absolute(end, now), (line.basis, known[1]))


def _absolute(found: Range, now: float, limit: float | None = None) -> tuple[float, float]:
    low, high = now + found.lo_s, now + found.hi_s
    return (min(low, limit), min(high, limit)) if limit is not None else (low, high)


def _lines(
    record: Document,
    facts: Facts,
    history: History,
    group: str,
    run_s: float | None,
    now: float,
) -> Line | None:
    """The range for the start, over all lines that the job stands in."""
    snapshot = facts.snapshot
    if snapshot is None:
        return None
    job_id = str(record["_id"])
    job, place = snapshot.job(job_id), snapshot.place(job_id)
    if job is not None and place is None:  # it is being started
        return Line(Range(0.0, CYCLE_S), "the pool has started it")
    in_line = place.in_group if place else snapshot.in_line[group] + 1
    lines: list[Line] = []
    room = _room(facts, job, group)
    if room >= in_line and (job is None or job.state == State.IDLE):
        return Line(Range(0.0, CYCLE_S), "there is room for it")
    pace = history.pace.get(group, Pace())
    if room < in_line:
        busy = Busy(
            group, snapshot.running[group] + room, now, snapshot.in_line_since.get(group, now)
        )
        group_line = in_group_line(in_line - room, busy, pace)
        if group_line is None:
            return None
        lines.append(group_line)
    if job is not None and job.state == State.WAITS:
        lines += _own_lines(record, facts, job, run_s or pace.mean_run_s)
    if not lines:
        return Line(Range(0.0, CYCLE_S), "there is room for it")
    return Line(latest([one.range for one in lines]), "; ".join(one.basis for one in lines))


def _room(facts: Facts, job: PoolJob | None, group: str) -> int:
    """How many jobs of this size the group could take now."""
    slots = facts.slots.get(group, ())
    size = job.size if job else (1, 1, 1)
    return sum(
        min(
            slot.free_cpus // max(1, size[0]),
            slot.free_memory_mb // max(1, size[1]),
            slot.free_disk_mb // max(1, size[2]),
        )
        for slot in slots
        if slot.has_room(size)
    )


def _own_lines(record: Document, facts: Facts, job: PoolJob, run_s: float | None) -> list[Line]:
    snapshot = facts.snapshot
    assert snapshot is not None
    of_user, of_window = snapshot.held_back[snapshot.index[job.job_id]]
    lines = []
    limit = facts.limits.of(record["user"])
    free = limit - snapshot.released[job.user, job.level] if limit is not None else of_user
    if limit is not None and of_user > free and run_s:
        lines.append(in_own_line(of_user - max(0, free), limit, run_s,
                                 f"{plural(limit, 'job')} of the owner at a time"))
    places = job.window_places
    free = places - snapshot.active[job.window] if job.window else of_window
    if of_window > free and run_s:
        lines.append(in_own_line(of_window - max(0, free), places, run_s,
                                 f"{plural(places, 'job')} of the batch at a time"))
    return [line for line in lines if line is not None]


def expect_batch(
    children: Sequence[Document], facts: Facts, history: History, default: str, now: float
) -> Expected:
    """When the last of these children, those that are still live, will have ended."""
    if not children:
        return Expected(None, None, ("nothing is left to run",))
    group, app = group_of(children[0], default), app_of(children[0])
    known = history.runs_of(app, group)
    if known is None:
        return Expected(None, None, ("nothing is known of runs of this app",))
    waiting = [c for c in children if c["status"] != Status.RUNNING.value]
    if waiting:
        reason = facts.of_record(waiting[0])
        if reason.code in NO_TELLING:
            return Expected(None, None, ("until this is over nobody can say",))
    runs = [c for c in children if c["status"] == Status.RUNNING.value]
    running = [now - c.get("running", now) for c in runs]
    first = expect(waiting[0], facts, history, default, now) if waiting else None
    fewest, most = _parallel(children, len(running), facts, group)
    found = batch_end(len(waiting), running, (fewest, most), known[0])
    if first is not None and first.start is not None and not running:
        begin = Range(first.start[0] - now, first.start[1] - now)
        found = one_after_another(begin, found)
    at_a_time = f"{fewest} to {most} at a time" if fewest < most else f"{most} at a time"
    basis = (f"{plural(len(children), 'job')} left, {at_a_time}", known[1])
    return Expected(None, _absolute(found, now), basis)


def _parallel(
    children: Sequence[Document], running: int, facts: Facts, group: str
) -> tuple[int, int]:
    """How many children run at a time, at least and at most: as the records say, as the pool says
    (a runner that starts is some seconds later on the records), and what there is room for."""
    found = [running]
    if facts.snapshot is not None:
        jobs = [facts.snapshot.job(str(child["_id"])) for child in children]
        in_pool = sum(job is not None and job.state == State.RUNNING for job in jobs)
        room = _room(facts, next(filter(None, jobs), None), group)
        found += [in_pool, in_pool + room]
        if not any(found[:2]):  # it has not begun: at most all places of its group, later
            found.append(max(1, (facts.snapshot.running[group] + room) // 2))
            found.append(facts.snapshot.running[group] + room)
    fewest = min((n for n in found if n), default=1)
    return min(fewest, len(children)), max(fewest, min(len(children), max(found)))
