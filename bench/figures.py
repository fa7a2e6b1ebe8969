"""What a benchmark finds: figures with their spread, their target, and what ran beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

Statistic = Literal["p50", "p95", "p99", "max"]
_SHARES: dict[Statistic, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie, interpolated between neighbours."""
    if not values:
        raise ValueError("there are no values")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True)
class Figure:
    """One figure, measured in several runs.

    rounds: the values of each run, in `unit` (many calls, or one value for the whole run).
    target: what to reach, or None; `judged` (of all values) is compared with it. better: which
    side of the target is good. peer: what ran beside it in the same pool, from `summary`.
    note: what must be known to read the figure.
    """

    name: str
    unit: str
    rounds: Sequence[Sequence[float]]
    target: float | None = None
    judged: Statistic = "p50"
    better: Literal["less", "more"] = "less"
    peer: dict[str, Any] | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The statistic that is compared with the target."""
        return percentile([v for values in self.rounds for v in values], _SHARES[self.judged])

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None if there is none."""
        if self.target is None:
            return None
        return self.value <= self.target if self.better == "less" else self.value >= self.target

    def as_json(self, reasons: dict[str, str]) -> dict[str, Any]:
        """As it stands in the file of results. reasons: why a figure misses its target, by name."""
        figure = summary(self.name, self.unit, self.rounds, self.judged) | {
            "judged": self.judged,
            "target": self.target,
            "better": self.better,
            "reached": self.reached,
        }
        if self.peer is not None:
            figure["peer"] = self.peer
        if self.note:
            figure["note"] = self.note
        if self.reached is False:
            figure["reason"] = reasons.get(self.name, "not looked into yet")
        return figure


def summary(
    name: str, unit: str, rounds: Sequence[Sequence[float]], judged: Statistic = "p50"
) -> dict[str, Any]:
    """Median and tail of all values; `spread` is the least and the greatest run, by `judged`."""
    values = [v for of_round in rounds for v in of_round]
    by_round = [percentile(of_round, _SHARES[judged]) for of_round in rounds]
    return {
        "name": name,
        "unit": unit,
        "p50": _rounded(percentile(values, 0.5)),
        "p95": _rounded(percentile(values, 0.95)),
        "p99": _rounded(percentile(values, 0.99)),
        "max": _rounded(max(values)),
        "runs": len(rounds),
        "values": len(values),
        "spread": [_rounded(min(by_round)), _rounded(max(by_round))],
    }


def ratios(ours: Sequence[float], peers: Sequence[float]) -> list[list[float]]:
    """The ratio of each run to the one that ran beside it, as rounds of a figure."""
    return [[mine / other] for mine, other in zip(ours, peers, strict=True)]


def write(
    path: Path,
    figures: Sequence[Figure],
    reasons: dict[str, str],
    *,
    machine: dict[str, Any],
    date: str,
) -> None:
    """Write a file of results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "name": path.stem,
        "date": date,
        "machine": machine,
        "figures": [figure.as_json(reasons) for figure in figures],
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def show(title: str, figures: Sequence[Figure], console: Console) -> None:
    """Print figures as a table."""
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("figure", no_wrap=True)
    for name in ("p50", "p95", "spread", "runs", "target"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for figure in figures:
        target = ""
        if figure.target is not None:
            which = "" if figure.judged == "p50" else f"{figure.judged} "
            target = f"{which}{'≤' if figure.better == 'less' else '≥'} {figure.target:g}"
        verdict = {
            None: "",
            True: "[green]reached[/green]",
            False: f"[red]missed ({_rounded(figure.value):g})[/red]",
        }
        s = summary(figure.name, figure.unit, figure.rounds, figure.judged)
        _add_row(table, s, target, verdict[figure.reached])
        if figure.peer is not None:
            _add_row(table, {**figure.peer, "name": f"  {figure.peer['name']}"}, "", "")
    console.print(table)


def _add_row(table: Table, s: dict[str, Any], target: str, verdict: str) -> None:
    spread = "{:g} – {:g}".format(*s["spread"])
    numbers = (f"{s['p50']:g}", f"{s['p95']:g}", spread, str(s["runs"]))
    table.add_row(f"{s['name']}, {s['unit']}", *numbers, target, verdict)


def _rounded(value: float) -> float:
    """Three digits that count; more would pretend to know."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, max(0, 2 - math.floor(math.log10(abs(value)))))
