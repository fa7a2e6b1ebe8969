"""Calls that use an administrator's rights to change something leave an entry in the audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api_bridge.params import is_as_admin
from api_bridge.service import Method, Service
from ee2_jobs import audit
from ee2_jobs.identity import Caller

_TARGETS = ("job_id", "batch_id", "job_ids", "wsid")
_MADE = ("job_id", "batch_id", "retry_id")


def is_admin_action(
    service: Service, caller: Caller, method: Method, params: list[Any]
) -> bool:
    """Whether this call changes something by an administrator's rights. A call that will be refused
    for want of the role is none."""
    if method.audited == "no" or caller.job is not None:
        return False
    if method.audited == "always":
        return caller.can_admin or caller.user == service.engine.settings.concierge_user
    return caller.can_admin and any(_uses_right(p) for p in params)


def _uses_right(value: Any) -> bool:
    """Whether a parameter asks for what only administrators get."""
    if isinstance(value, list):
        return any(isinstance(one, Mapping) and _asks(one) for one in value)
    return isinstance(value, Mapping) and (is_as_admin(value) or _asks(value))


def _asks(request: Mapping[str, Any]) -> bool:
    return request.get("job_requirements") is not None


async def call_audited(
    service: Service, caller: Caller, method: Method, name: str, params: list[Any]
) -> Any:
    """Make the call between the two halves of its entry."""
    store = service.engine.store
    target = [text for value in params for text in _ids(value, _TARGETS)]
    mappings = [p for p in params if isinstance(p, Mapping)]
    reason = next((p["reason"] for p in mappings if isinstance(p.get("reason"), str)), None)
    entry = await audit.begin(store, caller.user, name, target, reason)
    try:
        result = await method.call(service, caller, *params)
    except Exception as e:
        await audit.end(store, entry, error=str(e))
        raise
    made = [result] if isinstance(result, str) else _ids(result, _MADE)
    await audit.end(store, entry, made=[text for text in made if text not in target])
    return result


def _ids(value: Any, fields: tuple[str, ...]) -> list[str]:
    """The ids in a parameter or a result: its fields of these names, or itself if it is a text."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Mapping):
        return []
    found: list[str] = []
    for field in fields:
        item = value.get(field)
        if isinstance(item, list):
            found += [str(one) for one in item]
        elif item is not None:
            found.append(f"workspace {item}" if field == "wsid" else str(item))
    return found
