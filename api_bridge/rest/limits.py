"""Limits: jobs per user, run time per app and user, sizes. `/limits/…`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import CONFLICT, ERRORS, NOT_MODIFIED, Rest, etagged
from ee2_jobs.errors import Denied, InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.limits import sizes, time_rules, users
from ee2_jobs.limits.time import TimeRule
from ee2_jobs.limits.words import ANY
from ee2_jobs.model import now_s, to_ms

_ANY_USER = "name of the user, or * for every user"
_EXPIRES = "a date (to its end, UTC), a date with time, or ms since 1970; null for never"
_REVISION = "the revision that you saw, 0 for none: 409 if it has changed since"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Stored(BaseModel):
    """Who set it, when; note is for those whom it concerns."""

    note: str | None = Field(default=None, examples=["a course until the end of May"])
    set_by: str = Field(examples=["root"])
    set_at: int = Field(examples=[1727185950123], description="ms")
    revision: int = Field(description="grows with each change", examples=[1727185950123])


class UserLimit(_Stored):
    """A limit as it was set."""

    user: str = Field(description=_ANY_USER, examples=["ana"])
    places: int = Field(description="jobs that may run at once; 0: may not start", examples=[5])
    expires: int | None = Field(default=None, description="ms", examples=[1893456000000])
    in_force: bool = Field(description="false once it has expired")


class UserRow(BaseModel):
    """A user and the limit."""

    user: str = Field(examples=["ana"])
    own: UserLimit | None = Field(description="set for this user; null: the default counts")
    limit: int | None = Field(description="in force; null: none", examples=[5])
    running: int = Field(examples=[5])
    waiting: int = Field(examples=[14])
    held_back: int = Field(description="waiting jobs that the limit holds back", examples=[14])


class Users(BaseModel):
    """The default, and all users with a limit of their own or with live jobs."""

    default: UserLimit | None
    users: list[UserRow]
    as_of: int = Field(examples=[1727185950123], description="ms")


class Rule(_Stored):
    """A rule on run time as it was set."""

    app: str = Field(description="Module.method, or * for any", examples=["kb_Bowtie2.align"])
    user: str = Field(description=_ANY_USER, examples=["ana"])
    seconds: int = Field(examples=[7200])
    by_owner: bool = Field(description="set by the app's owner, not by an administrator")
    words: str = Field(examples=["2 h for ana's kb_Bowtie2.align, set by root on 2026-11-22"])


class Rules(BaseModel):
    """The rules that the caller may see, by app and user."""

    rules: list[Rule]


class Figures(_Strict):
    """Ceilings; null, or left out: none."""

    cpus: StrictInt | None = Field(default=None, description="cores per job", examples=[16])
    memory_mb: StrictInt | None = Field(default=None, description="per job, MB", examples=[64000])
    disk_gb: StrictInt | None = Field(default=None, description="per job, GB", examples=[500])
    children: StrictInt | None = Field(default=None, description="jobs per batch", examples=[1000])
    waiting: StrictInt | None = Field(default=None, description="waiting jobs", examples=[5000])


class Size(_Stored):
    """Ceilings as they were set."""

    user: str = Field(description=_ANY_USER, examples=["ana"])
    figures: Figures


class Sizes(BaseModel):
    """All ceilings, the default (`*`) first."""

    sizes: list[Size]


class OwnFigure(BaseModel):
    """A ceiling that counts for the caller."""

    value: int = Field(examples=[16])
    words: str = Field(examples=["16 cores per job for user ana, set by root on 2026-11-22"])


class Mine(BaseModel):
    """The caller's own limits."""

    user: str = Field(examples=["ana"])
    limit: int | None = Field(description="jobs that may run at once; null: no limit", examples=[5])
    words: str | None = Field(
        description="the limit as it was set",
        examples=["5 jobs for user ana, set by root on 2026-11-22: a course"],
    )
    running: int = Field(examples=[5])
    waiting: int = Field(examples=[14])
    held_back: int = Field(description="waiting jobs that the limit holds back", examples=[14])
    rules: list[Rule] = Field(description="on run time, for the caller's jobs")
    sizes: dict[str, OwnFigure] = Field(description="by figure: cpus, memory_mb, …")


class Effective(BaseModel):
    """The run time that a job of this user and app would get now, and why."""

    user: str = Field(examples=["ana"])
    app: str = Field(examples=["kb_Bowtie2.align"])
    seconds: int | None = Field(description="null: no limit", examples=[7200])
    rule: str | None = Field(examples=["2 h for ana's kb_Bowtie2.align, set by root on 2026-11-22"])


class Preview(BaseModel):
    """What a change would do, to whom. The counts that mean nothing for this kind are left out."""

    text: str = Field(examples=["Would hold back 14 waiting jobs of ana."])
    users_affected: int = Field(examples=[1])
    held_back: int | None = Field(default=None, description="waiting jobs that would wait for it")
    held_back_now: int | None = Field(default=None, description="that wait for the limit of now")
    waiting: int | None = Field(default=None, description="waiting jobs that a rule is for")
    running: int | None = Field(default=None, description="running jobs that a rule is for")
    over: int | None = Field(
        default=None, description="running jobs beyond the limit, or longer than the rule already"
    )
    jobs: int | None = Field(default=None, description="waiting jobs over a ceiling; they stay")
    users: list[dict[str, Any]] = Field(description="those with most, 100 at most, by name")


class Changed(BaseModel):
    """What is set now (null: nothing), and what the change does."""

    limit: UserLimit | Rule | Size | None = None
    preview: Preview
    applied: int | None = Field(default=None, description="live jobs that a rule was applied to")


class _Change(_Strict):
    note: str | None = Field(default=None, description="for those whom it concerns")
    reason: str | None = Field(default=None, description="why, for the audit")
    revision: StrictInt | None = Field(default=None, description=_REVISION)


class SetUser(_Change):
    """A limit to set."""

    places: StrictInt = Field(description="0 to 1,000,000; 0: may not start jobs", examples=[5])
    expires: StrictInt | str | None = Field(
        default=None, description=_EXPIRES, examples=["2030-01-31"]
    )


class SetRule(_Change):
    """A rule to set."""

    seconds: StrictInt = Field(examples=[7200])
    apply_now: StrictBool = Field(
        default=False, description="also to jobs that wait or run; else to jobs that come"
    )


class SetSize(_Change):
    """Ceilings to set, all of them."""

    figures: Figures


class TryOut(_Strict):
    """A change to try out. What belongs to the kind is given: `places`; `app` and `seconds`;
    `figures`. Null places or seconds: what taking the limit or rule away would do."""

    kind: Literal["user", "time", "size"]
    user: str = Field(default=ANY, description=_ANY_USER, examples=["ana"])
    app: str = Field(default=ANY, description="Module.method, or * for any")
    places: StrictInt | None = Field(default=None, examples=[5])
    seconds: StrictInt | None = None
    figures: Figures | None = None


_REASON: Any = Query(None, description="why, for the audit")
_SEEN: Any = Query(None, description=_REVISION)


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(prefix="/limits", tags=["limits"], responses=ERRORS)
    _users(rest, routes)
    _time(rest, routes)
    _sizes(rest, routes)

    @routes.get(
        "/mine", response_model=Mine, responses=NOT_MODIFIED, operation_id="myLimits",
        summary="My own limits",
    )
    async def mine(request: Request, caller: Caller = Depends(rest.reader)) -> Response:
        default, row = await users.own_row(rest.engine, caller)
        own = next((one for one in (row.own, default) if one is not None and one.in_force), None)
        ceilings = await sizes.own_ceilings(rest.engine, caller)
        return etagged(
            request,
            Mine(
                user=caller.user,
                limit=row.limit,
                words=None if own is None else own.words(),
                running=row.running,
                waiting=row.waiting,
                held_back=row.held_back,
                rules=[_rule(one) for one in await time_rules.own_rules(rest.engine, caller)],
                sizes={
                    name: OwnFigure(value=size.figures[name], words=size.words(name))
                    for name, size in ceilings.by_figure.items()
                },
            ),
        )

    @routes.post(
        "/preview", response_model=Preview, response_model_exclude_none=True,
        operation_id="previewLimit", summary="What a change of a limit would do, to whom",
        description="Changes nothing. For administrators, and for an app's owners about its rules.",
    )
    async def preview(body: TryOut, caller: Caller = Depends(rest.reader)) -> Preview:
        engine = rest.engine
        if body.kind == "user":
            return _preview(
                await users.preview_user_limit(engine, caller, body.user, body.places)
            )
        if body.kind == "time":
            return _preview(
                await time_rules.preview_time_rule(
                    engine, caller, body.app, body.user, body.seconds
                )
            )
        figures = (body.figures or Figures()).model_dump(exclude_none=True)
        return _preview(await sizes.preview_size(engine, caller, body.user, figures))

    return routes


def _users(rest: Rest, routes: APIRouter) -> None:
    @routes.get(
        "/users", response_model=Users, responses=NOT_MODIFIED, operation_id="userLimits",
        summary="All users with a limit of their own or with live jobs; the default",
    )
    async def listed(request: Request, caller: Caller = Depends(rest.reader)) -> Response:
        default, rows = await users.user_rows(rest.engine, caller)
        answer = Users(
            default=_limit(default),
            users=[
                UserRow(
                    user=row.user, own=_limit(row.own), limit=row.limit, running=row.running,
                    waiting=row.waiting, held_back=row.held_back,
                )
                for row in rows
            ],
            as_of=to_ms(now_s()),
        )
        return etagged(request, answer)

    @routes.put(
        "/users/{user}", response_model=Changed, responses=CONFLICT, operation_id="setUserLimit",
        summary="Let at most so many jobs of a user run at once",
        description="`*` is the default, for all users without a limit of their own. In force at "
        "once; what runs goes on. For administrators; in the audit.",
        response_model_exclude_none=True,
    )
    async def put(user: str, body: SetUser, caller: Caller = Depends(rest.writer)) -> Changed:
        await _require_user(rest, caller, user)
        done = await users.set_user_limit(
            rest.engine, caller, user, body.places, expires=body.expires, note=body.note,
            reason=body.reason, revision=body.revision,
        )
        return Changed(limit=_limit(done.limit), preview=_preview(done.preview))

    @routes.delete(
        "/users/{user}", response_model=Changed, responses=CONFLICT, operation_id="unsetUserLimit",
        summary="Take a user's own limit away", response_model_exclude_none=True,
    )
    async def delete(
        user: str, reason: str | None = _REASON, revision: int | None = _SEEN,
        caller: Caller = Depends(rest.writer),
    ) -> Changed:
        done = await users.unset_user_limit(
            rest.engine, caller, user, reason=reason, revision=revision
        )
        return Changed(limit=None, preview=_preview(done.preview))


def _time(rest: Rest, routes: APIRouter) -> None:
    @routes.get(
        "/time", response_model=Rules, responses=NOT_MODIFIED, operation_id="timeRules",
        summary="The rules on run time",
        description="All of them for administrators; for an app's owners those of their apps.",
    )
    async def listed(request: Request, caller: Caller = Depends(rest.reader)) -> Response:
        found = await time_rules.rules_seen(rest.engine, caller)
        return etagged(request, Rules(rules=[_rule(one) for one in found]))

    @routes.get(
        "/effective", response_model=Effective, responses=NOT_MODIFIED,
        operation_id="effectiveTimeLimit",
        summary="The run time that a job of this user and app would get now",
    )
    async def effective(
        request: Request,
        app: str = Query(description="Module.method", examples=["kb_Bowtie2.align"]),
        user: str | None = Query(None, description="the caller if left out"),
        caller: Caller = Depends(rest.reader),
    ) -> Response:
        name = caller.user if user is None else user
        found = await time_rules.effective(rest.engine, caller, name, app)
        answer = Effective(
            user=found.user, app=found.app, seconds=found.seconds, rule=found.rule
        )
        return etagged(request, answer)

    @routes.put(
        "/time/{app}/{user}", response_model=Changed, responses=CONFLICT,
        operation_id="setTimeRule", summary="Let jobs of an app and a user run for so long",
        description="Either may be `*`. The most specific rule counts: user and app, app, user, "
        "`*` and `*`. For administrators, and for the app's owners up to a ceiling; in the audit.",
        response_model_exclude_none=True,
    )
    async def put(
        app: str, user: str, body: SetRule, caller: Caller = Depends(rest.writer)
    ) -> Changed:
        await _require_user(rest, caller, user)
        done = await time_rules.set_time_rule(
            rest.engine, caller, app, user, body.seconds, note=body.note, reason=body.reason,
            revision=body.revision, apply_now=body.apply_now,
        )
        rule = None if done.rule is None else _rule(done.rule)
        return Changed(limit=rule, preview=_preview(done.preview), applied=done.applied)

    @routes.delete(
        "/time/{app}/{user}", response_model=Changed, responses=CONFLICT,
        operation_id="unsetTimeRule", summary="Take a rule on run time away",
        response_model_exclude_none=True,
    )
    async def delete(
        app: str, user: str, reason: str | None = _REASON, revision: int | None = _SEEN,
        apply_now: bool = Query(False, description="also for jobs that wait or run"),
        caller: Caller = Depends(rest.writer),
    ) -> Changed:
        done = await time_rules.unset_time_rule(
            rest.engine, caller, app, user, reason=reason, revision=revision, apply_now=apply_now
        )
        return Changed(limit=None, preview=_preview(done.preview), applied=done.applied)


def _sizes(rest: Rest, routes: APIRouter) -> None:
    @routes.get(
        "/sizes", response_model=Sizes, responses=NOT_MODIFIED, operation_id="sizeCeilings",
        summary="The ceilings on sizes",
    )
    async def listed(request: Request, caller: Caller = Depends(rest.reader)) -> Response:
        found = await sizes.sizes(rest.engine, caller)
        return etagged(request, Sizes(sizes=[_size(one) for one in found]))

    @routes.put(
        "/sizes/{user}", response_model=Changed, responses=CONFLICT, operation_id="setSizes",
        summary="Set all ceilings of a user, or of everybody",
        description="`*` is the default; of each figure the user's own counts before it. What was "
        "accepted before stays. For administrators; in the audit.",
        response_model_exclude_none=True,
    )
    async def put(
        user: str, body: Annotated[SetSize, Body()], caller: Caller = Depends(rest.writer)
    ) -> Changed:
        await _require_user(rest, caller, user)
        done = await sizes.set_size(
            rest.engine, caller, user, body.figures.model_dump(exclude_none=True),
            note=body.note, reason=body.reason, revision=body.revision,
        )
        size = None if done.size is None else _size(done.size)
        return Changed(limit=size, preview=_preview(done.preview))

    @routes.delete(
        "/sizes/{user}", response_model=Changed, responses=CONFLICT, operation_id="unsetSizes",
        summary="Take a user's own ceilings away", response_model_exclude_none=True,
    )
    async def delete(
        user: str, reason: str | None = _REASON, revision: int | None = _SEEN,
        caller: Caller = Depends(rest.writer),
    ) -> Changed:
        done = await sizes.unset_size(
            rest.engine, caller, user, reason=reason, revision=revision
        )
        return Changed(limit=None, preview=_preview(done.preview))


async def _require_user(rest: Rest, caller: Caller, user: str) -> None:
    """A misspelt name would be a limit for nobody. Not where names cannot be looked up (a browser's
    session has no token of KBase). Who may not set anything learns nothing about names."""
    if user == ANY or not caller.can_admin:
        return
    try:
        unknown = await rest.service.identity.unknown_users(caller, [user])
    except Denied:
        return
    if unknown:
        raise InvalidInput(f"There is no user '{user}'")


def _limit(limit: users.UserLimit | None) -> UserLimit | None:
    if limit is None:
        return None
    return UserLimit(
        user=limit.user, places=limit.places, note=limit.note, set_by=limit.set_by,
        expires=None if limit.expires_s is None else to_ms(limit.expires_s),
        set_at=to_ms(limit.set_at_s), revision=limit.revision, in_force=limit.in_force,
    )


def _rule(rule: TimeRule) -> Rule:
    return Rule(
        app=rule.app, user=rule.user, seconds=rule.seconds, note=rule.note, set_by=rule.set_by,
        set_at=to_ms(rule.set_at_s), revision=rule.revision, by_owner=rule.by_owner,
        words=rule.words(),
    )


def _size(size: sizes.Size) -> Size:
    return Size(
        user=size.user, figures=Figures.model_validate(dict(size.figures)), note=size.note,
        set_by=size.set_by, set_at=to_ms(size.set_at_s), revision=size.revision,
    )


def _preview(
    preview: users.UserPreview | time_rules.TimePreview | sizes.SizePreview,
) -> Preview:
    fields = dict(vars(preview))
    fields["users"] = [dict(vars(one)) for one in preview.users]
    return Preview.model_validate(fields)
