"""What works in the background of the triggerer while that runs: the teller, the sampler."""

from __future__ import annotations

import asyncio
import contextvars
from abc import ABC, abstractmethod


class Background(ABC):
    """A task that anybody may see to (`poke`) and that is begun again if it has ended. Belongs to
    one event loop. `problem`: why it does not work now, for people."""

    name: str

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self.problem: str | None = None

    def poke(self) -> None:
        """See to it that it works."""
        if self._task is None or self._task.done():
            # In a context of its own: what it logs belongs to no single task's log.
            self._task = asyncio.create_task(
                self._work_on(), name=f"ee2 {self.name}", context=contextvars.Context()
            )

    async def stop(self) -> None:
        """Stop, and let another process go on at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @abstractmethod
    async def _work_on(self) -> None:
        """Work until it is cancelled; what fails is tried again."""
