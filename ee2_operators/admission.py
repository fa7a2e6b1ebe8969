"""Which jobs in the pool's queue may start: limits per user, windows, a paused engine, drained
client groups (architecture, decision 9).

A job that may not start yet waits in HTCondor's queue on hold. All state is there: the job ads say
whose a job is, on what level, of which group and window. Whoever looks, after whatever crash,
decides the same. `decide` is the rule; `Admission` looks and acts, several times a second while
jobs wait, and not at all while nothing can change.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ee2_jobs.controls import Controls, controls
from ee2_jobs.lease import Lease
from ee2_jobs.limits.users import UserLimits, user_limits
from ee2_jobs.store import Store
from ee2_operators.condor.pool import Pool
from ee2_operators.condor.submit import pool_name
from ee2_operators.patience import Patience

log = logging.getLogger(__name__)

# How often the rules are read while stages are followed: how late a changed one is noticed.
RULES_S = 0.5
# How often is looked while jobs wait for a place; less often while nothing moves, up to the second.
LOOK_S, LONGEST_LOOK_S = 0.2, 0.5
QUIET_PART = 0.02
# While something is held back and no place can become free: for jobs that the pool puts back into
# the queue from a lost node.
STOPPED_LOOK_S = 2.0
MOST_HELD_BACK = 1000  # in one call
# Of several triggerers one decides. What it saw longer ago than STALE_S it does not act on, so that
# it never acts when another may have taken over.
HOLD_S, RENEW_S, STALE_S = 15.0, 4.0, 10.0

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job in the queue. idle: it may be matched any moment, and no node has it.

    user, group: as `pool_name` writes them, user None for a job of an engine before the limits,
    which no limit counts. places: of its window, None if the ad does not say.
    """

    id: str
    cluster: int
    proc: int
    priority: int = 0
    idle: bool = False
    user: str | None = None
    level: int = 0
    group: str = ""
    window: str | None = None
    places: int | None = None

    @classmethod
    def of(cls, ad: Mapping[str, Any]) -> QueuedJob:
        """From the ad of `Pool.admitted` or `Pool.waiting`."""
        return cls(
            id=f"{ad['ClusterId']}.{ad['ProcId']}",
            cluster=ad["ClusterId"],
            proc=ad["ProcId"],
            priority=ad.get("JobPrio", 0),
            idle=ad["JobStatus"] == 1,
            user=ad.get("EE2_USER"),
            level=ad.get("EE2_LEVEL", 0),
            group=ad.get("EE2_GROUP", ""),
            window=ad.get("EE2_WINDOW"),
            places=ad.get("EE2_WINDOW_PLACES"),
        )

    @property
    def order(self) -> tuple[int, bool, int, int]:
        """Sorts the next one first: by priority, and among equals who is released already, then
        as they were submitted."""
        return (-self.priority, not self.idle, self.cluster, self.proc)


@dataclass(frozen=True)
class Rules:
    """What holds jobs back, beside the windows of stages. Names are as `pool_name` writes them."""

    paused: bool = False
    drained: frozenset[str] = frozenset()
    limits: UserLimits = field(default_factory=UserLimits)

    @classmethod
    def of(cls, switched: Controls, limits: UserLimits) -> Rules:
        """From what administrators have set."""
        return cls(
            switched.paused is not None,
            frozenset(map(pool_name, switched.drained)),
            UserLimits(limits.default, {pool_name(u): n for u, n in limits.own.items()}),
        )

    @property
    def stops(self) -> bool:
        """Whether something is not to start at all, whatever becomes free."""
        return self.paused or bool(self.drained)

    def concern(self, user: str, groups: Iterable[str]) -> bool:
        """Whether jobs of this user in these groups are to be submitted on hold."""
        return (
            self.paused
            or self.limits.of(pool_name(user)) is not None
            or not self.drained.isdisjoint(map(pool_name, groups))
        )

    def scope(self) -> str:
        """ClassAd expression: the jobs that a rule or a window is about."""
        if self.paused or self.limits.default is not None:
            return "EE2_SUBMISSION =!= undefined"
        names = [f'EE2_USER =?= "{user}"' for user in self.limits.own]
        groups = [f'EE2_GROUP =?= "{group}"' for group in sorted(self.drained)]
        return " || ".join(["EE2_WINDOW =!= undefined", *names, *groups])

    def keys(self, job: QueuedJob, windows: Mapping[str, int]) -> dict[Key, int]:
        """What the job takes a place in, and how many places there are."""
        found: dict[Key, int] = {}
        if job.user is not None and (places := self.limits.of(job.user)) is not None:
            # Parents that wait for children must not take the children's places.
            found["user", job.user, job.level] = places
        if job.window is not None:
            places = windows.get(job.window) if job.places is None else job.places
            if places is not None:
                found["window", job.window, 0] = places
        return found


async def read_rules(store: Store) -> Rules:
    """The rules now: two small queries."""
    return Rules.of(*await asyncio.gather(controls(store), user_limits(store)))


@dataclass(frozen=True)
class Decision:
    """Ids of the waiting jobs to release, and of the idle ones to hold back."""

    release: tuple[str, ...] = ()
    hold_back: tuple[str, ...] = ()


def decide(
    admitted: Sequence[QueuedJob],
    waiting: Sequence[QueuedJob],
    rules: Rules,
    windows: Mapping[str, int],
) -> Decision:
    """Who may start. admitted: all jobs in the rules' scope that do not wait; waiting: those that
    do. windows: places of windows, for job ads that do not tell.

    A job keeps its place until it has left the queue: what runs, is on its way out, or was put on
    hold by hand. The places that are left go to idle and waiting jobs alike, in their order; so
    one that comes late with a higher priority gets the place of one that no node has yet.
    """
    used: Counter[Key] = Counter()
    for job in admitted:
        if not job.idle:
            used.update(rules.keys(job, windows).keys())
    release, hold_back = [], []
    idle = (job for job in admitted if job.idle)
    for job in sorted([*idle, *waiting], key=lambda j: j.order):
        keys = rules.keys(job, windows)
        if (
            not rules.paused
            and job.group not in rules.drained
            and all(used[key] < places for key, places in keys.items())
        ):
            used.update(keys.keys())
            if not job.idle:
                release.append(job.id)
        elif job.idle:
            hold_back.append(job.id)
    return Decision(tuple(release), tuple(hold_back[::-1]))


def no_use(
    admitted: Sequence[QueuedJob], rules: Rules, windows: Mapping[str, int]
) -> list[str]:
    """ClassAd expressions of waiting jobs that cannot be released now, so that thousands of them
    need not be looked at each time."""
    places: dict[Key, int] = {}
    used: Counter[Key] = Counter()
    lowest_idle: dict[Key, int] = {}
    for job in admitted:
        for key, n in rules.keys(job, windows).items():
            places[key] = n
            used[key] += 1
            if job.idle:
                lowest_idle[key] = min(job.priority, lowest_idle.get(key, job.priority))
    found = [f'EE2_GROUP =?= "{group}"' for group in sorted(rules.drained)]
    found += [f'EE2_USER =?= "{user}"' for user, n in rules.limits.own.items() if n == 0]
    if rules.limits.default == 0:
        own = [f'EE2_USER =!= "{user}"' for user, n in rules.limits.own.items() if n > 0]
        found.append(" && ".join(["EE2_USER =!= undefined", *own]))
    for key, n in places.items():
        if used[key] >= n:
            kind, name, level = key
            jobs = f'EE2_WINDOW =?= "{name}"'
            if kind == "user":
                jobs = f'EE2_USER =?= "{name}" && EE2_LEVEL =?= {level}'
            if key in lowest_idle:  # whose place one of a higher priority may have
                jobs += f" && JobPrio <= {lowest_idle[key]}"
            found.append(jobs)
    return found


class Admission:
    """Keeps the queue as `decide` says. Belongs to one event loop.

    windows: places by name of the windows that this process follows.
    """

    def __init__(
        self, store: Store, pool: Pool, windows: Callable[[], Mapping[str, int]]
    ) -> None:
        self._store = store
        self._pool = pool
        self._windows = windows
        self._lease = Lease(store, "admission", HOLD_S)
        self._leased_at: float | None = None
        self._rules = Rules()
        self._read_at = float("-inf")
        self._look_at = float("inf")
        # A process that starts may find jobs in the queue that another one left waiting.
        self._noticed = True
        self._awake = asyncio.Event()
        self._moved_at = time.monotonic()

    async def rules(self) -> Rules:
        """The rules, at most RULES_S old."""
        if time.monotonic() - self._read_at < RULES_S:
            return self._rules
        return await read_rules(self._store)

    def submitted(self, rules: Rules, *, held: bool) -> None:
        """A stage is in the queue that was submitted by these rules, some of it on hold or not."""
        # Other rules than the loop knows: it may have looked for the last time before that.
        if held or rules != self._rules:
            self.notice()

    def notice(self) -> None:
        """Jobs may wait in the queue that were not there before: look at once."""
        self._noticed = True
        self._moved_at = time.monotonic()
        self._awake.set()

    async def run(self, wanted: Callable[[], bool]) -> None:
        """Tend the queue while it is wanted."""
        patience = Patience(log)
        while wanted():
            try:
                while wanted():
                    self._awake.clear()
                    try:
                        rules, before = await read_rules(self._store), self._rules
                        self._rules, self._read_at = rules, time.monotonic()
                        if self._noticed or rules != before or self._read_at >= self._look_at:
                            self._noticed = False
                            pause_s = await self._look_if_leading(rules)
                            self._look_at = time.monotonic() + pause_s
                    except Exception as e:
                        self._noticed = True
                        await patience.wait(e)
                        continue
                    patience.over()
                    pause_s = min(max(self._look_at - time.monotonic(), 0.0), RULES_S)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause_s):
                            await self._awake.wait()
            finally:
                await self._step_back()

    async def _look_if_leading(self, rules: Rules) -> float:
        """Look and act, if no other triggerer does; in how many seconds to look again."""
        now = time.monotonic()
        if self._leased_at is None or now - self._leased_at > RENEW_S:
            self._leased_at = now if await self._lease.take() else None
            if self._leased_at is None:
                return RULES_S
        look_s = await self._look(rules)
        if look_s is None:
            await self._step_back()
            return float("inf")
        return look_s

    async def _step_back(self) -> None:
        if self._leased_at is not None:
            self._leased_at = None
            with contextlib.suppress(Exception):  # it ends by itself soon
                await self._lease.release()

    async def _look(self, rules: Rules) -> float | None:
        """Bring the queue in order; after how many seconds to look again, None for not until
        something new comes."""
        windows = self._windows()
        began = time.monotonic()
        admitted = [QueuedJob.of(ad) for ad in await self._pool.admitted(rules.scope())]
        useless = no_use(admitted, rules, windows)
        waiting: list[QueuedJob] = []
        if not rules.paused:
            waiting = [QueuedJob.of(ad) for ad in await self._pool.waiting(useless)]
        decision = decide(admitted, waiting, rules, windows)
        took_s = time.monotonic() - began
        if took_s > STALE_S:
            return 0.0
        if decision.release or decision.hold_back:
            self._moved_at = time.monotonic()
        if decision.hold_back:
            # Some may have been started meanwhile: only a new look tells which places are free.
            ids = decision.hold_back[:MOST_HELD_BACK]
            held = await self._pool.hold_back(ids, "it is not its turn to start")
            return 0.0 if held else LOOK_S
        if decision.release:
            await self._pool.release(decision.release, "it is its turn to start")
        wait = len(waiting) > len(decision.release)
        if not wait and useless:
            wait = await self._pool.anybody_waits()
        if wait and not rules.paused:
            quiet_s = time.monotonic() - self._moved_at
            return max(min(max(LOOK_S, QUIET_PART * quiet_s), LONGEST_LOOK_S), 4 * took_s)
        if wait or rules.stops or _is_over(admitted, rules, windows):
            return STOPPED_LOOK_S
        return None


def _is_over(
    admitted: Sequence[QueuedJob], rules: Rules, windows: Mapping[str, int]
) -> bool:
    """Whether more run than may, so that one which comes back into the queue must not start."""
    used: Counter[Key] = Counter()
    places: dict[Key, int] = {}
    for job in admitted:
        keys = rules.keys(job, windows)
        places |= keys
        used.update(keys.keys())
    return any(used[key] > places[key] for key in used)
