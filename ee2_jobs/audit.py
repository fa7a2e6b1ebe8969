"""What administrators did with their rights: who, when, what, to what, why, and how it went.

Documents in `ee2_audit`: {at (s), who, what, target (list of ids), reason, outcome (`begun`, `done`
or `failed`), error}. The entry is written before the action, so that nothing is done unrecorded.
Only what changes something is recorded; looking is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson import ObjectId

from ee2_jobs.model import Document, now_s
from ee2_jobs.store import Store

MAX_TARGETS = 1000
MAX_REASON_LETTERS = 1000


async def begin(
    store: Store, who: str, what: str, target: Sequence[str], reason: str | None
) -> ObjectId:
    """An administrator is about to do something; the entry's id.

    what: the method or command. target: ids of what it is done to (the first MAX_TARGETS are kept,
    and how many there were).
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
