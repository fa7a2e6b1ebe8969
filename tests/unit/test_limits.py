"""Limits: which rule counts, what comes of it, and the words for it."""

from collections import Counter
from typing import Any

import pytest

from ee2_jobs.errors import InvalidInput
from ee2_jobs.limits.live import LiveJobs
from ee2_jobs.limits.sizes import Size, ceilings_from
from ee2_jobs.limits.time import TimeRule, TimeRules, base_on, limited, rules_from
from ee2_jobs.limits.users import Affected, UserLimits, in_words
from ee2_jobs.limits.words import duration, parse_app, parse_expiry, parse_user, with_rule


def rule(app: str = "*", user: str = "*", seconds: int = 100, note: str | None = None) -> TimeRule:
    return TimeRule(app, user, seconds, note, False, "root", 1795348800.0, 1)


@pytest.mark.parametrize(
    ("there", "counts"),
    [
        (["m.f ana", "m.f *", "* ana", "* *"], "m.f ana"),
        (["m.f *", "* ana", "* *"], "m.f *"),
        (["* ana", "* *"], "* ana"),
        (["* *", "m.g *", "m.f ben", "* ben"], "* *"),
        (["m.g ana", "m.f ben"], None),
    ],
)
def test_the_most_specific_rule(there: list[str], counts: str | None) -> None:
    keys = [tuple(one.split()) for one in there]
    found = TimeRules({(a, u): rule(a, u) for a, u in keys}).of("ana", "m.f")
    assert (found and f"{found.app} {found.user}") == counts


def test_a_rule_in_words() -> None:
    assert rule("m.f", "ana", 7200, "a note").words() == (
        "2 h for ana's m.f, set by root on 2026-11-22: a note"
    )
    assert rule("m.f").words().startswith("100 s for m.f, set by")
    assert rule(user="ana").words().startswith("100 s for ana's jobs, set by")
    assert rule().words().startswith("100 s for all jobs, set by")
    assert with_rule("It is over.", "2 h for all") == "It is over. The limit is 2 h for all."
    assert with_rule("It is over.", None) == "It is over."


@pytest.mark.parametrize(
    ("base", "seconds", "with_rule_100"),
    [
        ({}, None, 100),
        ({"s": 50, "rule": "declared by m.f"}, 50, 100),
        ({"s": 500, "rule": "declared by m.f"}, 500, 100),
        ({"s": 50, "rule": "asked for with the job", "asked": True}, 50, 50),
        ({"s": 500, "rule": "asked for with the job", "asked": True}, 500, 100),
        ({"most_s": 70, "most_rule": "the ceiling of client group g"}, 70, 70),
        ({"s": 60, "rule": "x", "most_s": 70, "most_rule": "y"}, 60, 70),
        ({"s": 200, "rule": "x", "most_s": 170, "most_rule": "y"}, 170, 100),
    ],
)
def test_what_a_job_gets(base: dict[str, Any], seconds: int | None, with_rule_100: int) -> None:
    assert limited(None, base)[0] == seconds
    assert limited(rule(), base)[0] == with_rule_100
    fields = TimeRules({("*", "*"): rule()}).fields("ana", "m.f", base)
    assert fields["time_limit_s"] == with_rule_100 and fields["time_limit_rule"]
    assert base_on(fields) == base, "from the record the rules can be applied again"


def test_records_from_before() -> None:
    assert base_on({"time_limit_s": 9})["s"] == 9
    assert base_on({"time_limit_s": 9, "time_limit_rule": "9 s for all jobs"}) == {}
    assert base_on({}) == {}
    others = [{"_id": "user:ana", "kind": "user", "places": 1}]
    assert rules_from(others).by_key == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 s"), (90, "90 s"), (119, "119 s"), (120, "2 min"), (500, "8 min 20 s"), (3600, "1 h"),
     (5400, "1 h 30 min"), (7200, "2 h"), (86400, "24 h"), (604800, "7 days"), (0, "0 s")],
)
def test_durations(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_own_limits_go_before_the_default() -> None:
    limits = UserLimits(5, {"ana": 0})
    assert (limits.of("ana"), limits.of("ben"), UserLimits().of("ana")) == (0, 5, None)
    assert limits.changed("ana", None).of("ana") == 5
    assert limits.changed("*", None).of("ben") is None


def test_levels_are_counted_by_themselves() -> None:
    jobs = LiveJobs(running=Counter({0: 3, 1: 1}), waiting=Counter({0: 4, 1: 2, 2: 9}))
    assert jobs.held_back(None) == jobs.over(None) == 0
    assert (jobs.held_back(3), jobs.over(3)) == (4 + 0 + 6, 0)
    assert (jobs.held_back(1), jobs.over(1)) == (4 + 2 + 8, 2)
    assert jobs.held_back(0) == 15


def test_of_each_ceiling_the_users_own_counts() -> None:
    every = Size("*", {"cpus": 2, "waiting": 9}, None, "root", 0.0, 1)
    own = Size("ana", {"cpus": 8}, "n", "root", 0.0, 1)
    ana, ben = ceilings_from([own, every], "ana"), ceilings_from([own, every], "ben")
    assert (ana.of("cpus"), ana.of("waiting"), ana.of("disk_gb")) == (8, 9, None)
    assert ben.of("cpus") == 2
    ana.check_job({"cpu": 8}, "m.f")
    with pytest.raises(InvalidInput, match="^m.f needs 9 cores per job, .* for user ana, .*: n. "):
        ana.check_job({"cpu": 9}, "m.f")


def test_times_and_names() -> None:
    assert parse_expiry(None) is None
    assert parse_expiry("2099-01-31") == 4073587200.0, "to the end of the day"
    assert parse_expiry("2099-01-31T00:00:00") == parse_expiry(4073500800000) == 4073500800.0
    for wrong in ("never", "2099-13-01", True, [1], float("nan"), 10**40):
        with pytest.raises(InvalidInput, match="expires must be a date"):
            parse_expiry(wrong)
    assert parse_user(" ana ") == "ana" and parse_user("*") == "*"
    for bad in ("", "a b", "a:b", "a/b", "a\u202eb", "x" * 101, None, 5):
        with pytest.raises(InvalidInput, match="user"):
            parse_user(bad)
    assert parse_app("*") == "*" and parse_app("m.f") == "m.f"
    for bad in ("m", "m.f.g", "m.*", "m:f.g", "", None, "m.\x00"):
        with pytest.raises(InvalidInput):
            parse_app(bad)


@pytest.mark.parametrize(
    ("held", "text"),
    [
        ({}, "Would hold back nobody."),
        ({"ana": 1}, "Would hold back 1 waiting job of ana."),
        ({"ana": 1200, "ben": 3}, "Would hold back 1,203 waiting jobs of ana (1,200), ben (3)."),
        (
            dict.fromkeys("abcdefg", 1),
            "Would hold back 7 waiting jobs of a (1), b (1), c (1), d (1), e (1) and 2 more users.",
        ),
    ],
)
def test_a_preview_names_who_waits(held: dict[str, int], text: str) -> None:
    affected = [
        Affected(user, running=0, waiting=n, limit_now=None, limit=0, held_back_now=0,
                 held_back=n, over=0)
        for user, n in held.items()
    ]  # fmt: skip
    assert in_words(affected) == text
