"""Use cases on the children of a batch: let go of some, cancel or retry those in given states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId

from ee2_jobs.cancel import ended_by, parse_terminated_code, terminated
from ee2_jobs.checks import find_job, require_few
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, shown
from ee2_jobs.identity import Caller
from ee2_jobs.model import LIVE, Document, Status, job_oid, now_s
from ee2_jobs.retry import RETRYABLE, Retried, retry_jobs
from ee2_jobs.rights import Level, find_permitted
from ee2_jobs.store import Store


async def _batch(engine: Engine, caller: Caller, job_id: Any, as_admin: bool) -> Document:
    """The record of a batch's parent that the caller may manage."""
    job = await find_permitted(engine, caller, job_id, Level.MANAGE, as_admin=as_admin)
    if not job.get("batch_job"):
        raise InvalidInput(f"Job {job['_id']} is not the parent of a batch")
    return job


async def abandon_children(
    engine: Engine, caller: Caller, batch_id: Any, child_ids: Any, *, as_admin: bool = False
) -> list[str]:
    """Take children off a batch's `child_jobs`; returns those that are left. The children run on,
    and a cancel of the batch does not reach them any more. InvalidInput, and nothing is done, if
    one of them is no child of the batch (`ee2-api` 2.8)."""
    oid = job_oid(batch_id, null_message="Please provide valid batch_id")
    if not isinstance(child_ids, list) or not child_ids:
        raise InvalidInput("Please provide job_ids of children to abandon")
    require_few(child_ids, "child_job_ids")
    await find_permitted(engine, caller, oid, Level.WRITE, as_admin=as_admin)
    ids = {str(child).lower() for child in child_ids}
    jobs = engine.store.jobs
    while True:
        have = (await find_job(engine.store, oid, {"child_jobs": 1})).get("child_jobs") or []
        known = set(have)
        wrong = next((c for c in child_ids if str(c).lower() not in known), None)
        if wrong is not None:
            raise InvalidInput(
                f"Couldn't find {wrong} in {child_ids[:20]}: it is not in the child_jobs of batch "
                f"{oid}"
            )
        left = [child for child in have if child not in ids]
        # Not $all and $pullAll: they compare each with each.
        done = await jobs.update_one(
            {"_id": oid, "child_jobs": have},
            {"$set": {"child_jobs": left, "updated": now_s()}},
        )
        if done.matched_count:
            break
    await jobs.update_many(
        {"_id": {"$in": [ObjectId(child) for child in ids]}}, {"$set": {"abandoned": True}}
    )
    return left


def parse_states(value: Any, possible: Sequence[str], what: str) -> list[str]:
    """A `status_list`: one or more of the states that are possible here."""
    if not isinstance(value, list) or not value or not all(s in possible for s in value):
        raise InvalidInput(
            f"status_list must be a list of states of jobs that can be {what}: one or more of "
            f"{', '.join(possible)}; not {shown(value)}"
        )
    return list(dict.fromkeys(value))


async def _children(store: Store, parent: Document) -> list[Document]:
    """The children of a batch (id, state, root) in the order of `child_jobs`; abandoned ones and
    the steps of split and aggregate are not among them."""
    found = store.jobs.find(
        {"batch_id": str(parent["_id"])}, {"status": 1, "retry_parent": 1}, batch_size=10_000
    )
    by_id = {str(job["_id"]): job async for job in found}
    return [by_id[c] for c in parent.get("child_jobs") or () if c in by_id]


async def cancel_by_status(
    engine: Engine,
    caller: Caller,
    batch_id: Any,
    states: Any,
    *,
    terminated_code: Any = None,
    as_admin: bool = False,
) -> list[str]:
    """Cancel the children of a batch that are in one of the states (`created`, `queued`, …); the
    ids of those that this call has ended. The batch itself stays as it is."""
    wanted = parse_states(states, LIVE, "cancelled")
    code = parse_terminated_code(terminated_code)
    parent = await _batch(engine, caller, batch_id, as_admin)
    chosen = [c["_id"] for c in await _children(engine.store, parent) if c["status"] in wanted]
    if not chosen:
        return []
    fields = terminated(code, by=ended_by(caller, as_admin=as_admin))
    jobs = engine.store.jobs
    # In another of the states by now: cancelled all the same. Ended by itself: left alone.
    await jobs.update_many({"_id": {"$in": chosen}, "status": {"$in": wanted}}, {"$set": fields})
    ended = jobs.find(
        {
            "_id": {"$in": chosen},
            "status": Status.TERMINATED.value,
            "finished": fields["finished"],
        },
        {"_id": 1},
        batch_size=10_000,
    )
    done = {job["_id"] async for job in ended}
    return [str(oid) for oid in chosen if oid in done]


async def retry_by_status(
    engine: Engine, caller: Caller, batch_id: Any, states: Any, *, as_admin: bool = False
) -> list[Retried]:
    """Retry the children of a batch that ended in one of the states (`error`, `terminated`), all in
    one submission; one answer per job, as retry_jobs gives it.

    Of a job with several attempts the newest one's state counts. A job of which an attempt is still
    live or has completed is left out.
    """
    wanted = parse_states(states, RETRYABLE, "retried")
    parent = await _batch(engine, caller, batch_id, as_admin)
    roots = _to_retry(await _children(engine.store, parent), wanted)
    if not roots:
        return []
    return await retry_jobs(engine, caller, roots, as_admin=as_admin)


def _to_retry(children: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> list[str]:
    """The first attempts of the jobs to run again, in the order of the children."""
    newest: dict[str, tuple[ObjectId, str]] = {}
    done_or_live = set()
    for child in children:
        root = str(child.get("retry_parent") or child["_id"])
        newest[root] = max(newest.get(root, (child["_id"], "")), (child["_id"], child["status"]))
        if child["status"] not in RETRYABLE:
            done_or_live.add(root)
    return [
        root
        for root, (_, status) in newest.items()
        if root not in done_or_live and status in wanted
    ]
