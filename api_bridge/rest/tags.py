"""A user's own star and labels on jobs: `/jobs/{id}/tags`, `/labels`."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import CONFLICT, ERRORS, NOT_FOUND, NOT_MODIFIED, Rest, etagged
from api_bridge.rest.job_models import Tags
from api_bridge.rest.log import AsAdmin
from ee2_jobs import tags
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document


class TagsOfJob(Tags):
    """What the caller has noted on a job."""

    id: str = Field(examples=["66f2a1b3c4d5e6f708192a3b"])


class NewTags(BaseModel):
    """What is to be noted, in the place of what there is."""

    model_config = ConfigDict(extra="forbid")

    star: StrictBool = Field(default=False, examples=[True])
    labels: list[str] = Field(
        default=[], max_length=tags.MAX_LABELS, examples=[["paper 2"]],
        description=f"each of 1 to {tags.MAX_LABEL_LETTERS} characters",
    )


class Label(BaseModel):
    """A label."""

    label: str = Field(examples=["paper 2"])
    jobs: int = Field(examples=[3], description="on so many jobs")


class Labels(BaseModel):
    """The caller's labels, by the alphabet."""

    labels: list[Label]


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(tags=["stars and labels"], responses=ERRORS)

    @routes.get(
        "/jobs/{job_id}/tags", response_model=TagsOfJob, responses={**NOT_FOUND, **NOT_MODIFIED},
        operation_id="tags", summary="My star and labels on a job or a batch",
    )
    async def get(
        request: Request, job_id: str, as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        return etagged(
            request, await tags.get_tags(rest.engine, caller, job_id, as_admin=as_admin)
        )

    @routes.put(
        "/jobs/{job_id}/tags", response_model=TagsOfJob, responses={**NOT_FOUND, **CONFLICT},
        operation_id="setTags", summary="Put a star and labels on a job or a batch",
        description="In the place of those there are. For the caller alone: others see nothing of "
        "it. Whoever may read the job may do so.",
    )
    async def put(
        body: NewTags, job_id: str, as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.writer),
    ) -> Document:
        return await tags.set_tags(
            rest.engine, caller, job_id, body.star, body.labels, as_admin=as_admin
        )

    @routes.get(
        "/labels", response_model=Labels, responses=NOT_MODIFIED, operation_id="labels",
        summary="My labels",
    )
    async def labels(request: Request, caller: Caller = Depends(rest.reader)) -> Response:
        found = await tags.labels_of(rest.engine.store, caller.user)
        return etagged(
            request, {"labels": [{"label": name, "jobs": count} for name, count in found]}
        )

    return routes
