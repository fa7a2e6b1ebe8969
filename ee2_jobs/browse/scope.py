"""What a caller's list may show: `mine`, `readable`, `all`."""

from __future__ import annotations

from ee2_jobs.browse.query import Part, Reach
from ee2_jobs.browse.words import Filter
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.rights import Level, find_permitted, require_admin

SCOPES = ("mine", "readable", "all")
# More would be a query of megabytes.
MAX_WORKSPACES = 20_000


async def reach(
    engine: Engine, caller: Caller, scope: str, sought: Filter, *, attempts: bool = False
) -> Reach:
    """What the list may show.

    mine: the caller's jobs. readable: what has not ended of jobs in workspaces that the caller may
    read and of those shared by name; of one workspace, if the filter names it, all. all: for
    administrators. With a batch in the filter: its children, for who may read it.

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
    if sought.batch is not None:
        await find_permitted(
            engine, caller, sought.batch, Level.READ, as_admin=as_admin,
            projection={"user": 1, "wsid": 1, "authstrat": 1, "shared": 1},
        )  # fmt: skip
        return Reach(scope, [Part({"batch_id": sought.batch}, "batch")], attempts=attempts)
    if as_admin:
        return Reach(scope, [Part({}, "all")], attempts=attempts)
    if scope == "mine":
        return Reach(scope, [Part({"user": caller.user}, "user")], attempts=attempts)
    if sought.ws is not None:
        return await _workspace(engine, caller, sought.ws, attempts)
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
