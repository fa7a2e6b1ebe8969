"""Waiting for jobs: many callers wait, one look at the database serves all of them.

A caller that waits costs no query of its own. While anybody waits, one task per process
(`looks.py`) looks at all jobs waited for, about three times a second: one query for the jobs, and
one for batches if any are among them. When looks get slow, they get rare: down to one in two
seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from ee2_jobs.checks import job_state, no_read_permission
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, Unavailable, shown
from ee2_jobs.identity import Caller
from ee2_jobs.looks import DATABASE_S, Looks, no_answer
from ee2_jobs.model import LIVE, TERMINAL, Document, StageName, Status, job_oid
from ee2_jobs.rights import Level, permitted, require_admin
from ee2_jobs.store import Store

MAX_JOBS = 1000  # in one call
MAX_TIMEOUT_S = 60.0
DEFAULT_TIMEOUT_S = 30.0
MAX_WAITERS = 2000  # in one process
MAX_WAITERS_OF_USER = 500  # of them
MAX_WATCHED = 100_000  # jobs of all waiters together

_LOOK_EVERY_S = 0.3
_FIELDS = dict.fromkeys(("status", "updated", "batch_job", "queued", "running", "finished"), 1)
_GROUPED: Document = {
    "$group": {
        "_id": {
            "b": "$batch_id", "r": "$role", "s": "$status",
            "old": "$superseded", "left": "$abandoned",
        },
        "n": {"$sum": 1},
    }
}  # fmt: skip
_SPLIT, _AGGREGATE = StageName.SPLIT.value, StageName.AGGREGATE.value


@dataclass(frozen=True)
class Standing:
    """How a job stands. child_counts (children per state: newest attempts, without abandoned
    children) and stages (state of the split and of the aggregate) belong to the parents of batches,
    and are None for others.

    end: completed, error or terminated once all of it has ended. A parent's own record tells only
    of a cancel (rule C-10): how a batch ended follows from its jobs. With an aggregate it is the
    aggregate's success that counts, without one that of all children.
    """

    state: Document
    end: str | None
    child_counts: Mapping[str, int] | None = None
    stages: Mapping[str, str] | None = None

    def wire(self) -> Document:
        """As clients get it; times in whole ms."""
        answer: Document = {k: self.state[k] for k in ("job_id", "status", "created", "updated")}
        answer |= {k: self.state[k] for k in ("queued", "running", "finished") if k in self.state}
        answer |= {"batch_job": self.state["batch_job"], "end": self.end}
        if self.child_counts is not None:
            answer |= {"child_counts": self.child_counts, "stages": self.stages}
        return answer


@dataclass(frozen=True)
class Waited:
    """The answer: states by id as given (or the `failure` mapping of check_jobs), the word that
    stands for them all, and whether the time was over before what was waited for came."""

    job_states: dict[str, Document]
    since: str
    timed_out: bool


@dataclass(eq=False)
class _Waiter:
    """One caller. since: None while it knows nothing, so that whatever there is is news."""

    oids: Sequence[ObjectId]
    to_the_end: bool
    since: str | None
    deadline: float
    answer: asyncio.Future[tuple[dict[ObjectId, Standing], str, bool]]

    def look(self, standings: Mapping[ObjectId, Standing], now: float) -> None:
        """Answer if there is what the caller waits for, or its time is over."""
        if self.answer.done():
            return
        mine = {oid: standings[oid] for oid in self.oids if oid in standings}
        word = _word(mine.values())
        ended = all(s.end for s in mine.values())
        if ended if self.to_the_end else (word != self.since or ended):
            self.answer.set_result((mine, word, False))
        elif now >= self.deadline:
            self.answer.set_result((mine, word, True))


def _word(standings: Iterable[Standing]) -> str:
    """A short word that differs when any of the states does."""
    text = repr([
        (s.state["job_id"], s.state["status"], s.state["updated"], s.end,
         sorted((s.child_counts or {}).items()), sorted((s.stages or {}).items()))
        for s in standings
    ])  # fmt: skip
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


class Waiting:
    """The callers of this process that wait. One per event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiters: set[_Waiter] = set()
        self._by_user: Counter[str] = Counter()
        self._watched = 0
        self._looks = Looks(self._waiters, self._look, every_s=_LOOK_EVERY_S)

    async def wait(
        self,
        oids: Sequence[ObjectId],
        *,
        user: str,
        to_the_end: bool,
        since: str | None,
        timeout_s: float,
    ) -> tuple[dict[ObjectId, Standing], str, bool]:
        """How the jobs stand (those that there are), their word, and whether the time was over.

        Raises Unavailable if too many wait already, of all or of this user, and what MongoDB
        raises. A caller that is cancelled is forgotten.
        """
        if self._by_user[user] >= MAX_WAITERS_OF_USER:
            raise Unavailable(
                f"{MAX_WAITERS_OF_USER} calls of user {user} are waiting for jobs already. Wait "
                f"for up to {MAX_JOBS} jobs in one call, or try again when some have been answered."
            )
        if len(self._waiters) >= MAX_WAITERS or self._watched + len(oids) > MAX_WATCHED:
            raise Unavailable(
                "Too many clients are waiting for jobs at the moment. Please try again in a few "
                "seconds."
            )
        loop = asyncio.get_running_loop()
        waiter = _Waiter(oids, to_the_end, since, loop.time() + timeout_s, loop.create_future())
        self._waiters.add(waiter)
        self._by_user[user] += 1
        self._watched += len(oids)
        self._looks.begin()
        try:
            return await waiter.answer
        finally:
            self._waiters.discard(waiter)
            self._by_user[user] -= 1
            if not self._by_user[user]:
                del self._by_user[user]
            self._watched -= len(oids)

    async def _look(self, asking: Sequence[_Waiter]) -> None:
        standings = await look(self._store, {o for w in asking for o in w.oids})
        now = asyncio.get_running_loop().time()
        for waiter in asking:
            waiter.look(standings, now)


async def look(store: Store, oids: Iterable[ObjectId]) -> dict[ObjectId, Standing]:
    """How jobs stand now; unknown ids are left out."""
    jobs = await store.jobs.find(
        {"_id": {"$in": list(oids)}}, _FIELDS, batch_size=MAX_WATCHED
    ).to_list()
    batches = await batch_standings(store, [job for job in jobs if job.get("batch_job")])
    standings = {}
    for job in jobs:
        batch = batches.get(str(job["_id"]))
        end = job["status"] if job["status"] in TERMINAL else None
        standings[job["_id"]] = batch or Standing(job_state(job), end)
    return standings


async def batch_standings(store: Store, parents: Sequence[Document]) -> dict[str, Standing]:
    """The standings of batches, by id, from their parents' records. All counts come from an index,
    not from records."""
    if not parents:
        return {}
    counts: dict[str, dict[str, int]] = {str(p["_id"]): {} for p in parents}
    stages: dict[str, dict[str, str]] = {batch_id: {} for batch_id in counts}
    for row in await _numbers(store, list(counts)):
        batch_id, role, status = row["_id"]["b"], row["_id"].get("r"), row["_id"]["s"]
        if role in (_SPLIT, _AGGREGATE):
            stages[batch_id][role] = status
        else:
            counts[batch_id][status] = counts[batch_id].get(status, 0) + row["n"]
    counts = {b: {state: n for state, n in found.items() if n} for b, found in counts.items()}
    # After a split, the children are made a moment later. Without an aggregate, only the
    # submission tells whether there will be any.
    between = [
        b for b, s in stages.items()
        if s == {_SPLIT: Status.COMPLETED.value} and not counts[b]
    ]  # fmt: skip
    ended = set()
    if between:
        found = store.submissions.find({"_id": {"$in": between}, "status": "ended"}, {"_id": 1})
        ended = {submission["_id"] async for submission in found}
    standings = {}
    for parent in parents:
        batch_id = str(parent["_id"])
        to_come = batch_id in between and batch_id not in ended
        end = None if to_come else batch_end(parent["status"], counts[batch_id], stages[batch_id])
        standings[batch_id] = Standing(
            job_state(parent), end, counts[batch_id], stages[batch_id]
        )
    return standings


async def _numbers(store: Store, batch_ids: Sequence[str]) -> list[Document]:
    """How many jobs of the batches have which role and state: {_id: {b, r, s}, n}, which add up;
    without superseded and abandoned ones."""
    rows = None
    if len(batch_ids) == 1:
        with contextlib.suppress(OperationFailure):  # an index is built just now: no snapshot
            rows = await _numbers_of_one(store, batch_ids[0])
    if rows is None:
        pipeline: list[Document] = [{"$match": {"batch_id": {"$in": batch_ids}}}, _GROUPED]
        rows = await (await store.jobs.aggregate(pipeline)).to_list()
    # What does not count is left out here: it takes MongoDB longer to look at each of them.
    return [row for row in rows if not row["_id"].get("old") and not row["_id"].get("left")]


async def _numbers_of_one(store: Store, batch_id: str) -> list[Document]:
    """The same for one batch, which may be large, with what is left out: to count the keys of an
    index is half the work of grouping them. All in one snapshot: a job whose state changes
    meanwhile is in one of them."""
    known = [*LIVE, *TERMINAL]
    whole: Document = {"batch_id": batch_id, "role": StageName.SUBMIT.value}
    parts: list[list[Document]] = [
        [
            {"$match": {**whole, "status": state}},
            {"$group": {"_id": None, "n": {"$sum": 1}}},
            {"$set": {"_id": {"b": batch_id, "r": whole["role"], "s": state}}},
        ]
        for state in known
    ]
    group = {"b": "$batch_id", "r": "$role", "s": "$status"}
    for more in ({"superseded": True}, {"superseded": {"$ne": True}, "abandoned": True}):
        parts.append([
            {"$match": {**whole, "status": {"$in": known}, **more}},
            {"$group": {"_id": group, "n": {"$sum": -1}}},
        ])  # fmt: skip
    # Steps, children from EE2, and those in a state that nobody knows.
    for others in ({"role": {"$ne": whole["role"]}}, {"status": {"$nin": known}}):
        parts.append([{"$match": {**whole, **others}}, _GROUPED])
    pipeline = parts[0] + [
        {"$unionWith": {"coll": store.jobs.name, "pipeline": part}} for part in parts[1:]
    ]
    jobs = store.jobs.with_options(read_concern=ReadConcern("snapshot"))
    return await (await jobs.aggregate(pipeline)).to_list()


def batch_end(
    status: str, child_counts: Mapping[str, int], stages: Mapping[str, str]
) -> str | None:
    """How a batch whose children are all made has ended; None while some of it goes on. See
    Standing."""
    if any(s in LIVE for s in (*child_counts, *stages.values())):
        return None
    if status in TERMINAL:
        return status
    good = Status.COMPLETED.value
    if _AGGREGATE in stages:
        return good if stages[_AGGREGATE] == good else Status.ERROR.value
    return good if set(child_counts) == {good} else Status.ERROR.value


async def wait_for_jobs(
    engine: Engine,
    waiting: Waiting,
    caller: Caller,
    job_ids: Any,
    *,
    since: Any = None,
    until: Any = None,
    timeout_s: Any = None,
    as_admin: bool = False,
) -> Waited:
    """Wait until the states of jobs differ from those of `since`, or all have ended.

    job_ids: 1 to 1000 ids. until: `change` (default) or `end`. since: the word of an earlier
    answer for the same ids; without it a wait for a change ends at once. timeout_s: 0 to 60.
    Rights are looked at once, when the wait begins.
    """
    if not isinstance(job_ids, list) or not 0 < len(job_ids) <= MAX_JOBS:
        raise InvalidInput(f"job_ids must be a list of 1 to {MAX_JOBS} job ids")
    if until not in (None, "change", "end"):
        raise InvalidInput(f"until must be 'change' or 'end', not {shown(until)}")
    if since is not None and not isinstance(since, str):
        raise InvalidInput("since must be the word that an earlier answer gave as since")
    limit_s = _timeout_s(timeout_s)
    wanted = {str(job_id): job_oid(job_id) for job_id in job_ids}
    if as_admin:
        require_admin(caller, Level.READ)
    readable = await _readable(engine, caller, set(wanted.values()), as_admin)
    oids = sorted(readable)
    if oids:
        standings, word, timed_out = await waiting.wait(
            oids, user=caller.user, to_the_end=until == "end", since=since, timeout_s=limit_s
        )
    else:  # nothing to wait for
        standings, word, timed_out = {}, _word(()), False
    states = {
        given: standings[oid].wire() if oid in standings else no_read_permission(given)
        for given, oid in wanted.items()
    }
    return Waited(states, word, timed_out)


def _timeout_s(value: Any) -> float:
    if value is None:
        return DEFAULT_TIMEOUT_S
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not 0 <= value <= MAX_TIMEOUT_S:
        raise InvalidInput(
            f"timeout_s must be a number from 0 to {MAX_TIMEOUT_S:g}, not {shown(value)}"
        )
    return float(value)


async def _readable(
    engine: Engine, caller: Caller, oids: set[ObjectId], as_admin: bool
) -> set[ObjectId]:
    """Those of the jobs that there are and that the caller may read."""
    try:
        async with asyncio.timeout(DATABASE_S):
            # One query, together with what others ask at the same time.
            found = await asyncio.gather(*(engine.store.job_states.get(oid) for oid in oids))
    except TimeoutError:
        raise no_answer() from None
    jobs = [job for job in found if job is not None]
    if as_admin:
        return {job["_id"] for job in jobs}
    allowed = await permitted(engine, caller, jobs, Level.READ, oids)
    return {job["_id"] for job in jobs if str(job["_id"]) in allowed}
