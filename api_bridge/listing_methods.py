"""The methods that list jobs: of a workspace, of a span of time."""

from __future__ import annotations

from typing import Any

from api_bridge.params import Params, boolean, is_as_admin, whole
from api_bridge.service import Method, Service
from ee2_jobs import listing
from ee2_jobs.identity import Caller
from ee2_jobs.requests import required


async def check_workspace_jobs(service: Service, caller: Caller, params: Params) -> Any:
    """All jobs of a workspace, with the children of its batches.

    Fields: `workspace_id`, `exclude_fields`, `return_list` = 1, `as_admin` = 0.
    Result: as of check_jobs; `{}` if there are none.
    Right: read the workspace.
    """
    as_list = boolean(params.get("return_list", 1), "return_list")
    states = await listing.workspace_jobs(
        service.engine,
        caller,
        required(params, "workspace_id"),
        exclude=params.get("exclude_fields"),
        as_admin=is_as_admin(params),
    )
    return {"job_states": list(states.values())} if states and as_list else states


async def check_jobs_date_range_for_user(service: Service, caller: Caller, params: Params) -> Any:
    """Jobs made in a span of time. Forms of times, filters and fields:
    [Listings by time](reference/methods.md#listings-by-time).

    Fields: `start_time` (included), `end_time` (excluded); `user`, the caller if absent, `ALL` for
    all; `projection`, `filter`, `limit` = 2000, `offset` = 0, `ascending` = 1, `as_admin` = 0.
    Result: `{jobs, count, query_count, filter, skip, projection, limit, sort_order, stats}`.
    Right: one's own jobs; those of others: administrators.
    """
    ascending = params.get("ascending")
    limit = params.get("limit")
    return await listing.date_range(
        service.engine,
        caller,
        params,
        limit=None if limit is None else whole(limit, "limit"),
        offset=whole(params.get("offset"), "offset"),
        ascending=True if ascending is None else boolean(ascending, "ascending"),
        as_admin=is_as_admin(params),
    )


async def check_jobs_date_range_for_all(service: Service, caller: Caller, params: Params) -> Any:
    """The same for all users.

    Fields: as of check_jobs_date_range_for_user, without `user`.
    Result: as of that.
    Right: administrators.
    """
    everybody = {**params, "user": listing.ALL_USERS}
    return await check_jobs_date_range_for_user(service, caller, everybody)


LISTING_METHODS: dict[str, Method] = {
    f"execution_engine2.{call.__name__}": Method(call, (dict,))
    for call in (
        check_workspace_jobs,
        check_jobs_date_range_for_user,
        check_jobs_date_range_for_all,
    )
}
