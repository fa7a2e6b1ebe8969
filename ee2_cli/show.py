"""How jobs look in a terminal: a table of them, and the progress of one submission as it goes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ee2_client import Client, Progress
from ee2_client.progress import counts_text, shown, state_text

if TYPE_CHECKING:
    from ee2_jobs.catalog import App


def job_table(states: Iterable[Mapping[str, Any]]) -> None:
    """Print one line per job."""
    table = Table(box=None)
    table.add_column("id", no_wrap=True, min_width=24)  # to be copied, so never cut
    for title in ("created", "method", "user", "state", ""):
        table.add_column(title)
    for s in states:
        if s.get("failure"):
            table.add_row("", "", "", "", "", escape(str(s["failure"])))
            continue
        created = f"{datetime.fromtimestamp(s['created'] / 1000):%Y-%m-%d %H:%M:%S}"
        note = counts_text(s["child_counts"]) if s["batch_job"] else Text(s.get("errormsg") or "")
        method = s.get("job_input", {}).get("method") or ""
        # EE2 never advances a batch's own state: its children tell how it stands
        status = "" if s["batch_job"] and s["status"] == "created" else s["status"]
        table.add_row(s["job_id"], created, method, s["user"], state_text(status), note)
    # A pipe or a file has no width of its own.
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def app_table(apps: Iterable[App]) -> None:
    """Print one line per method."""
    table = Table("method", "title", box=None)
    for app in apps:
        for name, method in app.methods.items():
            table.add_row(f"{app.module}.{name}", escape(method.title))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def audit_table(entries: Iterable[Mapping[str, Any]]) -> None:
    """Print one line per entry of the audit."""
    table = Table("when", "who", "what", "to what", "how it went", "reason", box=None)
    for entry in entries:
        target = ", ".join(entry["target"][:2])
        if entry["targets"] > 2:
            target += f" and {entry['targets'] - 2} more"
        went = entry["outcome"] + (f": {entry['error']}" if entry.get("error") else "")
        if entry.get("made"):
            went += f", made {', '.join(entry['made'][:2])}"
        texts = (entry["who"], entry["what"], target, went, entry.get("reason") or "")
        table.add_row(
            f"{datetime.fromtimestamp(entry['at']):%Y-%m-%d %H:%M:%S}", *map(escape, texts)
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def artifacts_in(result: Any) -> list[str]:
    """The artifacts that a result names, as `artifact:…`."""
    if isinstance(result, str):
        return [result] if result.startswith("artifact:") else []
    if isinstance(result, dict):
        result = list(result.values())
    return [a for part in result for a in artifacts_in(part)] if isinstance(result, list) else []


def follow(engine: Client, job_id: str, console: Console | None = None) -> Progress:
    """Show a job or a batch until it has ended, and then why what of it failed; how it ended."""
    console = console or Console(highlight=False, stderr=True)
    with shown(True, console) as show:
        for view in engine.changes(job_id):
            show(view)
    state = engine.check_job(job_id, exclude_fields=["job_input", "job_output"])
    ids = [state.stage_jobs[s] for s in ("split", "aggregate") if s in state.stage_jobs]
    steps = engine.check_jobs(ids, exclude_fields=["job_input", "job_output"])
    for job in (state, *steps.values()):
        if job is not None and job.error_message:
            text = f"{job.job_id}: {job.error_message}"
            console.print(f"[red]{escape(text)}[/red]", soft_wrap=True)
    return view[job_id]
