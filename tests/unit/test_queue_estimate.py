"""Ranges: what they are built on, and that they hold about as often as they say."""

import math
import random

import pytest
from bson import ObjectId

from ee2_jobs.controls import Control, Controls
from ee2_jobs.limits.users import UserLimits
from ee2_jobs.queue.estimate import (
    Busy,
    Pace,
    Range,
    arrivals,
    batch_end,
    in_group_line,
    next_run,
    one_after_another,
    remaining,
    summarise,
)
from ee2_jobs.queue.expect import expect, expect_batch
from ee2_jobs.queue.history import History, Hits, decode, encode
from ee2_jobs.queue.order import line_up
from ee2_jobs.queue.reason import Facts
from ee2_jobs.queue.snapshot import State
from tests.unit.queue_support import pool_job, slot

SOURCE = random.Random(7)
NOW = 10_000.0


def held(ranges: list[Range], truths: list[float]) -> float:
    return sum(r.lo_s <= t <= r.hi_s for r, t in zip(ranges, truths, strict=True)) / len(truths)


def runs_of(values: list[float]) -> History:
    runs = summarise(values)
    assert runs is not None
    return History(runs={"m/f": {"njs": runs, "": runs}}, group_runs={"njs": runs})


@pytest.mark.parametrize("count", [3, 8, 20, 100, 2000])
def test_run_ranges_hold_four_times_out_of_five(count: int) -> None:
    """A backtest on durations as apps have them: most short, some ten times as long."""
    ranges, truths = [], []
    for _ in range(300):
        values = [SOURCE.lognormvariate(5, 1) for _ in range(count)]
        runs = summarise(values)
        assert runs is not None and runs.n == count
        ranges.append(next_run(runs))
        truths.append(SOURCE.lognormvariate(5, 1))
    assert 0.7 <= held(ranges, truths) <= 0.92


def test_a_range_for_what_is_left_knows_how_long_it_ran() -> None:
    """Backtest: of runs that took longer than 5 minutes, what was left then."""
    ranges, truths = [], []
    for _ in range(400):
        runs = summarise([SOURCE.lognormvariate(5, 1) for _ in range(500)])
        assert runs is not None
        while (truth := SOURCE.lognormvariate(5, 1)) < 300:
            pass
        rest = remaining(runs, 300.0)
        assert rest is not None
        ranges.append(rest)
        truths.append(truth - 300)
    assert 0.7 <= held(ranges, truths) <= 0.92


def test_longer_than_all_runs_says_nothing() -> None:
    runs = summarise([10.0, 20.0, 30.0])
    assert runs is not None and remaining(runs, 31.0) is None
    assert remaining(runs, 5.0) is not None
    assert summarise([]) is None


def simulate(places: int, waiting: int, mean_s: float, after: int) -> tuple[list[float], float]:
    """A group of so many places, all busy since long, and a line: when jobs ended before the moment
    at which `after` jobs had (that is 0), and when the last of the line starts."""
    busy = sorted(SOURCE.expovariate(1 / mean_s) for _ in range(places))
    ends: list[float] = []
    for _ in range(after + waiting):
        at = busy.pop(0)
        ends.append(at)
        busy.append(at + SOURCE.lognormvariate(math.log(mean_s) - 0.32, 0.8))
        busy.sort()
    now = ends[after - 1] if after else 0.0
    return [end - now for end in ends[:after]], ends[-1] - now


@pytest.mark.parametrize("after", [0, 10, 60, 200])
def test_waiting_ranges_hold_four_times_out_of_five(after: int) -> None:
    """Backtest on groups of many sizes, with nothing, little and much seen of how fast they work.
    What the app's runs take on average is known."""
    ranges, truths = [], []
    for _ in range(300):
        places, place = SOURCE.choice([2, 8, 40]), SOURCE.choice([1, 3, 10, 60])
        mean_s = SOURCE.choice([30.0, 600.0])
        ends, truth = simulate(places, place, mean_s, after)
        since = min(ends, default=0.0)
        newest = tuple(sorted((end for end in ends if end > -3600), reverse=True))
        line = in_group_line(
            place, Busy("njs", places, 0.0, since), Pace(5, 9, mean_s, newest)
        )
        assert line is not None and "njs" in line.basis
        ranges.append(line.range)
        truths.append(truth)
    assert 0.7 <= held(ranges, truths) <= 0.96


def test_a_quiet_hour_says_nothing_of_how_fast_a_group_works() -> None:
    """Three jobs in an hour, as three came; then a hundred at once on ten places."""
    pace = Pace(3, 3, 60.0, (-100.0, -2000.0, -3000.0))
    line = in_group_line(50, Busy("njs", 10, 0.0, 0.0), pace)
    assert line is not None and line.range.lo_s < 300 < line.range.hi_s < 1000


def test_a_group_of_which_nothing_is_known_has_no_range() -> None:
    assert in_group_line(3, Busy("njs", 0, 0.0, 0.0), Pace()) is None
    line = in_group_line(3, Busy("njs", 0, 0.0, 0.0), Pace(2, 40, None))
    assert line is not None and "40 jobs started in njs in the last day" in line.basis


def test_ranges_of_a_sum_are_narrower_than_the_sum_of_ranges() -> None:
    found = one_after_another(Range(10, 30), Range(100, 200))
    assert 110 < found.lo_s < 150 and 180 < found.hi_s < 230


def test_a_batch_ends_in_its_range() -> None:
    """Backtest: 40 jobs on 8 places, from the runs of the same app."""
    ranges, truths = [], []
    for _ in range(200):
        runs = summarise([SOURCE.lognormvariate(4, 0.6) for _ in range(200)])
        assert runs is not None
        free = [0.0] * 8
        for _ in range(40):
            free.sort()
            free[0] += SOURCE.lognormvariate(4, 0.6)
        ranges.append(batch_end(32, [0.0] * 8, (8, 8), runs))
        truths.append(max(free))
    assert held(ranges, truths) >= 0.7
    # And it says something: it is not from nothing to ever.
    assert all(r.hi_s < 3 * r.lo_s for r in ranges)


def test_arrivals_grow_with_the_place() -> None:
    first, later = arrivals(1, 60, 3600), arrivals(60, 60, 3600)
    assert first.lo_s < 10 and first.hi_s < 300
    assert later.lo_s < 3600 < later.hi_s and later.hi_s / later.lo_s < 2


def record(number: int = 1, status: str = "queued", **fields: object) -> dict[str, object]:
    return {
        "_id": ObjectId(f"{number:024x}"), "status": status, "user": "ana", "queued": NOW - 50,
        "job_input": {"app_id": "m/f", "requirements": {"clientgroup": "njs"}}, **fields,
    }


HISTORY = runs_of([100.0 + n for n in range(50)])


def test_room_means_soon() -> None:
    found = expect(record(), Facts(line_up(NOW, [pool_job(1)], [slot()])), HISTORY, "njs", NOW)
    assert found.start == (NOW, NOW + 60)
    assert found.end is not None and NOW + 100 < found.end[0] < found.end[1] < NOW + 230
    assert found.basis == ("there is room for it", "50 runs of m/f in njs")


def test_the_slowest_line_tells() -> None:
    """Room in the group, and a limit of one job that runs: the user's own line counts."""
    jobs = [pool_job(1, state=State.WAITS.value), pool_job(2, state=State.RUNNING.value)]
    facts = Facts(line_up(NOW, jobs, [slot()]), limits=UserLimits(default=1))
    found = expect(record(), facts, HISTORY, "njs", NOW)
    assert found.start is not None and found.start[1] > NOW + 60
    assert found.basis[0] == "1 job of the owner at a time"


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        (Facts(line_up(NOW, [pool_job(1, memory_mb=99_000)], [slot()])), "queued"),
        (Facts(line_up(NOW, [pool_job(1)], [slot()]),
               Controls(paused=Control("root", 1.0, None))), "queued"),
        (Facts(None), "queued"),
        (Facts(line_up(NOW, [])), "queued"),
    ],
)
def test_no_range_where_nobody_can_say(facts: Facts, status: str) -> None:
    found = expect(record(status=status), facts, HISTORY, "njs", NOW)
    assert found.start is None and found.end is None and found.basis


def test_a_running_job_ends_by_its_limit_and_says_when_it_is_overdue() -> None:
    facts = Facts(None)
    running = record(status="running", running=NOW - 110)
    found = expect(running, facts, HISTORY, "njs", NOW)
    assert found.start is None and found.end is not None
    assert NOW < found.end[0] < found.end[1] <= NOW + 40
    limited = expect({**running, "time_limit_s": 120}, facts, HISTORY, "njs", NOW)
    assert limited.end is not None and limited.end[1] == NOW + 10
    late = expect(record(status="running", running=NOW - 200), facts, HISTORY, "njs", NOW)
    assert late.end is None and "longer than 50 runs" in late.basis[0]
    other = {**running, "job_input": {"app_id": "x/y"}}
    assert "any app" in expect(other, facts, HISTORY, "njs", NOW).basis[0]
    assert expect(other, facts, History(), "njs", NOW).end is None


def test_a_batch_is_expected_to_end_after_what_is_left_of_it() -> None:
    children = [record(n, "running", running=NOW - 50) for n in (1, 2)]
    children += [record(n) for n in (3, 4, 5, 6)]
    jobs = [pool_job(n, state=State.RUNNING.value) for n in (1, 2)]
    jobs += [pool_job(n) for n in (3, 4, 5, 6)]
    facts = Facts(line_up(NOW, jobs, [slot(free_cpus=0)]))
    found = expect_batch(children, facts, HISTORY, "njs", NOW)
    assert found.end is not None and NOW + 250 < found.end[0] < found.end[1] < NOW + 700
    assert "6 jobs left" in found.basis[0]
    assert expect_batch([], facts, HISTORY, "njs", NOW).end is None


def test_a_batch_that_has_not_begun_will_have_places_as_its_group_has() -> None:
    children = [record(n) for n in range(1, 41)]
    jobs = [pool_job(100 + n, user="ben", state=State.RUNNING.value) for n in range(10)]
    jobs += [pool_job(n) for n in range(1, 41)]
    facts = Facts(line_up(NOW, jobs, [slot(free_cpus=0)]))
    found = expect_batch(children, facts, HISTORY, "njs", NOW)
    assert found.basis[0] == "40 jobs left, 5 to 10 at a time"
    # 40 runs of 125 s: 500 s on ten places, 1000 s on five; the wait for the first, and the last.
    assert found.end is not None and NOW + 400 < found.end[0] < NOW + 700
    assert NOW + 900 < found.end[1] < NOW + 1500


def test_a_history_comes_back_as_it_was() -> None:
    history = History(
        1.5, HISTORY.runs, HISTORY.group_runs, HISTORY.group_runs,
        {"njs": Pace(3, 4, 2.5, (1.5, 0.5))}, {"": Hits(10, 8, 5, 4)}, {"m/f": (1, 0, 5, 2)},
    )
    assert decode(encode(history)) == history
    assert history.hits_of("m/f") == (Hits(10, 8, 5, 4), "all apps")
    assert math.isclose(history.runs["m/f"]["njs"].mean_s, 124.5)
