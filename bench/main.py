"""Runs the families of figures and writes what they found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import yaml
from rich.console import Console

from bench import (
    batches,
    calls,
    dashboard,
    diamond,
    feed,
    figures,
    idle,
    logs,
    machine,
    million,
    polling,
    throughput,
    workers,
)
from bench.engine import Engine
from bench.figures import Figure
from ee2_cli.settings import StackError, StackSettings

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
# In this order: first what needs a stack that nothing has used yet, last what restarts it.
FAMILIES: dict[str, Callable[[Engine], list[Figure]]] = {
    "idle": idle.measure,
    "calls": calls.measure,
    "logs": logs.measure,
    "diamond": diamond.measure,
    "throughput": throughput.measure,
    "batches": batches.measure,
    "million": million.measure,
    "dashboard": dashboard.measure,
    "workers": workers.measure,
    "polling": polling.measure,
    "feed": feed.measure,
}


def run(
    settings: StackSettings, names: Sequence[str], *, quick: bool, results: Path | None
) -> None:
    """Measure the families with these names (all, if there are none), on the running stack.

    quick: fewer runs. results: the folder for NAME.json, None to write nothing. StackError if the
    stack is not up, or something else runs on it.
    """
    if unknown := sorted(set(names) - set(FAMILIES)):
        known = ", ".join(FAMILIES)
        raise StackError(f"There is no figure {', '.join(unknown)}: there are {known}")
    # A file or a pipe has no width of its own; the tables have one.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    reasons = yaml.safe_load((FOLDER / "reasons.yaml").read_text()) or {}
    for name, measure in FAMILIES.items():
        if names and name not in names:
            continue
        console.print(f"[dim]· measuring {name} …[/dim]")
        with Engine(settings, quick, lambda text: console.print(f"· {text}")) as engine:
            if engine.pool_jobs():
                raise StackError("HTCondor has jobs: wait for them, or cancel them")
            about = machine.describe(engine)
            found = measure(engine)
        figures.show(name, found, console)
        if results is not None:
            date = datetime.now(UTC).isoformat(timespec="seconds")
            path = results / f"{name}.json"
            figures.write(path, found, reasons, machine=about, date=date)
            console.print(f"[dim]· written to {path}[/dim]")
