"""What new work has to pass before anything of it is stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ee2_jobs.errors import Denied, TooMany
from ee2_jobs.limits import sizes, users
from ee2_jobs.limits.live import waiting_jobs
from ee2_jobs.limits.time import TimeRules, keys_for, rules_from
from ee2_jobs.limits.words import ANY
from ee2_jobs.store import Store

RETRY_AFTER_S = 60


async def admit(
    store: Store,
    user: str,
    needs: Sequence[Mapping[str, Any]],
    apps: Collection[str],
    *,
    name: Callable[[int], str],
    children: int | None = None,
    count: int | None = None,
) -> TimeRules:
    """Check new jobs against the user's limits; the rules on run time that count for them.

    needs: of each job, as `job_input.requirements` of its record. apps: their methods. name: what
    job n is called, in messages. children: of a batch, how many jobs it has. count: how many jobs
    are added to those that wait; as many as `needs` if left out.

    Raises Denied if the user may not start jobs, InvalidInput for a job or a batch that is too
    large, TooMany if too many would wait. Two calls at the same moment may both find room for the
    last jobs that may wait: the ceiling on waiting jobs may be passed by one call's.
    """
    keys = [f"user:{ANY}", f"user:{user}", *sizes.keys_for(user), *keys_for(user, apps)]
    found = await store.limits.find({"_id": {"$in": keys}}).to_list()
    _require_may_start(user, [one for one in found if one["kind"] == "user"])
    of_sizes = [sizes.from_document(one) for one in found if one["kind"] == "size"]
    if of_sizes:
        ceilings = sizes.ceilings_from(of_sizes, user)
        if children is not None:
            ceilings.check_children(children, "The batch has")
        checked: set[int] = set()
        for n, need in enumerate(needs):
            if id(need) not in checked:
                ceilings.check_job(need, name(n))
                checked.add(id(need))
        await _require_room(store, user, ceilings, len(needs) if count is None else count)
    return rules_from(found)


def _require_may_start(user: str, found: Sequence[dict[str, Any]]) -> None:
    limits = {one.user: one for one in map(users.from_document, found) if one.in_force}
    limit = limits.get(user) or limits.get(ANY)
    if limit is not None and limit.places == 0:
        raise Denied(
            f"User {user} may not start jobs: the limit is {limit.words()}. What was accepted "
            "before waits; ask an administrator"
        )


async def _require_room(store: Store, user: str, ceilings: sizes.Ceilings, new: int) -> None:
    most = ceilings.of("waiting")
    if most is None:
        return
    waiting = await waiting_jobs(store, user, most + 1) if new <= most else 0
    if waiting + new > most:
        what = f"{new:,} more jobs" if new > 1 else "one more job"
        have = f"at least {most:,}" if waiting > most else f"{waiting:,}"
        text = f"; {have} of them wait now" if new <= most else ""
        raise TooMany(
            f"User {user} cannot have {what} wait: the ceiling is "
            f"{ceilings.by_figure['waiting'].words('waiting')}{text}. "
            "Send fewer at once, or wait until some have started",
            RETRY_AFTER_S,
        )
