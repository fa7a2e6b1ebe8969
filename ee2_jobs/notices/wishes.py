"""Which messages a user wants, and where to.

Documents in `ee2_notice_settings`: {_id: user, events, email, slack, webhook, shared, quiet_s,
long_wait_s, long_run_s, confirmed, codes, changed (s)}. `events` is event -> list of channels.
`confirmed` is channel -> the address that was confirmed, `codes` channel -> the open confirmation
of one: {hash, to, at, tries}.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pymongo.errors import DuplicateKeyError

from ee2_jobs.errors import InvalidInput, WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, now_s
from ee2_jobs.notices.sending import notice_document
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store

PAGE = "page"
"""In the page of jobs: needs no address, and every service has it."""
CHANNELS = (PAGE, "email", "slack", "webhook")
# Whoever is reached there must have said so: nobody can have messages sent to somebody else.
TO_CONFIRM = ("email", "slack")
EVENTS = ("end", "failure", "batch_done", "long_wait", "long_run")
CODE_LIVES_S = 3600.0
CODE_AGAIN_S = 120.0
CODE_TRIES = 5
TEST_AGAIN_S = 60.0

# One address, no list of them, nothing that could be a header.
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_SLACK = re.compile(r"[UW][A-Z0-9]{5,20}")
_WEBHOOK = re.compile(r"(/[A-Za-z0-9_~@=.-]+)+/?")


class Wishes(BaseModel):
    """What a user wants to be told, and where. Times in s."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="for each of end, failure, batch_done, long_wait, long_run the channels "
        "(page, email, slack, webhook) on which to tell it",
        examples=[{"failure": ["email"], "batch_done": ["email", "slack"]}],
    )
    email: str | None = Field(
        default=None, max_length=254, description="address; used once it is confirmed",
        examples=["ana@example.org"],
    )
    slack: str | None = Field(
        default=None, description="id of a Slack member; used once it is confirmed",
        examples=["U024BE7LH"],
    )
    webhook: str | None = Field(
        default=None, max_length=500,
        description="path below the institute's webhook address", examples=["/hooks/7f3a"],
    )
    shared: bool = Field(
        default=False, description="also of jobs that others share with me by name"
    )
    quiet_s: float = Field(
        default=60.0, ge=0, le=1e7, description="nothing of what ended sooner after its start"
    )
    long_wait_s: float = Field(
        default=4 * 3600.0, ge=60, le=1e7, description="from when on a wait is long"
    )
    long_run_s: float = Field(
        default=24 * 3600.0, ge=60, le=1e7, description="from when on a run is long"
    )


def parse_wishes(value: Any) -> Wishes:
    """Wishes as a client sends them; InvalidInput names what is wrong."""
    try:
        wishes = Wishes.model_validate(value)
    except ValidationError as e:
        first = e.errors()[0]
        place = ".".join(map(str, first["loc"])) or "settings"
        raise InvalidInput(f"{place}: {first['msg']}") from None
    for event, channels in wishes.events.items():
        if event not in EVENTS:
            raise InvalidInput(f'events: there is no "{event}"; there are {", ".join(EVENTS)}')
        for channel in channels:
            if channel not in CHANNELS:
                raise InvalidInput(
                    f'events.{event}: there is no channel "{channel}"; there are '
                    f"{', '.join(CHANNELS)}"
                )
            if channel != PAGE and getattr(wishes, channel) is None:
                raise InvalidInput(
                    f"events.{event} names the channel {channel}, and {channel} is not set"
                )
    _check(wishes.email, _EMAIL, "email", "one e-mail address")
    _check(wishes.slack, _SLACK, "slack", "the id of a member, such as U024BE7LH")
    _check(wishes.webhook, _WEBHOOK, "webhook", "a path such as /hooks/7f3a, without the host")
    if wishes.webhook and ".." in wishes.webhook:
        raise InvalidInput("webhook: the path must not have ..")
    return wishes


def _check(value: str | None, pattern: re.Pattern[str], field: str, what: str) -> None:
    if value is not None and not pattern.fullmatch(value):
        raise InvalidInput(f"{field} must be {what}")


def offered(settings: Settings) -> tuple[str, ...]:
    """The channels that this service has: the page, and `[ee2] notice_channels`."""
    return tuple(c for c in CHANNELS if c == PAGE or c in settings.notice_channels.split(","))


async def get_wishes(store: Store, user: str) -> tuple[Wishes, frozenset[str]]:
    """What the user wants, and the channels whose address is confirmed."""
    return _known(await store.notice_settings.find_one({"_id": user}) or {})


def _known(document: Document) -> tuple[Wishes, frozenset[str]]:
    known = {k: v for k, v in document.items() if k in Wishes.model_fields}
    wishes, confirmed = Wishes.model_validate(known), document.get("confirmed") or {}
    same = {c for c in TO_CONFIRM if (to := getattr(wishes, c)) and confirmed.get(c) == to}
    return wishes, frozenset(same)


async def set_wishes(
    store: Store, settings: Settings, caller: Caller, value: Any
) -> tuple[Wishes, frozenset[str]]:
    """Keep what the caller wants; what `get_wishes` says then. A new address gets a message with a
    code first. WrongState, and nothing is changed, if another address has been sent one just now.
    """
    wishes = parse_wishes(value)
    missing = sorted({c for cs in wishes.events.values() for c in cs} - set(offered(settings)))
    if missing:
        raise InvalidInput(
            f"This service does not send by {' or '.join(missing)}; it sends by "
            f"{', '.join(offered(settings))}"
        )
    before = await store.notice_settings.find_one({"_id": caller.user}) or {}
    _, confirmed = _known({**before, **wishes.model_dump()})
    now = now_s()
    to_send = {}
    for channel in TO_CONFIRM:
        to = getattr(wishes, channel)
        if to is None or channel in confirmed or channel not in offered(settings):
            continue
        last = (before.get("codes") or {}).get(channel)
        if last is None or last["at"] <= now - CODE_AGAIN_S:
            to_send[channel] = to
        elif last["to"] != to:
            raise WrongState(
                f"A code was sent to another {channel} address a moment ago: wait two minutes, "
                "then set this one"
            )
    fields = {**wishes.model_dump(), "changed": now}
    await store.notice_settings.update_one({"_id": caller.user}, {"$set": fields}, upsert=True)
    for channel, to in to_send.items():
        await _send_code(store, caller.user, channel, to)
    return wishes, confirmed


async def _send_code(store: Store, user: str, channel: str, to: str) -> None:
    code, now = f"{secrets.randbelow(10**8):08d}", now_s()
    stored = {"hash": _hash(user, code), "to": to, "at": now, "tries": 0}
    await store.notice_settings.update_one({"_id": user}, {"$set": {f"codes.{channel}": stored}})
    key = f"code.{user}.{channel}.{round(now * 1000)}"
    body = {"code": code, "user": user}
    await store.notices.insert_one(notice_document(key, user, channel, to, "code", body))


def _hash(user: str, code: str) -> str:
    return hashlib.sha256(f"{user}:{code}".encode()).hexdigest()


async def confirm(store: Store, caller: Caller, channel: Any, code: Any) -> None:
    """The caller has the code that was sent to the address of a channel. WrongState if it cannot be
    used."""
    if channel not in TO_CONFIRM:
        raise InvalidInput(f"channel must be one of {', '.join(TO_CONFIRM)}")
    if not isinstance(code, str):
        raise InvalidInput("code must be the eight digits of the message, as a string")
    field = f"codes.{channel}"
    found = await store.notice_settings.find_one_and_update(
        {"_id": caller.user, f"{field}.at": {"$gt": now_s() - CODE_LIVES_S}},
        {"$inc": {f"{field}.tries": 1}},
    )
    if found is None or found["codes"][channel]["tries"] >= CODE_TRIES:
        raise WrongState(f"There is no code to confirm any more: set {channel} once more")
    sent = found["codes"][channel]
    if not hmac.compare_digest(sent["hash"], _hash(caller.user, code.strip())):
        raise InvalidInput("This is not the code that was sent; look at the newest message")
    await store.notice_settings.update_one(
        {"_id": caller.user},
        {"$set": {f"confirmed.{channel}": sent["to"]}, "$unset": {field: ""}},
    )


async def send_test(store: Store, settings: Settings, caller: Caller, channel: Any) -> None:
    """Have a message sent to the caller, to see whether it arrives."""
    if channel not in offered(settings):
        raise InvalidInput(f"channel must be one of {', '.join(offered(settings))}")
    wishes, confirmed = await get_wishes(store, caller.user)
    to = address(caller.user, wishes, confirmed, channel)
    if to is None:
        raise InvalidInput(
            f"Your settings have no {channel} to send to"
            + (", or it is not confirmed yet" if channel in TO_CONFIRM else "")
        )
    now = now_s()
    try:
        # Whoever has never saved anything has no document yet.
        await store.notice_settings.update_one(
            {"_id": caller.user, "tested": {"$not": {"$gt": now - TEST_AGAIN_S}}},
            {"$set": {"tested": now}, "$setOnInsert": {"events": {}}},
            upsert=True,
        )
    except DuplicateKeyError:
        raise WrongState("A test was sent a moment ago: wait a minute") from None
    key = f"test.{caller.user}.{round(now * 1000)}"
    await store.notices.insert_one(
        notice_document(key, caller.user, channel, to, "test", {"user": caller.user})
    )


def address(
    user: str, wishes: Wishes, confirmed: Collection[str], channel: str
) -> str | None:
    """Where the user's messages of a channel go to; None if nowhere yet."""
    if channel == PAGE:
        return user
    if channel in TO_CONFIRM and channel not in confirmed:
        return None
    value: str | None = getattr(wishes, channel)
    return value


def reached(
    settings: Settings, user: str, wishes: Wishes, confirmed: Collection[str]
) -> list[tuple[str, str]]:
    """Every channel on which the user can be told something, with the address there."""
    ways = [(c, address(user, wishes, confirmed, c)) for c in offered(settings)]
    return [(channel, to) for channel, to in ways if to is not None]


async def of_all(
    store: Store, users: Collection[str]
) -> dict[str, tuple[Wishes, frozenset[str]]]:
    """What `get_wishes` says, of each of the users."""
    found = store.notice_settings.find({"_id": {"$in": list(users)}})
    kept = {d["_id"]: d async for d in found}
    return {user: _known(kept.get(user, {})) for user in users}


async def of_users(
    store: Store, users: Iterable[str]
) -> dict[str, tuple[Wishes, frozenset[str]]]:
    """What `get_wishes` says, of those of the users that want to be told of anything."""
    found = store.notice_settings.find({"_id": {"$in": list(users)}, "events": {"$ne": {}}})
    return {d["_id"]: _known(d) async for d in found}


async def who_wants(
    store: Store, event: str
) -> dict[str, tuple[Wishes, frozenset[str]]]:
    """All users that want to be told of an event, with their wishes."""
    found = store.notice_settings.find({f"events.{event}.0": {"$exists": True}})
    return {d["_id"]: _known(d) async for d in found}
