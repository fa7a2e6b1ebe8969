"""The JSON-RPC envelope, from the client's side; and how long to be patient."""

from __future__ import annotations

import json
import random
import time
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from ee2_client.errors import (
    EngineError,
    MethodNotFound,
    NotAuthenticated,
    NotFound,
    Unavailable,
)

_METHOD_NOT_FOUND = -32601
_TRY_LATER = -32603
_GATEWAY = (502, 503, 504)
_NO_TOKEN = ("Authentication required", "Token validation failed")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0


def checked_url(url: str | None) -> str:
    """The address without a slash at its end; EngineError if there is none, or it is none."""
    if not url:
        raise EngineError(
            "The address of the engine is not known: give it as url, or set EE2_URL, for example "
            "to http://127.0.0.1:8080/services/ee2"
        )
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EngineError(f"'{url}' is no address of an engine: it must begin with http(s)://")
    return url.rstrip("/")


def is_local(url: str) -> bool:
    """Whether the address is this machine's: then no proxy is asked."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def call_of(method: str, params: tuple[Any, ...]) -> bytes:
    """The body of a call. `method` without a module is execution_engine2's."""
    name = method if "." in method else f"execution_engine2.{method}"
    call = {"version": "1.1", "id": str(uuid4().int)[:17], "method": name, "params": list(params)}
    return json.dumps(call).encode()


def result_of(url: str, response: httpx.Response) -> Any:
    """The value in an answer; the error that it is, otherwise."""
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not ("result" in answer or answer.get("error")):
        status = response.status_code
        if status in _GATEWAY:
            raise Unavailable(f"The engine at {url} cannot answer now (HTTP status {status})")
        raise EngineError(
            f"{url} answered with HTTP status {status} and no JSON-RPC: is this the address of an "
            "EE2? If it is, look at the server's log"
        )
    if answer.get("error"):
        raise _error(answer["error"])
    result = answer["result"]
    return result[0] if isinstance(result, list) and len(result) == 1 else result or None


def _error(error: Any) -> EngineError:
    if not isinstance(error, dict):
        return EngineError(str(error))
    code, name = error.get("code"), str(error.get("name") or "")
    message = str(error.get("message") or name or "The server gave no reason")
    kind: type[EngineError] = EngineError
    if code == _METHOD_NOT_FOUND:
        kind = MethodNotFound
    elif code == _TRY_LATER:
        kind = Unavailable
    elif message.startswith(_NO_TOKEN):
        kind = NotAuthenticated
    elif message.startswith("Cannot find job with ids"):
        kind = NotFound
    return kind(message, code, name)


def no_answer(url: str, error: httpx.TransportError, hint: str) -> Unavailable:
    """The error for a call without an answer."""
    early = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    what = str(error) or type(error).__name__
    text = f"The engine at {url} does not answer ({what})"
    return Unavailable(f"{text}. {hint}" if hint else text, arrived=not early)


class Patience:
    """The pauses between repetitions of a call: longer and longer, for so many seconds at most from
    the first failure on. (A call that waits may have taken longer than that before it failed.)"""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._end: float | None = None
        self._pause_s = _FIRST_PAUSE_S

    def pause_s(self) -> float | None:
        """How long to wait before the next try; None to give up."""
        if self._end is None:
            self._end = time.monotonic() + self._patience_s
        pause_s = self._pause_s * random.uniform(0.5, 1)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        return None if time.monotonic() + pause_s > self._end else pause_s
