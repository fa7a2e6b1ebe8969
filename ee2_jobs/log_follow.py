"""Following logs: many wait for new lines, one look at the database serves all of them.

As in `waiting.py`: a caller that waits costs no query of its own. While anybody waits, one task per
process (`looks.py`) looks at the ends of all logs waited for and at the states of their jobs, about
twice a second.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bson import ObjectId

from ee2_jobs.errors import TooMany
from ee2_jobs.looks import Looks
from ee2_jobs.model import TERMINAL, Document
from ee2_jobs.store import Store

MAX_WAIT_S = 30.0
MAX_OF_USER = 12  # who wait at the same time, in one process: some browser windows
MAX_OF_ALL = 1000

_LOOK_EVERY_S = 0.5


@dataclass(eq=False)
class _Follower:
    """One caller. have: how many lines it knows of."""

    job: ObjectId
    have: int
    answer: asyncio.Future[None]


class LogFollow:
    """Those of this process that wait for lines. One per event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._followers: set[_Follower] = set()
        self._of_user: Counter[str] = Counter()
        self._looks = Looks(self._followers, self._look, every_s=_LOOK_EVERY_S)

    async def wait(self, user: str, job: ObjectId, have: int, timeout_s: float) -> None:
        """Until the job's log has more than `have` lines, or the job has ended, or the time is
        over. TooMany if this user, or all together, wait too often at the same time; Unavailable
        if the database does not answer."""
        if self._of_user[user] >= MAX_OF_USER or len(self._followers) >= MAX_OF_ALL:
            raise TooMany(
                "Too many logs are followed at the same time: close some of the windows that show "
                "one, or ask without wait"
            )
        loop = asyncio.get_running_loop()
        follower = _Follower(job, have, loop.create_future())
        self._followers.add(follower)
        self._of_user[user] += 1
        self._looks.begin()
        try:
            async with asyncio.timeout(timeout_s):
                await follower.answer
        except TimeoutError:
            pass
        finally:
            self._followers.discard(follower)
            self._of_user[user] -= 1
            if not self._of_user[user]:
                del self._of_user[user]

    async def _look(self, asking: Sequence[_Follower]) -> None:
        jobs = {follower.job for follower in asking}
        # The states first: what a job that has ended has written is there then.
        ended = await self._ended(jobs)
        lengths = await self._lengths(jobs)
        for follower in asking:
            more = lengths.get(follower.job, 0) > follower.have
            if (more or follower.job in ended) and not follower.answer.done():
                follower.answer.set_result(None)

    async def _ended(self, jobs: Collection[ObjectId]) -> set[ObjectId]:
        query = {"_id": {"$in": list(jobs)}, "status": {"$in": list(TERMINAL)}}
        return {job["_id"] async for job in self._store.jobs.find(query, {"_id": 1})}

    async def _lengths(self, jobs: Collection[ObjectId]) -> dict[ObjectId, int]:
        """How many lines the logs have: from the last bucket of each, found by the index."""
        last: list[Document] = [
            {"$match": {"job": {"$in": list(jobs)}}},
            {"$sort": {"job": -1, "base": -1}},
            {
                "$group": {
                    "_id": "$job",
                    "base": {"$first": "$base"},
                    "count": {"$first": "$count"},
                }
            },
        ]
        found = await self._store.log_buckets.aggregate(last)
        return {row["_id"]: row["base"] + row["count"] async for row in found}
