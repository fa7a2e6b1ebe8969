"""How jobs look in a terminal while they are waited for.

On a terminal the picture is redrawn; elsewhere each change is a line. Needs the package rich.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ee2_client.errors import EngineError
from ee2_client.values import ENDED, LIVE, Progress

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.text import Text

COLORS = {"completed": "green", "running": "cyan", "error": "red", "terminated": "yellow"}
_BAR_WIDTH = 30
Show = Callable[[Mapping[str, Progress]], None]


@contextmanager
def shown(progress: bool, console: Console | None = None) -> Iterator[Show]:
    """Gives what shows a view of jobs; without `progress` it shows nothing. console: by default
    standard error."""
    if not progress:
        yield lambda view: None
        return
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        raise EngineError("The progress bar needs the package rich: pip install rich") from None
    console = console or Console(highlight=False, stderr=True)
    began = time.monotonic()
    last: dict[str, str] = {}
    latest: Mapping[str, Progress] = {}

    def lines(view: Mapping[str, Progress]) -> None:
        for job_id, progress in view.items():
            line = ", ".join(f"{name}: {text.plain}" for name, text in steps(progress).items())
            if last.get(job_id) != line:
                which = f"{job_id}  " if len(view) > 1 else ""
                seconds = time.monotonic() - began
                console.print(f"{seconds:6.1f} s  {which}{line}", soft_wrap=True)
            last[job_id] = line

    if not console.is_terminal:
        yield lines
        return
    live = Live(
        console=console,
        get_renderable=lambda: _picture(latest, time.monotonic() - began),
        refresh_per_second=2,  # for the seconds
    )

    def redraw(view: Mapping[str, Progress]) -> None:
        nonlocal latest
        latest = view
        live.refresh()

    with live:
        yield redraw


def steps(progress: Progress) -> dict[str, Text]:
    """The stages in order, each with its state in words; of a single job, its state."""
    if not progress.batch_job:
        return {"job": state_text(progress.status)}
    order = {"split": None, "process": counts_text(progress.child_counts), "aggregate": None}
    return {
        name: text or state_text(progress.stages[name])
        for name, text in order.items()
        if text is not None or name in progress.stages
    }


def counts_text(counts: Mapping[str, int]) -> Text:
    """How many are in each state."""
    from rich.text import Text

    texts = [Text(f"{counts[s]} {s}", COLORS.get(s, "")) for s in (*LIVE, *ENDED) if counts.get(s)]
    return Text(", ").join(texts) if texts else Text("waiting")


def state_text(state: str) -> Text:
    """A state in its colour."""
    from rich.text import Text

    return Text(state, COLORS.get(state, ""))


def _picture(view: Mapping[str, Progress], seconds: float) -> Group:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    if len(view) > 1 and not any(p.batch_job for p in view.values()):
        counts: dict[str, int] = {}
        for progress in view.values():
            counts[progress.status] = counts.get(progress.status, 0) + 1
        view = {f"{len(view)} jobs": Progress("", "", None, True, child_counts=counts)}
    parts: list[Text | Table] = []
    for title, progress in view.items():
        head = Text(f"{title}  {seconds:.0f} s  ").append_text(state_text(progress.end or ""))
        table = Table(box=None, show_header=False)
        for name, text in steps(progress).items():
            if name == "process":
                counts = dict(progress.child_counts)
                done = sum(n for state, n in counts.items() if state in ENDED)
                total = max(sum(counts.values()), 1)
                table.add_row(name, text, ProgressBar(total, done, width=_BAR_WIDTH))
            else:
                table.add_row(name, text)
        parts += [head, table]
    return Group(*parts)
