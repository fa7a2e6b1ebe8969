"""From changes of job records to messages in the outbox, by MongoDB's change stream.

States change in many places, most of them updates of thousands of records at once. None of them
writes a message: what changed is read from the stream of `ee2_jobs` afterwards, in the order in
which it happened, so no place can forget one and no request waits for one.

How far the stream was read is kept in `store.marks`, and moves on only after the messages are in
the outbox. A reader that dies in between reads the same changes again; the messages get the ids
of the first time, so none is in the outbox twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from ee2_jobs.messages import FIELDS, Change, created_s, messages
from ee2_jobs.model import TERMINAL, Document, Status, now_s
from ee2_jobs.store import Store

log = logging.getLogger(__name__)

MARK = "changes"
# So many at a time keep the event loop for some 10 ms.
BATCH = 200
WAIT_S = 5.0
# So that changes which come one by one are read together: what a step costs is then the same.
LINGER_S = 0.3
# Also without changes the place must move on, or it would one day be older than the oplog.
SAVE_S = 60.0
# The stream cannot be taken up where it was left: too old, or of another database.
_LOST = (286, 280, 260)
_DUPLICATE = 11000
# Records changed so long before the place was last saved are told again when it is lost.
MARGIN_S = 120.0


async def begin(store: Store) -> None:
    """From now on changes are told. Called when the service starts; does nothing if it was called
    before. What an adopted database holds already is not told: EE2 has."""
    now = (await store.db.command("ping"))["operationTime"]
    await store.marks.update_one(
        {"_id": MARK}, {"$setOnInsert": {"since": now, "at": now_s()}}, upsert=True
    )


class Moved(Exception):
    """Another reader has moved the place on meanwhile."""


class ChangeReader:
    """Reads the stream and fills the outbox, a step at a time; `aclose` it. After any error of a
    step the next one takes the stream up again where the place says.

    events: whether anybody wants more than the statistics of jobs that ran. wait_s: how long a step
    waits for a change, s.
    """

    def __init__(self, store: Store, *, events: bool, wait_s: float = WAIT_S) -> None:
        self._store = store
        self._events = events
        self._wait_s = wait_s
        self._session: AsyncClientSession | None = None
        self._cursor = 0
        self._token: Document | None = None
        self._saved = 0.0
        self._busy = False
        self._lost: OperationFailure | None = None

    async def step(self) -> int:
        """Wait for changes, at most `wait_s`, and put their messages into the outbox; how many.

        Raises PyMongoError while MongoDB is away, Moved if another reader works as well.
        """
        if self._busy:
            await asyncio.sleep(LINGER_S)
        try:
            if self._session is None:
                return await self._open()
            return await self._read()
        except BaseException as e:
            self._busy = False
            await self.aclose()
            if isinstance(e, OperationFailure) and e.code in _LOST and self._lost is None:
                self._lost = e
                return await self.step()
            raise

    async def _read(self) -> int:
        reply = await self._store.db.command(
            {
                "getMore": self._cursor,
                "collection": self._store.jobs.name,
                "batchSize": BATCH,
                "maxTimeMS": round(self._wait_s * 1000),
            },
            session=self._session,
        )
        found = reply["cursor"]["nextBatch"]
        self._busy = 0 < len(found) < BATCH
        made = await self._put([_change(one) for one in found])
        if found or time.monotonic() - self._saved > SAVE_S:
            await self._save(reply["cursor"]["postBatchResumeToken"])
        return made

    async def aclose(self) -> None:
        """End the stream on the server's side, if it answers."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(PyMongoError):
                await self._store.db.command(
                    {"killCursors": self._store.jobs.name, "cursors": [self._cursor]},
                    session=session,
                )
            await session.end_session()

    async def _open(self) -> int:
        """Open the stream where the place says; how many messages had to be made without it."""
        mark = await self._store.marks.find_one({"_id": MARK})
        if mark is None:
            await begin(self._store)
            mark = await self._store.marks.find_one({"_id": MARK}) or {}
        self._token = mark.get("token")
        made, start = 0, {"startAtOperationTime": mark["since"]}
        if self._lost is not None:
            start = {}
        elif self._token is not None:
            start = {"resumeAfter": self._token}
        self._session = self._store.client.start_session()
        reply = await self._store.db.command(
            {
                "aggregate": self._store.jobs.name,
                "pipeline": [{"$changeStream": start}, *_pipeline(self._events)],
                # The first answer does not wait for a change, and has none.
                "cursor": {"batchSize": 0},
                "readConcern": {"level": "majority"},
            },
            session=self._session,
        )
        self._cursor = reply["cursor"]["id"]
        self._saved = time.monotonic()
        if self._lost is not None:
            log.warning(
                "The changes since %s can no longer be read (%s): messages are made from the "
                "records as they are now",
                time.strftime("%F %T", time.gmtime(mark["at"])),
                self._lost,
            )
            made = await self._put_present(mark)
            await self._save(reply["cursor"]["postBatchResumeToken"])
            self._lost = None
        return made

    async def _put(self, changes: Sequence[Change]) -> int:
        """The messages of these changes, into the outbox."""
        ids = {c.job_id for c in changes if not c.created}
        jobs: dict[Any, Document] = {}
        if ids:
            found = self._store.jobs.find({"_id": {"$in": list(ids)}}, list(FIELDS))
            jobs = {job["_id"]: job for job in await found.to_list()}
        made = [
            message
            for change in changes
            for message in messages(change, jobs.get(change.job_id), events=self._events)
        ]
        if made:
            try:
                await self._store.outbox.insert_many(made, ordered=False)
            except BulkWriteError as e:
                others = [w for w in e.details["writeErrors"] if w["code"] != _DUPLICATE]
                if others:
                    raise
        return len(made)

    async def _put_present(self, mark: Document) -> int:
        """Messages for the present state of what has changed since the place was saved."""
        since = mark["since"]
        # Sorts where the lost changes would have stood, and is the same if this is done again.
        key = mark["token"]["_data"] if "token" in mark else f"82{since.time:08X}{since.inc:08X}"
        changes: list[Change] = []
        made = 0
        query = {"updated": {"$gte": mark["at"] - MARGIN_S}}
        async for job in self._store.jobs.find(query, ["status", "user", "updated"]):
            status = job["status"]
            changes.append(
                Change(
                    f"{key}.{job['_id']}.{status}",
                    job["_id"],
                    status,
                    job["updated"] if status != Status.CREATED else created_s(job["_id"]),
                    created=status == Status.CREATED,
                    user=job["user"],
                )
            )
            if len(changes) == BATCH:
                made += await self._put(changes)
                changes = []
        return made + await self._put(changes)

    async def _save(self, token: Document) -> None:
        """Move the place on; Moved if it is not where this reader left it."""
        place: Document = {"token": self._token} if self._token else {"token": {"$exists": False}}
        done = await self._store.marks.update_one(
            {"_id": MARK, **place}, {"$set": {"token": token, "at": now_s()}}
        )
        if not done.matched_count:
            raise Moved("another process reads the changes as well")
        self._token, self._saved = token, time.monotonic()


def _pipeline(events: bool) -> list[Document]:
    status = "updateDescription.updatedFields.status"
    wanted: list[Document] = [{status: {"$exists": True} if events else {"$in": list(TERMINAL)}}]
    if events:
        wanted.append({"operationType": "insert"})
    return [
        {"$match": {"$or": wanted}},
        {
            "$project": {
                "clusterTime": 1,
                "operationType": 1,
                "documentKey": 1,
                "status": {"$ifNull": [f"${status}", "$fullDocument.status"]},
                "user": "$fullDocument.user",
            }
        },
    ]


def _change(found: Document) -> Change:
    return Change(
        key=found["_id"]["_data"],
        job_id=found["documentKey"]["_id"],
        status=str(found.get("status")),
        at_s=float(found["clusterTime"].time),
        created=found["operationType"] == "insert",
        user=found.get("user"),
    )
