"""The rule of admission by itself: who may start, and who not any more."""

from __future__ import annotations

from typing import Any

import pytest

from ee2_jobs.controls import Control, Controls
from ee2_jobs.limits.users import UserLimits
from ee2_operators.admission import Decision, QueuedJob, Rules, decide, no_use
from ee2_operators.condor.submit import pool_name


def job(proc: int, user: str = "ana", cluster: int = 1, **more: Any) -> QueuedJob:
    return QueuedJob(f"{cluster}.{proc}", cluster, proc, user=user, **more)


def idle(proc: int, **more: Any) -> QueuedJob:
    return job(proc, idle=True, **more)


def limited(default: int | None = None, **own: int) -> Rules:
    return Rules(limits=UserLimits(default, own))


def ids(*procs: int) -> tuple[str, ...]:
    return tuple(f"1.{proc}" for proc in procs)


def test_without_rules_everything_goes() -> None:
    assert decide([job(0)], [job(1), job(2)], Rules(), {}) == Decision(ids(1, 2))


def test_up_to_the_limit_by_priority_then_age() -> None:
    waiting = [job(3), job(2), job(4, priority=1), job(1, cluster=2)]
    assert decide([job(0)], waiting, limited(ana=3), {}) == Decision(("1.4", "1.2"))
    assert decide([job(0)], waiting, limited(5, ana=3), {}) == Decision(("1.4", "1.2"))
    assert decide([], waiting, limited(ana=0), {}) == Decision()
    others = [job(0, user="bo"), job(0, user="bo", cluster=2)]
    assert decide([], [*waiting, *others], limited(ana=1, bo=1), {}) == Decision(("1.4", "1.0"))


def test_each_level_by_itself() -> None:
    parents, children = [job(0), job(1)], [job(2, level=1), job(3, level=1), job(4, level=1)]
    assert decide(parents, children, limited(ana=2), {}) == Decision(ids(2, 3))
    counted_together = [job(2), job(3), job(4)]
    assert decide(parents, counted_together, limited(ana=2), {}) == Decision()


def test_a_lower_limit_takes_back_what_no_node_has() -> None:
    admitted = [job(0), idle(1), idle(2, priority=5), idle(3)]
    assert decide(admitted, [job(9)], limited(ana=3), {}).hold_back == ids(3)
    assert decide(admitted, [job(9)], limited(ana=2), {}) == Decision((), ids(3, 1))
    assert decide(admitted, [job(9)], limited(ana=0), {}) == Decision((), ids(3, 1, 2))
    assert decide([job(0), job(1), job(2)], [job(9)], limited(ana=1), {}) == Decision()


def test_a_later_job_of_higher_priority_gets_the_place_of_an_idle_one() -> None:
    admitted = [job(0), idle(1)]
    assert decide(admitted, [job(9, priority=1)], limited(ana=2), {}) == Decision(ids(9), ids(1))
    # Among equals nobody is taken back, however old the other is.
    older = job(7, cluster=0)
    assert decide(admitted, [older], limited(ana=2), {}) == Decision()


def test_paused_and_drained() -> None:
    one = Control("root", 1.0, None)
    paused = Rules.of(Controls(one), UserLimits())
    assert decide([job(0), idle(1)], [job(2)], paused, {}) == Decision((), ids(1))
    drained = Rules.of(Controls(None, {"big": one}), UserLimits())
    admitted = [idle(0, group="big"), idle(1, group="njs"), job(2, group="big")]
    waiting = [job(3, group="big"), job(4, group="njs")]
    assert decide(admitted, waiting, drained, {}) == Decision(ids(4), ids(0))
    assert drained.concern("ana", {"njs", "big"}) and not drained.concern("ana", {"njs"})
    assert paused.concern("ana", ()) and not Rules().concern("ana", {"big"})


def test_the_narrower_of_window_and_limit() -> None:
    window: dict[str, Any] = {"window": "w", "places": 2}
    waiting = [job(n, **window) for n in range(1, 5)]
    assert decide([job(0, **window)], waiting, limited(ana=9), {}) == Decision(ids(1))
    assert decide([job(0, **window)], waiting, limited(ana=1), {}) == Decision()
    # An ad of an older engine says neither whose it is nor how many places there are.
    old = [job(n, user=None, window="w") for n in range(3)]  # type: ignore[arg-type]
    assert decide([], old, limited(0), {"w": 2}) == Decision(ids(0, 1))


def test_a_name_that_an_ad_should_not_have() -> None:
    name = 'a "b" || True'
    assert pool_name("ana.b-1") == "ana.b-1"
    assert pool_name(name).startswith("u-") and pool_name(name) != pool_name(name + "x")
    rules = Rules.of(Controls(), UserLimits(None, {name: 1}))
    mine = [job(n, user=pool_name(name)) for n in range(2)]
    assert decide([], mine, rules, {}) == Decision(ids(0))
    assert rules.concern(name, ()) and not rules.concern("ana", ())
    assert name not in rules.scope()


@pytest.mark.parametrize(
    ("rules", "admitted", "expected"),
    [
        (limited(ana=2), [job(0)], []),
        (limited(ana=1), [job(0)], ['EE2_USER =?= "ana" && EE2_LEVEL =?= 0']),
        (
            limited(ana=1), [idle(0, priority=-5)],
            ['EE2_USER =?= "ana" && EE2_LEVEL =?= 0 && JobPrio <= -5'],
        ),
        (limited(ana=0), [], ['EE2_USER =?= "ana"']),
        (limited(0, bo=1), [], ['EE2_USER =!= undefined && EE2_USER =!= "bo"']),
        (Rules(drained=frozenset({"big"})), [], ['EE2_GROUP =?= "big"']),
        (Rules(), [job(0, window="w", places=1)], ['EE2_WINDOW =?= "w"']),
    ],
)  # fmt: skip
def test_what_cannot_be_released_is_not_asked_for(
    rules: Rules, admitted: list[QueuedJob], expected: list[str]
) -> None:
    assert no_use(admitted, rules, {}) == expected
