"""What an action on many jobs would do, before it is asked for: how many, which, what it costs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pymongo.errors import PyMongoError

from ee2_jobs.actions import Chosen, Request, choose
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.model import LIVE, Document, Status, now_s
from ee2_jobs.page.job import timings
from ee2_jobs.page.values import cut
from ee2_jobs.statistics.percentiles import app_times, percentile

SAMPLE = 5
_TOLD = 20  # ids of one reason
_APPS = 20  # whose times are asked for
_TIMES_S = 1.5


async def preview(engine: Engine, caller: Caller, request: Request) -> Document:
    """{action, jobs, children, sample, hours_lost, expected_cpu_hours, expected_of, excluded:
    [{reason, count, ids}]}.

    children: live jobs of the batches among the jobs, which go with them. hours_lost: hours that
    the running ones have run so far. expected_cpu_hours: what running them again takes, by the
    medians of their apps and the cores they ask for; told of `expected_of` of them, null if of
    none. Errors as of `choose`.
    """
    found = await choose(engine, caller, request)
    children, lost_s, expected, known = 0, 0.0, None, 0
    if request.action == "cancel":
        children, lost_s = await _of_batches(engine, found.jobs)
        running = (job for job in found.jobs if job["status"] == Status.RUNNING)
        lost_s += sum(timings(job)["run_ms"] or 0 for job in running) / 1000
    else:
        expected, known = await _expected(engine, found.jobs)
    return {
        "action": request.action,
        "jobs": len(found.jobs),
        "children": children,
        "sample": [
            {
                "id": str(job["_id"]),
                "status": job["status"],
                "method": cut((job.get("job_input") or {}).get("method"), 160),
                "owner": cut(job["user"], 100),
                "run_ms": timings(job)["run_ms"],
            }
            for job in found.jobs[:SAMPLE]
        ],
        "hours_lost": round(lost_s / 3600, 2),
        "expected_cpu_hours": None if expected is None else round(expected, 2),
        "expected_of": known,
        "excluded": _excluded(found),
    }


def _excluded(found: Chosen) -> list[Document]:
    groups: dict[str, Document] = {}
    for job_id, reason in found.refused:
        text = reason.replace(job_id, "‹id›")
        group = groups.setdefault(text, {"reason": text, "count": 0, "ids": []})
        group["count"] += 1
        if len(group["ids"]) < _TOLD:
            group["ids"].append(job_id)
    return list(groups.values())


async def _of_batches(engine: Engine, jobs: Sequence[Document]) -> tuple[int, float]:
    """How many live jobs the batches among these have, and how long those have run, s."""
    parents = [str(job["_id"]) for job in jobs if job.get("batch_job")]
    if not parents:
        return 0, 0.0
    ran: dict[str, Any] = {"$max": [0, {"$subtract": [now_s(), "$running"]}]}
    steps: list[Document] = [
        {
            "$match": {
                "batch_id": {"$in": parents}, "status": {"$in": list(LIVE)},
                "superseded": {"$ne": True},
            }
        },
        {
            "$group": {
                "_id": None, "n": {"$sum": 1}, "run_s": {"$sum": {"$cond": ["$running", ran, 0]}},
            }
        },
    ]  # fmt: skip
    for row in await (await engine.store.jobs.aggregate(steps)).to_list():
        return int(row["n"]), float(row["run_s"])
    return 0, 0.0


async def _expected(engine: Engine, jobs: Sequence[Document]) -> tuple[float | None, int]:
    """The processor hours that these jobs are expected to take, and of how many of them that is
    told."""
    cores: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for job in jobs:
        what = job.get("job_input") or {}
        app = str(what.get("app_id") or what.get("method") or "")
        cores[app] += (what.get("requirements") or {}).get("cpu") or 1
        counts[app] += 1
    hours, known = 0.0, 0
    try:
        async with asyncio.timeout(_TIMES_S):
            for app, count in counts.most_common(_APPS):
                median_s = percentile((await app_times(engine.store, app)).runs_s, 0.5)
                if median_s is not None:
                    hours += median_s * cores[app] / 3600
                    known += count
    except (TimeoutError, PyMongoError):
        pass  # of those that are known
    return (hours, known) if known else (None, 0)
