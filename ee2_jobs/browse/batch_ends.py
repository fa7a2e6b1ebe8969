"""When a batch has ended, on its parent's record: `batch_end` = {status, at}.

For clients of EE2 the parent of a batch stays `created` for ever (rule C-10). Lists have to tell a
batch that runs from the thousands that ran, by an index. Nobody waits for this: whoever notices the
end of a child, or an end that is not written down, has it looked at. A retry takes it back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from ee2_jobs.model import LIVE, Document, now_s
from ee2_jobs.store import Store
from ee2_jobs.waiting import batch_standings

_FIELDS = ("status", "updated", "batch_job")
_AT_ONCE = 200


async def settle(store: Store, batch_ids: Collection[str]) -> int:
    """Write down how those of the batches have ended that have; how many. Repeating it, at the same
    time as well, changes nothing."""
    oids = [ObjectId(b) for b in batch_ids if ObjectId.is_valid(b)]
    done = 0
    for start in range(0, len(oids), _AT_ONCE):
        parents = await store.jobs.find(
            {**_OPEN, "_id": {"$in": oids[start : start + _AT_ONCE]}}, _FIELDS
        ).to_list()
        done += await _settle(store, parents)
    return done


async def settle_all(store: Store) -> int:
    """The same for all batches: of an adopted database, and what ended while nobody looked."""
    done = 0
    last = ObjectId("0" * 24)
    while True:
        parents = await (
            store.jobs.find({**_OPEN, "_id": {"$gt": last}}, _FIELDS)
            .sort("_id", 1)
            .limit(_AT_ONCE)
            .to_list()
        )
        if not parents:
            return done
        last = parents[-1]["_id"]
        done += await _settle(store, parents)


async def reopen(
    store: Store, batch_ids: Collection[str], session: AsyncClientSession | None = None
) -> None:
    """New attempts have joined these batches: they go on."""
    if batch_ids:
        # Also where none is written: who is about to write one sees by `updated` that it is late.
        await store.jobs.update_many(
            {"_id": {"$in": [ObjectId(b) for b in batch_ids]}},
            {"$unset": {"batch_end": 1}, "$set": {"updated": now_s()}},
            session=session,
        )


_OPEN: Document = {
    "status": {"$in": list(LIVE)}, "batch_job": True, "batch_id": None, "superseded": None,
    "batch_end": None,
}  # fmt: skip


async def _settle(store: Store, parents: Sequence[Document]) -> int:
    standings = await batch_standings(store, parents)
    ended = {b: s.end for b, s in standings.items() if s.end is not None}
    if not ended:
        return 0
    last: list[Document] = [
        {"$match": {"batch_id": {"$in": list(ended)}}},
        {"$group": {"_id": "$batch_id", "at": {"$max": "$finished"}}},
    ]
    ends = {row["_id"]: row["at"] async for row in await store.jobs.aggregate(last)}
    updates = [
        UpdateOne(
            {"_id": parent["_id"], "updated": parent.get("updated"), "batch_end": None},
            {
                "$set": {
                    "batch_end": {
                        "status": ended[batch_id],
                        "at": ends.get(batch_id) or parent.get("updated") or _made_s(parent),
                    }
                }
            },
        )
        for parent in parents
        if (batch_id := str(parent["_id"])) in ended
    ]
    written = await store.jobs.bulk_write(updates, ordered=False)
    return written.modified_count


def _made_s(job: Document) -> float:
    return float(job["_id"].generation_time.timestamp())
