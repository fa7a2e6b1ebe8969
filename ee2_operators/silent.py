"""Running jobs whose runner went silent: asked for in the pool, and ended where they hang there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from ee2_jobs import silent
from ee2_jobs.model import Document, now_s
from ee2_jobs.store import Store
from ee2_operators.condor.pool import Pool

_RUNNING = 2


class NobodyHeard(Exception):
    """Too many runners are silent for that to be their own fault."""


async def settle_silent(
    store: Store, pool: Pool, rpc_url: str, silent_s: float, log: Any, *, dry_run: bool = False
) -> int:
    """End running jobs of which nothing was heard for `silent_s` and which the pool still calls
    running; how many. What has left the pool is for reconciliation to settle. dry_run: end none;
    how many would be.

    No healthy job ends because of an outage of ours: nothing is done unless the API server has been
    listening for that long without a break and answers at `rpc_url` now, the way that runners take.
    NobodyHeard if several jobs run and none of them was heard of: then that way is broken.
    """
    listened_s = await silent.listened_s(store)
    if listened_s < silent_s:
        log.info(
            "The API server has been listening to runners for %.0f s without a break; silence "
            "means something from %.0f s on", listened_s, silent_s
        )  # fmt: skip
        return 0
    jobs = await silent.silent_jobs(store, silent_s)
    if not jobs:
        return 0
    try:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            (await client.options(rpc_url)).raise_for_status()
    except httpx.HTTPError as e:
        log.warning("Runners cannot be heard: %s does not answer: %r", rpc_url, e)
        return 0
    queue = {f"{ad['ClusterId']}.{ad['ProcId']}": ad for ad in await pool.live()}
    hanging = hanging_jobs(jobs, queue, now_s() - silent_s)
    heard_s = await silent.anybody_heard_s(store)
    if len(hanging) > 1 and (heard_s is None or heard_s < now_s() - silent_s):
        raise NobodyHeard(
            f"{len(hanging)} jobs run in the pool and none was heard of for {silent_s:.0f} s: it "
            f"looks as if the nodes could not reach {rpc_url}. No job was ended"
        )
    for job in hanging:
        log.debug("Job %s: %s", job["_id"], silent.reason(job))
    return len(hanging) if dry_run else await silent.end_silent(store, hanging)


def hanging_jobs(
    jobs: Sequence[Document], queue: Mapping[str, Mapping[str, Any]], before_s: float
) -> list[Document]:
    """Those of the silent jobs that have been running in the pool since `before_s` or earlier. One
    that waits there to be run again, or runs again since a moment ago, has no runner to be heard;
    one that is not in the queue has left it."""
    found = []
    for job in jobs:
        ad = queue.get(job["scheduler_id"])
        if ad and ad["JobStatus"] == _RUNNING and ad["EnteredCurrentStatus"] <= before_s:
            found.append(job)
    return found
