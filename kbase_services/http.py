"""One of KBase's services over HTTP: pooled connections, time limits, retries, circuit breaker.

A service that does not answer becomes `Unavailable`, with a sentence for people that names the
service; address, cause and status go to the log. No token is ever part of an address or a log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from ee2_jobs.errors import EngineError, Unavailable
from kbase_services.breaker import Breaker, Resting

log = logging.getLogger(__name__)

# A gateway's words for a service that is not there.
_AWAY = (502, 503, 504)
_RPC_HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Patience:
    """How long and how often a service is asked. Times in s.

    attempts: for what may be repeated. wait_s, wait_max_s: the pause before attempt n is a random
    one between 0 and wait_s * 2**(n-2), at most wait_max_s. failures, rest_s: after so many in a
    row the service is left alone for so long.
    """

    connect_s: float = 2.0
    read_s: float = 10.0
    attempts: int = 3
    wait_s: float = 0.1
    wait_max_s: float = 1.0
    failures: int = 3
    rest_s: float = 5.0


class NoAnswer(Exception):
    """One attempt without an answer. again_if_read: a question may be asked once more (who waited
    for a slow service should not wait thrice); never_arrived: so may everything else."""

    def __init__(
        self, reason: str, *, again_if_read: bool = False, never_arrived: bool = False
    ) -> None:
        super().__init__(reason)
        self.again_if_read = again_if_read
        self.never_arrived = never_arrived


class ServiceError(EngineError):
    """The service has answered with an error. code: JSON-RPC's."""

    def __init__(self, service: str, code: int, message: str) -> None:
        super().__init__(f"KBase's {service} service: {message}")
        self.code = code
        self.message = message


class Service:
    """Calls of one service; one per process and event loop. Close it with `aclose`.

    name: as people know it (`Workspace`). url: its address. sleep: what waits between attempts.
    """

    def __init__(
        self,
        name: str,
        url: str,
        patience: Patience | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self._patience = p = patience or Patience()
        self._sleep = sleep
        self._ids = count(1)
        self._breaker = Breaker(NoAnswer, threshold=p.failures, rest_s=p.rest_s, clock=clock)
        self._http = httpx.AsyncClient(
            timeout=self._timeout(p.read_s),
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20),
            follow_redirects=False,
        )

    def _timeout(self, read_s: float) -> httpx.Timeout:
        connect_s = self._patience.connect_s
        return httpx.Timeout(read_s, connect=connect_s, pool=connect_s)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(
        self, path: str, *, token: str, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """GET of a path below the address, with a user's token; any answer but a gateway's 502 to
        504. Unavailable if there is none."""
        headers = {"Authorization": token, "Accept": "application/json"}
        return await self._send("GET", path, read=True, headers=headers, params=params)

    async def call(
        self,
        method: str,
        params: Any,
        *,
        token: str | None = None,
        read: bool = True,
        read_s: float | None = None,
    ) -> Any:
        """A JSON-RPC 1.1 call with one parameter, as KBase's clients make it; the only element of
        its result, None if there is none.

        read: the call changes nothing, so it may be repeated. read_s: waits longer for this answer.
        Raises ServiceError for an error answer, Unavailable for none.
        """
        body = {
            "version": "1.1", "method": method, "params": [params], "id": str(next(self._ids))
        }
        headers = _RPC_HEADERS if token is None else {**_RPC_HEADERS, "Authorization": token}
        request: dict[str, Any] = {"headers": headers, "json": body}
        if read_s is not None:
            request["timeout"] = self._timeout(read_s)
        answer = await self._send("POST", "", read=read, **request)
        content = self.json(answer)
        error = content.get("error")
        if isinstance(error, dict):
            code = error.get("code")
            message = str(error.get("message") or error.get("name") or "unknown error")
            raise ServiceError(self.name, code if isinstance(code, int) else 0, message)
        result = content.get("result")
        if answer.status_code != 200 or not isinstance(result, list | None):
            raise self.unreadable(answer)
        return result[0] if result else None

    def json(self, answer: httpx.Response) -> dict[str, Any]:
        """The JSON object of an answer; Unavailable if it holds none."""
        try:
            content = answer.json()
        except ValueError:
            raise self.unreadable(answer) from None
        if not isinstance(content, dict):
            raise self.unreadable(answer)
        return content

    def unreadable(self, answer: httpx.Response) -> Unavailable:
        """For an answer that is not the service's: something else answers in its place."""
        log.warning(
            "%s at %s: cannot read an answer with status %s", self.name, self.url,
            answer.status_code,
        )
        return Unavailable(
            f"KBase's {self.name} service gives answers that cannot be read at the moment. "
            "Please try again in a few minutes."
        )

    async def _send(
        self, verb: str, path: str, *, read: bool, **request: Any
    ) -> httpx.Response:
        p = self._patience
        attempts = AsyncRetrying(
            retry=retry_if_exception(lambda e: _again(e, read)),
            stop=stop_after_attempt(p.attempts),
            wait=wait_random_exponential(multiplier=p.wait_s, max=p.wait_max_s),
            sleep=self._sleep,
            before_sleep=self._note,
            reraise=True,
        )
        try:
            return await attempts(self._attempt, verb, path, request)
        except NoAnswer as e:
            log.warning("%s at %s does not answer: %s", self.name, self.url, e)
        except Resting:
            log.debug("%s is left alone for a while", self.name)
        raise Unavailable(
            f"KBase's {self.name} service does not answer at the moment. "
            "Please try again in a few seconds."
        )

    def _note(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.info("%s: attempt %d: %s", self.name, state.attempt_number, error)

    async def _attempt(
        self, verb: str, path: str, request: Mapping[str, Any]
    ) -> httpx.Response:
        with self._breaker.guard():
            try:
                answer = await self._http.request(verb, self.url + path, **request)
            except (httpx.ConnectError, httpx.PoolTimeout) as e:
                refused = isinstance(e, httpx.ConnectError)
                raise NoAnswer(_cause(e), again_if_read=refused, never_arrived=refused) from None
            except httpx.TimeoutException as e:
                raise NoAnswer(_cause(e)) from None
            except httpx.RequestError as e:
                raise NoAnswer(_cause(e), again_if_read=True) from None
            if answer.status_code in _AWAY:
                raise NoAnswer(f"status {answer.status_code}", again_if_read=True)
            return answer


def _cause(error: httpx.HTTPError) -> str:
    return f"{type(error).__name__} {error}".strip()


def _again(error: BaseException, read: bool) -> bool:
    return isinstance(error, NoAnswer) and (
        error.never_arrived or (read and error.again_if_read)
    )
