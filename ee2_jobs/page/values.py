"""Values of unknown size and form, cut down to what a page can take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

_MAX_DEPTH = 100


def json_bytes(value: Any) -> bytes:
    """A value of a record as JSON; what JSON does not know (an id) as text."""
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)


def cut(text: Any, max_bytes: int) -> str | None:
    """The text, so far as its JSON has `max_bytes`, with … at the end if something is missing; None
    for what is no text."""
    if not isinstance(text, str):
        return None
    shown = text[:max_bytes]
    while (size := len(json_bytes(shown))) > max_bytes:
        shown = shown[: min(len(shown) - 1, len(shown) * max_bytes // size)]
    return shown if len(shown) == len(text) else f"{shown}…"


def first_line(text: Any, max_bytes: int = 300) -> str | None:
    """The first line of a text that has letters; None if there is none."""
    if not isinstance(text, str):
        return None
    line = next((line for line in text.splitlines() if line.strip()), None)
    return cut(line.strip(), max_bytes) if line else None


def shrunk(value: Any, max_bytes: int) -> tuple[Any, bool]:
    """The value, and whether something of it is left out so that its JSON has `max_bytes` at most:
    long texts and long lists are cut, the more the larger it is."""
    size = len(json_bytes(value))
    if size <= max_bytes:
        return value, False
    letters, items = 4096, 500
    while letters > 8:
        smaller = _less(value, letters, items, 0)
        if len(json_bytes(smaller)) <= max_bytes:
            return smaller, True
        letters, items = letters // 4, max(items // 4, 2)
    return f"({size} bytes)", True


def _less(value: Any, letters: int, items: int, depth: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= letters else f"{value[:letters]}… ({len(value)} letters)"
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, list):
        less = [_less(one, letters, items, depth + 1) for one in value[:items]]
        return less if len(value) <= items else [*less, f"… ({len(value)} in all)"]
    if isinstance(value, Mapping):
        pairs = list(value.items())[:items]
        less_of: dict[str, Any] = {
            _less(str(key), letters, items, 0): _less(one, letters, items, depth + 1)
            for key, one in pairs
        }
        if len(value) > items:
            less_of["…"] = f"{len(value)} in all"
        return less_of
    return value


def leaves(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The single values in a value, each with its place (`[0].reads.name`)."""
    if depth <= _MAX_DEPTH and value and isinstance(value, Mapping):
        for key, one in value.items():
            yield from leaves(one, f"{path}.{key}" if path else str(key), depth + 1)
    elif depth <= _MAX_DEPTH and value and isinstance(value, list):
        for i, one in enumerate(value):
            yield from leaves(one, f"{path}[{i}]", depth + 1)
    else:
        yield path, value
