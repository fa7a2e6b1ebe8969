"""Reports over spans of days: totals with the change since the span before, a series, reasons of
failures, and a table by app. Read from the roll-ups alone, so a year costs 365 small documents.

Days are UTC days, and so are the weeks (from Monday) and months made of them: jobs are counted by
UTC day, and a day of another zone cannot be put together from those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, to_ms
from ee2_jobs.rights import Level, require_admin
from ee2_jobs.statistics.daily import ALL, NO_CODE, Sums, as_of_s, days_of, row_of, rows_of
from ee2_jobs.statistics.histogram import quantiles

Step = Literal["day", "week", "month"]
Scope = Literal["mine", "all"]
MAX_DAYS = 3660
DEFAULT_DAYS = 30
_EPOCH = date(1970, 1, 1)
_SHARES = (0.5, 0.9)


@dataclass(frozen=True)
class Span:
    """Days, `first` and `last` included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many."""
        return (self.last - self.first).days + 1

    @property
    def before(self) -> Span:
        """As many days, just before."""
        return Span(self.first - timedelta(days=self.days), self.first - timedelta(days=1))

    @property
    def numbers(self) -> tuple[int, int]:
        """The first day's number, and the one after the last's, counted from 1970-01-01."""
        first = (self.first - _EPOCH).days
        return first, first + self.days


@dataclass(frozen=True)
class Totals:
    """Runs and their times. wall_s: from start to end, cpu_s: of the processors."""

    runs: int
    completed: int
    error: int
    terminated: int
    wait_s: float
    wall_s: float
    cpu_s: float

    @property
    def success(self) -> float | None:
        """The share of the runs that completed, 0 to 1; None without runs."""
        return self.completed / self.runs if self.runs else None


@dataclass(frozen=True)
class Bar:
    """One step of the series, from its first day on."""

    start: date
    totals: Totals


@dataclass(frozen=True)
class Reason:
    """Why runs did not complete: a status and EE2's code of it, None where there is none."""

    status: Literal["error", "terminated"]
    code: int | None
    runs: int


@dataclass(frozen=True)
class Report:
    """as_of_s: until when ended jobs are counted, None if no roll-up was made yet."""

    span: Span
    by: Step
    as_of_s: float | None
    totals: Totals
    previous: Totals
    series: tuple[Bar, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class AppRow:
    """An app in the table. Times in s: median and 90th percentile of waiting and running, known to
    a tenth; None where no run has started."""

    app: str
    totals: Totals
    wait_p50_s: float | None
    wait_p90_s: float | None
    run_p50_s: float | None
    run_p90_s: float | None
    last_s: float


@dataclass(frozen=True)
class AppTable:
    """The apps of a span, the most used first."""

    span: Span
    as_of_s: float | None
    apps: tuple[AppRow, ...]


def parse_span(first: str | None, last: str | None, today: date | None = None) -> Span:
    """The span that a client asked for, by its first and last day (YYYY-MM-DD, UTC); what is left
    out makes it the last 30 days. InvalidInput for what is no day, or too many of them."""
    end = _day(last, "to") or today or datetime.now(UTC).date()
    start = _day(first, "from") or end - timedelta(days=DEFAULT_DAYS - 1)
    if start > end:
        raise InvalidInput(f"from ({start}) is later than to ({end})")
    span = Span(start, end)
    if span.days > MAX_DAYS:
        raise InvalidInput(f"from, to: at most {MAX_DAYS} days, not {span.days}")
    return span


def _day(text: str | None, name: str) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{name} must be a day as YYYY-MM-DD, not '{text}'") from None
    if not 1970 <= day.year <= 9000:
        raise InvalidInput(f"{name} must be a day from 1970 on, not '{text}'")
    return day


async def report(
    engine: Engine, caller: Caller, span: Span, *, by: Step, scope: Scope, app: str | None = None
) -> Report:
    """The statistics of the caller's jobs, or of all (`scope` all: for administrators, else
    Denied); app: of this one only (`Module/app`)."""
    user = _user(caller, scope)
    before, (first, end) = span.before, span.numbers
    start = max(0, before.numbers[0])
    rows = [
        (row["day"], part)
        for row in await days_of(
            engine.store, user, start, end, apps="none" if app is None else "all"
        )
        for part in _parts(row, app)
    ]
    now = [(day, part) for day, part in rows if day >= first]
    sums = _sum(part for _, part in now)
    return Report(
        span=span,
        by=by,
        as_of_s=await as_of_s(engine.store),
        totals=_totals(sums),
        previous=_totals(_sum(part for day, part in rows if day < first)),
        series=_series(span, by, now),
        reasons=_reasons(sums),
    )


async def app_table(engine: Engine, caller: Caller, span: Span, *, scope: Scope) -> AppTable:
    """The apps that the caller's jobs ran (all jobs: as of `report`)."""
    user = _user(caller, scope)
    apps: dict[str, _App] = {}
    for document in await days_of(engine.store, user, *span.numbers, apps="table"):
        for row in rows_of(document):
            found = apps.get(row[0])
            if found is None:
                found = apps[row[0]] = _App()
            found.add(row)
    rows = [found.row(name) for name, found in apps.items()]
    rows.sort(key=lambda row: (-row.totals.runs, row.app))
    return AppTable(span, await as_of_s(engine.store), tuple(rows))


def _user(caller: Caller, scope: Scope) -> str:
    if scope == "mine":
        return caller.user
    require_admin(caller, Level.READ)
    return ALL


def _parts(document: Document, app: str | None) -> Sequence[Document]:
    if app is None:
        return [document]
    row = row_of(document, app)
    return [] if row is None else [row]


class _App:
    """Adds up an app's rows; there may be very many, so it does no more than it must."""

    __slots__ = ("_numbers", "_spans", "_waits")

    def __init__(self) -> None:
        self._numbers: list[Any] = [0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0]
        self._waits: list[bytes] = []
        self._spans: list[bytes] = []

    def add(self, row: tuple[Any, ...]) -> None:
        """Add a row as of `rows_of`."""
        _, runs, completed, failed, stopped, wait_s, run_s, cpu_s, waits, spans, last_s = row
        n = self._numbers
        n[0] += runs
        n[1] += completed
        n[2] += failed
        n[3] += stopped
        n[4] += wait_s
        n[5] += run_s
        n[6] += cpu_s
        n[7] = last_s if last_s > n[7] else n[7]
        self._waits.append(waits)
        self._spans.append(spans)

    def row(self, name: str) -> AppRow:
        """The row of the table."""
        *totals, last_s = self._numbers
        wait_p50, wait_p90 = quantiles(b"".join(self._waits), _SHARES)
        run_p50, run_p90 = quantiles(b"".join(self._spans), _SHARES)
        return AppRow(name, Totals(*totals), wait_p50, wait_p90, run_p50, run_p90, last_s)


def _sum(parts: Iterable[Document]) -> Sums:
    sums = Sums()
    for part in parts:
        sums.add(part)
    return sums


def _totals(sums: Sums) -> Totals:
    return Totals(
        runs=sums.runs,
        completed=sums.completed,
        error=sum(sums.error.values()),
        terminated=sum(sums.terminated.values()),
        wait_s=sums.wait_s,
        wall_s=sums.run_s,
        cpu_s=sums.cpu_s,
    )


def _series(span: Span, by: Step, rows: Sequence[tuple[int, Document]]) -> tuple[Bar, ...]:
    """A bar for each step of the span, also for those without runs. The first starts with the span,
    which may be in the middle of a week or month."""
    starts = [span.first]
    for n in range(1, span.days):
        day = span.first + timedelta(days=n)
        if by == "day" or (by == "week" and day.weekday() == 0) or (by == "month" and day.day == 1):
            starts.append(day)
    sums = [Sums() for _ in starts]
    place = 0
    for number, part in rows:
        day = _EPOCH + timedelta(days=number)
        while place + 1 < len(starts) and starts[place + 1] <= day:
            place += 1
        sums[place].add(part)
    return tuple(Bar(start, _totals(s)) for start, s in zip(starts, sums, strict=True))


def _reasons(sums: Sums) -> tuple[Reason, ...]:
    """The most frequent first."""
    kinds: tuple[tuple[Literal["error", "terminated"], dict[str, int]], ...] = (
        ("error", sums.error), ("terminated", sums.terminated),
    )  # fmt: skip
    found = [
        Reason(status, None if code == NO_CODE else int(code), runs)
        for status, codes in kinds
        for code, runs in codes.items()
    ]
    return tuple(sorted(found, key=lambda r: (-r.runs, r.status, str(r.code))))


def milliseconds(seconds: float | None) -> int | None:
    """A time as the API gives it."""
    return None if seconds is None else to_ms(seconds)


