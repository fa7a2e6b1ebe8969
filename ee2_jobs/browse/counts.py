"""What is counted of lists: tiles, facets, groups by workspace. All of it is bounded."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from bson import ObjectId

from ee2_jobs.browse.lists import (
    MAX_COUNT,
    Count,
    Listing,
    find_live_batches,
    open_list,
)
from ee2_jobs.browse.rows import narratives
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document, to_ms
from ee2_jobs.rights import Level, require_admin

MAX_GROUPS = 200
_FACETS = {
    "group": "job_input.requirements.clientgroup", "app": "job_input.app_id", "user": "user",
}  # fmt: skip
_TILES = {
    "running": "running", "queued": "queued", "preparing": "created,estimating",
}  # fmt: skip
# Groups are made of so many live jobs at most.
_MAX_GROUPED = 20_000


async def counts(engine: Engine, caller: Caller, scope: str, zone: str) -> dict[str, Any]:
    """How many jobs run, wait and are prepared, and how many have ended and failed since the day
    began in a time zone (IANA name); null where the scope has none that ended. Each stops at
    MAX_COUNT; a batch counts once."""
    began = today(zone)
    words = {name: {"status": status} for name, status in _TILES.items()}
    if scope != "readable":  # that has none which have ended
        since = {"from": str(began)}
        words["finished_today"] = {"status": "completed,error,terminated", **since}
        words["failed_today"] = {"status": "error", **since}

    live = await open_list(engine, caller, scope=scope, words={"status": "live"})
    # Once for all three tiles: it counts the children of each live batch.
    batches = await find_live_batches(engine, live.reach.parts, live.sought)

    async def count(one: dict[str, str]) -> Count:
        listing = await open_list(
            engine, caller, scope=scope, words=one, known_batches=batches
        )
        return await listing.count()

    found = dict(
        zip(words, await asyncio.gather(*(count(w) for w in words.values())), strict=True)
    )
    told: dict[str, Any] = {
        name: {"value": c.value, "exact": c.exact} for name, c in found.items()
    }
    for name in ("finished_today", "failed_today"):
        told.setdefault(name, None)
    return {**told, "today": began}


def today(zone: str, now: datetime | None = None) -> int:
    """When the day began in a time zone, ms. InvalidInput for a name that is no zone's."""
    try:
        there = ZoneInfo(zone)
    except (ValueError, OSError, LookupError):
        raise InvalidInput(
            "tz must be the IANA name of a time zone such as Europe/Berlin or UTC, not "
            f'"{zone[:60]}"'
        ) from None
    local = (now or datetime.now(UTC)).astimezone(there)
    return to_ms(local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp())


async def facets(listing: Listing) -> dict[str, Any]:
    """How often each status, client group, app and user occurs among the newest MAX_COUNT jobs of a
    list; for administrators."""
    require_admin(listing.caller, Level.READ)
    fields = ("status", "batch_end", "finished", *_FACETS.values())
    jobs = await listing.jobs(MAX_COUNT, fields=fields)
    counted = jobs[:MAX_COUNT]
    found: dict[str, Counter[str]] = {
        "status": Counter(_status(job) for job in counted),
        **{
            name: Counter(value for job in counted if (value := _at(job, path)))
            for name, path in _FACETS.items()
        },
    }
    told = {name: dict(c.most_common()) for name, c in found.items()}
    return {"counted": {"value": len(counted), "exact": len(jobs) <= MAX_COUNT}, **told}


def _status(job: Document) -> str:
    return str((job.get("batch_end") or job)["status"])


def _at(job: Document, path: str) -> str | None:
    value: Any = job
    for part in path.split("."):
        value = (value or {}).get(part)
    return None if value is None else str(value)


async def groups(listing: Listing) -> dict[str, Any]:
    """The jobs of a list by workspace: at most MAX_GROUPS, the one with the newest job first, each
    with what it is called and how many jobs are in each state. Of a list without end the newest
    _MAX_GROUPED count."""
    store = listing.engine.store
    found: dict[int | None, Counter[str]] = {}
    newest: dict[int | None, ObjectId] = {}
    live = {}
    if listing.sought.live:
        live = await find_live_batches(listing.engine, listing.reach.parts, listing.sought)
    fields = ("wsid", "status", "batch_end", "batch_job", "finished")
    for branch in listing.branches():
        rows = store.jobs.find(branch.query, fields, hint=branch.hint, max_time_ms=3000)
        async for job in rows.sort(branch.order(listing.sort)).limit(_MAX_GROUPED):
            wsid = job.get("wsid")
            state = _status(job)
            if job.get("batch_job") and not job.get("batch_end"):
                state = live.get(job["_id"], state)
            found.setdefault(wsid, Counter())[state] += 1
            newest[wsid] = max(newest.get(wsid, job["_id"]), job["_id"])
    wsids = sorted(found, key=lambda wsid: newest[wsid], reverse=True)
    shown = wsids[:MAX_GROUPS]
    titles = await narratives(
        listing.engine, listing.caller, [{"wsid": wsid} for wsid in shown if wsid]
    )
    items = []
    for wsid in shown:
        told = titles.get(wsid or 0)
        items.append(
            {
                "ws_id": wsid,
                "title": told.title if told else None,
                "owner": told.owner if told else None,
                "deleted": bool(told and told.deleted),
                "counts": dict(found[wsid].most_common()),
            }
        )
    return {"items": items, "more": len(wsids) > MAX_GROUPS}
