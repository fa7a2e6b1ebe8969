"""The logs of two jobs beside each other: what differs, as `diff -u` has it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any, Literal

from ee2_jobs import log_pages
from ee2_jobs.alike import without_numbers
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document
from ee2_jobs.rights import Level, find_permitted

MAX_LINES = 2000
CONTEXT = 3
_LETTERS = 1000  # of a line
_RIGHTS = dict.fromkeys(("user", "wsid", "authstrat", "shared", "status"), 1)

Part = Literal["first", "last"]


async def compare_logs(
    engine: Engine,
    caller: Caller,
    job_ids: Sequence[str],
    *,
    lines: int = MAX_LINES,
    part: Part = "first",
    loose: bool = False,
    as_admin: bool = False,
) -> Document:
    """{jobs: [{id, count, from, to, cut}], part, same, hunks: [[{sign, a, b, text}]]}.

    job_ids: two jobs that the caller may read. lines: so many of each log, its first or its last.
    loose: numbers, times and ids make no difference. cut: not the whole log was looked at. a, b:
    the line's numbers in the two logs, from 0; sign: `-` only in the first, `+` only in the second,
    else blank. Lines are cut at 1,000 letters.
    """
    if len(job_ids) != 2 or job_ids[0] == job_ids[1]:
        raise InvalidInput("ids must name two different jobs, separated by a comma")
    if not 1 <= lines <= MAX_LINES:
        raise InvalidInput(f"lines must be from 1 to {MAX_LINES}")
    jobs = [
        await find_permitted(
            engine, caller, one, Level.READ, as_admin=as_admin, projection=_RIGHTS
        )
        for one in job_ids
    ]
    sides: list[Document] = []
    texts: list[list[str]] = []
    for job in jobs:
        found, count = await log_pages.page(
            engine.store, job["_id"], limit=lines, tail=lines if part == "last" else None,
            cut_letters=_LETTERS,
        )  # fmt: skip
        first = found[0]["n"] if found else 0
        sides.append(
            {
                "id": str(job["_id"]), "count": count, "from": first, "to": first + len(found),
                "cut": len(found) < count,
            }
        )  # fmt: skip
        texts.append([line["text"] for line in found])
    hunks = await asyncio.to_thread(
        differences, texts[0], texts[1], loose=loose, first=(sides[0]["from"], sides[1]["from"])
    )
    return {"jobs": sides, "part": part, "same": not hunks, "hunks": hunks}


def differences(
    a: Sequence[str], b: Sequence[str], *, loose: bool = False, first: tuple[int, int] = (0, 0)
) -> list[list[Document]]:
    """The places at which two texts differ, with CONTEXT lines around them. first: the numbers of
    their first lines."""
    keys_a, keys_b = a, b
    if loose:
        keys_a, keys_b = [without_numbers(t) for t in a], [without_numbers(t) for t in b]
    hunks = []
    # Lines that are there very often do not count as places to begin at: that keeps it quick.
    for group in SequenceMatcher(None, keys_a, keys_b).get_grouped_opcodes(CONTEXT):
        hunk: list[Document] = []
        for what, a1, a2, b1, b2 in group:
            if what == "equal":
                hunk += [
                    _line(" ", first[0] + a1 + n, first[1] + b1 + n, a[a1 + n])
                    for n in range(a2 - a1)
                ]
                continue
            hunk += [_line("-", first[0] + n, None, a[n]) for n in range(a1, a2)]
            hunk += [_line("+", None, first[1] + n, b[n]) for n in range(b1, b2)]
        hunks.append(hunk)
    return hunks


def _line(sign: str, a: int | None, b: int | None, text: str) -> dict[str, Any]:
    return {"sign": sign, "a": a, "b": b, "text": text}
