"""Brings the statistics by day up to date."""

from __future__ import annotations

from ee2_jobs.statistics.daily import roll_up
from ee2_operators.chores.common import Done, Work, tally


async def run(work: Work) -> Done:
    """See ee2_jobs.statistics.daily."""
    days = await roll_up(work.parts.store, dry_run=work.dry_run)
    return Done(tally([(days, "day(s) counted anew")]), days)
