"""One watcher per pool: follows all stages that are in the pool, for all triggers of a process.

The runner on the node tells the server how its job went; the watcher is for everything else. It
counts what is still to end (one query for all stages), reads the clusters' user logs for ends that
no runner could tell, removes from the pool what was cancelled, releases those whose turn it is
(admission.py), and every half minute compares the records with the queue. All of it may be done
again at any time: nothing is only in memory.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from ee2_jobs import pool_records, priority, stages
from ee2_jobs.limits import time as time_limits
from ee2_jobs.model import StageName
from ee2_jobs.store import Store
from ee2_operators.admission import Admission
from ee2_operators.condor.events import Kind, PoolEvent
from ee2_operators.condor.outcome import outcome
from ee2_operators.condor.pool import Pool
from ee2_operators.condor.submit import StageKey, log_path
from ee2_operators.patience import Patience
from ee2_operators.reconcile import pool_end, reconcile

log = logging.getLogger(__name__)

COUNT_S = 0.2
# A stage that does not change is counted less and less often: this part of its quiet time.
QUIET_PART = 0.02
LONGEST_COUNT_S = 1.0
POOL_S = 0.5
LOGS_S = 1.0
RECONCILE_S = 30.0
MOST_NOTES = 50

RunKey = tuple[str, StageName, int]


@dataclass(frozen=True)
class Window:
    """How many of the jobs that carry the window's name may be active in the pool at a time; the
    others wait there on hold."""

    name: str
    places: int


@dataclass
class Followed:
    """A stage in the pool, as its trigger sees it.

    jobs: job id by scheduler id. live: how many are still to end, None before the first count.
    notes: what the pool says that ends no job, for the task's log. changed: set whenever one of the
    two changes. window: None if all jobs may be active at once.
    """

    key: StageKey
    user_log: str
    jobs: dict[str, str]
    window: Window | None = None
    live: int | None = None
    notes: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def run_key(self) -> RunKey:
        """The stage as the ground floor names it."""
        return (self.key.submission_id, StageName(self.key.stage), self.key.try_number)


class Watcher:
    """See the module. Belongs to one event loop; costs nothing while there is nothing to do."""

    def __init__(self, store: Store, pool: Pool) -> None:
        self._store = store
        self._pool = pool
        self._followed: dict[RunKey, Followed] = {}
        self._by_cluster: dict[str, Followed] = {}
        self._offsets: dict[str, int | None] = {}
        self._held: set[str] = set()
        self._removing = False
        self.admission = Admission(store, pool, self._windows)
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._changed_at = time.monotonic()
        self._logs_at = 0.0
        self._reconciled_at = time.monotonic()

    def follow(
        self,
        key: StageKey,
        stage_dir: str,
        jobs: Mapping[str, str],
        window: Window | None = None,
    ) -> Followed:
        """Follow a stage whose jobs (job id by scheduler id) are in the pool, until `unfollow`."""
        followed = Followed(key, log_path(stage_dir, key), {}, window)
        self._followed[followed.run_key] = followed
        self._offsets[followed.user_log] = None
        self.add(followed, jobs)
        return followed

    def add(self, followed: Followed, jobs: Mapping[str, str]) -> None:
        """The stage has further jobs in the pool."""
        followed.jobs.update(jobs)
        for scheduler_id in jobs:
            self._by_cluster[scheduler_id.partition(".")[0]] = followed
        self.poke()

    def unfollow(self, followed: Followed) -> None:
        """Stop following. What of it is to be removed from the pool is still removed."""
        if self._followed.get(followed.run_key) is followed:
            del self._followed[followed.run_key]
            del self._offsets[followed.user_log]
        for cluster in [c for c, f in self._by_cluster.items() if f is followed]:
            del self._by_cluster[cluster]
        self.poke()

    def follows(self, submission_id: str) -> bool:
        """Whether a stage of the submission is followed here."""
        return any(run_key[0] == submission_id for run_key in self._followed)

    def poke(self) -> None:
        """Have the watcher look for what is to be removed, even if it follows nothing."""
        self._changed_at = time.monotonic()
        self._removing = True
        chores = {
            "count": self._counting,
            "pool": self._minding_the_pool,
            "admission": self._admitting,
        }
        for name, body in chores.items():
            loop = self._loops.get(name)
            if loop is None or loop.done():
                # In a context of its own: what it logs belongs to no single task's log.
                self._loops[name] = asyncio.create_task(
                    body(), name=f"ee2 watcher: {name}", context=contextvars.Context()
                )

    async def _counting(self) -> None:
        patience = Patience(log)
        while self._followed:
            began = time.monotonic()
            if await _attempt(self._count, patience):
                took_s = time.monotonic() - began
                quiet_s = time.monotonic() - self._changed_at
                pause_s = min(max(COUNT_S, QUIET_PART * quiet_s), LONGEST_COUNT_S)
                await asyncio.sleep(max(pause_s, 5 * took_s))

    async def _minding_the_pool(self) -> None:
        patience = Patience(log)
        while self._followed or self._removing:
            if await _attempt(self._mind_the_pool, patience):
                await asyncio.sleep(POOL_S)

    async def _admitting(self) -> None:
        await self.admission.run(lambda: bool(self._followed))

    def _windows(self) -> dict[str, int]:
        """The places of the followed stages' windows, by name."""
        return {f.window.name: f.window.places for f in self._followed.values() if f.window}

    async def _count(self) -> None:
        counts = await stages.live_counts(self._store, list(self._followed))
        for run_key, live in counts.items():
            followed = self._followed.get(run_key)
            if followed is not None and followed.live != live:
                followed.live = live
                followed.changed.set()
                self._changed_at = time.monotonic()

    async def _mind_the_pool(self) -> None:
        now = time.monotonic()
        if self._followed and now - self._logs_at >= LOGS_S:
            await self._read_logs()
            self._logs_at = now
        await self._remove()
        await self._prioritise()
        await self._retime()
        if self._followed and now - self._reconciled_at >= RECONCILE_S:
            await reconcile(self._store, self._pool, RECONCILE_S)
            self._reconciled_at = now

    async def _read_logs(self) -> None:
        asked = dict(self._offsets)
        events, offsets = await self._pool.events(asked)
        ends = []
        for event in events:
            stage = self._by_cluster.get(str(event.cluster))
            job_id = stage.jobs.get(event.scheduler_id) if stage else None
            if stage is None or job_id is None:
                continue
            if end := pool_end(job_id, event):
                ends.append(end)
            self._note(stage, job_id, event)
        await pool_records.apply_pool_ends(self._store, ends)
        for path, offset in offsets.items():
            # Not if somebody has begun to follow the stage anew meanwhile.
            if path in self._offsets and self._offsets[path] == asked[path]:
                self._offsets[path] = offset

    def _note(self, followed: Followed, job_id: str, event: PoolEvent) -> None:
        what = outcome(event)
        if event.kind is Kind.HELD and what.ended:
            # It stays in the queue until it is removed, whoever has told how it ended.
            self._held.add(event.scheduler_id)
        elif what.message and not what.ended and len(followed.notes) < MOST_NOTES:
            text = f"Job {job_id}: {what.message}"
            if event.kind is Kind.AWAY:  # it is the same for all of them
                text = what.message
                if text in followed.notes:
                    return
            followed.notes.append(text)
            followed.changed.set()

    async def _prioritise(self) -> None:
        for value, jobs in (await priority.to_tell_the_pool(self._store)).items():
            await self._pool.set_priority(list(jobs), value)
            self.admission.notice()
            await priority.told_the_pool(self._store, value, list(jobs.values()))

    async def _retime(self) -> None:
        for limit_s, jobs in (await time_limits.to_tell_the_pool(self._store)).items():
            await self._pool.set_time_limit(list(jobs), limit_s)
            await time_limits.told_the_pool(self._store, limit_s, list(jobs.values()))

    async def _remove(self) -> None:
        self._removing = False
        flagged = await pool_records.to_remove(self._store)
        leaving = [*flagged, *self._held]
        if leaving:
            await self._pool.remove(leaving, "the job has ended or was cancelled")
            await pool_records.removed(self._store, list(flagged.values()))
            self._held.difference_update(leaving)
            self._removing = True


async def _attempt(chore: Callable[[], Awaitable[None]], patience: Patience) -> bool:
    """Whether the chore succeeded. After a failure of any kind it is time to try again."""
    try:
        await chore()
    except Exception as e:
        await patience.wait(e)
        return False
    patience.over()
    return True
