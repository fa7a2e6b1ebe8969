"""Why a job waits: a word for the dashboard, a sentence for people. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ee2_jobs.controls import Control, Controls
from ee2_jobs.limits.users import UserLimits
from ee2_jobs.model import Document, Status
from ee2_jobs.queue.snapshot import PoolJob, Slot, Snapshot, State

# Figures older than this are late: the sampler takes new ones every 5 or every 30 s.
LATE_S = 75.0

CODES: Mapping[str, str] = {
    "preparing": "accepted; not yet handed to the pool",
    "paused": "the engine is paused by an administrator",
    "drained": "its client group is drained by an administrator",
    "limit": "the owner's limit of running jobs is reached",
    "window": "its batch runs as many jobs at a time as it may",
    "release": "nothing holds it back any more; it is about to be released",
    "no_machines": "the client group has no machine now",
    "no_such_slot": "no machine of the client group is large enough",
    "slots_busy": "all machines that could take it are busy",
    "negotiation": "there is room; the pool's next round of matching gives it a place",
    "held": "HTCondor holds it",
    "routed": "it was sent to another cluster and waits there",
    "starting": "the pool has started it; its first report is awaited",
    "leaving": "it is on its way out of the pool",
    "fresh": "handed to the pool after the figures were taken",
    "not_seen": "the pool's queue did not have it",
    "no_figures": "the engine has no figures of the pool",
}


class Reason(NamedTuple):
    """code: one of CODES. text: a sentence or two."""

    code: str
    text: str


def clock(at_s: float) -> str:
    """A time of today as people say it, UTC."""
    return time.strftime("%H:%M UTC", time.gmtime(at_s))


def _because(control: Control) -> str:
    said = f": {control.reason.rstrip('.')}." if control.reason else "."
    return f"{said} Jobs are accepted and will start when that is over."


def _gb(mb: float) -> str:
    return f"{mb:.0f} MB" if mb < 1000 else f"{mb / 1000:.3g} GB"


def plural(count: int, one: str) -> str:
    """A number of things as people write it."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def _size(size: tuple[int, int, int]) -> str:
    cores, memory_mb, disk_mb = size
    return f"{plural(cores, 'core')}, {_gb(memory_mb)} of memory and {_gb(disk_mb)} of disk"


@dataclass(frozen=True)
class Facts:
    """What the reasons are found from, the same for all jobs of a snapshot."""

    snapshot: Snapshot | None
    controls: Controls = field(default_factory=Controls)
    limits: UserLimits = field(default_factory=UserLimits)

    @cached_property
    def slots(self) -> dict[str, list[Slot]]:
        """The slots of each client group."""
        found: dict[str, list[Slot]] = {}
        for slot in self.snapshot.slots if self.snapshot else ():
            for group in slot.groups:
                found.setdefault(group, []).append(slot)
        return found

    def room(self, job: PoolJob) -> int:
        """How many slots of its group could take the job now."""
        return sum(slot.has_room(job.size) for slot in self.slots.get(job.group, ()))

    @cached_property
    def _told(self) -> dict[tuple[object, ...], Reason]:
        return {}

    def of_pool_job(self, job: PoolJob, user: str | None = None, *, mine: bool = False) -> Reason:
        """Why a job that is in the pool's queue does not run. user: its owner, where the pool's
        name for him is not his own; mine: whether he is who reads it."""
        key = (job.state, job.group, job.level, user or job.user, mine, job.size, job.window,
               job.route, job.hold)
        if key not in self._told:
            self._told[key] = self._find(job, user or job.user, mine)
        return self._told[key]

    def _find(self, job: PoolJob, user: str, mine: bool) -> Reason:
        if job.state == State.RUNNING:
            return Reason("starting", "The pool has started the job; its first report is awaited.")
        if job.state == State.HELD:
            why = job.hold.rstrip(".") or "no reason was given"
            return Reason("held", f"HTCondor holds the job: {why}.")
        if job.state == State.OTHER:
            return Reason("leaving", "The job is on its way out of the pool.")
        if self.controls.paused is not None:
            paused = self.controls.paused
            return Reason("paused", f"The engine is paused by {paused.by}{_because(paused)}")
        if (drained := self.controls.drained.get(job.group)) is not None:
            who = f"The client group {job.group} is being emptied by {drained.by}"
            return Reason("drained", f"{who}{_because(drained)}")
        return self._held_back(job, user, mine) if job.state == State.WAITS else self._idle(job)

    def _held_back(self, job: PoolJob, user: str, mine: bool) -> Reason:
        assert self.snapshot is not None
        limit = self.limits.of(user)
        whose = "Your" if mine else "The owner's"
        if limit == 0:
            return Reason("limit", f"{whose} limit is 0: jobs are accepted, and none may start.")
        if limit is not None and self.snapshot.released[job.user, job.level] >= limit:
            text = f"{whose} limit of {plural(limit, 'running job')} is reached."
            return Reason("limit", text)
        places = job.window_places
        if job.window and self.snapshot.active[job.window] >= places:
            text = f"Its batch runs {plural(places, 'job')} at a time, and all places are taken."
            return Reason("window", text)
        return Reason("release", "Nothing holds the job back any more; it is about to be released.")

    def _idle(self, job: PoolJob) -> Reason:
        if job.route:
            return Reason("routed", f"The job was sent by the route {job.route} and waits there.")
        slots = self.slots.get(job.group, [])
        if not slots:
            return Reason(
                "no_machines",
                f"The pool has no machine for the client group {job.group} now. The job starts "
                "when there is one.",
            )
        if not any(slot.holds(job.size) for slot in slots):
            return Reason("no_such_slot", _too_large(job, slots))
        if self.room(job):
            text = "There is room for the job; the pool's next round of matching gives it a place."
            return Reason("negotiation", text)
        return Reason(
            "slots_busy",
            f"All machines of {job.group} that could take the job ({_size(job.size)}) are busy.",
        )

    def of_record(self, record: Document, *, mine: bool = False) -> Reason:
        """Why a job that waits (`created`, `estimating`, `queued`) does not run yet."""
        status, snapshot = record["status"], self.snapshot
        job = snapshot.job(str(record["_id"])) if snapshot else None
        if job is not None:
            return self.of_pool_job(job, record["user"], mine=mine)
        if status != Status.QUEUED.value:
            text = "The job is accepted and being prepared; it is not yet in the pool's queue."
            return Reason("preparing", text)
        if snapshot is None:
            return Reason(
                "no_figures",
                "The engine has no figures of the pool: it does not answer, or was not asked yet. "
                "The job is in its queue.",
            )
        if record.get("queued", 0.0) > snapshot.at_s - 2.0:
            text = "The job has just come into the pool's queue; its place is not known yet."
            return Reason("fresh", text)
        return Reason(
            "not_seen",
            f"The pool's queue did not have the job at {clock(snapshot.at_s)}. It has ended, or "
            "was lost; the engine finds out within a minute.",
        )


def _too_large(job: PoolJob, slots: list[Slot]) -> str:
    largest = (
        max(slot.cpus for slot in slots),
        max(slot.memory_mb for slot in slots),
        max(slot.disk_mb for slot in slots),
    )
    asked = []
    for name, wants, has in (
        ("cores", str(job.cpus), job.size[0] <= largest[0] or str(largest[0])),
        ("memory", _gb(job.memory_mb), job.size[1] <= largest[1] or _gb(largest[1])),
        ("disk", _gb(job.disk_mb), job.size[2] <= largest[2] or _gb(largest[2])),
    ):
        if has is not True:
            asked.append(f"{wants} {'' if name == 'cores' else 'of '}{name}, and the largest "
                         f"machine of {job.group} has {has}")
    what = " and ".join(asked) or f"{_size(job.size)}, and no machine of {job.group} has all of it"
    return (
        f"The job asks for {what}. It cannot start there: cancel it and submit it with less, or "
        "to another client group."
    )
