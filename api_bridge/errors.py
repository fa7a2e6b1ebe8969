"""The one place where errors become what clients see."""

from __future__ import annotations

import logging
import secrets

from pymongo.errors import (
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    PyMongoError,
    WaitQueueTimeoutError,
    WriteError,
)

from api_bridge.envelope import (
    INTERNAL_ERROR,
    JAVA_TOKEN_ERROR,
    SERVER_ERROR,
    UNEXPECTED,
    Envelope,
    Fault,
)
from ee2_jobs.errors import (
    Denied,
    EngineError,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    TooMany,
    Unavailable,
)

log = logging.getLogger(__name__)

TROUBLE = "The job database does not answer at the moment. Please try again in a few seconds."
TOO_LARGE = "A record would be larger than 16 MB, which MongoDB cannot store: send less in params"
_TOO_LARGE_CODES = (10334, 17419, 17420)


def is_trouble(error: BaseException) -> bool:
    """Whether the same call may succeed a moment later: MongoDB is not reachable or changes its
    primary. Everything else is final."""
    if isinstance(
        error, Unavailable | ConnectionFailure | WaitQueueTimeoutError | ExecutionTimeout
    ):
        return True
    return isinstance(error, PyMongoError) and (
        error.has_error_label("TransientTransactionError")
        or error.has_error_label("RetryableWriteError")
    )


def fault_of(error: Exception, envelope: Envelope, method: str) -> Fault:
    """The error as it goes over the wire.

    The engine's own errors carry their message, with EE2's code -32000; what may succeed a moment
    later has -32603, which the runner takes for "try again"; a defect is logged under a number,
    and the client gets that number and EE2's code 0.
    """
    if isinstance(error, Fault):
        error.envelope = envelope
        return error
    if is_trouble(error):
        log.warning("%s: %s", method, error)
        text = str(error) if isinstance(error, Unavailable) else TROUBLE
        return Fault(INTERNAL_ERROR, text, envelope)
    if isinstance(error, EngineError):
        java_token = isinstance(error, NotAuthenticated) and envelope.dialect == "java"
        return Fault(JAVA_TOKEN_ERROR if java_token else SERVER_ERROR, str(error), envelope)
    if _is_too_large(error):
        return Fault(SERVER_ERROR, TOO_LARGE, envelope)
    return Fault(UNEXPECTED, unexpected(error, method), envelope)


def _is_too_large(error: Exception) -> bool:
    return isinstance(error, DocumentTooLarge) or (
        isinstance(error, WriteError) and error.code in _TOO_LARGE_CODES
    )


def unexpected(error: Exception, where: str) -> str:
    """Log a defect with its traceback; the sentence for the client, with the number to look for."""
    number = secrets.token_hex(4)
    log.error("defect %s in %s", number, where, exc_info=error)
    return f"An unexpected server error occurred (its number in the server's log: {number})"


def http_status_of(error: Exception) -> int:
    """The status for plain HTTP (artifacts), where nothing needs EE2's 500."""
    if is_trouble(error):
        return 503
    kinds: tuple[tuple[type[Exception], int], ...] = (
        (NotAuthenticated, 401),
        (Denied, 403),
        (NotFound, 404),
        (InvalidInput, 400),
        (TooMany, 429),
        (EngineError, 409),
    )
    return next((status for kind, status in kinds if isinstance(error, kind)), 500)
