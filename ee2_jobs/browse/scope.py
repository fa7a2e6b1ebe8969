"""What a caller's list may show: `mine`, `readable`, `all`."""

from __future__ import annotations

import re
from dataclasses import replace

from bson import ObjectId

from ee2_jobs import tags
from ee2_jobs.browse.query import Part, Reach
from ee2_jobs.browse.words import Filter
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.rights import Level, find_permitted, permitted, require_admin

SCOPES = ("mine", "readable", "all")
# More would be a query of megabytes.
MAX_WORKSPACES = 20_000
_MAX_OF_SCHEDULER = 200
_RIGHTS = ("user", "wsid", "authstrat", "shared")


async def reach(
    engine: Engine, caller: Caller, scope: str, sought: Filter, *, attempts: bool = False
) -> Reach:
    """What the list may show.

    mine: the caller's jobs. readable: what has not ended of jobs in workspaces that the caller may
    read and of those shared by name; of one workspace, if the filter names it, all. all: for
    administrators. With a batch in the filter: its children, for who may read it. With a star or a
    label in the filter readable is every such job that the caller may read, ended ones too.

    Raises InvalidInput for a filter that makes no sense in this scope, Denied, and NotFound for a
    batch that is not there or not for the caller.
    """
    if scope not in SCOPES:
        raise InvalidInput(f'scope must be one of {", ".join(SCOPES)}, not "{scope[:60]}"')
    as_admin = scope == "all"
    if as_admin:
        require_admin(caller, Level.READ)
    elif scope == "mine" and sought.user not in (None, caller.user):
        raise InvalidInput(
            f"user: the scope mine has the jobs of {caller.user} only; take the scope readable"
            f"{' or all' if caller.can_admin_read else ''}"
        )
    chosen = await picked(engine, caller, sought, as_admin=as_admin)
    if sought.batch is not None:
        await find_permitted(
            engine, caller, sought.batch, Level.READ, as_admin=as_admin,
            projection={"user": 1, "wsid": 1, "authstrat": 1, "shared": 1},
        )  # fmt: skip
        return Reach(
            scope, [Part({"batch_id": sought.batch}, "batch")], attempts=attempts, picked=chosen
        )
    if as_admin:
        return Reach(scope, [Part({}, "all")], attempts=attempts, picked=chosen)
    if scope == "mine":
        return Reach(scope, [Part({"user": caller.user}, "user")], attempts=attempts, picked=chosen)
    if sought.ws is not None:
        return replace(await _workspace(engine, caller, sought.ws, attempts), picked=chosen)
    if chosen is not None:
        jobs = await engine.store.jobs.find({"_id": {"$in": chosen}}, _RIGHTS).to_list()
        readable_ids = await permitted(engine, caller, jobs, Level.READ)
        found = [job["_id"] for job in jobs if str(job["_id"]) in readable_ids]
        return Reach(scope, [Part({}, "all")], picked=found)
    if sought.statuses is not None and sought.ended:
        raise InvalidInput(
            "status: the scope readable lists jobs that have not ended; for others name one "
            "workspace with ws"
        )
    readable = sorted(await engine.workspaces.readable(caller))[-MAX_WORKSPACES:]
    in_workspaces = {"wsid": {"$in": readable}, "authstrat": "kbaseworkspace"}
    # A workspace's jobs are shared with nobody by name.
    by_name = {
        "shared": caller.user,
        "$nor": [{"authstrat": "kbaseworkspace", "wsid": {"$gt": 0}}],
    }
    return Reach(
        scope, [Part(in_workspaces, "ws"), Part(by_name, "shared")], only_live=True,
        attempts=attempts,
    )  # fmt: skip


async def picked(
    engine: Engine, caller: Caller, sought: Filter, *, as_admin: bool
) -> list[ObjectId] | None:
    """The jobs that the words `star`, `label` and `scheduler` name, whoever may see them; None if
    the filter has none of these words. The last is for administrators as such: InvalidInput."""
    found: list[set[ObjectId]] = []
    if sought.star or sought.label is not None:
        found.append(set(await tags.tagged(
            engine.store, caller.user, star=sought.star, label=sought.label
        )))  # fmt: skip
    if sought.scheduler is not None:
        if not as_admin:
            raise InvalidInput(
                "scheduler: for administrators, with the scope all; look for a job by its id (q)"
            )
        found.append(set(await _of_scheduler(engine, sought.scheduler)))
    return sorted(set.intersection(*found)) if found else None


async def _of_scheduler(engine: Engine, text: str) -> list[ObjectId]:
    """The jobs with this id at HTCondor (`4711.0`; `4711`: all of the cluster), or at the batch
    system that they were sent to."""
    own: list[object] = [text]
    if text.isascii() and text.isdigit():
        own.append(re.compile(f"^{text}\\."))
    query = {"$or": [{"scheduler_id": {"$in": own}}, {"where.batch_id": text}]}
    found = engine.store.jobs.find(query, {"_id": 1}).limit(_MAX_OF_SCHEDULER)
    return [job["_id"] async for job in found]


async def _workspace(engine: Engine, caller: Caller, wsid: int, attempts: bool) -> Reach:
    if (await engine.workspaces.permissions(caller, [wsid]))[wsid] == "n":
        raise Denied(
            f"User {caller.user} does not have permission to read jobs in workspace {wsid}"
        )
    query = {
        "wsid": wsid,
        # The others' jobs that no workspace shares stay theirs.
        "$or": [{"authstrat": "kbaseworkspace"}, {"user": caller.user}],
    }
    return Reach("readable", [Part(query, "ws")], attempts=attempts)
