"""Comparing the records with the pool's queue: what left the pool unnoticed is settled, and what
has no business in the pool any more leaves it. What the pool knows of jobs that went on from it by
a route, their ids there, is noted on the way."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId

from ee2_jobs import pool_records
from ee2_jobs.model import TERMINAL, Document, ErrorCode, Status, now_s
from ee2_jobs.pool_records import PoolEnd
from ee2_jobs.store import Store
from ee2_operators.condor.events import Kind, PoolEvent, from_ad
from ee2_operators.condor.outcome import outcome
from ee2_operators.condor.pool import Pool
from ee2_operators.condor.routes import batch_id_of
from ee2_operators.condor.submit import StageKey

log = logging.getLogger(__name__)

# How long a runner may take between telling the job's end and leaving the pool.
LINGER_S = 60.0
CLOCK_DIFFERENCE_S = 60.0
MOST_RECORDS = 200_000
_FEW_STAGES = 50


def pool_end(job_id: str, event: PoolEvent, *, last_try: bool = False) -> PoolEnd | None:
    """What an event means for a record that has not ended; None if it means nothing. last_try: see
    `outcome`."""
    what = outcome(event, last_try=last_try)
    if not what.ended or what.status is None:
        return None
    status = Status(what.status)
    code = what.error_code if status == Status.ERROR else what.terminated_code
    held = event.kind is Kind.HELD
    line = f"HTCondor put the job on hold: {hold_reason(event)}" if held else None
    return PoolEnd(job_id, status, code or 0, what.message, remove=held, line=line)


def hold_reason(event: PoolEvent) -> str:
    """HTCondor's own words about a hold, on one line."""
    said = " ".join(str(event.details.get("reason", "")).split())
    code, subcode = event.details.get("hold_code", "?"), event.details.get("hold_subcode", 0)
    return said or f"code {code}/{subcode}"


def lost(job_id: str) -> PoolEnd:
    """The end of a job that the pool knows nothing of."""
    return PoolEnd(
        job_id,
        Status.ERROR,
        int(ErrorCode.TERMINATED_BY_AUTOMATION),
        "The job is not in the pool any more, and the pool does not remember how it ended. "
        "Please run it again.",
    )


async def reconcile(
    store: Store, pool: Pool, older_than_s: float, *, dry_run: bool = False
) -> int:
    """Settle records that have not changed for `older_than_s` and whose job is not in the queue,
    and remove jobs from the queue whose records ended some time ago; how many were settled.
    dry_run: change nothing; how many would be.

    The records are read before the queue: what is missing in the queue then has left it, and its
    runner has told already whatever it had to tell.
    """
    records = await pool_records.open_records(store, older_than_s, MOST_RECORDS)
    queue = {f"{ad['ClusterId']}.{ad['ProcId']}": ad for ad in await pool.live()}
    gone = [r for r in records if r["scheduler_id"] not in queue]
    ends = await _left(pool, gone)
    there: dict[ObjectId, str] = {}
    for record in records:
        ad = queue.get(record["scheduler_id"])
        event = from_ad(ad) if ad else None
        if event and (end := pool_end(str(record["_id"]), event)):
            ends.append(end)
        batch_id = batch_id_of(ad) if ad else None
        if batch_id and batch_id != (record.get("where") or {}).get("batch_id"):
            there[record["_id"]] = batch_id
    if dry_run:
        return len(ends)
    await pool_records.note_batch_ids(store, there)
    settled = await pool_records.apply_pool_ends(store, ends)
    if settled:
        log.info("Settled %d records whose jobs had left the pool unnoticed", settled)
    open_ids = {r["scheduler_id"] for r in records}
    await _remove_ended(store, pool, [sid for sid in queue if sid not in open_ids])
    return settled


async def _left(pool: Pool, gone: Sequence[Document]) -> list[PoolEnd]:
    """How the jobs of these records left the pool, from its history."""
    if not gone:
        return []
    stages = {(r["submission"], r["stage"], r["try"]) for r in gone}
    keys = [StageKey(*s) for s in stages] if len(stages) <= _FEW_STAGES else None
    since_s = min(r["updated"] for r in gone) - CLOCK_DIFFERENCE_S
    history = {f"{ad['ClusterId']}.{ad['ProcId']}": ad for ad in await pool.ended(keys, since_s)}
    return [_left_as(str(r["_id"]), history.get(r["scheduler_id"])) for r in gone]


def _left_as(job_id: str, ad: Mapping[str, Any] | None) -> PoolEnd:
    event = from_ad(ad) if ad else None
    if event is None:
        return lost(job_id)
    return pool_end(job_id, event) or PoolEnd(
        job_id,
        Status.ERROR,
        int(ErrorCode.CRASHED),
        "The job's runner ended without telling how the app ended. Please run the job again; if "
        "that happens again, report it with the job's id.",
    )


async def _remove_ended(store: Store, pool: Pool, scheduler_ids: Sequence[str]) -> None:
    """Remove those of these from the pool whose records ended more than LINGER_S ago."""
    if not scheduler_ids:
        return
    found = store.jobs.find(
        {
            "scheduler_id": {"$in": list(scheduler_ids)},
            "status": {"$in": list(TERMINAL)},
            "finished": {"$lt": now_s() - LINGER_S},
        },
        {"scheduler_id": 1},
    )
    ended = [job["scheduler_id"] async for job in found]
    if ended:
        log.info("Removing %d jobs from the pool whose records have ended", len(ended))
        await pool.remove(ended, "the record of the job has ended")
