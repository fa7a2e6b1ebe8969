"""Lists of jobs as UserAndJobState had them: by owner, by sharing, by workspace, by state."""

from __future__ import annotations

from typing import Any

from ee2_jobs.checks import ONE_BATCH
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.legacy.records import DEFAULT, UJS, UjsView, ujs_view
from ee2_jobs.legacy.ujs_jobs import WITHOUT_LARGE, WORKSPACE, workspace_permissions
from ee2_jobs.legacy.ujs_values import (
    MAX_NAME,
    MAX_SERVICES,
    MAX_WORKSPACES,
    parse_workspace,
    required_text,
)
from ee2_jobs.model import LIVE, Document, Status

_QUERY_MS = 30_000
_STATES = {
    "R": LIVE,
    "C": (Status.COMPLETED.value,),
    "N": (Status.TERMINATED.value,),
    "E": (Status.ERROR.value,),
}


async def list_jobs(
    engine: Engine,
    caller: Caller,
    *,
    services: Any = None,
    filter_letters: Any = None,
    strategy: Any = None,
    strategy_params: Any = None,
) -> list[UjsView]:
    """Jobs that were started, the newest first, at most `[ee2] max_list_jobs`.

    services: whose jobs; all if null or empty. filter_letters: any of R, C, N, E (running,
    complete, cancelled, failed; none of them is all) and S (also what others share with the
    caller); everything else in it is ignored. strategy: null is the caller's jobs of all kinds,
    `DEFAULT` those outside workspaces, `kbaseworkspace` the jobs of all users in the workspaces
    `strategy_params` (1 to 10 ids), each of which the caller must be able to read.
    """
    names = _services(services)
    letters = filter_letters if isinstance(filter_letters, str) else ""
    query: Document = {}
    if strategy == WORKSPACE:
        wsids = await _readable(engine, caller, strategy_params)
        query = {"authstrat": WORKSPACE, "wsid": {"$in": wsids}}
    elif strategy in (None, "", DEFAULT):
        query = _own(caller.user, shared="S" in letters)
        if strategy == DEFAULT:
            query = {"$and": [query, _OUTSIDE_WORKSPACES]}
    else:
        raise InvalidInput(f"Invalid authorization strategy: {strategy}")
    chosen = [state for letter, states in _STATES.items() if letter in letters for state in states]
    if chosen:
        query["status"] = {"$in": chosen}
    pipeline = [
        {"$match": query},
        {"$sort": {"_id": -1}},
        {"$project": WITHOUT_LARGE},
        *_started(engine),
        *([{"$match": _of_services(names)}] if names else []),
        {"$limit": engine.settings.max_list_jobs},
    ]
    return [ujs_view(job, job.get("side")) for job in await _read(engine, pipeline)]


async def list_services(engine: Engine, caller: Caller) -> list[str]:
    """The services of the jobs that the caller owns or that others share with the caller."""
    pipeline = [
        {"$match": _own(caller.user, shared=True)},
        {"$project": {"user": 1, "scheduler_type": 1, "status": 1}},
        *_started(engine),
        {"$group": {"_id": {"$ifNull": ["$side.service", "$user"]}}},
    ]
    return sorted(row["_id"] for row in await _read(engine, pipeline))


_OUTSIDE_WORKSPACES = {"$or": [{"authstrat": {"$ne": WORKSPACE}}, {"wsid": None}]}


def _own(user: str, *, shared: bool) -> Document:
    """The jobs of a user, and those that others share by name: a list that a job in a workspace
    may have from before counts for nothing."""
    if not shared:
        return {"user": user}
    return {"$or": [{"user": user}, {"shared": user, **_OUTSIDE_WORKSPACES}]}


def _of_services(names: list[str]) -> Document:
    """For what no service has told about, its owner is the service (as in a view)."""
    return {
        "$or": [
            {"side.service": {"$in": names}},
            {"side.service": None, "user": {"$in": names}},
        ]
    }


async def _read(engine: Engine, pipeline: list[Document]) -> list[Document]:
    found = await engine.store.jobs.aggregate(
        pipeline, batchSize=ONE_BATCH, maxTimeMS=_QUERY_MS
    )
    return await found.to_list()


def _started(engine: Engine) -> list[Document]:
    """Stages that leave started and not deleted jobs, with their side documents as `side`."""
    return [
        {
            "$lookup": {
                "from": engine.store.legacy.name,
                "localField": "_id",
                "foreignField": "_id",
                "as": "side",
            }
        },
        {"$unwind": {"path": "$side", "preserveNullAndEmptyArrays": True}},
        {"$match": {"side.deleted": {"$ne": True}, **_BEGUN}},
    ]


# What a UserAndJobState client drives was started by a service; what the engine runs, or once ran,
# left its first state.
_BEGUN: Document = {
    "$or": [
        {"side.service": {"$exists": True, "$ne": None}},
        {"scheduler_type": {"$ne": UJS}, "status": {"$ne": Status.CREATED.value}},
    ]
}


def _services(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput("services must be a list of names")
    if len(value) > MAX_SERVICES:
        raise InvalidInput(f"services: at most {MAX_SERVICES} names, not {len(value)}")
    return [required_text(name, "service", MAX_NAME) for name in value]


async def _readable(engine: Engine, caller: Caller, params: Any) -> list[int]:
    """The workspaces that were asked for, all of which the caller may read."""
    if not params or not isinstance(params, list):
        raise InvalidInput("authParams cannot be null or empty")
    if len(params) > MAX_WORKSPACES:
        raise InvalidInput(f"No more than {MAX_WORKSPACES} workspace IDs may be specified")
    wsids = [parse_workspace(one) for one in params]
    rights = await workspace_permissions(engine, caller, wsids)
    for wsid in wsids:
        if rights[wsid] == "n":
            raise Denied(f"User {caller.user} cannot read workspace {wsid}")
    return wsids
