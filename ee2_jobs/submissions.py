"""Accepted submissions and their outbox: accept first, then run.

A submission and its job records are written in one transaction; only then is its run started. What
could not be started stays `accepted` and is started later. Starting twice is harmless: the run's id
is the submission's id.

Document: {_id, user, kind, shape (DAG id), status accepted|started|ended, accepted, started (s),
starts, error, batch_id, on_child_error, children, tries, ends}. `children` is the template of the
jobs that a split will list; `tries` holds, per stage and try, how far its HTCondor submission has
come; `ends` how each stage ended, in words. Only where they are asked for: `window` (at most so
many jobs of the submit stage are active at a time), `max_attempts` (how often a job of the submit
stage is tried before it has failed), `last_first` (the submit stage starts its last job first),
`ends_parent` (the batch's parent is `completed` when the submission has ended), `report_due` (a
report is to be made first, see legacy/batchapp.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from ee2_jobs import offspring, user_tokens
from ee2_jobs.cancel import terminate
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.model import (
    LIVE,
    Document,
    OnChildError,
    StageName,
    Status,
    TerminatedCode,
    now_s,
)
from ee2_jobs.plan import Shape
from ee2_jobs.store import Store

INSERT_CHUNK = 250


def submission_document(
    submission_id: str,
    *,
    user: str,
    shape: Shape,
    batch_id: str | None = None,
    on_child_error: OnChildError = OnChildError.CONTINUE,
    children: Document | None = None,
    options: Document | None = None,
) -> Document:
    """A submission that has just been accepted. options: the fields that only some have, see the
    module."""
    document: Document = {
        "_id": submission_id,
        "user": user,
        "kind": shape.kind,
        "shape": shape.dag_id,
        "status": "accepted",
        "accepted": now_s(),
        "starts": 0,
        "on_child_error": on_child_error.value,
        "tries": {},
        **(options or {}),
    }
    if batch_id is not None:
        document["batch_id"] = batch_id
    if children is not None:
        document["children"] = children
    return document


_known_shapes: set[tuple[int, str]] = set()


async def ensure_shape(store: Store, shape: Shape) -> None:
    """Have the shape's document in MongoDB; a retired one is used again."""
    key = (id(store), shape.dag_id)
    if key in _known_shapes:
        return
    document = shape.document()
    await store.shapes.update_one(
        {"_id": document.pop("_id")},
        {"$set": document, "$setOnInsert": {"created": now_s()}},
        upsert=True,
    )
    _known_shapes.add(key)


async def insert_many(
    store: Store, documents: Sequence[Document], session: AsyncClientSession
) -> None:
    """Insert records in chunks, and let other calls of this process run in between: encoding
    10,000 records at once would hold every other call for as long as it takes."""
    for start in range(0, len(documents), INSERT_CHUNK):
        await store.jobs.insert_many(documents[start : start + INSERT_CHUNK], session=session)
        await asyncio.sleep(0)


async def accept(
    engine: Engine,
    caller: Caller,
    submission: Document,
    shape: Shape,
    jobs: Sequence[Document],
    sides: Sequence[Document] = (),
) -> None:
    """Write a submission with its job records (and their side documents for the old services), all
    or nothing, and have it started. Raises as offspring.place."""
    store = engine.store
    await offspring.place(engine, caller, submission, jobs)
    await ensure_shape(store, shape)

    async def write(session: AsyncClientSession) -> None:
        await store.submissions.insert_one(submission, session=session)
        await insert_many(store, jobs, session)
        if sides:
            await store.legacy.insert_many(sides, session=session)

    await store.transaction(write)
    engine.orchestrator.start([submission["_id"]])


async def to_start(store: Store, ids: Sequence[str]) -> list[Document]:
    """Those of the submissions that still wait for their run."""
    return await store.submissions.find({"_id": {"$in": list(ids)}, "status": "accepted"}).to_list()


async def jobs_of(
    store: Store, submission_id: str, skip: int, limit: int
) -> tuple[list[Document], dict[str, int]]:
    """The records of a submission's jobs without their inputs and outputs, in the order of stages
    and places, and how many there are per state."""
    query = {"submission": submission_id}
    order = {"$indexOfArray": [[stage.value for stage in StageName], "$stage"]}
    ordered: list[Document] = [
        {"$match": query},
        {"$project": {"job_input.params": 0, "job_output": 0}},
        {"$addFields": {"order": order}},
        {"$sort": {"order": 1, "index": 1, "_id": 1}},
        {"$skip": skip},
        {"$limit": limit},
    ]
    jobs = await (await store.jobs.aggregate(ordered)).to_list()
    group: list[Document] = [
        {"$match": query},
        {"$group": {"_id": "$status", "n": {"$sum": 1}}},
    ]
    counts = {row["_id"]: row["n"] async for row in await store.jobs.aggregate(group)}
    return jobs, counts


async def runs_to_check(
    store: Store, older_than_s: float, limit: int = 5000
) -> list[tuple[str, str]]:
    """Id and DAG of submissions that were started more than `older_than_s` ago and have not ended:
    for a look at whether their runs have."""
    found = store.submissions.find(
        {"status": "started", "accepted": {"$lt": now_s() - older_than_s}}, {"shape": 1}
    ).limit(limit)
    return [(s["_id"], s["shape"]) async for s in found]


async def start_again(store: Store, submission_id: str) -> None:
    """The submission's run does not exist (any more): back into the outbox."""
    await store.submissions.update_one(
        {"_id": submission_id, "status": "started"}, {"$set": {"status": "accepted"}}
    )


async def overdue(store: Store, older_than_s: float, limit: int = 500) -> list[Document]:
    """Submissions accepted more than `older_than_s` ago and not started: the outbox."""
    return await (
        store.submissions.find(
            {"status": "accepted", "accepted": {"$lt": now_s() - older_than_s}}
        )
        .sort("accepted")
        .limit(limit)
        .to_list()
    )


async def mark_started(store: Store, ids: Sequence[str]) -> None:
    """The runs of these submissions exist."""
    if ids:
        await store.submissions.update_many(
            {"_id": {"$in": list(ids)}, "status": "accepted"},
            {"$set": {"status": "started", "started": now_s()}, "$unset": {"error": ""}},
        )


async def mark_start_failed(store: Store, errors: dict[str, str]) -> None:
    """Starting failed for now; the reason is kept, the submission stays in the outbox."""
    if errors:
        await store.submissions.bulk_write(
            [
                UpdateOne({"_id": id_}, {"$set": {"error": text[:500]}, "$inc": {"starts": 1}})
                for id_, text in errors.items()
            ],
            ordered=False,
        )


async def mark_ended(
    store: Store, submission_id: str, code: TerminatedCode, message: str
) -> Document | None:
    """The submission's run has ended, for whatever reason; returns the submission.

    What is still live of its jobs cannot be run any more and ends as terminated with this code and
    message. Usually that is nothing: the stages have settled everything.
    """
    submission = await store.submissions.find_one_and_update(
        {"_id": submission_id},
        {"$set": {"status": "ended", "ended": now_s()}, "$unset": {user_tokens.FIELD: ""}},
    )
    if submission is not None:
        stopped = await terminate(store, {"submission": submission_id}, code, message)
        batch_id = submission.get("batch_id")
        if stopped and (submission.get("ends_parent") or submission.get("report_due")):
            # Not all has been done that was asked for, and nobody is to think so.
            await terminate(store, {"_id": ObjectId(batch_id)}, code, message)
        elif submission.get("ends_parent"):
            await end_parent(store, str(batch_id))
    return submission


async def end_parent(store: Store, batch_id: str, fields: Document | None = None) -> bool:
    """All jobs of a batch have ended: its live parent is `completed` now; whether this call did it.

    fields: more to be set with that. `finished` is never before the end of a child, whatever the
    clocks of the machines say.
    """
    last = await store.jobs.find_one(
        {"submission": batch_id, "finished": {"$exists": True}},
        {"finished": 1},
        sort=[("finished", -1)],
    )
    now = now_s()
    done = await store.jobs.update_one(
        {"_id": ObjectId(batch_id), "status": {"$in": list(LIVE)}},
        {
            "$set": {
                **(fields or {}),
                "status": Status.COMPLETED.value,
                "finished": max(now, last["finished"] if last else now),
                "updated": now,
            }
        },
    )
    return bool(done.modified_count)


async def with_live_jobs(store: Store, ids: Sequence[str]) -> set[str]:
    """Those of the submissions that have jobs still to run or running."""
    query = {"submission": {"$in": list(ids)}, "status": {"$in": list(LIVE)}}
    return set(await store.jobs.distinct("submission", query))
