"""AWE's REST resources that a client of KBase's used, below `/services/awe-api`.

Every answer is `{status, data, error}` with the HTTP status in `status` (lists add `limit`,
`offset`, `total_count`). Errors have AWE's words first, as its client compares some of them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive

from api_bridge.errors import TROUBLE, is_trouble, unexpected
from api_bridge.service import Service
from ee2_jobs import audit
from ee2_jobs.errors import Denied, EngineError, NotAuthenticated, NotFound, Unavailable
from ee2_jobs.identity import Caller
from ee2_jobs.legacy import awe_jobs
from ee2_jobs.rights import Level

AWE_VERBS = ("GET", "POST", "PUT", "DELETE", "OPTIONS")
_ANY_ORIGIN = {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}
_CALLBACK = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.]{0,99}")
_NO_FILTERS = frozenset(
    "query active suspend registered limit offset order direction method always200 callback"
    .split()
)
_RESOURCES = ("job", "queue")
_ELSEWHERE = ("work", "client", "cgroup", "logger", "awf", "workflow_instances")
_MAX_OFFSET = 100_000


class AweError(Exception):
    """An error with its HTTP status and AWE's text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True)
class Answer:
    """What goes into the envelope."""

    data: Any
    page: dict[str, int] = field(default_factory=dict)


class AweEndpoint:
    """The handler of all of AWE's resources. service: gives the Service of this process."""

    def __init__(self, service: Callable[[], Service]) -> None:
        self._service = service

    async def handle(self, request: Request) -> Response:
        """One request. `?method=` overrides the verb, `?always200` the status, `?callback=` asks
        for a script that calls a function with the answer."""
        status, data, error = 200, None, None
        page: dict[str, int] = {}
        try:
            answer = await self._route(request)
            if isinstance(answer, Response):
                return answer
            data, page = answer.data, answer.page
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as e:
            status, text = _error_of(e)
            error = [text]
        body = orjson.dumps({"status": status, "data": data, "error": error, **page})
        if "always200" in request.query_params:
            status = 200
        callback = request.query_params.get("callback")
        if callback is not None and _CALLBACK.fullmatch(callback):
            script = b"/**/" + callback.encode() + b"(" + body + b");"
            return Response(script, status, _ANY_ORIGIN, "application/javascript")
        return Response(body, status, _ANY_ORIGIN, "application/json")

    async def _route(self, request: Request) -> Answer | Response:
        parts = [part for part in request.path_params.get("path", "").split("/") if part]
        verb = request.query_params.get("method", request.method).upper()
        if verb == "OPTIONS":
            return Response(
                headers={
                    **_ANY_ORIGIN,
                    "Access-Control-Allow-Headers": request.headers.get(
                        "access-control-request-headers", "authorization"
                    ),
                    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
                }
            )
        if not parts and verb == "GET":
            return self._description(request)
        name = parts[0] if parts else ""
        if name in _ELSEWHERE:
            raise AweError(
                501,
                f"Not Implemented: {name} is not offered here. Jobs run on HTCondor, which has no "
                "workers that AWE's clients could speak for",
            )
        if name not in _RESOURCES:
            raise AweError(404, "Not Found")
        known: dict[tuple[str, str, int], Callable[..., Awaitable[Answer | Response]]] = {
            ("queue", "GET", 1): self._queue,
            ("job", "POST", 1): self._submit,
            ("job", "GET", 1): self._list,
            ("job", "GET", 2): self._get,
            ("job", "PUT", 2): self._change,
            ("job", "DELETE", 2): self._delete,
            ("job", "GET", 3): self._access,
        }
        handler = known.get((name, verb, len(parts)))
        if handler is None:
            what = "/".join(parts[:1] + ["…"] * (len(parts) - 1))
            raise AweError(501, f"Not Implemented: {verb} {what} is not offered here")
        return await handler(request, *parts[1:])

    def _description(self, request: Request) -> Response:
        """Without the envelope, as AWE had it."""
        settings = self._service().engine.settings
        nobody = {"read": False, "write": False, "delete": False}
        described = {
            "id": "AWE",
            "type": "AWE",
            "title": "EE2 on Airflow, as AWE",
            "version": settings.service_version,
            "url": settings.rpc_url.rsplit("/", 1)[0] + "/awe-api/",
            "contact": "",
            "resources": list(_RESOURCES),
            "info_indexes": ["user", "name", "project", "pipeline", "clientgroups"],
            "auth": ["OAuth"],
            "anonymous_permissions": nobody,
            "queue_status": "running",
        }
        return Response(orjson.dumps(described), 200, _ANY_ORIGIN, "application/json")

    async def _caller(self, request: Request) -> Caller:
        header = request.headers.get("authorization")
        if header is None:
            raise AweError(401, "No Authorization")
        words = header.split()
        if len(words) != 2:
            raise AweError(401, "Invalid Auth Header: it must be a scheme word and a token")
        try:
            caller = await self._service().identity.caller(words[1])
        except NotAuthenticated:
            raise AweError(401, "User Unauthorized") from None
        if caller.job is not None:
            raise AweError(401, "User Unauthorized: the token of a job is not for this")
        return caller

    async def _submit(self, request: Request) -> Answer:
        caller = await self._caller(request)
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise AweError(400, "No job file is submitted")
        limit_bytes = self._service().engine.settings.max_body_mb * 1_000_000
        limited = Request(request.scope, _up_to(limit_bytes, request.receive))
        async with limited.form(max_files=5, max_fields=20) as form:
            part = form.get("upload")
            if not isinstance(part, UploadFile):
                raise AweError(400, "No job script or awf is submitted")
            content = await part.read()
        try:
            doc = orjson.loads(content)
        except orjson.JSONDecodeError as e:
            raise AweError(400, f"The job document is not JSON: {e}") from None
        return Answer(await awe_jobs.submit_document(self._service().engine, caller, doc))

    async def _list(self, request: Request) -> Answer:
        caller = await self._caller(request)
        query = request.query_params
        wanted: dict[str, list[str]] = {}
        if "query" in query:
            wanted = {key: query.getlist(key) for key in query if key not in _NO_FILTERS}
        groups = {
            "active": "queuing,queued,in-progress,init",
            "suspend": "suspend",
            "registered": "queuing,queued,in-progress,init,suspend",
        }
        for flag, states in groups.items():
            if flag in query:
                wanted["state"] = [states]
        limit = _number(query.get("limit"), "limit", 25, awe_jobs.MOST_JOBS)
        offset = _number(query.get("offset"), "offset", 0, _MAX_OFFSET)
        jobs, total = await awe_jobs.listing(
            self._service().engine,
            caller,
            wanted,
            limit=limit,
            offset=offset,
            order=query.get("order") or "info.submittime",
            ascending=query.get("direction") == "asc",
        )
        return Answer(jobs, {"limit": limit, "offset": offset, "total_count": total})

    async def _get(self, request: Request, job: str) -> Answer:
        engine = self._service().engine
        found = await awe_jobs.find(engine, await self._caller(request), job)
        if "position" in request.query_params:
            return Answer({"position": await awe_jobs.position(engine, found.job)})
        if "report" in request.query_params:
            return Answer(found.report())
        return Answer(found.document())

    async def _access(self, request: Request, job: str, what: str) -> Answer:
        if what != "acl":
            raise AweError(404, "Not Found")
        caller = await self._caller(request)
        found = await awe_jobs.find(self._service().engine, caller, job)
        owner = found.job["user"]
        readers = [owner, *found.job.get("shared", ())]
        if owner != caller.user and not caller.can_admin_read:
            readers = [owner]
        return Answer({"owner": owner, "read": readers, "write": [owner], "delete": [owner]})

    async def _change(self, request: Request, job: str) -> Answer:
        engine, query = self._service().engine, request.query_params
        caller = await self._caller(request)
        if "clientgroup" in query:
            raise AweError(
                501,
                "Not Implemented: a waiting job's client group cannot be changed here. Delete the "
                "job and submit it again",
            )
        found = await awe_jobs.find(engine, caller, job)

        async def change(as_admin: bool) -> str:
            if "suspend" in query:
                await awe_jobs.suspend(engine, found.job)
                return f"job suspended: {job}"
            if "resume" in query:
                await awe_jobs.resume(engine, caller, found.job, as_admin=as_admin)
                return f"job resumed: {job}"
            if "priority" in query:
                await awe_jobs.reprioritise(
                    engine, caller, found.job, query["priority"], as_admin=as_admin
                )
                return f"job priority updated: {job} to {query['priority']}"
            raise AweError(
                501, "Not Implemented: a job can be told suspend, resume and priority=N here"
            )

        told = next((word for word in ("suspend", "resume", "priority") if word in query), "?")
        return Answer(await self._as_allowed(caller, found, f"AWE PUT {told}", change))

    async def _delete(self, request: Request, job: str) -> Answer:
        engine = self._service().engine
        caller = await self._caller(request)
        found = await awe_jobs.find(engine, caller, job)
        full = "full" in request.query_params

        async def delete(as_admin: bool) -> str:
            await awe_jobs.delete(engine, caller, found, full=full, as_admin=as_admin)
            return f"job deleted: {job}"

        # Hiding a job from the others takes more than cancelling it.
        level = Level.DELETE if full else Level.MANAGE
        return Answer(await self._as_allowed(caller, found, "AWE DELETE", delete, level))

    async def _as_allowed(
        self,
        caller: Caller,
        found: awe_jobs.Found,
        what: str,
        act: Callable[[bool], Awaitable[str]],
        level: Level = Level.MANAGE,
    ) -> str:
        """Do it if the caller may; what an administrator does to others' jobs is recorded."""
        engine = self._service().engine
        as_admin = await awe_jobs.by_admin(engine, caller, found, level)
        if not as_admin:
            return await act(False)
        target = [str(found.job["_id"])]
        entry = await audit.begin(engine.store, caller.user, what, target, None)
        try:
            text = await act(True)
        except Exception as e:
            await audit.end(engine.store, entry, error=str(e))
            raise
        await audit.end(engine.store, entry)
        return text

    async def _queue(self, request: Request) -> Answer:
        counts = await awe_jobs.counts(self._service().engine)
        if "json" in request.query_params:
            return Answer(counts)
        lines = ["+++++AWE server queue status+++++"]
        for kind, states in counts.items():
            lines.append(f"total {kind}{' ' * (12 - len(kind))}: {states['total']}")
            lines += [f"    {name:14}: {n}" for name, n in states.items() if name != "total"]
        return Answer("\n".join(lines) + "\n")


def _up_to(limit_bytes: int, receive: Receive) -> Receive:
    """What brings a request's body, and refuses what goes over the limit as it comes: a body in
    chunks does not say how long it will be."""
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit_bytes:
            raise AweError(400, f"The request is larger than {limit_bytes / 1e6:g} MB")
        return message

    return limited


def _number(text: str | None, name: str, default: int, most: int) -> int:
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise AweError(400, f"{name} must be a whole number, not '{text}'")
    return min(int(text), most)


def _error_of(error: Exception) -> tuple[int, str]:
    """HTTP status and text; AWE had 400 for nearly everything."""
    if isinstance(error, AweError):
        return error.status, error.text
    if is_trouble(error):
        return 503, str(error) if isinstance(error, Unavailable) else TROUBLE
    if isinstance(error, NotFound):
        return 404, "Not Found"
    if isinstance(error, Denied | NotAuthenticated):
        return 401, f"User Unauthorized: {error}"
    if isinstance(error, EngineError):
        return 400, str(error)
    status = getattr(error, "status_code", None)  # Starlette's, for a multipart that is none
    if status == 400:
        return 400, str(getattr(error, "detail", error))
    return 500, unexpected(error, "awe")

