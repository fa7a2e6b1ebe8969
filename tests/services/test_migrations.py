"""Migrations: done once, in order, beside each other, and again after an interruption."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from bson import ObjectId
from pymongo.errors import OperationFailure
from typer.testing import CliRunner

from ee2_cli.main import app
from ee2_jobs import migrations
from ee2_jobs.migrations import (
    MIGRATIONS,
    Migration,
    MigrationFailed,
    Progress,
    migrate,
    migrate_at_start,
    pending,
)
from ee2_jobs.model import LIVE, TERMINAL
from ee2_jobs.store import Store

NUMBERS = [m.number for m in MIGRATIONS]


@pytest.fixture
async def store(mongo_uri: str) -> AsyncIterator[Store]:
    store = Store(mongo_uri, f"test_{ObjectId()}")
    yield store
    await store.client.drop_database(store.db.name)
    await store.close()


async def recorded(store: Store) -> list[int]:
    return [row["_id"] async for row in store.migrations.find().sort("_id", 1)]


async def test_a_fresh_database_and_the_same_again(store: Store) -> None:
    assert sorted(set(NUMBERS)) == NUMBERS, "numbers rise, none is there twice"
    seen: list[Progress] = []
    assert [m.number for m in await migrate(store, seen.append)] == NUMBERS
    assert [p.migration.number for p in seen if p.took_s is not None] == NUMBERS
    assert await recorded(store) == NUMBERS
    first = await store.migrations.find_one({"_id": 1})
    assert first is not None and first["name"] == MIGRATIONS[0].name and first["at"] > 1e9
    before = await store.jobs.index_information()
    assert await pending(store) == [] and await migrate(store) == []
    await store.ensure_indexes()
    assert await store.jobs.index_information() == before
    assert await store.migrations.find_one({"_id": 1}) == first


async def test_each_migration_may_be_repeated(store: Store) -> None:
    for migration in MIGRATIONS:
        await migration.run(store)
        await migration.run(store)


async def test_two_at_once(mongo_uri: str, store: Store) -> None:
    await store.jobs.insert_many({"user": f"u{n % 7}", "status": "queued"} for n in range(2000))
    other = Store(mongo_uri, store.db.name)
    try:
        await asyncio.gather(migrate(store), migrate(other), migrate(store))
        assert await recorded(store) == NUMBERS
        assert await store.jobs.index_information() == await other.jobs.index_information()
    finally:
        await other.close()


async def test_an_ee2_database_is_adopted(store: Store) -> None:
    """EE2's records have none of our fields, some no `finished`; EE2 had indexes of its own."""
    old = [
        {"user": "a", "status": "completed", "finished": 5.0, "job_input": {"app_id": "m/a"}},
        {"user": "a", "status": "error", "job_input": {}},
        {"user": "b", "status": "running", "wsid": 3},
    ]
    await store.jobs.insert_many(old)
    await store.jobs.create_index("user")
    await store.old_logs.insert_one({"_id": old[0]["_id"], "lines": []})
    await migrate(store)
    assert await store.jobs.find().to_list() == old
    indexes = await store.jobs.index_information()
    assert "user_1" in indexes and "user_1__id_-1" in indexes


@pytest.mark.parametrize(
    ("query", "sort", "index"),
    [
        ({"status": {"$in": list(TERMINAL)}}, [("finished", -1), ("_id", -1)],
         "finished_-1__id_-1_status_1_updated_1"),
        ({"job_input.app_id": "m/f", "status": "completed"}, [("finished", -1), ("_id", -1)],
         "job_input.app_id_1_finished_-1__id_-1_status_1"),
        ({"status": "running", "claim.host": "n1"}, None, "claim.host_1_status_1"),
    ],
)  # fmt: skip
async def test_partial_indexes_serve_the_lists(store, query, sort, index) -> None:
    """MongoDB uses a partial index only if it can prove that the query is within it."""
    await migrate(store)
    states = [*LIVE, *TERMINAL]
    await store.jobs.insert_many(
        {"user": f"u{n % 50}", "status": states[n % 7], "finished": float(n),
         "claim": {"host": f"n{n}"}} for n in range(700)
    )  # fmt: skip
    found = store.jobs.find(query)
    # A hint that the query does not allow is an error.
    plan = await (found.sort(sort) if sort else found).hint(index).explain()
    winning = str(plan["queryPlanner"]["winningPlan"])
    assert "IXSCAN" in winning and "'SORT'" not in winning


async def test_a_failed_one_is_named_and_the_next_run_goes_on_there(store, monkeypatch) -> None:
    ran: list[int] = []
    trouble = [OperationFailure("no space left", 17031)]

    def step(number: int) -> Migration:
        async def run(_: Store) -> None:
            ran.append(number)
            if number == 2 and trouble:
                raise trouble.pop()

        return Migration(number, f"step {number}", run)

    monkeypatch.setattr(migrations, "MIGRATIONS", tuple(step(n) for n in (1, 2, 3)))
    with pytest.raises(MigrationFailed, match=r"2 \(step 2\) failed: .*no space left"):
        await migrate(store)
    assert await recorded(store) == [1]
    assert [m.number for m in await migrate(store)] == [2, 3]
    assert ran == [1, 2, 2, 3]


async def test_an_interrupted_one_is_done_again(store: Store, monkeypatch) -> None:
    """As when the process is killed while MongoDB builds: the index is there, the record not."""
    begun = asyncio.Event()

    async def slow(store: Store) -> None:
        await MIGRATIONS[1].run(store)
        begun.set()
        await asyncio.sleep(60 if not await recorded(store) else 0)

    monkeypatch.setattr(migrations, "MIGRATIONS", (Migration(1, "slow", slow), MIGRATIONS[1]))
    task = asyncio.create_task(migrate(store))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await recorded(store) == []
    assert "job_1_base_1" in await store.log_buckets.index_information()
    monkeypatch.setattr(migrations, "MIGRATIONS", (MIGRATIONS[1],))
    await migrate(store)
    assert await recorded(store) == [2]


async def test_the_start_says_what_it_waits_for(store: Store, monkeypatch, caplog) -> None:
    async def slow(_: Store) -> None:
        await asyncio.sleep(0.5)

    async def building(_: Store) -> float:
        return 0.42

    monkeypatch.setattr(migrations, "MIGRATIONS", (Migration(7, "long index", slow),))
    monkeypatch.setattr(migrations, "building", building)
    monkeypatch.setattr(migrations, "_LOOK_S", 0.1)
    monkeypatch.setattr(migrations, "_SAY_S", 0.2)
    with caplog.at_level(logging.INFO, logger="ee2_jobs.migrations"):
        await migrate_at_start(store)
    assert "migration 7 (long index) runs since" in caplog.text
    assert "42% of an index; the API starts when it is done" in caplog.text


def test_the_command(mongo_uri: str) -> None:
    name = f"test_{ObjectId()}"
    target = ["--to", mongo_uri.replace("/?", f"/{name}?")]
    run = CliRunner().invoke
    dry = run(app, ["migrate", *target, "--dry-run"])
    assert dry.exit_code == 3 and dry.output.count("to be done") == len(MIGRATIONS)
    assert run(app, ["migrate", *target, "--dry-run"]).exit_code == 3, "it changed nothing"
    done = run(app, ["migrate", *target])
    assert done.exit_code == 0 and MIGRATIONS[-1].name in done.output
    again = run(app, ["migrate", *target, "--dry-run"])
    assert again.exit_code == 0 and "Nothing is to be done" in again.output

    async def drop() -> None:
        store = Store(mongo_uri, name)
        await store.client.drop_database(name)
        await store.close()

    asyncio.run(drop())
