"""How an import looks in a terminal: bars while it runs, then what was done and what was not."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ee2_jobs.legacy.imports.report import Finding, Report

_SHOWN_IDS = 3
_SAY_S = 10


@dataclass(frozen=True)
class Done:
    """What a run has done, for people and as JSON."""

    source: str
    seconds: float
    rows: int
    reports: Mapping[str, Report]
    waiting: Finding
    live: int
    ended: int


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} rows/s" if speed else "")


class Bars:
    """A progress bar per collection on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._first: dict[str, int] = {}
        self._began = self._said = time.monotonic()
        self.rows = 0
        self.seconds = 0.0

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, collection: str, read: int, total: int) -> None:
        """As run.Progress."""
        if collection not in self._tasks:
            self._first[collection] = read
            self._tasks[collection] = self._bars.add_task(collection, total=total, completed=read)
            if read:
                self._console.print(f"{collection}: going on after {read:,} rows")
        self._bars.update(self._tasks[collection], completed=read, total=total)
        now = time.monotonic()
        self.seconds = now - self._began
        self.rows = self.rows + read - self._first[collection]
        self._first[collection] = read
        if not self._console.is_terminal and now - self._said > _SAY_S:
            self._said = now
            self._console.print(f"{collection}: {read:,} of about {total:,} rows")


def show(done: Done, dry_run: bool) -> None:
    """Print what was done."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table("", "read", "to import" if dry_run else "imported", "here already", "left out",
                  box=None)  # fmt: skip
    for name, r in done.reports.items():
        out = sum(f.count for f in r.left_out.values())
        table.add_row(name, *(f"{n:,}" for n in (r.read, r.made, r.already_here, out)))
    console.print(table)
    for name, r in done.reports.items():
        for color, findings in (("red", r.left_out), ("yellow", r.notes)):
            for reason, found in findings.items():
                ids = ", ".join(found.first[:_SHOWN_IDS])
                more = ", …" if found.count > _SHOWN_IDS else ""
                text = f"{found.count:,} × {escape(reason)} ({escape(ids)}{more})"
                console.print(f"[{color}]{name}:[/{color}] {text}")
    if done.waiting.count:
        console.print(
            f"{done.waiting.count:,} rows of NJS wait for their rows of UJS: import ujs brings "
            "them in; of those that are left then, nobody knows whose they are"
        )
    if done.ended:
        console.print(f"{done.ended:,} jobs of the old engine were ended (error code 2)")
    elif done.live:
        console.print(
            f"{done.live:,} jobs here belong to an engine before this one and are unfinished: "
            "./ee2 import ee2 --in-place --end-live ends them"
        )
    if done.seconds:
        rate = done.rows / done.seconds
        console.print(f"{done.rows:,} rows in {done.seconds:.1f} s ({rate:,.0f} rows/s)")
    if dry_run:
        console.print("Nothing was written")


def as_json(done: Done, dry_run: bool) -> str:
    """The report for programs."""
    document = {
        "source": done.source,
        "dry_run": dry_run,
        "rows": done.rows,
        "seconds": round(done.seconds, 3),
        "collections": {name: r.as_document() for name, r in done.reports.items()},
        "waiting_for_ujs": asdict(done.waiting),
        "live_jobs": done.live,
        "ended_jobs": done.ended,
    }
    return json.dumps(document, indent=2) + "\n"
