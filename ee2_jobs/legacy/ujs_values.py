"""What UserAndJobState's clients send, checked. Limits and texts are that service's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ee2_jobs.errors import InvalidInput, shown
from ee2_jobs.model import Document, now_s

MAX_NAME = 100
MAX_STATUS = 200
MAX_TEXT = 1000
MAX_DETAIL = 100_000
MAX_PROGRESS = 2**31 - 1
MAX_WORKSPACES = 10
# UserAndJobState knew no limits here; lists return these of each job.
MAX_SERVICES = 1000
MAX_META_BYTES = 100_000
MAX_RESULTS = 1000
_DATE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?(Z|[+-]\d{4})", re.ASCII
)
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)


@dataclass(frozen=True)
class Progress:
    """How a job tells its progress: kind `none`, `percent` or `task`; most: the value at the end,
    None for `none`."""

    kind: str
    most: int | None


def required_text(value: Any, name: str, limit: int) -> str:
    """A text of 1 to `limit` letters."""
    if value is None or value == "":
        raise InvalidInput(f"{name} cannot be null or the empty string")
    return optional_text(value, name, limit) or ""


def optional_text(value: Any, name: str, limit: int) -> str | None:
    """A text of up to `limit` letters, or null."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be a string, not {shown(value)}")
    if len(value) > limit:
        raise InvalidInput(f"{name} exceeds the maximum length of {limit}")
    return value


def parse_workspace(value: Any) -> int:
    """The id of a workspace, which UserAndJobState has as a string."""
    if not isinstance(value, str) or not _WHOLE.fullmatch(value):
        raise InvalidInput(f"The string {value} is not a valid integer workspace ID")
    return int(value)


def parse_progress(value: Any) -> Progress:
    """An InitProgress mapping {ptype, max}."""
    if value is None:
        raise InvalidInput("InitProgress cannot be null")
    _known_keys(value, "InitProgress", ("ptype", "max"))
    kind, most = value.get("ptype"), value.get("max")
    if kind is None:
        raise InvalidInput("Progress type cannot be null")
    if kind == "none":
        return Progress(kind, None)
    if kind == "percent":
        return Progress(kind, 100)
    if kind != "task":
        raise InvalidInput(f"No such progress type: {kind}")
    if most is None:
        raise InvalidInput("Max progress cannot be null for task based progress")
    most = _whole(most, "max")
    if most > MAX_PROGRESS:
        raise InvalidInput(f"Max progress can be no greater than {MAX_PROGRESS}")
    if most < 1:
        raise InvalidInput("The maximum progress for the job must be > 0")
    return Progress(kind, most)


def parse_increment(value: Any) -> int:
    """By how much a job has got on; null is not at all. More than any maximum is cut to that."""
    if value is None:
        return 0
    number = _whole(value, "progress")
    if number < 0:
        raise InvalidInput("progress cannot be negative")
    return min(number, MAX_PROGRESS)


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(f"{name} must be a whole number, not {shown(value)}")
    return value


def parse_est_complete(value: Any) -> float | None:
    """When a job is expected to end, in seconds since the epoch: `YYYY-MM-DDThh:mm:ss`, then at
    will `.` and three digits, then `Z`, `+hhmm` or `-hhmm`; in the future."""
    if value is None:
        return None
    problem = InvalidInput(f'Unparseable date: "{value}"')
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise problem
    try:
        # In UTC, as it is told to clients: the last hours of the year 9999 may not be.
        at_s = datetime.fromisoformat(value).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise problem from None
    if at_s <= now_s():
        raise InvalidInput("The estimated completion date must be in the future")
    return at_s


def parse_meta(value: Any) -> dict[str, str] | None:
    """A job's own labels: strings by name."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidInput("meta must be a mapping")
    for key, text in value.items():
        if not isinstance(text, str):
            raise InvalidInput(f"meta.{key} must be a string, not {shown(text)}")
        if "\0" in key:
            raise InvalidInput("meta: a key contains the NUL character")
    size = sum(len(text.encode("utf-8", "replace")) for item in value.items() for text in item)
    if size > MAX_META_BYTES:
        raise InvalidInput(f"meta may hold {MAX_META_BYTES} bytes at most, not {size}")
    return dict(value)


def parse_results(value: Any) -> Document | None:
    """A Results mapping, as it is stored and sent back: without what is null."""
    if value is None:
        return None
    _known_keys(
        value, "Results", ("shocknodes", "shockurl", "workspaceids", "workspaceurl", "results")
    )
    kept: Document = {}
    for field, one in (("shocknodes", "shocknode"), ("workspaceids", "workspaceid")):
        if value.get(field) is not None:
            kept[field] = [required_text(i, one, MAX_TEXT) for i in _list(value[field], field)]
    for field in ("shockurl", "workspaceurl"):
        if value.get(field) is not None:
            kept[field] = required_text(value[field], field, MAX_TEXT)
    if value.get("results") is not None:
        kept["results"] = [_result(one) for one in _list(value["results"], "results")]
    return kept


def _result(value: Any) -> Document:
    if value is None:
        raise InvalidInput("Result cannot be null")
    _known_keys(value, "Result", ("server_type", "url", "id", "description"))
    kept: Document = {
        "server_type": required_text(value.get("server_type"), "servertype", MAX_NAME),
        "url": required_text(value.get("url"), "url", MAX_TEXT),
        "id": required_text(value.get("id"), "id", MAX_TEXT),
    }
    description = optional_text(value.get("description"), "description", MAX_TEXT)
    if description is not None:
        kept["description"] = description
    return kept


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInput(f"{name} must be a list")
    if len(value) > MAX_RESULTS:
        raise InvalidInput(f"{name}: at most {MAX_RESULTS}, not {len(value)}")
    return value


def _known_keys(value: Any, name: str, keys: tuple[str, ...]) -> None:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name} must be a mapping")
    unknown = [key for key in value if key not in keys]
    if unknown:
        raise InvalidInput(f"Unexpected arguments in {name}: {' '.join(sorted(unknown))}")
