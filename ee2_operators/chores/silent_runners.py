"""Ends running jobs whose runner went silent."""

from __future__ import annotations

from ee2_operators.chores.common import Done, Work, tally
from ee2_operators.silent import settle_silent


async def run(work: Work) -> Done:
    """See ee2_operators.silent."""
    parts, settings = work.parts, work.parts.settings
    ended = await settle_silent(
        parts.store,
        parts.pool,
        settings.rpc_url,
        settings.silent_runner_s,
        work.log,
        dry_run=work.dry_run,
    )
    if ended and not work.dry_run:
        parts.watcher.poke()
    return Done(tally([(ended, "job(s) ended whose runner had gone silent")]), ended)
