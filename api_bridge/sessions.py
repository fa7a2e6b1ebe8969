"""Signing in to the dashboard that has a page of its own: a token, kept in a cookie.

The cookie holds the token; no script can read it, and it goes to the dashboard's own addresses
only, so it never mixes with Airflow's session. What it may do is what any browser's session may
(`rest/common.py`): change something only by a page of this host.
"""

from __future__ import annotations

from collections.abc import Callable

from cachetools import TTLCache
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_bridge.rest.common import Browser, Rest, Visitor
from api_bridge.service import Service
from ee2_jobs.errors import Denied, NotAuthenticated, TooMany
from ee2_jobs.identity import Caller

COOKIE = "ee2_session"
LIFETIME_S = 14 * 86_400
# Wrong tokens of one address within a minute. Nobody guesses a token; this keeps the service that
# checks them from being asked all the time.
MAX_WRONG = 20
_WRONG_S = 60


class SignIn(BaseModel):
    """What signs in."""

    token: str = Field(min_length=1, max_length=4000, repr=False)


class Sessions:
    """service: gives the Service of this process. other: who is signed in elsewhere (Airflow)."""

    def __init__(self, service: Callable[[], Service], other: Browser | None) -> None:
        self._service = service
        self._other = other
        self._wrong: TTLCache[str, int] = TTLCache(10_000, _WRONG_S)

    async def visitor(self, request: Request) -> Visitor | None:
        """Who is signed in with the browser: by this cookie, by that of KBase's own pages (if the
        setting `session_cookie` names it), or elsewhere. NotAuthenticated if the token in this
        cookie is not good any more."""
        token = request.cookies.get(COOKIE)
        if token:
            return Visitor(await self._user(token), browser=True)
        name = self._service().engine.settings.session_cookie
        token = request.cookies.get(name) if name else None
        if token:
            try:
                return Visitor(await self._user(token), browser=True)
            except NotAuthenticated:
                pass  # its own pages end it
        return await self._other(request) if self._other is not None else None

    async def _user(self, token: str) -> Caller:
        caller = await self._service().identity.caller(token)
        if caller.job is not None:
            raise Denied(
                f"The token of job {caller.job} may not be used here: sign in with a user's"
            )
        return caller

    def router(self, rest: Rest) -> APIRouter:
        """`POST` and `DELETE /session`."""
        routes = APIRouter()

        @routes.post("/session", include_in_schema=False)
        async def sign_in(request: Request, given: SignIn) -> Response:
            rest.require_own_page(request)
            who = request.client.host if request.client else ""
            if self._wrong.get(who, 0) >= MAX_WRONG:
                raise TooMany("Too many tokens that are not valid: wait a minute", _WRONG_S)
            token = given.token.strip()
            try:
                caller = await self._user(token)
            except (NotAuthenticated, Denied):
                self._wrong[who] = self._wrong.get(who, 0) + 1
                raise
            answer = JSONResponse({"user": caller.user})
            answer.set_cookie(
                COOKIE, token, max_age=LIFETIME_S, path=_path(request.scope), httponly=True,
                secure=request.url.scheme == "https", samesite="strict",
            )  # fmt: skip
            return answer

        @routes.delete("/session", include_in_schema=False)
        async def sign_out(request: Request) -> Response:
            rest.require_own_page(request)
            answer = Response(status_code=204)
            answer.headers["Set-Cookie"] = _removal(request.scope)
            return answer

        return routes


class EndedSessions:
    """Around the REST API: who came with a cookie and is not known any more loses it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                request = Request(scope)
                if COOKIE in request.cookies and "authorization" not in request.headers:
                    headers = MutableHeaders(scope=message)
                    headers.append("Set-Cookie", _removal(scope))
            await send(message)

        await self._app(scope, receive, sending)


def _path(scope: Scope) -> str:
    """The dashboard's address: that of the API, which is mounted two levels below, without these.
    """
    root: str = scope.get("root_path", "")
    return root.removesuffix("/api/v1") or "/"


def _removal(scope: Scope) -> str:
    return f"{COOKIE}=; Max-Age=0; Path={_path(scope)}; HttpOnly; SameSite=Strict"
