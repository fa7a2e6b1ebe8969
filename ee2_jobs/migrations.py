"""Changes to the database's form, in order: numbered, each done once, recorded in `ee2_migrations`.

Each migration must be online (readers and writers go on meanwhile; MongoDB builds indexes so),
idempotent, and bear two processes that do it at the same moment: whoever comes second to an index
waits for its build and finds it there. So nothing is locked, and what was interrupted is simply
done again. Never change or renumber one that was released: add one at the end.

An EE2 database is adopted by these alone: indexes are added, no record is rewritten.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo import IndexModel
from pymongo.errors import OperationFailure, PyMongoError

from ee2_jobs.errors import EngineError
from ee2_jobs.model import LIVE, TERMINAL, Document, now_s

if TYPE_CHECKING:
    from ee2_jobs.store import Store

_log = logging.getLogger(__name__)
_LOOK_S = 1.0
_SAY_S = 10.0
# Of jobs that have ended, and of those that have not: each job costs only the indexes of one side.
_ENDED: Document = {"status": {"$in": list(TERMINAL)}}
_LIVE: Document = {"status": {"$in": list(LIVE)}}
_TOP: Document = {"batch_id": None, "superseded": None}


@dataclass(frozen=True)
class Migration:
    """One step. run: does it; may be called again, and by two at once."""

    number: int
    name: str
    run: Callable[[Store], Awaitable[None]]


@dataclass(frozen=True)
class Progress:
    """What `migrate` is at. share: 0 to 1 of the index that is built, if MongoDB tells it;
    took_s: set when the migration is done."""

    migration: Migration
    running_s: float
    share: float | None = None
    took_s: float | None = None


class MigrationFailed(EngineError):
    """A migration could not be done; those before it are done and recorded."""


def _index(*keys: str, **options: Any) -> IndexModel:
    """An index on the fields, `-` before those that are sorted downwards. options: as pymongo's."""
    return IndexModel([(k.removeprefix("-"), -1 if k[0] == "-" else 1) for k in keys], **options)


def _indexes(number: int, name: str, collection: str, *models: IndexModel) -> Migration:
    async def run(store: Store) -> None:
        await store.db[collection].create_indexes(list(models))

    return Migration(number, name, run)


MIGRATIONS: tuple[Migration, ...] = (
    _indexes(
        1, "indexes of the jobs of submissions and batches", "ee2_jobs",
        # Counts of live jobs are answered from this index alone.
        _index("submission", "stage", "status", "try"),
        # The counts of a batch are answered from this index alone.
        _index("batch_id", "role", "status", "superseded", "abandoned"),
        _index("user", "-_id"),
        _index("wsid", "-_id"),
        _index("status", "-_id"),
        _index("scheduler_id"),
        _index("retry_parent", sparse=True),
        _index("shared", "-_id", partialFilterExpression={"shared": {"$exists": True}}),
        _index("job_input.parent_job_id", sparse=True),
        # What was cancelled before it was in the pool keeps the flag: hence the second key.
        _index("remove", "scheduler_id", partialFilterExpression={"remove": True}),
        _index("reprioritise", "scheduler_id", partialFilterExpression={"reprioritise": True}),
    ),
    _indexes(
        2, "index of logs", "ee2_log_buckets", _index("job", "base", unique=True)
    ),
    _indexes(
        3, "indexes of submissions", "ee2_submissions",
        _index("status", "accepted"),
        _index("report_due", partialFilterExpression={"report_due": True}),
    ),
    _indexes(4, "index of tokens", "ee2_tokens", _index("user")),
    _indexes(
        5, "index of user state", "ee2_user_state",
        _index("user", "service", "auth", "key", unique=True),
    ),
    _indexes(
        6, "indexes of the outbox", "ee2_outbox",
        _index("kind", "next", "_id"),
        _index("kind", "at"),
    ),
    _indexes(
        7, "indexes of the old services' records", "ee2_legacy",
        _index("awe_job_id", sparse=True),
        _index("deleted", sparse=True),
    ),
    _indexes(
        8, "indexes of the audit", "ee2_audit",
        _index("target", "-at"),
        _index("who", "-at"),
    ),
    _indexes(
        9, "indexes of ended jobs", "ee2_jobs",
        # With `updated`, so that which days have changed is answered from this index alone.
        _index("-finished", "-_id", "status", "updated", partialFilterExpression=_ENDED),
        _index(
            "job_input.app_id", "-finished", "-_id", "status", partialFilterExpression=_ENDED
        ),
    ),
    _indexes(
        10, "indexes of live jobs by client group and node", "ee2_jobs",
        _index(
            "job_input.requirements.clientgroup", "status", "queued", partialFilterExpression=_LIVE
        ),
        _index("claim.host", "status", partialFilterExpression=_LIVE),
    ),
    _indexes(
        11, "indexes of the statistics by day", "ee2_daily",
        _index("user", "day", unique=True),
        _index("day"),
    ),
    _indexes(
        12, "indexes of messages to people", "ee2_notices",
        _index("state", "next"),
        _index("user", "-at"),
        _index("gone", expireAfterSeconds=0),
    ),
    _indexes(13, "index of submissions by their end", "ee2_submissions", _index("status", "ended")),
    _indexes(
        14, "indexes of limits", "ee2_jobs",
        # The live jobs that limits count (`limits/live.py`), by user; parents of batches stay
        # `created` and would be most of it. Counts are answered from this index alone.
        _index(
            "user", "status", "level", name="counted_by_limits",
            partialFilterExpression={
                **_LIVE, "batch_job": False, "submission": {"$exists": True},
            },
        ),
        _index("retime", "scheduler_id", partialFilterExpression={"retime": True}),
    ),
    _indexes(15, "index of the audit's list", "ee2_audit", _index("-at", "-_id")),
    _indexes(
        16, "index of jobs on hold", "ee2_jobs",
        _index("held.code", partialFilterExpression={"held.code": {"$exists": True}}),
    ),
    _indexes(
        17, "index of what was expected of jobs", "ee2_jobs",
        _index("-finished", partialFilterExpression={"expected.at": {"$exists": True}}),
    ),
    _indexes(
        18, "age of the pool's samples", "ee2_samples",
        _index("at", expireAfterSeconds=30 * 86400),
    ),
    _indexes(
        19, "indexes of the lists of jobs", "ee2_jobs",
        # Named, because the queries of `browse/query.py` name them. Each holds only what a list
        # shows on its top level: no children of batches, no superseded attempts.
        # The fields of the filters are keys as well, so that counts read no record.
        _index("user", "-_id", *_TOP, name="list_user", partialFilterExpression=_TOP),
        _index("wsid", "-_id", name="list_ws", partialFilterExpression=_TOP),
        _index("superseded", "-_id", "batch_id", name="list_all", partialFilterExpression=_TOP),
        *(
            _index(*keys, "status", "-finished", "-_id", *_TOP, name=f"list_{name}ended",
                   partialFilterExpression={**_TOP, "finished": {"$gt": 0}})
            for name, keys in (
                ("", ()), ("user_", ("user",)), ("ws_", ("wsid",)),
                ("app_", ("job_input.app_id",)),
            )
        ),
        *(
            _index(*keys, "batch_end.status", "-batch_end.at", "-_id", *_TOP,
                   name=f"list_{name}batch_end",
                   partialFilterExpression={"batch_end.at": {"$gt": 0}})
            for name, keys in (("", ()), ("user_", ("user",)), ("ws_", ("wsid",)))
        ),
        *(
            _index(*keys, "status", "-_id", *_TOP, "batch_end", "batch_job", name=f"live_{name}",
                   partialFilterExpression={**_TOP, **_LIVE, "batch_end": None})
            for name, keys in (("all", ()), ("user", ("user",)), ("ws", ("wsid",)))
        ),
        _index("batch_id", "-_id", name="list_batch",
               partialFilterExpression={"batch_id": {"$exists": True}}),
    ),
    _indexes(
        20, "indexes of actions on many jobs", "ee2_actions",
        _index("user", "key", unique=True, partialFilterExpression={"key": {"$exists": True}}),
        _index("open", partialFilterExpression={"open": True}),
        _index("of", "n"),
        _index("expires", expireAfterSeconds=0),
    ),
    _indexes(
        21, "index of batch systems' ids", "ee2_jobs",
        _index("where.batch_id", partialFilterExpression={"where.batch_id": {"$exists": True}}),
    ),
    _indexes(
        22, "indexes of users' stars and labels", "ee2_tags",
        _index("user", "job", unique=True),
        _index("user", "labels"),
    ),
    _indexes(
        23, "index of watched jobs", "ee2_watches", _index("user", "job", unique=True)
    ),
    _indexes(24, "age of the counts of calls", "ee2_calls", _index("gone", expireAfterSeconds=0)),
    _indexes(
        25, "index of a batch's children in their order", "ee2_jobs",
        _index("batch_id", "index", "_id", name="list_children",
               partialFilterExpression={"batch_id": {"$exists": True}}),
    ),
    _indexes(
        26, "index of a user's runs, each by itself", "ee2_jobs",
        # Also children of batches and superseded attempts, which the lists of 19 do not hold.
        _index("user", "status", "-finished", "-_id", name="runs_user"),
    ),
)  # fmt: skip


async def pending(store: Store) -> list[Migration]:
    """The migrations that are not recorded as done, in their order."""
    done = {row["_id"] async for row in store.migrations.find({}, {"_id": 1})}
    return [m for m in MIGRATIONS if m.number not in done]


async def migrate(
    store: Store, progress: Callable[[Progress], None] | None = None
) -> list[Migration]:
    """Do what is pending, one after the other, and record each; returns what was done.

    progress: called before and after each and, while one runs, every second. Raises
    MigrationFailed with the number and name of the one that failed; calling again goes on there.
    """
    todo = await pending(store)
    for migration in todo:
        began = time.monotonic()
        try:
            async with _watched(store, migration, progress):
                await migration.run(store)
        except OperationFailure as e:
            raise MigrationFailed(
                f"Migration {migration.number} ({migration.name}) failed: {e.details or e}. "
                "Those before it are done; put this right and start again"
            ) from e
        took_s = round(time.monotonic() - began, 3)
        entry = {"name": migration.name, "at": now_s(), "took_s": took_s}
        await store.migrations.update_one(
            {"_id": migration.number}, {"$setOnInsert": entry}, upsert=True
        )
        if progress is not None:
            progress(Progress(migration, took_s, took_s=took_s))
    return todo


async def migrate_at_start(store: Store) -> None:
    """`migrate` for a server that starts: says what it waits for in its log. On a large database
    `./ee2 migrate` is run beforehand, and then nothing is left to do here."""
    said: dict[int, float] = {}

    def say(at: Progress) -> None:
        number, name = at.migration.number, at.migration.name
        if at.took_s is None and at.running_s - said.get(number, 0.0) >= _SAY_S:
            said[number] = at.running_s
            part = "" if at.share is None else f", {at.share:.0%} of an index"
            _log.warning(
                "migration %d (%s) runs since %.0f s%s; the API starts when it is done",
                number, name, at.running_s, part,
            )  # fmt: skip
        elif at.took_s is not None and at.took_s >= 1:
            _log.info("migration %d (%s) took %.1f s", number, name, at.took_s)

    await migrate(store, say)


@contextlib.asynccontextmanager
async def _watched(
    store: Store, migration: Migration, progress: Callable[[Progress], None] | None
) -> Any:
    if progress is None:
        yield
        return
    progress(Progress(migration, 0.0))
    watcher = asyncio.create_task(_watch(store, migration, progress))
    try:
        yield
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher


async def _watch(
    store: Store, migration: Migration, progress: Callable[[Progress], None]
) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(_LOOK_S)
        progress(Progress(migration, time.monotonic() - began, await building(store)))


async def building(store: Store) -> float | None:
    """How far the index builds of this deployment are, 0 to 1: of the least one; None if MongoDB
    builds none, or does not let this account look (it needs the role clusterMonitor)."""
    pipeline: Sequence[Mapping[str, Any]] = [
        {"$currentOp": {"allUsers": True, "idleConnections": False}},
        {"$match": {"msg": {"$regex": "^Index Build"}, "progress.total": {"$gt": 0}}},
        {"$project": {"progress": 1}},
    ]
    try:
        rows = await (await store.client.admin.aggregate(pipeline)).to_list()
    except PyMongoError:
        return None
    shares = [float(r["progress"]["done"]) / float(r["progress"]["total"]) for r in rows]
    return min(1.0, min(shares)) if shares else None
