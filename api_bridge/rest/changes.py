"""`GET /jobs/changes` and `GET /jobs/events`: what has changed in a list, once asked for, or told
as it happens (server-sent events)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from pymongo.errors import PyMongoError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api_bridge.errors import http_status_of
from api_bridge.rest.common import ERRORS, NOT_FOUND, NOT_MODIFIED, ErrorAnswer, Rest, etagged
from api_bridge.rest.lists import SCOPE, WORD_PARAMETERS, Row, list_of
from ee2_jobs.browse.lists import Listing
from ee2_jobs.browse.since import MAX_CHANGED, concerned
from ee2_jobs.errors import EngineError, NotAuthenticated, TooMany
from ee2_jobs.feed import Change, Feed, Version, format_version, parse_version
from ee2_jobs.identity import Caller
from ee2_jobs.model import now_s, to_ms

MAX_STREAMS = 20  # per user and process
BEAT_S = 15.0
RIGHTS_S = 60.0
# Between two events of a stream; and after changes that were not the client's concern.
PAUSE_S = 0.5
SHORT_PAUSE_S = 0.25
LONGEST_PAUSE_S = 2.0
_TROUBLE_S = 5.0
# In the scope's `state`, which all copies of the scope share: the server's end of the connection.
STREAM_END = "ee2.stream_end"


class Changes(BaseModel):
    """What changed in a list. reset: so much, or so long ago, that the list must be read anew."""

    reset: bool = False
    items: list[Row] = Field(description="rows that changed, or are new; newest first")
    gone: list[str] = Field(description="ids that the list does not have any more")
    as_of: int = Field(examples=[1727185950123])
    version: str = Field(examples=["1727185950:44"])


class Streams:
    """The open streams of this process, by user."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextlib.contextmanager
    def one(self, user: str) -> Any:
        """While a stream is open."""
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]

    def require_room(self, user: str) -> None:
        """TooMany if the user has MAX_STREAMS open."""
        if self._open[user] >= MAX_STREAMS:
            raise TooMany(
                f"{MAX_STREAMS} streams of {user} are open already: close pages that show live "
                "lists, or ask for /jobs/changes now and then",
                30,
            )


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(tags=["lists"], responses={**ERRORS, **NOT_FOUND})
    streams = Streams()

    @routes.get(
        "/jobs/changes", response_model=Changes, operation_id="jobChanges",
        summary="What changed in a list since a version", openapi_extra=WORD_PARAMETERS,
        responses=NOT_MODIFIED,
    )
    async def changes(
        request: Request,
        since: str = Query(description="version of an earlier answer", examples=["1727185950:44"]),
        caller: Caller = Depends(rest.reader),
        scope: str = SCOPE,
    ) -> Response:
        feed = rest.service.feed
        known = parse_version(since)
        # Another process, which gave that version, may be a moment ahead.
        version = max(known, parse_version(feed.version))
        listing = await list_of(rest, request, caller, scope)
        body = await _since(rest, listing, feed.since(known), version)
        return etagged(request, body, but=("as_of",))

    @routes.get(
        "/jobs/events", operation_id="jobEvents", response_class=StreamingResponse,
        summary="Changes of a list as they happen (server-sent events)",
        openapi_extra=WORD_PARAMETERS,
        responses={
            200: {
                "description": "events `ready`, `change` (data: as of /jobs/changes), `reset` "
                "(read the list anew), `end` (with the reason)",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            429: {"model": ErrorAnswer, "description": "too many streams of this user are open"},
        },
    )
    async def events(
        request: Request,
        caller: Caller = Depends(rest.reader),
        scope: str = SCOPE,
        since: str | None = Query(
            None, description="version from which on changes are told; default: from now on"
        ),
    ) -> Response:
        streams.require_room(caller.user)
        last = request.headers.get("last-event-id") or since
        known = parse_version(last) if last else None
        number = rest.service.feed.number
        listing = await list_of(rest, request, caller, scope)
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        kind = "text/event-stream"
        if request.scope.get("ee2.head"):
            return Response(headers=headers, media_type=kind)
        stream = _Stream(rest, request, listing, scope, number, known)
        return StreamingResponse(stream.told(streams), headers=headers, media_type=kind)

    return routes


async def _workspaces(listing: Listing) -> frozenset[int]:
    """The workspaces whose jobs a list of scope `readable` shows."""
    if listing.scope != "readable":
        return frozenset()
    if listing.sought.ws is not None:
        return frozenset({listing.sought.ws})
    return await listing.engine.workspaces.readable(listing.caller)


async def _since(
    rest: Rest, listing: Listing, news: list[Change] | None, version: Version
) -> dict[str, Any]:
    """The answer for these changes; None: they are not known any more."""
    told = {"as_of": to_ms(now_s()), "version": format_version(version)}
    news = None if news is None else concerned(news, listing, await _workspaces(listing))
    if news is None or len(news) > MAX_CHANGED:
        return {"reset": True, "items": [], "gone": [], **told}
    found = await rest.service.changes.read(listing, news)
    return {"reset": False, "items": found.items, "gone": found.gone, **told}


@dataclass
class _Stream:
    """One open stream."""

    rest: Rest
    request: Request
    listing: Listing
    scope: str
    number: int
    known: Version | None

    async def told(self, streams: Streams) -> AsyncIterator[bytes]:
        """The events, until the client goes, the server stops, or the caller's right ends."""
        ending = asyncio.Event()
        self.request.scope.setdefault("state", {})[STREAM_END] = ending
        stopping = asyncio.ensure_future(ending.wait())
        try:
            # Again: others may have been opened at the same moment.
            streams.require_room(self.listing.caller.user)
            with streams.one(self.listing.caller.user):
                async for event in self._events(stopping):
                    yield event
        except TooMany as e:
            yield _event("end", {"message": str(e), "status": http_status_of(e)})
        finally:
            stopping.cancel()

    async def _events(self, stopping: asyncio.Future[Any]) -> AsyncIterator[bytes]:
        feed = self.rest.service.feed
        # Before the first word: a right taken back from then on is noticed.
        workspaces = await _workspaces(self.listing)
        ready = {"as_of": to_ms(now_s()), "version": feed.version}
        # A client that lost us comes back after 2 s.
        yield b"retry: 2000\n" + _event("ready", ready)
        if self.known is not None:
            first = feed.since(self.known)
            version = max(self.known, parse_version(feed.version))
            body = await _since(self.rest, self.listing, first, version)
            if body["reset"] or body["items"] or body["gone"]:
                yield _event("reset" if body["reset"] else "change", body)
        beat = rights = time.monotonic()
        while not stopping.done():
            pause_s = SHORT_PAUSE_S
            try:
                await _either(
                    feed.wait(self.number, max(0.0, beat + BEAT_S - time.monotonic())), stopping
                )
                now = time.monotonic()
                if now - beat >= BEAT_S:
                    beat = now
                    yield b": still here\n\n"
                    await self._still_the_same()
                if now - rights >= RIGHTS_S:
                    rights = now
                    self.listing = await self._anew()
                    seen = await _workspaces(self.listing)
                    if seen != workspaces:
                        workspaces = seen
                        yield _event("reset", self._reset(feed))
                began = time.monotonic()
                event = await self._news(feed, workspaces)
                took_s = time.monotonic() - began
                if event is not None:
                    yield event
                    # When the database is slow it is asked more rarely.
                    pause_s = max(PAUSE_S, min(2 * took_s, LONGEST_PAUSE_S))
            except Exception as e:
                if isinstance(e, PyMongoError) or http_status_of(e) == 503:
                    yield b": the job database does not answer at the moment\n\n"
                    pause_s = _TROUBLE_S
                elif isinstance(e, EngineError):
                    yield _event("end", {"message": str(e), "status": http_status_of(e)})
                    return
                else:
                    raise
            await asyncio.wait([stopping], timeout=pause_s)

    async def _news(self, feed: Feed, workspaces: frozenset[int]) -> bytes | None:
        """What to tell of the changes since the last time; what fails is told the next time."""
        upto, version = feed.number, parse_version(feed.version)
        news = feed.after(self.number)
        body = None
        if news is None:
            body = self._reset(feed)
        elif mine := concerned(news, self.listing, workspaces):
            if self.listing.live_batches is not None:
                self.listing = await self._anew()  # what they do may have changed
            if len(mine) > MAX_CHANGED:
                body = self._reset(feed)
            else:
                found = await self.rest.service.changes.read(self.listing, mine)
                if found.items or found.gone:
                    body = {
                        "reset": False, "items": found.items, "gone": found.gone,
                        "as_of": to_ms(now_s()), "version": format_version(version),
                    }  # fmt: skip
        self.number = upto
        if body is None:
            return None
        return _event("reset" if body["reset"] else "change", body)

    async def _still_the_same(self) -> None:
        """The token is still good, its user the same, and the roles are those of now."""
        caller = (await self.rest.visitor(self.request)).caller
        before = self.listing.caller
        if caller.user != before.user:
            raise NotAuthenticated(f"{before.user} is no longer signed in: open the list again")
        if caller.roles != before.roles:
            self.listing = replace(self.listing, caller=caller)
            self.listing = await self._anew()

    async def _anew(self) -> Listing:
        return await list_of(self.rest, self.request, self.listing.caller, self.scope)

    @staticmethod
    def _reset(feed: Feed) -> dict[str, Any]:
        return {
            "reset": True, "items": [], "gone": [], "as_of": to_ms(now_s()),
            "version": feed.version,
        }  # fmt: skip


async def _either(call: Any, stopping: asyncio.Future[Any]) -> None:
    """Wait for the call, or until the server stops."""
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()


def _event(name: str, data: dict[str, Any]) -> bytes:
    mark = f"id: {data['version']}\n" if "version" in data else ""
    return f"event: {name}\n{mark}".encode() + b"data: " + orjson.dumps(data) + b"\n\n"
