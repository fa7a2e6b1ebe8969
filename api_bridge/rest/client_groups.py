"""The client groups that are in force. `/groups`."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import ERRORS, NOT_MODIFIED, Rest, etagged
from ee2_jobs.client_groups import POOL_ROUTE, ClientGroup, Route
from ee2_jobs.identity import Caller


class Figures(BaseModel):
    """Of one job. null: not said, or no ceiling."""

    cpus: int | None = Field(examples=[4])
    memory_mb: int | None = Field(examples=[2000])
    disk_gb: int | None = Field(examples=[30])
    time_limit_s: int | None = Field(examples=[None])


class Group(BaseModel):
    """A client group."""

    name: str = Field(examples=["bigmem"])
    description: str = Field(examples=["machines with 1 TB of memory"])
    default: bool = Field(description="whether jobs are in it that say nothing")
    defaults: Figures = Field(description="of a job that does not say what it needs")
    ceilings: Figures = Field(description="what a job may ask for at most")
    max_created_s: int = Field(examples=[3600], description="a job `created` for longer is ended")
    max_queued_s: int = Field(
        examples=[1209600], description="a job `queued` for longer is ended"
    )
    route: str = Field(examples=["pool"], description="`pool`: the engine's own")
    kind: Literal["pool", "condor", "slurm"] = Field(description="where that route leads")


class Groups(BaseModel):
    """All client groups, in the order of their file."""

    groups: list[Group]
    problem: str | None = Field(
        description="for administrators: why the file as it is now is not in force", examples=[None]
    )


def _group(name: str, group: ClientGroup, default: str, route: Route | None) -> Group:
    kind: Literal["pool", "condor", "slurm"] = "pool"
    if route is not None:
        kind = "slurm" if route.slurm is not None else "condor"
    return Group(
        name=name,
        description=group.description,
        default=name == default,
        defaults=Figures(
            cpus=group.cpus,
            memory_mb=group.memory_mb,
            disk_gb=group.disk_gb,
            time_limit_s=group.time_limit_s,
        ),
        ceilings=Figures(
            cpus=group.max_cpus,
            memory_mb=group.max_memory_mb,
            disk_gb=group.max_disk_gb,
            time_limit_s=group.max_time_limit_s,
        ),
        max_created_s=group.max_created_s,
        max_queued_s=group.max_queued_s,
        route=group.route,
        kind=kind,
    )


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(prefix="/groups", tags=["groups"], responses=ERRORS)
    reader = Depends(rest.reader)

    @routes.get("", response_model=Groups, responses=NOT_MODIFIED, operation_id="client_groups")
    async def groups(request: Request, caller: Caller = reader) -> Response:
        """The client groups: what a job gets, what it may ask for, where it goes.

        The file of client groups is read again within a second of a change.
        """
        file = rest.engine.groups
        all_routes = file.routes
        found = [
            _group(
                name,
                group,
                file.default,
                None if group.route == POOL_ROUTE else all_routes.get(group.route),
            )
            for name, group in file.groups.items()
        ]
        may_see = caller.can_admin_read
        return etagged(request, Groups(groups=found, problem=file.problem if may_see else None))

    return routes
