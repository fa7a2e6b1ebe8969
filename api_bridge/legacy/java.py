"""What the Java services said about calls that do not fit, word for word: clients compare it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api_bridge.envelope import DIALECTS, INVALID_PARAMS, Dialect, Fault

_SERVER_CLASSES = {
    "NarrativeJobService": "us.kbase.narrativejobservice.NarrativeJobServiceServer",
    "UserAndJobState": "us.kbase.userandjobstate.UserAndJobStateServer",
}


def no_such_method(name: str, dialect: Dialect) -> str:
    """The message for a method (`module.function`) that is not served."""
    if dialect != "java":
        return f"There is no method {name}"
    module = name.partition(".")[0]
    if module not in DIALECTS:
        return f"Method [{name}] is not a valid method name for asynchronous job execution"
    server = _SERVER_CLASSES.get(module, module)
    return f"Can not find method [{name}] in server class {server}"


def check_params(name: str, takes: tuple[type, ...], params: Sequence[Any]) -> None:
    """Fault unless number and JSON types of the parameters are right. Null passes, and trailing
    optional parameters must be there as null."""
    if len(params) != len(takes):
        raise Fault(INVALID_PARAMS, f"Wrong parameter count for method {name}")
    for n, (value, kind) in enumerate(zip(params, takes, strict=True), 1):
        if value is not None and not isinstance(value, kind):
            raise Fault(
                INVALID_PARAMS,
                f"Wrong type of parameter {n} for method {name} (this is not {_KINDS[kind]})",
            )


_KINDS = {dict: "a mapping", list: "a list", str: "a string", int: "a whole number"}
