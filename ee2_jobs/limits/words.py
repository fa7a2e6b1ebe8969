"""Limits in the words that people read, and what may stand in them."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

from ee2_jobs.audit import MAX_REASON_LETTERS
from ee2_jobs.errors import InvalidInput
from ee2_jobs.model import now_s, parse_time_s
from ee2_jobs.requests import parse_method

ANY = "*"
"""In place of an app or a user: any. The default, in other words."""
MAX_NOTE_LETTERS = 300
_MAX_NAME_LETTERS = 100
_INT64 = 2**63


def duration(seconds: float) -> str:
    """A span as people say it: '90 s', '1 h 30 min', '7 days'."""
    parts, rest = [], round(seconds)
    for unit, size, least in (("days", 86400, 2), ("h", 3600, 1), ("min", 60, 1)):
        if rest >= size * least and seconds >= 120:
            parts.append(f"{rest // size} {unit}")
            rest %= size
    if rest or not parts:
        parts.append(f"{rest} s")
    return " ".join(parts)


def day(at_s: float) -> str:
    """The day of a time, in UTC."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d")


def moment(at_s: float) -> str:
    """A time to the minute, in UTC; of a midnight only the day."""
    text = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return text.removesuffix(" 00:00 UTC")


def jobs(count: int) -> str:
    """'1 job', '14 jobs'."""
    return f"{count:,} job{'' if count == 1 else 's'}"


def whose(user: str) -> str:
    """The user that something is set for; the default is everybody's."""
    return "every user" if user == ANY else f"user {user}"


def parse_user(value: Any) -> str:
    """A user's name, or `*`."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput("user must be the name of a user, or * for every user")
    name = value.strip()
    wrong = any(unicodedata.category(c)[0] in "CZ" for c in name) or ":" in name or "/" in name
    if wrong or len(name) > _MAX_NAME_LETTERS:
        raise InvalidInput(f"'{name[:_MAX_NAME_LETTERS]}' is not the name of a user")
    return name


def parse_app(value: Any) -> str:
    """`Module.method`, or `*`."""
    if value == ANY:
        return ANY
    module, function = parse_method(value, "app")
    app = f"{module}.{function}"
    if len(app) > 2 * _MAX_NAME_LETTERS or any(c in app for c in ":/*$ \t"):
        raise InvalidInput(f"'{app[:_MAX_NAME_LETTERS]}' is not an app: give Module.method, or *")
    return app


def parse_text(value: Any, field: str, most: int = MAX_NOTE_LETTERS) -> str | None:
    """A note in one line; None if there is nothing in it."""
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > most:
        raise InvalidInput(f"{field} must be a text of at most {most} letters")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in value.strip()):
        raise InvalidInput(f"{field} must be one line of plain text")
    return value.strip() or None


def parse_reason(value: Any) -> str | None:
    """Why something is done, for the audit."""
    return parse_text(value, "reason", MAX_REASON_LETTERS)


def parse_whole(value: Any, field: str, least: int, most: int) -> int:
    """A whole number within a range; InvalidInput names field and range."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidInput(f"{field} must be a whole number from {least:,} to {most:,}")
    return value


def parse_revision(value: Any) -> int | None:
    """The revision that a caller saw: 0 if nothing was set then, None for "whatever it is"."""
    return None if value is None else parse_whole(value, "revision", 0, _INT64 - 1)


def parse_expiry(value: Any) -> float | None:
    """When something ends, s since the epoch; None for never. As clients send times (`parse_time_s`
    of the model); a bare date means the end of that day, in UTC. InvalidInput for the past."""
    if value is None or value == "":
        return None
    try:
        at_s = parse_time_s(value)
        if isinstance(value, str) and len(value.strip()) == 10 and "-" in value:
            at_s += timedelta(days=1).total_seconds()
        if not math.isfinite(at_s):
            raise ValueError
        day(at_s)
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(
            f"expires must be a date such as 2030-01-31, or ms since 1970, not '{value}'"
        ) from None
    if at_s <= now_s():
        raise InvalidInput(f"expires: {moment(at_s)} is over already")
    return at_s


def with_rule(message: str, rule: Any) -> str:
    """A sentence about a limit that was reached, with the rule that set it."""
    return f"{message} The limit is {rule}." if isinstance(rule, str) and rule else message
