"""What a run does with one batch of rows of each old collection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from bson import ObjectId
from pymongo import InsertOne, ReplaceOne

from ee2_jobs.legacy.imports import ee2, njs, ujs
from ee2_jobs.legacy.imports.report import Report
from ee2_jobs.legacy.imports.source import Row
from ee2_jobs.legacy.imports.ujs import Imported
from ee2_jobs.legacy.imports.values import Untranslatable
from ee2_jobs.legacy.imports.writing import insert_new, write
from ee2_jobs.legacy.records import UJS
from ee2_jobs.model import Document, now_s
from ee2_jobs.store import Store

T = TypeVar("T")
# (store, rows, report, dry run): translates the rows and writes what is not here yet.
Move = Callable[[Store, Sequence[Row], Report, bool], Awaitable[None]]

NO_UJS_ROW = "no row of UJS was imported for it: kept aside until there is one"
CHANGED_HERE = "it has changed here since its UJS row was imported: left as it is"
LIVE_IN_OLD_ENGINE = "live in the old engine"


def _translated(
    rows: Iterable[Row], translate: Callable[[Document], T], report: Report
) -> list[tuple[Row, T]]:
    """Each row with what it becomes; those of which nothing can be made are reported."""
    done = []
    for row in rows:
        if row.content is None:
            report.leave_out(row.row_id, row.problem or "")
            continue
        try:
            done.append((row, translate(row.content)))
        except Untranslatable as e:
            report.leave_out(row.row_id, str(e))
        except Exception as e:  # any program may have written to these: no row stops a run
            report.leave_out(row.row_id, f"unexpected content ({type(e).__name__}: {e})")
    return done


async def _here(collection: Any, ids: Iterable[Any], field: str = "_id") -> set[Any]:
    found = collection.find({field: {"$in": list(ids)}}, {field: 1})
    return {document[field] async for document in found}


async def jobstate(store: Store, rows: Sequence[Row], report: Report, dry_run: bool) -> None:
    """UJS's jobs: those that are not here are added, together with the NJS rows that wait."""
    jobs = {job.oid: job for _, job in _translated(rows, ujs.from_jobstate, report)}
    here = await _here(store.jobs, jobs)
    found = store.import_waiting.find({"_id": {"$in": list(jobs)}})
    tasks = {row["_id"]: row["task"] async for row in found}
    new = [_completed(job, tasks.get(oid), report) for oid, job in jobs.items() if oid not in here]
    report.already_here += len(here)
    for job in new:
        report.note(job.oid, job.notes)
    if dry_run:
        report.made += len(new)
        return
    # The side documents go first, as a record is what later runs go by: one without a record is of
    # a run that was cut off. Records that an earlier transfer made miss what it lost.
    with_side = await _here(store.legacy, jobs)
    sides = {job.oid: job.side for job in new} | {oid: jobs[oid].side for oid in here - with_side}
    await write(
        store.legacy,
        {
            oid: ReplaceOne({"_id": oid}, side) if oid in with_side else InsertOne(side)
            for oid, side in sides.items()
        },
        report,
    )
    await insert_new(store.jobs, {job.oid: job.record for job in new}, report)
    await _join(store, {oid: task for oid, task in tasks.items() if oid in here}, report, dry_run)
    if tasks:
        await store.import_waiting.delete_many({"_id": {"$in": list(tasks)}})


def _completed(job: Imported, task: Document | None, report: Report) -> Imported:
    """The job with its NJS row, if that can be translated."""
    if task is None:
        return job
    try:
        return njs.with_task(job, task)
    except Exception as e:  # as in _translated
        report.leave_out(job.oid, f"unexpected content in its NJS row ({type(e).__name__}: {e})")
        return job


async def exec_tasks(store: Store, rows: Sequence[Row], report: Report, dry_run: bool) -> None:
    """NJS's jobs: records that came from UJS are completed. A row without one is kept aside, as it
    does not say whose the job is."""
    tasks = {}
    for row, oid in _translated(rows, njs.task_job, report):
        if oid in tasks:
            report.leave_out(row.row_id, "another row has the same ujs_job_id")
        else:
            tasks[oid] = row.content or {}
    here = await _here(store.jobs, tasks)
    missing = [oid for oid in tasks if oid not in here]
    for oid in missing:
        report.note(oid, [NO_UJS_ROW])
    if not dry_run:
        await write(
            store.import_waiting,
            {oid: ReplaceOne({"_id": oid}, {"task": tasks[oid]}, upsert=True) for oid in missing},
            report,
        )
    late = {oid: task for oid, task in tasks.items() if oid in here}
    joined = await _join(store, late, report, dry_run)
    report.made += joined
    report.already_here += len(late) - joined


async def _join(
    store: Store, tasks: Mapping[ObjectId, Document], report: Report, dry_run: bool
) -> int:
    """Complete the records that came from UJS and have not changed since by their NJS rows;
    returns how many."""
    ids = list(tasks)
    fresh = {"_id": {"$in": ids}, "scheduler_type": UJS, "job_input": {"$exists": False}}
    records = {job["_id"]: job async for job in store.jobs.find(fresh)}
    found = store.legacy.find({"_id": {"$in": list(records)}})
    sides = {side["_id"]: side async for side in found if "imported_updated" in side}
    done: list[tuple[Document, Imported]] = []
    for oid, side in sides.items():
        record = records[oid]
        if side["imported_updated"] != record["updated"]:
            report.note(oid, [CHANGED_HERE])
            continue
        before = Imported(record, side)
        job = _completed(before, tasks[oid], report)
        if job is not before:
            report.note(oid, job.notes)
            done.append((record, job))
    if not dry_run:
        side_writes = {j.oid: ReplaceOne({"_id": j.oid}, j.side) for _, j in done}
        await write(store.legacy, side_writes, report)
        unchanged = ("_id", "status", "updated", "scheduler_type")
        record_writes = {
            j.oid: ReplaceOne(
                {**{f: old[f] for f in unchanged}, "job_input": {"$exists": False}}, j.record
            )
            for old, j in done
        }
        await write(store.jobs, record_writes, report)
    return len(done)


async def userstate(store: Store, rows: Sequence[Row], report: Report, dry_run: bool) -> None:
    """UJS's key/value pairs."""
    pairs = {p["_id"]: p for _, p in _translated(rows, ujs.from_userstate, report)}
    if dry_run:
        keys = [{k: p[k] for k in ("user", "service", "auth", "key")} for p in pairs.values()]
        here = await store.user_state.count_documents({"$or": keys}) if keys else 0
        report.already_here += here
        report.made += len(pairs) - here
        return
    await insert_new(store.user_state, pairs, report)


async def exec_logs(store: Store, rows: Sequence[Row], report: Report, dry_run: bool) -> None:
    """NJS's logs, in EE2's form of one document per job, which the engine reads."""
    new = {}
    for _, (log, notes) in _translated(rows, njs.from_log, report):
        new[log["_id"]] = {**log, "updated": now_s()}
        report.note(log["_id"], notes)
    await _insert_logs(store, new, report, dry_run)


async def ee2_logs(store: Store, rows: Sequence[Row], report: Report, dry_run: bool) -> None:
    """EE2's logs, unchanged."""
    readable = _readable(rows, ee2.log_problem, report)
    await _insert_logs(store, {row.row_id: row.raw for row in readable}, report, dry_run)


async def _insert_logs(
    store: Store, logs: Mapping[Any, Any], report: Report, dry_run: bool
) -> None:
    """Add the logs of those jobs that have none."""
    begun = await _here(store.log_buckets, logs, "job") | await _here(store.old_logs, logs)
    report.already_here += len(begun)
    new = {oid: log for oid, log in logs.items() if oid not in begun}
    if dry_run:
        report.made += len(new)
    else:
        await insert_new(store.old_logs, new, report)


async def ee2_jobs(store: Store, rows: Sequence[Row], report: Report, dry_run: bool) -> None:
    """EE2's records, unchanged."""
    readable = _readable(rows, ee2.record_problem, report)
    _note_live(readable, report)
    here = await _here(store.jobs, [row.row_id for row in readable])
    report.already_here += len(here)
    new = {row.row_id: row.raw for row in readable if row.row_id not in here}
    if dry_run:
        report.made += len(new)
    else:
        await insert_new(store.jobs, new, report)


async def check_ee2_jobs(store: Store, rows: Sequence[Row], report: Report, dry_run: bool) -> None:
    """The records of an EE2 database that is used in place."""
    readable = _readable(rows, ee2.record_problem, report)
    _note_live(readable, report)
    report.already_here += len(readable)


async def check_ee2_logs(store: Store, rows: Sequence[Row], report: Report, dry_run: bool) -> None:
    """The logs of an EE2 database that is used in place."""
    report.already_here += len(_readable(rows, ee2.log_problem, report))


def _readable(
    rows: Iterable[Row], problem_of: Callable[[Document], str | None], report: Report
) -> list[Row]:
    readable = []
    for row, problem in _translated(rows, problem_of, report):
        if problem is None:
            readable.append(row)
        else:
            report.leave_out(row.row_id, problem)
    return readable


def _note_live(rows: Iterable[Row], report: Report) -> None:
    for row in rows:
        if row.content is not None and ee2.is_old_live_job(row.content):
            report.note(row.row_id, [LIVE_IN_OLD_ENGINE])
