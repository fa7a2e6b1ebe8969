"""What administrators switch at run time: the whole engine paused, client groups drained.

Paused: everything is accepted and nothing is started. Drained: the same for the jobs of one client
group. What runs goes on. Documents in `ee2_controls`: {_id: "paused" or "drained:GROUP", by, at
(s), reason}. Each is there or not, so a switch has no half state and may be set twice. Whoever
starts jobs reads them (`ee2_operators/admission.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ee2_jobs import audit
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, now_s
from ee2_jobs.rights import Level, require_admin
from ee2_jobs.store import Store

_PAUSED = "paused"
_DRAINED = "drained:"


@dataclass(frozen=True)
class Control:
    """Who switched it on, when (s since the epoch) and why."""

    by: str
    at_s: float
    reason: str | None


@dataclass(frozen=True)
class Controls:
    """What is switched on now. paused: None unless the engine is; drained: by client group."""

    paused: Control | None = None
    drained: Mapping[str, Control] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Whether anything is held back."""
        return self.paused is not None or bool(self.drained)


async def controls(store: Store) -> Controls:
    """What is switched on now; one small query."""
    found: dict[str, Control] = {}
    async for one in store.controls.find():
        found[one["_id"]] = Control(one["by"], one["at"], one.get("reason"))
    drained = {k.removeprefix(_DRAINED): v for k, v in found.items() if k.startswith(_DRAINED)}
    return Controls(found.get(_PAUSED), dict(sorted(drained.items())))


async def pause(engine: Engine, caller: Caller, reason: str | None = None) -> Controls:
    """Accept, and start nothing, until `resume`; what is switched on afterwards.

    For full administrators (Denied); in the audit. If it is paused already, nothing changes: who
    did it first, and why, stays. InvalidInput for a reason that is no text or too long.
    """
    return await _switch_on(engine, caller, _PAUSED, "pause", [], reason)


async def resume(engine: Engine, caller: Caller, reason: str | None = None) -> Controls:
    """Start again; nothing if it is not paused. Otherwise as `pause`."""
    return await _switch_off(engine, caller, _PAUSED, "resume", [], reason)


async def drain(
    engine: Engine, caller: Caller, group: str, reason: str | None = None
) -> Controls:
    """Start no more jobs of a client group until `undrain`. InvalidInput for a group that there is
    not; otherwise as `pause`."""
    require_admin(caller, Level.WRITE)
    _known(engine, group, engine.groups.groups)
    return await _switch_on(engine, caller, _DRAINED + group, "drain", [group], reason)


async def undrain(
    engine: Engine, caller: Caller, group: str, reason: str | None = None
) -> Controls:
    """Start the group's jobs again; nothing if it is not drained. A group that has been taken out
    of the file of client groups meanwhile can be undrained too. Otherwise as `drain`."""
    require_admin(caller, Level.WRITE)
    drained = (await controls(engine.store)).drained
    _known(engine, group, {*engine.groups.groups, *drained})
    return await _switch_off(engine, caller, _DRAINED + group, "undrain", [group], reason)


def _known(engine: Engine, group: str, known: Mapping[str, object] | set[str]) -> None:
    if not isinstance(group, str) or group not in known:
        names = ", ".join(engine.groups.groups)
        raise InvalidInput(f"There is no client group '{group}': the groups are {names}")


def _checked_reason(reason: str | None) -> str | None:
    if reason is None:
        return None
    if (
        not isinstance(reason, str)
        or len(reason) > audit.MAX_REASON_LETTERS
        or any("\ud800" <= letter <= "\udfff" for letter in reason)  # half a letter
    ):
        raise InvalidInput(
            f"reason must be a text of at most {audit.MAX_REASON_LETTERS} letters"
        )
    return reason.strip() or None


async def _switch_on(
    engine: Engine, caller: Caller, key: str, what: str, target: list[str], reason: str | None
) -> Controls:
    require_admin(caller, Level.WRITE)
    text = _checked_reason(reason)
    store = engine.store
    if await store.controls.find_one({"_id": key}, {"_id": 1}) is None:
        entry = await audit.begin(store, caller.user, what, target, text)
        new: Document = {"by": caller.user, "at": now_s(), "reason": text}
        # Of two at once one is the first; the other finds it done.
        await store.controls.update_one({"_id": key}, {"$setOnInsert": new}, upsert=True)
        await audit.end(store, entry)
    return await controls(store)


async def _switch_off(
    engine: Engine, caller: Caller, key: str, what: str, target: list[str], reason: str | None
) -> Controls:
    require_admin(caller, Level.WRITE)
    text = _checked_reason(reason)
    store = engine.store
    if await store.controls.find_one({"_id": key}, {"_id": 1}) is not None:
        entry = await audit.begin(store, caller.user, what, target, text)
        await store.controls.delete_one({"_id": key})
        await audit.end(store, entry)
    return await controls(store)
