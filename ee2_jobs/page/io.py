"""What went into a job and what came out of it."""

from __future__ import annotations

from typing import Any, Literal

from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document
from ee2_jobs.page.job import load
from ee2_jobs.page.values import json_bytes, shrunk

# Of each part; together they stay below 1 MB.
MAX_PART_BYTES = 300_000
PARTS = ("params", "output", "error")
Part = Literal["params", "output", "error"]
_FIELDS = {"params": "job_input", "output": "job_output", "error": "error"}
_NOT_HERE = ("child_jobs", "condor_job_ads")


async def job_io(
    engine: Engine, caller: Caller, job_id: Any, *, as_admin: bool = False
) -> Document:
    """{params, output, error}: each {value, bytes, cut}, or null where there is none. A value that
    is too large for a page is cut and says so; `io_part` has all of it. error: the app's own
    account, with its traceback if it gave one. names: what people call the parameters."""
    held = await load(engine, caller, job_id, as_admin=as_admin, without=_NOT_HERE)
    answer: Document = {"id": str(held.job["_id"])}
    for part in PARTS:
        value = _value(held.job, part)
        if value is None:
            answer[part] = None
            continue
        shown, is_cut = shrunk(value, MAX_PART_BYTES)
        answer[part] = {"value": shown, "bytes": len(json_bytes(value)), "cut": is_cut}
    asked = held.job.get("job_input") or {}
    answer["names"] = dict(await engine.catalog.parameters(str(asked.get("method"))))
    objects = asked.get("source_ws_objects") or []
    answer["source_ws_objects"] = [str(ref)[:200] for ref in objects[:500]]
    return answer


async def io_part(
    engine: Engine, caller: Caller, job_id: Any, part: Any, *, as_admin: bool = False
) -> bytes:
    """One part, all of it, as JSON; `null` where there is none."""
    if part not in PARTS:
        raise InvalidInput(f"part must be one of {', '.join(PARTS)}")
    held = await load(engine, caller, job_id, as_admin=as_admin, without=_NOT_HERE)
    return json_bytes(_value(held.job, part))


def _value(job: Document, part: str) -> Any:
    value = job.get(_FIELDS[part])
    return (value or {}).get("params") if part == "params" else value
