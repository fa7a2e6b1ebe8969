"""What the pool has, by client group and for all of it: in use, given to jobs, free, drained. Pure.

A machine may serve several client groups, so the groups' figures do not add up to the pool's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, Field

from ee2_jobs.queue.snapshot import Slot, Snapshot, State


class Amounts(BaseModel):
    """Of one resource. total = claimed + free + drained."""

    total: float
    claimed: float = Field(description="given to jobs")
    used: float = Field(description="of it really used, as the machines measure it")
    free: float
    drained: float = Field(description="on machines that take no new jobs, and not claimed")


class GroupCapacity(BaseModel):
    """What a client group, or the whole pool, has."""

    group: str | None = Field(examples=["njs"], description="null: the whole pool")
    cluster: str = Field(examples=["pool"], description="the pool, or where the group's jobs go")
    machines: int = Field(examples=[12])
    cpus: Amounts
    memory_mb: Amounts
    disk_mb: Amounts
    largest: list[int] = Field(
        examples=[[32, 128_000, 900_000]],
        description="the most that a single machine has: cores, memory MB, disk MB",
    )
    drained: bool = Field(description="the group is drained by an administrator")


class Node(BaseModel):
    """A machine."""

    machine: str = Field(examples=["node7"])
    cpus: int
    cpus_claimed: int
    load: float = Field(description="cores that jobs really use")
    memory_mb: int
    memory_claimed_mb: int
    jobs: int
    state: str = Field(examples=["busy"], description="free, busy, full or drained")
    groups: list[str]


def _used(snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    """Memory and disk (MB) that jobs use, by machine, as HTCondor measures it."""
    used: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for job in snapshot.jobs:
        if job.state == State.RUNNING and job.host:
            memory, disk = used[job.host]
            used[job.host] = (memory + job.used_memory_mb, disk + job.used_disk_mb)
    return used


def _amounts(slots: Iterable[tuple[float, float, bool]], used: float) -> Amounts:
    """slots: of each, what it has, what of it is free, and whether it is drained."""
    total = claimed = free = drained = 0.0
    for has, left, is_drained in slots:
        total += has
        claimed += has - left
        if is_drained:
            drained += left
        else:
            free += left
    return Amounts(
        total=total, claimed=claimed, used=round(used, 1), free=free, drained=drained
    )


def _of(
    group: str | None, slots: list[Slot], used: Mapping[str, tuple[int, int]], cluster: str,
    drained: bool,
) -> GroupCapacity:
    machines = {slot.machine for slot in slots}
    of_jobs = [used[name] for name in machines if name in used]
    return GroupCapacity(
        group=group,
        cluster=cluster,
        machines=len(machines),
        cpus=_amounts(
            ((s.cpus, s.free_cpus, s.drained) for s in slots), sum(s.load for s in slots)
        ),
        memory_mb=_amounts(
            ((s.memory_mb, s.free_memory_mb, s.drained) for s in slots), sum(u[0] for u in of_jobs)
        ),
        disk_mb=_amounts(
            ((s.disk_mb, s.free_disk_mb, s.drained) for s in slots), sum(u[1] for u in of_jobs)
        ),
        largest=[
            max((s.cpus for s in slots), default=0),
            max((s.memory_mb for s in slots), default=0),
            max((s.disk_mb for s in slots), default=0),
        ],
        drained=drained,
    )


def capacity(
    snapshot: Snapshot, routes: Mapping[str, str], drained: Iterable[str] = ()
) -> list[GroupCapacity]:
    """First the whole pool, then each group. routes: by client group, where its jobs go (`pool`
    for here: others have none of this pool's machines). drained: groups drained by hand."""
    used = _used(snapshot)
    out = set(drained)
    found = [_of(None, list(snapshot.slots), used, "pool", False)]
    for group, route in routes.items():
        slots = [s for s in snapshot.slots if group in s.groups] if route == "pool" else []
        found.append(_of(group, slots, used, route, group in out))
    return found


def nodes(snapshot: Snapshot) -> list[Node]:
    """The machines, by name."""
    jobs: dict[str, int] = defaultdict(int)
    for job in snapshot.jobs:
        if job.host:
            jobs[job.host] += 1
    by_machine: dict[str, list[Slot]] = defaultdict(list)
    for slot in snapshot.slots:
        by_machine[slot.machine].append(slot)
    found = []
    for machine, slots in sorted(by_machine.items()):
        cpus, free = sum(s.cpus for s in slots), sum(s.free_cpus for s in slots)
        state = "busy" if free < cpus else "free"
        if not free:
            state = "full"
        if all(slot.drained for slot in slots):
            state = "drained"
        memory = sum(s.memory_mb for s in slots)
        found.append(
            Node(
                machine=machine,
                cpus=cpus,
                cpus_claimed=cpus - free,
                load=round(sum(s.load for s in slots), 2),
                memory_mb=memory,
                memory_claimed_mb=memory - sum(s.free_memory_mb for s in slots),
                jobs=jobs[machine],
                state=state,
                groups=sorted({g for s in slots for g in s.groups}),
            )
        )
    return found
