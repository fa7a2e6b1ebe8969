"""The `filter` of the date-range methods: an allow-list of stored fields and comparisons.

EE2 handed filters to its database library as they came, operators and all (defect D30 of
`ee2-api`); here nothing reaches MongoDB but the fields, comparisons and plain values below.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ee2_jobs.errors import InvalidInput, shown
from ee2_jobs.model import Document, job_oid

MAX_VALUES = 1000
_INT64 = 2**63


class _Kind(enum.Enum):
    """What a field's values are."""

    TEXT = "a string"
    WHOLE = "a whole number"
    NUMBER = "a number (times: seconds)"
    FLAG = "true or false"
    ID = "a job id"


FIELDS: dict[str, _Kind] = {
    **dict.fromkeys(
        (
            "user", "authstrat", "status", "scheduler_type", "scheduler_id", "batch_id",
            "retry_parent", "retry_ids", "child_jobs", "errormsg", "msg", "job_input.method",
            "job_input.app_id", "job_input.service_ver", "job_input.parent_job_id",
            "job_input.source_ws_objects", "job_input.requested_release",
            "job_input.requirements.clientgroup", "job_input.narrative_cell_info.run_id",
            "job_input.narrative_cell_info.token_id", "job_input.narrative_cell_info.tag",
            "job_input.narrative_cell_info.cell_id",
        ),
        _Kind.TEXT,
    ),
    **dict.fromkeys(
        (
            "wsid", "error_code", "terminated_code", "job_input.wsid",
            "job_input.requirements.cpu", "job_input.requirements.memory",
            "job_input.requirements.disk",
        ),
        _Kind.WHOLE,
    ),
    **dict.fromkeys(("updated", "queued", "estimating", "running", "finished"), _Kind.NUMBER),
    **dict.fromkeys(("batch_job", "retry_saved_toggle"), _Kind.FLAG),
    **dict.fromkeys(("id", "_id", "job_id"), _Kind.ID),
}  # fmt: skip
COMPARISONS = ("ne", "gt", "gte", "lt", "lte", "in", "nin")


@dataclass(frozen=True)
class Condition:
    """One condition: the field as stored, its name and value as the client wrote them."""

    field: str
    query: Document
    name: str
    given: Any


def parse_filter(value: Any) -> list[Condition]:
    """A filter: a mapping of fields to values, or a list of `field=value`. Fields are written
    `a.b` or `a__b`, with a comparison `field__ne`, `__gt`, `__gte`, `__lt`, `__lte`, `__in`,
    `__nin`; the values of the last two are a list, or in a string separated by commas.

    Raises InvalidInput (EE2's texts where it had any) that names the field.
    """
    if value is None:
        return []
    pairs: Iterable[tuple[str, Any]]
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = [_pair(item) for item in value]
    else:
        raise InvalidInput("Job filter must be a dictionary or a list of key=value pairs")
    if len(value) > MAX_VALUES:
        raise InvalidInput(f"filter: at most {MAX_VALUES} conditions, not {len(value)}")
    return [_condition(name.strip(), given) for name, given in pairs]


def _pair(item: Any) -> tuple[str, str]:
    if not isinstance(item, str) or item.count("=") != 1:
        raise InvalidInput(f"filter: '{item}' must be field=value, with exactly one =")
    name, _, value = item.partition("=")
    return name, value.strip()


def _condition(name: str, given: Any) -> Condition:
    dotted = name.replace("__", ".")
    field, comparison = dotted, "eq"
    if field not in FIELDS:
        field, _, comparison = dotted.rpartition(".")
        if field not in FIELDS or comparison not in COMPARISONS:
            raise InvalidInput(
                f'Cannot resolve field "{name}": filter takes {", ".join(FIELDS)}, each with one '
                f"of the comparisons {', '.join(f'__{c}' for c in COMPARISONS)} or with none"
            )
    kind = FIELDS[field]
    if comparison in ("in", "nin"):
        values = given.split(",") if isinstance(given, str) else given
        if not isinstance(values, list):
            raise InvalidInput(f"filter: {name} must be a list of values, not {shown(given)}")
        if len(values) > MAX_VALUES:
            raise InvalidInput(f"filter: {name}: at most {MAX_VALUES} values, not {len(values)}")
        wanted: Any = [_plain(v, kind, name) for v in values]
    elif given is None and comparison in ("eq", "ne"):
        wanted = None
    else:
        wanted = _plain(given, kind, name)
    stored = "_id" if kind is _Kind.ID else field
    return Condition(field, {stored: {f"${comparison}": wanted}}, name, given)


def _plain(value: Any, kind: _Kind, name: str) -> Any:
    """The value in the type that is stored; never a mapping, so never an operator."""
    if kind is _Kind.ID:
        return job_oid(value)
    try:
        if kind is _Kind.TEXT and isinstance(value, str):
            return value.strip()
        if kind is _Kind.FLAG:
            return _flag(value)
        if not isinstance(value, bool) and isinstance(value, int | float | str):
            if kind is _Kind.NUMBER:
                return float(value)
            if kind is _Kind.WHOLE and not isinstance(value, float):
                number = int(value)
                if -_INT64 <= number < _INT64:
                    return number
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(f"filter: {name} must be {kind.value}, not {shown(value)}")


def _flag(value: Any) -> bool:
    word = str(value).strip().lower() if isinstance(value, bool | int | str) else ""
    if word in ("true", "1"):
        return True
    if word in ("false", "0"):
        return False
    raise ValueError
