"""How the caller wants the pages: `/settings/page`, `/settings/filters`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import CONFLICT, ERRORS, NOT_FOUND, NOT_MODIFIED, Rest, etagged
from ee2_jobs import page_settings as kept
from ee2_jobs.identity import Caller


class Filters(BaseModel):
    """The caller's saved filters, by page and name."""

    filters: list[kept.SavedFilter]


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(prefix="/settings", tags=["settings"], responses=ERRORS)

    @routes.get(
        "/page", response_model=kept.PageSettings, responses=NOT_MODIFIED,
        operation_id="pageSettings", summary="Time zone, density and theme",
    )
    async def page(request: Request, caller: Caller = Depends(rest.reader)) -> Response:
        return etagged(request, await kept.get_page(rest.engine.store, caller.user))

    @routes.put(
        "/page", response_model=kept.PageSettings, operation_id="setPageSettings",
        summary="Change time zone, density and theme", description="What is left out is reset.",
    )
    async def set_page(
        body: kept.PageSettings, caller: Caller = Depends(rest.writer)
    ) -> kept.PageSettings:
        return await kept.set_page(rest.engine.store, caller.user, body)

    @routes.get(
        "/filters", response_model=Filters, responses=NOT_MODIFIED, operation_id="filters",
        summary="My saved filters",
    )
    async def filters(request: Request, caller: Caller = Depends(rest.reader)) -> Response:
        found = await kept.get_filters(rest.engine.store, caller.user)
        return etagged(request, Filters(filters=found))

    @routes.put(
        "/filters", response_model=Filters, responses=CONFLICT, operation_id="saveFilter",
        summary="Save a filter", description="In the place of one of the same page and name; "
        f"{kept.MAX_FILTERS} at most.",
    )
    async def save(body: kept.NewFilter, caller: Caller = Depends(rest.writer)) -> Filters:
        return Filters(filters=await kept.save_filter(rest.engine.store, caller.user, body))

    @routes.delete(
        "/filters", response_model=Filters, responses=NOT_FOUND, operation_id="deleteFilter",
        summary="Delete a saved filter",
    )
    async def delete(
        page: Annotated[str, Query(max_length=60)],
        name: Annotated[str, Query(max_length=kept.MAX_NAME_LETTERS)],
        caller: Caller = Depends(rest.writer),
    ) -> Filters:
        left = await kept.delete_filter(rest.engine.store, caller.user, page, name)
        return Filters(filters=left)

    return routes
