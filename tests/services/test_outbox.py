"""Telling what is in the outbox: order, failures, what is kept and tried again."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs import outbox
from ee2_jobs.catalog import ExecStats, LocalCatalog
from ee2_jobs.engine import Engine
from ee2_jobs.model import now_s
from ee2_jobs.outbox import Refused, deliver, sentence, waiting
from tests.services.engines import close_engine, open_engine

STATS = {
    "user_id": "alice", "module": "m", "function": "f", "git_commit": "c0ffee", "app_id": None,
    "created_s": 1.0, "started_s": 2.0, "finished_s": 3.0, "is_error": False,
}  # fmt: skip


class Publisher:
    """Notes what it is told; `trouble` says why not."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.calls = 0
        self.trouble: Exception | None = None
        self.refuses: Any = None

    async def publish(self, messages: Sequence[Mapping[str, Any]]) -> None:
        self.calls += 1
        if self.trouble is not None:
            raise self.trouble
        if any(message["n"] == self.refuses for message in messages):
            raise Refused("too strange")
        self.told += [message["n"] for message in messages]

    async def aclose(self) -> None:
        pass


class Catalog(LocalCatalog):
    """One that may be away, and that cannot tell a repetition, as KBase's."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.store)
        self.told: list[str] = []
        self.away = False
        self.bad: str | None = None
        self.at_once = self.most_at_once = 0

    async def log_exec_stats(self, stats: ExecStats) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.002)
        self.at_once -= 1
        if self.away or stats.job_id == self.bad:
            raise ConnectionError("the catalog is away")
        self.told.append(stats.job_id)


@pytest.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    engine = await open_engine(mongo_uri)
    yield engine
    await close_engine(engine, mongo_uri)


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def catalog(engine: Engine) -> Catalog:
    return Catalog(engine)


async def put_events(engine: Engine, *numbers: int, at: float | None = None) -> None:
    await engine.store.outbox.insert_many(
        {"_id": f"82{n:06d}", "kind": "event", "job": "j", "at": at or now_s(), "body": {"n": n}}
        for n in numbers
    )


async def put_stats(engine: Engine, count: int) -> list[str]:
    """Outbox documents for new records; the jobs' ids."""
    ids = [str(ObjectId()) for _ in range(count)]
    await engine.store.jobs.insert_many(
        {"_id": ObjectId(i), "user": "alice", "status": "completed"} for i in ids
    )
    await engine.store.outbox.insert_many(
        {"_id": f"stats.{i}", "kind": "stats", "job": i, "at": now_s(),
         "body": {"job_id": i, **STATS}} for i in ids
    )  # fmt: skip
    return ids


async def due_now(engine: Engine) -> None:
    """As if all pauses were over."""
    await engine.store.marks.update_many({"next": {"$exists": True}}, {"$set": {"next": 0.0}})
    await engine.store.outbox.update_many({"next": {"$exists": True}}, {"$set": {"next": 1.0}})


async def test_everything_is_told_once_and_in_order(
    engine: Engine, catalog: Catalog, publisher: Publisher
) -> None:
    await put_events(engine, *reversed(range(500)))
    ids = await put_stats(engine, 100)
    calls = 1
    while (await deliver(engine.store, catalog, publisher)).more:
        calls += 1
    assert publisher.told == list(range(500)) and publisher.calls == 3
    assert sorted(catalog.told) == sorted(ids)
    assert 1 < catalog.most_at_once <= outbox.STATS_IN_PARALLEL
    assert await engine.store.outbox.count_documents({}) == 0
    nothing = await deliver(engine.store, catalog, publisher)
    assert (nothing.told, nothing.more, nothing.errors) == (0, False, [])
    assert calls == 3


async def test_a_destination_that_is_away(
    engine: Engine, catalog: Catalog, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All messages wait, each pause is longer than the one before, and nothing is overtaken."""
    monkeypatch.setattr("random.uniform", lambda *_: 1.0)
    await put_events(engine, 1, 2)
    publisher.trouble = ConnectionError("no route to Kafka")
    pauses = []
    for _ in range(11):
        result = await deliver(engine.store, catalog, publisher)
        assert result.told == 0 and not result.more
        assert result.errors == ["changes of state: ConnectionError: no route to Kafka"]
        mark = await engine.store.marks.find_one({"_id": "outbox.event"}) or {}
        pauses.append(round(mark["next"] - now_s()))
        await due_now(engine)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    await engine.store.marks.update_one({"_id": "outbox.event"}, {"$set": {"next": now_s() + 9}})
    await put_events(engine, 3)
    publisher.trouble = None
    assert (await deliver(engine.store, catalog, publisher)).told == 0
    (events, _) = await waiting(engine.store)
    assert events.count == 3 and "no route to Kafka" in sentence(events) and not events.late
    await due_now(engine)
    assert (await deliver(engine.store, catalog, publisher)).told == 3
    assert publisher.told == [1, 2, 3]
    assert await engine.store.marks.find_one({"_id": "outbox.event"}) is None


async def test_a_dead_catalog_holds_up_no_message(
    engine: Engine, catalog: Catalog, publisher: Publisher
) -> None:
    await put_events(engine, 1)
    ids = await put_stats(engine, 3)
    catalog.away = True
    result = await deliver(engine.store, catalog, publisher)
    assert publisher.told == [1] and result.told == 1
    assert result.errors == ["execution statistics: ConnectionError: the catalog is away"]
    assert await engine.store.outbox.count_documents({"kind": "stats"}) == 3
    catalog.away = False
    await due_now(engine)
    assert (await deliver(engine.store, catalog, publisher)).told == 3
    assert sorted(catalog.told) == sorted(ids)


async def test_a_message_that_is_refused_holds_up_no_other(
    engine: Engine, catalog: Catalog, publisher: Publisher
) -> None:
    await put_events(engine, 1, 2, 3, 4)
    publisher.refuses = 2
    result = await deliver(engine.store, catalog, publisher)
    assert publisher.told == [1, 3, 4] and result.told == 3
    await put_events(engine, 5)
    assert (await deliver(engine.store, catalog, publisher)).told == 1
    kept = await engine.store.outbox.find_one({}) or {}
    assert kept["body"] == {"n": 2} and kept["tries"] == 1 and "too strange" in kept["error"]
    (events, _) = await waiting(engine.store)
    assert (events.count, events.refused) == (1, 1) and "too strange" in sentence(events)
    publisher.refuses = None
    await due_now(engine)
    assert (await deliver(engine.store, catalog, publisher)).told == 1
    assert publisher.told[-1] == 2


async def test_the_only_message_is_refused(
    engine: Engine, catalog: Catalog, publisher: Publisher
) -> None:
    await put_events(engine, 1)
    publisher.refuses = 1
    await deliver(engine.store, catalog, publisher)
    await put_events(engine, 2)
    assert (await deliver(engine.store, catalog, publisher)).told == 1
    assert publisher.told == [2]


async def test_an_outage_in_the_middle_of_a_search_for_the_culprit(
    engine: Engine, catalog: Catalog, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_events(engine, 1, 2, 3)
    publisher.refuses = 3
    told = publisher.publish

    async def publish(messages: Sequence[Mapping[str, Any]]) -> None:
        if len(publisher.told) == 1:
            raise ConnectionError("gone")
        await told(messages)

    monkeypatch.setattr(publisher, "publish", publish)
    await deliver(engine.store, catalog, publisher)
    assert publisher.told == [1]
    assert await engine.store.outbox.count_documents({}) == 2


async def test_statistics_that_fail_alone_are_set_aside(
    engine: Engine, catalog: Catalog, publisher: Publisher
) -> None:
    catalog.bad, *good = await put_stats(engine, 4)
    assert (await deliver(engine.store, catalog, publisher)).told == 3
    assert sorted(catalog.told) == sorted(good)
    (_, stats) = await waiting(engine.store)
    assert (stats.count, stats.refused) == (1, 1)


async def test_statistics_are_not_sent_again_after_a_crash_that_followed_their_note(
    engine: Engine, catalog: Catalog, publisher: Publisher
) -> None:
    """Sent and noted on the record, and the outbox not yet cleared: nothing is sent again."""
    first, second = await put_stats(engine, 2)
    await engine.store.jobs.update_one({"_id": ObjectId(first)}, {"$set": {"told": 5.0}})
    assert (await deliver(engine.store, catalog, publisher)).told == 2
    assert catalog.told == [second]
    assert await engine.store.outbox.count_documents({}) == 0
    told = {j["_id"]: j["told"] async for j in engine.store.jobs.find({"told": {"$gt": 0}})}
    assert told[ObjectId(first)] == 5.0 and told[ObjectId(second)] > 1e9


async def test_what_waits_for_a_day_is_late(engine: Engine) -> None:
    await put_events(engine, 1, at=now_s() - outbox.LATE_S - 60)
    (events, _) = await waiting(engine.store)
    assert events.late and "24.0 h" in sentence(events)
