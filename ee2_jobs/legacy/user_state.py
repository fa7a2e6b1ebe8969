"""Values that programs keep for a user: UserAndJobState's key and value store.

Documents {user, service, auth, key, value} in `ee2_user_state`, as in the old `userstate`. What a
service has proved to be its own by its token (`auth`) and what any program wrote in a service's
name are two sets that do not meet.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ee2_jobs.errors import InvalidInput, NotFound
from ee2_jobs.legacy.ujs_values import MAX_NAME, required_text
from ee2_jobs.model import Document
from ee2_jobs.requests import storable
from ee2_jobs.store import Store

MAX_VALUE_BYTES = 1_000_000
_BAD_LETTER = re.compile(r"[^A-Za-z0-9_]")


async def set_state(
    store: Store, user: str, service: Any, key: Any, value: Any, *, auth: bool
) -> None:
    """Keep a value, any JSON; one that is there is replaced."""
    which = _which(user, service, key, auth)
    kept = storable(value, "value")
    size = len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
    if size > MAX_VALUE_BYTES:
        raise InvalidInput(f"Value cannot be > {MAX_VALUE_BYTES} bytes when serialized")
    await store.user_state.update_one(which, {"$set": {"value": kept}}, upsert=True)


async def get_state(store: Store, user: str, service: Any, key: Any, *, auth: bool) -> Any:
    """The value; NotFound if there is none."""
    there, value = await find_state(store, user, service, key, auth=auth)
    if not there:
        kind = "authorized" if auth else "unauthorized"
        raise NotFound(f"There is no key {key} for the {kind} service {service}")
    return value


async def find_state(
    store: Store, user: str, service: Any, key: Any, *, auth: bool
) -> tuple[bool, Any]:
    """Whether there is such a key, and its value (a value may be null)."""
    kept = await store.user_state.find_one(_which(user, service, key, auth), {"value": 1})
    return (False, None) if kept is None else (True, kept.get("value"))


async def remove_state(store: Store, user: str, service: Any, key: Any, *, auth: bool) -> None:
    """Forget a value; nothing if there is none."""
    await store.user_state.delete_one(_which(user, service, key, auth))


async def list_keys(store: Store, user: str, service: Any, *, auth: bool) -> list[str]:
    """The keys of one service."""
    query = {"user": user, "service": service_name(service), "auth": auth}
    return sorted([kept["key"] async for kept in store.user_state.find(query, {"key": 1})])


async def list_services(store: Store, user: str, *, auth: bool) -> list[str]:
    """The services that have something for the user."""
    return sorted(await store.user_state.distinct("service", {"user": user, "auth": auth}))


def service_name(value: Any) -> str:
    """The name of a service: letters, digits and underscores."""
    name = required_text(value, "service", MAX_NAME)
    bad = _BAD_LETTER.search(name)
    if bad:
        raise InvalidInput(f"Illegal character in service name {name}: {bad[0]}")
    return name


def _which(user: str, service: Any, key: Any, auth: bool) -> Document:
    return {
        "user": user,
        "service": service_name(service),
        "auth": auth,
        "key": required_text(key, "key", MAX_NAME),
    }
