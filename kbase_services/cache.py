"""Answers kept for a short time. Who asks what is being asked already waits for that answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from cachetools import TLRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """One per kind of question and event loop. What cannot be answered (an exception) is not kept.

    keep_s: how long an answer is good, s; so that a "no" may be kept shorter than a "yes".
    """

    def __init__(
        self,
        keep_s: Callable[[V], float],
        *,
        max_entries: int = 20_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept: TLRUCache[K, V] = TLRUCache(
            max_entries, ttu=lambda key, value, now: now + keep_s(value), timer=clock
        )
        self._asked: dict[K, asyncio.Task[Mapping[K, V]]] = {}

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """The answer to one question: kept, on its way, or asked for now."""
        try:
            return self._kept[key]
        except KeyError:
            pass

        async def ask_one(keys: list[K]) -> Mapping[K, V]:
            return {key: await ask()}

        return (await self.get_many([key], ask_one))[key]

    async def get_many(
        self, keys: Iterable[K], ask: Callable[[list[K]], Awaitable[Mapping[K, V]]]
    ) -> dict[K, V]:
        """The answers to several questions; those that nobody has asked yet go together, in one
        call of `ask`, which answers all of them or raises."""
        found: dict[K, V] = {}
        waiting: dict[K, asyncio.Task[Mapping[K, V]]] = {}
        missing: list[K] = []
        for key in keys:
            try:
                found[key] = self._kept[key]
            except KeyError:
                if key in self._asked:
                    waiting[key] = self._asked[key]
                else:
                    missing.append(key)
        if missing:
            missing = list(dict.fromkeys(missing))
            task = asyncio.create_task(self._ask(missing, ask))
            task.add_done_callback(_seen)
            for key in missing:
                waiting[key] = self._asked[key] = task
        for task in set(waiting.values()):
            # Whoever gives up waiting does not take the answer from the others.
            await asyncio.shield(task)
        found.update((key, task.result()[key]) for key, task in waiting.items())
        return found

    async def _ask(
        self, keys: list[K], ask: Callable[[list[K]], Awaitable[Mapping[K, V]]]
    ) -> Mapping[K, V]:
        try:
            answers = await ask(keys)
            for key in keys:
                self._kept[key] = answers[key]
            return answers
        finally:
            for key in keys:
                del self._asked[key]


def _seen(task: asyncio.Task[Mapping[K, V]]) -> None:
    """Nobody may be waiting any more for what failed; that is no reason for a complaint."""
    if not task.cancelled():
        task.exception()
