"""The filter words, the same on every list.

| word | values |
|---|---|
| `status` | one or more states, or `live` (all that have not ended), with commas |
| `app` | `module/app`, or a method `module.method` |
| `module` | a module's name |
| `user` | the owner |
| `ws` | number of a workspace (narrative) |
| `group` | client group |
| `node` | host of the newest run |
| `batch` | id of a batch: its children are listed |
| `error` | error code, 0 to 6 |
| `failure` | what failed children of a batch say, as the page of the batch groups them |
| `ended_by` | who cancelled: `user`, `admin`, `automation`, `batch`, `server` |
| `from`, `to` | time, ms since the epoch or ISO: of the end if the list is sorted by that |
| `min_wait`, `min_run` | a duration: seconds, or `90s`, `10m`, `2h`, `1d` |
| `q` | the start of an id, a part of an app's name or of a narrative's title |
| `star` | `true`: jobs on which the caller has put a star |
| `label` | jobs on which the caller has put this label |
| `scheduler` | id of the scheduler: HTCondor's cluster.proc, or Slurm's; for administrators |
| `runs` | `true`: each run by itself, as the statistics count: no batches, all attempts |

Other words are no concern of ours: clients keep theirs beside these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from ee2_jobs.errors import InvalidInput
from ee2_jobs.model import LIVE, TERMINAL, ErrorCode, Status, TerminatedCode, parse_time_s

WORDS = ("status", "app", "module", "user", "ws", "group", "node", "batch", "error", "failure",
         "ended_by", "from", "to", "min_wait", "min_run", "q", "star", "label", "scheduler", "runs")
ENDED_BY = {
    "user": TerminatedCode.BY_USER,
    "admin": TerminatedCode.BY_ADMIN,
    "automation": TerminatedCode.BY_AUTOMATION,
    "batch": TerminatedCode.BY_BATCH_ABORT,
    "server": TerminatedCode.BY_SERVER_FAILURE,
}
_ALL = frozenset((*LIVE, *TERMINAL))
_MAX_CHARS = 200
_MAX_FAILURE_CHARS = 400
_MAX_S = 2**32 - 1
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd]?)")
_ID = re.compile(r"[0-9a-fA-F]{24}")


@dataclass(frozen=True)
class Filter:
    """What is sought; None: anything. statuses: never empty, never all. Times and durations in
    seconds; from_s included, to_s not."""

    statuses: frozenset[str] | None = None
    app: str | None = None
    module: str | None = None
    user: str | None = None
    ws: int | None = None
    group: str | None = None
    node: str | None = None
    batch: str | None = None
    error: int | None = None
    failure: str | None = None
    ended_by: str | None = None
    from_s: float | None = None
    to_s: float | None = None
    min_wait_s: float | None = None
    min_run_s: float | None = None
    q: str | None = None
    star: bool = False
    label: str | None = None
    scheduler: str | None = None
    runs: bool = False

    @property
    def live(self) -> frozenset[str]:
        """The states sought of jobs that have not ended."""
        return (self.statuses or _ALL).intersection(LIVE)

    @property
    def ended(self) -> frozenset[str]:
        """The states sought of jobs that have ended."""
        return (self.statuses or _ALL).intersection(TERMINAL)

    def __str__(self) -> str:
        """The same for the same filter: what a cursor is bound to."""
        return repr([
            sorted(v) if isinstance(v := getattr(self, f.name), frozenset) else v
            for f in fields(self)
        ])  # fmt: skip


def parse(words: Mapping[str, str]) -> Filter:
    """The filter that the words say; an empty value is no filter. InvalidInput names the word."""
    given = {name: text for name in WORDS if (text := words.get(name, "").strip())}
    # What apps say may be of any letters.
    failure = given.pop("failure", None)
    # MongoDB takes no pattern with a NUL.
    if failure is not None and (len(failure) > _MAX_FAILURE_CHARS or "\0" in failure):
        raise _wrong("failure", f"at most {_MAX_FAILURE_CHARS} characters without NUL", failure)
    for name, text in given.items():
        if len(text) > _MAX_CHARS or not text.isprintable():
            raise _wrong(name, f"at most {_MAX_CHARS} characters, all of which can be seen", text)
    error = _whole("error", given.get("error"), max(ErrorCode))
    ended_by = given.get("ended_by")
    if ended_by is not None and ended_by not in ENDED_BY:
        raise _wrong("ended_by", f"one of {', '.join(ENDED_BY)}", ended_by)
    batch = given.get("batch")
    if batch is not None and not _ID.fullmatch(batch):
        raise _wrong("batch", "the id of a batch, 24 hexadecimal digits", batch)
    start_s, end_s = _time("from", given.get("from")), _time("to", given.get("to"))
    if start_s is not None and end_s is not None and start_s > end_s:
        raise InvalidInput("from and to: from must not be later than to")
    for name in ("star", "runs"):
        if given.get(name, "true") != "true":
            raise _wrong(name, "true, or left out", given[name])
    statuses = _statuses(given.get("status"))
    if statuses is not None and error is not None and Status.ERROR not in statuses:
        raise InvalidInput("status and error: only jobs in status error have an error code")
    if statuses is not None and ended_by is not None and Status.TERMINATED not in statuses:
        raise InvalidInput("status and ended_by: only jobs in status terminated were cancelled")
    if error is not None and ended_by is not None:
        raise InvalidInput("error and ended_by: no job has failed and was cancelled too")
    return Filter(
        statuses=statuses,
        app=given.get("app"),
        module=given.get("module"),
        user=given.get("user"),
        ws=_whole("ws", given.get("ws"), 2**53),
        group=given.get("group"),
        node=given.get("node"),
        batch=batch.lower() if batch else None,
        error=error,
        failure=failure,
        ended_by=ended_by,
        from_s=start_s,
        to_s=end_s,
        min_wait_s=_duration("min_wait", given.get("min_wait")),
        min_run_s=_duration("min_run", given.get("min_run")),
        q=given.get("q"),
        star="star" in given,
        label=given.get("label"),
        scheduler=given.get("scheduler"),
        runs="runs" in given,
    )


def _statuses(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    found: set[str] = set()
    for word in text.split(","):
        name = word.strip()
        if name == "live":
            found.update(LIVE)
        elif name in _ALL:
            found.add(name)
        elif name:
            raise _wrong("status", f"live, or some of {', '.join((*LIVE, *TERMINAL))}", name)
    return frozenset(found) if found and found != _ALL else None


def _whole(name: str, text: str | None, most: int) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and int(text) <= most:
        return int(text)
    raise _wrong(name, f"a whole number from 0 to {int(most)}", text)


def _time(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        # In an address, a + stands for a blank.
        found = parse_time_s(text.replace(" ", "+") if "T" in text else text)
    except (ValueError, OverflowError):
        raise _wrong(
            name, "a time: ms since the epoch, or ISO as 2026-11-22T10:30:00Z (without zone: UTC)",
            text,
        ) from None
    return min(max(found, 0.0), float(_MAX_S))


def _duration(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    found = _DURATION.fullmatch(text)
    if found is None:
        raise _wrong(name, "a duration: seconds, or 90s, 10m, 2h, 1d", text)
    return float(found[1]) * _UNITS_S[found[2]]


def _wrong(name: str, wanted: str, text: str) -> InvalidInput:
    shown = text if len(text) <= 60 else f"{text[:60]}…"
    return InvalidInput(f'{name} must be {wanted}, not "{shown}"')
