"""What all routes of the REST API share: who asks, errors, ETags, cursors.

A client comes with a token (a KBase token, or one of the engine's own) or with the session of a
browser that is signed in to Airflow. A browser sends its session with whatever any page of the web
has it ask, so what changes something must come from a page of this host (`writer`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.service import Service, bare_token
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput, NotAuthenticated
from ee2_jobs.identity import Caller
from ee2_jobs.queue.desk import Desk


@dataclass(frozen=True)
class Visitor:
    """Who asks. may_write: may change what the user's rights allow. browser: known by the session
    of a browser, not by a token."""

    caller: Caller
    may_write: bool = True
    browser: bool = False


Browser = Callable[[Request], Awaitable[Visitor | None]]
"""Who is signed in with the browser (a session of another system) and may use the engine."""


class Problem(BaseModel):
    """What went wrong."""

    status: int = Field(examples=[404], description="the HTTP status")
    message: str = Field(
        examples=["Cannot find job with ids: ['66f2a1b3c4d5e6f708192a3b']"],
        description="for people: what is wrong, where, what to do",
    )


class ErrorAnswer(BaseModel):
    """Every answer that is no success."""

    error: Problem


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "what was sent cannot be accepted"},
    401: {"model": ErrorAnswer, "description": "no token and no session, or not valid"},
    403: {"model": ErrorAnswer, "description": "the caller may not do this"},
    503: {"model": ErrorAnswer, "description": "something does not answer now; try again"},
}
"""For `APIRouter(responses=ERRORS)`; routes of single things add NOT_FOUND."""
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorAnswer, "description": "no such thing, or not for this caller"}
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorAnswer, "description": "its state does not allow this"}
}
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "as the client has it"}}


class Rest:
    """What routes work with. One per process.

    service: gives the Service of this process. browser: see there; None: tokens only. run_url: the
    address of a submission's DAG run, from the DAG's and the submission's id.
    """

    def __init__(
        self,
        service: Callable[[], Service],
        browser: Browser | None = None,
        run_url: Callable[[str, str], str] | None = None,
    ) -> None:
        self._service = service
        self._browser = browser
        self._run_url = run_url
        self._desk: Desk | None = None

    @property
    def service(self) -> Service:
        """The Service of this process."""
        return self._service()

    @property
    def engine(self) -> Engine:
        """The engine of this process."""
        return self._service().engine

    @property
    def desk(self) -> Desk:
        """What this process keeps of the queue."""
        if self._desk is None or self._desk.engine is not self.engine:
            self._desk = Desk(self.engine)
        return self._desk

    def run_url(self, caller: Caller) -> Callable[[str, str], str] | None:
        """The address of a submission's DAG run, for those who may look at it: a run of an app's
        DAG shows everybody's parameters and logs, so it is for administrators."""
        return self._run_url if caller.can_admin_read else None

    async def visitor(self, request: Request) -> Visitor:
        """Who asks, by token or session. NotAuthenticated; Denied for a job's own token."""
        header = request.headers.get("authorization")
        if header is None and self._browser is not None:
            visitor = await self._browser(request)
            if visitor is not None:
                return visitor
        if header is None:
            raise NotAuthenticated(
                "Nobody is signed in: sign in to Airflow as a user who may see EE2 Jobs, or send a "
                "token in the header Authorization"
            )
        caller = await self.service.identity.caller(bare_token(header))
        if caller.job is not None:
            raise Denied(f"The token of job {caller.job} may not be used here: send a user's")
        return Visitor(caller)

    async def reader(self, request: Request) -> Caller:
        """For `Depends`: who reads."""
        return (await self.visitor(request)).caller

    async def writer(self, request: Request) -> Caller:
        """For `Depends`: who changes something; Denied if the request comes by a page of another
        host, or the user may only look."""
        visitor = await self.visitor(request)
        if visitor.browser:
            self.require_own_page(request)
        if not visitor.may_write:
            raise Denied(
                f"User {visitor.caller.user} may only look: changing something needs the "
                "permission can_edit on EE2 Jobs in Airflow"
            )
        return visitor.caller

    def require_own_page(self, request: Request) -> None:
        """Denied unless a page of this host sends JSON. A page of another site cannot send that
        without this server's consent, nor claim another origin; either alone would do."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Denied("With a browser's session, the Content-Type must be application/json")
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site")
        hosts = {request.headers.get("host"), urlsplit(self.engine.settings.rpc_url).netloc}
        foreign = origin is not None and urlsplit(origin).netloc not in hosts
        if foreign or site not in (None, "same-origin") or (origin is None and site is None):
            raise Denied(
                "This request comes from a page of another site, or does not say from which: "
                "with a browser's session only pages of this host may change something"
            )


def etagged(
    request: Request, body: bytes | BaseModel | Mapping[str, Any], *,
    but: Collection[str] = ("as_of", "version"),
) -> Response:
    """A JSON answer with an ETag made from its content, or 304 if the client has the same.

    body: bytes (ready JSON) as they are: the ETag is strong. Of a model or a mapping the fields
    `but` on its top level do not count (the time of the answer): then the ETag is weak.
    """
    if isinstance(body, bytes):
        content, tag = body, f'"{_digest(body)}"'
    else:
        fields = body.model_dump(mode="json") if isinstance(body, BaseModel) else dict(body)
        content = orjson.dumps(fields)
        counted = {name: value for name, value in fields.items() if name not in but}
        tag = f'"{_digest(orjson.dumps(counted))}"'
        if len(counted) < len(fields):
            tag = f"W/{tag}"
    given = request.headers.get("if-none-match", "").split(",")
    known = {one.strip().removeprefix("W/") for one in given}
    if tag.removeprefix("W/") in known or known == {"*"}:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(content, media_type="application/json", headers={"ETag": tag})


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def encode_cursor(kind: str, *values: str | int | float | None) -> str:
    """A place in a list, for clients to hand back. kind: which list, with all that shapes it (its
    filter and order): a cursor is good for the same list only."""
    text = json.dumps([_kind(kind), *values], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(kind: str, text: str) -> list[Any]:
    """The values of a cursor (strings, numbers, nulls: as anybody may have written them, so check
    their types). InvalidInput for a cursor of another list, or what is none."""
    try:
        padded = text + "=" * (-len(text) % 4)
        found = json.loads(base64.b64decode(padded.encode(), altchars=b"-_", validate=True))
        if found[0] == _kind(kind) and not any(isinstance(v, list | dict) for v in found):
            return list(found[1:])
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    raise InvalidInput(
        "This cursor belongs to another list: leave it out to begin at the first page, or give it "
        "with the same filter, scope and sort that it came from"
    )


def _kind(kind: str) -> str:
    return hashlib.blake2b(kind.encode("utf-8", "replace"), digest_size=6).hexdigest()
