"""Use cases that read jobs: records as clients see them.

Shapes and texts are EE2's (`ee2-api` 2.16 to 2.22, `clients` 2.2). Times leave as whole ms.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bson import ObjectId

from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, NotFound
from ee2_jobs.identity import Caller
from ee2_jobs.model import TERMINAL, Document, StageName, Status, job_oid
from ee2_jobs.rights import (
    Level,
    find_permitted,
    not_found,
    permitted,
    require,
    require_admin,
    rights_in,
)
from ee2_jobs.store import Store

ONE_BATCH = 10_000  # a first answer of 101 records costs a second round trip
_PART, _AT_ONCE = 1000, 3  # of many records that are read together
MAX_PARTS = 20  # of a nested field's name
MAX_FIELDS = 1000  # in one call
MAX_IDS = 200_000  # the same: more than a batch has
TIMES = ("queued", "estimating", "running", "finished", "updated")
PLAIN = (
    "user", "authstrat", "wsid", "status", "scheduler_type", "scheduler_id",
    "scheduler_estimator_id", "error_code", "errormsg", "msg", "error", "terminated_code",
    "job_output", "condor_job_ads", "retry_parent", "job_input", "usage", "priority",
)
DERIVED = ("job_id", "created", "batch_job", "batch_id", "child_jobs", "retry_ids", "retry_count",
           "retry_saved_toggle", "child_counts", "stage_jobs")
JOB_INPUT = ("wsid", "method", "requested_release", "params", "service_ver", "app_id",
             "source_ws_objects", "parent_job_id", "requirements", "narrative_cell_info")
_PLAIN, _TIMES = frozenset(PLAIN), frozenset(TIMES)
_NEEDED = {"user", "wsid", "authstrat", "shared", "by_job", "updated", "batch_job", "child_jobs"}
_HIDDEN = ("claim", "remove", "submission", "stage", "role", "index", "try", "superseded",
           "job_requirements", "time_limit_s", "time_limit_rule", "time_limit_base", "retime",
           "attempt", "round", "seen", "reprioritise", "saved", "abandoned", "ended_by", "expected",
           "batch_end")


async def find_job(store: Store, job_id: Any, projection: Document | None = None) -> Document:
    """The record of one job; InvalidInput for a bad id, NotFound with EE2's text for an unknown."""
    job = await store.jobs.find_one({"_id": job_oid(job_id)}, projection)
    if job is None:
        raise NotFound(f"Cannot find job with ids: ['{job_id}']")
    return job


def parse_exclude(value: Any) -> frozenset[str]:
    """`exclude_fields`: names of stored fields, nested ones as `a.b` or `a__b`."""
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(f, str) for f in value):
        raise InvalidInput("exclude_fields must be a list of field names")
    if len(value) > MAX_FIELDS:
        raise InvalidInput(f"exclude_fields: at most {MAX_FIELDS} fields, not {len(value)}")
    fields = frozenset(f.replace("__", ".") for f in value)
    for field in sorted(fields):
        if not is_field(field):
            raise InvalidInput(
                f"exclude_fields: a job record has no field '{field}'; it has: "
                f"{', '.join(sorted({*PLAIN, *TIMES, *DERIVED}))}"
            )
    return fields


async def read_many(
    store: Store, oids: Sequence[ObjectId], fields: Document, query: Document | None = None
) -> list[Document]:
    """The records with these ids that there are (and that `query` matches), in no order.

    Many are read in parts, a few at the same time: while one part is taken apart here, MongoDB
    gathers the next ones, which is a third of the time."""
    parts = [oids[i : i + _PART] for i in range(0, len(oids), _PART)]
    few = asyncio.Semaphore(_AT_ONCE)

    async def read(part: Sequence[ObjectId]) -> list[Document]:
        async with few:
            found = store.jobs.find(
                {**(query or {}), "_id": {"$in": list(part)}}, fields, batch_size=_PART + 1
            )
            return await found.to_list()

    return [job for found in await asyncio.gather(*map(read, parts)) for job in found]


def is_field(name: str) -> bool:
    """Whether this is a field of the record as clients see it, or (`a.b`) a part of one."""
    top, *nested = name.split(".")
    if top == "job_input" and nested and nested[0] not in JOB_INPUT:
        return False
    if top not in PLAIN and top not in TIMES and top not in DERIVED:
        return False
    return len(nested) <= MAX_PARTS and all(
        part and not part.startswith("$") and "\0" not in part for part in nested
    )


def outermost(fields: Iterable[str]) -> set[str]:
    """The fields without those that are parts of others among them: MongoDB takes no such pair."""
    given = set(fields)
    return {field for field in given if not given & _wholes(field)}


def _wholes(field: str) -> set[str]:
    """What the field is a part of: of `a.b.c`, `a` and `a.b`."""
    return {field[:i] for i, letter in enumerate(field) if letter == "."}


def projection(exclude: frozenset[str]) -> Document:
    """What need not be fetched. What rights and derived fields need is fetched all the same."""
    hidden = dict.fromkeys(_HIDDEN, 0)
    for field in outermost(exclude):
        if field not in _NEEDED and field not in DERIVED:
            hidden[field] = 0
    return hidden


def job_state(job: Document, exclude: frozenset[str] = frozenset()) -> Document:
    """One record as the wire's JobState: absent fields stay absent, the starred ones of EE2's list
    are always there. `error` is always a mapping: clients break on a plain string."""
    job_id = str(job["_id"])
    retry_ids = job.get("retry_ids", [])
    state: Document = {
        "job_id": job_id,
        "created": int(job_id[:8], 16) * 1000,
        "batch_job": bool(job.get("batch_job", False)),
        "batch_id": job.get("batch_id"),
        "child_jobs": job.get("child_jobs") or [],
        "retry_ids": retry_ids,
        "retry_count": len(retry_ids),
        "retry_saved_toggle": bool(job.get("retry_saved_toggle", False)),
    }
    for field, value in job.items():
        if field in exclude:
            continue
        if field in _PLAIN:
            if value is not None:
                state[field] = value
        elif value and field in _TIMES:
            state[field] = round(float(value) * 1000)  # to_ms, without the call
    if "updated" not in state and "updated" not in exclude:
        state["updated"] = state["created"]
    if "error" in state:
        state["error"] = error_mapping(state["error"], job.get("error_code", 0))
    job_input = state.get("job_input")
    if job_input is not None and "job_input.narrative_cell_info" not in exclude:
        job_input.setdefault("narrative_cell_info", {})
    return state


def error_mapping(error: Any, code: int) -> Any:
    """An `error` as clients can read it: what is no mapping becomes EE2's of four keys, with the
    error as a text."""
    if isinstance(error, Mapping):
        return error
    text = error if isinstance(error, str) else json.dumps(error, default=str)
    return {"name": "Error", "code": code, "message": text, "error": text}


async def child_counts(store: Store, batch_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Per batch, how many children are in each state; of a job tried several times, the newest
    attempt counts. Split and aggregate jobs are not children, abandoned ones no more."""
    counts: dict[str, dict[str, int]] = {b: {} for b in batch_ids}
    pipeline = [
        {
            "$match": {
                "batch_id": {"$in": list(batch_ids)},
                "superseded": {"$ne": True},
                "abandoned": {"$ne": True},
                "role": {"$nin": [StageName.SPLIT.value, StageName.AGGREGATE.value]},
            }
        },
        {"$group": {"_id": {"b": "$batch_id", "s": "$status"}, "n": {"$sum": 1}}},
    ]
    async for row in await store.jobs.aggregate(pipeline):
        counts[row["_id"]["b"]][row["_id"]["s"]] = row["n"]
    return counts


async def stage_jobs(store: Store, batch_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Per batch, the ids of its split and aggregate jobs (the newest attempt of each)."""
    found: dict[str, dict[str, str]] = {b: {} for b in batch_ids}
    async for job in store.jobs.find(
        {
            "batch_id": {"$in": list(batch_ids)},
            "role": {"$in": [StageName.SPLIT.value, StageName.AGGREGATE.value]},
        },
        {"batch_id": 1, "role": 1},
    ).sort("_id", 1):
        found[job["batch_id"]][job["role"]] = str(job["_id"])
    return found


async def states_of(
    store: Store, jobs: Iterable[Document], exclude: frozenset[str]
) -> dict[str, Document]:
    """The wire's states by job id; parents of batches carry counts and stage jobs."""
    states = {str(job["_id"]): job_state(job, exclude) for job in jobs}
    parents = [job_id for job_id, s in states.items() if s["batch_job"]]
    if parents:
        counts = await child_counts(store, parents)
        steps = await stage_jobs(store, parents)
        for job_id in parents:
            states[job_id]["child_counts"] = counts[job_id]
            states[job_id]["stage_jobs"] = steps[job_id]
    return states


def no_read_permission(job_id: str) -> Document:
    """What a client gets in place of a record it may not read (HTTP 200, as in EE2)."""
    return {"failure": f"No read permissions for {job_id}", "check_job_error": True}


async def check_job(
    engine: Engine, caller: Caller, job_id: Any, *, exclude: Any = None, as_admin: bool = False
) -> Document:
    """One job's state, or the `failure` mapping if there is none that the caller may read."""
    oid = job_oid(job_id, null_message="Please provide valid job_id")
    states = await check_jobs(engine, caller, [str(oid)], exclude=exclude, as_admin=as_admin)
    state: Document = states[str(oid)]
    return state


def require_few(ids: Sequence[Any], field: str) -> None:
    """InvalidInput for more than MAX_IDS ids."""
    if len(ids) > MAX_IDS:
        raise InvalidInput(f"{field}: at most {MAX_IDS} ids in one call, not {len(ids)}")


async def check_jobs(
    engine: Engine, caller: Caller, job_ids: Any, *, exclude: Any = None, as_admin: bool = False
) -> dict[str, Any]:
    """States by id as given, in request order; duplicates once. An id that no job has, or that is
    not for this caller, gives the `failure` mapping: the Narrative breaks on EE2's `[]` for it
    (rule C-06), and a difference between the two would tell which jobs there are.

    For administrators (`as_admin`) an unknown id gives `[]` beside known ones, and NotFound if none
    is known (`ee2-api` 2.18)."""
    if not isinstance(job_ids, list) or not job_ids:
        raise InvalidInput("Please provide a non empty list of job ids")
    require_few(job_ids, "job_ids")
    fields = parse_exclude(exclude)
    if as_admin:
        require_admin(caller, Level.READ)
    wanted = {str(job_id): job_oid(job_id) for job_id in job_ids}
    jobs = await read_many(engine.store, list(set(wanted.values())), projection(fields))
    if as_admin and not jobs:
        raise NotFound(f"Cannot find job with ids: {[str(j) for j in wanted]}")
    if as_admin:
        allowed = {str(job["_id"]) for job in jobs}
    else:
        allowed = await permitted(engine, caller, jobs, Level.READ, wanted.values())
    states = await states_of(
        engine.store, (j for j in jobs if str(j["_id"]) in allowed), fields
    )
    known = {str(job["_id"]) for job in jobs}
    result: dict[str, Any] = {}
    for given, oid in wanted.items():
        job_id = str(oid)
        if as_admin and job_id not in known:
            result[given] = []
        else:
            result[given] = states.get(job_id) or no_read_permission(given)
    return result


async def check_job_batch(
    engine: Engine, caller: Caller, job_id: Any, *, exclude: Any = None, as_admin: bool = False
) -> Document:
    """{batch_jobstate, child_jobstates}; the children in `child_jobs` order."""
    fields = parse_exclude(exclude)
    if "child_jobs" in fields:
        raise InvalidInput("You can't exclude child jobs from this endpoint")
    parent = await check_job(engine, caller, job_id, exclude=exclude, as_admin=as_admin)
    children = parent.get("child_jobs") or []
    states: dict[str, Any] = {}
    if children:
        states = await check_jobs(engine, caller, children, exclude=exclude, as_admin=as_admin)
    return {"batch_jobstate": parent, "child_jobstates": list(states.values())}


async def _state_of(engine: Engine, caller: Caller, oid: ObjectId, as_admin: bool) -> Document:
    """Status and what rights need, read together with what others ask at the same time; errors as
    of find_permitted."""
    if as_admin:
        require_admin(caller, Level.READ)
    job = await engine.store.job_states.get(oid)
    if job is None:
        if not as_admin:
            await rights_in(engine, caller, [], [oid])
        raise not_found(oid)
    await require(engine, caller, job, Level.READ, as_admin=as_admin)
    return job


async def job_status(engine: Engine, caller: Caller, job_id: Any, *, as_admin: bool) -> str:
    """The status word alone: the cheapest question."""
    oid = job_oid(job_id, null_message="Please provide valid job_id")
    return str((await _state_of(engine, caller, oid, as_admin))["status"])


async def job_canceled(
    engine: Engine, caller: Caller, job_id: Any, *, as_admin: bool
) -> tuple[bool, bool]:
    """(cancelled, ended): what a runner asks every second."""
    job = await _state_of(engine, caller, job_oid(job_id), as_admin)
    return job["status"] == Status.TERMINATED.value, job["status"] in TERMINAL


async def job_params(engine: Engine, caller: Caller, job_id: Any, *, as_admin: bool) -> Document:
    """What a runner needs to start the app; the keys of EE2's get_job_params, all present."""
    job = await find_permitted(engine, caller, job_id, Level.READ, as_admin=as_admin)
    return await runnable(engine.store, job)


async def runnable(store: Store, job: Document) -> Document:
    """The parameters of a record. An aggregate's children are added here and not stored: 10,000
    results would not fit into one record."""
    job_input = job.get("job_input") or {}
    params = job_input.get("params")
    if job.get("role") == StageName.AGGREGATE.value:
        params = [{"params": params, "children": await aggregate_children(store, job["batch_id"])}]
    return {
        "method": job_input.get("method"),
        "params": params,
        "service_ver": job_input.get("service_ver"),
        "app_id": job_input.get("app_id"),
        "wsid": job_input.get("wsid"),
        "parent_job_id": job_input.get("parent_job_id"),
        "source_ws_objects": job_input.get("source_ws_objects") or [],
    }


async def aggregate_children(store: Store, batch_id: str) -> list[Document]:
    """The children of a batch as an aggregate app gets them: in order, the newest attempt of each,
    failed ones with their error and a null result."""
    children = []
    async for job in store.jobs.find(
        {"batch_id": batch_id, "role": StageName.SUBMIT.value, "superseded": {"$ne": True}},
        {"index": 1, "status": 1, "job_output": 1, "errormsg": 1},
    ).sort("index", 1):
        output = job.get("job_output") or {}
        children.append(
            {
                "index": job["index"],
                "job_id": str(job["_id"]),
                "status": job["status"],
                "result": output.get("result"),
                "error": job.get("errormsg"),
            }
        )
    return children
