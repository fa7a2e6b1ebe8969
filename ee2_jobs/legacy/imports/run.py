"""A run of an import: collection by collection, in batches, each followed by a mark.

A run that was killed goes on after the last batch that was marked. What it writes is insert-only
and keyed by the old ids, so that a batch (or a whole run) done twice makes nothing twice, and what
has changed here since is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ee2_jobs.errors import InvalidInput
from ee2_jobs.legacy.imports import moves
from ee2_jobs.legacy.imports.ee2 import OLD_LIVE_JOBS
from ee2_jobs.legacy.imports.report import FIRST_IDS, Finding, Report
from ee2_jobs.legacy.imports.source import Source
from ee2_jobs.legacy.imports.ujs import cut_off
from ee2_jobs.model import Document, now_s
from ee2_jobs.store import Store

Kind = Literal["ujs", "njs", "ee2"]
# Called after each batch: collection, rows read so far, about how many there are.
Progress = Callable[[str, int, int], None]
BATCH_ROWS = 1000

# The collections of each service in their order; a database without the first is another one.
STEPS: Mapping[Kind, Mapping[str, moves.Move]] = {
    "ujs": {"jobstate": moves.jobstate, "userstate": moves.userstate},
    "njs": {"exec_tasks": moves.exec_tasks, "exec_logs": moves.exec_logs},
    "ee2": {"ee2_jobs": moves.ee2_jobs, "ee2_logs": moves.ee2_logs},
}
CHECKS: Mapping[str, moves.Move] = {
    "ee2_jobs": moves.check_ee2_jobs,
    "ee2_logs": moves.check_ee2_logs,
}


@dataclass(frozen=True)
class Options:
    """dry_run: read and translate everything, write nothing. restart: from the beginning, whatever
    an earlier run has done."""

    dry_run: bool = False
    restart: bool = False
    batch_rows: int = BATCH_ROWS


DEFAULTS = Options()


def no_progress(collection: str, read: int, total: int) -> None:
    """Tells nobody."""


async def run(
    store: Store,
    source: Source,
    kind: Kind,
    options: Options = DEFAULTS,
    progress: Progress = no_progress,
) -> dict[str, Report]:
    """Bring an old database's rows into the store; one report per collection.

    Raises InvalidInput if the source is not a database of that service.
    """
    there = await source.collections()
    main = next(iter(STEPS[kind]))
    if main not in there:
        raise InvalidInput(
            f"The database {source.database} has no collection {main}, so it is not one of "
            f"{kind.upper()}; it has: {', '.join(sorted(there)) or 'none'}"
        )
    if kind == "ee2" and "ee2_log_buckets" in there:
        raise InvalidInput(
            f"This engine has written to the database {source.database}: its submissions and logs "
            "are more than what EE2 kept. Copy it with mongodump and mongorestore"
        )
    if not options.dry_run:
        await store.ensure_indexes()
    reports = {}
    for collection, move in STEPS[kind].items():
        if collection in there:
            reports[collection] = await _one(
                store, source, f"import:{kind}", collection, move, options, progress
            )
    return reports


async def check(
    store: Store, source: Source, batch_rows: int = BATCH_ROWS, progress: Progress = no_progress
) -> dict[str, Report]:
    """What of an EE2 database, used in place, could not be read. Writes nothing."""
    dry = Options(dry_run=True, batch_rows=batch_rows)
    there = await source.collections()
    return {
        collection: await _one(store, source, "check", collection, move, dry, progress)
        for collection, move in CHECKS.items()
        if collection in there
    }


async def _one(
    store: Store,
    source: Source,
    what: str,
    collection: str,
    move: moves.Move,
    options: Options,
    progress: Progress,
) -> Report:
    """Read one collection to its end."""
    mark = f"{what}:{source.name}:{collection}"
    after, report = await _begin(store, mark, options)
    total = await source.count(collection)
    progress(collection, report.read, total)
    while rows := await source.batch(collection, after, options.batch_rows):
        await move(store, rows, report, options.dry_run)
        report.read += len(rows)
        after = [rows[-1].row_id]
        if not options.dry_run:
            await _set_mark(store, mark, after, report, finished=False)
        progress(collection, report.read, max(total, report.read))
    if not options.dry_run:
        await _set_mark(store, mark, after, report, finished=True)
    return report


async def _begin(store: Store, mark: str, options: Options) -> tuple[list[Any], Report]:
    """Where to begin: after the last batch of a run that was cut off, else at the first row."""
    if not options.dry_run and not options.restart:
        found = await store.marks.find_one({"_id": mark})
        if found is not None and not found["finished"]:
            return found["after"], Report.from_document(found["report"])
    return [], Report()


async def _set_mark(
    store: Store, mark: str, after: list[Any], report: Report, *, finished: bool
) -> None:
    document = {"after": after, "report": report.as_document(), "finished": finished}
    await store.marks.replace_one({"_id": mark}, {**document, "updated": now_s()}, upsert=True)


async def waiting(store: Store) -> Finding:
    """The jobs of NJS's rows whose rows of UJS have not been imported."""
    first = await store.import_waiting.find({}, {"_id": 1}).limit(FIRST_IDS).to_list()
    count = await store.import_waiting.count_documents({})
    return Finding(count, [str(row["_id"]) for row in first])


async def live_jobs(store: Store) -> int:
    """How many jobs an engine before this one has left unfinished."""
    return await store.jobs.count_documents(OLD_LIVE_JOBS)


async def end_live_jobs(store: Store) -> int:
    """End those jobs (`error`, code 2); returns how many. Jobs of this engine are not touched."""
    now = now_s()
    change: Document = {"$set": {**cut_off(now), "updated": now}}
    done = await store.jobs.update_many(OLD_LIVE_JOBS, change)
    return done.modified_count
