"""The documents in `ee2_limits`: how one is changed, so that a lost race is noticed and nothing is
changed unrecorded.

Each has `set_by`, `set_at` (s) and `revision`, a number that grows with every change and is never
used again, not even after a removal. Who gives the revision that he saw changes nothing that has
changed since.
"""

from __future__ import annotations

from typing import Any

from pymongo.errors import DuplicateKeyError

from ee2_jobs import audit
from ee2_jobs.errors import WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.limits.words import moment
from ee2_jobs.model import Document, now_s
from ee2_jobs.store import Store

_OWN = ("_id", "set_by", "set_at", "revision")


async def save(
    store: Store,
    caller: Caller,
    key: str,
    fields: Document | None,
    *,
    what: str,
    target: str,
    details: str,
    reason: str | None,
    revision: int | None,
    even_if_same: bool = False,
) -> Document | None:
    """Set the document, or remove it (fields None); what is stored then.

    If it says that already, nothing is done and nothing recorded, unless even_if_same. revision:
    what the caller saw, 0 for no document, None for whatever there is. WrongState if that has
    changed meanwhile. what, target, details: for the audit; target in words.
    """
    old = await store.limits.find_one({"_id": key})
    if _says(old, fields) and not even_if_same:
        return old
    _require_seen(old, revision, target)
    entry = await audit.begin(store, caller.user, what, [target], reason, details=details)
    try:
        while not (done := await _write(store, caller, key, old, fields)):
            old = await store.limits.find_one({"_id": key})
            _require_seen(old, revision, target)
    except Exception as e:
        await audit.end(store, entry, error=str(e))
        raise
    await audit.end(store, entry)
    return done[0]


async def _write(
    store: Store, caller: Caller, key: str, old: Document | None, fields: Document | None
) -> tuple[Document | None] | None:
    """What is stored now; None if somebody else has changed it since `old` was read."""
    if fields is None:
        if old is None:
            return (None,)
        gone = await store.limits.delete_one({"_id": key, "revision": old.get("revision")})
        return (None,) if gone.deleted_count else None
    now = now_s()
    # Of the clock, so that it grows over removals, too.
    revision = max(round(now * 1000), _revision(old) + 1)
    new = {"_id": key, **fields, "set_by": caller.user, "set_at": now, "revision": revision}
    if old is None:
        try:
            await store.limits.insert_one(new)
        except DuplicateKeyError:
            return None
        return (new,)
    done = await store.limits.replace_one({"_id": key, "revision": old.get("revision")}, new)
    return (new,) if done.matched_count else None


def _says(old: Document | None, fields: Document | None) -> bool:
    if old is None or fields is None:
        return old is None and fields is None
    return {k: v for k, v in old.items() if k not in _OWN} == fields


def _revision(old: Document | None) -> int:
    return int(old.get("revision") or 0) if old is not None else 0


def _require_seen(old: Document | None, revision: int | None, target: str) -> None:
    if revision is None or revision == _revision(old):
        return
    now: Any = "it was removed" if old is None else (
        f"{old['set_by']} changed it at {moment(old['set_at'])}"
    )
    raise WrongState(
        f"The limit for {target} is not as you saw it: {now}. Look again, then decide"
    )
