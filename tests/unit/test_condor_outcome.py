"""Every way a job can end in the pool, as EE2's status, codes and a message."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee2_operators.condor.events import Kind, PoolEvent, from_ad, from_log
from ee2_operators.condor.outcome import outcome


def event(kind: Kind, **details: Any) -> PoolEvent:
    return PoolEvent(7, 3, kind, 1000, details)


def held(code: int, subcode: int = 0, reason: str = "words") -> PoolEvent:
    return event(Kind.HELD, hold_code=code, hold_subcode=subcode, reason=reason)


@pytest.mark.parametrize(
    ("what", "error_code", "words"),
    [
        (event(Kind.ENDED, exit_code=1), 1, "exit code 1"),
        (event(Kind.ENDED, exit_code=137), 1, "exit code 137"),
        (event(Kind.ENDED, exit_code=75), 2, "could not reach the execution engine"),
        (event(Kind.ENDED, signal=9), 1, "more memory"),
        (event(Kind.ENDED, signal=15), 1, "SIGTERM"),
        (event(Kind.ENDED, signal=11), 1, "SIGSEGV"),
        (event(Kind.ENDED, signal=200), 1, "signal 200"),
        (held(3, 34), 2, "more memory"),
        (held(34, 102, "memory usage exceeded"), 2, "more memory"),
        (held(34, 104, "disk usage exceeded"), 2, "disk space"),
        (held(3, 47), 3, "time limit"),
        (held(47), 3, "time limit"),
        (held(46), 3, "time limit"),
        (held(6, 2), 2, "could not be started on the node (No such file or directory)"),
        (held(6, 13), 2, "(Permission denied)"),
        (held(8, 2), 2, "ticket"),
        (held(7, 13), 2, "could not be written"),
        (held(12, 2), 2, "could not be brought back"),
        (held(14, 2), 2, "folder"),
        (held(22, 1, "strange things"), 2, "hold code 22/1"),
        (event(Kind.REMOVED, reason="The job attribute PeriodicRemove expression …"), 2, "rules"),
    ],
)
def test_errors(what: PoolEvent, error_code: int, words: str) -> None:
    result = outcome(what)
    assert (result.ended, result.status, result.error_code) == (True, "error", error_code)
    assert result.terminated_code is None
    assert words in result.message


@pytest.mark.parametrize(
    ("code", "words"), [(13, "could not be brought to the node"), (16, "did not reach the pool")]
)
def test_a_hold_that_may_heal_is_the_end_only_the_second_time(code: int, words: str) -> None:
    first = outcome(held(code, 2))
    assert not first.ended and first.status is None
    last = outcome(held(code, 2), last_try=True)
    assert (last.ended, last.status, last.error_code) == (True, "error", 2)
    assert words in last.message


def test_htcondors_own_words_are_kept_on_one_line() -> None:
    assert outcome(held(22, 0, "a\n\tb  c")).message.endswith("HTCondor says: a b c")


def test_an_orderly_end_is_the_runners_to_tell() -> None:
    result = outcome(event(Kind.ENDED, exit_code=0))
    assert result.ended and result.status is None and result.message == ""


def test_removed_by_hand_and_by_us() -> None:
    by_hand = outcome(event(Kind.REMOVED, reason="via condor_rm (by user bob)"))
    assert (by_hand.status, by_hand.terminated_code) == ("terminated", 1)
    assert "by hand" in by_hand.message and "bob" in by_hand.message
    by_us = outcome(event(Kind.REMOVED, reason="EE2: canceled by alice (by user ee2)"))
    assert (by_us.ended, by_us.status, by_us.message) == (True, "terminated", "canceled by alice")


@pytest.mark.parametrize(
    "what",
    [
        event(Kind.SUBMITTED),
        event(Kind.STARTED, host="slot1@node"),
        event(Kind.RELEASED),
        event(Kind.EVICTED),
        event(Kind.LOST, reason="Socket closed"),
        held(1, 0, "by an administrator"),
        held(15),
        held(16),
    ],
)
def test_not_an_end(what: PoolEvent) -> None:
    result = outcome(what)
    assert not result.ended and result.status is None


@given(st.integers(), st.integers(), st.text())
def test_any_other_hold_ends_the_job_with_a_message(code: int, subcode: int, reason: str) -> None:
    result = outcome(held(code, subcode, reason))
    if code not in (1, 15, 16):
        assert result.ended and result.status == "error" and result.message


def test_the_same_end_from_the_log_and_from_the_history() -> None:
    log = {"EventTypeNumber": 5, "Cluster": 7, "Proc": 3, "time_ms": 1000}
    ad = {"ClusterId": 7, "ProcId": 3, "JobStatus": 4, "EnteredCurrentStatus": 1}
    for log_fields, ad_fields in (
        ({"TerminatedNormally": True, "ReturnValue": 3}, {"ExitBySignal": False, "ExitCode": 3}),
        (
            {"TerminatedNormally": False, "TerminatedBySignal": 9},
            {"ExitBySignal": True, "ExitSignal": 9, "ExitCode": 0},
        ),
    ):
        assert from_log(log | log_fields) == from_ad(ad | ad_fields)


def test_a_held_ad_that_was_removed_is_removed() -> None:
    ad = {
        "ClusterId": 7,
        "ProcId": 3,
        "JobStatus": 3,
        "HoldReasonCode": 6,
        "HoldReason": "old",
        "RemoveReason": "via condor_rm",
    }
    found = from_ad(ad)
    assert found and found.kind is Kind.REMOVED and found.details == {"reason": "via condor_rm"}


def test_events_that_do_not_matter() -> None:
    assert from_log({"EventTypeNumber": 6, "Cluster": 7, "Proc": 3, "time_ms": 1}) is None
    assert from_log({"EventTypeNumber": 0, "Cluster": 7, "Proc": -1, "time_ms": 1}) is None
    assert from_ad({"ClusterId": 7, "ProcId": 3, "JobStatus": 7}) is None
