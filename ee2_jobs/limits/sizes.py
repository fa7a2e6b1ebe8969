"""How large the jobs of a user may be, how many a batch may have, and how many may wait.

Documents in `ee2_limits`: {_id: "size:USER", or "size:*" for the default, kind: "size", cpus,
memory_mb, disk_gb, children, waiting (those that are limited), note, set_by, set_at (s), revision}.
Of each figure the user's own counts, else the default. Checked when work is accepted; what was
accepted before stays. The ceilings of client groups are kept besides (`requirements.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.limits import documents, words
from ee2_jobs.limits.live import COUNTED_WAITING, INDEX
from ee2_jobs.limits.words import ANY
from ee2_jobs.model import Document, StageName
from ee2_jobs.rights import Level, require_admin
from ee2_jobs.store import Store

# Field -> what it counts, of which unit.
FIGURES = {
    "cpus": "cores per job",
    "memory_mb": "MB of memory per job",
    "disk_gb": "GB of disk per job",
    "children": "jobs per batch",
    "waiting": "waiting jobs",
}
_OF_JOBS = {"cpus": "cpu", "memory_mb": "memory", "disk_gb": "disk"}
"""Figures of single jobs -> key in a record's `job_input.requirements`."""
MOST = 2**31 - 1
MOST_NAMED = 100
_IN_WORDS = 5


@dataclass(frozen=True)
class Size:
    """Ceilings as they were set. user: `*` for the default. figures: see FIGURES."""

    user: str
    figures: Mapping[str, int]
    note: str | None
    set_by: str
    set_at_s: float
    revision: int

    def words(self, figure: str) -> str:
        """'16 cores per job for user ana, set by root on 2026-11-22: a note'."""
        text = f"{self.figures[figure]:,} {FIGURES[figure]} for {words.whose(self.user)}"
        text += f", set by {self.set_by} on {words.day(self.set_at_s)}"
        return f"{text}: {self.note}" if self.note else text


@dataclass(frozen=True)
class Ceilings:
    """The ceilings of one user: figure -> what was set, for the user or for all."""

    by_figure: Mapping[str, Size] = field(default_factory=dict)

    def of(self, figure: str) -> int | None:
        """The ceiling of a figure; None for none."""
        size = self.by_figure.get(figure)
        return None if size is None else size.figures[figure]

    def check_job(self, needs: Mapping[str, Any], what: str) -> None:
        """InvalidInput if a job needs more than it may. needs: as `job_input.requirements` of the
        record. what: begins the message, such as 'Job #3: m.f'."""
        for figure, key in _OF_JOBS.items():
            most, wanted = self.of(figure), needs.get(key)
            if most is not None and isinstance(wanted, int) and wanted > most:
                raise InvalidInput(
                    f"{what} needs {wanted:,} {FIGURES[figure]}, which is over the ceiling of "
                    f"{self.by_figure[figure].words(figure)}. Ask an administrator for more"
                )

    def check_children(self, count: int, what: str) -> None:
        """InvalidInput if a batch may not have so many jobs. what: begins the message."""
        most = self.of("children")
        if most is not None and count > most:
            raise InvalidInput(
                f"{what} {count:,} jobs, which is over the ceiling of "
                f"{self.by_figure['children'].words('children')}. Send several batches"
            )


@dataclass(frozen=True)
class SizeUser:
    """A user's waiting jobs over a ceiling. figure: which."""

    user: str
    figure: str
    jobs: int


@dataclass(frozen=True)
class SizePreview:
    """Waiting jobs that are over the ceilings: they stay, and run."""

    jobs: int
    users_affected: int
    users: tuple[SizeUser, ...]
    text: str


@dataclass(frozen=True)
class ChangedSize:
    """Ceilings after a change (None: there are none), and what waits above them."""

    size: Size | None
    preview: SizePreview


def from_document(document: Document) -> Size:
    """The ceilings that a document of the collection holds."""
    return Size(
        user=document["_id"].removeprefix("size:"),
        figures={name: document[name] for name in FIGURES if document.get(name) is not None},
        note=document.get("note"),
        set_by=document.get("set_by", ""),
        set_at_s=document.get("set_at", 0.0),
        revision=document.get("revision") or 0,
    )


def ceilings_from(found: Iterable[Size], user: str) -> Ceilings:
    """The ceilings of a user among all."""
    by_user = {size.user: size for size in found}
    chosen: dict[str, Size] = {}
    for name in (ANY, user):
        size = by_user.get(name)
        if size is not None:
            chosen |= dict.fromkeys(size.figures, size)
    return Ceilings(chosen)


def keys_for(user: str) -> list[str]:
    """The ids of the documents that count for a user."""
    return [f"size:{ANY}", f"size:{user}"]


async def ceilings_of(store: Store, user: str) -> Ceilings:
    """The ceilings of a user; one small query."""
    found = await store.limits.find({"_id": {"$in": keys_for(user)}}).to_list()
    return ceilings_from([from_document(one) for one in found], user)


async def sizes(engine: Engine, caller: Caller) -> list[Size]:
    """All ceilings, the default first. For administrators, also those who may only read."""
    require_admin(caller, Level.READ)
    return await _all(engine.store)


async def _all(store: Store) -> list[Size]:
    found = store.limits.find({"kind": "size"}).sort("_id", 1)
    return [from_document(one) async for one in found]


async def own_ceilings(engine: Engine, caller: Caller) -> Ceilings:
    """The ceilings that count for the caller."""
    return await ceilings_of(engine.store, caller.user)


async def preview_size(
    engine: Engine, caller: Caller, user: Any, figures: Mapping[str, Any]
) -> SizePreview:
    """What waits above these ceilings of a user (`*`: of all without own). For administrators,
    also those who may only read."""
    require_admin(caller, Level.READ)
    return await _preview(engine.store, words.parse_user(user), _parse(figures))


async def set_size(
    engine: Engine,
    caller: Caller,
    user: Any,
    figures: Mapping[str, Any],
    *,
    note: Any = None,
    reason: Any = None,
    revision: Any = None,
) -> ChangedSize:
    """Set all ceilings of a user, or of everybody (`*`); what is left out, or null, has none.

    figures: see FIGURES, from 1 on; `waiting` from 0 on. note: for the user to read, too. revision:
    see `documents.save`. For full administrators. Raises Denied, InvalidInput, WrongState.
    """
    require_admin(caller, Level.WRITE)
    name, given = words.parse_user(user), _parse(figures)
    if not given:
        raise InvalidInput(f"Give at least one of {', '.join(FIGURES)}")
    fields: Document = {"kind": "size", **given}
    if text := words.parse_text(note, "note"):
        fields["note"] = text
    return await _change(engine.store, caller, name, fields, given, reason, revision)


async def unset_size(
    engine: Engine, caller: Caller, user: Any, *, reason: Any = None, revision: Any = None
) -> ChangedSize:
    """Take a user's own ceilings away, so that the default counts; of `*`, the default. If there
    are none, nothing changes. Otherwise as `set_size`."""
    require_admin(caller, Level.WRITE)
    name = words.parse_user(user)
    return await _change(engine.store, caller, name, None, {}, reason, revision)


def _parse(figures: Mapping[str, Any]) -> dict[str, int]:
    unknown = sorted(figures.keys() - FIGURES.keys())
    if unknown:
        raise InvalidInput(f"There is no ceiling '{unknown[0]}': there are {', '.join(FIGURES)}")
    return {
        name: words.parse_whole(figures[name], name, 0 if name == "waiting" else 1, MOST)
        for name in FIGURES
        if figures.get(name) is not None
    }


async def _change(
    store: Store,
    caller: Caller,
    user: str,
    fields: Document | None,
    figures: Mapping[str, int],
    reason: Any,
    revision: Any,
) -> ChangedSize:
    why, seen = words.parse_reason(reason), words.parse_revision(revision)
    preview = await _preview(store, user, figures)
    new = ", ".join(f"{figures[n]:,} {FIGURES[n]}" for n in FIGURES if n in figures) or "none"
    stored = await documents.save(
        store,
        caller,
        f"size:{user}",
        fields,
        what="set_size" if fields is not None else "unset_size",
        target=f"sizes of {words.whose(user)}",
        details=f"Ceilings: {new}. {preview.text}",
        reason=why,
        revision=seen,
    )
    return ChangedSize(None if stored is None else from_document(stored), preview)


async def _preview(store: Store, user: str, figures: Mapping[str, int]) -> SizePreview:
    """One aggregation over waiting jobs; each figure is compared with its own ceiling."""
    kept = [one for one in await _all(store) if one.user != user]
    new = Size(user, figures, None, "", 0.0, 0)
    match = dict(COUNTED_WAITING)
    if user != ANY:
        match["user"] = user
    key = {"user": "$user", "batch": "$batch_id", "role": "$role"}
    key |= {name: f"$job_input.requirements.{field}" for name, field in _OF_JOBS.items()}
    rows = await store.jobs.aggregate(
        [{"$match": match}, {"$group": {"_id": key, "n": {"$sum": 1}}}], hint=INDEX
    )
    over: Counter[tuple[str, str]] = Counter()
    waiting: Counter[str] = Counter()
    batches: Counter[tuple[str, str]] = Counter()
    ceilings: dict[str, Ceilings] = {}
    async for row in rows:
        of, n = row["_id"], row["n"]
        mine = ceilings.setdefault(of["user"], ceilings_from([*kept, new], of["user"]))
        waiting[of["user"]] += n
        if of.get("batch") and of.get("role") == StageName.SUBMIT.value:
            batches[of["user"], of["batch"]] += n
        for figure in _OF_JOBS:
            most = mine.of(figure)
            if figure in figures and most is not None and (of.get(figure) or 0) > most:
                over[of["user"], figure] += n
    for (name, _), n in batches.items():
        most = ceilings[name].of("children")
        if "children" in figures and most is not None and n > most:
            over[name, "children"] += n
    for name, n in waiting.items():
        most = ceilings[name].of("waiting")
        if "waiting" in figures and most is not None and n > most:
            over[name, "waiting"] += n - most
    users = [SizeUser(name, figure, n) for (name, figure), n in over.items()]
    users.sort(key=lambda one: (-one.jobs, one.user, one.figure))
    return SizePreview(
        jobs=sum(one.jobs for one in users),
        users_affected=len({one.user for one in users}),
        users=tuple(users[:MOST_NAMED]),
        text=_in_words(users),
    )


def _in_words(users: list[SizeUser]) -> str:
    if not users:
        return "Nothing that waits is above."
    parts = [f"{one.jobs:,} of {one.user} ({one.figure})" for one in users[:_IN_WORDS]]
    if len(users) > _IN_WORDS:
        parts.append(f"and {len(users) - _IN_WORDS} more")
    return f"Waiting jobs above, which stay: {', '.join(parts)}."
