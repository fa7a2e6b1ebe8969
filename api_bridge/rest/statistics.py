"""`GET /stats`, `/stats/apps`, `/apps/{module}/{method}/percentiles`: how jobs went, over time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import ERRORS, NOT_MODIFIED, Rest, etagged
from ee2_jobs.identity import Caller
from ee2_jobs.statistics import percentiles, report
from ee2_jobs.statistics.report import milliseconds

_From = Annotated[
    str | None,
    Query(alias="from", description="first day, YYYY-MM-DD, UTC", examples=["2026-01-01"]),
]
_To = Annotated[
    str | None,
    Query(alias="to", description="last day, included; today if left out", examples=["2026-01-31"]),
]
_Scope = Annotated[
    report.Scope, Query(description="the caller's jobs; all jobs: for administrators")
]
_Name = Annotated[str, Path(max_length=200)]
_Time = Annotated[
    int | None, Query(ge=0, le=2**53, description="to rank one job among the runs, ms")
]
_TIME = "0 to 1: the share of the runs that took less"


class Totals(BaseModel):
    """Runs and what became of them. Times in ms, summed."""

    runs: int = Field(examples=[120], description="every attempt is one; parents of batches none")
    completed: int = Field(examples=[100])
    error: int = Field(examples=[15])
    terminated: int = Field(examples=[5])
    success: float | None = Field(examples=[0.8333], description="0 to 1; null without runs")
    wait_ms: int = Field(description="from submission to the start")
    wall_ms: int = Field(description="from the start to the end")
    cpu_ms: int = Field(description="of the processors, where it was measured")


class Bar(Totals):
    """One day, week (from Monday) or month."""

    start: str = Field(examples=["2026-01-05"], description="its first day in the span")


class Reason(BaseModel):
    """Why runs did not complete."""

    status: str = Field(examples=["error"])
    code: int | None = Field(examples=[1], description="EE2's error_code or terminated_code")
    runs: int = Field(examples=[12])


class Stats(BaseModel):
    """Statistics of a span of UTC days."""

    first: str = Field(examples=["2026-01-01"])
    last: str = Field(examples=["2026-01-31"])
    by: str = Field(examples=["day"])
    zone: str = Field("UTC", description="jobs are counted by UTC days; no other zone can be told")
    as_of: int | None = Field(
        examples=[1727185950123],
        description="jobs that ended before this are counted, ms; null: none are yet",
    )
    totals: Totals
    previous: Totals = Field(description="of as many days just before")
    series: list[Bar]
    reasons: list[Reason] = Field(description="the most frequent first")


class AppStats(Totals):
    """An app. Medians and 90th percentiles are right to a tenth; null where no run has started."""

    app: str = Field(examples=["kb_Bowtie2/align_reads"])
    wait_p50_ms: int | None
    wait_p90_ms: int | None
    run_p50_ms: int | None
    run_p90_ms: int | None
    last_used: int = Field(description="when the newest run in the span ended, ms")


class AppTable(BaseModel):
    """The apps of a span, the most used first."""

    first: str = Field(examples=["2026-01-01"])
    last: str = Field(examples=["2026-01-31"])
    zone: str = "UTC"
    as_of: int | None
    apps: list[AppStats]


class Share(BaseModel):
    """A point of the distribution."""

    share: float = Field(examples=[0.5], description="of the runs that took no longer")
    wait_ms: int = Field(examples=[4000])
    run_ms: int = Field(examples=[310000])


class Percentiles(BaseModel):
    """How the newest completed runs of an app waited and ran. No names, no ids."""

    app: str = Field(examples=["kb_Bowtie2/align_reads"])
    runs: int = Field(examples=[200], description="how many runs these figures are of")
    points: list[Share]
    wait_rank: float | None = Field(description=f"of the given wait_ms; {_TIME}")
    run_rank: float | None = Field(description=f"of the given run_ms; {_TIME}")


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(tags=["statistics"], responses={**ERRORS, **NOT_MODIFIED})

    @routes.get(
        "/stats", response_model=Stats, operation_id="stats", summary="How jobs went, over time"
    )
    async def stats(
        request: Request,
        first: _From = None,
        last: _To = None,
        by: Annotated[report.Step, Query(description="the length of a bar")] = "day",
        scope: _Scope = "mine",
        app: Annotated[
            str | None, Query(max_length=400, examples=["kb_Bowtie2/align_reads"])
        ] = None,
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        span = report.parse_span(first, last)
        found = await report.report(
            rest.engine, caller, span, by=by, scope=scope, app=app or None
        )
        return etagged(request, _stats(found))

    @routes.get(
        "/stats/apps",
        response_model=AppTable,
        operation_id="statsApps",
        summary="The apps of a span of days",
    )
    async def apps(
        request: Request,
        first: _From = None,
        last: _To = None,
        scope: _Scope = "mine",
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        span = report.parse_span(first, last)
        found = await report.app_table(rest.engine, caller, span, scope=scope)
        return etagged(request, _table(found))

    @routes.get(
        "/apps/{module}/{method}/percentiles",
        response_model=Percentiles,
        operation_id="appPercentiles",
        summary="How long an app's newest runs waited and ran",
    )
    async def app_percentiles(
        request: Request,
        module: _Name,
        method: _Name,
        wait_ms: _Time = None,
        run_ms: _Time = None,
        _: Caller = Depends(rest.reader),
    ) -> Response:
        found = await percentiles.app_times(rest.engine.store, f"{module}/{method}")
        return etagged(request, _percentiles(found, wait_ms, run_ms))

    return routes


def _sums(t: report.Totals) -> dict[str, int | float | None]:
    return {
        "runs": t.runs, "completed": t.completed, "error": t.error, "terminated": t.terminated,
        "success": None if t.success is None else round(t.success, 4),
        "wait_ms": milliseconds(t.wait_s), "wall_ms": milliseconds(t.wall_s),
        "cpu_ms": milliseconds(t.cpu_s),
    }  # fmt: skip


def _stats(found: report.Report) -> dict[str, object]:
    return {
        "first": str(found.span.first),
        "last": str(found.span.last),
        "by": found.by,
        "zone": "UTC",
        "as_of": milliseconds(found.as_of_s),
        "totals": _sums(found.totals),
        "previous": _sums(found.previous),
        "series": [{"start": str(bar.start), **_sums(bar.totals)} for bar in found.series],
        "reasons": [{"status": r.status, "code": r.code, "runs": r.runs} for r in found.reasons],
    }


def _table(found: report.AppTable) -> dict[str, object]:
    rows = [
        {
            "app": row.app,
            **_sums(row.totals),
            "wait_p50_ms": milliseconds(row.wait_p50_s),
            "wait_p90_ms": milliseconds(row.wait_p90_s),
            "run_p50_ms": milliseconds(row.run_p50_s),
            "run_p90_ms": milliseconds(row.run_p90_s),
            "last_used": milliseconds(row.last_s),
        }
        for row in found.apps
    ]
    return {
        "first": str(found.span.first),
        "last": str(found.span.last),
        "zone": "UTC",
        "as_of": milliseconds(found.as_of_s),
        "apps": rows,
    }


def _percentiles(
    found: percentiles.AppTimes, wait_ms: int | None, run_ms: int | None
) -> dict[str, object]:
    points = [
        {
            "share": share,
            "wait_ms": milliseconds(percentiles.percentile(found.waits_s, share)),
            "run_ms": milliseconds(percentiles.percentile(found.runs_s, share)),
        }
        for share in percentiles.SHARES
    ]
    ranks = percentiles.ranks_among(found, wait_ms, run_ms)
    return {
        "app": found.app,
        "runs": found.runs,
        "points": points if found.runs else [],
        "wait_rank": ranks.wait,
        "run_rank": ranks.run,
    }
