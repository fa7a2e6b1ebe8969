"""Values as the old services stored them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from ee2_jobs.model import Document

_LATEST_S = 253_402_300_799.0  # the end of the year 9999
_MAX_WSID = 2**53


class Untranslatable(Exception):
    """A row that no record can be made of; the text is the reason, the same for all such rows."""


def job_id(value: Any, field: str) -> ObjectId:
    """The id of a job, stored as an ObjectId or as its 24 letters; Untranslatable otherwise."""
    if isinstance(value, ObjectId):
        return value
    if isinstance(value, str) and ObjectId.is_valid(value):
        return ObjectId(value)
    raise Untranslatable(f"{field} is not the id of a job")


def text(row: Mapping[str, Any], field: str) -> str | None:
    """A string; None if it is absent or something else."""
    value = row.get(field)
    return value if isinstance(value, str) else None


def required_text(row: Mapping[str, Any], field: str) -> str:
    """A string that is there and not empty; Untranslatable otherwise."""
    value = text(row, field)
    if not value:
        raise Untranslatable(f"{field} is missing")
    return value


def date_s(value: Any) -> float | None:
    """A MongoDB date in seconds since the epoch; None if it is no date.

    Dates are UTC: the published transfer read naive ones as local time.
    """
    if isinstance(value, DatetimeMS):  # beyond what Python's calendar has
        return _sane(int(value) / 1000)
    if isinstance(value, datetime):
        return _sane((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    return None


def ms_to_s(value: Any) -> float | None:
    """Milliseconds since the epoch in seconds; None if it is no number, or 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return _sane(value / 1000) or None


def _sane(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and 0 <= seconds <= _LATEST_S else None


def id_time_s(oid: ObjectId) -> float:
    """When the job of this id was created."""
    return float(int.from_bytes(oid.binary[:4], "big"))


def workspace_id(value: Any) -> int | None:
    """A workspace's id, from a number or digits; None if it is none."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value.strip()[:20])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value < _MAX_WSID else None


def unescaped(value: Any) -> Any:
    """The value with the keys of its mappings as clients sent them: NJS stored `%` as `%25`, `$`
    as `%24` and `.` as `%2e`. `%25` is undone last, or `%252e` would become a dot."""
    if isinstance(value, Mapping):
        return {_unescaped_key(k): unescaped(v) for k, v in value.items()}
    if isinstance(value, list):
        return [unescaped(v) for v in value]
    return value


def _unescaped_key(key: str) -> str:
    if "%" not in key:
        return key
    return key.replace("%2e", ".").replace("%24", "$").replace("%25", "%")


def present(fields: Mapping[str, Any]) -> Document:
    """The fields that are not None: EE2 stores no nulls."""
    return {k: v for k, v in fields.items() if v is not None}
