"""Messages that tell of the same thing: they differ in ids, addresses and numbers only."""

from __future__ import annotations

import re

from ee2_jobs.page.values import first_line

MESSAGE_LETTERS = 400  # of a message are looked at
_NUMBER, _ID = "‹n›", "‹id›"
# What differs, in this order.
_DIFFERS = (
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), _ID),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), _NUMBER),
    (re.compile(r"\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{16,64}\b"), _ID),
    (re.compile(r"\d+(?:[.,]\d+)*"), _NUMBER),
)  # fmt: skip
_PATTERNS = {_NUMBER: r"(?:0x[0-9a-fA-F]+|\d+(?:[.,]\d+)*)", _ID: r"[0-9a-fA-F-]{16,64}"}


def alike(message: str) -> str:
    """The first line of a message with ids and numbers taken out: the same for messages that tell
    of the same thing."""
    return without_numbers(first_line(message[:MESSAGE_LETTERS]) or "")


def without_numbers(text: str) -> str:
    """The text with ids and numbers taken out."""
    for differs, sign in _DIFFERS:
        text = differs.sub(sign, text)
    return text


def pattern(name: str) -> str:
    """The regular expression of MongoDB for the messages of which `alike` says this. The text of
    the name itself is never a pattern."""
    text = name.strip()
    whole = not text.endswith("…")  # one that was cut is a beginning
    parts = re.split(f"({_NUMBER}|{_ID})", text.removesuffix("…"))
    body = "".join(_PATTERNS.get(part) or re.escape(part) for part in parts)
    return rf"^\s*{body}" + (r"[^\S\r\n]*(?:[\r\n]|$)" if whole else "")
