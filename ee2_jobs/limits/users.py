"""How many jobs of a user may run at once: a default, and a value per user.

Documents in `ee2_limits`: {_id: "user:NAME", or "user:*" for the default, kind: "user", places,
expires (s), note, set_by, set_at (s), revision}. The pool's watcher keeps to them (ADR 0019). 0
means that the user may not start jobs: what was accepted waits, and nothing new is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.limits import documents, words
from ee2_jobs.limits.live import LiveJobs, live_jobs
from ee2_jobs.limits.words import ANY
from ee2_jobs.model import Document, now_s
from ee2_jobs.rights import Level, require_admin
from ee2_jobs.store import Store

MOST_PLACES = 1_000_000
# How many users an answer and the audit name.
MOST_NAMED = 100
_IN_WORDS = 5


@dataclass(frozen=True)
class UserLimits:
    """The limits in force: jobs that may run at once. 0: may not start jobs."""

    default: int | None = None
    own: Mapping[str, int] = field(default_factory=dict)

    def of(self, user: str) -> int | None:
        """The user's limit: an own one, else the default; None for no limit."""
        return self.own.get(user, self.default)

    def changed(self, user: str, places: int | None) -> UserLimits:
        """With another limit of one user, or of all (`*`); None for none."""
        if user == ANY:
            return replace(self, default=places)
        own = {name: value for name, value in self.own.items() if name != user}
        return replace(self, own=own if places is None else {**own, user: places})


@dataclass(frozen=True)
class UserLimit:
    """A limit as it was set. user: `*` for the default. expires_s: None for never."""

    user: str
    places: int
    expires_s: float | None
    note: str | None
    set_by: str
    set_at_s: float
    revision: int

    @property
    def in_force(self) -> bool:
        """Whether it has not expired."""
        return self.expires_s is None or self.expires_s > now_s()

    def words(self) -> str:
        """'5 jobs for user ana, set by root on 2026-11-22, until 2026-12-01: a course'."""
        text = f"{words.jobs(self.places)} for {words.whose(self.user)}"
        text += f", set by {self.set_by} on {words.day(self.set_at_s)}"
        if self.expires_s is not None:
            text += f", until {words.moment(self.expires_s)}"
        return f"{text}: {self.note}" if self.note else text


@dataclass(frozen=True)
class Affected:
    """What a limit does to a user. held_back: waiting jobs that wait because of it, and
    held_back_now by the limit as it is. over: running jobs beyond it, which go on."""

    user: str
    running: int
    waiting: int
    limit_now: int | None
    limit: int | None
    held_back_now: int
    held_back: int
    over: int


@dataclass(frozen=True)
class UserPreview:
    """What a change of a limit would do, to whom; `users`: the MOST_NAMED with most to wait."""

    held_back: int
    held_back_now: int
    over: int
    users_affected: int
    users: tuple[Affected, ...]
    text: str


@dataclass(frozen=True)
class ChangedUser:
    """A limit after a change (None: there is none), and what the change does."""

    limit: UserLimit | None
    preview: UserPreview


@dataclass(frozen=True)
class UserRow:
    """A user with a limit or with live jobs. own: what was set for the user, expired or not. limit:
    what is in force."""

    user: str
    own: UserLimit | None
    limit: int | None
    running: int
    waiting: int
    held_back: int


async def user_limits(store: Store) -> UserLimits:
    """The limits that are in force now: what has expired is left out. One small query."""
    default: int | None = None
    own: dict[str, int] = {}
    now = now_s()
    async for one in store.limits.find({"kind": "user"}, {"places": 1, "expires": 1}):
        if one.get("expires") is not None and one["expires"] <= now:
            continue
        user = one["_id"].removeprefix("user:")
        if user == ANY:
            default = one["places"]
        else:
            own[user] = one["places"]
    return UserLimits(default, own)


def from_document(document: Document) -> UserLimit:
    """The limit that a document of the collection holds."""
    return UserLimit(
        user=document["_id"].removeprefix("user:"),
        places=document["places"],
        expires_s=document.get("expires"),
        note=document.get("note"),
        set_by=document.get("set_by", ""),
        set_at_s=document.get("set_at", 0.0),
        revision=document.get("revision") or 0,
    )


async def user_rows(engine: Engine, caller: Caller) -> tuple[UserLimit | None, list[UserRow]]:
    """The default as it was set, and all users with a limit of their own or with live jobs, by
    name. For administrators, also those who may only read."""
    require_admin(caller, Level.READ)
    return await _rows(engine.store)


async def own_row(engine: Engine, caller: Caller) -> tuple[UserLimit | None, UserRow]:
    """The default, and the caller's own row."""
    default, rows = await _rows(engine.store, caller.user)
    return default, rows[0]


async def _rows(store: Store, user: str | None = None) -> tuple[UserLimit | None, list[UserRow]]:
    query: Document = {"kind": "user"}
    if user is not None:
        query["_id"] = {"$in": [f"user:{user}", f"user:{ANY}"]}
    found = [from_document(one) async for one in store.limits.find(query)]
    own = {one.user: one for one in found if one.user != ANY}
    default = next((one for one in found if one.user == ANY), None)
    places = default.places if default is not None and default.in_force else None
    in_force = UserLimits(places, {u: one.places for u, one in own.items() if one.in_force})
    live = await live_jobs(store, user)
    names = [user] if user is not None else sorted({*own, *live})
    rows = []
    for name in names:
        jobs = live.get(name, LiveJobs())
        limit = in_force.of(name)
        rows.append(
            UserRow(
                user=name,
                own=own.get(name),
                limit=limit,
                running=jobs.running.total(),
                waiting=jobs.waiting.total(),
                held_back=jobs.held_back(limit),
            )
        )
    return default, rows


async def preview_user_limit(
    engine: Engine, caller: Caller, user: Any, places: Any
) -> UserPreview:
    """What it would do to set a user's limit (`*`: the default), or to take it away (places None).
    For administrators, also those who may only read."""
    require_admin(caller, Level.READ)
    name = words.parse_user(user)
    return await _preview(engine.store, name, _parse_places(places))


async def set_user_limit(
    engine: Engine,
    caller: Caller,
    user: Any,
    places: Any,
    *,
    expires: Any = None,
    note: Any = None,
    reason: Any = None,
    revision: Any = None,
) -> ChangedUser:
    """Let at most so many jobs of a user (`*`: of each user without an own limit) run at once.

    places: 0 to MOST_PLACES. expires: see `words.parse_expiry`. note: for the user to read, too.
    revision: see `documents.save`. In force at once; what runs goes on. For full administrators.
    Raises Denied, InvalidInput, WrongState.
    """
    require_admin(caller, Level.WRITE)
    name = words.parse_user(user)
    given = words.parse_whole(places, "places", 0, MOST_PLACES)
    fields: Document = {"kind": "user", "places": given}
    optional = {"expires": words.parse_expiry(expires), "note": words.parse_text(note, "note")}
    fields |= {key: value for key, value in optional.items() if value is not None}
    return await _change(engine.store, caller, name, fields, reason, revision)


async def unset_user_limit(
    engine: Engine, caller: Caller, user: Any, *, reason: Any = None, revision: Any = None
) -> ChangedUser:
    """Take a user's own limit away, so that the default counts; of `*`, the default. If there is
    none, nothing changes. Otherwise as `set_user_limit`."""
    require_admin(caller, Level.WRITE)
    return await _change(engine.store, caller, words.parse_user(user), None, reason, revision)


def _parse_places(value: Any) -> int | None:
    return None if value is None else words.parse_whole(value, "places", 0, MOST_PLACES)


async def _change(
    store: Store, caller: Caller, user: str, fields: Document | None, reason: Any, revision: Any
) -> ChangedUser:
    why, seen = words.parse_reason(reason), words.parse_revision(revision)
    places = None if fields is None else fields["places"]
    preview = await _preview(store, user, places)
    if fields is None:
        new = "none" if user == ANY else "the default"
    else:
        new = words.jobs(fields["places"])
        if "expires" in fields:
            new += f" until {words.moment(fields['expires'])}"
    stored = await documents.save(
        store,
        caller,
        f"user:{user}",
        fields,
        what="set_user_limit" if fields is not None else "unset_user_limit",
        target="default" if user == ANY else f"user {user}",
        details=f"Limit: {new}. {preview.text}",
        reason=why,
        revision=seen,
    )
    return ChangedUser(None if stored is None else from_document(stored), preview)


async def _preview(store: Store, user: str, places: int | None) -> UserPreview:
    now = await user_limits(store)
    then = now.changed(user, places)
    live = await live_jobs(store, None if user == ANY else user)
    affected = []
    for name, jobs in live.items():
        before, after = now.of(name), then.of(name)
        one = Affected(
            user=name,
            running=jobs.running.total(),
            waiting=jobs.waiting.total(),
            limit_now=before,
            limit=after,
            held_back_now=jobs.held_back(before),
            held_back=jobs.held_back(after),
            over=jobs.over(after),
        )
        if before != after and (one.held_back or one.held_back_now or one.over):
            affected.append(one)
    affected.sort(key=lambda one: (-one.held_back, -one.over, one.user))
    return UserPreview(
        held_back=sum(one.held_back for one in affected),
        held_back_now=sum(one.held_back_now for one in affected),
        over=sum(one.over for one in affected),
        users_affected=len(affected),
        users=tuple(affected[:MOST_NAMED]),
        text=in_words(affected),
    )


def in_words(affected: list[Affected]) -> str:
    """The preview in a sentence or three."""
    waiting = [(one.user, one.held_back) for one in affected if one.held_back]
    over = sum(one.over for one in affected)
    held = sum(n for _, n in waiting)
    now = sum(one.held_back_now for one in affected)
    text = "Would hold back nobody."
    if held:
        text = f"Would hold back {held:,} waiting job{'' if held == 1 else 's'} of "
        if len(waiting) == 1:
            text += waiting[0][0]
        else:
            text += ", ".join(f"{user} ({n:,})" for user, n in waiting[:_IN_WORDS])
        if len(waiting) > _IN_WORDS:
            text += f" and {len(waiting) - _IN_WORDS} more users"
        text += "."
    if now:
        text += f" Held back now: {now:,}."
    if over:
        text += f" Running beyond the limit, and going on: {over:,}."
    return text
