"""How many calls the API answers: each process counts, and adds its figures to one document a
minute in `ee2_calls`: {_id: the minute (s), rpc, rest, gone}."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, Field
from pymongo import UpdateOne

from ee2_jobs.model import Document, now_s
from ee2_jobs.store import Store

MINUTES = 10
_MINUTE_S = 60
_KEPT = timedelta(days=1)

Kind = Literal["rpc", "rest"]


class Calls(BaseModel):
    """The calls of one minute."""

    at: int = Field(examples=[1727185920000], description="when the minute began, ms")
    rpc: int = Field(examples=[5400], description="JSON-RPC, of which runners make most")
    rest: int = Field(examples=[310])


class CallCounts:
    """What this process has answered and not told yet. Counting costs next to nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts: Counter[tuple[int, Kind]] = Counter()

    def note(self, kind: Kind) -> None:
        """One call more."""
        self._counts[int(now_s()) // _MINUTE_S * _MINUTE_S, kind] += 1

    async def flush(self) -> None:
        """Tell the database. What could not be told is told the next time."""
        counts, self._counts = self._counts, Counter()
        updates: dict[int, Document] = {}
        for (minute_s, kind), count in counts.items():
            updates.setdefault(minute_s, {})[kind] = count
        if not updates:
            return
        gone = datetime.now(UTC) + _KEPT
        try:
            await self._store.calls.bulk_write(
                [
                    UpdateOne(
                        {"_id": minute_s}, {"$inc": added, "$set": {"gone": gone}}, upsert=True
                    )
                    for minute_s, added in updates.items()
                ],
                ordered=False,
            )
        except BaseException:
            self._counts.update(counts)
            raise


async def last_minutes(store: Store) -> list[Calls]:
    """The calls of all processes in each of the last MINUTES whole minutes, oldest first. What was
    counted in the last half minute is not among them yet."""
    end_s = int(now_s()) // _MINUTE_S * _MINUTE_S
    start_s = end_s - MINUTES * _MINUTE_S
    found = store.calls.find({"_id": {"$gte": start_s, "$lt": end_s}})
    rows = {row["_id"]: row async for row in found}
    return [
        Calls(
            at=minute_s * 1000,
            rpc=rows.get(minute_s, {}).get("rpc", 0),
            rest=rows.get(minute_s, {}).get("rest", 0),
        )
        for minute_s in range(start_s, end_s, _MINUTE_S)
    ]
