"""What administrators want every user to read on the status page.

One document in `store.marks`: {_id: "announcements", items: [{text, level, until, by, at}]}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ee2_jobs import audit
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, now_s, to_ms
from ee2_jobs.rights import Level, require_admin
from ee2_jobs.store import Store

MARK = "announcements"
MAX_ANNOUNCEMENTS = 10


class NewAnnouncement(BaseModel):
    """An announcement to make."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=1000, examples=["No new jobs on Tuesday, 8 to 9."])
    level: Literal["information", "warning"] = "information"
    until: int | None = Field(
        default=None, ge=0, le=2**53, examples=[1727190000000],
        description="shown until then, ms; null: for ever",
    )


class Announcement(NewAnnouncement):
    """An announcement."""

    by: str = Field(examples=["root"])
    at: int = Field(examples=[1727185950123], description="when it was made, ms")


async def current(store: Store) -> list[Announcement]:
    """Those that are shown now."""
    mark = await store.marks.find_one({"_id": MARK}) or {}
    now_ms = to_ms(now_s())
    found = [Announcement(**item) for item in mark.get("items", ())]
    return [one for one in found if one.until is None or one.until > now_ms]


async def replace(
    engine: Engine, caller: Caller, new: Sequence[NewAnnouncement]
) -> list[Announcement]:
    """Put these in the place of all there are. For full administrators (Denied); in the audit.
    One that stands there already keeps who made it, and when."""
    require_admin(caller, Level.WRITE)
    store = engine.store
    kept = {(a.text, a.level, a.until): a for a in await current(store)}
    items: list[Document] = []
    for one in new:
        given = one.model_dump()
        old = kept.get((one.text, one.level, one.until))
        made = {"by": caller.user, "at": to_ms(now_s())}
        items.append(old.model_dump() if old else given | made)
    texts = "; ".join(one.text for one in new) or "none"
    entry = await audit.begin(store, caller.user, "announce", [], None, details=texts)
    await store.marks.replace_one({"_id": MARK}, {"items": items}, upsert=True)
    await audit.end(store, entry)
    return await current(store)
