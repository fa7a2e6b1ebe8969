"""An existing EE2 database: used in place, or copied here. A real mongod."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from ee2_jobs import logs
from ee2_jobs.checks import check_job
from ee2_jobs.identity import Caller
from ee2_jobs.legacy.imports import moves, run
from ee2_jobs.legacy.imports.source import in_place
from tests.services.old_records import Doc, Old, at, counts, ee2_job, ee2_log, fill_ee2, oid, opened

ALICE = Caller(user="alice")


@pytest.fixture
async def old(mongo_uri: str) -> AsyncIterator[Old]:
    async with opened(mongo_uri) as old:
        yield old


def digests(database: Database[Doc]) -> dict[str, str]:
    """A hash of each document's bytes."""
    raw = database.client.get_database(
        database.name, codec_options=bson.CodecOptions(document_class=RawBSONDocument)
    )
    return {
        f"{name}/{document['_id']}": hashlib.sha256(document.raw).hexdigest()
        for name in ("ee2_jobs", "ee2_logs")
        for document in raw[name].find()
    }


async def test_an_ee2_database_is_adopted_in_place(old: Old) -> None:
    fill_ee2(old.target)
    before = digests(old.target)
    await old.store.ensure_indexes()
    reports = await run.check(old.store, in_place(old.store))
    assert counts(reports["ee2_jobs"]) == (11, 0, 11, 0)
    assert counts(reports["ee2_logs"]) == (4, 0, 4, 0)
    assert reports["ee2_jobs"].notes[moves.LIVE_IN_OLD_ENGINE].count == 4
    for number in (*range(7), 10, 11, 12, 13):
        state = await check_job(old.engine, ALICE, str(oid(number)))
        assert state["job_id"] == str(oid(number)), state
    page = await logs.read(old.store, oid(1), 2)
    assert [(n.text, n.position) for n in page.lines] == [(f"line {i}", i) for i in (2, 3, 4)]
    assert digests(old.target) == before
    assert old.target.list_collection_names(filter={"name": "ee2_marks"}) == []

    more = [logs.Line("more", False, 2.5)]
    assert await logs.append(old.store, oid(0), more) == 6
    assert await logs.append(old.store, oid(13), more) == 7
    assert await logs.append(old.store, oid(2), more) == 1
    for number, lines in ((0, 6), (13, 7), (2, 1)):
        page = await logs.read(old.store, oid(number))
        assert page.count == lines and [n.position for n in page.lines] == list(range(lines))
        assert page.lines[-1].text == "more"
    assert digests(old.target) == before


async def test_what_could_not_be_read_in_place_is_told(old: Old) -> None:
    old.target.ee2_jobs.insert_many(
        [ee2_job(1), ee2_job(2, "finished"), ee2_job(3, updated=at(0)), {"_id": "x"}]
    )
    bad = {"_id": oid(2), "lines": [{"line": "a", "ts": at(0)}]}
    old.target.ee2_logs.insert_many([ee2_log(1, 2), bad])
    reports = await run.check(old.store, in_place(old.store), batch_rows=1)
    assert counts(reports["ee2_jobs"]) == (4, 0, 1, 3)
    assert [f.first for f in reports["ee2_jobs"].left_out.values()] == [
        ["x"], [str(oid(2))], [str(oid(3))],
    ]  # fmt: skip
    assert list(reports["ee2_logs"].left_out) == ["a line's ts is not a number of seconds"]


async def test_only_live_jobs_of_the_old_engine_are_ended(old: Old) -> None:
    fill_ee2(old.target)
    ours = ee2_job(30, "queued", submission="s")
    by_client = ee2_job(31, "running", scheduler_type="ujs")
    old.target.ee2_jobs.insert_many([ours, by_client])
    before = {j["_id"]: j for j in old.target.ee2_jobs.find()}
    assert await run.live_jobs(old.store) == 4
    assert await run.end_live_jobs(old.store) == 4
    assert await run.end_live_jobs(old.store) == 0
    after = {j["_id"]: j for j in old.target.ee2_jobs.find()}
    ended = {i for i in before if before[i] != after[i]}
    assert ended == {oid(n) for n in (3, 4, 5, 6)}
    for i in ended:
        assert (after[i]["status"], after[i]["error_code"]) == ("error", 2)
        assert after[i]["finished"] == after[i]["updated"] > 1e9
        assert after[i]["job_input"] == before[i]["job_input"]


async def test_an_ee2_database_is_copied_as_it_is(old: Old) -> None:
    source = old.database("ee2")
    fill_ee2(source)
    source.ee2_jobs.insert_one(ee2_job(40, "finished"))
    old.target.ee2_log_buckets.insert_one({"job": oid(1), "base": 0, "count": 0, "lines": []})
    done = await old.run("ee2", batch_rows=3)
    assert counts(done["ee2_jobs"]) == (12, 11, 0, 1)
    assert counts(done["ee2_logs"]) == (4, 3, 1, 0)
    expected = digests(source)
    del expected[f"ee2_jobs/{oid(40)}"], expected[f"ee2_logs/{oid(1)}"]
    assert digests(old.target) == expected
    old.target.ee2_jobs.update_one({"_id": oid(4)}, {"$set": {"status": "completed"}})
    changed = digests(old.target)
    again = await old.run("ee2", restart=True)
    assert counts(again["ee2_jobs"]) == (12, 0, 11, 1)
    assert digests(old.target) == changed
