"""`GET /jobs/export.csv`: a list as a table for spreadsheets."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api_bridge.errors import unexpected
from api_bridge.rest.common import ERRORS, NOT_FOUND, Rest
from api_bridge.rest.lists import SCOPE, SORT_WORDS, WORD_PARAMETERS, list_of
from ee2_jobs.browse.export import MAX_ROWS, table
from ee2_jobs.identity import Caller


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(tags=["lists"], responses={**ERRORS, **NOT_FOUND})

    @routes.get(
        "/jobs/export.csv", operation_id="exportJobs", response_class=StreamingResponse,
        summary="A list as CSV", openapi_extra=WORD_PARAMETERS,
        responses={
            200: {
                "description": f"at most {MAX_ROWS:,} rows; the last line says if there are more",
                "content": {"text/csv": {"schema": {"type": "string"}}},
            }
        },
    )
    async def export(
        request: Request,
        caller: Caller = Depends(rest.reader),
        scope: str = SCOPE,
        sort: str | None = Query(None, description=SORT_WORDS),
        attempts: bool = Query(False, description="also attempts that were superseded"),
    ) -> Response:
        listing = await list_of(rest, request, caller, scope, sort, attempts)
        headers = {
            "Content-Disposition": 'attachment; filename="jobs.csv"',
            "EE2-Max-Rows": str(MAX_ROWS),
        }
        kind = "text/csv; charset=utf-8"
        if request.scope.get("ee2.head"):
            return Response(headers=headers, media_type=kind)
        lines = table(listing)
        first = await anext(lines)
        return StreamingResponse(_with(first, lines), headers=headers, media_type=kind)

    return routes


async def _with(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    try:
        async for lines in rest:
            yield lines
    except Exception as e:
        # The answer has begun: who reads it must not take it for the whole.
        yield f'"# stopped: {unexpected(e, "export")}"\r\n'
