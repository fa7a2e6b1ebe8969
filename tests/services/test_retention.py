"""What jobs leave is deleted by age and by how they ended, bit by bit."""

from __future__ import annotations

from pathlib import Path

import pytest
from bson import ObjectId

from ee2_jobs import logs
from ee2_jobs.errors import NotFound
from ee2_jobs.model import now_s
from ee2_operators import airflow_internals
from tests.services.chores_support import DAY_S, House, database, house

__all__ = ["database", "house"]  # fixtures



async def logged(house: House, status: str, days: float, where: str = "buckets") -> ObjectId:
    oid = await house.job(status, age_s=days * DAY_S)
    if where == "buckets":
        await logs.append(house.store, oid, [logs.Line("hello", False, 1.0)])
    else:
        old = {"_id": oid, "lines": [{"line": "hello", "error": False, "ts": 1.0}]}
        await house.store.old_logs.insert_one(old)
    return oid


async def test_logs_go_by_age_and_status(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(airflow_internals, "log_folder", lambda: tmp_path / "logs")
    house.parts.settings = house.parts.settings.model_copy(
        update={"log_days": 10, "log_days_failed": 30}
    )
    gone = [
        await logged(house, "completed", 11), await logged(house, "error", 31),
        await logged(house, "terminated", 40), await logged(house, "completed", 400, "old"),
    ]  # fmt: skip
    kept = [
        await logged(house, "completed", 9), await logged(house, "error", 29),
        await logged(house, "running", 100),
    ]  # fmt: skip
    silent = await house.job("completed", age_s=20 * DAY_S)

    async def check() -> None:
        for oid in gone:
            assert (await house.get(oid))["log_expired"] > now_s() - 60
            assert await logs.read(house.store, oid) == logs.LogPage((), 0)
            assert await house.store.old_logs.find_one({"_id": oid}) is None
        for oid in kept:
            assert await house.lines(oid) == ["hello"]
            assert "log_expired" not in await house.get(oid)
        assert "log_expired" not in await house.get(silent)
        with pytest.raises(NotFound):
            await logs.read(house.store, silent)

    await house.thrice("retention", 4, check)
    house.parts.settings = house.parts.settings.model_copy(update={"log_days": 0})
    assert (await house.run("retention")).count == 0


async def test_logs_go_bit_by_bit_and_imported_ones_too(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ee2_jobs import retention

    monkeypatch.setattr(retention, "CHUNK", 2)
    oids = [await logged(house, "completed", 400 + n) for n in range(3)]
    at = now_s() - 410 * DAY_S
    for n in range(5):  # ended in the same moment
        oid = await logged(house, "completed", 400 + n)
        await house.store.jobs.update_one({"_id": oid}, {"$set": {"finished": at}})
        oids.append(oid)

    async def expire(most: int) -> retention.Expired:
        return await retention.expire_logs(
            house.store, days=365, days_failed=365, in_time=lambda: True, most=most
        )

    first = await expire(1)
    assert first.more and 1 <= first.jobs < len(oids)
    counts = [(await expire(2)).jobs for _ in range(8)]
    assert first.jobs + sum(counts) == len(oids) and counts[-1] == 0
    assert await house.store.log_buckets.count_documents({}) == 0
    late = await logged(house, "completed", 1000)  # an import
    assert (await expire(99)).jobs == 0
    week = {"$set": {"since": now_s() - 8 * DAY_S}}
    await house.store.marks.update_one({"_id": "retention.logs.completed"}, week)
    assert (await expire(99)).jobs == 1 and "log_expired" in await house.get(late)


async def test_artifacts_go_by_age_and_status_and_not_while_a_job_runs(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import os

    monkeypatch.setattr(airflow_internals, "log_folder", lambda: tmp_path / "logs")

    async def submission(days: float, *statuses: str) -> Path:
        oid = ObjectId(f"{int(now_s() - days * DAY_S):08x}" + str(ObjectId())[8:])
        for status in statuses:
            await house.job(status, submission=str(oid))
        file = tmp_path / "artifacts" / str(oid) / str(oid) / "out.txt"
        file.parent.mkdir(parents=True)
        file.write_text("x")
        at = now_s() - days * DAY_S
        os.utime(file, (at, at))
        stage_file = tmp_path / "stage" / f"{oid}.submit.1.log"
        stage_file.write_text("x")
        os.utime(stage_file, (at, at))
        return file

    gone = [await submission(15, "completed"), await submission(31, "completed", "error")]
    kept = [
        await submission(13, "completed"), await submission(20, "completed", "terminated"),
        await submission(99, "completed", "running"),
    ]  # fmt: skip
    run = tmp_path / "logs" / "dag_id=x" / "run_id=y"
    run.mkdir(parents=True)
    os.utime(run, (now_s() - 20 * DAY_S,) * 2)
    recent = tmp_path / "logs" / "dag_id=x" / "run_id=z"
    recent.mkdir()

    async def check() -> None:
        assert not any(file.exists() for file in gone)
        assert all(file.exists() for file in kept)
        assert not run.exists() and recent.exists()

    done = await house.thrice("retention", 2 + 3 + 1, check)
    assert "2 submissions' artifacts deleted, 3 files" in done.said
    assert len(list((tmp_path / "stage").iterdir())) == 2, "the young and the running"
