"""The page of one job: all that stands there except its log and what went in and came out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bson import ObjectId
from pymongo.errors import PyMongoError

from ee2_jobs import log_pages
from ee2_jobs.engine import Engine
from ee2_jobs.errors import EngineError
from ee2_jobs.identity import Caller
from ee2_jobs.messages import created_s
from ee2_jobs.model import (
    LIVE,
    TERMINAL,
    Document,
    StageName,
    Status,
    job_oid,
    now_s,
    to_ms,
)
from ee2_jobs.page import permits
from ee2_jobs.page.links import narrative_href
from ee2_jobs.page.outputs import produced
from ee2_jobs.page.values import cut, json_bytes, shrunk
from ee2_jobs.page.words import code_words, ended_by_words, reason_of, sentence
from ee2_jobs.rights import Level, enough, not_found, permitted, require_admin, rights_in
from ee2_jobs.statistics.percentiles import ranks as ranks_of
from ee2_jobs.tags import tags_of_one

MAX_BYTES = 8000
_CATALOG_S = 2.0
_RANKS_S = 0.3
_ATTEMPTS = 12
_NOT_HERE = ("job_input.params", "job_input.source_ws_objects", "child_jobs", "error")

RunUrl = Callable[[str, str], str]
"""The address of a submission's DAG run, from the DAG's and the submission's id."""


@dataclass(frozen=True)
class Held:
    """A job's record, and what the caller may do with it, as of `rights.rights_in`."""

    job: Document
    right: str

    @property
    def may_manage(self) -> bool:
        """Whether the job may be cancelled, run again and put back."""
        return enough(self.right, Level.MANAGE)


async def load(
    engine: Engine,
    caller: Caller,
    job_id: Any,
    *,
    as_admin: bool = False,
    without: tuple[str, ...] = (),
) -> Held:
    """The record of a job that the caller may read, and with what right. Errors as of
    `rights.find_permitted`. without: fields that are not needed."""
    if as_admin:
        require_admin(caller, Level.READ)
    oid = job_oid(job_id)
    job = await engine.store.jobs.find_one({"_id": oid}, dict.fromkeys(without, 0) or None)
    if as_admin:
        if job is None:
            raise not_found(job_id)
        return Held(job, "a" if caller.can_admin else "r")
    held = await rights_in(engine, caller, [job] if job else [], [oid])
    right = held.get(str(oid))
    if job is None or right is None:
        raise not_found(job_id)
    return Held(job, right)


async def job_page(
    engine: Engine,
    caller: Caller,
    job_id: Any,
    *,
    as_admin: bool = False,
    run_url: RunUrl | None = None,
) -> Document:
    """What the page shows, MAX_BYTES of JSON at most (besides the caller's own tags); times in ms.
    For the parent of a batch, where to look instead. Administrators who ask as such get the record
    itself on top of that."""
    held = await load(engine, caller, job_id, as_admin=as_admin, without=_NOT_HERE)
    job = held.job
    if job.get("batch_job"):
        batch_id = str(job["_id"])
        return {"id": batch_id, "is_batch": True, "batch": {"id": batch_id}, "as_of": _ms(now_s())}
    when = timings(job)
    app, title, error_line, attempts, output, ranks = await asyncio.gather(
        app_of(engine, job),
        narrative_title(engine, caller, job.get("wsid")),
        _error_line(engine, job),
        _attempts(engine, caller, job, as_admin),
        produced(engine.store, job),
        _ranks(engine, job, when),
    )
    batch, run, tags, can = await asyncio.gather(
        _batch(engine, job),
        _run(engine, job, run_url),
        tags_of_one(engine.store, caller.user, job["_id"]),
        permits.can(engine, caller, held, attempts, as_admin=as_admin),
    )
    page: Document = {
        "id": str(job["_id"]),
        "is_batch": False,
        "status": job["status"],
        "sentence": sentence(job),
        "code": job.get("error_code", job.get("terminated_code")),
        "code_words": code_words(job),
        "error_line": error_line,
        "ended_by": ended_by_words(job),
        "reason": reason_of(job),
        "owner": cut(job["user"], 100),
        "app": app,
        "narrative": _narrative(engine, job, title),
        "timings": when,
        "ranks": ranks,
        "limit": _limit(job),
        "where": _where(job),
        "resources": {"requested": requested(job), "used": _used(job)},
        "priority": job.get("priority", 0),
        "attempts": attempts,
        "batch": batch,
        "output": output,
        "shared": permits.shared(job, caller, as_admin),
        "can": can,
        "run_url": run,
        "scheduler_id": cut(job.get("scheduler_id"), 60),
        "log_expired": _ms(job.get("log_expired")),
        "as_of": _ms(now_s()),
    }
    _fit(page)
    page["tags"] = tags
    if as_admin:
        page["admin"] = _admin(job)
    return page


def _ms(seconds: Any) -> int | None:
    return to_ms(seconds) if isinstance(seconds, int | float) and seconds else None


def timings(job: Mapping[str, Any]) -> Document:
    """When a job entered its states, how long it waited and ran so far (ms); null: not (yet)."""
    created, finished = float(created_s(job["_id"])), job.get("finished")
    running = job.get("running")
    until = finished or (now_s() if job["status"] in LIVE else job.get("updated"))
    waited_until = running or until
    return {
        "created": _ms(created),
        "queued": _ms(job.get("queued")),
        "running": _ms(running),
        "finished": _ms(finished),
        "wait_ms": max(0, to_ms(waited_until - created)) if waited_until else None,
        "run_ms": max(0, to_ms(until - running)) if running and until else None,
    }


async def _ranks(engine: Engine, job: Mapping[str, Any], when: Document) -> Document | None:
    """Where its times stand among the newest completed runs of its app."""
    what = job.get("job_input") or {}
    app = what.get("app_id") or what.get("method")
    if not app:
        return None
    run_ms = None if job["status"] == Status.RUNNING else when["run_ms"]
    found = await ranks_of(
        engine.store, str(app), when["wait_ms"] if when["running"] else None, run_ms,
        within_s=_RANKS_S,
    )  # fmt: skip
    return asdict(found) if found else None


async def app_of(engine: Engine, job: Mapping[str, Any]) -> Document:
    """What was run. Title, version and image are the catalog's: null if it does not answer."""
    what = job.get("job_input") or {}
    module, _, function = str(what.get("method") or "").partition(".")
    app: Document = {
        "method": cut(what.get("method"), 160),
        "app_id": cut(what.get("app_id"), 160),
        "service_ver": cut(what.get("service_ver"), 60),
        "title": None,
        "version": None,
        "image": None,
    }
    if not function:
        return app
    with contextlib.suppress(EngineError, PyMongoError, TimeoutError):
        async with asyncio.timeout(_CATALOG_S):
            found = await engine.catalog.app(module, what.get("service_ver"), function)
        method = found.methods.get(function)
        app["version"] = cut(found.version, 60)
        if method is not None:
            app |= {"title": cut(method.title, 160) or None, "image": cut(method.image, 200)}
    return app


async def narrative_title(engine: Engine, caller: Caller, wsid: Any) -> str | None:
    """The title of a workspace that the caller may read; None if there is none to be had."""
    if not isinstance(wsid, int):
        return None
    with contextlib.suppress(EngineError, PyMongoError, TimeoutError):
        async with asyncio.timeout(_CATALOG_S):
            found = (await engine.workspaces.narratives(caller, [wsid])).get(wsid)
            return cut(found.title, 200) if found else None
    return None


def _narrative(engine: Engine, job: Mapping[str, Any], title: str | None) -> Document:
    cell = (job.get("job_input") or {}).get("narrative_cell_info") or {}
    return {
        "ws_id": job.get("wsid"),
        "title": title,
        "cell_id": cut(cell.get("cell_id"), 80),
        "run_id": cut(cell.get("run_id"), 80),
        "tag": cut(cell.get("tag"), 40),
        "href": narrative_href(engine.settings, job.get("wsid")),
    }


async def _error_line(engine: Engine, job: Mapping[str, Any]) -> Document | None:
    if job["status"] != Status.ERROR:
        return None
    found = await log_pages.first_error(engine.store, job["_id"])
    return {"n": found[0], "text": cut(found[1], 400)} if found else None


def _limit(job: Mapping[str, Any]) -> Document:
    limit_s, running = job.get("time_limit_s"), job.get("running")
    at = None
    if isinstance(limit_s, int | float) and running and job["status"] == Status.RUNNING:
        at = _ms(running + limit_s)
    return {
        "time_limit_s": limit_s, "rule": cut(job.get("time_limit_rule"), 200), "limit_at": at,
    }  # fmt: skip


def _where(job: Mapping[str, Any]) -> Document:
    where, claim = job.get("where") or {}, job.get("claim") or {}
    group = requested(job)["client_group"]
    return {
        "host": cut(where.get("host") or claim.get("host"), 120),
        "slot": cut(where.get("slot"), 80),
        "group": cut(where.get("group"), 60) or group,
        "cluster": cut(where.get("cluster"), 80),
        "route": cut(where.get("route"), 160),
        "batch_system_id": cut(str(where["batch_id"]), 60) if where.get("batch_id") else None,
        "starts": claim.get("starts"),
    }


def requested(job: Mapping[str, Any]) -> Document:
    """What the job asked of the pool."""
    wanted = (job.get("job_input") or {}).get("requirements") or {}
    return {
        "client_group": cut(wanted.get("clientgroup"), 60),
        "cpus": wanted.get("cpu"),
        "memory_mb": wanted.get("memory"),
        "disk_gb": wanted.get("disk"),
    }


def _used(job: Mapping[str, Any]) -> Document | None:
    """What the runner has measured: numbers only."""
    usage = job.get("usage")
    if not isinstance(usage, Mapping):
        return None
    numbers = [(k, v) for k, v in usage.items() if isinstance(v, int | float) and len(k) < 40]
    return dict(numbers[:12])


async def _attempts(
    engine: Engine, caller: Caller, job: Mapping[str, Any], as_admin: bool
) -> list[Document]:
    """All attempts at the job that the caller may read, oldest first; of many, the newest."""
    root = str(job.get("retry_parent") or job["_id"])
    family: list[Document] = [dict(job)]
    if job.get("retry_parent") or job.get("superseded") or job.get("retry_ids"):
        fields = ("user", "wsid", "authstrat", "shared", "status", "queued", "running", "finished",
                  "updated", "claim.host", "where.host", "error_code", "terminated_code")
        query: Document = {"$or": [{"_id": ObjectId(root)}, {"retry_parent": root}]}
        family = await engine.store.jobs.find(query, list(fields)).sort("_id", 1).to_list()
        if not as_admin:
            readable = await permitted(engine, caller, family, Level.READ)
            family = [one for one in family if str(one["_id"]) in readable]
    shown = []
    for number, one in enumerate(family, 1):
        host = (one.get("where") or {}).get("host") or (one.get("claim") or {}).get("host")
        when = timings(one)
        shown.append(
            {
                "id": str(one["_id"]),
                "attempt": number,
                "status": one["status"],
                "code_words": code_words(one),
                "host": cut(host, 80),
                "created": when["created"],
                "finished": when["finished"],
                "run_ms": when["run_ms"],
            }
        )
    return shown[-_ATTEMPTS:]


async def _batch(engine: Engine, job: Mapping[str, Any]) -> Document | None:
    """The batch that the job is of: {id, role, index, children}."""
    batch_id = job.get("batch_id")
    if not isinstance(batch_id, str) or not ObjectId.is_valid(batch_id):
        return None
    size = {"$size": {"$ifNull": ["$child_jobs", []]}}
    parent = await engine.store.jobs.find_one({"_id": ObjectId(batch_id)}, {"children": size})
    return {
        "id": batch_id,
        "role": job.get("role", StageName.SUBMIT.value),
        "index": job.get("index"),
        "children": parent["children"] if parent else None,
    }


async def _run(
    engine: Engine, job: Mapping[str, Any], run_url: RunUrl | None
) -> str | None:
    submission_id = job.get("submission")
    if run_url is None or not submission_id:
        return None
    submission = await engine.store.submissions.find_one({"_id": submission_id}, {"shape": 1})
    return run_url(submission["shape"], submission_id) if submission else None


def _fit(page: Document) -> None:
    """Leave out what is least missed until the page has its size."""
    steps = (("output", "objects", 8), ("attempts", None, 4), ("output", "objects", 2))
    for field, part, keep in steps:
        if len(json_bytes(page)) <= MAX_BYTES:
            return
        if part is None:
            page[field] = page[field][-keep:]
        else:
            page[field]["more"] += len(page[field][part][keep:])
            page[field][part] = page[field][part][:keep]


def _admin(job: Document) -> Document:
    """For administrators: the record as it is stored, long values cut. The id of the runner's claim
    is the runner's secret."""
    claim = {k: v for k, v in (job.get("claim") or {}).items() if k != "id"}
    record = {**job, "_id": str(job["_id"])} | ({"claim": claim} if claim else {})
    raw, is_cut = shrunk(record, MAX_BYTES)
    return {
        "record": raw,
        "cut": is_cut,
        "scheduler_type": cut(job.get("scheduler_type"), 40),
        "cancelled_by": cut((job.get("ended_by") or {}).get("user"), 100),
        "live": job["status"] not in TERMINAL,
    }
