"""Use case: a job submitted to NarrativeJobService.

The same job as EE2's run_job makes, with NarrativeJobService's checks and their texts in its order
(`legacy-apis` 2.3); what EE2's record has no place for goes to the side document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, EngineError, InvalidInput, Unavailable, shown
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document
from ee2_jobs.offspring import inaccessible, may_write
from ee2_jobs.requests import MAX_REFS, parse_wsid, storable
from ee2_jobs.submit import run_job as accept_job

MAX_PARAMS_BYTES = 1_048_576
TAGS = ("dev", "beta", "release")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_MAX_NAME = 300
_PASSED_ON = ("params", "service_ver", "app_id", "wsid", "parent_job_id", "meta")


async def run_job(engine: Engine, caller: Caller, params: Mapping[str, Any]) -> str:
    """Accept a job from NarrativeJobService's RunJobParams; its id. InvalidInput or Denied.

    Resources and client group are the app's: a caller cannot ask. Without `wsid` the job is its
    owner's alone, who may share it.
    """
    refs = await _check_refs(engine, caller, params.get("source_ws_objects"))
    await _check_method(engine, params)
    storable(params, "params")
    size = json_bytes(params)
    if size > MAX_PARAMS_BYTES:
        raise InvalidInput(f"Input parameters are above {MAX_PARAMS_BYTES}B maximum: {size}")
    wsid = parse_wsid(params.get("wsid"))
    if wsid is not None and not await may_write(engine, caller, wsid):
        raise Denied(f"User {caller.user} cannot write to workspace {wsid}")
    request: Document = {key: params[key] for key in _PASSED_ON if params.get(key) is not None}
    request["method"] = params["method"]
    request["source_ws_objects"] = [ref for ref in refs if ref.count("/") == 2]
    return await accept_job(engine, caller, request, side=_side(caller, params, refs))


def _side(caller: Caller, params: Mapping[str, Any], refs: list[str]) -> Document:
    """NarrativeJobService told UserAndJobState of each job at once: hence service and desc."""
    side: Document = {"service": caller.user, "desc": "queued"}
    for key in ("meta", "rpc_context", "remote_url"):
        if params.get(key) is not None:
            side[key] = params[key]
    version = params.get("service_ver") or "release"
    if version in TAGS:
        side["requested_release"] = version
    if any(ref.count("/") == 1 for ref in refs):
        side["source_refs"] = refs
    return side


async def _check_method(engine: Engine, params: Mapping[str, Any]) -> None:
    """InvalidInput if the catalog does not know the method's module at that version."""
    method = params.get("method")
    module, _, function = method.partition(".") if isinstance(method, str) else ("", "", "")
    if not module or not function or "." in function:
        raise InvalidInput(f"Illegal method name: {method}")
    version = params.get("service_ver")
    if version is not None and not isinstance(version, str):
        raise InvalidInput(f"service_ver must be a string, not {shown(version)}")
    try:
        await engine.catalog.app(module, version, function)
    except Unavailable:
        raise
    except EngineError as e:
        raise InvalidInput(
            f"Error looking up module {module} with version {version or 'release'}: {e}"
        ) from None


async def _check_refs(engine: Engine, caller: Caller, value: Any) -> list[str]:
    """The object references in numbers, if the caller can read them. NarrativeJobService took names
    too, and references without version: the workspaces say what they mean now."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput("source_ws_objects must be a list")
    if len(value) > MAX_REFS:
        raise InvalidInput(f"source_ws_objects: at most {MAX_REFS} objects, not {len(value)}")
    given = [_reference(ref) for ref in value]
    if not given:
        return []
    if caller.job is not None:
        refused = set(await inaccessible(engine, caller, given))
        found: dict[str, str | None] = {ref: None if ref in refused else ref for ref in given}
    else:
        found = await engine.workspaces.resolve(caller, given)
    hidden = [ref for ref in dict.fromkeys(given) if found[ref] is None]
    if hidden:
        raise InvalidInput(
            f"The workspace objects [{', '.join(hidden)}] either don't exist or were inaccessible "
            f"to the user {caller.user}."
        )
    return [str(found[ref]) for ref in given]


def _reference(ref: Any) -> str:
    """A reference `workspace/object` or `workspace/object/version`, blanks around its parts
    removed."""
    parts = [part.strip() for part in ref.split("/")] if isinstance(ref, str) else []
    if len(parts) not in (2, 3) or not all(parts):
        raise InvalidInput(
            f"Illegal number of separators / in workspace reference {ref}: it must be "
            "workspace/object or workspace/object/version"
        )
    if len(parts) == 3 and not _NUMBER.fullmatch(parts[2]):
        raise InvalidInput(f"The version in workspace reference {ref} is no number")
    if any("\0" in part or len(part) > _MAX_NAME for part in parts):
        raise InvalidInput(f"No workspace reference: {shown(ref[:_MAX_NAME])}")
    if any(part.isdigit() and not _NUMBER.fullmatch(part) for part in parts):
        raise InvalidInput(f"No workspace reference: {ref}")
    return "/".join(parts)


def json_bytes(value: Any) -> int:
    """The size of a value as JSON; 0 for what cannot be stored at all (whole numbers beyond 64 bit,
    hundreds of levels): that is found elsewhere."""
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return 0
