"""The engine's own chores, by name. The DAGs in dags/admin run them, in the triggerer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from ee2_operators.chores import (
    held,
    manual,
    notices,
    reap,
    reconcile,
    report,
    retention,
    silent_runners,
    statistics,
    told,
)
from ee2_operators.chores.common import Done, Work


@dataclass(frozen=True)
class Chore:
    """run: does it. what: the last word of its metric, `ee2.chore.NAME.WHAT`, and level: whether
    that is how much there is and not how much was done. deadline_s: when it is stopped; it begins
    nothing new after 4/5 of that. once: whether a cleared run is not to be done again, because it
    is somebody's order."""

    run: Callable[[Work], Awaitable[Done]]
    what: str
    deadline_s: float = 600.0
    once: bool = False
    level: bool = False


async def _nothing(work: Work) -> Done:
    """The task of the DAG that keeps dags/submissions.py known."""
    return Done("nothing to do")


CHORES: Mapping[str, Chore] = {
    "nothing": Chore(_nothing, "done"),
    "reconcile": Chore(reconcile.run, "settled"),
    "settle_held": Chore(held.run, "settled", 120.0),
    "reap": Chore(reap.run, "ended", 300.0),
    "silent_runners": Chore(silent_runners.run, "ended"),
    "statistics": Chore(statistics.run, "days"),
    "retention": Chore(retention.run, "deleted", 3600.0),
    "outbox": Chore(told.run, "waiting", level=True),
    "notices": Chore(notices.run, "new", 120.0),
    "health": Chore(report.run, "problems", 120.0, level=True),
    "cancel_user_jobs": Chore(manual.cancel_user_jobs, "cancelled", once=True),
    "drain_group": Chore(manual.drain_group, "switched", 60.0, once=True),
    "import_old_records": Chore(manual.import_old_records, "rows", 6 * 3600.0, once=True),
}
