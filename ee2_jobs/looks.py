"""One look at the database serves all who wait.

While anybody waits, one task per process looks again and again, and answers those for whom there is
something. When looks get slow, they get rare.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Generic, Protocol, TypeVar

from ee2_jobs.errors import Unavailable

_REST = 4  # times as long as a look took,
_LONGEST_REST_S = 2.0  # but no longer than this
DATABASE_S = 10.0
"""A database that takes longer is as good as away."""


class Waits(Protocol):
    """Somebody who waits."""

    @property
    def answer(self) -> asyncio.Future[Any]: ...


W = TypeVar("W", bound=Waits)


class Looks(Generic[W]):
    """The looks for those of a process and event loop that wait.

    waiting: who waits, as their use case keeps them. look: looks for all of these at once and
    answers those it can; what it raises is raised for all. every_s: between two looks at least.
    """

    def __init__(
        self,
        waiting: Collection[W],
        look: Callable[[Sequence[W]], Awaitable[None]],
        *,
        every_s: float,
    ) -> None:
        self._waiting = waiting
        self._look = look
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self._next = 0.0

    @property
    def running(self) -> bool:
        """Whether looks are made now."""
        return self._task is not None

    def begin(self) -> None:
        """Somebody has begun to wait."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="ee2 looks for who waits")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                # Also for the first one after a while: who asks again and again without waiting
                # must not cause more looks than who waits.
                await asyncio.sleep(max(0.0, self._next - loop.time()))
                began = loop.time()
                await self._look_once()
                ended = loop.time()
                rest_s = min(_REST * (ended - began), _LONGEST_REST_S)
                self._next = max(began + self._every_s, ended + rest_s)
        finally:
            self._task = None

    async def _look_once(self) -> None:
        asking = list(self._waiting)
        try:
            async with asyncio.timeout(DATABASE_S):
                await self._look(asking)
        except Exception as e:
            error = no_answer() if isinstance(e, TimeoutError) else e
            for one in asking:
                if not one.answer.done():
                    one.answer.set_exception(error)


def no_answer() -> Unavailable:
    """For a database that takes longer than DATABASE_S."""
    return Unavailable(
        "The job database does not answer at the moment. Please try again in a few seconds."
    )
