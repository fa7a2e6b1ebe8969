"""One job: its page, what went in and came out, its changes of state, what can be done to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest import job_models as models
from api_bridge.rest.common import CONFLICT, ERRORS, NOT_FOUND, NOT_MODIFIED, Rest, etagged
from api_bridge.rest.log import AsAdmin
from ee2_jobs import audit, cancel, priority, retry, sharing
from ee2_jobs.actions import require_reason
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, TerminatedCode, job_oid
from ee2_jobs.page import io, job, transitions
from ee2_jobs.page.values import json_bytes
from ee2_jobs.page.words import sentence
from ee2_jobs.rights import Level, require_admin

_NEW_STATE: dict[str, Any] = {"response_model": models.NewState, "responses": CONFLICT}
CancelBody = Annotated[models.CancelBody, Body()]
_NO_REASON = models.CancelBody()


@asynccontextmanager
async def by_right(
    rest: Rest,
    caller: Caller,
    what: str,
    job_id: str,
    reason: str | None,
    as_admin: bool,
    details: str | None = None,
) -> AsyncIterator[list[str]]:
    """What is done inside is done by the caller's own right, or (`as_admin`) by an administrator's:
    then it needs the role and a reason, and stands in the audit. details: more of it, in words."""
    if not as_admin:
        yield []
        return
    require_admin(caller, Level.WRITE)
    require_reason(reason)
    async with audit.recorded(
        rest.engine.store, caller.user, f"rest.jobs.{what}", [job_id], reason, details=details
    ) as made:
        yield made


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(tags=["jobs"], responses={**ERRORS, **NOT_FOUND})
    _reads(rest, routes)
    _writes(rest, routes)
    return routes


def _reads(rest: Rest, routes: APIRouter) -> None:
    @routes.get(
        "/jobs/{job_id}",
        response_model=models.JobPage,
        responses=NOT_MODIFIED,
        operation_id="job",
        summary="The page of a job",
    )
    async def page(
        request: Request,
        job_id: str,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        return etagged(
            request,
            await job.job_page(
                rest.engine, caller, job_id, as_admin=as_admin, run_url=rest.run_url(caller),
            ),
        )

    @routes.get(
        "/jobs/{job_id}/io",
        response_model=models.JobIo,
        responses=NOT_MODIFIED,
        operation_id="jobIo",
        summary="What went into a job and what came out",
    )
    async def in_and_out(
        request: Request,
        job_id: str,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        answer = await io.job_io(rest.engine, caller, job_id, as_admin=as_admin)
        return etagged(request, json_bytes(answer))

    @routes.get(
        "/jobs/{job_id}/io/raw",
        operation_id="jobIoRaw",
        summary="All of what went in or came out, for download",
        responses={200: {"content": {"application/json": {}}}},
    )
    async def raw(
        job_id: str,
        part: Annotated[io.Part, Query()] = "output",
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        content = await io.io_part(rest.engine, caller, job_id, part, as_admin=as_admin)
        name = f"{job_id.lower()}-{part}.json"
        return Response(
            content,
            media_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @routes.get(
        "/jobs/{job_id}/transitions",
        response_model=models.Transitions,
        responses=NOT_MODIFIED,
        operation_id="jobTransitions",
        summary="The changes of a job's state, and who caused them",
    )
    async def changes(
        request: Request,
        job_id: str,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        answer = await transitions.job_transitions(rest.engine, caller, job_id, as_admin=as_admin)
        return etagged(request, json_bytes(answer))


def _writes(rest: Rest, routes: APIRouter) -> None:
    async def state(caller: Caller, job_id: str, as_admin: bool, **more: Any) -> Document:
        held = await job.load(rest.engine, caller, job_id, as_admin=as_admin)
        found = held.job
        return {
            "id": str(found["_id"]),
            "status": found["status"],
            "sentence": sentence(found),
            "priority": found.get("priority", 0),
            **more,
        }

    @routes.post("/jobs/{job_id}/cancel", operation_id="cancelJob",
                 summary="Cancel a job or a batch", **_NEW_STATE)
    async def cancel_job(
        job_id: str,
        body: CancelBody = _NO_REASON,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.writer),
    ) -> Document:
        code = TerminatedCode.BY_ADMIN if as_admin else TerminatedCode.BY_USER
        async with by_right(rest, caller, "cancel", job_id, body.reason, as_admin):
            await cancel.cancel_job(
                rest.engine, caller, job_id, terminated_code=int(code), as_admin=as_admin,
                reason=body.reason,
            )  # fmt: skip
        return await state(caller, job_id, as_admin)

    @routes.post("/jobs/{job_id}/retry", operation_id="retryJob", summary="Run a job again",
                 **_NEW_STATE)
    async def retry_job(
        job_id: str,
        body: CancelBody = _NO_REASON,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.writer),
    ) -> Document:
        async with by_right(rest, caller, "retry", job_id, body.reason, as_admin) as made:
            [answer] = await retry.retry_jobs(rest.engine, caller, [job_id], as_admin=as_admin)
            if answer.error is not None:
                raise answer.error
            made.append(str(answer.retry_id))
        return await state(caller, job_id, as_admin, retry_id=answer.retry_id)

    @routes.post("/jobs/{job_id}/priority", operation_id="prioritiseJob",
                 summary="Change the priority of a waiting job or batch", **_NEW_STATE)
    async def set_priority(
        job_id: str,
        body: Annotated[models.PriorityBody, Body()],
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.writer),
    ) -> Document:
        async with by_right(rest, caller, "priority", job_id, body.reason, as_admin):
            changed = await priority.set_priority(
                rest.engine, caller, job_id, body.priority, as_admin=as_admin
            )
        return await state(caller, job_id, as_admin, changed=changed)

    async def shared_now(caller: Caller, job_id: str, as_admin: bool) -> Document:
        found = await rest.engine.store.jobs.find_one({"_id": job_oid(job_id)}, ["user"])
        if not as_admin and (found or {}).get("user") != caller.user:
            gone = "It is no longer shared with you."
            return {"id": job_id.lower(), "status": "", "sentence": gone}
        users = await sharing.shared_with(rest.engine, caller, job_id, as_admin=as_admin)
        told = [{"user": user, "right": right} for user, right in users.items()]
        return await state(caller, job_id, as_admin, shared=told)

    @routes.post("/jobs/{job_id}/share", operation_id="shareJob",
                 summary="Let users read or manage a job that is in no workspace", **_NEW_STATE)
    async def share(
        job_id: str,
        body: Annotated[models.ShareBody, Body()],
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.writer),
    ) -> Document:
        details = f"{body.right or 'read'}: {', '.join(body.users)}"
        async with by_right(rest, caller, "share", job_id, body.reason, as_admin, details):
            await sharing.share(
                rest.engine, rest.service.identity, caller, job_id, body.users,
                right=body.right, as_admin=as_admin,
            )  # fmt: skip
        return await shared_now(caller, job_id, as_admin)

    @routes.post("/jobs/{job_id}/unshare", operation_id="unshareJob",
                 summary="Let users no longer read or manage it", **_NEW_STATE)
    async def unshare(
        job_id: str,
        body: Annotated[models.UnshareBody, Body()],
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.writer),
    ) -> Document:
        details = ", ".join(body.users)
        async with by_right(rest, caller, "unshare", job_id, body.reason, as_admin, details):
            await sharing.unshare(
                rest.engine, rest.service.identity, caller, job_id, body.users, as_admin=as_admin
            )
        return await shared_now(caller, job_id, as_admin)
