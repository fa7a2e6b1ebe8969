"""How a job ended, seen from the pool: EE2's status and codes, and a sentence for a scientist.

The runner tells the server how the *app* ended, and whoever tells first wins. What is said here
counts when the runner could not tell: it was never started, was killed, or failed itself.
"""

import os
import re
import signal
from dataclasses import dataclass
from typing import Any

from ee2_operators.condor.events import Kind, PoolEvent
from ee2_operators.condor.routes import SLURM_AWAY
from ee2_operators.condor.submit import (
    EXIT_UNREACHABLE,
    HELD_BACK_SUBCODE,
    MEMORY_SUBCODE,
    TIME_LIMIT_SUBCODE,
)

ENGINE_REASON = "EE2: "  # begins the reason of every removal that the engine asks for

# EE2's codes: docs/reference has their meaning.
_CRASHED, _BY_AUTOMATION, _OVER_TIME_LIMIT = 1, 2, 3
_TERMINATED_BY_ADMIN, _TERMINATED_BY_AUTOMATION = 1, 2

# HTCondor's hold reason codes.
_USER_HOLD, _POLICY, _CANNOT_START, _STDOUT, _STDIN = 1, 3, 6, 7, 8
_OUTPUT_TRANSFER, _INPUT_TRANSFER, _WORK_DIR, _SUBMITTED_ON_HOLD, _SPOOLING = 12, 13, 14, 15, 16
_OUT_OF_RESOURCES, _JOB_DURATION, _EXECUTE_DURATION = 34, 46, 47
_OUT_OF_MEMORY, _OUT_OF_DISK = 102, 104  # subcodes of _OUT_OF_RESOURCES
# Holds before the runner was started, of which the next node may know nothing: such a job is
# released once before it is given up (`chores/held.py`).
MAY_HEAL = frozenset({_INPUT_TRANSFER, _SPOOLING})

_BY_USER = re.compile(r" \(by user [^)]*\)$")  # HTCondor adds it to the reason of a removal


@dataclass(frozen=True, slots=True)
class Outcome:
    """ended: whether HTCondor is done with the job (a held one still has to be removed).

    status, with the code that belongs to it: what to write on a record that has not ended yet;
    None when the pool has nothing to say about it (the job goes on, or the runner has told).
    message: what happened and what to do; empty when there is nothing to say.
    """

    ended: bool
    status: str | None = None
    error_code: int | None = None
    terminated_code: int | None = None
    message: str = ""


def outcome(event: PoolEvent, *, last_try: bool = False) -> Outcome:
    """Classify an event; use events.from_ad to classify an ad of the queue or the history.

    last_try: whether a hold that may heal is the end now.
    """
    details = event.details
    if event.kind is Kind.ENDED:
        if "signal" in details:
            return _killed(details["signal"])
        return _exited(details.get("exit_code"))
    if event.kind is Kind.HELD:
        return _held(
            details.get("hold_code", -1),
            details.get("hold_subcode", 0),
            str(details.get("reason", "")),
            last_try,
        )
    if event.kind is Kind.REMOVED:
        return _removed(str(details.get("reason", "")))
    if event.kind is Kind.EVICTED:
        return Outcome(False, message="The job was stopped on its node and waits to run again.")
    if event.kind is Kind.LOST:
        reason = _words(details.get("reason"))
        return Outcome(
            False, message=f"The connection to the job's node was lost; it will run again.{reason}"
        )
    if event.kind is Kind.AWAY:
        return Outcome(
            False,
            message="Where the jobs of this route run does not answer; they wait in the queue until"
            f" it does. It is: {details.get('reason', 'not said')}",
        )
    return Outcome(False)


def _error(code: int, message: str) -> Outcome:
    return Outcome(True, "error", error_code=code, message=message)


def _exited(code: int | None) -> Outcome:
    if code == 0:
        return Outcome(True)
    if code == EXIT_UNREACHABLE:
        return _error(
            _BY_AUTOMATION,
            "The job could not reach the execution engine from its node, after many tries, and was"
            " never started. Please run it again; if that happens again, tell the administrators:"
            " the setting rpc_url must be an address that the nodes can reach.",
        )
    return _error(
        _CRASHED,
        f"The job's runner failed with exit code {code} and could not tell how the app ended."
        " Please run the job again; if it fails again, report it with the job's id.",
    )


def _killed(number: int) -> Outcome:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL:
        why = "Most often that is the node running out of memory: ask for more memory."
    elif number == signal.SIGTERM:
        why = "Its node was shut down, or an administrator stopped it. Please run it again."
    else:
        why = "Please run the job again; if it fails again, report it with the job's id."
    return _error(_CRASHED, f"The job was killed on its node by {name}. {why}")


def _removed(reason: str) -> Outcome:
    if reason.startswith(ENGINE_REASON):  # the record says already why
        return Outcome(
            True,
            "terminated",
            terminated_code=_TERMINATED_BY_AUTOMATION,
            message=_BY_USER.sub("", reason.removeprefix(ENGINE_REASON)),
        )
    if "PeriodicRemove" in reason or "SYSTEM_PERIODIC_REMOVE" in reason:
        return _error(_BY_AUTOMATION, f"The pool's own rules removed the job.{_words(reason)}")
    return Outcome(
        True,
        "terminated",
        terminated_code=_TERMINATED_BY_ADMIN,
        message=f"The job was removed from the pool by hand.{_words(reason)}",
    )


def _held(code: int, subcode: int, reason: str, last_try: bool) -> Outcome:
    if (code, subcode) == (_USER_HOLD, HELD_BACK_SUBCODE):
        return Outcome(False)
    if code == _USER_HOLD:
        return Outcome(
            False, message=f"The job was put on hold by hand and waits for release.{_words(reason)}"
        )
    if code == _SUBMITTED_ON_HOLD:
        return Outcome(False)
    if SLURM_AWAY in reason:  # it is released again by a rule of its own
        return Outcome(
            False, message=f"Slurm does not answer; the job waits until it does.{_words(reason)}"
        )
    if code in MAY_HEAL and not last_try:
        return Outcome(
            False, message=f"The job could not be brought to its node; once more.{_words(reason)}"
        )
    if code in (_EXECUTE_DURATION, _JOB_DURATION) or (code, subcode) == (
        _POLICY,
        TIME_LIMIT_SUBCODE,
    ):
        return _error(
            _OVER_TIME_LIMIT,
            "The job ran longer than its time limit and was stopped. Give it a smaller input, or"
            " ask for a longer time limit.",
        )
    if code == _OUT_OF_RESOURCES and subcode == _OUT_OF_DISK:
        return _error(
            _BY_AUTOMATION,
            "The job used more disk space than it had asked for and was stopped. Ask for more disk,"
            f" or give it a smaller input.{_words(reason)}",
        )
    if (code, subcode) in ((_POLICY, MEMORY_SUBCODE), (_OUT_OF_RESOURCES, _OUT_OF_MEMORY)) or (
        code == _OUT_OF_RESOURCES and "memory" in reason.lower()
    ):
        return _error(
            _BY_AUTOMATION,
            "The job used more memory than it had asked for and was stopped. Ask for more memory,"
            f" or give it a smaller input.{_words(reason)}",
        )
    what = {
        _CANNOT_START: "The job's runner could not be started on the node",
        _STDIN: "The job's ticket (its token) could not be read on the node",
        _STDOUT: "The job's output could not be written on the node",
        _INPUT_TRANSFER: "The runner or the job's ticket could not be brought to the node",
        _OUTPUT_TRANSFER: "The runner's messages could not be brought back from the node",
        _WORK_DIR: "The job's folder could not be entered on the node",
        _SPOOLING: "The job's files did not reach the pool",
    }.get(code)
    if what:
        system = ""
        if code in (_CANNOT_START, _STDIN, _STDOUT, _WORK_DIR) and 0 < subcode < 200:  # errno
            system = f" ({os.strerror(subcode)})"
        return _error(
            _BY_AUTOMATION,
            f"{what}{system}, so the app did not run. This is a fault of the installation, not of"
            f" your input: please tell the administrators.{_words(reason)}",
        )
    return _error(
        _BY_AUTOMATION,
        f"The pool stopped the job (hold code {code}/{subcode}). Please run it again; if it stops"
        f" again, report it with the job's id.{_words(reason)}",
    )


def _words(reason: Any) -> str:
    """HTCondor's own words, for those who can read them."""
    text = " ".join(str(reason or "").split())
    return f" HTCondor says: {text}" if text else ""
