"""Importing what UJS and NJS left: a real mongod, real source and target databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import bson
import pytest
from bson import Timestamp
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pymongo import InsertOne, ReplaceOne
from pymongo.database import Database

from ee2_jobs.errors import InvalidInput
from ee2_jobs.legacy.imports import moves, run
from ee2_jobs.legacy.imports.report import Report
from ee2_jobs.legacy.imports.writing import write
from ee2_jobs.store import Store
from tests.services.old_records import (
    Doc,
    Old,
    at,
    contents,
    counts,
    ee2_job,
    fill_old_services,
    oid,
    opened,
    ujs_row,
)

MOVED = ("ee2_jobs", "ee2_legacy", "ee2_logs", "ee2_import_waiting")


@pytest.fixture
async def old(mongo_uri: str) -> AsyncIterator[Old]:
    async with opened(mongo_uri) as old:
        yield old


def moved(database: Database[Doc]) -> dict[str, list[Doc]]:
    """What imports write, without the time of the transfer."""
    found = {name: list(database[name].find().sort("_id", 1)) for name in MOVED}
    for log in found["ee2_logs"]:
        del log["updated"]
    return found


async def test_both_orders_and_any_repetition_give_the_same(old: Old, mongo_uri: str) -> None:
    fill_old_services(old.client, old.target.name)
    first = await old.run("ujs")
    assert counts(first["jobstate"]) == (7, 7, 0, 0)
    done = await old.run("njs")
    assert counts(done["exec_tasks"]) == (7, 7, 0, 0)
    assert counts(done["exec_logs"]) == (7, 7, 0, 0)
    result = moved(old.target)
    assert [len(result[name]) for name in MOVED] == [7, 7, 7, 0]
    assert {j["status"] for j in result["ee2_jobs"]} == {"error", "completed", "terminated"}
    for kind in ("ujs", "njs", "ujs"):
        for report in (await old.run(kind)).values():
            assert counts(report) == (7, 0, 7, 0)
    assert moved(old.target) == result

    other = Store(mongo_uri, f"{old.target.name}_other")
    early = await old.run("njs", other)
    assert early["exec_tasks"].made == 0
    assert early["exec_tasks"].notes[moves.NO_UJS_ROW].count == 7
    assert (await run.waiting(other)).count == 7
    assert await other.jobs.count_documents({}) == 0
    await old.run("ujs", other)
    await other.close()
    assert moved(old.client[f"{old.target.name}_other"]) == result


async def test_a_row_of_njs_alone_gets_no_owner(old: Old) -> None:
    fill_old_services(old.client, old.target.name)
    old.database("ujs").jobstate.delete_one({"_id": oid(3)})
    await old.run("ujs")
    await old.run("njs")
    await old.run("ujs")
    assert old.target.ee2_jobs.count_documents({}) == 6
    waiting = await run.waiting(old.store)
    assert (waiting.count, waiting.first) == (1, [str(oid(3))])


async def test_what_changed_here_is_not_overwritten(old: Old) -> None:
    ujs = old.database("ujs")
    fill_old_services(old.client, old.target.name)
    # Made and not started by a client of UJS: nothing of it is cut off by the move.
    ujs.jobstate.insert_one(ujs_row(50, "created"))
    await old.run("ujs")
    assert old.target.ee2_jobs.find_one({"_id": oid(50)})["status"] == "created"  # type: ignore[index]
    changed = {"status": "running", "updated": 1.0}
    old.target.ee2_jobs.update_many({"_id": {"$in": [oid(0), oid(50)]}}, {"$set": changed})
    old.target.ee2_legacy.update_one({"_id": oid(3)}, {"$set": {"deleted": True}})
    old.target.ee2_log_buckets.insert_one({"job": oid(5), "base": 0, "count": 0, "lines": []})
    done = await old.run("njs")
    assert done["exec_tasks"].notes[moves.CHANGED_HERE].first == [str(oid(0))]
    assert counts(done["exec_tasks"]) == (7, 6, 1, 0)
    assert counts(done["exec_logs"]) == (7, 6, 1, 0)
    await old.run("ujs", restart=True)
    for number in (0, 50):
        kept = old.target.ee2_jobs.find_one({"_id": oid(number)})
        assert kept and kept["status"] == "running" and "job_input" not in kept
    side = old.target.ee2_legacy.find_one({"_id": oid(3)})
    assert side and side["deleted"] and side["imported_from"] == "njs"


async def test_records_of_an_earlier_transfer_get_what_it_lost(old: Old) -> None:
    fill_old_services(old.client, old.target.name)
    before = ee2_job(3, scheduler_type="awe")
    old.target.ee2_jobs.insert_one(before)
    done = await old.run("ujs")
    await old.run("njs")
    assert counts(done["jobstate"]) == (7, 6, 1, 0)
    assert old.target.ee2_jobs.find_one({"_id": oid(3)}) == before
    side = old.target.ee2_legacy.find_one({"_id": oid(3)})
    assert side and side["desc"] == "queued"


async def test_a_dry_run_reads_everything_and_writes_nothing(old: Old) -> None:
    fill_old_services(old.client, old.target.name)
    old.database("ujs").userstate.insert_one(
        {"user": "a", "service": "s", "auth": False, "key": "k", "value": 1}
    )
    old.database("ee2").ee2_jobs.insert_one(ee2_job(90))
    before = contents(old.target)
    dry = await old.run("ujs", dry_run=True)
    assert counts(dry["jobstate"]) == (7, 7, 0, 0)
    assert counts(dry["userstate"]) == (1, 1, 0, 0)
    assert counts((await old.run("njs", dry_run=True))["exec_logs"]) == (7, 7, 0, 0)
    assert counts((await old.run("ee2", dry_run=True))["ee2_jobs"]) == (1, 1, 0, 0)
    assert contents(old.target) == before

    await old.run("ujs")
    before = contents(old.target)
    assert counts((await old.run("njs", dry_run=True))["exec_tasks"]) == (7, 7, 0, 0)
    assert counts((await old.run("ujs", dry_run=True))["userstate"]) == (1, 0, 1, 0)
    assert contents(old.target) == before


async def test_key_value_state(old: Old) -> None:
    rows = [
        {"user": "a", "service": "s", "auth": auth, "key": "k.$", "value": {"a.b": {"$c": [auth]}}}
        for auth in (True, False)
    ]
    ujs = old.database("ujs")
    ujs.jobstate.insert_one(ujs_row(1, "created"))
    ujs.userstate.insert_many(rows)
    here = {"user": "a", "service": "s", "auth": False, "key": "k.$", "value": "newer"}
    old.target.ee2_user_state.insert_one(here)
    for made, already in ((1, 1), (0, 2)):
        done = await old.run("ujs")
        assert counts(done["userstate"]) == (2, made, already, 0)
    kept = old.target.ee2_user_state
    assert kept.find_one({"auth": False})["value"] == "newer"  # type: ignore[index]
    assert kept.find_one({"auth": True})["value"] == {"a.b": {"$c": [True]}}  # type: ignore[index]


async def test_bad_rows_stop_nothing_and_are_told(old: Old) -> None:
    fill_old_services(old.client, old.target.name)
    ujs, njs = old.database("ujs").jobstate, old.database("njs").exec_tasks
    broken = bson.encode({**ujs_row(20, "completed"), "desc": "xyz"}).replace(b"xyz", b"\xff\xfey")
    ujs.insert_many(
        [
            {"_id": None, "user": "alice"}, {"_id": "text", "user": "alice"},
            {"_id": oid(21)}, {**ujs_row(22, "completed"), "user": 5},
            {**ujs_row(23, "completed"), "updated": DatetimeMS(2**60), "prog": "x",
             "results": [], "meta": [1], "shared": "no"},
            {"_id": Timestamp(1, 1), "user": "alice"},
        ]
    )  # fmt: skip
    ujs.database.get_collection("jobstate").insert_one(RawBSONDocument(broken))
    njs.insert_many(
        [{"ujs_job_id": str(oid(23)), "job_input": [], "job_output": 5, "task_id": 7,
          "creation_time": "x", "finish_time": float("nan")},
         {"ujs_job_id": "no id"}]
    )  # fmt: skip
    done = (await old.run("ujs", batch_rows=2))["jobstate"]
    assert counts(done) == (14, 9, 0, 5)
    assert {r: (f.count, f.first) for r, f in done.left_out.items()} == {
        "_id is not the id of a job": (3, ["None", "text", str(Timestamp(1, 1))]),
        "user is missing": (2, [str(oid(21)), str(oid(22))]),
    }
    tasks = (await old.run("njs", batch_rows=2))["exec_tasks"]
    assert counts(tasks) == (9, 8, 0, 1)
    kept = old.target.ee2_jobs.find_one({"_id": oid(23)})
    assert kept and kept["status"] == "completed" and kept["finished"] == at(0).timestamp()
    assert kept["job_input"]["method"] == "UNKNOWN"
    side = old.target.ee2_legacy.find_one({"_id": oid(20)})
    assert side and side["desc"].endswith("y")


async def test_a_document_that_mongodb_refuses_leaves_the_others(old: Old) -> None:
    large = {"x": "x" * 17_000_000}
    old.target.ee2_legacy.insert_many([{"_id": 1}, {"_id": 2}])
    writes = {
        0: InsertOne({"_id": 0}), 1: InsertOne({"_id": 1}), 2: ReplaceOne({"_id": 2}, large),
        3: InsertOne({"_id": 3, **large}), 4: InsertOne({"_id": 4, "x": 2**70}),
        5: InsertOne({"_id": 5}),
    }  # fmt: skip
    report = Report()
    undone = await write(old.store.legacy, writes, report)
    assert undone["refused"] == 3
    assert sorted(i for f in report.left_out.values() for i in f.first) == ["2", "3", "4"]
    assert all("MongoDB does not take it" in reason for reason in report.left_out)
    assert [d["_id"] for d in old.target.ee2_legacy.find().sort("_id", 1)] == [0, 1, 2, 5]


async def test_a_run_that_was_cut_off_goes_on(old: Old) -> None:
    fill_old_services(old.client, old.target.name, jobs=60)
    seen: list[int] = []

    def stop_at_30(collection: str, read: int, total: int) -> None:
        assert total == 60
        seen.append(read)
        if read == 30 and len(seen) < 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await old.run("ujs", progress=stop_at_30, batch_rows=10)
    assert old.target.ee2_jobs.count_documents({}) == 30
    seen.clear()
    done = await old.run("ujs", progress=lambda _, read, __: seen.append(read), batch_rows=10)
    assert seen == [30, 40, 50, 60]
    assert counts(done["jobstate"]) == (60, 60, 0, 0)
    with pytest.raises(KeyboardInterrupt):
        seen.clear()
        await old.run("ujs", progress=stop_at_30, batch_rows=10)
    done = await old.run("ujs", restart=True)
    assert counts(done["jobstate"]) == (60, 0, 60, 0)


async def test_a_database_of_another_service_is_refused(old: Old) -> None:
    old.database("ujs").jobs.insert_one({})
    with pytest.raises(InvalidInput, match="no collection jobstate.*one of UJS; it has: jobs"):
        await old.run("ujs")
    source = old.database("ee2")
    source.ee2_jobs.insert_one({})
    source.ee2_log_buckets.insert_one({})
    with pytest.raises(InvalidInput, match="This engine has written to the database"):
        await old.run("ee2")
