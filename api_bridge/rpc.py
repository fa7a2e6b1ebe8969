"""The JSON-RPC endpoint: reads a request, finds method and caller, answers.

A plain ASGI application: this is the path of two calls a second per running job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from api_bridge.audit import call_audited, is_admin_action
from api_bridge.envelope import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    Fault,
    Request,
    decode,
    encode_fault,
    encode_result,
    too_large,
)
from api_bridge.errors import fault_of, is_trouble, log
from api_bridge.methods import METHODS
from api_bridge.service import Method, Service, authenticate

_JSON = (b"content-type", b"application/json")
_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_ALLOW = b"access-control-allow-headers"


class ClientGone(Exception):
    """The client went away before its request was complete."""


class RpcEndpoint:
    """Serves every verb as EE2 does; only OPTIONS is special.

    service: gives the Service of this process (it exists once the application has started).
    """

    def __init__(self, service: Callable[[], Service]) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        status, body = 200, b""
        if scope["method"] != "OPTIONS":
            try:
                status, body = await self._answer(headers, receive)
            except ClientGone:
                return
        start: Message = {
            "type": "http.response.start",
            "status": status,
            "headers": [
                _JSON,
                _ANY_ORIGIN,
                (_ALLOW, headers.get(b"access-control-request-headers", b"authorization")),
                (b"content-length", str(len(body)).encode()),
            ],
        }
        await send(start)
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, headers: dict[bytes, bytes], receive: Receive) -> tuple[int, bytes]:
        service = self._service()
        try:
            limit_bytes = service.engine.settings.max_body_mb * 1_000_000
            request = decode(await read_body(headers, receive, limit_bytes))
        except Fault as fault:
            return 500, encode_fault(fault)
        try:
            result = await _call(service, request, headers.get(b"authorization"))
            return 200, encode_result(request.envelope, result)
        except Exception as e:
            return 500, encode_fault(fault_of(e, request.envelope, request.method))


async def read_body(headers: dict[bytes, bytes], receive: Receive, limit_bytes: int) -> bytes:
    """The body of a request, read as it comes and no further than the limit: then, or if the
    announced length is over it already, Fault."""
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise too_large(limit_bytes)
    body = b""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(body)
        if size > limit_bytes:
            raise too_large(limit_bytes)
        parts.append(body)
    return body if len(parts) == 1 else b"".join(parts)


async def _call(service: Service, request: Request, header: bytes | None) -> Any:
    """The `result` of a call; raises what went wrong."""
    method = METHODS.get(request.method)
    if method is None:
        raise Fault(METHOD_NOT_FOUND, f"There is no method {request.method}")
    try:
        token = None if header is None else header.decode("latin-1")
        caller = await authenticate(service, token, method, request.method)
        params = _positional(method, request.params)
        if method.audited != "no" and is_admin_action(service, caller, method, params):
            result = await call_audited(service, caller, method, request.method, params)
        else:
            result = await method.call(service, caller, *params)
    except Exception as e:
        if method.on_trouble is None or not is_trouble(e):
            raise
        log.warning("%s: %s", request.method, e)
        result = method.on_trouble(service, request.params)
    return None if method.void else [result]


def _positional(method: Method, params: list[Any]) -> list[Any]:
    """The parameters, if their number and JSON types are right. Null passes, as in EE2; for a
    mapping it is an empty one."""
    if len(params) < len(method.takes):
        raise Fault(INVALID_PARAMS, "not enough arguments")
    if len(params) > len(method.takes):
        raise Fault(INVALID_PARAMS, "too many arguments")
    values = []
    for n, (value, kind) in enumerate(zip(params, method.takes, strict=True), 1):
        if value is not None and not isinstance(value, kind):
            raise Fault(INVALID_PARAMS, f"positional arg #{n} is the wrong type")
        values.append({} if value is None and kind is dict else value)
    return values
