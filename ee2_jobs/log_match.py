"""What is looked for in logs: plain text or a regular expression, in time linear to the log.

Regular expressions are RE2's: no pattern, however made, takes more than time in proportion to the
text. Python's own and MongoDB's (PCRE) can be made to run for years by a pattern of ten letters.

Many lines are looked through as one text, joined by line ends that no pattern matches: a call per
line would take ten times as long as the search itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import re2

from ee2_jobs.errors import InvalidInput

MAX_QUERY_LETTERS = 1000
EXCERPT_LETTERS = 240
_BEFORE_LETTERS = 60  # of an excerpt, before the first match
_MARKS = 20  # matches told of one line
_PATTERN_BYTES = 4 << 20  # memory for one pattern
_EXCERPT_BYTES = 4 * EXCERPT_LETTERS


@dataclass(frozen=True)
class Match:
    """A line in which something was found. marks: where in the excerpt, start and end in UTF-16
    units (as JavaScript counts letters)."""

    number: int
    excerpt: str
    marks: tuple[tuple[int, int], ...]
    is_error: bool


class Matcher:
    """Finds lines. Make one with `matcher`."""

    def __init__(self, pattern: re2._Regexp | None) -> None:
        self._pattern = pattern

    def lines(self, texts: Sequence[str], first: int = 0) -> Iterator[tuple[int, int]]:
        """The places (from `first` on) of the texts in which something is found, each with the
        byte at which it begins."""
        if self._pattern is None:
            yield from ((place, 0) for place in range(first, len(texts)))
            return
        parts = [text.encode("utf-8", "replace") for text in texts]
        starts = [0, *accumulate(len(part) + 1 for part in parts)]
        joined = b"\n".join(parts)
        place = first
        while place < len(parts):
            found = self._pattern.search(joined, starts[place])
            if found is None:
                return
            place = min(bisect_right(starts, found.start()) - 1, len(parts) - 1)
            yield place, found.start() - starts[place]
            place += 1

    def excerpt(self, text: str, at_byte: int) -> tuple[str, tuple[tuple[int, int], ...]]:
        """The part of a line around the match that begins at a byte of it, and the matches in
        that part."""
        data = text.encode("utf-8", "replace")
        begin = max(0, len(data[:at_byte].decode("utf-8", "ignore")) - _BEFORE_LETTERS)
        shown = text[begin : begin + EXCERPT_LETTERS]
        start_byte = len(text[:begin].encode("utf-8", "replace"))
        before, after = ("… " if begin else ""), ("…" if begin + len(shown) < len(text) else "")
        marks: list[tuple[int, int]] = []
        if self._pattern is not None:
            window = shown.encode("utf-8", "replace")
            # On the whole line, so that ^ and $ mean its ends; a match may go on behind the window.
            end_byte = min(len(data), start_byte + len(window) + _EXCERPT_BYTES)
            for found in self._pattern.finditer(data, start_byte, end_byte):
                start, end = found.start() - start_byte, found.end() - start_byte
                if start >= len(window) or len(marks) == _MARKS:
                    break
                if end > start:
                    marks.append((_units(before, window[:start]), _units(before, window[:end])))
        return f"{before}{shown}{after}", tuple(marks)


def _units(before: str, data: bytes) -> int:
    """How many UTF-16 units a text has, a part of which is in UTF-8."""
    return len((before + data.decode("utf-8", "ignore")).encode("utf-16-le")) // 2


def matcher(text: str, *, regex: bool = False, case: bool = False) -> Matcher:
    """What finds `text`: letter by letter, or as a regular expression (RE2's syntax). An empty text
    finds every line. case: capital and small letters differ.

    InvalidInput for a text that is too long, or a pattern that is none; it names the place.
    """
    if not text:
        return Matcher(None)
    if len(text) > MAX_QUERY_LETTERS:
        raise InvalidInput(
            f"q: at most {MAX_QUERY_LETTERS} letters can be looked for, not {len(text)}"
        )
    options = re2.Options()
    options.literal = not regex
    options.case_sensitive = case
    options.never_nl = True
    options.never_capture = True
    options.log_errors = False
    options.max_mem = _PATTERN_BYTES
    pattern = text.encode("utf-8", "replace")
    try:
        made = re2.compile(pattern, options=options)
        if regex:  # only what is a pattern by itself: with the flag before it, more might be one
            made = re2.compile(b"(?m)" + pattern, options=options)
    except re2.error as e:
        told = e.args[0] if e.args else ""
        error = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
        raise InvalidInput(_problem(text, error)) from None
    finally:
        re2.purge()  # its cache would keep the memory of 128 patterns
    return Matcher(made)


def _problem(text: str, error: str) -> str:
    """RE2's error with the letter at which it is, counted from 1."""
    what, colon, part = error.partition(": ")
    part = part.removeprefix("(?m)")
    place = text.find(part) if colon and part else len(text) - 1
    shown = part if len(part) <= 40 else f"{part[:40]}…"
    where = f" at letter {max(place, 0) + 1}" + (f": {shown}" if shown else "")
    return (
        f"q is not a regular expression: {what}{where}. The syntax is RE2's, which has neither "
        "references back nor looking around; without regex=1 the text is looked for as it is"
    )
