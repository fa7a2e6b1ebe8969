"""What new work has to pass before anything of it is stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from cachetools import TTLCache

from ee2_jobs.errors import Denied, TooMany
from ee2_jobs.limits import sizes, users
from ee2_jobs.limits.live import waiting_jobs
from ee2_jobs.limits.time import TimeRules, keys_for, rules_from
from ee2_jobs.limits.words import ANY
from ee2_jobs.store import Store

RETRY_AFTER_S = 60
# What is only meant to end a flood need not be counted at each call: how many jobs of a user wait,
# with those added here since. Another process's calls are seen that much later.
_COUNTED_S = 5.0
_waiting: TTLCache[tuple[str, str], list[int]] = TTLCache(10_000, _COUNTED_S)


async def admit(
    store: Store,
    user: str,
    needs: Sequence[Mapping[str, Any]],
    apps: Collection[str],
    *,
    name: Callable[[int], str],
    most_waiting: int,
    children: int | None = None,
    count: int | None = None,
) -> TimeRules:
    """Check new jobs against the user's limits; the rules on run time that count for them.

    needs: of each job, as `job_input.requirements` of its record. apps: their methods. name: what
    job n is called, in messages. most_waiting: how many jobs of a user may wait if nobody has set a
    ceiling. children: of a batch, how many jobs it has. count: how many jobs
    are added to those that wait; as many as `needs` if left out.

    Raises Denied if the user may not start jobs, InvalidInput for a job or a batch that is too
    large, TooMany if too many would wait. Two calls at the same moment may both find room for the
    last jobs that may wait: the ceiling on waiting jobs may be passed by one call's.
    """
    keys = [f"user:{ANY}", f"user:{user}", *sizes.keys_for(user), *keys_for(user, apps)]
    found = await store.limits.find({"_id": {"$in": keys}}).to_list()
    _require_may_start(user, [one for one in found if one["kind"] == "user"])
    of_sizes = [sizes.from_document(one) for one in found if one["kind"] == "size"]
    ceilings = sizes.ceilings_from(of_sizes, user)
    new = len(needs) if count is None else count
    if of_sizes:
        if children is not None:
            ceilings.check_children(children, "The batch has")
        checked: set[int] = set()
        for n, need in enumerate(needs):
            if id(need) not in checked:
                ceilings.check_job(need, name(n))
                checked.add(id(need))
    if (most := ceilings.of("waiting")) is not None:
        words = ceilings.by_figure["waiting"].words("waiting")
        await _require_room(store, user, most, new, words)
    else:
        await _require_usual_room(store, user, most_waiting, new)
    return rules_from(found)


def _require_may_start(user: str, found: Sequence[dict[str, Any]]) -> None:
    limits = {one.user: one for one in map(users.from_document, found) if one.in_force}
    limit = limits.get(user) or limits.get(ANY)
    if limit is not None and limit.places == 0:
        raise Denied(
            f"User {user} may not start jobs: the limit is {limit.words()}. What was accepted "
            "before waits; ask an administrator"
        )


async def _require_usual_room(store: Store, user: str, most: int, new: int) -> None:
    key = (store.db.name, user)
    counted = _waiting.get(key)
    if counted is None or counted[0] + new > most:
        words = f"{most:,} waiting jobs for who has no other ([ee2] max_waiting_jobs)"
        counted = _waiting[key] = [await _require_room(store, user, most, new, words)]
    counted[0] += new


async def _require_room(store: Store, user: str, most: int, new: int, words: str) -> int:
    """How many jobs wait. words: the ceiling, in messages."""
    waiting = await waiting_jobs(store, user, most + 1) if new <= most else 0
    if waiting + new > most:
        what = f"{new:,} more jobs" if new > 1 else "one more job"
        have = f"at least {most:,}" if waiting > most else f"{waiting:,}"
        text = f"; {have} of them wait now" if new <= most else ""
        raise TooMany(
            f"User {user} cannot have {what} wait: the ceiling is {words}{text}. "
            "Send fewer at once, or wait until some have started",
            RETRY_AFTER_S,
        )
    return waiting
