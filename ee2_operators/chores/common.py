"""What all chores have in common: what a chore is given, and what it says at its end.

A chore is one run of an admin DAG. It bears a second run at the same time (conditional updates, and
deletions that may be repeated), does a bounded amount of work and leaves the rest to its next run,
and with `dry_run` says what it would do and changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ee2_jobs.identity import Caller
from ee2_operators.parts import Parts

# Of what there may be many, a run does so many, and names so many.
MOST = 5000
NAMED = 100


@dataclass(frozen=True)
class Work:
    """What a chore is given. until: when it should come to an end (monotonic clock, s); it is
    stopped a little later. who: finds the administrator who triggered a run by hand; Denied if
    that was none. log: the task's. What a chore says at its end is not for it to log."""

    parts: Parts
    log: Any
    until: float
    dry_run: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    who: Callable[[], Awaitable[Caller]] | None = None

    def in_time(self) -> bool:
        """Whether there is time to do more."""
        return time.monotonic() < self.until

    async def caller(self) -> Caller:
        """The administrator for whom it is done."""
        assert self.who is not None
        return await self.who()


@dataclass(frozen=True)
class Done:
    """What a chore has done (dry run: would do), for its line in the log, and in figures for its
    metric. more: there is more to do, which the next run does. text: a longer account, if any, such
    as which jobs it was. for_worker: the rest is for a worker (the operator's `execute_complete`).
    """

    said: str
    count: int = 0
    more: bool = False
    text: str | None = None
    for_worker: bool = False


class ChoreFailed(Exception):
    """Something did not work, and somebody should know; the message is for people."""


def tally(counts: Iterable[tuple[int, str]]) -> str:
    """Those of the counts that are not 0, as in `3 jobs ended, 1 job released`. Each text has the
    plural's `s` in parentheses: `job(s) ended`."""
    said = [
        f"{n} {text.replace('(s)', '' if n == 1 else 's')}" for n, text in counts if n
    ]
    return ", ".join(said) or "nothing to do"


def listed(lines: Sequence[str]) -> str | None:
    """An account with a line for each, as far as anybody would read it; None if there is none."""
    if not lines:
        return None
    more = [f"and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    return "\n".join([*lines[:NAMED], *more])
