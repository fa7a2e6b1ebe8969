"""The JSON-RPC envelope, as EE2's clients write and read it (`docs/reference/methods.md`).

Requests: version 1.1 (`"version": "1.1"`), 2.0 (`"jsonrpc": "2.0"`) or 1.0 (neither), POSTed
without a content type. Answers: HTTP 200 with `result`, or HTTP 500 with `error`; KBase's clients
read an error only if the content type is exactly `application/json` and `error` has exactly the
keys they know.

KBase's services spoke two dialects of it, one per language they were written in; a third is that of
modules called through NarrativeJobService. They differ in the codes and texts of errors, and in
what a request must have.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import orjson

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
UNEXPECTED = 0
JAVA_ERROR = -32500
JAVA_TOKEN_ERROR = -32400
JAVA_GET_ERROR = -32300

Dialect = Literal["python", "java", "sdk"]
DIALECTS: dict[str, Dialect] = {
    "execution_engine2": "python",
    "ee2_runner": "python",
    "NarrativeJobService": "java",
    "UserAndJobState": "java",
    "NarrativeJobProxy": "python",
}
"""The services, and the dialect of each. Every other module is an app's."""

NAMES = {
    PARSE_ERROR: "Parse error",
    INVALID_REQUEST: "Invalid request",
    METHOD_NOT_FOUND: "Method not found",
    INVALID_PARAMS: "Invalid params",
    INTERNAL_ERROR: "Internal error",
    SERVER_ERROR: "Server error",
    UNEXPECTED: "Unexpected Server Error",
}

# orjson turns whole numbers beyond 64 bit into fractions; such bodies go to the standard parser.
_LONG_NUMBER = re.compile(rb"\d{19}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_OUTPUT = orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an answer must repeat of its request. `version` is "1.0", "1.1" or "2.0"; `id` is None
    for a notification, and where the request could not be read so far."""

    version: str = "1.1"
    id: str | int | float | None = None
    has_id: bool = False
    dialect: Dialect = "python"


@dataclass(frozen=True, slots=True)
class Address:
    """One of the addresses: the service that it was made for, and that service's dialect."""

    module: str
    dialect: Dialect


EE2 = Address("execution_engine2", "python")


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose form is right; its method is `module.name`, and may not exist."""

    envelope: Envelope
    method: str
    params: list[Any]
    context: dict[str, Any] = field(default_factory=dict)


class Fault(Exception):
    """An error as it goes over the wire: JSON-RPC's code and a message for people.

    name: for an error that an app told: it goes out as the app told it, with `detail` as its
    `error`.
    """

    def __init__(
        self,
        code: int,
        message: str,
        envelope: Envelope | None = None,
        *,
        name: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.envelope = envelope or Envelope()
        self.name = name
        self.detail = detail


class TooLarge(Fault):
    """A body over the limit."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            INVALID_REQUEST,
            f"The request is larger than {limit_bytes / 1_000_000:g} MB. Send several smaller "
            "requests, or have the setting [ee2] max_body_mb raised.",
        )
        self.limit_bytes = limit_bytes


def decode(body: bytes, address: Address = EE2) -> Request:
    """The request in a body that came to an address; Fault if it is none."""
    call = _parse(body)
    if isinstance(call, list):
        raise Fault(INVALID_REQUEST, "Batches of requests are not served: send one mapping")
    if not isinstance(call, dict):
        raise Fault(INVALID_REQUEST, f"A request is a mapping, not {_kind(call)}")
    version = "1.1" if call.get("version") == "1.1" else "1.0"
    if "jsonrpc" in call:
        version = "2.0"
    call_id = call.get("id")
    if call_id is not None and (isinstance(call_id, bool) or _kind(call_id) not in _ID_KINDS):
        raise Fault(INVALID_REQUEST, f"id is a string or a number, not {_kind(call_id)}",
                    Envelope(version, dialect=address.dialect))
    envelope = Envelope(version, call_id, "id" in call, address.dialect)
    if "jsonrpc" in call and call["jsonrpc"] != "2.0":
        raise Fault(INVALID_REQUEST, 'jsonrpc must be "2.0"', envelope)
    java = address.dialect == "java"
    for name in ("method", "params") if java else ("id", "method", "params"):
        if name not in call:
            if java:
                text = f"JSON RPC {name} property is not defined"
                raise Fault(METHOD_NOT_FOUND, text, envelope)
            raise Fault(INVALID_REQUEST, f"The request has no '{name}'", envelope)
    method, params = call["method"], call["params"]
    if java and isinstance(method, str) and method and "." not in method:
        method = f"{address.module}.{method}"
    if not isinstance(method, str) or method.count(".") != 1:
        raise Fault(INVALID_REQUEST, "method must be a string module.name, with one dot", envelope)
    dialect = _dialect(method, address)
    if dialect != address.dialect:
        envelope = Envelope(version, call_id, "id" in call, dialect)
    if params is None:
        params = []
    if isinstance(params, dict):
        raise Fault(INVALID_PARAMS, "expected positional params, not keyword", envelope)
    if not isinstance(params, list):
        raise Fault(INVALID_REQUEST, f"params must be a list, not {_kind(params)}", envelope)
    context = call.get("context")
    return Request(envelope, method, params, context if isinstance(context, dict) else {})


def _dialect(method: str, address: Address) -> Dialect:
    """The dialect of the service that a method belongs to, whatever the address."""
    module, _, function = method.partition(".")
    own = DIALECTS.get(module)
    return own or ("sdk" if function.startswith("_") else address.dialect)


_ID_KINDS = ("a string", "a number")


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")


def _parse(body: bytes) -> Any:
    """JSON as EE2 reads it, but for NaN and Infinity, which are no JSON. Whole numbers of any size
    stay whole."""
    if not _LONG_NUMBER.search(body):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # the standard parser says why, or is more lenient (half of a surrogate pair)
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
        if _SURROGATE.search(body):
            # Half a pair is no character: MongoDB and UTF-8 cannot hold it. Whole pairs are.
            text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
            value = json.loads(text)
        return value
    except RecursionError:
        raise Fault(PARSE_ERROR, "The JSON is nested too deeply") from None
    except UnicodeDecodeError as e:
        raise Fault(PARSE_ERROR, f"The body is not UTF-8: {e.reason} at byte {e.start}") from None
    except ValueError as e:
        raise Fault(PARSE_ERROR, str(e)) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def encode_result(envelope: Envelope, result: Any) -> bytes:
    """The body of a success; empty for a notification, which the Java services do not know."""
    if envelope.dialect != "python":
        answer: dict[str, Any] = {"version": "1.1", "result": result}
        if envelope.has_id:
            answer["id"] = envelope.id
    elif envelope.id is None and envelope.has_id:
        return b""
    elif envelope.version == "2.0":
        answer = {"jsonrpc": "2.0", "result": result, "id": envelope.id}
    elif envelope.version == "1.1":
        answer = {"version": "1.1", "result": result, "id": envelope.id}
    else:
        answer = {"result": result, "id": envelope.id}
    return _dump(answer)


def encode_fault(fault: Fault) -> bytes:
    """The body of an error. `error` (`data` in 2.0) is null unless an app told it: what happened
    inside stays in the server's log."""
    if fault.envelope.dialect != "python":
        return _encode_java_fault(fault)
    envelope = fault.envelope
    error: dict[str, Any] = {
        "name": NAMES[fault.code],
        "code": fault.code,
        "message": fault.message,
        "data" if envelope.version == "2.0" else "error": None,
    }
    key = "jsonrpc" if envelope.version == "2.0" else "version"
    answer: dict[str, Any] = {key: envelope.version, "error": error}
    if envelope.has_id:
        answer["id"] = envelope.id
    return _dump(answer)


def _encode_java_fault(fault: Fault) -> bytes:
    """The same in the dialects of the Java services; of calls to apps, only what the app told has
    a code of its own."""
    envelope = fault.envelope
    code, message = fault.code, fault.message
    if fault.name is None:
        if isinstance(fault, TooLarge):
            message = f"Object is too big, length is more than {fault.limit_bytes} bytes"
        elif code in (PARSE_ERROR, INVALID_REQUEST):
            message = f"Parse error ({message})"
        code = METHOD_NOT_FOUND if envelope.dialect == "sdk" else _JAVA_CODES.get(code, code)
    error = {
        "name": fault.name or "JSONRPCError",
        "code": code,
        "message": message,
        "error": fault.detail,
    }
    answer: dict[str, Any] = {"version": "1.1", "error": error}
    if envelope.has_id and envelope.dialect == "java":
        answer["id"] = envelope.id
    return _dump(answer)


_JAVA_CODES = {
    INVALID_REQUEST: PARSE_ERROR,
    SERVER_ERROR: JAVA_ERROR,
    UNEXPECTED: JAVA_ERROR,
}


def _dump(value: Any) -> bytes:
    """JSON bytes. orjson refuses whole numbers beyond 64 bit, which an id may be."""
    try:
        return orjson.dumps(value, option=_OUTPUT)
    except TypeError:
        return json.dumps(value).encode("ascii")
