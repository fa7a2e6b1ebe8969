"""The live jobs that limits count: what this engine runs for a user. Not the parents of batches,
and not what other services only tell of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ee2_jobs.model import LIVE, WAITING, Document, Status
from ee2_jobs.store import Store

COUNTED: Document = {
    "status": {"$in": list(LIVE)},
    "batch_job": False,
    "submission": {"$exists": True},
}
"""The live jobs that count; the filter of the index INDEX."""
COUNTED_WAITING: Document = {**COUNTED, "$and": [{"status": {"$in": list(WAITING)}}]}
"""Those that wait. MongoDB knows that the index has them all only if its filter stands in a query
word for word: with another `$in` it would look through all of it."""
INDEX = "counted_by_limits"


@dataclass
class LiveJobs:
    """A user's live jobs by level: a job that a user submitted is of level 0, what that one submits
    of level 1, and so on. Each level is counted by itself against the limit."""

    running: Counter[int] = field(default_factory=Counter)
    waiting: Counter[int] = field(default_factory=Counter)

    def held_back(self, places: int | None) -> int:
        """Waiting jobs that would wait because so many may run."""
        if places is None:
            return 0
        free = {level: max(0, places - self.running[level]) for level in self.waiting}
        return sum(max(0, n - free[level]) for level, n in self.waiting.items())

    def over(self, places: int | None) -> int:
        """Running jobs beyond a limit: they go on."""
        if places is None:
            return 0
        return sum(max(0, n - places) for n in self.running.values())


async def live_jobs(store: Store, user: str | None = None) -> dict[str, LiveJobs]:
    """The live jobs by user, of one user if given; one aggregation."""
    match = COUNTED if user is None else {**COUNTED, "user": user}
    found: dict[str, LiveJobs] = {}
    rows = await store.jobs.aggregate(
        [
            {"$match": match},
            {
                "$group": {
                    "_id": {"user": "$user", "status": "$status", "level": "$level"},
                    "n": {"$sum": 1},
                }
            },
        ],
        hint=INDEX,
    )
    async for row in rows:
        key: Mapping[str, object] = row["_id"]
        mine = found.setdefault(str(key["user"]), LiveJobs())
        level = key.get("level") or 0
        assert isinstance(level, int)
        counted = mine.running if key["status"] == Status.RUNNING.value else mine.waiting
        counted[level] += row["n"]
    return found


async def waiting_jobs(store: Store, user: str, most: int) -> int:
    """How many jobs of a user wait; counts no further than `most`."""
    query = {**COUNTED_WAITING, "user": user}
    return await store.jobs.count_documents(query, limit=most, hint=INDEX)
