"""Use case: a list as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any

from ee2_jobs.browse.lists import Listing, place_after
from ee2_jobs.browse.rows import Row

MAX_ROWS = 100_000
_AT_ONCE = 500
_TIMES = ("created", "queued", "running", "finished")
COLUMNS = (
    "id", "status", "app_id", "method", "user", "ws_id", "narrative", "batch_id", "is_batch",
    "retry_of", "attempt", "group", "node", *_TIMES, "wait_s", "run_s", "error_code", "error_line",
    "ended_by",
)  # fmt: skip
# A spreadsheet takes what begins so for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def table(listing: Listing) -> AsyncIterator[str]:
    """The list as lines of CSV (RFC 4180), the names of the columns first; times as ISO in UTC. At
    most MAX_ROWS rows; if there are more, the last line says so. Raises before the first line as
    `Listing.jobs`."""
    found = await listing.jobs(_AT_ONCE)
    yield _lines([COLUMNS])
    told = 0
    while found:
        part = found[: min(_AT_ONCE, MAX_ROWS - told)]
        yield _lines(_cells(row) for row in await listing.rows(part))
        told += len(part)
        if len(found) <= len(part):
            return
        if told >= MAX_ROWS:
            yield _lines([[
                f"# cut after {MAX_ROWS:,} rows: there are more; narrow the filter, for example "
                "with from and to"
            ]])  # fmt: skip
            return
        found = await listing.jobs(_AT_ONCE, place_after(listing, part[-1]))


def _lines(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cells(row: Row) -> list[Any]:
    told = dict(row)
    for name in _TIMES:
        if name in told:
            at = datetime.fromtimestamp(told[name] / 1000, UTC)
            told[name] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for name in ("wait", "run"):
        if f"{name}_ms" in told:
            told[f"{name}_s"] = told[f"{name}_ms"] / 1000
    return [_safe(told.get(name, "")) for name in COLUMNS]


def _safe(value: Any) -> Any:
    """Text that a spreadsheet takes for text."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
