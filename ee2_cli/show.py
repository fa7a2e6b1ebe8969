"""How jobs look in a terminal: a table of them, and the progress of one submission as it goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ee2_cli.settings import StackError

if TYPE_CHECKING:
    from ee2_cli.rpc import Rpc
    from ee2_jobs.catalog import App

ENDED = ("completed", "error", "terminated")
_COLORS = {"completed": "green", "running": "cyan", "error": "red", "terminated": "yellow"}
_POLL_S = 0.5


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
        note = _counts(s["child_counts"]) if s["batch_job"] else Text(s.get("errormsg") or "")
        method = s.get("job_input", {}).get("method") or ""
        # EE2 never advances a batch's own state: its children tell how it stands
        status = "" if s["batch_job"] and s["status"] == "created" else s["status"]
        table.add_row(s["job_id"], created, method, s["user"], _state(status), note)
    # A pipe or a file has no width of its own.
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def app_table(apps: Iterable[App]) -> None:
    """Print one line per method."""
    table = Table("method", "title", box=None)
    for app in apps:
        for name, method in app.methods.items():
            table.add_row(f"{app.module}.{name}", escape(method.title))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@dataclass(frozen=True)
class View:
    """A job or a batch at one moment: its state, its single jobs by stage, and how it has ended."""

    state: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, Any]]

    @property
    def end(self) -> str | None:
        """completed, error or terminated; None while it goes on.

        A batch's own record tells only of a cancel, as in EE2: the rest follows from its jobs.
        """
        if not self.state["batch_job"]:
            return self.state["status"] if self.state["status"] in ENDED else None
        counts: Mapping[str, int] = self.state["child_counts"]
        states = [job["status"] for job in self.stages.values()]
        if any(s not in ENDED for s in (*states, *counts)):
            return None
        split, aggregate = self.stages.get("split"), self.stages.get("aggregate")
        if split and split["status"] == "completed" and not counts:
            return None  # the children are being made
        if self.state["status"] == "terminated":
            return "terminated"
        good = aggregate["status"] == "completed" if aggregate else set(counts) == {"completed"}
        return "completed" if good else "error"

    def steps(self) -> dict[str, Text]:
        """The stages in order, each with its state in words."""
        if not self.state["batch_job"]:
            return {"job": _state(self.state["status"])}
        steps = {name: _state(job["status"]) for name, job in self.stages.items()}
        ends = {"aggregate": steps.pop("aggregate")} if "aggregate" in steps else {}
        return {**steps, "process": _counts(self.state["child_counts"]), **ends}


def result_of(view: View) -> Any:
    """What a job's app returned; of a batch, what its aggregate did. StackError if there is none,
    with the reason."""
    job, name = view.state, f"Job {view.state['job_id']}"
    if job["batch_job"]:
        if "aggregate" not in view.stages:
            raise StackError(
                f"Batch {job['job_id']} has no aggregate. Its jobs have results of their own; "
                f"./ee2 jobs {job['job_id']} --json lists their ids as child_jobs"
            )
        job = view.stages["aggregate"]
        name = f"The aggregate of batch {view.state['job_id']}, job {job['job_id']},"
    status, message = job["status"], job.get("errormsg")
    if status not in ENDED:
        raise StackError(f"{name} has no result yet: it is {status}")
    if status != "completed":
        how = "failed" if status == "error" else "was cancelled"
        raise StackError(f"{name} {how}{f': {message}' if message else ''}")
    output = job.get("job_output") or {}
    if "result" not in output:
        raise StackError(f"{name} has completed; its app returns no result")
    return output["result"]


def artifacts_in(result: Any) -> list[str]:
    """The artifacts that a result names, as `artifact:…`."""
    if isinstance(result, str):
        return [result] if result.startswith("artifact:") else []
    if isinstance(result, dict):
        result = list(result.values())
    return [a for part in result for a in artifacts_in(part)] if isinstance(result, list) else []


def look(engine: Rpc, job_id: str) -> View:
    """A job or a batch as it is now."""
    wanted = {"job_id": job_id, "exclude_fields": ["job_input.params"], "as_admin": 1}
    state = engine.call("check_job_batch", wanted)["batch_jobstate"]
    ids = state.get("stage_jobs", {})
    if not ids:
        return View(state, {})
    jobs = engine.call("check_jobs", {"job_ids": list(ids.values()), "as_admin": 1})["job_states"]
    by_id = {job["job_id"]: job for job in jobs}
    return View(state, {name: by_id[ids[name]] for name in ("split", "aggregate") if name in ids})


def follow(engine: Rpc, job_id: str, console: Console | None = None) -> View:
    """Show a job or a batch until it has ended; returns its last view.

    On a terminal the picture is redrawn; elsewhere each change is a line.
    """
    console = console or Console(highlight=False, stderr=True)
    began = time.monotonic()
    last = ""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            view = look(engine, job_id)
            seconds = time.monotonic() - began
            line = ", ".join(f"{name}: {text.plain}" for name, text in view.steps().items())
            if console.is_terminal:
                live.update(_picture(view, seconds), refresh=True)
            elif line != last:
                console.print(f"{seconds:6.1f} s  {line}", soft_wrap=True)
            last = line
            if view.end:
                break
            time.sleep(_POLL_S)
    for job in (view.state, *view.stages.values()):
        if message := job.get("errormsg"):
            console.print(f"[red]{job['job_id']}: {escape(message)}[/red]", soft_wrap=True)
    return view


def _picture(view: View, seconds: float) -> Group:
    table = Table(box=None, show_header=False)
    for name, text in view.steps().items():
        row: list[Any] = [name, text]
        if name == "process":
            counts = view.state["child_counts"]
            done = sum(n for s, n in counts.items() if s in ENDED)
            row.append(ProgressBar(total=max(sum(counts.values()), 1), completed=done, width=30))
        table.add_row(*row)
    head = Text(f"{view.state['job_id']}  {seconds:.0f} s  ").append_text(_state(view.end or ""))
    return Group(head, table)


def _counts(counts: Mapping[str, int]) -> Text:
    order = ("created", "estimating", "queued", "running", *ENDED)
    texts = [Text(f"{counts[s]} {s}", _COLORS.get(s, "")) for s in order if counts.get(s)]
    return Text(", ").join(texts) if texts else Text("waiting")


def _state(state: str) -> Text:
    return Text(state, _COLORS.get(state, ""))
