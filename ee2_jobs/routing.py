"""By which route each job of a round goes: decided once, by the file of client groups, and noted on
the records before anything is submitted.

Each route of a round is one cluster. Whoever takes over after a crash reads the decision instead of
making it again, because the file may have changed: a job must not be looked for in one cluster and
be submitted in another. Jobs of the engine's own pool, which are nearly all, carry no note.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bson import ObjectId

from ee2_jobs.client_groups import POOL_ROUTE, ClientGroups, GroupsFile
from ee2_jobs.model import Document
from ee2_jobs.stage_jobs import mark
from ee2_jobs.stages import StageRun, submit_failed
from ee2_jobs.store import Store


async def by_route(
    store: Store, run: StageRun, groups: GroupsFile | ClientGroups
) -> list[StageRun]:
    """The parts of a round that are submitted by themselves, one for each route; the round itself
    where all its jobs go to the engine's own pool. Safe to repeat.

    Jobs of a client group that the file no longer has end in an error that says so.
    """
    if not run.routed:
        if run.begun_s is not None:
            return [run]  # to the pool, as was decided then
        run = await _decide(store, run, groups)
    parts: dict[str, list[Document]] = {}
    for job in run.jobs:
        parts.setdefault(job.get("where", {}).get("route", POOL_ROUTE), []).append(job)
    if not run.routed:
        return [run] if run.jobs else []
    return [replace(run, route=name, jobs=tuple(jobs)) for name, jobs in sorted(parts.items())]


async def _decide(
    store: Store, run: StageRun, groups: GroupsFile | ClientGroups
) -> StageRun:
    known = groups.groups
    jobs: list[Document] = []
    unknown: dict[str, list[ObjectId]] = {}
    chosen: dict[str, list[ObjectId]] = {}
    for job in run.jobs:
        name = group_of(job, groups.default)
        group = known.get(name)
        if group is None:
            unknown.setdefault(name, []).append(job["_id"])
        elif group.route == POOL_ROUTE:
            jobs.append(job)
        else:
            jobs.append({**job, "where": {"route": group.route}})
            chosen.setdefault(group.route, []).append(job["_id"])
    for name, ids in unknown.items():
        message = (
            f"The job could not be submitted: its client group '{name}' has been taken out of the "
            "file of client groups. Run it again in another group, or tell the administrators."
        )
        await submit_failed(store, run, message, ids)
    if chosen:
        await _note(store, run, chosen)
    return replace(run, jobs=tuple(jobs), routed=bool(chosen))


async def _note(store: Store, run: StageRun, chosen: Mapping[str, list[ObjectId]]) -> None:
    for route, ids in chosen.items():
        await store.jobs.update_many(
            {"_id": {"$in": ids}, "scheduler_id": {"$exists": False}},
            {"$set": {"where.route": route}},
        )
    field = mark(run.stage, run.try_number, run.round_mark("routed"))
    await store.submissions.update_one({"_id": run.submission_id}, {"$set": {field: True}})


def group_of(job: Document, default: str) -> str:
    """The client group of a job's record."""
    return str((job["job_input"].get("requirements") or {}).get("clientgroup") or default)
