"""Sees to it that other services are told what changed, and says what waits."""

from __future__ import annotations

from ee2_jobs import outbox
from ee2_operators.chores.common import ChoreFailed, Done, Work


async def run(work: Work) -> Done:
    """Fails if something has waited for a day, or if the changes cannot be read."""
    if not work.dry_run:
        work.parts.teller.poke()
    waiting = [one for one in await outbox.waiting(work.parts.store) if one.count]
    late = [outbox.sentence(one) for one in waiting if one.late]
    if work.parts.teller.problem:
        late.append(f"nothing can be told: {work.parts.teller.problem}")
    if late:
        raise ChoreFailed("; ".join(late))
    said = "; ".join(outbox.sentence(one) for one in waiting)
    return Done(said or "nothing waits to be told", sum(one.count for one in waiting))
