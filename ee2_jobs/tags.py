"""What a user notes on jobs for oneself: a star and labels. Nobody else sees them.

Documents in `ee2_tags`: {_id, user, job, star, labels, changed (s)}; none for a job without either.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from bson import ObjectId
from cachetools import TTLCache

from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, now_s
from ee2_jobs.rights import Level, find_permitted
from ee2_jobs.store import Store

MAX_LABELS = 20
MAX_LABEL_LETTERS = 40
MAX_JOBS = 2000
"""Jobs with a star or labels, per user."""
# Users who have noted nothing: lists do not ask for them each time. Another process's users see a
# first star that much later.
_NONE_S = 5.0
_none: TTLCache[tuple[int, str], bool] = TTLCache(10_000, _NONE_S)
_RIGHTS = dict.fromkeys(("user", "wsid", "authstrat", "shared"), 1)


def parse_label(text: str) -> str:
    """A label as it is kept; InvalidInput if it is none."""
    label = " ".join(text.split())
    if not 0 < len(label) <= MAX_LABEL_LETTERS or not label.isprintable():
        raise InvalidInput(
            f"A label has 1 to {MAX_LABEL_LETTERS} characters, all of which can be seen"
        )
    return label


async def get_tags(
    engine: Engine, caller: Caller, job_id: Any, *, as_admin: bool = False
) -> Document:
    """{id, star, labels} of a job that the caller may read; errors as `find_permitted`."""
    job = await find_permitted(
        engine, caller, job_id, Level.READ, as_admin=as_admin, projection=_RIGHTS
    )
    return {"id": str(job["_id"]), **await tags_of_one(engine.store, caller.user, job["_id"])}


async def set_tags(
    engine: Engine,
    caller: Caller,
    job_id: Any,
    star: bool,
    labels: Sequence[str],
    *,
    as_admin: bool = False,
) -> Document:
    """Put these in the place of what the caller has noted on the job; {id, star, labels}. Errors as
    `find_permitted`, and InvalidInput, and WrongState beyond MAX_JOBS."""
    wanted = list(dict.fromkeys(parse_label(one) for one in labels))
    if len(wanted) > MAX_LABELS:
        raise InvalidInput(f"labels: a job has {MAX_LABELS} labels at most")
    job = await find_permitted(
        engine, caller, job_id, Level.READ, as_admin=as_admin, projection=_RIGHTS
    )
    tags, key = engine.store.tags, {"user": caller.user, "job": job["_id"]}
    if not star and not wanted:
        await tags.delete_one(key)
    else:
        others = {"user": caller.user, "job": {"$ne": job["_id"]}}
        if await tags.count_documents(others, limit=MAX_JOBS) >= MAX_JOBS:
            raise WrongState(
                f"{MAX_JOBS} of your jobs have a star or labels: take them off some, then add this"
            )
        await tags.update_one(
            key, {"$set": {"star": star, "labels": wanted, "changed": now_s()}}, upsert=True
        )
    _none.pop((id(engine.store), caller.user), None)
    return {"id": str(job["_id"]), "star": star, "labels": wanted}


async def tags_of_one(store: Store, user: str, oid: ObjectId) -> Document:
    """{star, labels} that the user has noted on a job."""
    found = (await tags_of(store, user, [oid])).get(oid, {})
    return {"star": bool(found.get("star")), "labels": found.get("labels", [])}


async def tags_of(
    store: Store, user: str, oids: Collection[ObjectId]
) -> dict[ObjectId, Document]:
    """What the user has noted on these jobs, of those that have something."""
    key = (id(store), user)
    if not oids or key in _none:
        return {}
    query = {"user": user, "job": {"$in": list(oids)}}
    found = {one["job"]: one async for one in store.tags.find(query, batch_size=1000)}
    if not found and await store.tags.find_one({"user": user}, {"_id": 1}) is None:
        _none[key] = True
    return found


async def tagged(
    store: Store, user: str, *, star: bool = False, label: str | None = None
) -> list[ObjectId]:
    """The jobs on which the user has noted a star (if sought) and the label (if given)."""
    query: Document = {"user": user}
    if star:
        query["star"] = True
    if label is not None:
        query["labels"] = label
    found = store.tags.find(query, {"job": 1}, batch_size=MAX_JOBS)
    return [one["job"] async for one in found.limit(MAX_JOBS)]


async def labels_of(store: Store, user: str) -> list[tuple[str, int]]:
    """The user's labels, and on how many jobs each is; in the order of the alphabet."""
    steps: list[Document] = [
        {"$match": {"user": user}},
        {"$unwind": "$labels"},
        {"$group": {"_id": "$labels", "jobs": {"$sum": 1}}},
    ]
    rows = await (await store.tags.aggregate(steps)).to_list()
    return sorted(((row["_id"], row["jobs"]) for row in rows), key=lambda r: r[0].casefold())
