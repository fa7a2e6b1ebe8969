"""The change feed of a process; over REST see test_rest_events.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect

from ee2_jobs import feed as feed_module
from ee2_jobs.errors import InvalidInput
from ee2_jobs.feed import Feed, format_version, parse_version
from ee2_jobs.store import Store
from tests.services.kbase_support import open_store


@pytest.fixture
async def store(mongo_uri: str) -> AsyncIterator[Store]:
    async with open_store(mongo_uri) as opened:
        yield opened


@pytest.fixture
async def feed(store: Store) -> AsyncIterator[Feed]:
    opened = Feed(store)
    await opened.start()
    yield opened
    await opened.aclose()


async def told(feed: Feed, number: int, *oids: ObjectId) -> None:
    """Wait until the feed knows of changes of all these after the number-th."""
    deadline = time.monotonic() + 60
    while not set(oids) <= {c.oid for c in feed.after(number) or ()}:
        assert time.monotonic() < deadline, "a change was not told"
        await feed.wait(feed.number, 0.5)


async def batch_end(store: Store, parent: dict[str, Any]) -> Any:
    """How a batch has ended, once that is noted."""
    deadline = time.monotonic() + 60
    while True:
        record = await store.jobs.find_one({"_id": parent["_id"]}) or {}
        if "batch_end" in record:
            return record["batch_end"]
        assert time.monotonic() < deadline, "the end of a batch was not noted"
        await asyncio.sleep(0.05)


def job(**more: Any) -> dict[str, Any]:
    return {"_id": ObjectId(), "user": "ana", "status": "created", "updated": 1.0, **more}


async def test_the_last_change_of_each_job(store: Store, feed: Feed) -> None:
    one, two = job(wsid=7), job(user="ben", shared=["cleo"])
    start, number = parse_version(feed.version), feed.number
    await store.jobs.insert_many([one, two])
    await told(feed, number, one["_id"], two["_id"])
    middle, between = parse_version(feed.version), feed.number
    await store.jobs.update_one({"_id": one["_id"]}, {"$set": {"status": "queued"}})
    await told(feed, between, one["_id"])
    assert [c.oid for c in feed.since(start) or ()] == [two["_id"], one["_id"]]
    assert [c.oid for c in feed.since(middle) or ()] == [one["_id"]]
    assert feed.since(parse_version(feed.version)) == []
    assert feed.since((2**33, 0)) == [], "another process was faster"
    assert feed.since((start[0] - 1, 0)) is None, "before it began"
    of_two, of_one = feed.since(start) or []
    assert of_one.concerns("ana", ()) and of_one.concerns("x", {7})
    assert not of_one.concerns("ben", {8})
    assert of_two.concerns("cleo", ()) and not of_two.concerns("ana", {7})


async def test_signs_of_life_are_no_news(store: Store, feed: Feed) -> None:
    one, begin = job(), feed.number
    await store.jobs.insert_one(one)
    await told(feed, begin, one["_id"])
    number = feed.number
    await store.jobs.update_one({"_id": one["_id"]}, {"$set": {"seen": 5.0, "updated": 5.0}})
    assert not await feed.wait(number, 0.5)
    await store.jobs.delete_one({"_id": one["_id"]})
    assert await feed.wait(number, 5) and (feed.after(number) or [])[-1].user is None


async def test_counts_of_the_past_are_forgotten(store: Store, feed: Feed) -> None:
    """After a deletion, and a record with an old id; not after a new job."""
    counts, old = store.id_counts, job(_id=ObjectId("5" * 24))
    assert await counts._settled()
    state, begin, new = counts._state, feed.number, job()
    await store.jobs.insert_one(new)
    await told(feed, begin, new["_id"])
    assert counts._state == state
    begin = feed.number
    await store.jobs.insert_one(old)
    await told(feed, begin, old["_id"])
    assert counts._state == state + 1
    begin = feed.number
    await store.jobs.delete_one({"_id": new["_id"]})
    await told(feed, begin, new["_id"])
    assert counts._state == state + 2


async def test_a_childs_change_is_the_batchs(store: Store, feed: Feed) -> None:
    parent = job(batch_job=True)
    child = job(batch_id=str(parent["_id"]), role="submit")
    begin = feed.number
    await store.jobs.insert_many([parent, child])
    await told(feed, begin, parent["_id"])
    number = feed.number
    await store.jobs.update_one(
        {"_id": child["_id"]}, {"$set": {"status": "completed", "finished": 9.0}}
    )
    await told(feed, number, parent["_id"], child["_id"])
    assert await batch_end(store, parent) == {"status": "completed", "at": 9.0}


async def test_ends_that_nobody_saw_are_noted_at_the_start(store: Store) -> None:
    parent = job(batch_job=True)
    child = job(batch_id=str(parent["_id"]), role="submit", status="error", finished=8.0)
    await store.jobs.insert_many([parent, child])
    opened = Feed(store)
    await opened.start()
    assert await batch_end(store, parent) == {"status": "error", "at": 8.0}
    await opened.aclose()


async def test_the_ring_forgets(
    store: Store, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "MAX_CHANGES", 3)
    start, number = parse_version(feed.version), feed.number
    jobs = [job() for _ in range(5)]
    for one in jobs:
        await store.jobs.insert_one(one)
    deadline = time.monotonic() + 60
    while feed.after(number) is not None:
        assert time.monotonic() < deadline
        await feed.wait(feed.number, 0.5)
    assert feed.since(start) is None
    while len(feed._ring) != 3 or jobs[-1]["_id"] not in feed._ring:
        assert time.monotonic() < deadline
        await feed.wait(feed.number, 0.5)
    oldest = next(iter(feed._ring.values()))
    assert len(feed.after(oldest.number - 1) or ()) == 3


async def test_it_goes_on_after_an_outage(store: Store, feed: Feed) -> None:
    one = job()
    number = feed.number
    reading = feed._note

    async def broken(found: Any) -> None:
        feed._note = reading  # type: ignore[method-assign]
        raise AutoReconnect("primary stepped down")

    feed._note = broken  # type: ignore[method-assign]
    await store.jobs.insert_one(one)
    await told(feed, number, one["_id"])


async def test_what_cannot_be_resumed_is_told(store: Store, feed: Feed) -> None:
    number, start = feed.number, parse_version(feed.version)
    await store.jobs.insert_one(job())
    await feed.wait(number, 5)
    await feed._from_now()
    assert feed.after(number) is None and feed.since(start) is None
    assert await feed.wait(number, 0.1)


def test_versions() -> None:
    assert format_version(parse_version("1727185950:44")) == "1727185950:44"
    for wrong in ("", "1", ":", "1:", "a:b", "1:2:3", "-1:2", "1" * 30 + ":1", "١:1"):
        with pytest.raises(InvalidInput, match="since must be a version"):
            parse_version(wrong)
