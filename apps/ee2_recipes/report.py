"""The recipe `report`: one self-contained HTML page over the jobs of a batch."""
from __future__ import annotations

import json
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

COLOURS = {"completed": "#2e8b57", "error": "#c0392b", "terminated": "#8e6bbf"}
STYLE = """
:root { --ink:#1c2733; --soft:#5b6b7c; --line:#dde4ea; --page:#f4f6f8; --card:#fff; --bad:#b3261e }
@media (prefers-color-scheme: dark) { :root { --ink:#e6ebf0; --soft:#9fb0c0; --line:#33404d;
  --page:#12181f; --card:#1b242e; --bad:#ff8a80 } }
body { margin:0; background:var(--page); color:var(--ink);
  font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif }
main { max-width:1060px; margin:0 auto; padding:32px 24px 48px }
h1 { font-size:26px; margin:0 0 16px }
section { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:20px;
  margin-top:16px; overflow-x:auto }
svg { display:block; width:100%; height:28px; border-radius:6px }
.key { margin:12px 0 0; padding:0; list-style:none; display:flex; flex-wrap:wrap; gap:4px 20px }
.key i { display:inline-block; width:12px; height:12px; border-radius:3px; margin-right:6px }
table { border-collapse:collapse; width:100% }
th { text-align:left; font-size:13px; color:var(--soft) }
th, td { padding:6px 14px 6px 0; border-bottom:1px solid var(--line); vertical-align:top }
tr:last-child td { border-bottom:0 }
.n { text-align:right; font-variant-numeric:tabular-nums }
code { font:13px ui-monospace,Menlo,"DejaVu Sans Mono",monospace } .bad { color:var(--bad) }
a { color:inherit }
"""


def colour(status: str) -> str:
    """Returns the colour of a state in bar, key and table."""
    return COLOURS.get(status, "#7f8c8d")


def states_svg(states: Counter[str]) -> str:
    """Returns the bar that shows how many jobs ended in which state."""
    total, at, parts = sum(states.values()), 0.0, []
    for status, count in states.most_common():
        width = 1000 * count / total
        parts.append(f'<rect x="{at:.2f}" width="{width:.2f}" height="28" fill="{colour(status)}">'
                     f"<title>{count} {escape(status)}</title></rect>")
        at += width
    label = ", ".join(f"{count} {status}" for status, count in states.most_common())
    return (f'<svg viewBox="0 0 1000 28" preserveAspectRatio="none" role="img" '
            f'aria-label="{escape(label)}">{"".join(parts)}</svg>')


def files(value: Any) -> list[str]:
    """Returns every string of a result that names an artifact."""
    if isinstance(value, str):
        return [value] if value.startswith("artifact:") else []
    if isinstance(value, dict):
        value = list(value.values())
    return [name for item in value for name in files(item)] if isinstance(value, list) else []


def row(child: dict[str, Any]) -> str:
    """Returns a job's table row; its files are linked relative to this report's own address."""
    names = "<br>".join(
        f'<a href="{escape("../../" + name[9:])}">{escape(name.rsplit("/", 1)[-1])}</a>'
        for name in files(child.get("result")))
    return (f'<tr><td class="n">{child["index"]}</td><td><code>{escape(child["job_id"])}</code>'
            f'</td><td style="color:{colour(child["status"])}">{escape(child["status"])}</td>'
            f'<td>{names}</td><td class="bad">{escape(str(child.get("error") or ""))}</td></tr>')


def render(children: list[dict[str, Any]]) -> str:
    """Returns the page."""
    states = Counter(str(child["status"]) for child in children)
    key = "".join(f'<li><i style="background:{colour(status)}"></i>{count} {escape(status)}</li>'
                  for status, count in states.most_common())
    title = "Report over 1 job" if len(children) == 1 else f"Report over {len(children)} jobs"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}</style></head><body><main>
<h1>{title}</h1>
<section>{states_svg(states)}<ul class="key">{key}</ul></section>
<section><table><thead><tr><th class="n">index</th><th>job</th><th>state</th><th>files</th>
<th>error</th></tr></thead><tbody>{"".join(map(row, children))}</tbody></table>
</section></main></body></html>
"""


def main() -> None:
    """Reads the children from input.json, leaves the page as an artifact, names it in output.json.
    """
    params = json.loads(Path("input.json").read_text())["params"]
    children = params[0]["children"]
    Path("artifacts/report.html").write_text(render(children), encoding="utf-8")
    states = Counter(str(child["status"]) for child in children)
    result = {"report": "artifact:report.html", "jobs": len(children), "states": dict(states)}
    Path("output.json").write_text(json.dumps({"version": "1.1", "result": [result]}))


if __name__ == "__main__":
    main()
