"""What administrators did: `GET /audit`, and the same as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api_bridge.rest.common import (
    ERRORS,
    NOT_MODIFIED,
    Rest,
    decode_cursor,
    encode_cursor,
    etagged,
)
from ee2_jobs import audit
from ee2_jobs.audit import Wanted
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, parse_time_s, to_ms
from ee2_jobs.rights import Level, require_admin

MAX_LIMIT = 500
_COLUMNS = ("at", "who", "what", "target", "reason", "details", "outcome", "error", "made")
_ROWS_PER_PIECE = 200
_LATEST_S = 2**53


class Entry(BaseModel):
    """One act."""

    id: str
    at: int = Field(description="ms", examples=[1727185950123])
    who: str = Field(examples=["root"])
    what: str = Field(examples=["set_user_limit"])
    target: list[str] = Field(description="the first 1000", examples=[["user ana"]])
    targets: int = Field(description="how many there were", examples=[1])
    reason: str | None = Field(examples=["too many at once"])
    details: str | None = Field(
        default=None, description="what it was expected to do",
        examples=["Limit: 5 jobs. Would hold back 14 waiting jobs of ana."],
    )
    outcome: str = Field(description="begun, done or failed", examples=["done"])
    error: str | None = Field(default=None, description="why it failed")
    made: list[str] = Field(default=[], description="ids of what came of it")


class Page(BaseModel):
    """Entries, the newest first."""

    entries: list[Entry]
    next: str | None = Field(description="cursor of the next page; null: there is none")


def _wanted(
    who: str | None = Query(None, description="the administrator"),
    what: str | None = Query(None, description="the act, such as set_user_limit"),
    target: str | None = Query(None, description="a job's id, or as an entry has it: user ana"),
    since: str | None = Query(None, alias="from", description="a date, or ms since 1970"),
    before: str | None = Query(None, alias="to", description="a date (excluded), or ms"),
) -> Wanted:
    return Wanted(who, target, what, _time(since, "from"), _time(before, "to"))


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(tags=["audit"], responses=ERRORS)

    @routes.get(
        "/audit", response_model=Page, responses=NOT_MODIFIED, operation_id="audit",
        summary="What administrators did, the newest first",
        description="For administrators, also those who may only read.",
    )
    async def page(
        request: Request,
        wanted: Wanted = Depends(_wanted),
        limit: int = Query(50, ge=1, le=MAX_LIMIT),
        cursor: str | None = Query(None, description="next of an earlier page"),
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        require_admin(caller, Level.READ)
        kind = f"audit {wanted}"
        after = None if cursor is None else _place(kind, cursor)
        found = await audit.find(
            rest.engine, caller, wanted, after=after, limit=limit + 1
        ).to_list()
        shown = found[:limit]
        last = shown[-1] if len(found) > limit else None
        return etagged(
            request,
            Page(
                entries=[_entry(one) for one in shown],
                next=None
                if last is None
                else encode_cursor(kind, last["at"], str(last["_id"])),
            ),
        )

    @routes.get(
        "/audit.csv", operation_id="auditTable", response_class=Response,
        responses={200: {"content": {"text/csv": {}}, "description": "the table"}},
        summary="The same for spreadsheets, all entries",
    )
    async def table(
        wanted: Wanted = Depends(_wanted), caller: Caller = Depends(rest.reader)
    ) -> Response:
        require_admin(caller, Level.READ)
        return StreamingResponse(
            _lines(rest, caller, wanted),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="audit.csv"'},
        )

    return routes


def _time(value: str | None, field: str) -> float | None:
    try:
        return None if value is None else parse_time_s(value)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{field} must be a date such as 2030-01-31, or ms since 1970, not '{value}'"
        ) from None


def _place(kind: str, cursor: str) -> tuple[float, str]:
    values = decode_cursor(kind, cursor)
    match values:
        case [int() | float() as at_s, str() as entry] if (
            ObjectId.is_valid(entry) and abs(at_s) < _LATEST_S
        ):
            return float(at_s), entry
    return _no_place(kind)


def _no_place(kind: str) -> tuple[float, str]:
    decode_cursor(kind, "")  # raises the one error for what is no cursor of this list
    raise AssertionError


def _entry(one: Document) -> Entry:
    return Entry(
        id=str(one["_id"]), at=to_ms(one["at"]), who=one["who"], what=one["what"],
        target=one["target"], targets=one["targets"], reason=one.get("reason"),
        details=one.get("details"), outcome=one["outcome"], error=one.get("error"),
        made=one.get("made", []),
    )


async def _lines(rest: Rest, caller: Caller, wanted: Wanted) -> AsyncIterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    n = 0
    async for one in audit.find(rest.engine, caller, wanted):
        writer.writerow([_cell(one, column) for column in _COLUMNS])
        n += 1
        if n % _ROWS_PER_PIECE == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _cell(one: Document, column: str) -> str:
    value: Any = one.get(column)
    if column == "at":
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds")
    if value is None:
        return ""
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    # A spreadsheet would take these for formulas.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
