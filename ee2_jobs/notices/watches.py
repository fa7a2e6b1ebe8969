"""One job or batch of which a user wants to be told: "notify me" on its page.

Documents in `ee2_watches`: {_id, user, job, on, as_admin, at (s)}; gone once there is nothing more
to tell. Told is in the page, and on every channel for which the user has an address in the
settings. What is told has the same id as the message that the user's settings may ask for anyway,
so that nothing comes twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson import ObjectId

from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.model import LIVE, WAITING, Document, Status, now_s
from ee2_jobs.notices import wishes as wished
from ee2_jobs.notices.sending import notice_document
from ee2_jobs.notices.wishes import Wishes
from ee2_jobs.rights import Level, find_permitted, in_workspace
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from ee2_jobs.waiting import Standing, look
from ee2_jobs.workspaces import LocalWorkspaces

EVENTS = ("end", "failure", "long_wait", "long_run")
MAX_WATCHES = 1000
"""Jobs and batches that a user may watch at a time."""
_AT_ONCE = 500
_RIGHTS = dict.fromkeys(("user", "wsid", "authstrat", "shared"), 1)
_FIELDS = ("user", "wsid", "authstrat", "shared", "status", "submission", "batch_id", "batch_job",
           "queued", "running", "finished", "updated", "errormsg", "job_input.method")


async def watch(
    engine: Engine, caller: Caller, job_id: Any, on: Sequence[str], *, as_admin: bool = False
) -> Document:
    """Tell the caller of these events of a job or batch that the caller may read; what
    `watched` answers. end: however it ends; failure: if it fails or is cancelled. WrongState if it
    has ended."""
    events = list(dict.fromkeys(on))
    unknown = [event for event in events if event not in EVENTS]
    if unknown or not events:
        raise InvalidInput(f"on must be some of {', '.join(EVENTS)}")
    job = await find_permitted(
        engine, caller, job_id, Level.READ, as_admin=as_admin, projection=_RIGHTS
    )
    store = engine.store
    if (await look(store, [job["_id"]]))[job["_id"]].end is not None:
        raise WrongState(f"Job {job['_id']} has ended: there is nothing more to be told of")
    others = {"user": caller.user, "job": {"$ne": job["_id"]}}
    if await store.watches.count_documents(others, limit=MAX_WATCHES) >= MAX_WATCHES:
        raise WrongState(f"You watch {MAX_WATCHES} jobs: take it off some, then add this one")
    await store.watches.update_one(
        {"user": caller.user, "job": job["_id"]},
        {"$set": {"on": events, "as_admin": as_admin, "at": now_s()}},
        upsert=True,
    )
    return await watched(engine, caller, job_id, as_admin=as_admin)


async def unwatch(
    engine: Engine, caller: Caller, job_id: Any, *, as_admin: bool = False
) -> Document:
    """Tell the caller no more of it; what `watched` answers."""
    job = await find_permitted(
        engine, caller, job_id, Level.READ, as_admin=as_admin, projection=_RIGHTS
    )
    await engine.store.watches.delete_one({"user": caller.user, "job": job["_id"]})
    return await watched(engine, caller, job_id, as_admin=as_admin)


async def watched(
    engine: Engine, caller: Caller, job_id: Any, *, as_admin: bool = False
) -> Document:
    """{id, on, channels}: what the caller is told of a job, and where that would be."""
    job = await find_permitted(
        engine, caller, job_id, Level.READ, as_admin=as_admin, projection=_RIGHTS
    )
    store = engine.store
    found = await store.watches.find_one({"user": caller.user, "job": job["_id"]})
    wishes, confirmed = await wished.get_wishes(store, caller.user)
    ways = wished.reached(engine.settings, caller.user, wishes, confirmed)
    return {
        "id": str(job["_id"]),
        "on": found["on"] if found else [],
        "channels": [channel for channel, _ in ways],
    }


async def collect_watched(
    store: Store, settings: Settings
) -> tuple[list[Document], list[ObjectId]]:
    """The messages about watched jobs that have become due, and the watches that are over once
    these are put into the outbox."""
    made: list[Document] = []
    over: list[ObjectId] = []
    last = ObjectId("0" * 24)
    while True:
        found = await (
            store.watches.find({"_id": {"$gt": last}}).sort("_id", 1).limit(_AT_ONCE).to_list()
        )
        if not found:
            return made, over
        last = found[-1]["_id"]
        oids = list({one["job"] for one in found})
        jobs = {j["_id"]: j async for j in store.jobs.find({"_id": {"$in": oids}}, _FIELDS)}
        standings = await look(store, oids)
        wanted = await wished.of_all(store, {one["user"] for one in found})
        for one in found:
            job, standing = jobs.get(one["job"]), standings.get(one["job"])
            if job is None or standing is None:
                over.append(one["_id"])
                continue
            made += await _messages(store, settings, one, job, standing, wanted[one["user"]])
            if standing.end is not None:
                over.append(one["_id"])


async def _messages(
    store: Store,
    settings: Settings,
    watch: Document,
    job: Document,
    standing: Standing,
    wanted: tuple[Wishes, frozenset[str]],
) -> list[Document]:
    user, on = watch["user"], watch["on"]
    wishes, confirmed = wanted
    event = _event(on, job, standing, wishes)
    if event is None:
        return []
    may_read = await _may_read(store, settings, watch, job)
    if may_read is False:
        return []
    body = _body(job, standing)
    if may_read is None:
        # Nobody can ask now whether the user may still read it: so nothing about it is told.
        body = {"job": body["job"], "user": user}
        event = "watched" if standing.end is not None else "watched_long"
    key = await _key(store, job, standing)
    return [
        notice_document(f"{key}.{user}.{channel}", user, channel, to, event, body)
        for channel, to in wished.reached(settings, user, wishes, confirmed)
    ]


def _event(on: Sequence[str], job: Document, standing: Standing, wishes: Wishes) -> str | None:
    """What is to be told of the job now."""
    if standing.end is not None:
        failed = standing.end != Status.COMPLETED.value
        if "end" not in on and not (failed and "failure" in on):
            return None
        if job.get("batch_job"):
            return "batch_done"
        return "failure" if failed else "end"
    running, now = job.get("running"), now_s()
    if job["status"] == Status.RUNNING.value and running:
        return "long_run" if "long_run" in on and now - running > wishes.long_run_s else None
    waits = job["status"] in WAITING and not job.get("batch_job")
    since = job.get("queued") or job["_id"].generation_time.timestamp()
    return "long_wait" if "long_wait" in on and waits and now - since > wishes.long_wait_s else None


async def _may_read(
    store: Store, settings: Settings, watch: Document, job: Document
) -> bool | None:
    """Whether the user may still read the job; None: it cannot be told here (KBase's Workspace
    tells it only to the user)."""
    user = watch["user"]
    if watch.get("as_admin"):
        return None
    if job["user"] == user:
        return True
    if not in_workspace(job):
        return user in job.get("shared", ())
    if settings.workspace_url:
        return None
    rights = await LocalWorkspaces(store).permissions(Caller(user), [job["wsid"]])
    return rights[job["wsid"]] != "n"


async def _key(store: Store, job: Document, standing: Standing) -> str:
    """As `collect` names the message of the job's submission, where the job is all of that."""
    kind = "ended" if standing.end is not None else (
        "long_run" if job["status"] == Status.RUNNING.value else "long_wait"
    )
    submission_id = job.get("submission")
    if submission_id is None or (job.get("batch_id") and not job.get("batch_job")):
        return f"{job['_id']}.watched.{kind}"
    if kind != "ended":
        return f"{submission_id}.{kind}"
    submission = await store.submissions.find_one({"_id": submission_id}, {"tries": 1}) or {}
    tries = sum(len(of_stage) for of_stage in submission.get("tries", {}).values())
    return f"{submission_id}.ended.{tries}"


def _body(job: Document, standing: Standing) -> Document:
    now = now_s()
    live = job["status"] in LIVE and standing.end is None
    until = now if live else job.get("finished") or job.get("updated") or now
    began = job.get("running") or job.get("queued") or job["_id"].generation_time.timestamp()
    batch_id = str(job["_id"]) if job.get("batch_job") else job.get("batch_id")
    body: Document = {
        "job": str(job["_id"]),
        "user": job["user"],
        "app": (job.get("job_input") or {}).get("method"),
        "counts": dict(standing.child_counts or {job["status"]: 1}),
        "took_s": max(0.0, until - began),
        "waiting": 1,
    }
    if batch_id:
        body["batch_id"] = batch_id
    if job.get("submission"):
        body["submission"] = job["submission"]
    if job["status"] == Status.ERROR.value and job.get("errormsg"):
        body["error"] = str(job["errormsg"])[:500]
    return body
