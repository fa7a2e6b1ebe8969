"""`./ee2 limits`: jobs per user, run time per app and user, sizes. By the REST API, as this stack's
administrator; every change says what it does to the jobs that are there, and is in the audit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

_TIMEOUT_S = 60
_NONE = "none"
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)")
_FIGURES = ("cpus", "memory_mb", "disk_gb", "children", "waiting")

limits = typer.Typer(
    invoke_without_command=True,
    help="Limits: jobs per user, run time, sizes. Without a command: show them.",
)
User = Annotated[str, typer.Argument(help="Name of the user, or default: every user")]
Note = Annotated[str | None, typer.Option(help="For those whom it concerns to read")]
Reason = Annotated[str | None, typer.Option(help="Why, for the audit")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do")]


@limits.callback()
def show(context: typer.Context) -> None:
    """Show the limits, and how many jobs of whom run and wait."""
    if context.invoked_subcommand is not None:
        return
    users, rules, sizes = (_ask("GET", f"/limits/{name}") for name in ("users", "time", "sizes"))
    default = users["default"]
    rows = []
    if default is not None:
        rows.append(("default", str(default["places"]), "", "", "", *_set(default)))
    for one in users["users"]:
        own = one["own"]
        limit = "" if one["limit"] is None else str(one["limit"])
        counts = (str(one[name]) for name in ("running", "waiting", "held_back"))
        rows.append((one["user"], limit, *counts, *(_set(own) if own else ("", "", ""))))
    heads = ("user", "jobs at once", "running", "waiting", "held back", "until", "set by", "note")
    _table(heads, rows, "Nobody has a limit, and no job is live")
    _table(
        ("app", "user", "run time", "", "set by", "note"),
        [
            (_any(r["app"]), _any(r["user"]), r["words"].partition(" for ")[0], *_set(r))
            for r in rules["rules"]
        ],
        "There is no rule on run time",
    )
    _table(
        ("user", "ceilings", "", "set by", "note"),
        [(_everybody(s["user"]), _figures(s["figures"]), *_set(s)) for s in sizes["sizes"]],
        "There is no ceiling on sizes",
    )


@limits.command()
def user(
    name: User,
    places: Annotated[str, typer.Argument(help="Jobs at once; 0: may not start; none: no limit")],
    until: Annotated[str | None, typer.Option(help="A date, such as 2030-01-31")] = None,
    note: Note = None,
    reason: Reason = None,
    dry_run: DryRun = False,
) -> None:
    """Let at most so many jobs of a user run at once. In force at once; what runs goes on."""
    given = None if places == _NONE else _number(places)
    who = _star(name)
    if dry_run:
        _say(_ask("POST", "/limits/preview", {"kind": "user", "user": who, "places": given}))
        return
    path = f"/limits/users/{quote(who, safe='')}"
    body = {"places": given, "expires": until, "note": note, "reason": reason}
    _change(path, None if given is None else body, {"reason": reason})


@limits.command("time")
def run_time(
    app: Annotated[str, typer.Argument(help="Module.method, or any")],
    limit: Annotated[str, typer.Argument(help="Such as 90s, 30min, 2h, 7d; none: no rule")],
    user: Annotated[str, typer.Option(help="Only for this user's jobs")] = "any",
    now: Annotated[
        bool, typer.Option("--now", help="Also for jobs that wait or run already")
    ] = False,
    note: Note = None,
    reason: Reason = None,
    dry_run: DryRun = False,
) -> None:
    """Let jobs of an app, of a user, or both, run for so long. The most specific rule counts."""
    seconds = None if limit == _NONE else _seconds(limit)
    which, who = _star(app), _star(user)
    if dry_run:
        asked = {"kind": "time", "app": which, "user": who, "seconds": seconds}
        _say(_ask("POST", "/limits/preview", asked))
        return
    path = f"/limits/time/{quote(which, safe='')}/{quote(who, safe='')}"
    body = {"seconds": seconds, "apply_now": now, "note": note, "reason": reason}
    done = _change(
        path, None if seconds is None else body, {"reason": reason, "apply_now": now}
    )
    if now:
        print(f"Applied to {done.get('applied', 0)} jobs that wait or run")


@limits.command()
def size(
    name: User,
    cpus: Annotated[int | None, typer.Option(help="Cores per job")] = None,
    memory_mb: Annotated[int | None, typer.Option(help="Memory per job, MB")] = None,
    disk_gb: Annotated[int | None, typer.Option(help="Disk per job, GB")] = None,
    children: Annotated[int | None, typer.Option(help="Jobs per batch")] = None,
    waiting: Annotated[int | None, typer.Option(help="Waiting jobs")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take all ceilings away")] = False,
    note: Note = None,
    reason: Reason = None,
    dry_run: DryRun = False,
) -> None:
    """Set ceilings for jobs that come; those that are not named here stay as they are."""
    given = dict(zip(_FIGURES, (cpus, memory_mb, disk_gb, children, waiting), strict=True))
    given = {figure: value for figure, value in given.items() if value is not None}
    who = _star(name)
    path = f"/limits/sizes/{quote(who, safe='')}"
    known = [one for one in _ask("GET", "/limits/sizes")["sizes"] if one["user"] == who]
    figures: dict[str, Any] = {} if remove or not known else dict(known[0]["figures"])
    figures |= given
    if dry_run:
        _say(_ask("POST", "/limits/preview", {"kind": "size", "user": who, "figures": figures}))
        return
    # Not over what somebody else has set since it was read.
    seen = {"revision": known[0]["revision"] if known else 0, "reason": reason}
    body = {"figures": figures, "note": note, **seen}
    _change(path, None if remove and not given else body, seen)


def _change(path: str, body: Mapping[str, Any] | None, query: Mapping[str, Any]) -> Any:
    """Set what the path names, or take it away (body None), and say what that does."""
    if body is None:
        done = _ask("DELETE", path, query=query)
    else:
        done = _ask("PUT", path, body)
    _say(done["preview"])
    limit = done.get("limit")
    print("There is no such limit now" if limit is None else f"Set by {limit['set_by']}")
    return done


def _say(preview: Mapping[str, Any]) -> None:
    print(preview["text"])


def _ask(
    verb: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    query: Mapping[str, Any] | None = None,
) -> Any:
    import httpx

    from ee2_cli.settings import StackError, load_settings
    from ee2_cli.stack import require_started, token_file

    settings = load_settings()
    require_started(settings)
    try:
        answer = httpx.request(
            verb,
            f"{settings.rpc_url}/api/v1{path}",
            json=body,
            params={k: v for k, v in (query or {}).items() if v is not None},
            headers={"Authorization": token_file(settings).read_text().strip()},
            timeout=_TIMEOUT_S,
            trust_env=False,
        )
    except httpx.TransportError as e:
        raise StackError(f"The server does not answer ({e}). Start it with ./ee2 up") from None
    try:
        content = answer.json()
    except ValueError:
        raise StackError(f"The server does not answer as it should: {answer.status_code}") from None
    if answer.is_error:
        raise StackError(content["error"]["message"])
    return content


def _star(name: str) -> str:
    return "*" if name in ("default", "any", "*") else name


def _any(name: str) -> str:
    return "any" if name == "*" else name


def _everybody(name: str) -> str:
    return "default" if name == "*" else name


def _number(text: str) -> int:
    from ee2_cli.settings import StackError

    if not text.isascii() or not text.isdigit():
        raise StackError(f"'{text}' is not a number of jobs: give 0, 1, 2, … or none")
    return int(text)


def _seconds(text: str) -> int:
    from ee2_cli.settings import StackError

    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise StackError(f"'{text}' is not a run time: give 90s, 30min, 2h, 7d or none")
    return round(float(match.group(1)) * _UNITS[match.group(2)])


def _set(one: Mapping[str, Any]) -> tuple[str, str, str]:
    """Until when, by whom, note."""
    until = ""
    if one.get("expires") is not None:
        at = datetime.fromtimestamp(one["expires"] / 1000, UTC)
        until = f"{at:%Y-%m-%d %H:%M} UTC" + ("" if one["in_force"] else " (over)")
    return until, one["set_by"], one.get("note") or ""


def _figures(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items() if value is not None)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not rows:
        print(none)
        return
    table = Table(*heads, box=None)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)
