"""The page of a batch: how its jobs stand, as numbers and as a grid.

Counts come from an index alone at each call. What needs the records of all children (work done,
when the last one ended) is remembered for a while.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Any

from cachetools import TTLCache

from ee2_jobs.checks import stage_jobs
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, NotFound
from ee2_jobs.identity import Caller
from ee2_jobs.messages import created_s
from ee2_jobs.model import LIVE, TERMINAL, Document, StageName, Status, now_s, to_ms
from ee2_jobs.page import permits
from ee2_jobs.page.job import Held, RunUrl, app_of, load, narrative_title
from ee2_jobs.page.labels import STEPS, child_query
from ee2_jobs.page.links import narrative_href
from ee2_jobs.page.values import cut
from ee2_jobs.page.words import ended_by_words, reason_of
from ee2_jobs.queue import position
from ee2_jobs.queue.figures import Figures
from ee2_jobs.store import Store
from ee2_jobs.tags import tags_of_one
from ee2_jobs.waiting import Standing, batch_standings

GRID = ("created", "estimating", "queued", "running", "completed", "error", "terminated")
"""The states by their codes in a grid: created is 0, terminated 6; 7 is a state not known here."""
MAX_IDS = 2000
_NOT_HERE = ("job_output", "condor_job_ads", "child_jobs", "error")
_KEPT_S = 15.0
_KEPT_BATCHES = 1000
_DECODED = 1000  # records taken apart at a time


async def load_batch(
    engine: Engine, caller: Caller, batch_id: Any, *, as_admin: bool = False
) -> Held:
    """The parent of a batch that the caller may read; NotFound if the job is no parent."""
    held = await load(engine, caller, batch_id, as_admin=as_admin, without=_NOT_HERE)
    if not held.job.get("batch_job"):
        raise NotFound(f"Job {held.job['_id']} is not a batch: look at it as a job")
    return held


_work_of: TTLCache[tuple[int, str], tuple[str, Document]] = TTLCache(_KEPT_BATCHES, _KEPT_S)


async def _work(store: Store, batch_id: str, standing: Standing) -> Document:
    """{cpu_s, run_s, finished_s, stages} of all jobs of a batch, all attempts; stages: of each by
    its name {queued_s, running_s, finished_s}. Remembered for some seconds, unless the batch or a
    stage of it has just gone on."""
    parts = _parts_status(standing.child_counts or {})
    key, word = (id(store), batch_id), f"{standing.end} {standing.stages} {parts}"
    kept = _work_of.get(key)
    if kept is not None and kept[0] == word:
        return kept[1]
    ran = {"$max": [0, {"$subtract": [{"$ifNull": ["$finished", now_s()]}, "$running"]}]}
    steps: list[Document] = [
        {"$match": {"batch_id": batch_id}},
        {
            "$group": {
                "_id": {"$cond": [{"$in": ["$role", list(STEPS)]}, "$role", "submit"]},
                "cpu_s": {"$sum": {"$add": ["$usage.cpu_user_s", "$usage.cpu_system_s"]}},
                "run_s": {"$sum": {"$cond": ["$running", ran, 0]}},
                "queued_s": {"$min": "$queued"},
                "running_s": {"$min": "$running"},
                "finished_s": {"$max": "$finished"},
            }
        },
    ]
    found = await (await store.jobs.aggregate(steps)).to_list()
    work: Document = {
        "cpu_s": sum(one["cpu_s"] for one in found),
        "run_s": sum(one["run_s"] for one in found),
        "finished_s": max((one["finished_s"] or 0 for one in found), default=None),
        "stages": {one["_id"]: one for one in found},
    }
    _work_of[key] = (word, work)
    return work


_ends: TTLCache[tuple[int, str], Document] = TTLCache(_KEPT_BATCHES, _KEPT_S)


async def _expected_end(
    engine: Engine, figures: Figures, caller: Caller, batch_id: str, as_admin: bool
) -> Document:
    """{expected_end, ends_share}: from when to when the batch is expected to have ended, ms, and
    the share of such ranges that held. It takes a look at all live children, so it is remembered
    for some seconds."""
    key = (id(engine.store), batch_id)
    if key not in _ends:
        found = await position.job_queue(engine, figures, caller, batch_id, as_admin=as_admin)
        share = found.hit_rate.end_share if found.hit_rate else None
        _ends[key] = {"expected_end": found.expected_end, "ends_share": share}
    return _ends.get(key) or {}


async def _nothing() -> Document:
    return {}


async def _app(engine: Engine, batch_id: str, job: Document) -> Document:
    """What the children run: the first one's app; of a split whose children are to come, the
    template's."""
    fields = ("job_input.method", "job_input.app_id", "job_input.service_ver")
    query = {"batch_id": batch_id, "role": {"$nin": list(STEPS)}}
    child = await engine.store.jobs.find_one(query, list(fields))
    if child is None:
        submission = await engine.store.submissions.find_one(
            {"_id": batch_id}, {f"children.{field}": 1 for field in fields}
        )
        child = (submission or {}).get("children")
    return await app_of(engine, child or job)


async def batch_page(
    engine: Engine,
    caller: Caller,
    batch_id: Any,
    *,
    as_admin: bool = False,
    run_url: RunUrl | None = None,
    figures: Figures | None = None,
) -> Document:
    """The summary of a batch; times in ms. `end` is null while some of it goes on, and
    `expected_end` a range then, if the figures of the queue tell one."""
    held = await load_batch(engine, caller, batch_id, as_admin=as_admin)
    job = held.job
    key = str(job["_id"])
    standings, steps, app, submission, title, tags = await asyncio.gather(
        batch_standings(engine.store, [job]),
        stage_jobs(engine.store, [key]),
        _app(engine, key, job),
        engine.store.submissions.find_one({"_id": key}, {"shape": 1, "window": 1}),
        narrative_title(engine, caller, job.get("wsid")),
        tags_of_one(engine.store, caller.user, job["_id"]),
    )
    standing = standings[key]
    counts = dict(standing.child_counts or {})
    asked = None if standing.end else figures
    work, expected = await asyncio.gather(
        _work(engine.store, key, standing),
        _expected_end(engine, asked, caller, key, as_admin) if asked else _nothing(),
    )
    total = sum(counts.values())
    ended = sum(counts.get(state, 0) for state in TERMINAL)
    until = now_s()
    if standing.end is not None:
        until = job.get("finished") or work.get("finished_s") or job["updated"]
    begun = created_s(job["_id"])
    name = app["title"] or app["method"] or "batch"
    return {
        "id": key,
        "name": cut(f"{name} × {total}" if total else name, 200),
        "app": app,
        "owner": cut(job["user"], 100),
        "narrative": {
            "ws_id": job.get("wsid"),
            "title": title,
            "href": narrative_href(engine.settings, job.get("wsid")),
        },
        "status": job["status"],
        "end": standing.end,
        "ended_by": ended_by_words(job),
        "reason": reason_of(job),
        "children": total,
        "counts": {state: counts[state] for state in GRID if state in counts},
        "percent": round(100 * ended / total, 1) if total else None,
        "created": begun * 1000,
        "finished": to_ms(until) if standing.end is not None else None,
        "elapsed_ms": max(0, to_ms(until - begun)),
        "expected_end": expected.get("expected_end"),
        "ends_share": expected.get("ends_share"),
        "cpu_hours": round((work.get("cpu_s") or 0) / 3600, 3),
        "run_hours": round((work.get("run_s") or 0) / 3600, 3),
        "stages": _stages(standing, steps[key], counts, work["stages"]),
        "window": (submission or {}).get("window"),
        "can": {
            "cancel": held.may_manage and job["status"] in LIVE and standing.end is None,
            "retry": held.may_manage and bool(
                counts.get(Status.ERROR.value) or counts.get(Status.TERMINATED.value)
            ),
            "share": held.may_manage and permits.may_share(job, caller, as_admin),
        },
        "shared": permits.shared(job, caller, as_admin),
        "run_url": run_url(submission["shape"], key) if run_url and submission else None,
        "tags": tags,
        "as_of": to_ms(now_s()),
    }  # fmt: skip


def _stages(
    standing: Standing,
    steps: Mapping[str, str],
    counts: Mapping[str, int],
    times: Mapping[str, Document],
) -> list[Document]:
    """Split, parts and aggregate, those that there are, from left to right. The times (ms) are of
    all attempts, and may be some seconds old."""
    states = standing.stages or {}
    stages: list[Document] = []
    for name in StageName:
        stage: Document
        if name is StageName.SUBMIT:
            stage = {"stage": "parts", "status": _parts_status(counts), "job_id": None}
            stage["counts"] = {state: counts[state] for state in GRID if state in counts}
        elif name.value in steps:
            status = states.get(name.value)
            stage = {"stage": name.value, "status": status, "job_id": steps[name.value]}
            stage["counts"] = {status: 1} if status else {}
        else:
            continue
        when = times.get(name.value, {})
        stages.append(
            {
                **stage,
                "first_queued": _ms(when.get("queued_s")),
                "first_running": _ms(when.get("running_s")),
                "last_finished": _ms(when.get("finished_s")),
            }
        )
    return stages


def _ms(at_s: float | None) -> int | None:
    return to_ms(at_s) if at_s else None


def _parts_status(counts: Mapping[str, int]) -> str | None:
    """One word for all children: the first that applies."""
    if not counts:
        return None
    for state in ("running", "queued", "estimating", "created", "error", "terminated"):
        if counts.get(state):
            return state
    return Status.COMPLETED.value


_grids: TTLCache[tuple[int, str], tuple[Any, Document]] = TTLCache(200, 60.0)


async def batch_grid(
    engine: Engine, caller: Caller, batch_id: Any, *, as_admin: bool = False
) -> Document:
    """{children, states}: the states of all children in their order, as codes of three bits (see
    GRID), eight of them in three bytes (the first in the highest bits), in base64."""
    held = await load_batch(engine, caller, batch_id, as_admin=as_admin)
    key = str(held.job["_id"])
    counts = (await batch_standings(engine.store, [held.job]))[key].child_counts or {}
    kept = _grids.get((id(engine.store), key))
    # The same numbers of all states may be other children: not for longer than some seconds.
    mark = (sorted(counts.items()), any(counts.get(s) for s in LIVE) and now_s() // 3)
    if kept is not None and kept[0] == mark:
        return kept[1]
    order: list[Document] = [
        {"$match": child_query(key)},
        {"$project": {"index": 1, "status": 1}},
        {"$sort": {"index": 1, "_id": 1}},
        {"$project": {"_id": 0, "c": {"$indexOfArray": [list(GRID), "$status"]}}},
        {"$group": {"_id": None, "codes": {"$push": "$c"}}},
    ]
    found = await (await engine.store.jobs.aggregate(order, allowDiskUse=True)).to_list()
    codes = found[0]["codes"] if found else []
    grid = {"id": key, "children": len(codes), "states": await asyncio.to_thread(packed, codes)}
    _grids[id(engine.store), key] = (mark, grid)
    return grid


def packed(codes: Sequence[int]) -> str:
    """Codes of three bits, eight in three bytes, as base64; -1 (not known) is 7."""
    bits = "".join(f"{code & 7:03b}" for code in codes)
    bits += "0" * (-len(bits) % 24)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""
    return base64.b64encode(data).decode()


async def grid_ids(
    engine: Engine,
    caller: Caller,
    batch_id: Any,
    *,
    start: int = 0,
    limit: int = MAX_IDS,
    as_admin: bool = False,
) -> Document:
    """{id, from, ids}: the ids of the children from place `start` of the grid on."""
    if not 0 < limit <= MAX_IDS or start < 0:
        raise InvalidInput(f"from must be 0 or more, and limit from 1 to {MAX_IDS}")
    held = await load_batch(engine, caller, batch_id, as_admin=as_admin)
    key = str(held.job["_id"])
    found = engine.store.jobs.find(child_query(key), {"_id": 1}, batch_size=_DECODED)
    ordered = found.sort([("index", 1), ("_id", 1)]).skip(start).limit(limit)
    return {"id": key, "from": start, "ids": [str(child["_id"]) async for child in ordered]}
