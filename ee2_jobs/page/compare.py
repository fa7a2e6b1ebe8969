"""A few jobs side by side: what differs between their parameters, how long they took, where."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document
from ee2_jobs.page.job import app_of, load, requested, timings
from ee2_jobs.page.values import json_bytes, leaves, shrunk
from ee2_jobs.page.words import code_words, sentence

FEWEST, MOST = 2, 4
MAX_PARAMS = 500
_VALUE_BYTES = 2000
_ALL_BYTES = 500_000  # of all values together
_LEAVES = 20_000  # of one job
_NOT_HERE = ("job_output", "child_jobs", "condor_job_ads", "error")


async def compare(
    engine: Engine,
    caller: Caller,
    job_ids: Sequence[str],
    *,
    everything: bool = False,
    as_admin: bool = False,
) -> Document:
    """{jobs, params: [{path, values, same}], more, same: {image, host, version, method}}.

    job_ids: 2 to 4, all of which the caller may read. values: in the order of the jobs, null where
    a job has no such parameter (`has` tells them apart). everything: parameters that are the same,
    too.
    """
    if len(set(job_ids)) != len(job_ids) or not FEWEST <= len(job_ids) <= MOST:
        raise InvalidInput(f"ids must name {FEWEST} to {MOST} different jobs, separated by commas")
    held = [
        await load(engine, caller, job_id, as_admin=as_admin, without=_NOT_HERE)
        for job_id in job_ids
    ]
    jobs = [one.job for one in held]
    apps = await asyncio.gather(*(app_of(engine, job) for job in jobs))
    rows = await asyncio.to_thread(_params, jobs, everything)
    sides = []
    for job, app in zip(jobs, apps, strict=True):
        host = (job.get("where") or {}).get("host") or (job.get("claim") or {}).get("host")
        usage = job.get("usage") or {}
        sides.append(
            {
                "id": str(job["_id"]),
                "status": job["status"],
                "sentence": sentence(job),
                "code_words": code_words(job),
                "app": app,
                "timings": timings(job),
                "host": host if isinstance(host, str) else None,
                "requested": requested(job),
                "cpu_s": sum(_number(usage.get(k)) for k in ("cpu_user_s", "cpu_system_s")),
                "peak_memory_mb": usage.get("peak_memory_mb"),
            }
        )
    same = {
        name: len({json_bytes(value) for value in values}) == 1
        for name, values in (
            ("method", [app["method"] for app in apps]),
            ("version", [app["service_ver"] for app in apps]),
            ("image", [app["image"] for app in apps]),
            ("host", [side["host"] for side in sides]),
        )
    }
    shown = _fitting(rows)
    return {"jobs": sides, "params": shown, "more": len(rows) - len(shown), "same": same}


def _fitting(rows: Sequence[Document]) -> list[Document]:
    """The first of them that have a page's size together."""
    left, shown = _ALL_BYTES, []
    for row in rows[:MAX_PARAMS]:
        left -= len(json_bytes(row))
        if left < 0:
            break
        shown.append(row)
    return shown


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _params(jobs: Sequence[Document], everything: bool) -> list[Document]:
    columns: list[dict[str, Any]] = []
    for job in jobs:
        params = (job.get("job_input") or {}).get("params")
        pairs = zip(leaves(params), range(_LEAVES), strict=False)
        columns.append({path: value for (path, value), _ in pairs})
    rows = []
    for path in dict.fromkeys(path for column in columns for path in column):
        has = [path in column for column in columns]
        values = [column.get(path) for column in columns]
        same = all(has) and len({json_bytes(value) for value in values}) == 1
        if everything or not same:
            shown = [shrunk(value, _VALUE_BYTES)[0] for value in values]
            rows.append({"path": path, "values": shown, "has": has, "same": same})
    return rows
