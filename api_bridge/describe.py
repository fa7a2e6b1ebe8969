"""The reference of all methods, made from the code: `python -m api_bridge.describe > docs/api.md`.

What stands there of a method is its signature in the table of methods and the docstring of its
function. A test fails when docs/api.md is not what this gives.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

from api_bridge.envelope import NAMES
from api_bridge.methods import METHODS
from api_bridge.service import Method

TITLES = {
    "execution_engine2": "Execution Engine 2",
    "NarrativeJobService": "NarrativeJobService (NJS)",
    "UserAndJobState": "UserAndJobState (UJS)",
    "NarrativeJobProxy": "NarrativeJobProxy (NJP)",
    "ee2_runner": "The runner's own methods",
}
ABOUT = {
    "ee2_runner": "For this service's own runner, with the token of the job and for that job only.",
    "NarrativeJobService": "The old service's methods, on the same jobs.",
    "UserAndJobState": "The old service's methods, on the same jobs.",
    "NarrativeJobProxy": "The old service's methods, on the same jobs.",
}
MEANINGS = {
    -32700: "the body is no JSON",
    -32600: "no JSON-RPC request, or one that is too large",
    -32601: "there is no such method",
    -32602: "number or JSON type of the parameters",
    -32603: "MongoDB or another service does not answer: the same call may succeed later",
    -32000: "what the message says: input, rights, state; also tokens",
    0: "a defect; the message has a number to look for in the server's log",
}
_KINDS = {dict: "mapping", list: "list", str: "text", int: "whole number", object: "any value"}
_AUTH = {"none": "no token needed", "optional": "token optional", "required": "token"}
_JOB_TOKEN = {"never": "", "live": "the job's own, until its end", "always": "the job's own"}
_PART = re.compile(r"^(?=(?:Fields|Result|Right)\b)", re.MULTILINE)
_HEAD = """# API

All methods of the JSON-RPC endpoint, one by one. How a call is made, what a JobState holds, what
jobs, batches and split-aggregate runs may say of themselves: [Methods](reference/methods.md). From
Python: [the client](how-to/python-client.md). What differs from EE2, and why:
[Compatibility](compatibility.md).

This page is made from the code: `python -m api_bridge.describe > docs/api.md`.

Fields of mappings may be left out where a value stands after `=`, or where the text says what that
means; fields that are not known are ignored. Flags are 0 or 1, true or false. Ids of jobs are texts
of 24 hex digits. `as_admin` uses an administrator's role in place of one's own rights. Who may read
a job: its owner, who may read its workspace, with whom it is shared. Who may write it: its owner,
who may write its workspace; to cancel it, run it again and lower its priority also with whom it is
shared to manage. Who may not read it is told that it cannot be found.
"""


def api_page() -> str:
    """The whole page, in Markdown."""
    parts = [_HEAD, _errors(), _contents()]
    for service in _services():
        parts.append(f"## {_title(service)}\n")
        if service in ABOUT:
            parts.append(f"{ABOUT[service]}\n")
        for name, method in _methods_of(service).items():
            parts.append(_section(name, method))
    return "\n".join(parts)


def _services() -> list[str]:
    found = dict.fromkeys(name.partition(".")[0] for name in METHODS)
    return sorted(found, key=lambda s: (list(TITLES).index(s) if s in TITLES else len(TITLES), s))


def _title(service: str) -> str:
    return TITLES.get(service, service)


def _methods_of(service: str) -> Mapping[str, Method]:
    return {n: m for n, m in METHODS.items() if n.partition(".")[0] == service}


def _errors() -> str:
    rows = [f"| {code} | {name} | {MEANINGS[code]} |" for code, name in NAMES.items()]
    return "\n".join(["## Errors\n", "| code | name | when |", "|---|---|---|", *rows, ""])


def _contents() -> str:
    lines = ["## Overview\n", "| service | methods |", "|---|---|"]
    for service in _services():
        links = ", ".join(
            f"[`{name.partition('.')[2]}`](#{_anchor(name)})" for name in _methods_of(service)
        )
        lines.append(f"| [{_title(service)}](#{_title_anchor(service)}) | {links} |")
    return "\n".join([*lines, ""])


def _anchor(heading: str) -> str:
    """The anchor that Markdown viewers give to a method's heading."""
    return heading.replace(".", "").lower()


def _title_anchor(service: str) -> str:
    kept = (c for c in _title(service).lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def _section(name: str, method: Method) -> str:
    call = method.call
    names = list(inspect.signature(call).parameters)[2:]  # after service and caller
    takes = [f"`{n}`: {_KINDS[t]}" for n, t in zip(names, method.takes, strict=True)]
    facts = [f"Parameters: {', '.join(takes) or 'none'}", _token(method)]
    if method.values == "none":
        facts.append("returns null")
    elif method.values == "many":
        facts.append("returns several values")
    if method.audited != "no":
        how = "with `as_admin`" if method.audited == "as_admin" else "by administrators"
        facts.append(f"calls {how} are recorded in the audit")
    text = _PART.sub("- ", inspect.getdoc(call) or "")
    return f"### {name}\n\n{'; '.join(facts)}.\n\n{text}\n"


def _token(method: Method) -> str:
    extra = _JOB_TOKEN[method.job_token]
    return f"{_AUTH[method.auth]}, also {extra}" if extra else _AUTH[method.auth]


if __name__ == "__main__":
    print(api_page(), end="")
