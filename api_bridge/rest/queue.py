"""Where jobs stand in line, why they wait, and when they are expected to start and end."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import ERRORS, NOT_FOUND, NOT_MODIFIED, Rest, etagged
from ee2_jobs.identity import Caller
from ee2_jobs.queue import position


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(tags=["queue"], responses={**ERRORS, **NOT_MODIFIED})

    @routes.get(
        "/jobs/{job_id}/queue",
        response_model=position.JobQueue,
        responses=NOT_FOUND,
        operation_id="jobQueue",
        summary="Place in line, waiting reason, expected start and end",
        description="For who may read the job. Of a batch: the place and reason of its first job "
        "in line, and when the whole batch is expected to have ended. Ranges are meant to hold "
        "four times out of five; `hit_rate` says how often such ranges did.",
    )
    async def job_queue(
        request: Request,
        job_id: str,
        as_admin: bool = Query(False, description="as an administrator; needs the role"),
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        figures = await rest.desk.figures.current()
        found = await position.job_queue(
            rest.engine, figures, caller, job_id, as_admin=as_admin
        )
        return etagged(request, found)

    @routes.get(
        "/jobs/places",
        response_model=position.JobPlaces,
        operation_id="jobPlaces",
        summary="Where the waiting jobs of a list stand, and why they wait",
        description="For all rows of a page at once. Of a batch ask `/jobs/{job_id}/queue`.",
    )
    async def places(
        request: Request,
        ids: Annotated[
            str,
            Query(
                examples=["66f2a1b3c4d5e6f708192a3b"],
                description=f"at most {position.MAX_IDS}, with commas",
            ),
        ],
        as_admin: bool = Query(False, description="as an administrator; needs the role"),
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        named = [one.strip() for one in ids.split(",") if one.strip()]
        figures = await rest.desk.figures.current()
        found = await position.job_places(
            rest.engine, figures, caller, named, as_admin=as_admin
        )
        return etagged(request, found)

    @routes.get(
        "/queue",
        response_model=position.Lines,
        operation_id="queues",
        summary="The lines of all client groups",
    )
    async def queues(request: Request, _: Caller = Depends(rest.reader)) -> Response:
        return etagged(request, position.lines(rest.engine, await rest.desk.figures.current()))

    @routes.get(
        "/queue/{group}",
        response_model=position.GroupLine,
        responses=NOT_FOUND,
        operation_id="queue",
        summary="The line of a client group",
    )
    async def queue(request: Request, group: str, _: Caller = Depends(rest.reader)) -> Response:
        found = position.line(rest.engine, await rest.desk.figures.current(), group)
        return etagged(request, found)

    return routes
