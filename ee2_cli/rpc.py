"""The command line's connection to the engine."""

from __future__ import annotations

from ee2_client import Client, EngineError

# For a restart of the API server; a stack that is down is found before by its state.
_PATIENCE_S = 10


def connect(url: str, token: str | None, timeout_s: float = 60) -> Client:
    """A client that asks and acts as the administrator of this stack."""
    return Client(
        url,
        token,
        timeout_s=timeout_s,
        patience_s=_PATIENCE_S,
        as_admin=True,
        hint="Start it with ./ee2 up",
    )


def server_version(url: str) -> str | None:
    """The engine's version; None if it does not answer (yet)."""
    try:
        with Client(url, timeout_s=5, patience_s=0) as server:
            return str(server.call("ver"))
    except EngineError:
        return None
