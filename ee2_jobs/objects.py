"""Use case: a job saves an object in its own workspace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ee2_jobs.checks import find_job
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, shown
from ee2_jobs.requests import required, storable
from ee2_jobs.workspaces import NewObject

# The Workspace service's rules for names of objects and types.
# The record must have room for how the job ends.
MAX_OBJECTS = 1000
_NAME = re.compile(r"[A-Za-z0-9|._-]{1,255}")
_TYPE = re.compile(r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+(-[0-9.]+)?")


async def save_object(engine: Engine, job_id: str, params: Mapping[str, Any]) -> str:
    """Save an object for the owner of a job in the job's workspace; its reference
    `workspace/object/version`.

    params: `name`, `type` (`Module.Type`), `data` (any JSON), `meta` (texts by name, optional).
    Saving the same name again in the same job answers with the first reference: a job that the pool
    runs twice saves once. InvalidInput if the job has no workspace.
    """
    name, kind = required(params, "name"), required(params, "type")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.isdigit():
        raise InvalidInput(
            f"name: {shown(name)} cannot be an object's name: letters, digits and |._- (not digits "
            "alone), at most 255"
        )
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise InvalidInput(f"type must be Module.Type, not {shown(kind)}")
    meta = params.get("meta") or {}
    if not isinstance(meta, Mapping) or not all(isinstance(v, str) for v in meta.values()):
        raise InvalidInput("meta must be a mapping of texts")
    storable(dict(meta), "meta")
    data = storable(required(params, "data"), "data")
    job = await find_job(engine.store, job_id, {"user": 1, "wsid": 1, "saved": 1})
    saved = job.get("saved", ())
    for one in saved:
        if one["name"] == name:
            return str(one["ref"])
    if len(saved) >= MAX_OBJECTS:
        raise InvalidInput(f"A job may save {MAX_OBJECTS} objects at most")
    if not job.get("wsid"):
        raise InvalidInput(
            f"Job {job_id} belongs to no workspace, so it can save no object: start it with a wsid"
        )
    new = NewObject(name, kind, data, {**meta, "ee2_job": job_id})
    ref = await engine.workspaces.save_object(job["user"], job["wsid"], new)
    jobs = engine.store.jobs
    done = await jobs.update_one(
        {"_id": job["_id"], "saved.name": {"$ne": name}},
        {"$push": {"saved": {"name": name, "ref": ref}}},
    )
    if not done.matched_count:  # another call was faster: the job knows one reference by the name
        now = await find_job(engine.store, job_id, {"saved": 1})
        return next(str(one["ref"]) for one in now["saved"] if one["name"] == name)
    return ref
