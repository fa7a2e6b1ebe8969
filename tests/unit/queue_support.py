"""Made-up jobs and slots of a pool."""

from __future__ import annotations

from typing import Any

from ee2_jobs.queue.snapshot import PoolJob, Slot, State


def pool_job(number: int, **fields: Any) -> PoolJob:
    """An idle job of ana in njs with one core; its id ends in `number`."""
    user = fields.get("user", "ana")
    given: dict[str, Any] = {
        "job_id": f"{number:024x}", "user": user, "submitter": user, "group": "njs", "level": 0,
        "state": State.IDLE.value, "priority": 0, "queued_s": 1000 + number, "cluster": number,
        "proc": 0, "cpus": 1, "memory_mb": 1000, "disk_mb": 1000, "used_memory_mb": 0,
        "used_disk_mb": 0, "started_s": 0, "window": "", "window_places": 0, "route": "",
        "host": "", "hold": "",
    }
    return PoolJob(**{**given, **fields})


def slot(machine: str = "node1", **fields: Any) -> Slot:
    """A free machine of njs with 4 cores, 32 GB of memory, 100 GB of disk."""
    given: dict[str, Any] = {
        "machine": machine, "cpus": 4, "free_cpus": 4, "memory_mb": 32_000,
        "free_memory_mb": 32_000, "disk_mb": 100_000, "free_disk_mb": 100_000, "load": 0.0,
        "state": "Unclaimed", "drained": False, "groups": ("njs",),
    }
    return Slot(**{**given, **fields})
