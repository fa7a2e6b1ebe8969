"""`GET /me`: who the server takes the caller for."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import ERRORS, NOT_MODIFIED, Rest, Visitor, etagged
from ee2_jobs.model import now_s, to_ms


class Me(BaseModel):
    """Who asks, and what the caller may do."""

    user: str = Field(examples=["ana"])
    is_admin: bool = Field(description="may change what belongs to others")
    is_admin_reader: bool = Field(description="may read what belongs to others")
    may_write: bool = Field(description="may change anything at all")
    narrative_url: str | None = Field(
        examples=["https://narrative.kbase.us"],
        description="of KBase's Narrative: /narrative/NUMBER leads to one; null: no links",
    )
    service_version: str = Field(examples=["0.1.0"])
    as_of: int = Field(examples=[1727185950123], description="the server's time, ms")


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(tags=["who"], responses={**ERRORS, **NOT_MODIFIED})

    @routes.get("/me", response_model=Me, operation_id="me", summary="Who asks")
    async def me(request: Request, visitor: Visitor = Depends(rest.visitor)) -> Response:
        caller = visitor.caller
        return etagged(
            request,
            Me(
                user=caller.user,
                is_admin=caller.can_admin,
                is_admin_reader=caller.can_admin_read,
                may_write=visitor.may_write,
                narrative_url=rest.engine.settings.narrative_url or None,
                service_version=rest.engine.settings.service_version,
                as_of=to_ms(now_s()),
            ),
        )

    return routes
