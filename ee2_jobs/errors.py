"""The engine's errors: a small tree. The bridge maps it to the wire in one place.

Messages are for people and name the field or the object. Where EE2's clients show or compare a
text (`docs/compatibility.md`), the text is EE2's.
"""

from __future__ import annotations


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
