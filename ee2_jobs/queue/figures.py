"""All that answers about the queue are made of, for one process: read once for all who ask."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from ee2_jobs.controls import controls
from ee2_jobs.limits.users import user_limits
from ee2_jobs.model import now_s
from ee2_jobs.queue import history
from ee2_jobs.queue.history import History
from ee2_jobs.queue.reason import LATE_S, Facts, clock
from ee2_jobs.queue.snapshot import Kept, Snapshots
from ee2_jobs.store import Store

KEEP_S = 1.0
HISTORY_LOOK_S = 5.0


@dataclass(frozen=True)
class Figures:
    """Of one moment. facts: of the pool, the controls and the limits. history: of the last weeks.
    """

    facts: Facts
    history: History

    @property
    def at_s(self) -> float | None:
        """When the pool was looked at, s; None if it was not."""
        return self.facts.snapshot.at_s if self.facts.snapshot else None

    @property
    def note(self) -> str | None:
        """What is to be said of figures that are late, or are not there."""
        if self.at_s is None:
            return "no figures of the pool"
        return f"figures from {clock(self.at_s)}" if now_s() - self.at_s > LATE_S else None


class FiguresReader:
    """Reads them, at most once a second however many ask."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._snapshots = Snapshots(store)
        self._history = Kept(store, history.NAME, history.decode, HISTORY_LOOK_S)
        self._line = asyncio.Lock()
        self._read = -KEEP_S
        self._figures: Figures | None = None

    async def current(self) -> Figures:
        """The newest figures. PyMongoError if MongoDB is away."""
        if self._figures is not None and time.monotonic() - self._read < KEEP_S:
            return self._figures
        async with self._line:
            if self._figures is None or time.monotonic() - self._read >= KEEP_S:
                snapshot = await self._snapshots.current()
                now_controls = await controls(self._store)
                limits = await user_limits(self._store)
                facts = Facts(snapshot, now_controls, limits)
                old = self._figures and self._figures.facts
                if old == facts:  # with what it has worked out already
                    facts = old
                self._figures = Figures(facts, await self._history.get() or History())
                self._read = time.monotonic()
            return self._figures
