"""What a job has produced: its report, and the objects that its output and its record name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ee2_jobs.model import Document, Status
from ee2_jobs.page.values import cut
from ee2_jobs.store import Store

MAX_OBJECTS = 20
_LOOKED_AT = 20_000  # parts of an output
_REF = re.compile(r"[0-9]{1,12}/[0-9]{1,12}/[0-9]{1,9}")


def report_of(job: Mapping[str, Any]) -> Document | None:
    """{name, ref} of the report, as KBase's apps give it in their result; None if there is none."""
    result = (job.get("job_output") or {}).get("result")
    first = result[0] if isinstance(result, list) and result else result
    if not isinstance(first, Mapping):
        return None
    name, ref = first.get("report_name"), first.get("report_ref")
    if not isinstance(name, str) and not isinstance(ref, str):
        return None
    return {"name": cut(name, 120), "ref": cut(ref, 60)}


def _refs(value: Any) -> list[str]:
    """The object references in a value, in order, each once."""
    found: dict[str, None] = {}
    pending, looked = [value], 0
    while pending and looked < _LOOKED_AT:
        looked += 1
        one = pending.pop()
        if isinstance(one, Mapping):
            pending += reversed(list(one.values()))
        elif isinstance(one, list):
            pending += reversed(one[:_LOOKED_AT])
        elif isinstance(one, str) and _REF.fullmatch(one):
            found[one] = None
    return list(found)


async def produced(store: Store, job: Mapping[str, Any]) -> Document:
    """{report, objects: [{ref, name, type, bytes}], more, state}: `state` is `not yet`, `produced`
    or `not produced`. Name, type and size are known of what the job has saved by the engine."""
    report = report_of(job)
    saved = [one for one in job.get("saved") or () if isinstance(one.get("ref"), str)]
    names = {one["ref"]: one.get("name") for one in saved}
    refs = list(dict.fromkeys([*names, *_refs((job.get("job_output") or {}).get("result"))]))
    if report and report["ref"] in refs and report["ref"] not in names:
        refs.remove(report["ref"])
    shown = refs[:MAX_OBJECTS]
    known = await _details(store, job, shown) if shown else {}
    objects = []
    for ref in shown:
        about = known.get(ref, {})
        name = about.get("name") or names.get(ref)
        one: Document = {"ref": ref, "name": cut(name, 80)}
        one |= {"type": cut(about.get("type"), 60), "bytes": about.get("bytes")}
        objects.append(one)
    state = "produced" if report or objects else "not produced"
    if state == "not produced" and job["status"] not in (Status.COMPLETED, Status.ERROR):
        state = "not produced" if job["status"] == Status.TERMINATED else "not yet"
    return {
        "report": report, "objects": objects, "more": len(refs) - len(shown), "state": state,
    }  # fmt: skip


async def _details(
    store: Store, job: Mapping[str, Any], refs: list[str]
) -> dict[str, Document]:
    """Of objects in MongoDB that this job has saved itself: others may not be the reader's."""
    size = {"$cond": [{"$eq": [{"$type": "$data"}, "object"]}, {"$bsonSize": "$data"}, None]}
    found = store.objects.find(
        {"_id": {"$in": refs}, "meta.ee2_job": str(job["_id"])},
        {"name": 1, "type": 1, "bytes": size},
    )
    return {one["_id"]: one async for one in found}
