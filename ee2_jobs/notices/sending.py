"""How far each message has come: an outbox of its own, because no message may arrive twice.

Documents in `ee2_notices`: {_id (what it is about, who gets it, by which channel), about, user,
channel, to, event, body, state, at, next, tries, error, gone, read}. `state` goes from `due` to
`sending` to `sent`. One that was certainly not taken is `due` again, a while later; after
LAST_TRY_S it is `given_up`. Of one that may or may not have been taken (the connection broke after
it was written, or this service died in that moment) nobody can know: it is `unclear`, and is not
sent again.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import BulkWriteError

from ee2_jobs.model import Document, now_s
from ee2_jobs.store import Store

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 4 * 3600.0
LAST_TRY_S = 2 * 86_400.0
# Longer than any channel's time-outs: who claimed it and has not said what came of it is dead.
CLAIM_S = 600.0
KEPT_DAYS = 30
_MOST_LETTERS = 500
_DUPLICATE = 11000


def notice_document(
    key: str, user: str, channel: str, to: str, event: str, body: Document
) -> Document:
    """A message that is due; in the page it is told as soon as it stands there. key: the same for
    the same message, whoever makes it. body: what `words` makes the text from."""
    now = now_s()
    in_page: Document = {"state": "sent", "sent": now} if channel == "page" else {}
    return {
        "_id": key,
        # What it is about, for the user: the same on all channels.
        "about": key.removesuffix(f".{channel}").removesuffix(f".{user}"),
        "user": user,
        "channel": channel,
        "to": to,
        "event": event,
        "body": body,
        "state": "due",
        "at": now,
        "next": now,
        "tries": 0,
        "gone": datetime.now(UTC) + timedelta(days=KEPT_DAYS),
        **in_page,
    }


async def put(store: Store, notices: list[Document]) -> int:
    """Put messages into the outbox; those that are or were there stay as they are. How many are
    new."""
    if not notices:
        return 0
    try:
        return len((await store.notices.insert_many(notices, ordered=False)).inserted_ids)
    except BulkWriteError as e:
        errors = e.details["writeErrors"]
        if any(one["code"] != _DUPLICATE for one in errors):
            raise
        return len(notices) - len(errors)


async def count_due(store: Store) -> int:
    """How many messages could be sent now, 1,000 at most."""
    return await store.notices.count_documents(
        {"state": "due", "next": {"$lte": now_s()}}, limit=1000
    )


async def claim(store: Store, but: Collection[str] = ()) -> Document | None:
    """The next message to send, taken so that nobody else sends it; None if none is due. but:
    channels to pass over."""
    now = now_s()
    return await store.notices.find_one_and_update(
        {"state": "due", "next": {"$lte": now}, "channel": {"$nin": list(but)}},
        {"$set": {"state": "sending", "claimed": now}, "$inc": {"tries": 1}},
        sort=[("next", 1)],
        return_document=ReturnDocument.AFTER,
    )


async def sent(store: Store, notice: Document) -> None:
    """It was taken."""
    await _end(store, notice, {"state": "sent", "sent": now_s()})


async def unclear(store: Store, notice: Document, error: Exception) -> None:
    """Nobody knows whether it was taken."""
    await _end(store, notice, {"state": "unclear", "error": _text(error)})


async def refused(store: Store, notice: Document, error: Exception) -> None:
    """It was certainly not taken: again later, or given up."""
    now = now_s()
    pause_s = min(FIRST_PAUSE_S * 2.0 ** min(notice["tries"] - 1, 20), LONGEST_PAUSE_S)
    due = now + pause_s * random.uniform(0.8, 1.2)
    if due > notice["at"] + LAST_TRY_S:
        await _end(store, notice, {"state": "given_up", "error": _text(error)})
    else:
        await _end(store, notice, {"state": "due", "next": due, "error": _text(error)})


async def _end(store: Store, notice: Document, fields: dict[str, Any]) -> None:
    claimed = {"_id": notice["_id"], "state": "sending", "tries": notice["tries"]}
    await store.notices.update_one(claimed, {"$set": fields})


async def settle_forgotten(store: Store) -> int:
    """Messages whose sender died between sending and saying so; how many."""
    done = await store.notices.update_many(
        {"state": "sending", "claimed": {"$lt": now_s() - CLAIM_S}},
        {"$set": {"state": "unclear", "error": "The service was stopped while it was sent."}},
    )
    return done.modified_count


async def newest(store: Store, user: str, limit: int = 20) -> list[Document]:
    """A user's newest messages and what became of them, without their texts."""
    fields = dict.fromkeys(("channel", "event", "state", "at", "sent", "error"), 1)
    found = store.notices.find({"user": user}, fields).sort("at", -1).limit(limit)
    return await found.to_list()


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_MOST_LETTERS]
