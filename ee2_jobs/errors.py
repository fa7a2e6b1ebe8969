"""The engine's errors: a small tree. The bridge maps it to the wire in one place.

Messages are for people and name the field or the object. Where EE2's clients show or compare a
text (`docs/compatibility.md`), the text is EE2's.
"""

from __future__ import annotations

import json
from typing import Any

_SHOWN_LETTERS = 100


def shown(value: Any) -> str:
    """A value that a client sent, for a message: as JSON, the way it was sent, and not all of a
    long one."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = f'"{value}"'
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…"


class EngineError(Exception):
    """Base of all errors that a caller of the engine may see; `str(e)` is the message."""


class InvalidInput(EngineError):
    """What the caller sent cannot be accepted; nothing was stored."""


class NotFound(EngineError):
    """No such job, batch, app or artifact."""


class NotAuthenticated(EngineError):
    """No token, or a token that is not valid."""


class Denied(EngineError):
    """The caller is known but has no right to do this."""


class WrongState(EngineError):
    """The job is in a state that does not allow this."""


class Unavailable(EngineError):
    """Something the engine leans on does not answer now; the same call may succeed later."""


class TooMany(EngineError):
    """The caller has asked for too much at once. retry_after_s: when it may try again."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
