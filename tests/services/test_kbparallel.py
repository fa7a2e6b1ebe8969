"""KBParallel's and kb_BatchApp's run_batch over a real MongoDB: checks, shapes, ends. Nothing runs
the jobs here; a test ends them as their runners would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from bson import ObjectId

from ee2_jobs import runs
from ee2_jobs.cancel import cancel_job
from ee2_jobs.checks import check_job
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, EngineError, InvalidInput, Unavailable
from ee2_jobs.identity import Caller
from ee2_jobs.legacy import batchapp, kbparallel
from ee2_jobs.legacy.parents import settled
from ee2_jobs.model import Document, StageName, TerminatedCode
from ee2_jobs.retry import retry_jobs
from ee2_jobs.rounds import next_round
from ee2_jobs.stages import open_stage, submit_failed
from ee2_jobs.submissions import mark_ended
from ee2_jobs.workspaces import NewObject, share_workspace
from tests.services.engines import close_engine, open_engine
from tests.services.rpc_support import Bridge

ALICE, ROB = Caller("alice"), Caller("rob")
FLAT = {"module_name": "m", "function_name": "f", "version": "dev", "parameters": {"n": 1}}


@pytest_asyncio.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    opened = await open_engine(mongo_uri)
    yield opened
    await close_engine(opened, mongo_uri)


def tasks(count: int = 3, **more: Any) -> Document:
    listed = [{**FLAT, "parameters": {"n": n}} for n in range(count)]
    return {"tasks": listed, "runner": "parallel", **more}


def sets(count: int = 2, **more: Any) -> Document:
    return {
        "module_name": "m", "method_name": "f", "service_ver": "dev", "wsid": "7",
        "batch_params": [{"params": [{"n": n}], "source_ws_objects": []} for n in range(count)],
        **more,
    }


async def record(engine: Engine, job_id: Any) -> Document:
    found = await engine.store.jobs.find_one({"_id": ObjectId(job_id)})
    assert found is not None
    return found


async def submission(engine: Engine, batch: str) -> Document:
    found = await engine.store.submissions.find_one({"_id": batch})
    assert found is not None
    return found


async def end(engine: Engine, job_id: Any, *, error: str | None = None, output: Any = None) -> None:
    """Run a job to its end, as its runner would."""
    claim = {"scheduler_id": None, "starts": 1, "host": "n1"}
    assert (await runs.claim(engine, str(job_id), claim_id="c1", **claim))["proceed"]
    told: Document = {"output": {"version": "1.1", "result": [output]}}
    if error is not None:
        told = {"error": {"name": "E", "code": -1, "message": error, "error": "where"}}
    await runs.finish_run(engine, str(job_id), told, claim_id="c1")


async def over(engine: Engine, batch: str) -> Document:
    """The submission's run has ended; the parent as an old client is shown it."""
    await mark_ended(engine.store, batch, TerminatedCode.BY_BATCH_ABORT, "The run has ended.")
    return (await settled(engine, [await record(engine, batch)]))[0]


async def test_what_is_refused_stores_nothing(engine: Engine) -> None:
    refused: list[tuple[Any, str]] = [
        ({"runner": "parallel"}, '"tasks" field with a list of tasks is required.'),
        ({"tasks": [], "runner": "x"}, '"tasks" field with a list of tasks is required.'),
        ({"tasks": {}, "runner": "x"}, '"tasks" field with a list of tasks is required.'),
        ({"tasks": [FLAT]}, '"runner" field is required'),
        ({"tasks": [1], "runner": "fast"}, "Unknown or unsupported runner type: fast"),
        (tasks(max_retries="2"), "max_retries must be a whole number"),
        (tasks(concurrent_local_tasks=0, concurrent_njsw_tasks=0), "no task could ever start"),
        (tasks(workspace_id="x"), "workspace_id must be a whole number"),
        ({"tasks": [FLAT, 5], "runner": "parallel"}, "Task #2 must be a mapping"),
        ({"tasks": [{"function_name": "f"}], "runner": "parallel"}, "Task #1: module_name must be"),
        ({"tasks": [{**FLAT, "function_name": "g.h"}], "runner": "parallel"}, "Task #1: Expected"),
        ({"tasks": [FLAT, {**FLAT, "function_name": "nope"}], "runner": "parallel"},
         "Job #2: The app m has no method 'nope'"),
        ({"tasks": [FLAT] * 51, "runner": "parallel"}, "tasks lists 51 jobs"),
        (None, "takes one mapping"),
    ]  # fmt: skip
    for params, text in refused:
        with pytest.raises(InvalidInput) as caught:
            await kbparallel.submit_batch(engine, ALICE, params)
        assert text in str(caught.value)
    assert await engine.store.jobs.count_documents({}) == 0
    assert await engine.store.submissions.count_documents({}) == 0


async def test_the_right_to_write_the_workspace_is_asked_for(engine: Engine) -> None:
    with pytest.raises(Denied, match="permission to run jobs in workspace 7"):
        await kbparallel.submit_batch(engine, ROB, tasks(workspace_id=7))
    with pytest.raises(Denied, match="permission to run jobs in workspace 7"):
        await batchapp.submit_batch(engine, ROB, sets())
    assert await engine.store.jobs.count_documents({}) == 0


async def test_limits_are_clamped_and_runners_have_defaults(engine: Engine) -> None:
    cases: list[tuple[Document, int, int]] = [
        ({"concurrent_local_tasks": 21, "concurrent_njsw_tasks": 51, "max_retries": 9}, 70, 5),
        ({"concurrent_local_tasks": -3, "concurrent_njsw_tasks": 4, "max_retries": 0}, 4, 1),
        ({}, 4, 1),
        ({"concurrent_njsw_tasks": None, "max_retries": None}, 4, 1),
        ({"runner": "local_serial"}, 1, 1),
        ({"runner": "local_parallel"}, 2, 1),
        ({"runner": "local_serial", "concurrent_njsw_tasks": 2}, 3, 1),
    ]
    for params, window, attempts in cases:
        batch = await kbparallel.submit_batch(engine, ALICE, tasks(**params))
        stored = await submission(engine, batch)
        assert (stored["window"], stored["max_attempts"]) == (window, attempts), params
        assert stored["last_first"] is True


async def test_the_records_of_a_batch_of_unlike_tasks(engine: Engine) -> None:
    nested = {
        "function": {"module_name": "m", "function_name": "s", "version": "beta"},
        "params": {"n": 2},
    }
    unlike = {"tasks": [FLAT, nested], "workspace_id": 7, "parent_job_id": "outer"}
    batch = await kbparallel.submit_batch(engine, ALICE, {**unlike, "runner": "parallel"})
    parent = await record(engine, batch)
    assert (parent["status"], parent["batch_job"], parent["wsid"]) == ("running", True, 7)
    assert parent["job_input"]["method"] == "KBParallel.run_batch"
    children = [await record(engine, child) for child in parent["child_jobs"]]
    assert [c["job_input"]["method"] for c in children] == ["m.f", "m.s"]
    assert [c["job_input"]["params"] for c in children] == [[{"n": 1}], [{"n": 2}]]
    assert [c["job_input"]["requested_release"] for c in children] == ["dev", "beta"]
    for child in children:
        assert (child["batch_id"], child["wsid"], child["job_input"]["wsid"]) == (batch, 7, 7)
        assert (child["job_input"]["parent_job_id"], child["job_input"]["app_id"]) == ("outer", "m")
        assert (child["status"], child["submission"]) == ("created", batch)
    assert (await submission(engine, batch))["shape"] == "mixed.batch"
    assert engine.orchestrator.ids == [batch]  # type: ignore[attr-defined]
    alone = await kbparallel.submit_batch(engine, ALICE, tasks(1))
    (child_id,) = (await record(engine, alone))["child_jobs"]
    child = await record(engine, child_id)
    assert child["job_input"]["parent_job_id"] == alone and "wsid" not in child


async def test_results_are_in_the_order_of_the_tasks(engine: Engine) -> None:
    batch = await kbparallel.submit_batch(engine, ALICE, tasks(4, workspace_id=7))
    a, b, c, d = (await record(engine, batch))["child_jobs"]
    await end(engine, d, output="d")
    await cancel_job(engine, ALICE, c)
    await end(engine, b, error="boom")
    assert (await record(engine, batch))["status"] == "running"
    await end(engine, a, output="a")
    parent = await over(engine, batch)
    assert parent["status"] == "completed" and parent["job_output"]["version"] == "1.1"
    (result,) = parent["job_output"]["result"]
    entries = result["results"]
    assert [e["is_error"] for e in entries] == [False, True, False, False]
    packages = [e["result_package"] for e in entries]
    assert [p["result"] for p in packages] == [["a"], None, None, ["d"]]
    assert packages[0] == {
        "function": {"module_name": "m", "method_name": "f", "version": "dev"},
        "error": None,
        "result": ["a"],
        "run_context": {"location": "njsw", "job_id": a, "parent_job_id": batch},
    }
    assert packages[1]["error"]["message"] == "boom" and packages[2]["error"] is None
    states = [e["final_job_state"] for e in entries]
    assert ["error" in s for s in states] == [False, True, False, False]
    assert [s["job_state"] for s in states] == ["completed", "error", "terminated", "completed"]
    assert states[0]["result"] == ["a"] and states[0]["job_id"] == a
    for state in states:
        for field in ("exec_start_time", "finish_time", "finished"):
            assert type(state[field]) is int and state[field] > 1.6e12
    stored = await record(engine, batch)
    assert "job_output" not in stored, "it may be larger than a record"
    assert stored["finished"] >= max([(await record(engine, j))["finished"] for j in (a, b, c, d)])


async def test_an_error_without_an_account_of_it_is_an_error_all_the_same(engine: Engine) -> None:
    batch = await kbparallel.submit_batch(engine, ALICE, tasks(1))
    (child,) = (await record(engine, batch))["child_jobs"]
    await runs.finish_job(engine, ALICE, child, {"error_message": "no idea"}, as_admin=False)
    assert "error" not in await record(engine, child)
    (entry,) = (await over(engine, batch))["job_output"]["result"][0]["results"]
    assert entry["is_error"] and entry["result_package"]["error"]["message"] == "no idea"
    assert set(entry["final_job_state"]["error"]) == {"name", "code", "message", "error"}


async def test_a_result_larger_than_a_record(engine: Engine) -> None:
    batch = await kbparallel.submit_batch(engine, ALICE, tasks(5))
    children = (await record(engine, batch))["child_jobs"]
    for n, child in enumerate(children):
        await end(engine, child, output=f"{n}" * 4_000_000)
    parent = await over(engine, batch)
    entries = parent["job_output"]["result"][0]["results"]
    assert [e["result_package"]["result"][0][:2] for e in entries] == [
        f"{n}{n}" for n in range(5)
    ]
    assert sum(len(e["result_package"]["result"][0]) for e in entries) == 20_000_000
    assert (await check_job(engine, ALICE, batch))["status"] == "completed"


async def test_a_failed_task_is_tried_as_often_as_asked_for(engine: Engine) -> None:
    batch = await kbparallel.submit_batch(engine, ALICE, tasks(3, max_retries=2))
    children = (await record(engine, batch))["child_jobs"]
    run = await open_stage(engine.store, batch, StageName.SUBMIT, 1, 50)
    assert await next_round(engine.store, run) is None
    await end(engine, children[1], error="first")
    second = await next_round(engine.store, run)
    assert second is not None and (second.round_number, len(second.jobs)) == (2, 1)
    assert await next_round(engine.store, run) is None, "it is under way"
    again = str(second.jobs[0]["_id"])
    attempt = await record(engine, again)
    assert (attempt["retry_parent"], attempt["attempt"]) == (children[1], 2)
    assert attempt["job_input"] == (await record(engine, children[1]))["job_input"]
    reopened = await open_stage(engine.store, batch, StageName.SUBMIT, 1, 50)
    assert reopened.rounds == 2 and len(reopened.jobs) == 2, "the others are of the first round"
    await submit_failed(engine.store, second, "refused")
    assert await next_round(engine.store, run) is None, "two attempts were asked for"
    assert (await record(engine, children[0]))["status"] == "created"
    await end(engine, children[0], output=0)
    await end(engine, children[2], output=2)
    entries = (await over(engine, batch))["job_output"]["result"][0]["results"]
    assert [e["is_error"] for e in entries] == [False, True, False]
    assert entries[1]["result_package"]["run_context"]["job_id"] == again
    assert (await record(engine, batch))["child_jobs"] == [*children, again]


async def test_a_retry_by_hand_does_not_change_the_result(engine: Engine) -> None:
    batch = await kbparallel.submit_batch(engine, ALICE, tasks(1, max_retries=3))
    (child,) = (await record(engine, batch))["child_jobs"]
    run = await open_stage(engine.store, batch, StageName.SUBMIT, 1, 50)
    await end(engine, child, error="boom")
    (retried,) = await retry_jobs(engine, ALICE, [child])
    assert retried.retry_id
    assert await next_round(engine.store, run) is None, "one attempt of a job is live at a time"
    await end(engine, retried.retry_id, output="late")
    (entry,) = (await over(engine, batch))["job_output"]["result"][0]["results"]
    assert entry["is_error"] and entry["result_package"]["run_context"]["job_id"] == child


async def test_a_cancelled_batch_is_not_tried_again(engine: Engine) -> None:
    batch = await kbparallel.submit_batch(engine, ALICE, tasks(3, max_retries=5))
    children = (await record(engine, batch))["child_jobs"]
    run = await open_stage(engine.store, batch, StageName.SUBMIT, 1, 50)
    await end(engine, children[0], error="boom")
    second = await next_round(engine.store, run)
    assert second is not None
    await end(engine, second.jobs[0]["_id"], error="boom")
    await cancel_job(engine, ALICE, batch)
    assert await next_round(engine.store, run) is None
    parent = await over(engine, batch)
    assert (parent["status"], parent["terminated_code"]) == ("terminated", 0)
    assert "job_output" not in parent
    codes = [(await record(engine, c)).get("terminated_code") for c in parent["child_jobs"]]
    assert codes == [None, 3, 3, None]


async def test_a_run_that_is_stopped_is_no_success(engine: Engine) -> None:
    parallel = await kbparallel.submit_batch(engine, ALICE, tasks(2))
    app = await batchapp.submit_batch(engine, ALICE, sets())
    for batch in (parallel, app):
        parent = await over(engine, batch)
        assert (parent["status"], parent["terminated_code"]) == ("terminated", 3)
        assert "job_output" not in parent
    assert await batchapp.settle_due(engine) == 1, "the report is not due any more"
    assert await engine.store.objects.count_documents({}) == 0


async def test_the_checks_of_batchapp(engine: Engine) -> None:
    refused: list[tuple[Document, str]] = [
        ({"module_name": None, "method_name": None},
         "module_name must be an existing KBase app module!"),
        ({"module_name": "m.f"},
         "module_name should just be the name of the module, NOT the full module.method"),
        ({"method_name": ""}, "method_name must be an existing KBase app method!"),
        ({"method_name": "m/f"},
         "method_name should just be the name of the method, NOT the full module.method"),
        ({"service_ver": None, "wsid": None}, "service_ver must be a valid string!"),
        ({"wsid": None, "batch_params": []},
         "A workspace id must be provided to associate each subjob!"),
        ({"wsid": 0}, "A workspace id must be provided to associate each subjob!"),
        ({"wsid": "seven"}, "wsid must be a whole number, not \"seven\""),
        ({"batch_params": []}, "batch_params must be a list with a length >= 1"),
        ({"batch_params": {}}, "batch_params must be a list with a length >= 1"),
        ({"batch_params": [{"params": []}]},
         "batch_params #1: params must be a list with at least one element"),
    ]  # fmt: skip
    for changes, text in refused:
        with pytest.raises(InvalidInput) as caught:
            await batchapp.submit_batch(engine, ALICE, sets(**changes))
        assert str(caught.value) == text
    assert await engine.store.jobs.count_documents({}) == 0


async def batch_app(engine: Engine, *, finish: bool = True) -> str:
    """A batch of two, whose second task fails twice."""
    context = {"call_stack": [{"job_id": "outer", "method": "x"}, {"job_id": "inner"}]}
    batch = await batchapp.submit_batch(engine, ALICE, sets(), context)
    stored = await submission(engine, batch)
    assert (stored["window"], stored["max_attempts"]) == (5, 2)
    good, bad = (await record(engine, batch))["child_jobs"]
    child = await record(engine, good)
    assert "wsid" not in child and child["job_input"]["parent_job_id"] == "outer"
    if finish:
        run = await open_stage(engine.store, batch, StageName.SUBMIT, 1, 50)
        await end(engine, good, output={"n": 0})
        await end(engine, bad, error="<b>boom</b>")
        second = await next_round(engine.store, run)
        assert second is not None
        await end(engine, second.jobs[0]["_id"], error="<b>boom</b>")
    return batch


async def test_batchapp_has_a_report_and_a_map_of_results(engine: Engine) -> None:
    batch = await batch_app(engine)
    assert not await batchapp.settle(engine, batch), "its run has not ended"
    parent = await over(engine, batch)
    assert parent["status"] == "completed"
    (result,) = parent["job_output"]["result"]
    assert set(result) == {"batch_results", "report_name", "report_ref"}
    good, _, again = parent["child_jobs"]
    assert set(result["batch_results"]) == {good, again}
    assert result["batch_results"][good]["result_package"]["result"] == [{"n": 0}]
    assert result["batch_results"][again]["is_error"] is True
    assert result["report_name"].startswith("batch_report_")
    saved = await engine.store.objects.find_one({"_id": result["report_ref"]})
    assert saved is not None
    assert (saved["wsid"], saved["name"], saved["type"], saved["user"]) == (
        7, result["report_name"], "KBaseReport.Report", "alice",
    )  # fmt: skip
    html = saved["data"]["direct_html"]
    assert "&lt;b&gt;boom" in html and "<b>boom" not in html and good in html
    assert saved["data"]["text_message"] == "1 of 2 tasks completed, 1 did not."
    assert (await over(engine, batch))["job_output"]["result"] == [result], "asked for once more"
    assert await engine.store.objects.count_documents({}) == 1


async def test_the_report_is_made_if_nobody_asks(engine: Engine) -> None:
    batch = await batch_app(engine)
    await mark_ended(engine.store, batch, TerminatedCode.BY_BATCH_ABORT, "over")
    assert await batchapp.settle_due(engine) == 1 and await batchapp.settle_due(engine) == 0
    assert (await record(engine, batch))["status"] == "completed"
    assert await engine.store.objects.count_documents({}) == 1
    cancelled = await batch_app(engine, finish=False)
    await cancel_job(engine, ALICE, cancelled)
    await mark_ended(engine.store, cancelled, TerminatedCode.BY_BATCH_ABORT, "over")
    assert await batchapp.settle_due(engine) == 1, "a cancelled one needs no report"
    assert await engine.store.objects.count_documents({}) == 1


async def test_a_report_that_cannot_be_saved(engine: Engine) -> None:
    batch = await batch_app(engine)
    error: EngineError = Unavailable("The Workspace does not answer")

    class Broken:
        async def save_object(self, user: str, wsid: int, new: NewObject) -> str:
            raise error

    workspaces = engine.workspaces
    object.__setattr__(engine, "workspaces", Broken())
    assert (await over(engine, batch))["status"] == "running", "it is tried again"
    error = Denied("User alice may not write workspace 7")
    parent = await over(engine, batch)
    assert (parent["status"], parent["error"]["message"]) == (
        "error",
        "The report of the batch could not be saved: User alice may not write workspace 7",
    )
    object.__setattr__(engine, "workspaces", workspaces)
    assert await batchapp.settle_due(engine) == 0


async def test_a_report_that_was_saved_is_not_saved_again(engine: Engine) -> None:
    batch = await batch_app(engine)
    side = {"batch_report": {"name": "batch_report_1", "ref": "7/1/1"}}
    await engine.store.legacy.insert_one({"_id": ObjectId(batch), **side})
    parent = await over(engine, batch)
    assert parent["job_output"]["result"][0]["report_ref"] == "7/1/1"
    assert await engine.store.objects.count_documents({}) == 0


async def test_readers_of_the_workspace_see_the_parent(engine: Engine) -> None:
    await share_workspace(engine.store, 7, "rob", "r")
    batch = await kbparallel.submit_batch(engine, ALICE, tasks(workspace_id=7))
    assert (await check_job(engine, ROB, batch))["status"] == "running"


def sdk(bridge: Bridge, method: str, params: list[Any], who: str = "alice") -> tuple[int, Any]:
    body = {"version": "1.1", "id": "1", "method": method, "params": params,
            "context": {"service_ver": "release"}}  # fmt: skip
    answer = bridge.post(body, bridge.token(who))
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, answer.json()


def test_the_asynchronous_convention(bridge: Bridge) -> None:
    status, answer = sdk(bridge, "KBParallel._run_batch_submit", [tasks(2)])
    assert status == 200
    (batch,) = answer["result"]
    status, answer = sdk(bridge, "KBParallel._check_job", [batch])
    assert (status, answer["result"][0]["finished"]) == (200, 0)
    assert answer["result"][0]["job_state"] == "in-progress"
    first, second = bridge.record(batch)["child_jobs"]
    for child in (second, first):
        bridge.call("start_job", {"job_id": child})
        output = {"version": "1.1", "result": [child]}
        bridge.call("finish_job", {"job_id": child, "job_output": output})
    jobs = bridge.db.ee2_jobs
    jobs.update_one({"_id": ObjectId(batch)}, {"$set": {"status": "completed", "finished": 1e11}})
    status, answer = sdk(bridge, "KBParallel._check_job", [batch])
    state = answer["result"][0]
    assert (status, state["finished"], state["job_state"]) == (200, 1, "completed")
    results = state["result"][0]["results"]
    assert [e["result_package"]["result"] for e in results] == [[first], [second]]
    status, answer = sdk(bridge, "KBParallel._run_batch_submit", [{"runner": "parallel"}])
    assert status == 500
    assert answer["error"]["message"] == '"tasks" field with a list of tasks is required.'
    status, answer = sdk(bridge, "kb_BatchApp._run_batch_submit", [{"batch_params": []}])
    assert answer["error"]["message"] == "module_name must be an existing KBase app module!"
    assert sdk(bridge, "KBParallel._run_batch_submit", [])[0] == 500
    for module in ("KBParallel", "kb_BatchApp"):
        status, answer = sdk(bridge, f"{module}._status_submit", [])
        status, answer = sdk(bridge, f"{module}._check_job", answer["result"])
        assert answer["result"][0]["result"][0]["state"] == "OK"


async def test_who_asks_for_the_status_again_and_again_makes_one_job(engine: Engine) -> None:
    asked = [
        await kbparallel.submit_status(engine, who, module, [])
        for who, module in ((ALICE, "KBParallel"), (ROB, "KBParallel"), (ALICE, "kb_BatchApp")) * 3
    ]
    assert len(set(asked)) == 3
    made = await engine.store.jobs.find({"status": "completed"}).to_list()
    assert sorted(set(asked)) == sorted(str(job["_id"]) for job in made)
    assert made[0]["user"] == "alice" and made[1]["user"] == "rob"


def test_a_cancel_through_the_old_service_ends_the_tasks(bridge: Bridge) -> None:
    _, answer = sdk(bridge, "KBParallel._run_batch_submit", [tasks(2)])
    (batch,) = answer["result"]
    sdk_free = {"version": "1.1", "id": "1", "method": "NarrativeJobService.cancel_job",
                "params": [{"job_id": batch}]}  # fmt: skip
    assert bridge.post(sdk_free, bridge.token("alice")).status_code == 200
    assert bridge.record(batch)["status"] == "terminated"
    for child in bridge.record(batch)["child_jobs"]:
        assert bridge.record(child)["terminated_code"] == 3
    status, answer = sdk(bridge, "KBParallel._check_job", [batch])
    assert status == 500 and "was canceled" in answer["error"]["message"]
