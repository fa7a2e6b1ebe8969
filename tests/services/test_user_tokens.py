"""The user's token for the user's own jobs: only where asked for, encrypted, and not for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs import retry, runs, submissions, submit
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from ee2_jobs.model import TerminatedCode
from tests.services.engines import close_engine, open_engine

ALICE = Caller("alice", token="alices-kbase-token")


@pytest.fixture
async def engine(mongo_uri: str) -> Any:
    engine = await open_engine(mongo_uri)
    yield replace(engine, settings=engine.settings.model_copy(update={"jobs_act_as_user": True}))
    await close_engine(engine, mongo_uri)


async def claimed(engine: Engine, job_id: str) -> Any:
    """What the runner is told of the user's token."""
    answer = await runs.claim(
        engine, job_id, claim_id="c1", scheduler_id=None, starts=1, host="node"
    )
    return answer["user_token"]


async def test_the_runner_gets_it_and_nobody_can_read_it(engine: Engine) -> None:
    job_id = await submit.run_job(engine, ALICE, {"method": "m.f"})
    kept = await engine.store.submissions.find_one({"_id": job_id})
    job = await engine.store.jobs.find_one({"_id": ObjectId(job_id)})
    assert kept is not None and b"alices" not in kept["user_token"]
    assert "alices-kbase-token" not in f"{kept} {job} {ALICE!r}"
    assert await claimed(engine, job_id) == "alices-kbase-token"
    await submissions.mark_ended(engine.store, job_id, TerminatedCode.BY_SERVER_FAILURE, "over")
    kept = await engine.store.submissions.find_one({"_id": job_id})
    assert kept is not None and "user_token" not in kept


async def test_children_and_retries_have_it(engine: Engine) -> None:
    ids = await submit.run_job_batch(engine, ALICE, [{"method": "m.f"}] * 2, {"wsid": 7})
    assert await claimed(engine, ids.child_job_ids[1]) == "alices-kbase-token"
    first = ids.child_job_ids[0]
    await engine.store.jobs.update_one({"_id": ObjectId(first)}, {"$set": {"status": "error"}})
    wendy = Caller("wendy", token="wendys-token")
    (again,) = await retry.retry_jobs(engine, wendy, [first])
    assert again.retry_id is not None
    assert await claimed(engine, again.retry_id) == "wendys-token", "of who asked for the retry"


async def test_not_where_it_is_not_asked_for(engine: Engine) -> None:
    never = replace(engine, settings=engine.settings.model_copy(update={"jobs_act_as_user": False}))
    job_id = await submit.run_job(never, ALICE, {"method": "m.f"})
    kept = await engine.store.submissions.find_one({"_id": job_id})
    assert kept is not None and "user_token" not in kept
    assert await claimed(never, job_id) is None
    no_token = await submit.run_job(engine, Caller("alice"), {"method": "m.f"})
    assert await claimed(engine, no_token) is None


async def test_another_secret_key_opens_nothing(engine: Engine) -> None:
    job_id = await submit.run_job(engine, ALICE, {"method": "m.f"})
    other = engine.settings.model_copy(update={"secret_key": "x" * 32})
    assert await claimed(replace(engine, settings=other), job_id) is None
