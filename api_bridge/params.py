"""How parameters that several methods share are read, and answers that they share are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ee2_jobs.errors import InvalidInput, shown
from ee2_jobs.model import TerminatedCode, truthy
from ee2_jobs.retry import Retried

Params = Mapping[str, Any]


def is_as_admin(params: Params) -> bool:
    """Whether the caller asks to act as an administrator."""
    return truthy(params.get("as_admin"))


def code_of_cancel(params: Params) -> Any:
    """The `terminated_code` of a cancel; an administrator's is recorded as one."""
    code = params.get("terminated_code")
    return int(TerminatedCode.BY_ADMIN) if code is None and is_as_admin(params) else code


def whole(value: Any, field: str) -> int:
    """A whole number from 0 on; null is 0, digits in a string are taken."""
    if value is None:
        return 0
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:18])
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidInput(f"{field} must be a whole number from 0 on, not {shown(value)}")
    return min(value, 2**62)


def boolean(value: Any, field: str) -> bool:
    """EE2's reading of flags (`ee2-api` 1.9): numbers, numbers in strings, true and false."""
    if isinstance(value, str):
        try:
            return bool(float(value))
        except ValueError:
            if value.strip().lower() not in ("true", "false"):
                raise InvalidInput(f"{field}: {value} is not a boolean value") from None
            return value.strip().lower() == "true"
    return bool(value)


def retried_answer(one: Retried) -> dict[str, Any]:
    """What became of one job that was to be retried."""
    if one.error is not None:
        return {"job_id": one.job_id, "error": str(one.error)}
    return {"job_id": one.job_id, "retry_id": one.retry_id}
