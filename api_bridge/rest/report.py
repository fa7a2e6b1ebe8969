"""What a job has made for people to look at: `/jobs/{id}/report`."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import ERRORS, NOT_FOUND, NOT_MODIFIED, Rest, etagged
from api_bridge.rest.log import AsAdmin
from ee2_jobs.artifacts import Artifacts
from ee2_jobs.identity import Caller
from ee2_jobs.page.report import job_report
from ee2_jobs.page.values import json_bytes

_ID = "66f2a1b3c4d5e6f708192a3b"
_FILE = f"{_ID}/{_ID}/report.html"


class Shown(BaseModel):
    """A report, a file or an object."""

    name: str | None = Field(examples=["report.html"])
    kind: str = Field(
        examples=["html"],
        description="report: of KBase's Workspace; html: a file for a sandboxed frame; file: for "
        "download; object: of the Workspace",
    )
    type: str | None = Field(examples=["text/html"], description="media type, or Workspace type")
    size: int | None = Field(examples=[48213], description="bytes; null: not known, or not there")
    ref: str | None = Field(examples=[f"artifact:{_FILE}"])
    href: str | None = Field(
        examples=[f"/services/ee2/artifacts/{_FILE}?frame=1"],
        description="on this host, or a page of KBase's; null: nothing to look at, or deleted",
    )


class ReportOfJob(BaseModel):
    """Reports first, then files, then objects."""

    id: str = Field(examples=[_ID])
    state: str = Field(examples=["produced"], description="not yet, produced or not produced")
    objects: list[Shown]
    more: int = Field(description="how many are not listed")


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(tags=["jobs"], responses={**ERRORS, **NOT_FOUND, **NOT_MODIFIED})
    opened: list[Artifacts] = []

    def artifacts() -> Artifacts:
        if not opened:
            opened.append(Artifacts(rest.engine.settings.artifacts_url))
        return opened[0]

    @routes.get(
        "/jobs/{job_id}/report", response_model=ReportOfJob, operation_id="jobReport",
        summary="The report, the files and the objects that a job has made",
        description="The HTML that `href` leads to may run no script, and reaches neither the "
        "session nor any other address: show it in `<iframe sandbox>`.",
    )
    async def report(
        request: Request, job_id: str, as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        answer = await job_report(
            rest.engine, artifacts(), caller, job_id, as_admin=as_admin
        )
        return etagged(request, json_bytes(answer))

    return routes
