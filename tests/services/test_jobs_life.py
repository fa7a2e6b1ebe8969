"""The life of records against a real MongoDB: accept, run, end, cancel, retry, stages."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from bson import ObjectId

from ee2_jobs import logs, pool_records, runs, stages
from ee2_jobs.cancel import cancel_job
from ee2_jobs.checks import aggregate_children, check_job, check_job_batch, check_jobs
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput, NotFound, WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.model import StageName, Status
from ee2_jobs.retry import retry_jobs
from ee2_jobs.submit import run_job, run_job_batch, run_split_aggregate
from tests.services.engines import close_engine, open_engine

ALICE, BOB = Caller("alice"), Caller("bob")
ROOT, AUDITOR = Caller("root", frozenset({"admin"})), Caller("eva", frozenset({"admin_read"}))


@pytest_asyncio.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    opened = await open_engine(mongo_uri)
    yield opened
    await close_engine(opened, mongo_uri)


async def status_of(engine: Engine, job_id: str) -> str:
    return (await engine.store.jobs.find_one({"_id": ObjectId(job_id)}))["status"]


async def claim(engine: Engine, job_id: str, claim_id: str = "c1", **more: Any) -> dict[str, Any]:
    given = {"scheduler_id": None, "starts": 1, "host": "n1"} | more
    return await runs.claim(engine, job_id, claim_id=claim_id, **given)


async def end(engine: Engine, job_id: str, *, ok: bool = True) -> None:
    """Run a job to its end, as its runner would."""
    assert (await claim(engine, job_id))["proceed"]
    told = {"output": {"version": "1.1", "result": [{"n": 1}]}} if ok else {
        "error": {"message": "boom", "name": "E", "code": 1, "error": "boom"}
    }
    await runs.finish_run(engine, job_id, told, claim_id="c1")


async def test_an_accepted_job_has_record_submission_and_shape(engine: Engine) -> None:
    job_id = await run_job(engine, ALICE, {"method": "m.f", "wsid": 7, "params": [{"x": 1}]})
    job = await engine.store.jobs.find_one({"_id": ObjectId(job_id)})
    assert (job["status"], job["user"], job["wsid"]) == ("created", "alice", 7)
    assert job["job_input"]["service_ver"] == "c0ffee"
    assert engine.orchestrator.ids == [job_id]  # type: ignore[attr-defined]
    submission = await engine.store.submissions.find_one({"_id": job_id})
    assert (submission["shape"], submission["status"]) == ("m.f.job", "accepted")
    assert await engine.store.shapes.find_one({"_id": "m.f.job"})


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"method": "nope.f"}, InvalidInput, "There is no app 'nope'"),
        ({"method": "m.nope"}, InvalidInput, "has no method 'nope'; it has: f, s, a"),
        ({"method": "m.f", "service_ver": "9"}, InvalidInput, "has no version '9'"),
        ({"method": "m.f", "wsid": 8}, Denied, "permission to run jobs in workspace 8"),
        ({"method": "m.f", "as_admin": True}, Denied, "You are not an administrator"),
        ({"method": "m.f", "source_ws_objects": ["9/1/1"]}, InvalidInput, "inaccessible: 9/1/1"),
        ({"method": "m.f", "job_requirements": {"request_cpus": 3}}, InvalidInput, "full admin"),
    ],
)
async def test_what_is_refused_leaves_no_record(
    engine: Engine, params: dict, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await run_job(engine, ALICE, params)
    with pytest.raises(error, match=text):
        wsid = {k: params[k] for k in ("wsid", "as_admin") if k in params}
        await run_job_batch(
            engine, ALICE, [{k: v for k, v in params.items() if k not in wsid}], wsid
        )
    for collection in (engine.store.jobs, engine.store.submissions):
        assert await collection.count_documents({}) == 0


async def test_a_batch_names_the_bad_job_and_keeps_order(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="Job #2: Expected exactly one"):
        await run_job_batch(engine, ALICE, [{"method": "m.f"}, {"method": "a.b.c"}], {})
    with pytest.raises(InvalidInput, match="at least one job"):
        await run_job_batch(engine, ALICE, [], {})
    with pytest.raises(InvalidInput, match="51 jobs; one batch may have at most 50"):
        await run_job_batch(engine, ALICE, [{"method": "m.f"}] * 51, {})
    assert await engine.store.jobs.count_documents({}) == 0
    ids = await run_job_batch(
        engine, ALICE, [{"method": "m.f", "params": [n]} for n in range(20)], {"wsid": 7}
    )
    states = await check_job_batch(engine, ALICE, ids.batch_id)
    assert [c["job_id"] for c in states["child_jobstates"]] == list(ids.child_job_ids)
    assert [c["job_input"]["params"] for c in states["child_jobstates"]] == [
        [n] for n in range(20)
    ]
    parent = states["batch_jobstate"]
    assert parent["child_counts"] == {"created": 20}
    assert (parent["status"], parent["batch_job"], parent["wsid"]) == ("created", True, 7)


async def test_a_job_is_claimed_once_and_the_same_pool_job_may_start_again(engine: Engine) -> None:
    job_id = await run_job(engine, ALICE, {"method": "m.f"})
    first = await claim(engine, job_id, "c1", scheduler_id="5.0")
    assert first["proceed"] and first["app"]["command"] == ["true"]
    assert not (await claim(engine, job_id, "c2", scheduler_id="6.0"))["proceed"]
    assert not (await claim(engine, job_id, "c3"))["proceed"]
    assert (await claim(engine, job_id, "c4", scheduler_id="5.0", starts=2))["proceed"]
    told = await runs.report(engine, job_id, claim_id="c1", key=None, lines=[])
    assert told["canceled"] and "taken over" in told["reason"]
    await runs.finish_run(engine, job_id, {"output": {}}, claim_id="c1")
    assert await status_of(engine, job_id) == "running"
    await runs.finish_run(engine, job_id, {"output": {}}, claim_id="c4")
    await runs.finish_run(engine, job_id, {"output": {}}, claim_id="c4")
    assert await status_of(engine, job_id) == "completed"


async def test_cancel_and_finish_race_to_one_consistent_record(engine: Engine) -> None:
    for _ in range(20):
        job_id = await run_job(engine, ALICE, {"method": "m.f"})
        await runs.start_job(engine, ALICE, job_id)
        results = await asyncio.gather(
            cancel_job(engine, ALICE, job_id),
            runs.finish_job(engine, ALICE, job_id, {"job_output": {}}, as_admin=False),
            runs.finish_job(engine, ALICE, job_id, {"error_message": "x"}, as_admin=False),
            return_exceptions=True,
        )
        job = await engine.store.jobs.find_one({"_id": ObjectId(job_id)})
        won = {"completed": {"job_output"}, "error": {"errormsg", "error_code"},
               "terminated": {"terminated_code"}}
        marks = set().union(*won.values()) & set(job)
        assert marks == won[job["status"]]
        assert results[0] is None
        assert sum(isinstance(r, WrongState) for r in results[1:]) >= 1


async def test_cancel_of_a_parent_ends_live_children_only(engine: Engine) -> None:
    ids = await run_job_batch(engine, ALICE, [{"method": "m.f"}] * 3, {"aggregate": "report"})
    await end(engine, ids.child_job_ids[0])
    await cancel_job(engine, ALICE, ids.batch_id)
    await cancel_job(engine, ALICE, ids.batch_id)
    states = await check_job_batch(engine, ALICE, ids.batch_id)
    assert [c["status"] for c in states["child_jobstates"]] == [
        "completed", "terminated", "terminated",
    ]
    assert states["child_jobstates"][1]["terminated_code"] == 3
    assert states["batch_jobstate"]["terminated_code"] == 0
    aggregate = states["batch_jobstate"]["stage_jobs"]["aggregate"]
    assert await status_of(engine, aggregate) == "terminated"


async def test_rights(engine: Engine) -> None:
    job_id = await run_job(engine, ALICE, {"method": "m.f", "wsid": 7})
    private = await run_job(engine, ALICE, {"method": "m.f"})
    for caller in (ALICE, Caller("rob"), Caller("wendy"), Caller("x", job=job_id)):
        assert (await check_job(engine, caller, job_id))["job_id"] == job_id
    for caller, job in ((BOB, job_id), (Caller("rob"), private), (Caller("alice", job=job_id),
                                                                 private)):
        answer = await check_job(engine, caller, job)
        assert answer == {"failure": f"No read permissions for {job}", "check_job_error": True}
    with pytest.raises(Denied, match=r"User rob does not have permission to JobPermissions.WRITE"):
        await cancel_job(engine, Caller("rob"), job_id)
    with pytest.raises(Denied, match="read-only admin"):
        await cancel_job(engine, AUDITOR, job_id, as_admin=True)
    with pytest.raises(Denied, match="You are not an administrator"):
        await cancel_job(engine, ALICE, job_id, as_admin=True)
    assert (await check_job(engine, AUDITOR, private, as_admin=True))["user"] == "alice"
    await cancel_job(engine, Caller("wendy"), job_id)
    await cancel_job(engine, ROOT, private, as_admin=True, terminated_code=1)
    assert await status_of(engine, private) == "terminated"


async def test_unknown_ids(engine: Engine) -> None:
    job_id = await run_job(engine, ALICE, {"method": "m.f"})
    unknown = str(ObjectId())
    states = await check_jobs(engine, ALICE, [unknown, job_id])
    nothing = {"failure": f"No read permissions for {unknown}", "check_job_error": True}
    assert list(states) == [unknown, job_id] and states[unknown] == nothing
    assert await check_jobs(engine, ALICE, [unknown]) == {unknown: nothing}
    states = await check_jobs(engine, AUDITOR, [unknown, job_id], as_admin=True)
    assert states[unknown] == []
    with pytest.raises(NotFound, match=rf"Cannot find job with ids: \['{unknown}'\]"):
        await check_jobs(engine, AUDITOR, [unknown], as_admin=True)


async def test_excluded_fields(engine: Engine) -> None:
    job_id = await run_job(engine, ALICE, {"method": "m.f", "wsid": 7, "params": [1]})
    state = await check_job(
        engine, Caller("rob"), job_id,
        exclude=["job_input__params", "user", "wsid", "updated", "job_input.requirements"],
    )
    assert not {"user", "wsid", "updated"} & set(state)
    assert not {"params", "requirements"} & set(state["job_input"])
    with pytest.raises(InvalidInput, match="has no field 'colour'"):
        await check_job(engine, ALICE, job_id, exclude=["colour"])


async def test_retries_hang_on_the_root_and_only_one_lives(engine: Engine) -> None:
    ids = await run_job_batch(engine, ALICE, [{"method": "m.f"}] * 3, {})
    a, b, c = ids.child_job_ids
    await end(engine, a, ok=False)
    await end(engine, b, ok=False)
    answers = await retry_jobs(engine, ALICE, [a, b, c, ids.batch_id, str(ObjectId())])
    assert [bool(r.retry_id) for r in answers] == [True, True, False, False, False]
    assert "can only retry jobs with status 'error' or 'terminated'" in str(answers[2].error)
    assert "Cannot retry batch job parents" in str(answers[3].error)
    assert "Cannot find job with ids" in str(answers[4].error)
    first = answers[0].retry_id or ""
    submissions = await engine.store.submissions.find({"_id": first}).to_list()
    assert len(submissions) == 1, "all retries of one call are one submission"
    again = await retry_jobs(engine, ALICE, [a])
    assert f"its retry {first} is still created" in str(again[0].error)
    await end(engine, first, ok=False)
    second = (await retry_jobs(engine, ALICE, [first]))[0]
    assert second.job_id == a
    states = await check_job_batch(engine, ALICE, ids.batch_id)
    root = next(s for s in states["child_jobstates"] if s["job_id"] == a)
    assert root["retry_ids"] == [first, second.retry_id]
    assert root["retry_count"] == 2
    assert states["batch_jobstate"]["child_jobs"][3:] == [
        first, answers[1].retry_id, second.retry_id,
    ]
    assert states["batch_jobstate"]["child_counts"] == {"created": 3}
    with pytest.raises(InvalidInput, match="No job_ids provided to retry"):
        await retry_jobs(engine, ALICE, [])
    with pytest.raises(InvalidInput, match="Retry of the same id in the same request"):
        await retry_jobs(engine, ALICE, [a, a])


async def test_split_process_aggregate(engine: Engine) -> None:
    batch = await run_split_aggregate(engine, ALICE, {"method": "m.f", "params": [{"n": 3}]})
    store = engine.store
    split = await stages.open_stage(store, batch, StageName.SPLIT, 1, 50)
    assert [j["job_input"]["method"] for j in split.jobs] == ["m.s"]
    split_id = str(split.jobs[0]["_id"])
    await claim(engine, split_id)
    children = {"children": [{"params": [n]} for n in range(3)]}
    await runs.finish_run(
        engine, split_id, {"output": {"version": "1.1", "result": [children]}}, claim_id="c1"
    )
    assert (await stages.end_stage(store, split)).ok
    both = await asyncio.gather(
        *(stages.open_stage(store, batch, StageName.SUBMIT, 1, 50) for _ in range(4))
    )
    assert {len(run.jobs) for run in both} == {3}, "triggers that race make the children once"
    run = both[0]
    begun = await stages.begin_submit(store, run)
    assert begun and begun.begun_s
    assert await stages.begin_submit(store, both[1]) is None, "only one of two triggers may submit"
    reopened = await stages.open_stage(store, batch, StageName.SUBMIT, 1, 50)
    assert reopened.begun_s == begun.begun_s
    ids = [str(j["_id"]) for j in run.jobs]
    await end(engine, ids[0])
    await stages.record_cluster(store, run, {job: f"9.{n}" for n, job in enumerate(ids)})
    states = await check_job_batch(engine, ALICE, batch)
    assert [s["status"] for s in states["child_jobstates"]] == ["completed", "queued", "queued"]
    assert [s["scheduler_id"] for s in states["child_jobstates"]] == ["9.0", "9.1", "9.2"]
    await end(engine, ids[1], ok=False)
    key = (batch, StageName.SUBMIT, 1)
    assert await stages.live_counts(store, [key]) == {key: 1}
    await end(engine, ids[2])
    assert await stages.live_counts(store, [key]) == {key: 0}
    ended = await stages.end_stage(store, run)
    assert ended.ok and ended.message == "2 of 3 jobs completed (1 error)"
    aggregate = (await stages.open_stage(store, batch, StageName.AGGREGATE, 1, 50)).jobs[0]
    answer = await claim(engine, str(aggregate["_id"]))
    given = answer["job"]["params"][0]["children"]
    assert [(c["index"], c["status"], c["result"]) for c in given] == [
        (0, "completed", [{"n": 1}]), (1, "error", None), (2, "completed", [{"n": 1}]),
    ]
    assert given[1]["error"] == "boom"


async def test_a_cleared_stage_runs_again_only_what_did_not_complete(engine: Engine) -> None:
    ids = await run_job_batch(engine, ALICE, [{"method": "m.f"}] * 4, {})
    done, failed, live, _ = ids.child_job_ids
    await end(engine, done)
    await end(engine, failed, ok=False)
    await claim(engine, live)
    second = await stages.open_stage(engine.store, ids.batch_id, StageName.SUBMIT, 2, 50)
    assert [j["index"] for j in second.jobs] == [1, 2, 3]
    assert await status_of(engine, live) == "terminated"
    again = await stages.open_stage(engine.store, ids.batch_id, StageName.SUBMIT, 2, 50)
    assert [j["_id"] for j in again.jobs] == [j["_id"] for j in second.jobs]
    stopped = await stages.stop_try(engine.store, ids.batch_id, StageName.SUBMIT, 1, "old try")
    assert stopped == 0, "the old try's on_kill comes later and must not touch the new try"
    for job in second.jobs:
        await end(engine, str(job["_id"]))
    assert (await stages.end_stage(engine.store, second)).ok
    children = await aggregate_children(engine.store, ids.batch_id)
    assert [c["status"] for c in children] == ["completed"] * 4


async def test_a_failed_stage_settles_those_after_it(engine: Engine) -> None:
    batch = await run_split_aggregate(
        engine, ALICE, {"method": "m.f", "children": [[1], [2]], "on_child_error": "abort"}
    )
    run = await stages.open_stage(engine.store, batch, StageName.SUBMIT, 1, 50)
    await end(engine, str(run.jobs[0]["_id"]), ok=False)
    key = (batch, StageName.SUBMIT, 1)
    assert await stages.failed_stages(engine.store, [key]) == {key}
    assert await stages.abort_stage(engine.store, run) == 1
    ended = await stages.end_stage(engine.store, run)
    assert not ended.ok and "0 of 2 jobs completed (1 error, 1 terminated)" == ended.message
    aggregate = await engine.store.jobs.find_one({"submission": batch, "role": "aggregate"})
    assert aggregate["status"] == Status.TERMINATED
    assert "submit stage before it did not complete" in aggregate["errormsg"]


async def test_the_pool_ends_only_what_the_runner_did_not(engine: Engine) -> None:
    ids = await run_job_batch(engine, ALICE, [{"method": "m.f"}] * 2, {})
    a, b = ids.child_job_ids
    await end(engine, a)
    ends = [pool_records.PoolEnd(j, Status.ERROR, 2, "lost", remove=True) for j in (a, b)]
    assert await pool_records.apply_pool_ends(engine.store, ends) == 1
    assert await status_of(engine, a) == "completed"
    await engine.store.jobs.update_one({"_id": ObjectId(b)}, {"$set": {"scheduler_id": "4.1"}})
    assert await pool_records.to_remove(engine.store) == {"4.1": b}
    await pool_records.removed(engine.store, [b])
    assert await pool_records.to_remove(engine.store) == {}


async def test_a_job_cancelled_while_it_is_submitted_is_marked_for_removal(engine: Engine) -> None:
    ids = await run_job_batch(engine, ALICE, [{"method": "m.f"}] * 2, {})
    run = await stages.open_stage(engine.store, ids.batch_id, StageName.SUBMIT, 1, 50)
    await cancel_job(engine, ALICE, ids.child_job_ids[1])
    pool = {job: f"3.{n}" for n, job in enumerate(ids.child_job_ids)}
    await stages.record_cluster(engine.store, run, pool)
    assert await pool_records.to_remove(engine.store) == {"3.1": ids.child_job_ids[1]}


async def test_logs_grow_in_buckets_and_old_ones_are_read(engine: Engine) -> None:
    store, job = engine.store, ObjectId()
    with pytest.raises(NotFound, match="Cannot find job log with id"):
        await logs.read(store, job)
    assert await logs.append(store, job, []) == 0
    assert (await logs.read(store, job)).lines == ()

    async def write(writer: int) -> None:
        for n in range(50):
            await logs.append(
                store, job, [logs.Line(f"{writer}/{n}/{i}", False, 1.0) for i in range(10)]
            )

    await asyncio.gather(*(write(w) for w in range(8)))
    page = await logs.read(store, job)
    assert page.count == len(page.lines) == 4000
    assert [line.position for line in page.lines] == list(range(4000))
    assert len({line.text for line in page.lines}) == 4000
    part = await logs.read(store, job, skip_lines=2990, limit=15)
    assert [line.position for line in part.lines] == list(range(2990, 3005))
    assert await store.log_buckets.count_documents({"job": job}) >= 4

    once = [logs.Line("same", False, 1.0)]
    assert await logs.append(store, job, once, "k1") == 4001
    assert await logs.append(store, job, once, "k1") == 4001

    old = ObjectId()
    await store.old_logs.insert_one(
        {"_id": old, "original_line_count": 2, "stored_line_count": 2, "updated": 1.0,
         "lines": [{"line": "a", "linepos": 0, "error": False, "ts": 5.0},
                   {"line": "b", "linepos": 1, "error": True, "ts": 6.0}]}
    )
    assert [n.text for n in (await logs.read(store, old)).lines] == ["a", "b"]
    assert await logs.append(store, old, [logs.Line("c", False, 7.0)]) == 3
    assert [(n.text, n.position) for n in (await logs.read(store, old)).lines] == [
        ("a", 0), ("b", 1), ("c", 2),
    ]
    assert [n.text for n in (await logs.read(store, old, skip_lines=2)).lines] == ["c"]
    assert [n.text for n in (await logs.read(store, old, skip_lines=1, limit=1)).lines] == ["b"]


async def test_a_log_goes_past_sixteen_megabytes(engine: Engine) -> None:
    job, text = ObjectId(), "x" * 100_000
    for _ in range(20):
        await logs.append(
            engine.store, job, [logs.Line(text, False, 1.0) for _ in range(10)]
        )
    page = await logs.read(engine.store, job, skip_lines=195)
    assert (page.count, len(page.lines)) == (200, 5)
