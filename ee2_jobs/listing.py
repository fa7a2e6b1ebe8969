"""Use cases that list jobs: those of a workspace, and those made in a span of time.

Shapes and texts are EE2's (`ee2-api` 2.19, 2.23, 2.24).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId

from ee2_jobs.checks import (
    MAX_FIELDS,
    ONE_BATCH,
    PLAIN,
    TIMES,
    is_field,
    job_state,
    no_read_permission,
    outermost,
    parse_exclude,
    projection,
    read_many,
    states_of,
)
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput, shown
from ee2_jobs.filters import Condition, parse_filter
from ee2_jobs.id_counts import first_id, second_of
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, missing, parse_time_s
from ee2_jobs.requests import parse_wsid
from ee2_jobs.rights import Level, permitted, require_admin

ALL_USERS = "ALL"
DEFAULT_LIMIT = 2000
MAX_OFFSET = 100_000
_QUERY_MS = 30_000
_LAST_SECOND = 2**32 - 1
_ALWAYS = ("authstrat", "updated", "batch_job", "child_jobs", "retry_ids")
_ALWAYS_OUT = (*_ALWAYS, "_id", "job_id", "created")
_STORED = {*PLAIN, *TIMES, *_ALWAYS_OUT, "batch_id", "retry_saved_toggle"}


async def workspace_jobs(
    engine: Engine, caller: Caller, workspace: Any, *, exclude: Any = None, as_admin: bool = False
) -> dict[str, Any]:
    """All jobs of a workspace by id, oldest first, for who may read it; {} if there are none.

    workspace: its id, a whole number or digits in a string. The answer has every id of the
    `child_jobs` of each batch in it: a listing without them stops the Narrative (rule C-07).
    """
    fields = parse_exclude(exclude)
    if isinstance(workspace, str) and workspace.strip().isdecimal():
        workspace = int(workspace.strip()[:20])
    wsid = parse_wsid(workspace, "workspace_id")
    if wsid is None:
        raise missing("workspace_id")
    if as_admin:
        require_admin(caller, Level.READ)
    elif (await engine.workspaces.permissions(caller, [wsid]))[wsid] == "n":
        raise Denied(
            f"User {caller.user} does not have permission to read jobs in workspace {wsid}"
        )
    query: Document = {"wsid": wsid}
    if not as_admin:
        # The others' jobs that no workspace shares stay theirs.
        query["$or"] = [{"authstrat": "kbaseworkspace"}, {"user": caller.user}]
    # Of a large workspace the ids come first, from the index alone: see read_many.
    ids = engine.store.jobs.find({"wsid": wsid}, {"_id": 1}, batch_size=ONE_BATCH)
    oids = [job["_id"] async for job in ids.sort("_id", 1)]
    jobs = await read_many(engine.store, oids, projection(fields), query)
    # Oldest first: what a parent lists was stored before it was listed, and is younger.
    jobs.sort(key=lambda job: job["_id"].binary)
    listed = {str(job["_id"]) for job in jobs}
    elsewhere = {c for job in jobs for c in job.get("child_jobs") or () if c not in listed}
    hidden: dict[str, Any] = {}
    if elsewhere:
        children = await engine.store.jobs.find(
            {"_id": {"$in": [ObjectId(c) for c in elsewhere if ObjectId.is_valid(c)]}},
            projection(fields),
        ).to_list()
        allowed = {str(c["_id"]) for c in children}
        if not as_admin:
            allowed = await permitted(engine, caller, children, Level.READ)
        jobs += [c for c in children if str(c["_id"]) in allowed]
        hidden = {c: no_read_permission(c) for c in sorted(elsewhere - allowed)}
    return {**await states_of(engine.store, jobs, fields), **hidden}


async def date_range(
    engine: Engine,
    caller: Caller,
    params: Mapping[str, Any],
    *,
    limit: int | None,
    offset: int,
    ascending: bool,
    as_admin: bool,
) -> Document:
    """Jobs made in a span of time, with their counts.

    params (`ee2-api` 2.23): `start_time` (included) and `end_time` (excluded), to the second;
    `user` (another than the caller, or ALL, needs an administrator's role), `projection`, `filter`.
    limit, offset: how many jobs to return and to leave out. None is 2000, 0 as many as one listing
    may have: `[ee2] max_list_jobs`.
    """
    if as_admin:
        require_admin(caller, Level.READ)
    user = params.get("user") or caller.user
    if user != caller.user and not caller.can_admin_read:
        raise Denied(
            "You are not authorized to view all records or records for others. "
            f"user={user} token={caller.user}"
        )
    if not isinstance(user, str):
        raise InvalidInput(f"user must be a string, not {shown(user)}")
    first, end = _span(params.get("start_time"), params.get("end_time"))
    wanted = _parse_projection(params.get("projection"))
    conditions = parse_filter(params.get("filter"))
    if user != ALL_USERS:
        conditions = [c for c in conditions if c.name != "user"]
    plain = user == ALL_USERS and not conditions
    if offset > MAX_OFFSET and not plain:
        raise InvalidInput(
            f"offset: at most {MAX_OFFSET} with a user or a filter. For what comes after, give the "
            "last job's id as the filter id__gt (descending: id__lt), or a shorter span of time"
        )
    most = engine.settings.max_list_jobs
    limit = min(DEFAULT_LIMIT if limit is None else limit or most, most)
    start = None
    if plain:
        start = await engine.store.id_counts.start(
            second_of(first), second_of(end), offset, ascending=ascending
        )
    skip, low, high = min(offset, 2**62), first, end
    if start is not None:
        skip, low, high = start.skip, first_id(start.first_s), first_id(start.end_s)
    clauses: list[Document] = [{"_id": {"$gte": low, "$lt": high}}]
    if user != ALL_USERS:
        clauses.append({"user": user})
    query = {"$and": clauses + [c.query for c in conditions]}
    jobs = engine.store.jobs
    found = await (
        jobs.find(query, _fetched(wanted), batch_size=ONE_BATCH, max_time_ms=_QUERY_MS)
        .sort("_id", 1 if ascending else -1)
        .skip(skip)
        .limit(limit)
        .to_list()
    )
    matching = offset + len(found)
    if start is not None:
        matching = max(start.matching, matching if found else 0)
    elif len(found) == limit or (offset and not found):
        counted = None
        if user != ALL_USERS and not conditions:
            counts = engine.store.id_counts
            counted = await counts.of_user(user, second_of(first), second_of(end))
        if counted is None:
            counted = await jobs.count_documents(query, maxTimeMS=_QUERY_MS)
        # What was made in between is in one of the two.
        matching = max(counted, matching if found else 0)
    return {
        "jobs": [_listed(job) for job in found],
        "count": len(found),
        "query_count": matching,
        "filter": _echo(first, end, user, conditions),
        "skip": offset,
        "projection": wanted,
        "limit": limit,
        "sort_order": "+" if ascending else "-",
        "stats": _stats(found),
    }


def _span(start: Any, end: Any) -> tuple[ObjectId, ObjectId]:
    """The ids between which the jobs of a span of time lie."""
    for value, word in ((start, "start"), (end, "end")):
        if value is None or value == "":
            raise InvalidInput(f"Please provide a valid {word} time for when job was created")
    start_s, end_s = _second(start), _second(end)
    if start_s > end_s:
        raise InvalidInput("The start time cannot be greater than the end time.")
    return first_id(start_s), first_id(end_s)


def _second(value: Any) -> int:
    try:
        return min(max(int(parse_time_s(value)), 0), _LAST_SECOND)
    except (ValueError, OverflowError):
        raise InvalidInput(f"Cannot convert time_input into timestamps: {value}") from None


def _parse_projection(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput("Invalid job projection type. Must be list")
    if len(value) > MAX_FIELDS:
        raise InvalidInput(f"projection: at most {MAX_FIELDS} fields, not {len(value)}")
    for name in value:
        field = name.replace("__", ".") if isinstance(name, str) else ""
        if field != "_id" and not (is_field(field) and field.split(".")[0] in _STORED):
            raise InvalidInput(
                f'Cannot resolve field "{name}": projection takes {", ".join(sorted(_STORED))}'
            )
    return value


def _fetched(wanted: Sequence[str]) -> Document:
    if not wanted:
        return projection(frozenset())
    fields = outermost([*(name.replace("__", ".") for name in wanted if name != "_id"), *_ALWAYS])
    return dict.fromkeys(sorted(fields - {"job_id", "created"}), 1)


def _listed(job: Document) -> Document:
    """A record of a listing: a JobState with `_id`, without what EE2's listings leave out."""
    state = {**job_state(job), "_id": str(job["_id"])}
    del state["retry_count"], state["retry_saved_toggle"]
    if state["batch_id"] is None:
        del state["batch_id"]
    return state


def _echo(
    first: ObjectId, end: ObjectId, user: str, conditions: Sequence[Condition]
) -> dict[str, str]:
    """The filter that was used, as EE2 tells it: all values are strings."""
    used = {"id__gt": str(first), "id__lt": str(end)}
    used |= {c.name: str(c.given) for c in conditions}
    if user != ALL_USERS:
        used["user"] = user
    return used


def _stats(jobs: Sequence[Document]) -> dict[str, dict[str, int]]:
    """How often each value occurs among the jobs of this answer; a missing one counts as null."""
    counts: dict[str, Counter[str]] = {
        name: Counter() for name in ("clientgroup", "user", "app_id", "method", "wsid", "status")
    }
    for job in jobs:
        job_input = job.get("job_input") or {}
        requirements = job_input.get("requirements") or {}
        values = {
            "clientgroup": requirements.get("clientgroup"),
            "app_id": job_input.get("app_id"),
            "method": job_input.get("method"),
            **{name: job.get(name) for name in ("user", "wsid", "status")},
        }
        for name, value in values.items():
            counts[name]["null" if value is None else str(value)] += 1
    return {name: dict(count) for name, count in counts.items()}
