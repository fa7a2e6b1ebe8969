"""The application that serves the REST API: its routes, and how errors and headers look."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_bridge.errors import TROUBLE, http_status_of, is_trouble, unexpected
from api_bridge.rest import routers
from api_bridge.rest.common import Rest
from ee2_jobs.errors import EngineError, TooMany

MAX_BODY_BYTES = 1_000_000
# Whether a request is a HEAD, in its scope: what streams without end then ends at once.
HEAD = "ee2.head"
_VERBS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
# A token may come from any page (its owner gave it to the page); a session only from our own: no
# browser shows an answer to a request with a session to a page of another host with these.
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Retry-After",
}
_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Vary": "Authorization, Cookie",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    **_CORS,
}
_STATUS_TEXTS = {
    404: "There is no such address: docs/reference/rest.md and /ee2/docs list them",
    405: "This address does not take {method}",
}


def create_rest_app(rest: Rest, *more: APIRouter) -> FastAPI:
    """The application, to be mounted at `/ee2/api/v1`. Its lifespan is not run. more: routes that
    only this one has."""
    app = FastAPI(title="EE2", openapi_url=None, redirect_slashes=False)
    for router in (*more, *routers(rest)):
        app.include_router(router)
    app.add_exception_handler(StarletteHTTPException, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_error)
    app.add_middleware(_Around, rest=rest)
    return app


def error_response(error: Exception, method: str = "", path: str = "") -> Response:
    """What a client gets for an error: `{"error": {"status", "message"}}`."""
    headers: dict[str, str] = {}
    if isinstance(error, StarletteHTTPException):
        status = error.status_code
        message = _STATUS_TEXTS.get(status, str(error.detail)).format(method=method)
        headers = dict(error.headers or {})
    elif isinstance(error, RequestValidationError):
        status, message = 400, _validation_text(error.errors())
    else:
        status, message = http_status_of(error), str(error)
        if status == 500:
            message = unexpected(error, f"{method} {path}")
        elif is_trouble(error) and not isinstance(error, EngineError):
            message = TROUBLE
        if isinstance(error, TooMany):
            headers = {"Retry-After": str(error.retry_after_s)}
        elif status == 503:
            headers = {"Retry-After": "5"}
    # What is named in it may be half a letter (a lone surrogate), which no answer can have.
    message = message.encode("utf-8", "replace").decode()
    return JSONResponse({"error": {"status": status, "message": message}}, status, headers)


async def _answer_error(request: Request, error: Exception) -> Response:
    return error_response(error, request.method, request.url.path)


def _validation_text(errors: Sequence[Any]) -> str:
    """FastAPI's errors as sentences for people: the field, then what is wrong with it."""
    parts = []
    for one in errors[:5]:
        place = ".".join(str(part) for part in one["loc"][1:])
        text = str(one["msg"])
        given = one.get("input")
        if one["type"] == "json_invalid":
            place, text = "body", "is not JSON"
        elif isinstance(given, str | int | float | bool) and one["type"] != "missing":
            text = f"{text}, not {json.dumps(given)[:80]}"
        parts.append(f"{place or 'body'}: {text}")
    return "; ".join(parts)


class _Around:
    """Around every request: headers, HEAD and OPTIONS, the size of a body, what went wrong."""

    def __init__(self, app: ASGIApp, rest: Rest) -> None:
        self._app = app
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        size = 0

        async def receiving() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY_BYTES:
                raise HTTPException(413, f"A request may have {MAX_BODY_BYTES} bytes at most")
            return message

        self._rest.service.memory.calls.note("rest")
        if method == "OPTIONS":
            await _options(scope)(scope, receive, sending)
            return
        if method == "HEAD":
            scope = {**scope, "method": "GET", HEAD: True}
        try:
            await self._app(scope, receiving, sending)
        except ClientDisconnect:
            return
        except Exception as e:
            if started:
                raise
            await error_response(e, method, scope["path"])(scope, receive, sending)


def _options(scope: Scope) -> Response:
    asked = Request(scope).headers.get("access-control-request-headers", "authorization")
    allowed = {"Access-Control-Allow-Methods": _VERBS, "Access-Control-Allow-Headers": asked}
    return Response(status_code=204, headers={"Allow": _VERBS, **allowed})
