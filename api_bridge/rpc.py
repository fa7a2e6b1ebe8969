"""The JSON-RPC endpoint: reads a request, finds method and caller, answers.

A plain ASGI application: this is the path of two calls a second per running job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from api_bridge.audit import call_audited, is_admin_action
from api_bridge.envelope import (
    EE2,
    INVALID_PARAMS,
    JAVA_GET_ERROR,
    METHOD_NOT_FOUND,
    Address,
    Envelope,
    Fault,
    Request,
    TooLarge,
    decode,
    encode_fault,
    encode_result,
)
from api_bridge.errors import fault_of, is_trouble, log
from api_bridge.legacy import sdk
from api_bridge.legacy.java import check_params, no_such_method
from api_bridge.methods import METHODS
from api_bridge.service import Method, Service, authenticate

_JSON = (b"content-type", b"application/json")
_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_ALLOW = b"access-control-allow-headers"


class ClientGone(Exception):
    """The client went away before its request was complete, or before it had its answer."""


class RpcEndpoint:
    """Serves every verb as EE2 does; only OPTIONS is special, and GET for the Java services.

    service: gives the Service of this process (it exists once the application has started).
    address: the old service in whose place the endpoint answers. All methods are understood at all
    addresses; what cannot be read so far is answered in that service's dialect.
    """

    def __init__(self, service: Callable[[], Service], address: Address = EE2) -> None:
        self._service = service
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        status, body = 200, b""
        if scope["method"] == "GET" and self._address.dialect == "java":
            status = 500
            body = encode_fault(self._early(Fault(JAVA_GET_ERROR, "HTTP GET not allowed.")))
        elif scope["method"] != "OPTIONS":
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
        service.memory.calls.note("rpc")
        try:
            limit_bytes = service.engine.settings.max_body_mb * 1_000_000
            request = decode(await read_body(headers, receive, limit_bytes), self._address)
        except Fault as fault:
            return 500, encode_fault(self._early(fault))
        try:
            result = await _call(service, request, headers.get(b"authorization"), receive)
            return 200, encode_result(request.envelope, result)
        except ClientGone:
            raise
        except Exception as e:
            return 500, encode_fault(fault_of(e, request.envelope, request.method))

    def _early(self, fault: Fault) -> Fault:
        """The fault of a request that could not be read far enough to know its dialect."""
        if fault.envelope == Envelope():
            fault.envelope = Envelope(dialect=self._address.dialect)
        return fault


async def read_body(headers: dict[bytes, bytes], receive: Receive, limit_bytes: int) -> bytes:
    """The body of a request, read as it comes and no further than the limit: then, or if the
    announced length is over it already, Fault."""
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise TooLarge(limit_bytes)
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
            raise TooLarge(limit_bytes)
        parts.append(body)
    return body if len(parts) == 1 else b"".join(parts)


async def _while_there(call: Awaitable[Any], receive: Receive) -> Any:
    """What a call that may take long returns. If the client goes away meanwhile the call is
    cancelled, and ClientGone raised."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.ensure_future(call), asyncio.ensure_future(gone())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise ClientGone
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _call(
    service: Service, request: Request, header: bytes | None, receive: Receive
) -> Any:
    """The `result` of a call; raises what went wrong."""
    token = None if header is None else header.decode("latin-1")
    if request.envelope.dialect == "sdk":
        return await sdk.call(service, request, token)
    method = METHODS.get(request.method)
    if method is None:
        raise Fault(METHOD_NOT_FOUND, no_such_method(request.method, request.envelope.dialect))
    try:
        caller = await authenticate(service, token, method, request.method)
        params = _positional(method, request)
        if method.audited != "no" and is_admin_action(service, caller, method, params):
            result = await call_audited(service, caller, method, request.method, params)
        elif method.waits:
            result = await _while_there(method.call(service, caller, *params), receive)
        else:
            result = await method.call(service, caller, *params)
    except Exception as e:
        if method.on_trouble is None or not is_trouble(e):
            raise
        log.warning("%s: %s", request.method, e)
        result = method.on_trouble(service, request.params)
    if method.values == "one":
        return [result]
    return None if method.values == "none" else list(result)


def _positional(method: Method, request: Request) -> list[Any]:
    """The parameters, if their number and JSON types are right. Null passes, as in EE2; for a
    mapping it is an empty one there."""
    params = request.params
    if request.envelope.dialect == "java":
        check_params(request.method, method.takes, params)
        return params
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
