"""`GET /jobs`: lists of jobs by cursor, and what is counted of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import (
    ERRORS,
    NOT_FOUND,
    NOT_MODIFIED,
    Rest,
    decode_cursor,
    encode_cursor,
    etagged,
)
from ee2_jobs.browse import counts
from ee2_jobs.browse.lists import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Listing,
    open_list,
    page,
    place_of,
    values_of,
)
from ee2_jobs.browse.query import Place
from ee2_jobs.browse.scope import SCOPES
from ee2_jobs.browse.words import WORDS
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.model import now_s, to_ms

_ID = "66f2a1b3c4d5e6f708192a3b"


class Row(BaseModel):
    """A job in a list. What is not known, or not so, is left out. Times in ms since the epoch."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(examples=[_ID])
    status: str = Field(description="of a batch: what it does as a whole", examples=["running"])
    app_id: str | None = Field(default=None, examples=["kb_uploadmethods/import_fastq"])
    app_title: str | None = Field(
        default=None, description="of apps of the local catalog; KBase's Catalog knows no titles",
        examples=["Align paired reads with bowtie2"],
    )
    method: str | None = Field(default=None, examples=["kb_uploadmethods.import_fastq"])
    user: str = Field(examples=["ana"])
    ws_id: int | None = Field(default=None, description="workspace", examples=[48213])
    narrative: str | None = Field(
        default=None, description="the workspace's title, if the caller may read it"
    )
    batch_id: str | None = Field(default=None, description="the batch it is a child of")
    index: int | None = Field(default=None, description="a child's place in its batch, from 0")
    is_batch: bool | None = Field(default=None, description="true for a batch")
    children: dict[str, int] | None = Field(
        default=None, description="of a batch: how many children are in each state",
        examples=[{"completed": 480, "error": 12, "running": 8}],
    )
    retry_of: str | None = Field(default=None, description="the first attempt")
    attempt: int | None = Field(default=None, description="which attempt this is, from 2 on")
    superseded: bool | None = Field(default=None, description="true if there is a newer attempt")
    group: str | None = Field(default=None, description="client group", examples=["njs"])
    node: str | None = Field(default=None, description="host of the newest run")
    created: int = Field(examples=[1727185950000])
    queued: int | None = None
    running: int | None = None
    finished: int | None = None
    wait_ms: int | None = Field(default=None, description="from submission to start")
    run_ms: int | None = Field(default=None, description="from start to end")
    cpu_ms: int | None = Field(default=None, description="of the processors, where it was measured")
    error_code: int | None = Field(default=None, description="why it failed")
    error_line: str | None = Field(default=None, description="the message's first line, cut")
    ended_by: str | None = Field(default=None, description="who cancelled it", examples=["user"])
    can_cancel: bool | None = Field(default=None, description="true if the caller may cancel it")
    can_retry: bool | None = Field(default=None, description="true if the caller may retry it")
    limit_at: int | None = Field(default=None, description="when it will be ended")
    role: str | None = Field(
        default=None, description="split or aggregate, for those steps of a batch"
    )
    label: str | None = Field(
        default=None, description="of a batch's children, listed with `batch`: what differs "
        "between their inputs", examples=["reads=48213/5/1, k=31"],
    )
    star: bool | None = Field(default=None, description="true if the caller has put one on it")
    labels: list[str] | None = Field(
        default=None, description="those that the caller has put on it", examples=[["paper 2"]]
    )
    scheduler_id: str | None = Field(default=None, description="in the scope all")
    limit_s: float | None = Field(
        default=None, description="how long it may run; in the scope all"
    )


class CountOf(BaseModel):
    """How many rows the whole list has. exact false: more than that, or nobody counted."""

    value: int = Field(examples=[1000])
    exact: bool


class JobList(BaseModel):
    """A page of a list."""

    items: list[Row]
    next: str | None = Field(description="cursor of the page after this, if there is one")
    prev: str | None = Field(description="cursor of the page before this, if there is one")
    count: CountOf | None = Field(description="with the first page only; at most 1,000")
    as_of: int = Field(description="the server's time, ms", examples=[1727185950123])
    version: str = Field(description="for changes since", examples=["1727185950:44"])


class Counts(BaseModel):
    """How many jobs there are, each at most 1,000; a batch counts once."""

    running: CountOf
    queued: CountOf
    preparing: CountOf = Field(description="created or estimating")
    finished_today: CountOf | None = Field(description="null for scope readable, as the next")
    failed_today: CountOf | None
    today: int = Field(description="when the day began, ms")
    as_of: int
    version: str


class Facets(BaseModel):
    """How many jobs of a filter have each value, among the newest `counted`."""

    counted: CountOf
    status: dict[str, int]
    group: dict[str, int]
    app: dict[str, int]
    user: dict[str, int]
    as_of: int


class Group(BaseModel):
    """The jobs of one workspace. title is null if it has none, is deleted, or cannot be told the
    caller."""

    ws_id: int | None = Field(description="null: jobs in no workspace")
    title: str | None
    owner: str | None
    deleted: bool = Field(examples=[False], description="true: known to be deleted")
    counts: dict[str, int] = Field(examples=[{"running": 2, "queued": 5}])


class Groups(BaseModel):
    """Workspaces with jobs, the one with the newest first."""

    items: list[Group]
    more: bool = Field(description="there are more than are told")
    as_of: int
    version: str


_DESCRIBED = {
    "status": "states with commas; live: all that have not ended",
    "app": "module/app, or module.method",
    "module": "a module's name",
    "user": "the owner",
    "ws": "number of a workspace",
    "group": "client group",
    "node": "host of the newest run",
    "batch": "id of a batch: list its children",
    "error": "error code, 0 to 6",
    "failure": "what failed children say, as GET /batches/{id}/errors groups them",
    "ended_by": "who cancelled: user, admin, automation, batch, server",
    "from": "from this time on: ms, or ISO",
    "to": "before this time",
    "min_wait": "waited at least: seconds, or 90s, 10m, 2h, 1d",
    "min_run": "ran at least",
    "q": "start of an id, part of an app's name or of a narrative's title",
    "star": "true: those on which the caller has put a star",
    "label": "those on which the caller has put this label",
    "scheduler": "id at HTCondor or Slurm; administrators, with scope=all",
    "runs": "true: each run by itself, as the statistics count them",
}
WORD_PARAMETERS: dict[str, Any] = {
    "parameters": [
        {"name": word, "in": "query", "description": _DESCRIBED[word], "schema": {"type": "string"}}
        for word in WORDS
    ]
}
"""For `openapi_extra`: the filter words. They are read from the request as they are."""
SORT_WORDS = "created, -created, finished, -finished; or index: a batch's children as listed"
SCOPE: Any = Query("mine", description=f"whose jobs: {', '.join(SCOPES)}")


def words_of(request: Request) -> Mapping[str, str]:
    """The filter words of a request. One that is given several times is taken as a list."""
    given = request.query_params
    return {word: ",".join(given.getlist(word)) for word in WORDS if word in given}


async def list_of(
    rest: Rest, request: Request, caller: Caller, scope: str, sort: str | None = None,
    attempts: bool = False,
) -> Listing:
    """The list that a request describes."""
    return await open_list(
        rest.engine, caller, scope=scope, words=words_of(request), sort=sort, attempts=attempts
    )


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(tags=["lists"], responses={**ERRORS, **NOT_FOUND, **NOT_MODIFIED})

    @routes.get(
        "/jobs", response_model=JobList, operation_id="listJobs", summary="A list of jobs",
        response_model_exclude_unset=True, openapi_extra=WORD_PARAMETERS,
    )
    async def jobs(
        request: Request,
        caller: Caller = Depends(rest.reader),
        scope: str = SCOPE,
        sort: str | None = Query(None, description=SORT_WORDS),
        limit: int = Query(DEFAULT_LIMIT, description=f"rows at most, 1 to {MAX_LIMIT}"),
        cursor: str | None = Query(None, description="next or prev of an earlier page"),
        attempts: bool = Query(False, description="also attempts that were superseded"),
    ) -> Response:
        # What changes while we read is told again by the changes since.
        version, as_of = rest.service.feed.version, to_ms(now_s())
        listing = await list_of(rest, request, caller, scope, sort, attempts)
        place = place_of(decode_cursor(listing.name, cursor)) if cursor else None
        found = await page(listing, limit=limit, place=place)
        count = found.count
        return etagged(
            request,
            {
                "items": found.items,
                "next": _cursor(listing, found.next),
                "prev": _cursor(listing, found.prev),
                "count": {"value": count.value, "exact": count.exact} if count else None,
                "as_of": as_of,
                "version": version,
            },
        )

    @routes.get(
        "/jobs/counts", response_model=Counts, operation_id="countJobs",
        summary="How many jobs run, wait, and have ended today",
    )
    async def how_many(
        request: Request,
        caller: Caller = Depends(rest.reader),
        scope: str = SCOPE,
        tz: str = Query("UTC", description="time zone of today", examples=["Europe/Berlin"]),
    ) -> Response:
        version = rest.service.feed.version
        found = await counts.counts(rest.engine, caller, scope, tz)
        return etagged(request, {**found, "as_of": to_ms(now_s()), "version": version})

    @routes.get(
        "/jobs/facets", response_model=Facets, operation_id="facetJobs",
        summary="What a filter's jobs are made of; for administrators",
        openapi_extra=WORD_PARAMETERS,
    )
    async def facets(request: Request, caller: Caller = Depends(rest.reader)) -> Response:
        listing = await list_of(rest, request, caller, "all")
        return etagged(request, {**await counts.facets(listing), "as_of": to_ms(now_s())})

    @routes.get(
        "/jobs/groups", response_model=Groups, operation_id="groupJobs",
        summary="Jobs by workspace", openapi_extra=WORD_PARAMETERS,
    )
    async def groups(
        request: Request,
        caller: Caller = Depends(rest.reader),
        by: str = Query("ws", description="only ws so far"),
        scope: str = Query("readable", description=f"whose jobs: {', '.join(SCOPES)}"),
    ) -> Response:
        if by != "ws":
            raise InvalidInput("by must be ws: jobs are grouped by workspace")
        version = rest.service.feed.version
        words = {"status": "live", **words_of(request)}
        listing = await open_list(rest.engine, caller, scope=scope, words=words)
        found = await counts.groups(listing)
        return etagged(request, {**found, "as_of": to_ms(now_s()), "version": version})

    return routes


def _cursor(listing: Listing, place: Place | None) -> str | None:
    return encode_cursor(listing.name, *values_of(place)) if place else None
