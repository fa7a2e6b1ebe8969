"""What can go wrong: a small tree, with messages for people."""

from __future__ import annotations


class EngineError(Exception):
    """An error answer of the server, or no answer that makes sense.

    code, name: JSON-RPC's; None and "" where the error is not the server's. message: for people.
    """

    def __init__(self, message: str, code: int | None = None, name: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.name = name


class NotAuthenticated(EngineError):
    """No token, or one that is not valid (any more)."""


class NotFound(EngineError):
    """There is no such job, or it is not for this user: the server does not tell which."""


class MethodNotFound(EngineError):
    """This server does not have the method."""


class Unavailable(EngineError):
    """The server does not answer, or cannot at the moment; later it may.

    arrived: False if the call cannot have reached the server; otherwise it may have been done.
    """

    def __init__(
        self, message: str, code: int | None = None, name: str = "", *, arrived: bool = True
    ) -> None:
        super().__init__(message, code, name)
        self.arrived = arrived


class NoResult(EngineError):
    """The job has returned nothing: not yet, or because it failed, or because its app does not.

    status: the state of the job."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class WaitedTooLong(EngineError, TimeoutError):
    """The time given to `wait` was over before the jobs had ended."""
