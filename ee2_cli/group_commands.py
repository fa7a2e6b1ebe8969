"""`./ee2 groups`: the client groups in force, and a check of a file before it is put in place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

_TIMEOUT_S = 30
_FIGURES = (
    ("cores", "cpus"),
    ("memory, MB", "memory_mb"),
    ("disk, GB", "disk_gb"),
    ("run time, s", "time_limit_s"),
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(groups)


def groups(
    check: Annotated[
        Path | None, typer.Option(help="Only say whether this file could be used")
    ] = None,
) -> None:
    """Show the client groups: what a job gets (and may ask for at most), and where it goes."""
    if check is not None:
        from ee2_jobs.client_groups import load_client_groups

        found = load_client_groups(check)
        print(f"{check} can be used: {', '.join(found.groups)}")
        return
    now = _ask()
    _table(now["groups"])
    if now["problem"]:
        print(f"\nThe file has changed and is not in force: {now['problem']}")


def _table(found: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for head in ("group", *(head for head, _ in _FIGURES), "goes to", ""):
        table.add_column(head, overflow="fold")
    for one in found:
        table.add_row(
            one["name"] + (" (default)" if one["default"] else ""),
            *(_figure(one["defaults"][key], one["ceilings"][key]) for _, key in _FIGURES),
            "this pool" if one["kind"] == "pool" else f"{one['route']} ({one['kind']})",
            escape(one["description"]),
        )
    Console(highlight=False).print(table)


def _figure(default: int | None, ceiling: int | None) -> str:
    told = "" if default is None else str(default)
    return told if ceiling is None else f"{told} (at most {ceiling})".strip()


def _ask() -> dict[str, Any]:
    """What is in force, by the REST API, as this stack's administrator."""
    import httpx

    from ee2_cli.settings import StackError, load_settings
    from ee2_cli.stack import require_started, token_file

    settings = load_settings()
    require_started(settings)
    try:
        answer = httpx.get(
            f"{settings.rpc_url}/api/v1/groups",
            headers={"Authorization": token_file(settings).read_text().strip()},
            timeout=_TIMEOUT_S,
            trust_env=False,
        )
    except httpx.TransportError as e:
        raise StackError(f"The server does not answer ({e}). Start it with ./ee2 up") from None
    now: dict[str, Any] = answer.json()
    if answer.is_error:
        raise StackError(now["error"]["message"])
    return now
