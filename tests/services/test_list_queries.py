"""Every query of a list is answered by an index in the list's order: looked at with `explain`, on
records among which the wrong index would have to look at many."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs.browse.lists import Listing, open_list, page
from ee2_jobs.browse.query import live_batches_query
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from tests.services.engines import close_engine, open_engine

ROOT = Caller("root", frozenset({"admin"}))
ALICE = Caller("alice")
LIMIT = 10
PARENT = ObjectId("6" * 24)


@pytest.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    engine = await open_engine(mongo_uri)
    states = ("completed", "completed", "error", "terminated")
    jobs: list[dict[str, Any]] = []
    for n in range(1200):
        status = states[n % 4] if n % 40 else ("running", "queued")[n % 80 > 0]
        made = 1_700_000_000 + n
        job: dict[str, Any] = {
            "_id": ObjectId(f"{made:08x}{n:016x}"), "status": status, "updated": made,
            "user": "alice" if n % 3 else "bob", "authstrat": "kbaseworkspace",
            "job_input": {"method": "m.f", "app_id": "m/f" if n % 5 else "m/g",
                          "requirements": {"clientgroup": "njs"}},
        }  # fmt: skip
        if n % 7 == 0:
            job["wsid"] = 7
        if status in states:
            job["finished"] = made + 5.5
        if n > 600 and n % 2:  # a batch's children, and attempts that are superseded
            job["batch_id" if n % 4 == 1 else "superseded"] = str(PARENT) if n % 4 == 1 else True
            job["index"] = 2000 - n
        jobs.append(job)
    for n in range(20):
        end = {"batch_end": {"status": "completed", "at": 1_700_000_000.0 + n}} if n else {}
        oid = ObjectId() if n else PARENT
        parent = {"_id": oid, "user": "alice", "status": "created", "batch_job": True}
        jobs.append({**parent, "job_input": {"method": "batch"}, **end})
    await engine.store.jobs.insert_many(jobs)
    yield engine
    await close_engine(engine, mongo_uri)


def stages(plan: Any) -> set[str]:
    """The names of all stages of a plan."""
    if isinstance(plan, Mapping):
        here = {plan["stage"]} if isinstance(plan.get("stage"), str) else set()
        return here.union(*(stages(v) for k, v in plan.items() if k != "rejectedPlans"))
    if isinstance(plan, list):
        return set().union(*(stages(one) for one in plan))
    return set()


async def explained(listing: Listing, place: Any) -> list[tuple[set[str], int]]:
    """Of each query of a page: the stages of its plan, and how many index keys it looked at."""
    found = []
    back = place is not None and place.back
    for branch in listing.branches(place):
        cursor = listing.engine.store.jobs.find(branch.query, hint=branch.hint)
        plan = await cursor.sort(branch.order(listing.sort, back=back)).limit(LIMIT + 1).explain()
        ran = plan["executionStats"]
        found.append((stages(plan["queryPlanner"]["winningPlan"]), ran["totalKeysExamined"]))
    return found


LISTS: list[tuple[Caller, str, dict[str, str], str | None]] = [
    (ALICE, "mine", {}, None),
    (ALICE, "mine", {}, "created"),
    (ALICE, "mine", {"status": "live"}, None),
    (ALICE, "mine", {"status": "running"}, None),
    (ALICE, "mine", {"status": "completed,error,terminated"}, None),
    (ALICE, "mine", {"status": "error"}, None),
    (ALICE, "mine", {}, "finished"),
    (ALICE, "mine", {"runs": "true", "status": "error"}, "-finished"),
    (ROOT, "all", {"runs": "true", "user": "alice", "status": "error"}, "-finished"),
    (ALICE, "readable", {}, None),
    (ALICE, "readable", {"ws": "7"}, None),
    (ALICE, "readable", {"ws": "7", "status": "completed"}, None),
    (ALICE, "mine", {"batch": str(PARENT)}, None),
    (ALICE, "mine", {"batch": str(PARENT)}, "index"),
    (ROOT, "all", {}, None),
    (ROOT, "all", {"status": "live"}, None),
    (ROOT, "all", {"status": "queued"}, None),
    (ROOT, "all", {"status": "queued,running"}, None),
    (ALICE, "mine", {"status": "estimating,queued"}, None),
    (ROOT, "all", {"status": "error"}, None),
    (ROOT, "all", {}, "-finished"),
    (ROOT, "all", {"user": "alice", "status": "completed"}, None),
    (ROOT, "all", {"app": "m/g", "status": "completed"}, None),
    (ROOT, "all", {"from": "1700000100000", "to": "1700000900000"}, None),
]


async def test_every_page_comes_from_an_index_in_order(engine: Engine) -> None:
    for caller, scope, words, sort in LISTS:
        listing = await open_list(engine, caller, scope=scope, words=words, sort=sort)
        first = await page(listing, limit=LIMIT)
        assert first.items, (scope, words)
        for place in (None, first.next):
            for plan, keys in await explained(listing, place):
                what = (scope, words, sort, place, plan, keys)
                assert "COLLSCAN" not in plan, what
                if scope != "readable" or "ws" in words:
                    assert "SORT" not in plan, what
                # With a few for the merging of states.
                assert keys <= LIMIT + 8, what


async def test_live_runs_come_without_a_look_at_what_has_ended(engine: Engine) -> None:
    listing = await open_list(
        engine, ALICE, scope="mine", words={"runs": "true", "status": "live"}
    )
    live = len((await page(listing, limit=200)).items)
    assert 0 < live < 40
    for plan, keys in await explained(listing, None):
        assert "COLLSCAN" not in plan
        assert keys <= live + 30, (plan, keys)  # the 20 parents are among the live; of 800 jobs


async def test_live_batches_come_without_a_look_at_other_live_jobs(engine: Engine) -> None:
    listing = await open_list(engine, ROOT, scope="all", words={"status": "running"})
    await engine.store.jobs.insert_one(
        {"user": "alice", "status": "created", "batch_job": True, "batch_id": None}
    )
    branch = live_batches_query(listing.reach.parts[0], listing.sought)
    plan = await engine.store.jobs.find(branch.query, hint=branch.hint).sort("_id", -1).explain()
    assert plan["executionStats"]["nReturned"] == 1
    # The ended batches' parents are not in the index; live jobs, 29 here, are passed over.
    assert plan["executionStats"]["totalKeysExamined"] <= 4


async def test_pages_hold_together(engine: Engine) -> None:
    """Each list, walked to its end, has each job once, in order."""
    for caller, scope, words, sort in LISTS:
        listing = await open_list(engine, caller, scope=scope, words=words, sort=sort)
        seen: list[str] = []
        place = None
        while True:
            found = await page(listing, limit=200, place=place)
            seen += [row["id"] for row in found.items]
            place = found.next
            if place is None:
                break
        assert len(seen) == len(set(seen)), (scope, words)
        everything = await listing.jobs(5000)
        assert [str(job["_id"]) for job in everything] == seen
