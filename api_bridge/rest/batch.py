"""One batch: its summary, its grid, why children failed, and its children as a table."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api_bridge.rest.common import ERRORS, NOT_FOUND, NOT_MODIFIED, Rest, etagged
from api_bridge.rest.job_models import AppOfJob, Shared, Tags
from api_bridge.rest.log import AsAdmin
from ee2_jobs.identity import Caller
from ee2_jobs.page import batch, children
from ee2_jobs.page.values import json_bytes

_JOB_ID = "66f2a1b3c4d5e6f708192a3b"


class Stage(BaseModel):
    """A step of the batch."""

    stage: str = Field(examples=["split"], description="split, parts or aggregate")
    status: str | None = Field(examples=["completed"], description="null: not made yet")
    job_id: str | None = Field(description="of split and aggregate, which are one job each")
    counts: dict[str, int] = Field(examples=[{"completed": 1}], description="its jobs by state")
    first_queued: int | None = Field(
        examples=[1727185951023],
        description="ms; of all attempts, some seconds old, as the next; null: not yet",
    )
    first_running: int | None = Field(examples=[1727185954123])
    last_finished: int | None = Field(
        examples=[1727185990123], description="more may come: see `counts`"
    )


class NarrativeOfBatch(BaseModel):
    """Where it was started."""

    ws_id: int | None = Field(examples=[48213])
    title: str | None
    href: str | None = Field(examples=["https://narrative.kbase.us/narrative/48213"])


class CanBatch(BaseModel):
    """What the caller may do with it now."""

    cancel: bool
    retry: bool
    share: bool


class BatchPage(BaseModel):
    """The summary of a batch."""

    id: str = Field(examples=[_JOB_ID])
    name: str = Field(examples=["Import reads × 500"])
    app: AppOfJob = Field(description="of the children")
    owner: str = Field(examples=["ana"])
    narrative: NarrativeOfBatch
    status: str = Field(examples=["created"], description="of its own record: see `end`")
    end: str | None = Field(
        description="completed, error or terminated once all of it has ended; null before"
    )
    ended_by: str | None
    reason: str | None
    children: int = Field(examples=[500])
    counts: dict[str, int] = Field(examples=[{"running": 8, "completed": 480, "error": 12}])
    percent: float | None = Field(examples=[98.4], description="of the children have ended")
    created: int
    finished: int | None
    elapsed_ms: int
    expected_end: list[int] | None = Field(
        examples=[[1727187000000, 1727190000000]],
        description="from, to, ms; null: it has ended, or it cannot be told; some seconds old",
    )
    ends_share: float | None = Field(
        examples=[0.79], description="of such ranges that held, 0 to 1; null: too few are known"
    )
    cpu_hours: float = Field(description="used so far by what has ended, all attempts; some s old")
    run_hours: float
    stages: list[Stage]
    window: int | None = Field(description="at most so many of its jobs at a time")
    can: CanBatch
    shared: Shared | None = Field(
        default=None, description="with its jobs; for its owner and administrators"
    )
    run_url: str | None = Field(description="its run in Airflow")
    tags: Tags
    as_of: int


class Grid(BaseModel):
    """The states of all children, three bits each: 0 created, 1 estimating, 2 queued, 3 running,
    4 completed, 5 error, 6 terminated, 7 another. Eight in three bytes, the first in the highest
    bits; in base64."""

    id: str = Field(examples=[_JOB_ID])
    children: int = Field(examples=[10000])
    states: str = Field(examples=["kkkk"])


class GridIds(BaseModel):
    """The ids of some children, in the order of the grid."""

    id: str = Field(examples=[_JOB_ID])
    from_: int = Field(alias="from", examples=[0])
    ids: list[str]


class Failure(BaseModel):
    """Children that failed with the same."""

    message: str = Field(
        examples=["staging file ‹n› is empty"], description="numbers and ids are taken out"
    )
    sample: str | None = Field(examples=["staging file 17 is empty"])
    count: int = Field(examples=[9])
    code: int | None
    code_words: str
    ids: list[str] = Field(description="the first few")


class Failures(BaseModel):
    """Why children failed, the most frequent first."""

    id: str = Field(examples=[_JOB_ID])
    failed: int = Field(examples=[12])
    groups: list[Failure]
    more: int = Field(description="how many groups are not listed")


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(
        prefix="/batches/{batch_id}", tags=["batches"], responses={**ERRORS, **NOT_FOUND}
    )

    @routes.get(
        "",
        response_model=BatchPage,
        responses=NOT_MODIFIED,
        operation_id="batch",
        summary="How a batch stands",
    )
    async def page(
        request: Request,
        batch_id: str,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        return etagged(
            request,
            await batch.batch_page(
                rest.engine, caller, batch_id, as_admin=as_admin, run_url=rest.run_url(caller),
                figures=await rest.desk.figures.current(),
            ),  # fmt: skip
        )

    @routes.get(
        "/grid",
        response_model=Grid,
        responses=NOT_MODIFIED,
        operation_id="batchGrid",
        summary="The states of all children",
    )
    async def grid(
        request: Request,
        batch_id: str,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        answer = await batch.batch_grid(rest.engine, caller, batch_id, as_admin=as_admin)
        return etagged(request, json_bytes(answer))

    @routes.get(
        "/grid/ids",
        response_model=GridIds,
        responses=NOT_MODIFIED,
        operation_id="batchGridIds",
        summary="The ids of children, by their places in the grid",
    )
    async def grid_ids(
        request: Request,
        batch_id: str,
        start: Annotated[int, Query(alias="from", ge=0, le=2**31)] = 0,
        limit: Annotated[int, Query(ge=1, le=batch.MAX_IDS)] = batch.MAX_IDS,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        answer = await batch.grid_ids(
            rest.engine, caller, batch_id, start=start, limit=limit, as_admin=as_admin
        )
        return etagged(request, json_bytes(answer))

    @routes.get(
        "/errors",
        response_model=Failures,
        responses=NOT_MODIFIED,
        operation_id="batchErrors",
        summary="Why children failed",
    )
    async def errors(
        request: Request,
        batch_id: str,
        as_admin: AsAdmin = False,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        answer = await children.failures(rest.engine, caller, batch_id, as_admin=as_admin)
        return etagged(request, json_bytes(answer))

    @routes.get(
        "/table.csv",
        response_class=StreamingResponse,
        operation_id="batchTable",
        summary="The children as a table",
        responses={200: {"content": {"text/csv": {}}}},
    )
    async def table(
        batch_id: str, as_admin: AsAdmin = False, caller: Caller = Depends(rest.reader)
    ) -> Response:
        parts = await children.open_table(rest.engine, caller, batch_id, as_admin=as_admin)
        name = f"{batch_id.lower()}.csv"
        return StreamingResponse(
            parts,
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    return routes
