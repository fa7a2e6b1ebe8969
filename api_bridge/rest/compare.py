"""A few jobs side by side, and what differs between two logs: `/compare`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest import job_models as models
from api_bridge.rest.common import (
    ERRORS,
    NOT_FOUND,
    NOT_MODIFIED,
    ErrorAnswer,
    Rest,
    etagged,
)
from api_bridge.rest.log import AsAdmin, Turns
from ee2_jobs.identity import Caller
from ee2_jobs.page import compare, compare_log
from ee2_jobs.page.values import json_bytes

_JOB_ID = "66f2a1b3c4d5e6f708192a3b"
_BUSY: dict[int | str, dict[str, Any]] = {
    429: {"model": ErrorAnswer, "description": "too many at once: Retry-After"}
}


class SideOfLog(BaseModel):
    """One of the logs."""

    id: str = Field(examples=[_JOB_ID])
    count: int = Field(examples=[1217], description="lines it has")
    from_: int = Field(alias="from", examples=[217], description="the first line looked at")
    to: int = Field(examples=[1217], description="after the last one")
    cut: bool = Field(description="not all of it was looked at")


class DiffLine(BaseModel):
    """A line."""

    sign: str = Field(examples=["-"], description="`-`: only in the first, `+`: in the second")
    a: int | None = Field(examples=[1204], description="its number in the first log, from 0")
    b: int | None = Field(description="in the second")
    text: str = Field(examples=["staging file is empty"])


class LogDiff(BaseModel):
    """What differs between two logs."""

    jobs: list[SideOfLog]
    part: str = Field(examples=["last"])
    same: bool = Field(examples=[False])
    hunks: list[list[DiffLine]] = Field(description="each place at which they differ, in order")


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(
        prefix="/compare", tags=["jobs"], responses={**ERRORS, **NOT_FOUND, **NOT_MODIFIED}
    )
    turns = Turns("Too many logs are compared at the moment: please try again")

    def named(ids: str) -> list[str]:
        return [one.strip().lower() for one in ids.split(",") if one.strip()]

    @routes.get(
        "", response_model=models.Comparison, operation_id="compare",
        summary="Two to four jobs side by side",
    )
    async def side_by_side(
        request: Request,
        ids: Annotated[str, Query(max_length=200, description="two to four ids, with commas")],
        everything: Annotated[
            bool, Query(alias="all", description="parameters that are the same, too")
        ] = False,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        answer = await compare.compare(
            rest.engine, caller, named(ids), everything=everything, as_admin=as_admin
        )
        return etagged(request, json_bytes(answer))

    @routes.get(
        "/log", response_model=LogDiff, responses=_BUSY, operation_id="compareLogs",
        summary="What differs between the logs of two jobs",
    )
    async def logs(
        request: Request,
        ids: Annotated[str, Query(max_length=200, description="two ids, with a comma")],
        lines: Annotated[
            int, Query(ge=1, le=compare_log.MAX_LINES, description="of each log")
        ] = 1000,
        part: Annotated[compare_log.Part, Query(description="the first or the last ones")] = "last",
        loose: Annotated[
            bool, Query(description="numbers, times and ids make no difference")
        ] = False,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        async with turns.turn():
            answer = await compare_log.compare_logs(
                rest.engine, caller, named(ids), lines=lines, part=part, loose=loose,
                as_admin=as_admin,
            )  # fmt: skip
        return etagged(request, json_bytes(answer))

    return routes
