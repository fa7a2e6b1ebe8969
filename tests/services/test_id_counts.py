"""Pages far into the list of all jobs are those that walking through it would give."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs import id_counts
from ee2_jobs.engine import Engine
from ee2_jobs.identity import ROLE_ADMIN_READ, Caller
from ee2_jobs.listing import date_range
from ee2_jobs.model import now_s
from tests.services.engines import close_engine, open_engine

EVA = Caller("eva", frozenset({ROLE_ADMIN_READ}))
HOUR_S = 3600


@pytest.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    engine = await open_engine(mongo_uri)
    yield engine
    await close_engine(engine, mongo_uri)


def made(at_s: float, user: str = "ana") -> dict[str, Any]:
    oid = ObjectId(f"{int(at_s):08x}" + str(ObjectId())[8:])
    return {"_id": oid, "user": user, "status": "completed", "updated": at_s}


async def check(engine: Engine, start_s: int, end_s: int, rnd: random.Random) -> None:
    """Some pages of the span, both ways, beside the same by walking."""
    jobs = [j async for j in engine.store.jobs.find({}, {"_id": 1}).sort("_id", 1)]
    inside = [
        str(j["_id"])
        for j in jobs
        if isinstance(j["_id"], ObjectId) and start_s <= id_counts.second_of(j["_id"]) < end_s
    ]
    for ascending in (True, False):
        ordered = inside if ascending else inside[::-1]
        for offset in {0, len(inside), len(inside) - 1, rnd.randint(0, len(inside) + 5)} - {-1}:
            answer = await date_range(
                engine, EVA,
                {"start_time": float(start_s), "end_time": float(end_s), "user": "ALL"},
                limit=7, offset=offset, ascending=ascending, as_admin=False,
            )  # fmt: skip
            assert [j["_id"] for j in answer["jobs"]] == ordered[offset : offset + 7]
            assert answer["query_count"] == len(inside) and answer["skip"] == offset
    await check_user(engine, "ana", start_s, end_s)


async def check_user(engine: Engine, user: str, start_s: int, end_s: int) -> None:
    """How many jobs of the user the span has, beside the same by walking."""
    ids = [j["_id"] async for j in engine.store.jobs.find({"user": user}, {"_id": 1})]
    known = [oid for oid in ids if isinstance(oid, ObjectId)]
    answer = await date_range(
        engine, EVA, {"start_time": float(start_s), "end_time": float(end_s), "user": user},
        limit=1, offset=0, ascending=False, as_admin=False,
    )  # fmt: skip
    assert answer["query_count"] == sum(
        start_s <= id_counts.second_of(oid) < end_s for oid in known
    )


async def test_pages_are_right_whatever_happens(engine: Engine, monkeypatch) -> None:
    monkeypatch.setattr(id_counts, "RECOUNT_S", 0.0)
    rnd = random.Random(5)
    now = now_s()
    base = int(now) - 40 * HOUR_S
    jobs = engine.store.jobs
    await jobs.insert_many([made(base + rnd.random() * 40 * HOUR_S) for _ in range(400)])
    await jobs.insert_many([made(base + 9 * HOUR_S) for _ in range(30)])
    spans = [
        (0, 2**32 - 1), (base, int(now) + 60), (base + 5000, base + 90_000),
        (base + 100, base + 900), (base + 8 * HOUR_S, base + 10 * HOUR_S), (base, base),
    ]  # fmt: skip

    async def check_all() -> None:
        for start_s, end_s in spans:
            await check(engine, start_s, end_s, rnd)

    await check_all()
    kept = dict(engine.store.id_counts._slots)
    assert sum(kept.values()) > 300, "the counts were used"
    # New jobs of now; old ones deleted; imported ones with old ids.
    await jobs.insert_many([made(now) for _ in range(9)])
    await check_all()
    old = await jobs.find({}, {"_id": 1}).sort("_id", 1).limit(50).to_list()
    await jobs.delete_many({"_id": {"$in": [j["_id"] for j in old]}})
    await check_all()
    await jobs.insert_many([made(base + 3 * HOUR_S + n) for n in range(40)])
    await check_all()
    # A record whose id is none is in no span.
    await jobs.insert_one({**made(now), "_id": "odd"})
    await check_all()
    await check_all()
    kept = dict(engine.store.id_counts._slots)
    assert sum(kept.values()) > 300, "the counts were used"


async def test_without_counts_mongodb_walks(engine: Engine, monkeypatch) -> None:
    """Within RECOUNT_S of the last count, counts that do not agree are not used."""
    base = int(now_s()) - 40 * HOUR_S
    await engine.store.jobs.insert_many([made(base + n * 60) for n in range(300)])
    first = await engine.store.id_counts.start(0, 2**32 - 1, 5, ascending=True)
    assert first is not None and first.matching == 300
    await engine.store.jobs.delete_many({"_id": {"$lt": id_counts.first_id(base + 1200)}})
    assert await engine.store.id_counts.start(0, 2**32 - 1, 5, ascending=True) is None
    await check(engine, 0, 2**32 - 1, random.Random(1))


async def test_counts_of_users_are_kept_and_right(engine: Engine, monkeypatch) -> None:
    now = now_s()
    jobs, counts = engine.store.jobs, engine.store.id_counts
    base = int(now) - 50 * HOUR_S
    await jobs.insert_many([made(base + n * 500) for n in range(300)])
    await jobs.insert_many([made(base + n * 900, "ben") for n in range(100)])
    whole = (0, 2**32 - 1)
    assert await counts.of_user("ana", *whole) == 300
    counted: list[tuple[int, int]] = []
    by_slot = counts._by_slot

    async def noted(first: int, end: int, user: str | None = None) -> dict[int, int]:
        counted.append((first, end))
        return await by_slot(first, end, user)

    monkeypatch.setattr(counts, "_by_slot", noted)
    for start_s, end_s in (whole, (base, int(now)), (base + 700, base + 20 * HOUR_S + 5),
                           (base + 100, base + 200), (base, base)):  # fmt: skip
        await check_user(engine, "ana", start_s, end_s)
    assert counted == [], "past hours are counted once"
    # New jobs count at once, and time goes on.
    await jobs.insert_many([made(now), made(now, "ben")])
    assert await counts.of_user("ana", *whole) == 301
    monkeypatch.setattr(id_counts, "now_s", lambda: now + 2 * HOUR_S)
    await jobs.insert_one(made(now + 2 * HOUR_S - 10))
    assert await counts.of_user("ana", *whole) == 302
    assert len(counted) == 1 and counted[0][0] > base // HOUR_S, "only the new hours"
    assert await counts.of_user("ben", *whole) == 101
    # Deleted and imported ones, of whomever.
    await jobs.delete_one({"user": "ana"})
    assert await counts.of_user("ana", *whole) == 301
    await jobs.insert_many([made(base + n, "ben") for n in range(3)])
    assert await counts.of_user("ben", *whole) == 104
    assert await counts.of_user("ana", *whole) == 301
    # As many deleted as imported: only the change feed tells.
    await jobs.delete_one({"user": "ana"})
    await jobs.insert_one(made(base + 50, "ben"))
    counts.forget()
    assert await counts.of_user("ana", *whole) == 300
    assert await counts.of_user("ben", *whole) == 105
    assert await counts.of_user("cleo", *whole) == 0


async def test_a_far_offset_is_for_the_plain_list(engine: Engine) -> None:
    for far in (100_001, 10**12):
        answer = await date_range(
            engine, EVA, {"start_time": 0, "end_time": 10**15, "user": "ALL"},
            limit=1, offset=far, ascending=True, as_admin=False,
        )  # fmt: skip
        assert answer["jobs"] == [] and answer["query_count"] == 0
