"""Use cases of the rules on run time: look, try out, set, take away; and apply them to jobs that
wait or run already.

Administrators may do all of it. The owners of an app may set rules for that app, up to a ceiling
(`[ee2] owner_time_limit_s`), never longer than an administrator's rule for the app, and for jobs
that come only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from ee2_jobs.catalog import method_of
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput, NotFound
from ee2_jobs.identity import Caller
from ee2_jobs.limits import documents, words
from ee2_jobs.limits.live import COUNTED, INDEX
from ee2_jobs.limits.time import (
    TimeRule,
    TimeRules,
    base_of,
    base_on,
    from_document,
    key_of,
    limited,
    time_rules,
    what_for,
)
from ee2_jobs.limits.words import ANY
from ee2_jobs.model import LIVE, Document, Status, now_s
from ee2_jobs.requirements import resolve
from ee2_jobs.rights import Level, require_admin
from ee2_jobs.store import Store

MOST_SECONDS = 365 * 86400
MOST_NAMED = 100
_IN_WORDS = 5
_CHUNK = 1000
_LIMIT = ("time_limit_s", "time_limit_rule")


@dataclass(frozen=True)
class Effective:
    """The limit of a user's jobs of an app (s; None for none), and what sets it, in words."""

    user: str
    app: str
    seconds: int | None
    rule: str | None


@dataclass(frozen=True)
class TimeUser:
    """A user's live jobs that a rule is for. over: those that have run longer than it already."""

    user: str
    waiting: int
    running: int
    over: int


@dataclass(frozen=True)
class TimePreview:
    """Which live jobs a change of a rule is for; `users` names the MOST_NAMED with most of them,
    to administrators only."""

    waiting: int
    running: int
    over: int
    users_affected: int
    users: tuple[TimeUser, ...]
    text: str


@dataclass(frozen=True)
class ChangedRule:
    """A rule after a change (None: there is none), what the change is for, and to how many live
    jobs it was applied."""

    rule: TimeRule | None
    preview: TimePreview
    applied: int


@dataclass(frozen=True)
class _Group:
    """Live jobs with the same user, app and limits; running: since when those that run do, s."""

    user: str
    app: str
    job: Document
    ids: list[ObjectId]
    running: list[float]


async def effective(engine: Engine, caller: Caller, user: Any, app: Any) -> Effective:
    """What limit a job of the user and the app would get now. For administrators, for everybody
    about themselves, and for the app's owners. InvalidInput for an app that there is not."""
    name, method = words.parse_user(user), words.parse_app(app)
    if name == ANY or method == ANY:
        raise InvalidInput("Name a user and an app, Module.method")
    if name != caller.user and not await _owns(engine, caller, method):
        require_admin(caller, Level.READ)
    module, _, function = method.partition(".")
    found = method_of(await engine.catalog.app(module, None, function), function)
    wanted = resolve(None, found.requirements, engine.groups, may_ask=False, method=method)
    rule = (await time_rules(engine.store)).of(name, method)
    return Effective(name, method, *limited(rule, base_of(wanted, engine.groups)))


async def own_rules(engine: Engine, caller: Caller) -> list[TimeRule]:
    """The rules that are for the caller's jobs, the caller's own first."""
    rules = (await time_rules(engine.store)).by_key.values()
    mine = [rule for rule in rules if rule.user in (caller.user, ANY)]
    return sorted(mine, key=lambda one: (one.user == ANY, one.app == ANY, one.app))


async def rules_seen(engine: Engine, caller: Caller) -> list[TimeRule]:
    """All rules, by app and user, for administrators (also those who may only read); for others
    those of the apps that they own."""
    rules = sorted(
        (await time_rules(engine.store)).by_key.values(), key=lambda one: (one.app, one.user)
    )
    if caller.can_admin_read and caller.job is None:
        return rules
    owned = await engine.catalog.owned_by(caller.user)
    if not owned or caller.job is not None:
        require_admin(caller, Level.READ)
    return [rule for rule in rules if rule.app.partition(".")[0] in owned]


async def preview_time_rule(
    engine: Engine, caller: Caller, app: Any, user: Any, seconds: Any
) -> TimePreview:
    """For which live jobs a rule would be, and how many of them run longer already; seconds None:
    what taking it away would do. For administrators (also those who may only read) and owners."""
    method, name = words.parse_app(app), words.parse_user(user)
    admin = caller.can_admin_read and caller.job is None
    if not admin and not await _owns(engine, caller, method):
        require_admin(caller, Level.READ)
    given = None if seconds is None else _parse_seconds(seconds)
    now, then = await _before_and_after(engine.store, caller, method, name, given)
    preview = _preview(await _concerned(engine.store, now, then, method, name), then)
    return preview if admin else _without_names(preview)


async def set_time_rule(
    engine: Engine,
    caller: Caller,
    app: Any,
    user: Any,
    seconds: Any,
    *,
    note: Any = None,
    reason: Any = None,
    revision: Any = None,
    apply_now: bool = False,
) -> ChangedRule:
    """Let jobs of an app and a user (either may be `*`) run for so long.

    seconds: 1 to MOST_SECONDS. note: the jobs' owners read it, too. revision: see
    `documents.save`. apply_now: also to jobs that wait or run; the pool and the runners are told
    within seconds, and what has run longer already is ended then. Otherwise only jobs that are
    submitted later have it. Raises Denied, InvalidInput (also for an app that there is not),
    WrongState.
    """
    method, name = words.parse_app(app), words.parse_user(user)
    by_owner = await _require_right(engine, caller, method, apply_now)
    given = _parse_seconds(seconds)
    await _require_app(engine, method)
    now = await time_rules(engine.store)
    if by_owner:
        _keep_ceilings(engine, now, method, name, given)
    fields: Document = {"kind": "time", "app": method, "user": name, "seconds": given}
    if text := words.parse_text(note, "note"):
        fields["note"] = text
    if by_owner:
        fields["by_owner"] = True
    return await _change(engine, caller, method, name, fields, reason, revision, apply_now)


async def unset_time_rule(
    engine: Engine,
    caller: Caller,
    app: Any,
    user: Any,
    *,
    reason: Any = None,
    revision: Any = None,
    apply_now: bool = False,
) -> ChangedRule:
    """Take a rule away. If there is none, nothing changes. Otherwise as `set_time_rule`."""
    method, name = words.parse_app(app), words.parse_user(user)
    if await _require_right(engine, caller, method, apply_now):
        _require_owners_rule((await time_rules(engine.store)).by_key.get((method, name)))
    return await _change(engine, caller, method, name, None, reason, revision, apply_now)


def _parse_seconds(value: Any) -> int:
    return words.parse_whole(value, "seconds", 1, MOST_SECONDS)


async def _owns(engine: Engine, caller: Caller, app: str) -> bool:
    if app == ANY or caller.job is not None:
        return False
    return app.partition(".")[0] in await engine.catalog.owned_by(caller.user)


async def _require_right(engine: Engine, caller: Caller, app: str, apply_now: bool) -> bool:
    """Denied unless the caller may change rules of the app; whether he may as its owner only."""
    if caller.can_admin and caller.job is None:
        return False
    if not await _owns(engine, caller, app):
        if app != ANY and not caller.can_admin_read:
            raise Denied(
                f"Only administrators and the owners of {app.partition('.')[0]} may say how long "
                f"its jobs may run, and {caller.user} is neither"
            )
        require_admin(caller, Level.WRITE)
    if apply_now:
        raise Denied(
            "Only administrators may apply a rule to jobs that wait or run already; as the app's "
            "owner you may set it for jobs that come"
        )
    return True


def _keep_ceilings(engine: Engine, rules: TimeRules, app: str, user: str, seconds: int) -> None:
    """Denied if an app's owner would set more than an owner may, or in an administrator's place."""
    most = engine.settings.owner_time_limit_s
    if seconds > most:
        raise Denied(
            f"An app's owner may let it run for {words.duration(most)} at most, not "
            f"{words.duration(seconds)}: ask an administrator"
        )
    _require_owners_rule(rules.by_key.get((app, user)))
    for key, whose in (((app, ANY), "app"), ((ANY, user), "user")):
        above = rules.by_key.get(key)
        if key == (ANY, ANY) or above is None or above.by_owner:
            continue
        if seconds > above.seconds:
            raise Denied(
                f"{words.duration(seconds)} is longer than an administrator's rule for the "
                f"{whose}: {above.words()}"
            )


def _require_owners_rule(rule: TimeRule | None) -> None:
    if rule is not None and not rule.by_owner:
        raise Denied(f"This is an administrator's rule, ask one to change it: {rule.words()}")


async def _require_app(engine: Engine, app: str) -> None:
    """InvalidInput if there is no such app in any version that a tag names."""
    if app == ANY:
        return
    module, _, function = app.partition(".")
    problem: InvalidInput | NotFound | None = None
    for version in (None, "beta", "dev"):
        try:
            method_of(await engine.catalog.app(module, version, function), function)
            return
        except (InvalidInput, NotFound) as e:
            problem = problem or e
    assert problem is not None
    raise problem


async def _before_and_after(
    store: Store, caller: Caller, app: str, user: str, seconds: int | None
) -> tuple[TimeRules, TimeRules]:
    now = await time_rules(store)
    rule = None
    if seconds is not None:
        by_owner = not caller.can_admin
        rule = TimeRule(app, user, seconds, None, by_owner, caller.user, now_s(), 0)
    return now, now.changed(app, user, rule)


async def _change(
    engine: Engine,
    caller: Caller,
    app: str,
    user: str,
    fields: Document | None,
    reason: Any,
    revision: Any,
    apply_now: bool,
) -> ChangedRule:
    store = engine.store
    why, seen = words.parse_reason(reason), words.parse_revision(revision)
    seconds = None if fields is None else fields["seconds"]
    now, then = await _before_and_after(store, caller, app, user, seconds)
    groups = await _concerned(store, now, then, app, user)
    preview = _preview(groups, then)
    new = "none" if seconds is None else words.duration(seconds)
    when = " Applied to them now." if apply_now else " Not applied to them, only to jobs that come."
    stored = await documents.save(
        store,
        caller,
        key_of(app, user),
        fields,
        what="set_time_rule" if fields is not None else "unset_time_rule",
        target=f"run time of {what_for(app, user)}",
        details=f"Run time: {new}. {preview.text}{when if groups else ''}",
        reason=why,
        revision=seen,
        # Asking again for running jobs is an act of its own.
        even_if_same=apply_now,
    )
    applied = 0
    if apply_now:
        rules = await time_rules(store)
        applied = await _apply(store, rules, await _concerned(store, now, then, app, user))
    rule = None if stored is None else from_document(stored)
    by_admin = caller.can_admin
    return ChangedRule(rule, preview if by_admin else _without_names(preview), applied)


async def _concerned(
    store: Store, now: TimeRules, then: TimeRules, app: str, user: str
) -> list[_Group]:
    """The live jobs for which another rule would count than does now."""
    groups = await _live_groups(store, app, user)
    return [g for g in groups if now.of(g.user, g.app) != then.of(g.user, g.app)]


async def _live_groups(store: Store, app: str, user: str) -> list[_Group]:
    match = dict(COUNTED)
    if app != ANY:
        match["job_input.method"] = app
    if user != ANY:
        match["user"] = user
    same = ("time_limit_s", "time_limit_rule", "time_limit_base")
    key = {"user": "$user", "app": "$job_input.method"} | {name: f"${name}" for name in same}
    since = {"$cond": [{"$eq": ["$status", Status.RUNNING.value]}, "$running", None]}
    rows = await store.jobs.aggregate(
        [
            {"$match": match},
            {
                "$group": {
                    "_id": key, "ids": {"$push": "$_id"}, "running": {"$push": since},
                }
            },
        ],
        hint=INDEX,
    )
    return [
        _Group(
            user=row["_id"]["user"],
            app=row["_id"]["app"],
            job=row["_id"],
            ids=row["ids"],
            running=[at_s for at_s in row["running"] if at_s is not None],
        )
        async for row in rows
    ]


def _preview(groups: Sequence[_Group], then: TimeRules) -> TimePreview:
    now = now_s()
    waiting: Counter[str] = Counter()
    running: Counter[str] = Counter()
    over: Counter[str] = Counter()
    for group in groups:
        seconds, _ = limited(then.of(group.user, group.app), base_on(group.job))
        waiting[group.user] += len(group.ids) - len(group.running)
        running[group.user] += len(group.running)
        if seconds is not None:
            over[group.user] += sum(1 for at_s in group.running if now - at_s > seconds)
    users = [TimeUser(u, waiting[u], running[u], over[u]) for u in waiting]
    users.sort(key=lambda one: (-one.over, -one.running - one.waiting, one.user))
    return TimePreview(
        waiting=waiting.total(),
        running=running.total(),
        over=over.total(),
        users_affected=len(users),
        users=tuple(users[:MOST_NAMED]),
        text=_in_words(users),
    )


def _in_words(users: Sequence[TimeUser]) -> str:
    waiting, running = sum(one.waiting for one in users), sum(one.running for one in users)
    if not users:
        return "It is for no job that waits or runs now."
    names = ", ".join(one.user for one in users[:_IN_WORDS])
    if len(users) > _IN_WORDS:
        names += f" and {len(users) - _IN_WORDS} more users"
    over = sum(one.over for one in users)
    longer = "" if not over else f", of which {over:,} longer than that already"
    return f"Of {names}, {waiting:,} wait and {running:,} run{longer}."


def _without_names(preview: TimePreview) -> TimePreview:
    """For an app's owner, whom others' names do not concern."""
    text = f"{preview.waiting:,} jobs wait and {preview.running:,} run"
    text += f", of which {preview.over:,} longer than that already."
    return TimePreview(
        preview.waiting, preview.running, preview.over, preview.users_affected, (), text
    )


async def _apply(store: Store, rules: TimeRules, groups: Sequence[_Group]) -> int:
    """Give live jobs their limit by the rules of now; how many got another."""
    by_limit: dict[tuple[Any, ...], list[ObjectId]] = {}
    for group in groups:
        fields = rules.fields(group.user, group.app, base_on(group.job))
        limit = tuple(fields.get(name) for name in _LIMIT)
        if limit != tuple(group.job.get(name) for name in _LIMIT):
            by_limit.setdefault(limit, []).extend(group.ids)
    changed = 0
    for limit, ids in by_limit.items():
        given = dict(zip(_LIMIT, limit, strict=True))
        fields = {name: value for name, value in given.items() if value is not None}
        update: Document = {"$set": {**fields, "retime": True, "updated": now_s()}}
        if gone := given.keys() - fields.keys():
            update["$unset"] = dict.fromkeys(gone, "")
        for start in range(0, len(ids), _CHUNK):
            some = {"$in": ids[start : start + _CHUNK]}
            done = await store.jobs.update_many(
                {"_id": some, "status": {"$in": list(LIVE)}}, update
            )
            changed += done.modified_count
    return changed
