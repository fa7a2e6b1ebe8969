"""The chores that an administrator triggers by hand: who may, what comes of it, and mistakes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs import audit, submit
from ee2_jobs.controls import controls
from ee2_jobs.errors import Denied, InvalidInput
from ee2_jobs.identity import Caller
from tests.services.chores_support import READER, House, database, house
from tests.services.old_records import Old, opened, ujs_row

__all__ = ["database", "house"]  # fixtures


async def test_all_jobs_of_a_user_are_cancelled(house: House) -> None:
    params = {"method": "m.f", "params": [{}]}
    single = await submit.run_job(house.engine, Caller("alice"), params)
    batch = await submit.run_job_batch(house.engine, Caller("alice"), [params] * 3, {})
    other = await submit.run_job(house.engine, Caller("bob"), params)
    ended = await house.job("completed")
    ids = [ObjectId(i) for i in (single, batch.batch_id, *batch.child_job_ids)]

    async def check() -> None:
        found = house.store.jobs.find({"_id": {"$in": ids}})
        assert {job["status"] async for job in found} == {"terminated"}
        assert (await house.get(ObjectId(single)))["terminated_code"] == 1
        assert (await house.get(ObjectId(other)))["status"] == "created"
        assert (await house.get(ended))["status"] == "completed"
        (entry,) = await audit.entries(house.store, who="root")
        assert (entry["what"], entry["outcome"]) == ("cancel_user_jobs", "done")
        assert entry["reason"] == "left us" and entry["target"][:2] == ["alice", batch.batch_id]

    done = await house.thrice("cancel_user_jobs", 5, check, user="alice", reason="left us ")
    assert done.said == "5 jobs of alice cancelled" and house.parts.watcher.pokes == 1


async def test_only_those_in_one_state(house: House) -> None:
    queued = await house.job("queued")
    parent = await house.job("created", batch_job=True)
    created = await house.job("created")
    given: dict[str, Any] = {"user": "alice", "reason": "x"}
    done = await house.run("cancel_user_jobs", **given, status="created")
    assert done.count == 1 and (await house.get(created))["status"] == "terminated"
    assert (await house.get(queued))["status"] == "queued"
    assert (await house.get(parent))["status"] == "created"
    with pytest.raises(InvalidInput, match="status must be one of created"):
        await house.run("cancel_user_jobs", **given, status="completed")


@pytest.mark.parametrize("who", [READER, Caller("alice")], ids=["reader", "user"])
@pytest.mark.parametrize("chore", ["cancel_user_jobs", "drain_group", "import_old_records"])
async def test_orders_are_the_administrators(house: House, chore: str, who: Caller) -> None:
    given = {"user": "alice", "reason": "x", "group": "njs", "action": "drain", "kind": "ujs"}
    before = await house.everything()
    for dry_run in (True, False):
        with pytest.raises(Denied):
            await house.run(chore, who=who, dry_run=dry_run, **given, source="mongodb://h")
    assert await house.everything() == before


async def test_a_group_is_drained(house: House) -> None:
    given = {"group": "njs", "reason": "new kernel"}

    async def drained() -> None:
        (control,) = (await controls(house.store)).drained.values()
        assert (control.by, control.reason) == ("root", "new kernel")

    async def free() -> None:
        assert (await controls(house.store)).drained == {}

    await house.thrice("drain_group", 1, drained, action="drain", **given)
    await house.thrice("drain_group", 1, free, action="undrain", **given)
    assert {e["what"] for e in await audit.entries(house.store)} == {"drain", "undrain"}


@pytest.mark.parametrize(
    ("chore", "given", "words"),
    [
        ("drain_group", {"group": "nxs", "action": "drain"}, "There is no client group 'nxs'"),
        ("drain_group", {"group": "njs", "action": "stop"}, "drain or undrain, not 'stop'"),
        ("drain_group", {"group": 5, "action": "drain"}, "'group' is needed"),
        ("cancel_user_jobs", {"user": "alice", "reason": " "}, "'reason' is needed"),
        ("cancel_user_jobs", {"user": None, "reason": "x"}, "'user' is needed"),
        ("import_old_records", {"kind": "awe", "source": "mongodb://h"}, "ujs, njs, ee2"),
        ("import_old_records", {"kind": "ujs", "source": "http://h"}, "not one of MongoDB"),
        ("import_old_records", {"kind": "ujs", "source": "mongodb://u:p@h"}, "holds a password"),
    ],
)
async def test_params_that_make_no_sense(
    house: House, chore: str, given: dict[str, Any], words: str
) -> None:
    before = await house.everything()
    for dry_run in (True, False):
        with pytest.raises(InvalidInput, match=words):
            await house.run(chore, dry_run=dry_run, **given)
    assert await house.everything() == before


@pytest.fixture
async def old(mongo_uri: str) -> AsyncIterator[Old]:
    async with opened(mongo_uri) as old:
        yield old


async def test_old_records_are_imported(old: Old, tmp_path: Path) -> None:
    rows = [ujs_row(n, kind) for n, kind in enumerate(("completed", "error", "queued"))]
    database = old.database("ujs")
    database.jobstate.insert_many(rows)
    house = House(old.engine, tmp_path)
    given: dict[str, Any] = {"kind": "ujs", "source": old.uri, "database": database.name}

    async def check() -> None:
        assert await house.store.jobs.count_documents({}) == 3
        entries = await audit.entries(house.store, who="root")
        assert {e["what"] for e in entries} == {"import_old_records ujs"}
        assert {e["outcome"] for e in entries} == {"done"}

    done = await house.thrice("import_old_records", 3, check, **given)
    assert "jobstate: 3 rows read, 3 imported, 0 here already" in (done.text or "")
    with pytest.raises(InvalidInput, match="has no collection exec_tasks"):
        await house.run("import_old_records", **{**given, "kind": "njs"})
    assert (await audit.entries(house.store, limit=1))[0]["outcome"] == "failed"
