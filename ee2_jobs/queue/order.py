"""The order in which the jobs in line will start: exact within a user, a model between users.

HTCondor takes a user's jobs by priority, then age (ClusterId, ProcId): that is exact. Between users
its negotiator gives each a slice of the pool in proportion to 1 / effective priority, and what runs
already counts against the slice. The model follows the slices: the next place in line goes to the
user who would then have the least for his share. What it cannot know: machines that fit only some
jobs, claims that a user's next job takes over, priorities that change as usage does (ADR 0021).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ee2_jobs.queue.snapshot import PoolJob, Share, Slot, Snapshot, State

# The negotiator's best priority: of a user who used nothing for long (half a core, factor 1000).
FRESH_PRIORITY = 500.0


def line_up(
    at_s: float,
    jobs: Iterable[PoolJob],
    slots: Iterable[Slot] = (),
    shares: Mapping[str, Share] | None = None,
) -> Snapshot:
    """A snapshot with its jobs in order: those that may start, then those that the engine holds
    back, then all others."""
    by_state: dict[str, list[PoolJob]] = defaultdict(list)
    for job in jobs:
        by_state[job.state].append(job)
    shares = shares or {}
    in_use: dict[str, float] = defaultdict(float)
    for job in by_state[State.RUNNING]:
        in_use[job.submitter] += job.cpus
    line = [
        *_interleave(by_state.pop(State.IDLE, []), shares, in_use),
        *_interleave(by_state.pop(State.WAITS, []), shares, in_use),
    ]
    rest = [job for state in sorted(by_state) for job in by_state[state]]
    return Snapshot(at_s, (*line, *rest), tuple(slots), shares)


def _own_order(job: PoolJob) -> tuple[int, int, int]:
    return (-job.priority, job.cluster, job.proc)


def _interleave(
    jobs: Sequence[PoolJob], shares: Mapping[str, Share], in_use: dict[str, float]
) -> list[PoolJob]:
    """The jobs in order. in_use: cores by submitter; what is put in line is added."""
    own: dict[str, list[PoolJob]] = defaultdict(list)
    for job in jobs:
        own[job.submitter].append(job)
    heads: list[tuple[float, float, int, int, str]] = []

    def push(submitter: str) -> None:
        if own[submitter]:
            share = shares.get(submitter)
            priority = share.priority if share else FRESH_PRIORITY
            head = own[submitter][-1]
            had = (in_use[submitter] + head.cpus) * priority
            heapq.heappush(heads, (had, priority, head.cluster, head.proc, submitter))

    for submitter, waiting in own.items():
        waiting.sort(key=_own_order, reverse=True)
        push(submitter)
    line = []
    while heads:
        submitter = heapq.heappop(heads)[-1]
        job = own[submitter].pop()
        in_use[submitter] += job.cpus
        line.append(job)
        push(submitter)
    return line
