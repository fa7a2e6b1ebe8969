"""Waiting out an outage: nothing accepted is lost because MongoDB or HTCondor is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError, WaitQueueTimeoutError

from ee2_operators.condor.pool import PoolUnavailable

T = TypeVar("T")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
SAY_AGAIN_S = 60.0


def is_outage(error: BaseException) -> bool:
    """Whether the same attempt may succeed later: MongoDB or the pool does not answer."""
    if isinstance(
        error, PoolUnavailable | ConnectionFailure | WaitQueueTimeoutError | ExecutionTimeout
    ):
        return True
    return isinstance(error, PyMongoError) and (
        error.has_error_label("TransientTransactionError")
        or error.has_error_label("RetryableWriteError")
    )


class Patience:
    """Pauses between attempts, growing from 0.5 to 15 s, and what to say about them: the log gets a
    line when the outage begins, then one a minute."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._pause_s = FIRST_PAUSE_S
        self._began: float | None = None
        self._said = 0.0

    async def wait(self, error: BaseException) -> None:
        """Say what is wrong, if it is time to, and pause."""
        now = time.monotonic()
        if self._began is None:
            self._began, self._said = now, now
            self._log.warning("Waiting, and trying again: %s", error)
        elif now - self._said >= SAY_AGAIN_S:
            self._said = now
            self._log.warning("Still waiting, for %.0f min: %s", (now - self._began) / 60, error)
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(self._pause_s * 1.6, LONGEST_PAUSE_S)

    def over(self) -> None:
        """The attempt has succeeded."""
        if self._began is not None:
            self._log.info("It works again.")
        self._began, self._pause_s = None, FIRST_PAUSE_S


async def patiently(log: Any, attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of `attempt()`, made again for as long as MongoDB or the pool does not answer."""
    patience = Patience(log)
    while True:
        try:
            result = await attempt()
        except Exception as e:
            if not is_outage(e):
                raise
            await patience.wait(e)
        else:
            patience.over()
            return result
