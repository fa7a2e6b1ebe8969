"""The daily report on the engine's health."""

from __future__ import annotations

from ee2_jobs import health
from ee2_operators.chores.common import Done, Work
from ee2_operators.condor.pool import PoolError


async def run(work: Work) -> Done:
    """Make the report and keep it (dry run: only show it)."""
    parts = work.parts
    problems = []
    if problem := getattr(parts.groups, "problem", None):
        problems.append(f"The file of client groups is not in force: {problem}")
    if parts.teller.problem:
        problems.append(f"Other services cannot be told of changes: {parts.teller.problem}")
    try:
        await parts.pool.resources()
    except PoolError as e:
        problems.append(f"The pool does not answer: {e}")
    made = await health.report(parts.store, parts.settings, problems=problems)
    if not work.dry_run:
        await health.keep(parts.store, made)
    count = len(made.problems)
    said = f"{count} thing{'' if count == 1 else 's'} to look after" if count else "all is well"
    return Done(said, count, text=made.text())
