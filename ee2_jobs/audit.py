"""What administrators did with their rights: who, when, what, to what, why, and how it went.

Documents in `ee2_audit`: {at (s), who, what, target (list of ids), reason, details, outcome
(`begun`, `done` or `failed`), error}; details: what it was expected to do, in words. The entry is
written before the action, so that nothing is done unrecorded. Only what changes something is
recorded; looking is not.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pymongo.asynchronous.cursor import AsyncCursor

from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, now_s
from ee2_jobs.rights import Level, require_admin
from ee2_jobs.store import Store

MAX_TARGETS = 1000
MAX_REASON_LETTERS = 1000


async def begin(
    store: Store,
    who: str,
    what: str,
    target: Sequence[str],
    reason: str | None,
    *,
    details: str | None = None,
) -> ObjectId:
    """An administrator is about to do something; the entry's id.

    what: the method or command. target: ids of what it is done to (the first MAX_TARGETS are kept,
    and how many there were). details: what it is expected to do, in words.
    """
    entry: Document = {
        "_id": ObjectId(),
        "at": now_s(),
        "who": who,
        "what": what,
        "target": list(target[:MAX_TARGETS]),
        "targets": len(target),
        "reason": reason[:MAX_REASON_LETTERS] if reason else None,
        "outcome": "begun",
    }
    if details:
        entry["details"] = details[:MAX_REASON_LETTERS]
    await store.audit.insert_one(entry)
    oid: ObjectId = entry["_id"]
    return oid


async def end(
    store: Store, entry: ObjectId, *, error: str | None = None, made: Sequence[str] = ()
) -> None:
    """How it went. made: ids of what came of it (a job that was started, say)."""
    fields: Document = {"outcome": "done" if error is None else "failed"}
    if error is not None:
        fields["error"] = error[:MAX_REASON_LETTERS]
    if made:
        fields["made"] = list(made[:MAX_TARGETS])
    await store.audit.update_one({"_id": entry}, {"$set": fields})


async def entries(
    store: Store, *, target: str | None = None, who: str | None = None, limit: int = 100
) -> list[Document]:
    """The newest entries, of one target or one administrator if given, newest first."""
    query: dict[str, Any] = {}
    if target is not None:
        query["target"] = target
    if who is not None:
        query["who"] = who
    return await store.audit.find(query).sort("at", -1).limit(limit).to_list()


@contextlib.asynccontextmanager
async def recorded(
    store: Store,
    who: str,
    what: str,
    target: Sequence[str],
    reason: str | None,
    *,
    details: str | None = None,
) -> AsyncIterator[list[str]]:
    """What is done inside stands in the audit, with its error if there is one. details: as of
    `begin`. Gives a list for the ids of what came of it."""
    entry = await begin(store, who, what, target, reason, details=details)
    made: list[str] = []
    try:
        yield made
    except Exception as e:
        await end(store, entry, error=str(e))
        raise
    await end(store, entry, made=made)


@dataclass(frozen=True)
class Wanted:
    """A choice of entries; what is None does not count. target: of what it was done to, word for
    word; since and before: s since the epoch."""

    who: str | None = None
    target: str | None = None
    what: str | None = None
    since_s: float | None = None
    before_s: float | None = None

    def query(self) -> Document:
        """For MongoDB."""
        named = {"who": self.who, "target": self.target, "what": self.what}
        query: Document = {name: value for name, value in named.items() if value is not None}
        at = {"$gte": self.since_s, "$lt": self.before_s}
        if bounds := {op: value for op, value in at.items() if value is not None}:
            query["at"] = bounds
        return query


def find(
    engine: Engine, caller: Caller, wanted: Wanted, *, after: tuple[float, str] | None = None,
    limit: int = 0,
) -> AsyncCursor[Document]:
    """Entries, the newest first. For administrators, also those who may only read (Denied).

    after: `at` and id of an entry: those behind it. limit: 0 for all.
    """
    require_admin(caller, Level.READ)
    query = wanted.query()
    if after is not None:
        at_s, entry = after[0], ObjectId(after[1])
        behind = [{"at": {"$lt": at_s}}, {"at": at_s, "_id": {"$lt": entry}}]
        query = {"$and": [query, {"$or": behind}]}
    return engine.store.audit.find(query).sort([("at", -1), ("_id", -1)]).limit(limit)
