"""Doing what actions ask for (`actions.py`): a chunk at a time, one worker per action.

The worker holds a lease. One that dies loses it, and `resume`, which the server calls when it
starts and a chore calls every now and then, finds the action open and goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from bson import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from ee2_jobs import audit, user_tokens
from ee2_jobs.cancel import cancel_children, ended_by, terminate
from ee2_jobs.engine import Engine
from ee2_jobs.errors import EngineError, Unavailable
from ee2_jobs.identity import Caller
from ee2_jobs.lease import Lease
from ee2_jobs.model import Document, TerminatedCode, now_s
from ee2_jobs.retry import Retried, retry_allowed

log = logging.getLogger(__name__)

_MOST_TRIES = 5
_running: dict[ObjectId, asyncio.Task[None]] = {}


class _TakenOver(Exception):
    """Another worker has done the chunk."""


def ended_text(status: str) -> str:
    """Why nothing is done to a job that is in this state."""
    return f"it is {status}"


def start(engine: Engine, action: ObjectId) -> None:
    """Work on an action in the background, unless this process does so already."""
    if action not in _running:
        task = asyncio.create_task(_guarded(engine, action), name=f"ee2 action {action}")
        _running[action] = task
        task.add_done_callback(lambda _: _running.pop(action, None))


async def resume(engine: Engine) -> int:
    """Go on with the actions that are open; how many. Those that another process works on are left
    to it."""
    found = await engine.store.actions.find({"open": True}, {"_id": 1}).limit(1000).to_list()
    for action in found:
        start(engine, action["_id"])
    return len(found)


async def stop() -> None:
    """The process ends: what is open is left to others."""
    tasks = list(_running.values())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _guarded(engine: Engine, action: ObjectId) -> None:
    try:
        await run(engine, action)
    except PyMongoError as e:
        log.warning("action %s waits, MongoDB does not answer: %s", action, e)
    except Exception:
        log.exception("action %s was interrupted", action)


async def run(engine: Engine, action_id: ObjectId) -> None:
    """Do what is left of an action; nothing while another process works on it."""
    store = engine.store
    lease = Lease(store, f"action.{action_id}")
    if not await lease.take():
        return
    try:
        action = await store.actions.find_one({"_id": action_id, "open": True})
        while action is not None:
            chunk = await store.actions.find_one_and_update(
                {"of": action_id, "state": "todo"}, {"$inc": {"tries": 1}}, sort=[("_id", 1)]
            )
            if chunk is None:
                await _finish(engine, action)
                return
            try:
                await _do(engine, action, chunk)
            except _TakenOver:
                pass
            if not await lease.take():
                return
    finally:
        await lease.release()


async def _finish(engine: Engine, action: Document) -> None:
    done = await engine.store.actions.update_one(
        {"_id": action["_id"], "open": True},
        {
            "$set": {"state": "done", "finished": now_s()},
            "$unset": {"open": "", user_tokens.FIELD: ""},
        },
    )
    if done.modified_count and action.get("audit"):
        await audit.end(engine.store, action["audit"])


async def _do(engine: Engine, action: Document, chunk: Document) -> None:
    if chunk["tries"] >= _MOST_TRIES:  # something about it is wrong; the others go on
        reason = "it could not be done: see the server's log"
        await _settle(engine, chunk, 0, [], [_item(oid, reason) for oid in chunk["ids"]])
    elif action["action"] == "cancel":
        await _cancel(engine, action, chunk)
    else:
        await _retry(engine, action, chunk)


def _item(job_id: Any, reason: str) -> Document:
    return {"id": str(job_id), "reason": reason}


async def _cancel(engine: Engine, action: Document, chunk: Document) -> None:
    """End the jobs. By the mark that this leaves on the records, a second go tells what the first
    one has done."""
    jobs, ids = engine.store.jobs, chunk["ids"]
    code = TerminatedCode.BY_ADMIN if action["as_admin"] else TerminatedCode.BY_USER
    action_id = str(action["_id"])
    by = ended_by(
        Caller(action["user"]), as_admin=action["as_admin"], reason=action["reason"],
        action=action_id,
    )  # fmt: skip
    await terminate(engine.store, {"_id": {"$in": ids}}, code, by=by)
    found = jobs.find({"_id": {"$in": ids}}, {"status": 1, "ended_by.action": 1, "batch_job": 1})
    states = {job["_id"]: job async for job in found}
    done, skipped = 0, []
    for oid in ids:
        job = states.get(oid)
        if job is not None and (job.get("ended_by") or {}).get("action") == action_id:
            done += 1
            if job.get("batch_job"):
                await cancel_children(engine.store, job, by)
        else:
            skipped.append(_item(oid, ended_text(job["status"]) if job else "it is gone"))
    await _settle(engine, chunk, done, skipped, [])


async def _retry(engine: Engine, action: Document, chunk: Document) -> None:
    """New attempts, as one submission; stored in one transaction with the chunk's results."""
    token = user_tokens.opened(engine.settings, action)
    caller = Caller(action["user"], frozenset(action["roles"]), token=token)

    async def settle(session: AsyncClientSession | None, answers: Sequence[Retried]) -> None:
        skipped = [_item(one.job_id, str(one.error)) for one in answers if one.error is not None]
        await _settle(engine, chunk, len(answers) - len(skipped), skipped, [], session)

    try:
        await retry_allowed(engine, caller, [str(oid) for oid in chunk["ids"]], settle)
    except Unavailable:
        raise
    except EngineError as e:  # a limit of the caller's, say: trying again would not help
        await _settle(engine, chunk, 0, [], [_item(oid, str(e)) for oid in chunk["ids"]])


async def _settle(
    engine: Engine,
    chunk: Document,
    done: int,
    skipped: list[Document],
    failed: list[Document],
    session: AsyncClientSession | None = None,
) -> None:
    """Write what became of a chunk, once."""

    async def write(session: AsyncClientSession) -> None:
        results = {"state": "done", "done": done, "skipped": skipped, "failed": failed}
        found = await engine.store.actions.update_one(
            {"_id": chunk["_id"], "state": "todo"}, {"$set": results}, session=session
        )
        if not found.modified_count:
            raise _TakenOver
        counts = {"done": done, "skipped": len(skipped), "failed": len(failed)}
        await engine.store.actions.update_one(
            {"_id": chunk["of"]}, {"$inc": counts}, session=session
        )

    if session is None:
        await engine.store.transaction(write)
    else:
        await write(session)
