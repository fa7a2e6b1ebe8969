"""Logs of jobs: `/jobs/{id}/log`, its search, its errors, and the whole of it for download."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api_bridge.rest.common import ERRORS, NOT_FOUND, NOT_MODIFIED, ErrorAnswer, Rest, etagged
from ee2_jobs.errors import TooMany
from ee2_jobs.identity import Caller
from ee2_jobs.log_follow import MAX_WAIT_S, LogFollow
from ee2_jobs.log_match import MAX_QUERY_LETTERS
from ee2_jobs.log_pages import MAX_PAGE_LINES
from ee2_jobs.model import Document
from ee2_jobs.page import log as logs_of
from ee2_jobs.page.values import json_bytes

_JOB_ID = "66f2a1b3c4d5e6f708192a3b"
_SEARCHES = 2  # at the same time, in one process; the others wait
_WAITING_SEARCHES = 20
_MAX_LINE = 2**40

AsAdmin = Annotated[
    bool, Query(description="by an administrator's right; needs the role, to read or to write")
]
FromLine = Annotated[int, Query(alias="from", ge=0, le=_MAX_LINE, description="line, from 0")]


class LogLine(BaseModel):
    """A line."""

    n: int = Field(examples=[1204], description="its number, from 0")
    t: int | None = Field(examples=[1727185950123], description="when it was written, ms")
    err: bool = Field(description="written to the error output")
    text: str = Field(examples=["staging file is empty"])
    cut: int | None = Field(
        default=None, description="only where `text` is cut: how many letters the line has"
    )


class LogAnswer(BaseModel):
    """A page of a log."""

    id: str = Field(examples=[_JOB_ID])
    status: str = Field(examples=["running"])
    from_: int = Field(alias="from", examples=[1200], description="number of the first line here")
    lines: list[LogLine]
    count: int = Field(examples=[1217], description="how many lines the log has now")
    next: int = Field(examples=[1217], description="the `from` that goes on from here")
    note: str | None = Field(
        examples=["Queued: no output yet"], description="why the log is empty, if it is"
    )


class FoundLine(BaseModel):
    """A line in which something was found."""

    n: int = Field(examples=[73412])
    text: str = Field(description="the line, or the part of it around the first match")
    marks: list[tuple[int, int]] = Field(
        examples=[[[9, 14]]], description="matches in `text`: start and end, in UTF-16 units"
    )
    err: bool


class SearchAnswer(BaseModel):
    """What was found."""

    id: str = Field(examples=[_JOB_ID])
    matches: list[FoundLine]
    total: int = Field(examples=[110], description="lines with a match in the whole log")
    exact: bool = Field(description="false: there are more than `total`")
    next: int | None = Field(description="the `from` that goes on from here; null: no more")


class Turns:
    """So many of what takes long at a time. busy: what is said to those for whom there is not even
    a place to wait."""

    def __init__(self, busy: str) -> None:
        self._busy = busy
        self._free = asyncio.Semaphore(_SEARCHES)
        self._asked = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn; TooMany if too many do."""
        if self._asked >= _SEARCHES + _WAITING_SEARCHES:
            raise TooMany(self._busy, 2)
        self._asked += 1
        try:
            async with self._free:
                yield
        finally:
            self._asked -= 1


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(
        prefix="/jobs/{job_id}/log", tags=["logs"], responses={**ERRORS, **NOT_FOUND}
    )
    searches = Turns("Too many logs are searched at the moment: please try again")
    followers: list[LogFollow] = []

    def follow() -> LogFollow:
        if not followers:
            followers.append(LogFollow(rest.engine.store))
        return followers[0]

    async def found(job_id: str, caller: Caller, as_admin: bool, **how: object) -> Document:
        async with searches.turn():
            return await logs_of.log_search(
                rest.engine, caller, job_id, as_admin=as_admin, **how  # type: ignore[arg-type]
            )

    @routes.get(
        "",
        response_model=LogAnswer,
        operation_id="log",
        summary="Lines of a log",
        responses={
            **NOT_MODIFIED,
            429: {"model": ErrorAnswer, "description": "too many logs are followed: Retry-After"},
        },
    )
    async def page(
        request: Request,
        job_id: str,
        start: FromLine = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE_LINES)] = 2000,
        tail: Annotated[
            int | None, Query(ge=1, le=MAX_PAGE_LINES, description="the last so many lines instead")
        ] = None,
        full: Annotated[
            bool, Query(description="lines are not cut at 4,096 letters; 5 lines at most")
        ] = False,
        wait: Annotated[
            float,
            Query(
                ge=0, le=MAX_WAIT_S,
                description="if there is no line `from` on yet, and the job has not ended, wait so "
                "many seconds for one",
            ),
        ] = 0,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:  # fmt: skip
        answer = await logs_of.log_page(
            rest.engine, caller, job_id, start=start, limit=limit, tail=tail, full=full,
            follow=follow() if wait else None, wait_s=wait, as_admin=as_admin,
        )  # fmt: skip
        return etagged(request, json_bytes(answer))

    @routes.get(
        "/search",
        response_model=SearchAnswer,
        responses=NOT_MODIFIED,
        operation_id="logSearch",
        summary="Look through a whole log",
    )
    async def search(
        request: Request,
        job_id: str,
        q: Annotated[
            str, Query(min_length=1, max_length=MAX_QUERY_LETTERS, examples=["staging file"])
        ],
        regex: Annotated[bool, Query(description="q is a regular expression (RE2)")] = False,
        case: Annotated[bool, Query(description="capital and small letters differ")] = False,
        err: Annotated[bool, Query(description="in error lines only")] = False,
        start: FromLine = 0,
        limit: Annotated[int, Query(ge=1, le=logs_of.MAX_FOUND)] = 100,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        answer = await found(
            job_id, caller, as_admin, text=q, regex=regex, case=case, errors_only=err, start=start,
            limit=limit,
        )  # fmt: skip
        return etagged(request, json_bytes(answer))

    @routes.get(
        "/errors",
        response_model=SearchAnswer,
        responses=NOT_MODIFIED,
        operation_id="logErrors",
        summary="The error lines of a log",
    )
    async def errors(
        request: Request,
        job_id: str,
        start: FromLine = 0,
        limit: Annotated[int, Query(ge=1, le=logs_of.MAX_FOUND)] = 100,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        answer = await found(
            job_id, caller, as_admin, errors_only=True, start=start, limit=limit
        )
        return etagged(request, json_bytes(answer))

    @routes.get(
        "/raw",
        response_class=StreamingResponse,
        operation_id="logRaw",
        summary="The whole log, for download",
        responses={200: {"content": {"text/plain": {}, "application/jsonl": {}}}},
    )
    async def raw(
        job_id: str,
        format: Annotated[
            Literal["text", "jsonl"], Query(description="jsonl: one JSON value per line")
        ] = "text",
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        as_json = format == "jsonl"
        oid, parts = await logs_of.open_log(
            rest.engine, caller, job_id, as_json=as_json, as_admin=as_admin
        )
        kind = "application/jsonl" if as_json else "text/plain; charset=utf-8"
        name = f"{oid}.{'jsonl' if as_json else 'log'}"
        return StreamingResponse(
            parts,
            media_type=kind,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    return routes
