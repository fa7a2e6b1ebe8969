"""Ends jobs that have waited too long: `created` ones that nothing will start, and ones that were
ready to start for longer than their client group allows (`max_created_s`, `max_queued_s`).

For a `queued` job only the time counts in which the pool might have started it: HTCondor begins to
count anew when a job is released. So a job that waits for its user's limit, for a paused engine, a
drained group or a hold by hand does not grow old. While the engine is paused nothing is reaped.
"""

from __future__ import annotations

from ee2_jobs import holds, reaping
from ee2_jobs.controls import controls
from ee2_jobs.model import ErrorCode, Status, now_s
from ee2_jobs.pool_records import PoolEnd, apply_pool_ends
from ee2_operators.chores.common import MOST, Done, Work, listed, tally
from ee2_operators.condor.pool import PoolUnavailable


async def run(work: Work) -> Done:
    """See the module."""
    parts = work.parts
    switched = await controls(parts.store)
    if switched.paused is not None:
        return Done("the engine is paused, so nothing is reaped")
    try:
        queued, more = await _queued(work, set(switched.drained))
    except PoolUnavailable as e:
        return Done(f"the pool does not answer, so nothing is reaped ({e})")
    created = await reaping.overdue_created(parts.store, parts.groups.groups)
    more = more or len(created) > MOST
    created = created[:MOST]
    text = listed(
        [
            *(f"{one.job}: {one.message}" for one in created),
            *(f"{end.job_id}: {end.message}" for end in queued),
        ]
    )
    if work.dry_run:
        counts = [len(created), len(queued)]
    else:
        counts = [
            await reaping.give_up(parts.store, created),
            await apply_pool_ends(parts.store, queued),
        ]
        if any(counts):
            parts.watcher.poke()
    said = tally(
        [
            (counts[0], "job(s) ended that nothing would have started"),
            (counts[1], "job(s) ended that the pool had no place for"),
        ]
    )
    return Done(said, sum(counts), more, text)


async def _queued(work: Work, drained: set[str]) -> tuple[list[PoolEnd], bool]:
    """Jobs that have been ready to start for too long, and whether there may be more."""
    parts = work.parts
    groups = parts.groups.groups
    shortest_s = min([reaping.QUEUED_S, *(reaping.max_queued_s(g) for g in groups.values())])
    ads = await parts.pool.idle(shortest_s, MOST)
    idle_s = {f"{a['ClusterId']}.{a['ProcId']}": now_s() - a["EnteredCurrentStatus"] for a in ads}
    ends = []
    for scheduler_id, job in (await holds.live_records(parts.store, list(idle_s))).items():
        waited_s = idle_s[scheduler_id]
        name = job.get("job_input", {}).get("requirements", {}).get("clientgroup")
        if name in drained or waited_s <= reaping.max_queued_s(groups.get(name)):
            continue
        text = reaping.not_started(job, waited_s)
        code = int(ErrorCode.TERMINATED_BY_AUTOMATION)
        ends.append(
            PoolEnd(str(job["_id"]), Status.ERROR, code, text, remove=True, line=text)
        )
    return ends, len(ads) >= MOST
