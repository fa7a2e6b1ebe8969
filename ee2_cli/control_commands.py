"""`./ee2 pause`, `resume`, `drain`, `undrain`: what is accepted and not started."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

_TIMEOUT_S = 30
Reason = Annotated[str, typer.Option(help="Why, for the audit")]
Group = Annotated[str, typer.Argument(help="Name of the client group")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (pause, resume, drain, undrain):
        app.command()(command)


def pause(reason: Reason = "") -> None:
    """Accept jobs and start none; what runs goes on."""
    _switch("pause", reason)


def resume(reason: Reason = "") -> None:
    """Start jobs again."""
    _switch("resume", reason)


def drain(group: Group, reason: Reason = "") -> None:
    """Start no more jobs of a client group; what runs goes on."""
    _switch("drain", reason, group)


def undrain(group: Group, reason: Reason = "") -> None:
    """Start the group's jobs again."""
    _switch("undrain", reason, group)


def _switch(name: str, reason: str, group: str | None = None) -> None:
    """Do it by the REST API, as this stack's administrator, and say what is switched on now."""
    import httpx

    from ee2_cli.settings import StackError, load_settings
    from ee2_cli.stack import require_started, token_file

    settings = load_settings()
    require_started(settings)
    body = {"reason": reason or None} | ({} if group is None else {"group": group})
    try:
        answer = httpx.post(
            f"{settings.rpc_url}/api/v1/controls/{name}",
            json=body,
            headers={"Authorization": token_file(settings).read_text().strip()},
            timeout=_TIMEOUT_S,
            trust_env=False,
        )
    except httpx.TransportError as e:
        raise StackError(f"The server does not answer ({e}). Start it with ./ee2 up") from None
    now = answer.json()
    if answer.is_error:
        raise StackError(now["error"]["message"])
    _show("The engine is paused", now["paused"])
    for drained, one in now["drained"].items():
        _show(f"The client group {drained} is drained", one)
    if now["paused"] is None and not now["drained"]:
        print("Nothing is paused or drained")


def _show(what: str, one: dict[str, Any] | None) -> None:
    if one is not None:
        since = datetime.fromtimestamp(one["at"] / 1000).strftime("%Y-%m-%d %H:%M")
        why = f": {one['reason']}" if one["reason"] else ""
        print(f"{what} since {since} by {one['by']}{why}")
