"""A range for a job's start and for its end, from what happened lately. Pure.

A range is meant to hold four times out of five (`COVERAGE`): one time in ten it is earlier, one
time in ten later. How often that was so is counted (`history.py`) and told with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

COVERAGE = 0.8
_Z = 1.2816  # of the normal distribution, for a tenth on either side
MARKS = 100  # a history of more values is kept as its percentiles
# Below so many runs the smallest and the largest of them are no safe bounds, and are widened.
FEW = 9
# A job for which there is room starts in one of the pool's next rounds of matching, s.
CYCLE_S = 60.0
# Fewer ends tell nothing of how fast a group works.
ENOUGH_ENDS = 8
# So many runs long a line must have been for that: at first nothing ends, all have just begun.
SETTLED = 4


class Range(NamedTuple):
    """From lo_s to hi_s, s from now."""

    lo_s: float
    hi_s: float


class Runs(NamedTuple):
    """Durations seen, s: how many, and the sorted values or their percentiles 0 to 100."""

    n: int
    marks: tuple[float, ...]

    def quantile(self, part: float) -> float:
        """The value below which this part of the durations is."""
        at = min(max(part, 0.0), 1.0) * (len(self.marks) - 1)
        low = math.floor(at)
        high = min(low + 1, len(self.marks) - 1)
        return self.marks[low] + (self.marks[high] - self.marks[low]) * (at - low)

    @property
    def mean_s(self) -> float:
        """The mean."""
        return sum(self.marks) / len(self.marks)

    @property
    def deviation_s(self) -> float:
        """The standard deviation."""
        mean = self.mean_s
        return math.sqrt(sum((m - mean) ** 2 for m in self.marks) / len(self.marks))


def summarise(durations_s: Sequence[float]) -> Runs | None:
    """The durations as `Runs`; None for none."""
    values = sorted(max(0.0, float(v)) for v in durations_s)
    if not values:
        return None
    whole = Runs(len(values), tuple(values))
    if len(values) <= MARKS + 1:
        return whole
    return Runs(len(values), tuple(round(whole.quantile(p / MARKS), 1) for p in range(MARKS + 1)))


def next_run(runs: Runs) -> Range:
    """Where the next duration will be, four times out of five. From the ranks of n values: the next
    one is below the k-th of them with probability k / (n + 1), whatever their distribution."""
    if runs.n < FEW:
        wider = 2.0 ** ((FEW - runs.n) / 4)
        return Range(runs.marks[0] / wider, runs.marks[-1] * wider + 1.0)
    tail = (1 - COVERAGE) / 2
    rank = (tail * (runs.n + 1) - 1) / (runs.n - 1)
    return Range(runs.quantile(rank), runs.quantile(1 - rank))


def remaining(runs: Runs, elapsed_s: float) -> Range | None:
    """How long a job will still run that has run for `elapsed_s`: from the runs that took longer.
    None if none did."""
    longer = [m - elapsed_s for m in runs.marks if m > elapsed_s]
    if not longer:
        return None
    kept = Runs(max(1, round(runs.n * len(longer) / len(runs.marks))), tuple(longer))
    return next_run(kept)


def arrivals(k: int, seen: int, span_s: float) -> Range:
    """When the k-th of some events will have happened, if `seen` of them happened in the last
    `span_s`. Both counts are taken as random ones of the same rate (a ratio of gamma variables, by
    its logarithm)."""
    k, seen = max(k, 1), max(seen, 1)
    centre = math.log(span_s * (k - 1 / 3) / seen)
    spread = _Z * math.sqrt(1 / k + 1 / (2 * k * k) + 1 / seen)
    return Range(math.exp(centre - spread), math.exp(centre + spread))


def one_after_another(first: Range, second: Range) -> Range:
    """The range of a sum of two that do not depend on each other."""
    centres = [(r.lo_s + r.hi_s) / 2 for r in (first, second)]
    half = math.hypot(*((r.hi_s - r.lo_s) / 2 for r in (first, second)))
    return Range(max(0.0, first.lo_s, sum(centres) - half), sum(centres) + half)


def latest(ranges: Sequence[Range]) -> Range:
    """The range of the last of several things that must all have happened."""
    return Range(max(r.lo_s for r in ranges), max(r.hi_s for r in ranges))


class Pace(NamedTuple):
    """How a client group works: how many jobs it started in the last hour and the last day, how
    long a run takes there on average (None: not known), and when the newest jobs of the last hour
    ended, s since the epoch, newest first."""

    hour: int = 0
    day: int = 0
    mean_run_s: float | None = None
    ends: tuple[float, ...] = ()


class Busy(NamedTuple):
    """A client group with a line. places: how many jobs it runs at a time, at most. now_s, since_s:
    the time, and since when somebody was always in line; s since the epoch."""

    group: str
    places: int
    now_s: float
    since_s: float


class Line(NamedTuple):
    """A range for when one's turn comes in a line, and what it rests on, for people."""

    range: Range
    basis: str


def in_group_line(place: int, busy: Busy, pace: Pace) -> Line | None:
    """When the job at `place` of those that there is no room for starts; None if nothing is known
    of the group.

    A place becomes free when a job ends. How fast the group works is seen from the jobs that ended
    while somebody was in line: how many it started in a quiet hour says how many came.
    """
    span_s = min(3600.0, busy.now_s - busy.since_s)
    ended = [at for at in pace.ends if at >= busy.now_s - span_s]
    if ended and len(ended) == len(pace.ends):  # it may be that older ones were not kept
        span_s = min(span_s, max(busy.now_s - ended[-1], 1.0))
    if len(ended) >= ENOUGH_ENDS and span_s >= SETTLED * (pace.mean_run_s or 0.0):
        return Line(
            arrivals(place, len(ended), span_s),
            f"{len(ended)} jobs ended in {busy.group} in the last {duration(span_s)}",
        )
    if busy.places and pace.mean_run_s is not None:
        return Line(
            arrivals(place, busy.places, max(1.0, pace.mean_run_s)),
            f"{busy.group} runs {busy.places} at a time, {duration(pace.mean_run_s)} each on "
            "average",
        )
    if pace.day >= 3:
        return Line(arrivals(place, pace.day, 86400.0),
                    f"{pace.day} jobs started in {busy.group} in the last day")
    return None


def in_own_line(place: int, places: int, run_s: float, what: str) -> Line | None:
    """When the job at `place` of those that wait for one of `places` starts; None for no place."""
    if places < 1:
        return None
    return Line(arrivals(place, places, max(1.0, run_s)), what)


def batch_end(
    waiting: int, elapsed_s: Sequence[float], parallel: tuple[int, int], runs: Runs
) -> Range:
    """When the last job of a batch will have ended. elapsed_s: of those that run; parallel: how
    many run at a time, at least and at most."""
    rest = [remaining(runs, t) or Range(0.0, runs.quantile(0.9)) for t in elapsed_s]
    last = max((r.hi_s for r in rest), default=0.0)
    if not waiting:
        return Range(max((r.lo_s for r in rest), default=0.0), last)
    work = waiting * runs.mean_s + sum((r.lo_s + r.hi_s) / 2 for r in rest)
    spread = _Z * runs.deviation_s * math.sqrt(waiting + len(rest))
    fewest, most = max(1, parallel[0]), max(1, *parallel)
    tail = next_run(runs)
    lo = max((work - spread) / most, tail.lo_s)
    return Range(lo, max(last, (work + spread) / fewest + tail.hi_s))


def duration(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
