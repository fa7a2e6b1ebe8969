"""One picture of the pool, shared by all who ask: its jobs in line, its slots, its users' shares.

The sampler (`ee2_operators/sampler.py`) takes it and puts it into `store.snapshots`, compressed;
each process that answers questions unpacks each version once. What it holds of a job is what the
pool knows: ids, figures, states. Nothing of it goes to a user but numbers and what is his.
"""

from __future__ import annotations

import asyncio
import enum
import json
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from bson import Binary

from ee2_jobs.model import Document, now_s
from ee2_jobs.store import Store

POOL = "pool"
WANTED = "pool_wanted"
# The sampler is quick for so long after somebody asked, s.
WANTED_S = 60.0
# The wish is noted at most so often, and a new version looked for at most so often, s.
NOTE_S = 15.0
LOOK_S = 1.0


class State(enum.StrEnum):
    """What a job does in the pool. `idle`: it may start; `waits`: the engine holds it back (limit,
    window, pause, drain); `held`: HTCondor does; `other`: it is on its way out."""

    IDLE = "idle"
    WAITS = "waits"
    HELD = "held"
    RUNNING = "running"
    OTHER = "other"


class PoolJob(NamedTuple):
    """A job in the pool. user: as the pool names him. submitter: whose share it counts under.
    queued_s, started_s: s since the epoch, started_s 0 unless it runs. window: of its batch, or '',
    and how many of it may be active at a time. route: '' for this pool, or where the job is sent.
    host: where it runs, or ''. hold: why HTCondor holds it, or ''."""

    job_id: str
    user: str
    submitter: str
    group: str
    level: int
    state: str
    priority: int
    queued_s: int
    cluster: int
    proc: int
    cpus: int
    memory_mb: int
    disk_mb: int
    used_memory_mb: int
    used_disk_mb: int
    started_s: int
    window: str
    window_places: int
    route: str
    host: str
    hold: str

    @property
    def size(self) -> tuple[int, int, int]:
        """Cores, memory (MB), disk (MB) that it asks for."""
        return (self.cpus, self.memory_mb, self.disk_mb)


class Slot(NamedTuple):
    """A slot of a machine with all that was cut out of it. load: cores that its jobs really use.
    groups: the client groups whose jobs it takes. drained: it takes no new jobs."""

    machine: str
    cpus: int
    free_cpus: int
    memory_mb: int
    free_memory_mb: int
    disk_mb: int
    free_disk_mb: int
    load: float
    state: str
    drained: bool
    groups: tuple[str, ...]

    def holds(self, size: tuple[int, int, int]) -> bool:
        """Whether a job of this size fits when nothing else is there."""
        return self.cpus >= size[0] and self.memory_mb >= size[1] and self.disk_mb >= size[2]

    def has_room(self, size: tuple[int, int, int]) -> bool:
        """Whether it fits now."""
        return (
            not self.drained
            and self.free_cpus >= size[0]
            and self.free_memory_mb >= size[1]
            and self.free_disk_mb >= size[2]
        )


class Share(NamedTuple):
    """What the negotiator thinks of a submitter: effective priority (lower is served first) and
    resources in use (cores, as the pool weighs them)."""

    priority: float
    usage: float


class Place(NamedTuple):
    """A job's place in line, from 1: in its client group, and in the whole pool."""

    in_group: int
    overall: int


@dataclass(frozen=True)
class Snapshot:
    """See the module. at_s: when it was taken, s since the epoch. jobs: those in line first, in
    the order in which they are expected to start (`order.py`). shares: by submitter."""

    at_s: float
    jobs: tuple[PoolJob, ...]
    slots: tuple[Slot, ...] = ()
    shares: Mapping[str, Share] = field(default_factory=dict)

    @cached_property
    def index(self) -> dict[str, int]:
        """Where each job is in `jobs`, by id."""
        return {job.job_id: n for n, job in enumerate(self.jobs)}

    @cached_property
    def places(self) -> list[Place]:
        """Places of the jobs in line, in the order of `jobs`."""
        passed: Counter[str] = Counter()
        found: list[Place] = []
        for job in self.jobs:
            if job.state not in (State.IDLE, State.WAITS):
                break
            passed[job.group] += 1
            found.append(Place(passed[job.group], len(found) + 1))
        return found

    @cached_property
    def held_back(self) -> list[tuple[int, int]]:
        """Of each job in line that the engine holds back, its place among those of its user and
        level, and of its window; 0, 0 of the others. In the order of `jobs`."""
        passed: Counter[object] = Counter()
        found = []
        for job in self.jobs[: len(self.places)]:
            if job.state == State.IDLE:
                found.append((0, 0))
                continue
            passed[job.user, job.level] += 1
            passed[job.window] += 1
            found.append((passed[job.user, job.level], passed[job.window] if job.window else 0))
        return found

    @cached_property
    def in_line(self) -> Counter[str]:
        """How many jobs are in line, by client group."""
        return Counter(job.group for job in self.jobs[: len(self.places)])

    @cached_property
    def in_line_since(self) -> dict[str, int]:
        """Since when somebody who may start is in line, by client group, s since the epoch."""
        since: dict[str, int] = {}
        for job in self.jobs[: len(self.places)]:
            if job.state == State.IDLE:
                since[job.group] = min(job.queued_s, since.get(job.group, job.queued_s))
        return since

    @cached_property
    def running(self) -> Counter[str]:
        """How many jobs run, by client group."""
        return Counter(job.group for job in self.jobs if job.state == State.RUNNING)

    @cached_property
    def active(self) -> Counter[str]:
        """How many jobs of each window have a place in it."""
        return Counter(j.window for j in self.jobs if j.window and j.state != State.WAITS)

    @cached_property
    def released(self) -> Counter[tuple[str, int]]:
        """How many jobs count against a user's limit, by user and level: all but those that the
        engine holds back."""
        return Counter((j.user, j.level) for j in self.jobs if j.state != State.WAITS)

    def job(self, job_id: str) -> PoolJob | None:
        """The job with this id, if it was in the pool."""
        place = self.index.get(job_id)
        return None if place is None else self.jobs[place]

    def place(self, job_id: str) -> Place | None:
        """Its place, if it was in line."""
        place = self.index.get(job_id)
        return self.places[place] if place is not None and place < len(self.places) else None


def _column(values: Iterable[Any]) -> Any:
    """A column for storing: one value if all are the same; words as numbers into a list."""
    column = list(values)
    different = set(column)
    if len(different) == 1:
        return {"all": column[0]}
    if isinstance(column[0], str) and len(different) * 4 < len(column):
        words = sorted(different)
        number = {word: n for n, word in enumerate(words)}
        return {"words": words, "of": [number[word] for word in column]}
    return column


def _values(column: Any, count: int) -> Iterable[Any]:
    if isinstance(column, list):
        return column
    if "all" in column:
        return [column["all"]] * count
    words = column["words"]
    return [words[n] for n in column["of"]]


def pack(value: Any) -> bytes:
    """A JSON value, compressed."""
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)


def unpack(data: bytes) -> Any:
    """The same back."""
    return json.loads(zlib.decompress(data))


def encode(snapshot: Snapshot) -> bytes:
    """For `decode`: 10,000 jobs in some 200 kB."""
    columns = zip(*snapshot.jobs, strict=True) if snapshot.jobs else ()
    return pack(
        {
            "at": snapshot.at_s,
            "count": len(snapshot.jobs),
            "names": PoolJob._fields,
            "jobs": [_column(column) for column in columns],
            "slots": snapshot.slots,
            "shares": snapshot.shares,
        }
    )


def decode(data: bytes) -> Snapshot:
    """What `encode` made; ValueError if it was another version's, with other fields."""
    stored = unpack(data)
    if tuple(stored["names"]) != PoolJob._fields:
        raise ValueError("a snapshot of another version of the engine")
    rows: Iterable[Any] = ()
    if stored["count"]:
        rows = zip(*(_values(c, stored["count"]) for c in stored["jobs"]), strict=True)
    snapshot = Snapshot(
        stored["at"],
        tuple(map(PoolJob._make, rows)),
        tuple(Slot._make([*values[:-1], tuple(values[-1])]) for values in stored["slots"]),
        {name: Share(*share) for name, share in stored["shares"].items()},
    )
    _ = snapshot.index, snapshot.places  # in the thread that decodes, not when somebody asks
    return snapshot


async def keep(store: Store, name: str, data: bytes, at_s: float, **fields: Any) -> None:
    """Put a packed value in the place of the last one of this name."""
    version = f"{at_s:.3f}"
    document: Document = {"at": at_s, "version": version, "data": Binary(data), **fields}
    await store.snapshots.replace_one({"_id": name}, document, upsert=True)


async def keep_pool(store: Store, snapshot: Snapshot) -> int:
    """Store a snapshot; its size in bytes."""
    data = await asyncio.to_thread(encode, snapshot)
    await keep(store, POOL, data, snapshot.at_s)
    return len(data)


async def is_wanted(store: Store) -> bool:
    """Whether anybody asked within the last minute."""
    mark = await store.marks.find_one({"_id": WANTED})
    return mark is not None and now_s() - mark["at"] < WANTED_S


class Kept:
    """One packed value of `store.snapshots`, unpacked once per version and process."""

    def __init__(self, store: Store, name: str, make: Any, look_s: float = LOOK_S) -> None:
        """make: from the packed bytes to the value; run in a thread."""
        self._store, self._name, self._make, self._look_s = store, name, make, look_s
        self._version: str | None = None
        self._value: Any = None
        self._looked = -look_s
        self._line = asyncio.Lock()

    async def get(self) -> Any:
        """The newest value, at most `look_s` behind; None if there is none, or none that this
        version of the engine can read."""
        if time.monotonic() - self._looked < self._look_s:
            return self._value
        async with self._line:
            if time.monotonic() - self._looked < self._look_s:
                return self._value
            kept = await self._store.snapshots.find_one({"_id": self._name}, {"version": 1})
            if kept is None:
                self._version = self._value = None
            elif kept["version"] != self._version:
                whole = await self._store.snapshots.find_one({"_id": self._name})
                if whole is not None:
                    try:
                        self._value = await asyncio.to_thread(self._make, bytes(whole["data"]))
                    except (ValueError, TypeError, KeyError, zlib.error):
                        self._value = None
                    self._version = whole["version"]
            self._looked = time.monotonic()
            return self._value


class Snapshots:
    """The newest snapshot for a process that answers questions; see the module."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = Kept(store, POOL, decode)
        self._noted = -NOTE_S

    async def current(self) -> Snapshot | None:
        """The newest snapshot, None if none was taken yet; the sampler is told that it is wanted.
        """
        now = time.monotonic()
        if now - self._noted >= NOTE_S:
            self._noted = now
            await self._store.marks.update_one(
                {"_id": WANTED}, {"$set": {"at": now_s()}}, upsert=True
            )
        found: Snapshot | None = await self._pool.get()
        return found
