"""The HTML report of a merged alignment: one file, without anything fetched from elsewhere."""
from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Any

WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 28, 48


@dataclass(frozen=True)
class Reference:
    """One reference sequence: lengths in base pairs, depths as reads over a position."""

    name: str
    length_bp: int
    covered_bp: int
    mean_depth: float
    bin_bp: int
    depths: list[float]


STYLE = """
:root { --ink:#1c2733; --soft:#5b6b7c; --line:#dde4ea; --page:#f4f6f8; --card:#fff;
  --main:#17698f; --fill:#9fcbe0; --good:#23744a; --bad:#b3261e; --badbg:#fdecea; }
@media (prefers-color-scheme: dark) { :root { --ink:#e6ebf0; --soft:#9fb0c0; --line:#33404d;
  --page:#12181f; --card:#1b242e; --main:#6cbbe0; --fill:#2b5f7a; --good:#6ed29c; --bad:#ff8a80;
  --badbg:#3a1f1f; } }
* { box-sizing:border-box }
body { margin:0; background:var(--page); color:var(--ink);
  font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif }
main { max-width:1060px; margin:0 auto; padding:32px 24px 48px }
h1 { font-size:26px; line-height:1.2; margin:0 0 4px }
h2 { font-size:17px; margin:0 0 12px }
.lead { color:var(--soft); margin:0 0 24px }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(170px,1fr)); gap:12px }
.card, section { background:var(--card); border:1px solid var(--line); border-radius:10px }
.card { padding:14px 16px }
.card b { display:block; font-size:25px; line-height:1.25; font-variant-numeric:tabular-nums }
.card span { color:var(--soft); font-size:13px }
section { padding:20px; margin-top:16px; overflow-x:auto }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums }
th { text-align:left; font-weight:600; color:var(--soft); font-size:13px }
th, td { padding:6px 14px 6px 0; border-bottom:1px solid var(--line); vertical-align:top }
tr:last-child td { border-bottom:0 }
.n { text-align:right }
.narrow { max-width:480px }
code { font:13px ui-monospace,Menlo,"DejaVu Sans Mono",monospace }
.good { color:var(--good) } .bad { color:var(--bad) }
.notice { background:var(--badbg); border-color:var(--bad) }
svg { display:block; width:100%; height:auto; min-width:640px }
svg text { fill:var(--soft); font-size:12px } .grid { stroke:var(--line) }
.axis { stroke:var(--soft) } .area { fill:var(--fill) } .curve { fill:none; stroke:var(--main) }
.mean { stroke:var(--bad); stroke-dasharray:5 4 } svg .meantext { fill:var(--bad) }
"""


def number(value: float) -> str:
    """Returns a count with thousands apart by a narrow space."""
    return f"{value:,.0f}".replace(",", "\u202f")


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "–"


def ticks(top: float, about: int) -> list[float]:
    """Returns round values from 0 that reach `top`, about `about` of them."""
    raw = top / about if top > 0 else 1.0
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    return [step * i for i in range(int(math.ceil(top / step - 1e-9)) + 1)]


def coverage_svg(reference: Reference) -> str:
    """Returns the picture of the read depth along a reference sequence."""
    unit, per = ("kb", 1e3) if reference.length_bp < 2e6 else ("Mb", 1e6)
    if reference.length_bp < 2000:
        unit, per = "bp", 1.0
    y_ticks = ticks(max([*reference.depths, reference.mean_depth, 1.0]) * 1.05, 5)
    x_ticks = [t for t in ticks(reference.length_bp / per, 10) if t * per <= reference.length_bp]
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(position_bp: float) -> float:
        return LEFT + width * position_bp / reference.length_bp

    def y(depth: float) -> float:
        return TOP + height * (1 - depth / y_ticks[-1])

    label = (f"Read depth along {reference.name}: mean {reference.mean_depth:.1f}, "
             f"highest {max(reference.depths):.0f} reads")
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for tick in y_ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" '
                     f'y2="{y(tick):.1f}"/><text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" '
                     f'text-anchor="end">{tick:g}</text>')
    steps = []
    for index, depth in enumerate(reference.depths):
        start, end = index * reference.bin_bp, min((index + 1) * reference.bin_bp,
                                                   reference.length_bp)
        steps.append(f"{x(start):.1f},{y(depth):.1f} {x(end):.1f},{y(depth):.1f}")
    line = " ".join(steps)
    parts.append(f'<polygon class="area" points="{LEFT},{y(0):.1f} {line} '
                 f'{WIDTH - RIGHT},{y(0):.1f}"/><polyline class="curve" points="{line}"/>')
    mean = y(reference.mean_depth)
    parts.append(f'<line class="mean" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{mean:.1f}" '
                 f'y2="{mean:.1f}"/><text class="meantext" x="{WIDTH - RIGHT}" '
                 f'y="14" text-anchor="end">- - - mean {reference.mean_depth:.1f}×, highest '
                 f'{max(reference.depths):.0f}×</text>')
    for tick in x_ticks:
        parts.append(f'<line class="axis" x1="{x(tick * per):.1f}" x2="{x(tick * per):.1f}" '
                     f'y1="{y(0):.1f}" y2="{y(0) + 5:.1f}"/><text x="{x(tick * per):.1f}" '
                     f'y="{y(0) + 19:.1f}" text-anchor="middle">{tick:g}</text>')
    parts.append(
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>'
        f'<text x="{LEFT + width / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
        f'position on {escape(reference.name)} ({unit})</text>'
        f'<text transform="translate(16 {TOP + height / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">depth (reads per position)</text></svg>')
    return "".join(parts)


def chunk_rows(children: list[dict[str, Any]]) -> str:
    """Returns the table rows of the chunks, failed ones with their reason."""
    rows = []
    for child in children:
        head = f'<tr><td class="n">{child["index"]}</td><td><code>{escape(child["job_id"])}</code>'
        if child.get("result"):
            counts = child["result"][0]
            rows.append(
                f'{head}</td><td class="good">{escape(child["status"])}</td>'
                f'<td class="n">{number(counts["reads"])}</td>'
                f'<td class="n">{number(counts["aligned"])}</td>'
                f'<td class="n">{percent(counts["aligned"], counts["reads"])}</td>'
                f'<td class="n">{percent(counts["properly_paired"], counts["reads"])}</td></tr>')
        else:
            reason = escape(str(child.get("error") or "no reason is known"))
            rows.append(f'{head}</td><td class="bad">{escape(child["status"])}</td>'
                        f'<td colspan="4" class="bad">{reason}</td></tr>')
    return "".join(rows)


def render(children: list[dict[str, Any]], counts: dict[str, Any], references: list[Reference],
           mean: float, covered: float) -> str:
    """Returns the report as one HTML page."""
    failed = [child for child in children if not child.get("result")]
    length = sum(reference.length_bp for reference in references)
    cards = [
        (number(counts["primary"]), f"reads in {len(children) - len(failed)} chunks"),
        (percent(counts["primary mapped"], counts["primary"]), "of the reads aligned"),
        (percent(counts["properly paired"], counts["paired in sequencing"]),
         "of the reads properly paired"),
        (f"{mean:.1f}×", "mean coverage"),
        (f"{100 * covered:.2f} %", f"of {number(length)} bp covered"),
    ]
    notice = ""
    if failed:
        names = ", ".join(str(child["index"]) for child in failed)
        notice = (f'<section class="notice"><b class="bad">{len(failed)} of {len(children)} chunks '
                  f'failed and are not in this alignment:</b> chunk {names}. The table below '
                  'says why.</section>')
    pictures = "".join(
        f"<section><h2>Coverage of {escape(r.name)}</h2>{coverage_svg(r)}</section>"
        for r in references if r.depths)
    if len(references) > sum(1 for r in references if r.depths):
        pictures += "<section>Only the longest reference sequences are drawn.</section>"
    flags = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{number(value)}</td></tr>'
        for name, value in counts.items() if isinstance(value, int))
    name = references[0].name if len(references) == 1 else f"{len(references)} sequences"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Alignment to {escape(name)}</title><style>{STYLE}</style></head><body><main>
<h1>Alignment to {escape(name)}</h1>
<p class="lead">Paired reads aligned by bowtie2 in {len(children)} chunks, merged by samtools</p>
<div class="cards">{"".join(f'<div class="card"><b>{v}</b><span>{t}</span></div>'
                            for v, t in cards)}</div>
{notice}{pictures}
<section><h2>Chunks</h2><table><thead><tr><th class="n">chunk</th><th>job</th><th>state</th>
<th class="n">reads</th><th class="n">aligned</th><th class="n">aligned share</th>
<th class="n">properly paired</th></tr></thead><tbody>{chunk_rows(children)}</tbody>
</table></section>
<section><h2>Counts (samtools flagstat)</h2><table class="narrow"><tbody>{flags}</tbody></table>
</section>
</main></body></html>
"""
