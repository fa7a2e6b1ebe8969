"""What the stand-ins for KBase's servers share: a real HTTP server in a thread, with faults on
demand and a count of calls; and KBase's JSON-RPC 1.1 envelope."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send


class RpcFault(Exception):
    """A JSON-RPC error answer."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code, self.name, self.message = code, name, message


class KBaseServer:
    """A server on a port of its own; `path` is where KBase has the service.

    calls: how often each method was answered. received: requests, answered or not. fail: this many
    of the next requests are answered with fail_status. slow_s: each answer takes so long. html:
    answers are a gateway's page.
    `stop` and `start` make it dead and alive again, at the same address.
    """

    path = "/services/x"

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.received = 0
        self.tokens_seen: list[str | None] = []
        self.fail = 0
        self.fail_status = 503
        self.slow_s = 0.0
        self.html = False
        self._port = 0
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self.path}"

    @property
    def total(self) -> int:
        """Requests that were answered by the service itself."""
        return sum(self.calls.values())

    def start(self) -> None:
        config = uvicorn.Config(
            self, host="127.0.0.1", port=self._port, log_level="critical", access_log=False,
            lifespan="off",
        )
        self._server = server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert self._thread.is_alive() and time.monotonic() < deadline, "no stand-in"
            time.sleep(0.01)
        self._port = server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join(20)
            self._server = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.received += 1
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        if self.fail:
            self.fail -= 1
            self.calls["failed"] += 1
            answer = Response("<html>away</html>", self.fail_status, media_type="text/html")
        elif self.html:
            answer = Response("<html>front page</html>", 200, media_type="text/html")
        else:
            self.tokens_seen.append(request.headers.get("authorization"))
            answer = await self.answer(request)
        await answer(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        raise NotImplementedError


class KBaseRpcServer(KBaseServer):
    """A JSON-RPC 1.1 service: one address, POST, errors with status 500."""

    def methods(self) -> dict[str, Callable[[Any, str | None], Any]]:
        """`f(the one parameter, the token)` by method name; RpcFault for an error answer."""
        raise NotImplementedError

    async def answer(self, request: Request) -> Response:
        body = json.loads(await request.body())
        assert body["version"] == "1.1" and isinstance(body["params"], list), body
        method, token = body["method"], request.headers.get("authorization")
        self.calls[method] += 1
        head = {"version": "1.1", "id": body["id"]}
        try:
            call = self.methods().get(method)
            if call is None:
                raise RpcFault(-32601, "Method not found", method)
            result = call(body["params"][0], token)
        except RpcFault as e:
            error = {
                "name": e.name, "code": e.code, "message": e.message,
                "error": "a traceback\nof many lines",
            }
            return JSONResponse({**head, "error": error}, 500)
        return JSONResponse({**head, "result": None if result is None else [result]})
