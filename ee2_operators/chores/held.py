"""Settles jobs that HTCondor holds for a reason of its own: the missed, the slow and the healable.

The watcher ends a job within a second of a hold that is its end, and reconciliation what the
watcher missed. What is left is here: a hold that may heal on another node is released once and only
then given up; one by hand (`condor_hold`) is left alone, and its job's owner told after a while.
Jobs that wait for admission are on hold too, and are no business of this.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ee2_jobs import holds
from ee2_jobs.holds import Hold
from ee2_jobs.model import Document, now_s
from ee2_jobs.pool_records import PoolEnd, apply_pool_ends
from ee2_operators.chores.common import MOST, Done, Work, listed, tally
from ee2_operators.condor.events import from_ad
from ee2_operators.condor.outcome import MAY_HEAL
from ee2_operators.condor.submit import BY_HAND_HOLD_CODE
from ee2_operators.reconcile import hold_reason, pool_end

# A hold that heals by itself (spooling) has so long to do it, a release so long to take effect.
PATIENCE_S = 600.0
SPOOLING_CODE = 16


async def run(work: Work) -> Done:
    """See the module."""
    store, pool = work.parts.store, work.parts.pool
    ads = await pool.held(MOST)
    records = await holds.live_records(store, [_scheduler_id(ad) for ad in ads])
    found, ends, release, tell = [], [], [], []
    for ad in ads:
        job = records.get(_scheduler_id(ad))
        if job is None:
            continue  # it has ended; reconciliation takes it out of the pool
        hold = _hold(ad, job)
        found.append(hold)
        if hold.code == BY_HAND_HOLD_CODE:
            if now_s() - hold.at_s > work.parts.settings.hold_told_s:
                tell.append(hold)
        elif hold.code in MAY_HEAL and _patient(hold, job):
            if not job.get("released") and _due(hold):
                release.append(hold)
        elif end := _end(ad, job):
            ends.append(end)
    if not work.dry_run:
        await holds.note(store, found, all_of_them=len(ads) < MOST)
        if release:
            ids = [h.scheduler_id for h in release]
            await pool.release(ids, "a hold that may heal: once more")
        for hold in release:
            await holds.note_released(store, hold)
        told = [h for h in tell if await holds.tell_owner(store, h, by_hand(h))]
        ended = await apply_pool_ends(store, ends)
        if ended:
            work.parts.watcher.poke()
    else:
        told = [h for h in tell if not (records[h.scheduler_id].get("held") or {}).get("told")]
        ended = len(ends)
    counts = [
        (ended, "job(s) on hold ended"),
        (len(release), "job(s) on hold released to try once more"),
        (len(told), "owner(s) told of a hold by hand"),
    ]
    text = listed(
        [
            *(f"{one.job_id} ends: {one.line}" for one in ends),
            *(f"{one.job} is released: {one.reason}" for one in release),
            *(f"{one.job} is on hold by hand: {one.reason}" for one in told),
        ]
    )
    return Done(tally(counts), sum(n for n, _ in counts), len(ads) >= MOST, text)


def _patient(hold: Hold, job: Document) -> bool:
    """Whether the hold may still heal: it has not been released yet, or a moment ago."""
    released = job.get("released")
    if not released:
        return True
    return bool(hold.at_s <= released["at"] and now_s() - released["at"] < PATIENCE_S)


def _due(hold: Hold) -> bool:
    return hold.code != SPOOLING_CODE or now_s() - hold.at_s > PATIENCE_S


def _end(ad: Mapping[str, Any], job: Document) -> PoolEnd | None:
    event = from_ad(ad)
    return pool_end(str(job["_id"]), event, last_try=True) if event else None


def _scheduler_id(ad: Mapping[str, Any]) -> str:
    return f"{ad['ClusterId']}.{ad['ProcId']}"


def _hold(ad: Mapping[str, Any], job: Document) -> Hold:
    event = from_ad(ad)
    return Hold(
        job["_id"],
        _scheduler_id(ad),
        ad.get("HoldReasonCode", -1),
        ad.get("HoldReasonSubCode", 0),
        hold_reason(event) if event else "",
        float(ad["EnteredCurrentStatus"]),
    )


def by_hand(hold: Hold) -> str:
    """What the owner of a job is told that somebody has put on hold."""
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(hold.at_s))
    return (
        f"An administrator of the pool put the job on hold on {since} ({hold.reason}). It waits to "
        "be released. Ask the administrators, or cancel it."
    )
