"""Cancel or retry many jobs at once: what would happen, asking for it, and how it goes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import (
    CONFLICT,
    ERRORS,
    NOT_FOUND,
    NOT_MODIFIED,
    ErrorAnswer,
    Rest,
    etagged,
)
from api_bridge.rest.log import AsAdmin
from ee2_jobs import action_preview, actions
from ee2_jobs.browse.query import Sort
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document
from ee2_jobs.page.values import json_bytes

_JOB_ID = "66f2a1b3c4d5e6f708192a3b"
_MOST_IDS = 10_000


class ActionBody(BaseModel):
    """What is to be done to which jobs: those with the ids, or those that the filter finds."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["cancel", "retry"]
    filter: dict[str, str | int | float] | None = Field(
        default=None,
        examples=[{"batch": _JOB_ID, "status": "live"}],
        description="the words of the lists of jobs, at least one. It finds the caller's own jobs; "
        "with `batch` or `ws` those of that batch or workspace; with as_admin all",
    )
    ids: list[str] | None = Field(default=None, max_length=_MOST_IDS)
    sort: Sort = Field(
        default="created", description="as of the list: says what `from` and `to` speak of"
    )
    reason: str | None = Field(
        default=None, max_length=1000, description="shown to the owners; required with as_admin"
    )
    key: str | None = Field(
        default=None,
        max_length=100,
        examples=["b7d3c1"],
        description="any text of the client's: a second call with the same key does nothing more",
    )
    expect: int | None = Field(
        default=None, ge=0, description="how many jobs the user was told; 409 if it is far off"
    )


class Sample(BaseModel):
    """One of the jobs."""

    id: str = Field(examples=[_JOB_ID])
    status: str
    method: str | None
    owner: str
    run_ms: int | None


class Excluded(BaseModel):
    """Jobs that it would not be done to."""

    reason: str
    count: int
    ids: list[str] = Field(description="the first few")


class Preview(BaseModel):
    """What would happen."""

    action: str
    jobs: int = Field(examples=[230])
    children: int = Field(
        examples=[0], description="to be cancelled with the batches among them"
    )
    sample: list[Sample]
    hours_lost: float = Field(description="that the running ones have run so far")
    expected_cpu_hours: float | None = Field(
        examples=[14.5], description="of a retry: by the medians of the apps and the cores asked "
        "for; null: no history to tell it from",
    )
    expected_of: int = Field(examples=[230], description="of so many of the jobs that is told")
    excluded: list[Excluded]


class Accepted(BaseModel):
    """Where to see how it goes."""

    id: str = Field(examples=[_JOB_ID])


class Item(BaseModel):
    """A job, and why nothing was done to it."""

    id: str = Field(examples=[_JOB_ID])
    reason: str = Field(examples=["it is completed"])


class Items(BaseModel):
    """Some of them, and how many there are."""

    count: int
    items: list[Item]


class ActionState(BaseModel):
    """How an action stands."""

    id: str = Field(examples=[_JOB_ID])
    action: str
    state: str = Field(examples=["running"], description="running or done")
    user: str
    as_admin: bool
    reason: str | None
    filter: dict[str, str] | None
    total: int
    done: int
    skipped: Items = Field(description="were in another state by then")
    failed: Items = Field(description="not there, not for this caller, or not possible")
    next: int | None = Field(description="the `from` of the next page of items; null: no more")
    created: int
    finished: int | None


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(prefix="/actions", tags=["actions"], responses={**ERRORS, **NOT_FOUND})

    def parsed(caller: Caller, body: ActionBody, as_admin: bool) -> actions.Request:
        return actions.parse_request(
            caller,
            action=body.action,
            ids=body.ids,
            words=body.filter,
            sort=body.sort,
            reason=body.reason,
            as_admin=as_admin,
            key=body.key,
            expect=body.expect,
        )

    @routes.post(
        "/preview",
        response_model=Preview,
        operation_id="previewAction",
        summary="What an action would do",
    )
    async def preview(
        body: Annotated[ActionBody, Body()],
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.writer),
    ) -> Document:
        return await action_preview.preview(rest.engine, caller, parsed(caller, body, as_admin))

    @routes.post(
        "",
        status_code=202,
        response_model=Accepted,
        responses={
            **CONFLICT,
            429: {"model": ErrorAnswer, "description": "too many of this user go on: Retry-After"},
        },
        operation_id="startAction",
        summary="Cancel or retry many jobs",
    )
    async def accept(
        body: Annotated[ActionBody, Body()],
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.writer),
    ) -> dict[str, Any]:
        request = parsed(caller, body, as_admin)
        return {"id": await actions.accept(rest.engine, caller, request)}

    @routes.get(
        "/{action_id}",
        response_model=ActionState,
        responses=NOT_MODIFIED,
        operation_id="action",
        summary="How an action goes",
    )
    async def state(
        request: Request,
        action_id: str,
        start: Annotated[int, Query(alias="from", ge=0, le=2**31)] = 0,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        answer = await actions.read(
            rest.engine, caller, action_id, start=start, as_admin=as_admin
        )
        return etagged(request, json_bytes(answer))

    return routes
