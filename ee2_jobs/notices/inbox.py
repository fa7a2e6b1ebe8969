"""A user's messages in the page: whatever was told on any channel, each once."""

from __future__ import annotations

from collections.abc import Sequence

from ee2_jobs.errors import InvalidInput
from ee2_jobs.model import Document, now_s, to_ms
from ee2_jobs.notices.words import message
from ee2_jobs.store import Store

MOST = 200
_NOT_SHOWN = ("code",)
_FIELDS = ("about", "user", "event", "body", "at", "read")


async def inbox(store: Store, user: str, since_ms: int | None = None, limit: int = 50) -> Document:
    """{items: [{id, event, subject, lines, job_id, batch_id, at, read}], unread: {value, exact}},
    newest first; at in ms. since_ms: those after that. Unread are counted among the newest MOST."""
    found = store.notices.find({"user": user, "event": {"$nin": list(_NOT_SHOWN)}}, _FIELDS)
    rows = await found.sort("at", -1).limit(4 * MOST).to_list()
    merged: dict[str, Document] = {}
    for row in rows:
        about = row.get("about") or row["_id"]
        kept = merged.setdefault(about, row)
        kept["read"] = bool(kept.get("read") or row.get("read"))
    newest = list(merged.items())[:MOST]
    items = [
        _item(about, row)
        for about, row in newest
        if since_ms is None or to_ms(row["at"]) > since_ms
    ]
    return {
        "items": items[:limit],
        "unread": {
            "value": sum(not row["read"] for _, row in newest),
            "exact": len(merged) <= MOST and len(rows) < 4 * MOST,
        },
    }


def _item(about: str, row: Document) -> Document:
    told, body = message(row, ""), row["body"]
    return {
        "id": about,
        "event": row["event"],
        "subject": told.subject,
        "lines": list(told.lines),
        "job_id": body.get("job"),
        "batch_id": body.get("batch_id"),
        "at": to_ms(row["at"]),
        "read": row["read"],
    }


async def mark_read(
    store: Store, user: str, *, ids: Sequence[str] | None = None, until_ms: int | None = None
) -> int:
    """The user has read these messages, or all up to a time (one of both); how many are newly
    read, counted by channels."""
    if (ids is None) == (until_ms is None):
        raise InvalidInput("Give either ids or until")
    query: Document = {"user": user, "read": {"$exists": False}}
    if ids is not None:
        query["$or"] = [{"about": {"$in": list(ids)}}, {"_id": {"$in": list(ids)}}]
    else:
        query["at"] = {"$lte": (until_ms or 0) / 1000 + 0.0005}  # ms are rounded
    done = await store.notices.update_many(query, {"$set": {"read": now_s()}})
    return done.modified_count
