"""The status page for everybody, capacity, announcements, and the administrators' overview."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import ERRORS, NOT_MODIFIED, Rest, etagged
from ee2_jobs.identity import Caller
from ee2_jobs.model import to_ms
from ee2_jobs.queue import announcements, capacity, overview, status
from ee2_jobs.rights import Level, require_admin


class Capacity(BaseModel):
    """What the pool has."""

    groups: list[capacity.GroupCapacity] = Field(
        description="first the whole pool, then each client group; a machine may serve several"
    )
    as_of: int | None
    note: str | None


class Announcements(BaseModel):
    """What stands on the status page."""

    announcements: list[announcements.Announcement]


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(tags=["status"], responses={**ERRORS, **NOT_MODIFIED})

    @routes.get(
        "/status",
        response_model=status.Status,
        operation_id="status",
        summary="Is each part well, how are the lines, how was the week",
        description="For every user. Made at most every 5 s. The names of active users and the "
        "newest report on the engine's health are for administrators.",
    )
    async def get_status(request: Request, caller: Caller = Depends(rest.reader)) -> Response:
        page = await rest.desk.status.current(for_admin=caller.can_admin_read)
        return etagged(request, page)

    @routes.get(
        "/capacity",
        response_model=Capacity,
        operation_id="capacity",
        summary="Cores, memory and disk of the pool and of each client group",
    )
    async def get_capacity(request: Request, _: Caller = Depends(rest.reader)) -> Response:
        figures = await rest.desk.figures.current()
        snapshot = figures.facts.snapshot
        found: list[capacity.GroupCapacity] = []
        if snapshot is not None:
            drained = figures.facts.controls.drained
            found = capacity.capacity(snapshot, overview.routes_of(rest.engine), drained)
        as_of = to_ms(figures.at_s) if figures.at_s is not None else None
        return etagged(request, Capacity(groups=found, as_of=as_of, note=figures.note))

    @routes.get(
        "/admin/overview",
        response_model=overview.Overview,
        operation_id="adminOverview",
        summary="Capacity, nodes, what waits and why, what stands out (administrators)",
    )
    async def get_overview(request: Request, caller: Caller = Depends(rest.reader)) -> Response:
        require_admin(caller, Level.READ)
        return etagged(request, await rest.desk.overview.current())

    @routes.put(
        "/announcements",
        response_model=Announcements,
        operation_id="setAnnouncements",
        summary="Replace the announcements of the status page (full administrators)",
    )
    async def put_announcements(
        items: Annotated[
            list[announcements.NewAnnouncement],
            Body(
                max_length=announcements.MAX_ANNOUNCEMENTS,
                examples=[[{"text": "No new jobs on Tuesday, 8 to 9.", "level": "warning"}]],
            ),
        ],
        caller: Caller = Depends(rest.writer),
    ) -> Announcements:
        found = await announcements.replace(rest.engine, caller, items)
        rest.desk.status.forget()
        return Announcements(announcements=found)

    return routes
