"""What changes in the records of jobs, as it happens: one change stream per API process, kept for a
while, shared by everybody who wants to know.

A version is a cluster time of MongoDB, `T:I`; versions of different processes compare. Whoever
holds one asks for the jobs that have changed since. The ring keeps, per job, only its last change;
the change of a batch's child is one of the batch too. Who may see what is not decided here: the
ring tells whom a change may concern, and the records are read again with the rights in the query.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId, Timestamp
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure, PyMongoError

from ee2_jobs.browse.batch_ends import settle, settle_all
from ee2_jobs.errors import InvalidInput
from ee2_jobs.model import TERMINAL, Document, now_s
from ee2_jobs.store import Store

log = logging.getLogger(__name__)

MAX_CHANGES = 20_000
MAX_AGE_S = 600
# Changes that come one by one are read together: what a reading costs is then the same.
LINGER_S = 0.1
_AT_ONCE = 1000
_WAIT_MS = 10_000
_AGAIN_S = (0.2, 1.0, 5.0)
_SETTLE_S = 1.0
# The stream cannot be taken up where it was left: too old, or of another database.
_LOST = (286, 280, 260)
_FACTS = {"user": 1, "wsid": 1, "shared": 1, "batch_id": 1}
_PIPELINE: list[Document] = [
    {"$match": {"operationType": {"$in": ["insert", "update", "replace", "delete"]}}},
    {
        "$project": {
            "clusterTime": 1,
            "documentKey": 1,
            "operationType": 1,
            "status": "$updateDescription.updatedFields.status",
            # Signs of life, log lines and the like are no news for a list.
            "fields": {
                "$map": {
                    "input": {"$objectToArray": "$updateDescription.updatedFields"},
                    "in": "$$this.k",
                }
            },
        }
    },
]
_NO_NEWS = frozenset({"seen", "updated", "told", "reprioritise", "retime", "expected", "usage"})

Version = tuple[int, int]


def parse_version(text: str) -> Version:
    """A version as clients give it; InvalidInput for what is none."""
    seconds, colon, number = text.partition(":")
    digits = (seconds + number).isascii() and seconds.isdigit() and number.isdigit()
    if not colon or not digits or len(text) > 24:
        raise InvalidInput("since must be a version as an answer of this API gave it")
    return int(seconds), int(number)


def format_version(version: Version) -> str:
    """A version as clients get it."""
    return f"{version[0]}:{version[1]}"


@dataclass(frozen=True)
class Change:
    """That a job has changed. user, wsid, shared: whom it may concern; None: not known (it is
    gone), which concerns all."""

    version: Version
    number: int
    oid: ObjectId
    user: str | None
    wsid: int | None
    shared: frozenset[str] = frozenset()

    def concerns(self, user: str, workspaces: Collection[int]) -> bool:
        """Whether it may be of interest to a user who reads these workspaces."""
        return (
            self.user in (user, None) or self.wsid in workspaces or user in self.shared
        )


class Feed:
    """The ring of one process and event loop. `start` it, and `aclose` it at the end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ring: OrderedDict[ObjectId, Change] = OrderedDict()
        self._since: Version | None = None
        self._version: Version = (0, 0)
        self._count = 0
        self._lost_count = 0
        self._news = asyncio.Event()
        self._token: Mapping[str, Any] | None = None
        self._ends: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to listen. PyMongoError if MongoDB does not answer now."""
        await self._from_now()
        self._tasks = [
            asyncio.create_task(self._listen(), name="ee2 change feed"),
            asyncio.create_task(self._settle(), name="ee2 ends of batches"),
        ]

    async def aclose(self) -> None:
        """Stop listening."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def version(self) -> str:
        """The version of the newest change. A list that is read after this was asked for has all
        changes up to it."""
        return format_version(self._version)

    @property
    def number(self) -> int:
        """How many changes there were; for `after`."""
        return self._count

    def since(self, version: Version) -> list[Change] | None:
        """The changes after a version, oldest first; None if the ring does not reach back so far.
        A version that is still to come has none."""
        if self._since is None or version < self._since:
            return None
        found = []
        for change in reversed(self._ring.values()):
            if change.version <= version:
                break
            found.append(change)
        return found[::-1]

    def after(self, number: int) -> list[Change] | None:
        """The changes after the `number`-th, oldest first; None if some were lost."""
        if number < self._lost_count:
            return None
        found = []
        for change in reversed(self._ring.values()):
            if change.number <= number:
                break
            found.append(change)
        return found[::-1]

    async def wait(self, number: int, timeout_s: float) -> bool:
        """Wait until there are changes after the `number`-th, or some were lost; False if the time
        is over first."""
        if self._count > number:
            return True
        news = self._news
        try:
            async with asyncio.timeout(timeout_s):
                await news.wait()
        except TimeoutError:
            return False
        return True

    async def _from_now(self) -> None:
        """Begin anew: what was before is not known."""
        now: Timestamp = (await self._store.db.command("ping"))["operationTime"]
        self._ring.clear()
        self._token = None
        self._count += 1
        self._lost_count = self._count
        self._store.id_counts.forget()
        self._since = self._version = max(self._version, (now.time, now.inc))
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                async with self._store.client.start_session() as session:
                    await self._read(session, await self._open(session))
            except PyMongoError as e:
                if isinstance(e, OperationFailure) and e.code in _LOST:
                    log.warning("The changes of jobs are read anew: %s", e)
                    with contextlib.suppress(PyMongoError):
                        await self._from_now()
                elif failures == 0:
                    log.warning("The changes of jobs cannot be read at the moment: %s", e)
                await asyncio.sleep(_AGAIN_S[min(failures, len(_AGAIN_S) - 1)])
                failures += 1
            else:
                failures = 0

    async def _open(self, session: AsyncClientSession) -> int:
        """The cursor of a stream that goes on where the last one was left."""
        start: Document = {"resumeAfter": self._token}
        if self._token is None:
            start = {"startAtOperationTime": Timestamp(*(self._since or (0, 1)))}
        reply = await self._store.db.command(
            {
                "aggregate": self._store.jobs.name,
                "pipeline": [{"$changeStream": start}, *_PIPELINE],
                "cursor": {"batchSize": 0},
                "readConcern": {"level": "majority"},
            },
            session=session,
        )
        return int(reply["cursor"]["id"])

    async def _read(self, session: AsyncClientSession, cursor: int) -> None:
        """Read the stream until the server ends it."""
        while cursor:
            reply = await self._store.db.command(
                {
                    "getMore": cursor,
                    "collection": self._store.jobs.name,
                    "batchSize": _AT_ONCE,
                    "maxTimeMS": _WAIT_MS,
                },
                session=session,
            )
            cursor, found = reply["cursor"]["id"], reply["cursor"]["nextBatch"]
            if found:
                await self._note(found)
            else:
                self._forget()
            self._token = reply["cursor"]["postBatchResumeToken"]
            if found:
                await asyncio.sleep(LINGER_S)

    async def _note(self, found: Sequence[Document]) -> None:
        """Put changes into the ring."""
        counts = self._store.id_counts
        if any(
            c["operationType"] == "delete"
            or (c["operationType"] == "insert" and counts.is_past(c["documentKey"]["_id"]))
            for c in found
        ):
            counts.forget()
        news = [c for c in found if not c.get("fields") or set(c["fields"]) - _NO_NEWS]
        latest: dict[ObjectId, Version] = {}
        for one in news:
            at: Timestamp = one["clusterTime"]
            oid = one["documentKey"]["_id"]
            latest.pop(oid, None)
            latest[oid] = (at.time, at.inc)
        read = self._store.jobs.find(
            {"_id": {"$in": list(latest)}}, _FACTS, batch_size=_AT_ONCE
        )
        facts = {job["_id"]: job for job in await read.to_list()} if latest else {}
        ended = {c["documentKey"]["_id"] for c in news if c.get("status") in TERMINAL}
        for oid, version in latest.items():
            job = facts.get(oid, {})
            self._put(oid, version, job)
            batch_id = job.get("batch_id")
            if batch_id and ObjectId.is_valid(batch_id):
                self._put(ObjectId(batch_id), version, job)
                if oid in ended:
                    self._ends.add(batch_id)
        versions = {(one["clusterTime"].time, one["clusterTime"].inc) for one in found}
        if len(found) == _AT_ONCE:
            # More of the same transaction may be still to come, at the same time.
            versions.discard(max(versions))
        self._version = max(self._version, *versions, (0, 0))
        self._forget()
        if news:
            self._tell()

    def _put(self, oid: ObjectId, version: Version, job: Document) -> None:
        self._count += 1
        self._ring.pop(oid, None)
        self._ring[oid] = Change(
            version, self._count, oid, job.get("user"), job.get("wsid"),
            frozenset(job.get("shared") or ()),
        )  # fmt: skip

    def _forget(self) -> None:
        """Let go of what is too old or too much."""
        oldest = now_s() - MAX_AGE_S
        while self._ring:
            change = next(iter(self._ring.values()))
            if len(self._ring) <= MAX_CHANGES and change.version[0] >= oldest:
                break
            del self._ring[change.oid]
            self._since, self._lost_count = change.version, change.number

    async def _settle(self) -> None:
        """Write down which batches have ended: at first of all, then of those that change."""
        everything = True
        while True:
            ends, self._ends = self._ends, set()
            try:
                if everything:
                    await settle_all(self._store)
                    everything = False
                if ends:
                    await settle(self._store, ends)
            except PyMongoError as e:
                self._ends |= ends
                log.warning("The ends of batches cannot be noted at the moment: %s", e)
            await asyncio.sleep(_SETTLE_S)
