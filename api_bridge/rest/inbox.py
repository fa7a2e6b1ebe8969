"""Messages in the page, and "notify me" for one job or batch: `/notices`, `/jobs/{id}/notify`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import CONFLICT, ERRORS, NOT_FOUND, NOT_MODIFIED, Rest, etagged
from api_bridge.rest.lists import CountOf
from api_bridge.rest.log import AsAdmin
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, now_s, to_ms
from ee2_jobs.notices import inbox, watches

_ID = "66f2a1b3c4d5e6f708192a3b"
_MOST_IDS = 1000


class Notice(BaseModel):
    """A message."""

    id: str = Field(examples=[f"{_ID}.ended.1"])
    event: str = Field(
        examples=["failure"],
        description="end, failure, batch_done, long_wait, long_run, test; watched and "
        "watched_long: of a job about which no more can be told here",
    )
    subject: str = Field(examples=["kb_Bowtie2.align_reads has failed"])
    lines: list[str] = Field(examples=[["Your job failed after 3 m 12 s."]])
    job_id: str | None = Field(examples=[_ID])
    batch_id: str | None = Field(description="of a batch, or of a job in one")
    at: int = Field(examples=[1727185950123])
    read: bool = Field(examples=[False])


class Notices(BaseModel):
    """The caller's messages of the last 30 days, on whatever channel, the newest first."""

    items: list[Notice]
    unread: CountOf = Field(description="of all, not of those `since` only")
    as_of: int


class Read(BaseModel):
    """Which messages were read: these, or all up to a time."""

    model_config = ConfigDict(extra="forbid")

    ids: list[str] | None = Field(
        default=None, max_length=_MOST_IDS, examples=[[f"{_ID}.ended.1"]]
    )
    until: int | None = Field(default=None, ge=0, le=2**53, description="`at`, ms")


class Notify(BaseModel):
    """Of what to tell the caller."""

    model_config = ConfigDict(extra="forbid")

    on: list[Literal["end", "failure", "long_wait", "long_run"]] = Field(
        min_length=1, max_length=4, examples=[["end"]],
        description="end: however it ends; failure: if it fails or is cancelled; long_wait, "
        "long_run: after the times in /settings/notices",
    )


class Watched(BaseModel):
    """What the caller is told of a job or a batch, and where."""

    id: str = Field(examples=[_ID])
    on: list[str] = Field(examples=[["end"]], description="empty: of nothing")
    channels: list[str] = Field(
        examples=[["page", "email"]],
        description="those that reach the caller now: see /settings/notices",
    )


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(tags=["messages to people"], responses=ERRORS)

    async def told(caller: Caller, since: int | None = None, limit: int = 50) -> Document:
        found = await inbox.inbox(rest.engine.store, caller.user, since, limit)
        return {**found, "as_of": to_ms(now_s())}

    @routes.get(
        "/notices", response_model=Notices, responses=NOT_MODIFIED, operation_id="notices",
        summary="My messages",
    )
    async def notices(
        request: Request,
        since: Annotated[int | None, Query(ge=0, le=2**53, description="after that, ms")] = None,
        limit: Annotated[int, Query(ge=1, le=inbox.MOST)] = 50,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        return etagged(request, await told(caller, since, limit))

    @routes.post(
        "/notices/read", response_model=Notices, operation_id="readNotices",
        summary="I have read these, or all up to a time",
    )
    async def read(body: Read, caller: Caller = Depends(rest.writer)) -> Document:
        await inbox.mark_read(
            rest.engine.store, caller.user, ids=body.ids, until_ms=body.until
        )
        return await told(caller)

    @routes.get(
        "/jobs/{job_id}/notify", response_model=Watched, operation_id="notify",
        responses={**NOT_FOUND, **NOT_MODIFIED}, summary="Of what I am told of a job or a batch",
    )
    async def get(
        request: Request, job_id: str, as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        return etagged(
            request, await watches.watched(rest.engine, caller, job_id, as_admin=as_admin)
        )

    @routes.put(
        "/jobs/{job_id}/notify", response_model=Watched, responses={**NOT_FOUND, **CONFLICT},
        operation_id="setNotify", summary="Tell me of a job or a batch",
        description="Whoever may read it may be told: in the page, and on every channel with an "
        "address in /settings/notices. 409 once it has ended.",
    )
    async def put(
        body: Notify, job_id: str, as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.writer),
    ) -> Document:
        return await watches.watch(rest.engine, caller, job_id, body.on, as_admin=as_admin)

    @routes.delete(
        "/jobs/{job_id}/notify", response_model=Watched, responses=NOT_FOUND,
        operation_id="unsetNotify", summary="Tell me no more of it",
    )
    async def delete(
        job_id: str, as_admin: AsAdmin = False, caller: Caller = Depends(rest.writer)
    ) -> Document:
        return await watches.unwatch(rest.engine, caller, job_id, as_admin=as_admin)

    return routes
