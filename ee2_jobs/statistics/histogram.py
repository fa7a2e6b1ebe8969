"""Times in buckets that grow by a fifth, so that medians of any span of days can be told.

A day keeps its runs' buckets as bytes, one byte per run in rising order: histograms are merged by
joining bytes, and counted by `bytes.count`, both at the speed of memory. The middle of a bucket is
at most 9.6 % from any value in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ee2_jobs.model import Document

FIRST_S = 0.1  # what is shorter counts as this
GROWTH = 1.2
LAST = 255
_LOG = math.log(GROWTH)


def bucket(seconds: float) -> int:
    """The bucket of a time."""
    if seconds <= FIRST_S:
        return 0
    return min(LAST, math.floor(math.log(seconds / FIRST_S) / _LOG))


def bucket_expression(seconds: Document | str) -> Document:
    """`bucket` as MongoDB computes it; `seconds` is an expression that gives a number."""
    ratio = {"$max": [1, {"$divide": [seconds, FIRST_S]}]}
    return {"$toInt": {"$min": [LAST, {"$floor": {"$divide": [{"$ln": ratio}, _LOG]}}]}}


def encode(buckets: Iterable[int]) -> bytes:
    """The buckets of runs as a day keeps them."""
    return bytes(sorted(buckets))


def quantiles(merged: bytes, shares: Sequence[float]) -> list[float | None]:
    """Times, s, below which these shares (0 to 1, rising) of the runs lie; None without runs."""
    if not merged:
        return [None] * len(shares)
    found: list[float | None] = []
    place, seen = min(merged) - 1, 0
    for share in shares:
        wanted = max(1, math.ceil(share * len(merged)))
        while seen < wanted:
            place += 1
            seen += merged.count(place)
        found.append(FIRST_S * GROWTH ** (place + 0.5))
    return found
