"""What the sampler notes every half minute: a sample of the pool's load, kept for 30 days, and how
the parts of the engine are. And the chart that is made of the samples."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ee2_jobs.model import Document, now_s
from ee2_jobs.queue.snapshot import Snapshot
from ee2_jobs.store import Store

PARTS = "parts"
POOL_ANSWERS = "pool_answers"
CHART_POINTS = 336
CHART_DAYS = 7


async def add(store: Store, snapshot: Snapshot) -> None:
    """Keep a sample of the snapshot. Document: {at, waiting, running, cpus, cpus_claimed, groups:
    [[name, waiting, running]]}."""
    groups = sorted({*snapshot.in_line, *snapshot.running})
    await store.samples.insert_one(
        {
            "at": datetime.fromtimestamp(snapshot.at_s, UTC),
            "waiting": len(snapshot.places),
            "running": sum(snapshot.running.values()),
            "cpus": sum(slot.cpus for slot in snapshot.slots if not slot.drained),
            "cpus_claimed": sum(slot.cpus - slot.free_cpus for slot in snapshot.slots),
            "groups": [[g, snapshot.in_line[g], snapshot.running[g]] for g in groups],
        }
    )


async def note_pool(store: Store, problem: str | None) -> None:
    """The pool answered just now (None), or did not, and what it or the helper said. `since`: when
    that began, s."""
    now = now_s()
    same = {"$eq": [{"$ifNull": ["$problem", None]}, {"$literal": problem}]}
    since = {"$cond": [same, {"$ifNull": ["$since", now]}, now]}
    fields = {"at": now, "problem": {"$literal": problem}, "since": since}
    await store.marks.update_one({"_id": POOL_ANSWERS}, [{"$set": fields}], upsert=True)


async def note_parts(
    store: Store, airflow: Mapping[str, Any] | None, groups_problem: str | None
) -> None:
    """What Airflow says of its parts (None: its API server did not answer), and why the file of
    client groups is not in force, if it is not."""
    states: Document | None = None
    if airflow is not None:
        states = {
            str(name): str(part.get("status"))
            for name, part in airflow.items()
            if isinstance(part, Mapping) and part.get("status") is not None
        }
    await store.marks.replace_one(
        {"_id": PARTS},
        {"at": now_s(), "airflow": states, "groups_problem": groups_problem},
        upsert=True,
    )


async def marks(store: Store) -> tuple[Document, Document]:
    """What `note_pool` and `note_parts` noted last; empty if nothing yet."""
    found = {
        mark["_id"]: mark
        async for mark in store.marks.find({"_id": {"$in": [PARTS, POOL_ANSWERS]}})
    }
    return found.get(POOL_ANSWERS, {}), found.get(PARTS, {})


async def chart(store: Store, now: float) -> list[list[float]]:
    """Seven days in at most 337 points: [ms, waiting, running, cores]; means of each half hour."""
    step_ms = CHART_DAYS * 86_400_000 // CHART_POINTS
    from_ms = (round(now * 1000) // step_ms - CHART_POINTS) * step_ms
    begin = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=from_ms)
    at_ms = {"$toLong": "$at"}
    rows = await store.samples.aggregate(
        [
            {"$match": {"at": {"$gte": begin}}},
            {
                "$group": {
                    "_id": {"$subtract": [at_ms, {"$mod": [at_ms, step_ms]}]},
                    "waiting": {"$avg": "$waiting"},
                    "running": {"$avg": "$running"},
                    "cpus": {"$avg": "$cpus"},
                }
            },
            {"$sort": {"_id": 1}},
        ]
    )
    return [
        [row["_id"], round(row["waiting"], 1), round(row["running"], 1), round(row["cpus"])]
        async for row in rows
    ]
