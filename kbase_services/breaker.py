"""A circuit breaker: a service that does not answer is left alone for a while.

After some failures in a row, calls are refused at once; when the rest is over, one call goes
through as a probe, and what comes of it decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Resting(Exception):
    """The service is left alone at the moment; the call was not made."""


class Breaker:
    """Counts failures in a row. One per service and event loop.

    threshold: failures in a row after which calls are refused. rest_s: for how long, s.
    failure: the exceptions that count; a call that ends with another has been answered.
    """

    def __init__(
        self,
        failure: type[Exception],
        *,
        threshold: int = 3,
        rest_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failure = failure
        self._threshold = threshold
        self._rest_s = rest_s
        self._clock = clock
        self._failures = 0
        self._rests_until = 0.0
        self._probing = False

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around one call. Raises Resting if it is not to be made."""
        probe = self._failures >= self._threshold
        if probe:
            if self._probing or self._clock() < self._rests_until:
                raise Resting
            self._probing = True
        try:
            yield
        except self._failure:
            self._failures += 1
            self._rests_until = self._clock() + self._rest_s
            raise
        except Exception:
            self._failures = 0
            raise
        else:
            self._failures = 0
        finally:
            # A call that is cancelled says nothing of the service, but it probes no longer.
            if probe:
                self._probing = False
