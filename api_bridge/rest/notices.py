"""What a user wants to be told of jobs, and where: `/settings/notices`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import CONFLICT, ERRORS, NOT_MODIFIED, Rest, etagged
from ee2_jobs.identity import Caller
from ee2_jobs.model import to_ms
from ee2_jobs.notices import sending, wishes
from ee2_jobs.notices.wishes import Wishes

_EXAMPLE = {"events": {"failure": ["email"]}, "email": "ana@example.org"}


class Told(BaseModel):
    """One of the newest messages, and what became of it."""

    event: str = Field(examples=["batch_done"])
    channel: str = Field(examples=["email"])
    state: str = Field(
        examples=["sent"],
        description="due, sending, sent, given_up (never taken), unclear (perhaps taken, not sent "
        "again)",
    )
    at: int = Field(examples=[1727185950123], description="when it became due, ms")
    sent: int | None = Field(default=None, description="when it was taken, ms")
    error: str | None = Field(default=None, description="the last reason why it was not")


class NoticeSettings(BaseModel):
    """What the caller wants, and what can be had."""

    settings: Wishes
    confirmed: list[str] = Field(
        examples=[["email"]],
        description="the channels whose address is confirmed; e-mail and Slack need it",
    )
    channels: list[str] = Field(
        examples=[["page", "email", "slack"]],
        description="those that this service has; `page` always, and it needs no address",
    )
    newest: list[Told]


class Code(BaseModel):
    """The code that was sent to the address of a channel."""

    channel: str = Field(default="email", examples=["email"], max_length=20)

    code: str = Field(examples=["04711815"], max_length=20)


class Channel(BaseModel):
    """A channel to try."""

    channel: str = Field(examples=["email"], max_length=20)


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(
        prefix="/settings/notices", tags=["messages to people"], responses=ERRORS
    )

    async def answer(user: str) -> NoticeSettings:
        store = rest.engine.store
        wanted, confirmed = await wishes.get_wishes(store, user)
        return NoticeSettings(
            settings=wanted,
            confirmed=sorted(confirmed),
            channels=list(wishes.offered(rest.engine.settings)),
            newest=[_told(one) for one in await sending.newest(store, user)],
        )

    @routes.get(
        "",
        response_model=NoticeSettings,
        responses=NOT_MODIFIED,
        operation_id="noticeSettings",
        summary="What I want to be told, and what was told",
    )
    async def get(request: Request, caller: Caller = Depends(rest.reader)) -> Response:
        return etagged(request, await answer(caller.user))

    @routes.put(
        "",
        response_model=NoticeSettings,
        responses=CONFLICT,
        operation_id="setNoticeSettings",
        summary="Change what I want to be told",
        description="A new e-mail or Slack address gets a message with a code; nothing else is "
        "sent there until it is confirmed.",
    )
    async def put(
        value: Annotated[Any, Body(examples=[_EXAMPLE])],
        caller: Caller = Depends(rest.writer),
    ) -> NoticeSettings:
        await wishes.set_wishes(rest.engine.store, rest.engine.settings, caller, value)
        return await answer(caller.user)

    @routes.post(
        "/confirm",
        response_model=NoticeSettings,
        responses=CONFLICT,
        operation_id="confirmAddress",
        summary="Confirm my address",
    )
    async def confirm(body: Code, caller: Caller = Depends(rest.writer)) -> NoticeSettings:
        await wishes.confirm(rest.engine.store, caller, body.channel, body.code)
        return await answer(caller.user)

    @routes.post(
        "/test",
        response_model=NoticeSettings,
        responses=CONFLICT,
        operation_id="testNotice",
        summary="Send me a message, to see whether it arrives",
    )
    async def test(body: Channel, caller: Caller = Depends(rest.writer)) -> NoticeSettings:
        store, settings = rest.engine.store, rest.engine.settings
        await wishes.send_test(store, settings, caller, body.channel)
        return await answer(caller.user)

    return routes


def _told(one: dict[str, Any]) -> Told:
    return Told(
        event=one["event"],
        channel=one["channel"],
        state=one["state"],
        at=to_ms(one["at"]),
        sent=to_ms(one["sent"]) if "sent" in one else None,
        error=one.get("error"),
    )
