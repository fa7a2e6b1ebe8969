"""Artifacts over HTTP: PUT, GET and HEAD of `artifacts/{submission}/{job}/{name}`.

A job's token writes below its own job and reads what its submission or its batch holds; a user's
token, or the session of a signed-in browser, reads what belongs to jobs that the user may read
(with `?as_admin=1`: that the administrator may; with `?frame=1` a page may run no script).
Bodies are streamed. Errors are plain text with an HTTP status.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from urllib.parse import quote

from bson import ObjectId
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from api_bridge.errors import TROUBLE, http_status_of, is_trouble, unexpected
from api_bridge.rest.common import Browser
from api_bridge.service import FACTS, Service, bare_token, require_live
from ee2_jobs.artifacts import Artifact, Artifacts
from ee2_jobs.checks import find_job
from ee2_jobs.errors import Denied, EngineError, NotFound
from ee2_jobs.identity import Caller
from ee2_jobs.model import truthy
from ee2_jobs.rights import Level, find_permitted

# Shown in the browser; everything else is offered for download.
_SHOWN = {
    ".html": "text/html; charset=utf-8",
    ".htm": "text/html; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
# A report is made by an app, so it is not trusted: it may run scripts and draw, but in a sandbox of
# its own that has no cookies of this site and reaches no address.
_HEADERS = {
    "Content-Security-Policy": (
        "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
        "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-cache",
    "Referrer-Policy": "no-referrer",
}
# In a frame of the job's page not even that: no script at all.
_FRAMED = {
    **_HEADERS,
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; img-src data: 'self'; style-src 'unsafe-inline'; "
        "frame-ancestors 'self'"
    ),
}


class ArtifactEndpoint:
    """The route's handler.

    service: gives the Service of this process. browser: who is signed in with the browser.
    """

    def __init__(
        self, service: Callable[[], Service], browser: Browser | None = None
    ) -> None:
        self._service = service
        self._browser = browser
        self._artifacts: Artifacts | None = None

    def _store(self) -> Artifacts:
        if self._artifacts is None:
            self._artifacts = Artifacts(self._service().engine.settings.artifacts_url)
        return self._artifacts

    async def handle(self, request: Request) -> Response:
        """One request."""
        try:
            artifact = Artifact.parse(request.path_params["path"])
            if request.method == "PUT":
                return await self._put(request, artifact)
            return await self._get(request, artifact)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as e:
            status = http_status_of(e)
            if status == 500:
                return PlainTextResponse(unexpected(e, "artifacts"), status)
            text = TROUBLE if is_trouble(e) and not isinstance(e, EngineError) else str(e)
            return PlainTextResponse(text, status)

    async def _put(self, request: Request, artifact: Artifact) -> Response:
        service = self._service()
        caller = await service.identity.caller(bare_token(request.headers.get("authorization")))
        if caller.job is None or caller.job != artifact.job:
            raise Denied(f"Only job {artifact.job} itself may store files there")
        job = await service.memory.facts(caller.job)
        if job.get("submission") != artifact.submission:
            raise Denied(f"Job {caller.job} is not of submission {artifact.submission}")
        await require_live(service, caller.job)
        await self._store().write(artifact, request.stream())
        return Response(status_code=201)

    async def _get(self, request: Request, artifact: Artifact) -> Response:
        as_admin = truthy(request.query_params.get("as_admin"))
        await self._require_read(await self._reader(request), artifact, as_admin)
        size_bytes = await self._store().size(artifact)
        framed = truthy(request.query_params.get("frame"))
        headers = {**(_FRAMED if framed else _HEADERS), **_kind(artifact.name)}
        headers["Content-Length"] = str(size_bytes)
        if request.method == "HEAD":
            return Response(headers=headers)
        return StreamingResponse(self._store().read(artifact), headers=headers)

    async def _reader(self, request: Request) -> Caller:
        header = request.headers.get("authorization")
        if header is None and self._browser is not None:
            visitor = await self._browser(request)
            if visitor is not None:
                return visitor.caller
        return await self._service().identity.caller(bare_token(header))

    async def _require_read(self, caller: Caller, artifact: Artifact, as_admin: bool) -> None:
        """NotFound unless the caller may read that artifact: a name tells nothing about the jobs
        and files of others."""
        service = self._service()
        if caller.job is not None:
            await require_live(service, caller.job)
            mine = await service.memory.facts(caller.job)
            if mine.get("submission") == artifact.submission:
                return
        if not ObjectId.is_valid(artifact.job):
            raise NotFound(f"There is no artifact '{artifact}'")
        try:
            if caller.job is None:
                job = await find_permitted(
                    service.engine, caller, artifact.job, Level.READ, as_admin=as_admin
                )
                its_own = True
            else:
                job = await find_job(service.engine.store, artifact.job, FACTS)
                its_own = job.get("by_job") == caller.job or (
                    mine.get("batch_id") is not None and mine["batch_id"] == job.get("batch_id")
                )
        except NotFound:
            its_own = False
        if not its_own or job.get("submission") != artifact.submission:
            raise NotFound(f"There is no artifact '{artifact}'")


def _kind(name: str) -> dict[str, str]:
    """Content type and disposition by the name's extension."""
    file_name = name.rsplit("/", 1)[-1]
    extension = "." + file_name.rsplit(".", 1)[-1].lower()
    shown = _SHOWN.get(extension)
    guessed = mimetypes.guess_type(file_name)[0] or "application/octet-stream"
    how = "inline" if shown else "attachment"
    return {
        "Content-Type": shown or guessed,
        "Content-Disposition": f"{how}; filename*=UTF-8''{quote(file_name, safe='')}",
    }
