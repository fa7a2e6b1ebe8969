"""Takes the pictures of the pool that positions, reasons and expectations are told from.

One per process, in the background of the triggerer, beside the watcher and the teller; of several
processes one works at a time. It asks the pool every 5 s while anybody wants to know, else every
30 s, and every 30 s it adds a sample to the month's, and works on the history.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from ee2_jobs.client_groups import ClientGroups, GroupsFile
from ee2_jobs.controls import controls
from ee2_jobs.lease import Lease
from ee2_jobs.limits.users import user_limits
from ee2_jobs.model import now_s
from ee2_jobs.queue import predictions, samples
from ee2_jobs.queue.history import HistoryKeeper
from ee2_jobs.queue.order import line_up
from ee2_jobs.queue.reason import Facts
from ee2_jobs.queue.snapshot import PoolJob, Share, Slot, Snapshot, State, is_wanted, keep_pool
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from ee2_operators.background import Background
from ee2_operators.condor.pool import Pool, PoolError
from ee2_operators.condor.submit import BY_HAND_HOLD_CODE, HELD_BACK_SUBCODE, WAITS_HOLD_CODE
from ee2_operators.patience import Patience

log = logging.getLogger(__name__)

QUICK_S = 5.0
SLOW_S = 30.0
_IDLE, _RUNNING, _HELD, _SENDING, _SUSPENDED = 1, 2, 5, 6, 7
# In the order of `_job`.
JOB_NAMES = (
    "EE2_JOB_ID ClusterId ProcId JobStatus JobPrio QDate EE2_USER EE2_GROUP EE2_LEVEL"
    " AccountingGroup Owner RequestCpus RequestMemory RequestDisk EE2_WINDOW EE2_WINDOW_PLACES"
    " EE2_ROUTE HoldReasonCode HoldReasonSubCode HoldReason"
    " JobCurrentStartExecutingDate JobCurrentStartDate RemoteHost MemoryUsage DiskUsage"
).split()
SLOT_NAMES = (
    "Name Machine PartitionableSlot State Draining Cpus Memory Disk TotalSlotCpus TotalSlotMemory"
    " TotalSlotDisk TotalCondorLoadAvg CondorLoadAvg Offline"
).split()
_REMOTE_HOST = JOB_NAMES.index("RemoteHost")
_CUT_OUT = re.compile(r"_[0-9]+@")  # slot1_7@node is cut out of slot1@node


class Sampler(Background):
    """See the module. Belongs to one event loop. pool: of its own, so that nobody waits for its
    questions. `problem`: why it does not work now, for people."""

    name = "sampler"

    def __init__(
        self, store: Store, settings: Settings, groups: GroupsFile | ClientGroups, pool: Pool
    ) -> None:
        super().__init__()
        self._store = store
        self._settings = settings
        self._groups = groups
        self._pool = pool
        self._lease = Lease(store, "sampler")
        self._patience = Patience(log)

    async def stop(self) -> None:
        """See Background."""
        await super().stop()
        await self._pool.close()

    async def _work_on(self) -> None:
        while True:
            try:
                while not await self._lease.take():
                    self._fine()
                    await asyncio.sleep(SLOW_S / 3)
                await self._work()
            except Exception as e:
                self.problem = f"{type(e).__name__}: {e}"
                await self._patience.wait(e)
            finally:
                # Also when it is stopped; if MongoDB is away the lease ends by itself.
                await asyncio.gather(self._lease.release(), return_exceptions=True)

    async def _work(self) -> None:
        """Take pictures, for as long as this process holds the lease and MongoDB answers."""
        keeper = HistoryKeeper(self._store, self._groups.default)
        sampled = pictured = -SLOW_S
        while await self._lease.take():
            now = time.monotonic()
            if now - pictured >= SLOW_S or await is_wanted(self._store):
                snapshot = await self._picture()
                pictured = now
                if now - sampled >= SLOW_S:
                    sampled = now
                    await self._every_half_minute(keeper, snapshot)
                self._fine()
            took_s = time.monotonic() - now
            await asyncio.sleep(max(QUICK_S - took_s, 2 * took_s, 0.5))

    async def _picture(self) -> Snapshot | None:
        """The snapshot, stored; None if the pool does not answer, which is noted."""
        try:
            snapshot = await take(self._pool, self._groups)
        except PoolError as e:
            await samples.note_pool(self._store, str(e))
            return None
        size = await keep_pool(self._store, snapshot)
        log.debug("%d jobs in a snapshot of %d bytes", len(snapshot.jobs), size)
        await samples.note_pool(self._store, None)
        return snapshot

    async def _every_half_minute(self, keeper: HistoryKeeper, snapshot: Snapshot | None) -> None:
        history = await keeper.refresh()
        if snapshot is not None:
            facts = Facts(
                snapshot, await controls(self._store), await user_limits(self._store)
            )
            default = self._groups.default
            await predictions.note_new(self._store, facts, history, default)
            await samples.add(self._store, snapshot)
        await samples.note_parts(self._store, await self._airflow(), self._groups.problem)

    async def _airflow(self) -> Mapping[str, Any] | None:
        """What Airflow says of its parts' health; None if its API server does not answer."""
        parts = urlsplit(self._settings.rpc_url)
        path = parts.path.partition("/services/")[0]
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
                url = f"{parts.scheme}://{parts.netloc}{path}/api/v2/monitor/health"
                answer = await client.get(url)
            health = answer.json() if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return None
        return health if isinstance(health, dict) else None

    def _fine(self) -> None:
        self._patience.over()
        self.problem = None


async def take(pool: Pool, groups: GroupsFile | ClientGroups) -> Snapshot:
    """A picture of the pool as it is now, its jobs in line. PoolUnavailable if it does not answer.
    """
    expressions = {name: g.machine_requirements() for name, g in groups.groups.items()}
    found = await pool.picture(JOB_NAMES, SLOT_NAMES, expressions)
    return await asyncio.to_thread(from_ads, now_s(), found, groups.default)


def from_ads(at_s: float, found: Mapping[str, Any], default: str) -> Snapshot:
    """What `Pool.picture` found as a snapshot. default: the group of jobs that name none. Pure."""
    jobs = [_job(row, default) for row in found["jobs"]]
    taken: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row, job in zip(found["jobs"], jobs, strict=True):
        if job.state == State.RUNNING:
            in_slot = taken[_CUT_OUT.sub("@", row[_REMOTE_HOST] or "")]
            for n, amount in enumerate(job.size):
                in_slot[n] += amount
    slots = [_slot(ad, taken[str(ad.get("Name", ""))]) for ad in found["slots"]]
    shares = {
        str(ad["Name"]).partition("@")[0]: Share(
            float(ad["Priority"]), float(ad.get("WeightedResourcesUsed", 0.0))
        )
        for ad in found["users"]
        if "Priority" in ad and not ad.get("IsAccountingGroup")
    }
    return line_up(at_s, jobs, slots, shares)


def _job(row: Sequence[Any], default: str) -> PoolJob:
    (job_id, cluster, proc, status, priority, queued, user, group, level, accounting, owner, cpus,
     memory, disk, window, places, route, code, subcode, why, executing, started, host, used_memory,
     used_disk) = row
    state = State.OTHER
    if status == _IDLE:
        state = State.IDLE
    elif status in (_RUNNING, _SENDING, _SUSPENDED):
        state = State.RUNNING
    elif status == _HELD:
        by_us = code == WAITS_HOLD_CODE or (
            code == BY_HAND_HOLD_CODE and subcode == HELD_BACK_SUBCODE
        )
        state = State.WAITS if by_us else State.HELD
    name = user or owner or ""
    return PoolJob(
        job_id=job_id,
        user=name,
        submitter=(accounting or owner or name).partition("@")[0],
        group=group or default,
        level=int(level or 0),
        state=state.value,
        priority=int(priority or 0),
        queued_s=int(queued or 0),
        cluster=cluster,
        proc=proc,
        cpus=int(cpus or 1),
        memory_mb=int(memory or 0),
        disk_mb=int(disk or 0) // 1024,
        used_memory_mb=int(used_memory or 0) if state is State.RUNNING else 0,
        used_disk_mb=int(used_disk or 0) // 1024 if state is State.RUNNING else 0,
        started_s=int(executing or started or 0) if state is State.RUNNING else 0,
        window=window or "",
        window_places=int(places or 0),
        route=route or "",
        host=(host or "").rpartition("@")[2] if state is State.RUNNING else "",
        hold=str(why or "")[:500] if state is State.HELD else "",
    )


def _slot(ad: Mapping[str, Any], taken: Sequence[int]) -> Slot:
    """taken: cores, memory, disk (MB) of our jobs that run there. The collector hears of a job
    later than the schedd, so less may be free than it says."""
    whole = bool(ad.get("PartitionableSlot"))
    state = str(ad.get("State", ""))
    cpus, memory_mb, disk_mb = (
        int(ad.get(f"TotalSlot{name}", ad.get(name, 0)) if whole else ad.get(name, 0))
        // (1024 if name == "Disk" else 1)
        for name in ("Cpus", "Memory", "Disk")
    )
    free = [0, 0, 0]
    if whole or state == "Unclaimed":  # what dynamic slots have is missing from the whole
        free = [int(ad.get("Cpus", 0)), int(ad.get("Memory", 0)), int(ad.get("Disk", 0)) // 1024]
    free_cpus, free_memory_mb, free_disk_mb = (
        max(0, min(left, has - gone))
        for left, has, gone in zip(free, (cpus, memory_mb, disk_mb), taken, strict=True)
    )
    return Slot(
        machine=str(ad.get("Machine", "")),
        cpus=cpus,
        free_cpus=free_cpus,
        memory_mb=memory_mb,
        free_memory_mb=free_memory_mb,
        disk_mb=disk_mb,
        free_disk_mb=free_disk_mb,
        load=round(float(ad.get("TotalCondorLoadAvg" if whole else "CondorLoadAvg", 0.0)), 2),
        state=state,
        drained=bool(ad.get("Draining") or ad.get("Offline")) or state in ("Drained", "Owner"),
        groups=tuple(ad["groups"]),
    )
