"""Finds out which messages to people have become due. Sending them is for a worker (`notifiers`):
notifiers take their connections as tasks do."""

from __future__ import annotations

from ee2_jobs.notices import sending
from ee2_jobs.notices.collect import collect
from ee2_operators.chores.common import Done, Work, tally


async def run(work: Work) -> Done:
    """See the module; nearly always nothing is due, and then no worker is started."""
    store = work.parts.store
    new = await collect(store, work.parts.settings, dry_run=work.dry_run)
    unclear = 0 if work.dry_run else await sending.settle_forgotten(store)
    due = await sending.count_due(store)
    said = tally(
        [(new, "new message(s)"), (due, "message(s) to send"), (unclear, "with no known end")]
    )
    return Done(said, new, for_worker=bool(due) and not work.dry_run)
