"""Notices an upgrade of Airflow: its version, and the behaviours `airflow_internals` leans on."""

from __future__ import annotations

import importlib.metadata
import time
from typing import Any

from bson import ObjectId

from ee2_operators.airflow_internals import TESTED_VERSION
from tests.conftest import Stack, until
from tests.services.airflow_support import Run, database, in_airflow, submission_of

SHORT_RUN_S = 1.9


def test_the_version_is_the_tested_one() -> None:
    assert importlib.metadata.version("apache-airflow") == TESTED_VERSION, (
        "Airflow was upgraded: run this file and test_airflow_traps.py, then set TESTED_VERSION"
    )


def test_settings_and_connections(stack: Stack) -> None:
    answer = in_airflow(
        stack,
        """
        from ee2_operators import airflow_internals as a
        settings, condor = a.engine_settings(), a.condor_connection()
        answer = [settings.rpc_url, a.mongo_uri(), condor.port, sorted(condor.extra)]
        """,
    )
    assert answer[0] == stack.rpc_url
    assert "replicaSet=rs0" in answer[1] and "authSource=admin" in answer[1]
    assert answer[2] == stack.settings.condor_port
    assert "token_directory" in answer[3]


def test_a_new_shape_runs_at_once_and_its_run_is_made_once(stack: Stack) -> None:
    method = f"m{ObjectId()}.f"
    run_id = str(ObjectId())
    answer = in_airflow(
        stack,
        """
        import time
        from concurrent.futures import ThreadPoolExecutor
        from ee2_jobs.plan import shape_of
        from ee2_operators import airflow_internals as a
        from ee2_operators.dag import publish
        shape = shape_of("job", {method})
        before = sorted(a.fresh_dags([shape.dag_id]))
        publish(shape)
        after = sorted(a.fresh_dags([shape.dag_id, "no such DAG"]))
        runs = [a.NewRun(shape.dag_id, run_id, "alice", "a note")]
        a.create_runs(runs)
        with ThreadPoolExecutor(4) as threads:
            again = list(threads.map(lambda _: a.create_runs(runs), range(8)))
        both = [*runs, a.NewRun("no such DAG", "0" * 24, "alice", "")]
        answer = [before, after, shape.dag_id, again, a.create_runs(both)]
        """,
        method=method,
        run_id=run_id,
    )
    before, after, dag_id, again, errors = answer
    assert before == [] and after == [dag_id]
    assert again == [{}] * 8
    assert list(errors) == ["0" * 24] and "no such DAG" in errors["0" * 24]
    with stack.airflow() as api:
        runs = api.get(f"/dags/{dag_id}/dagRuns").raise_for_status().json()["dag_runs"]
    assert [r["dag_run_id"] for r in runs] == [run_id]
    assert runs[0]["conf"] == {"user": "alice"} and runs[0]["triggering_user_name"] == "alice"
    assert runs[0]["note"] == "a note"


def test_both_ways_to_a_dag_make_one_version(stack: Stack) -> None:
    """The API server publishes it, then the dag-processor reads it from the file."""
    stack.wait(stack.ee2("run_job", {"method": "ee2_test.true", "params": []}))
    in_airflow(
        stack,
        """
        from ee2_operators.airflow_internals import request_parse
        request_parse()
        request_parse()
        answer = None
        """,
    )
    with stack.airflow() as api:
        parsed = api.get("/dags/ee2_test.true.job").json()["last_parsed_time"]
        until(
            lambda: api.get("/dags/ee2_test.true.job").json()["last_parsed_time"] != parsed or None,
            180,
            lambda: "the dag-processor to read the file",
        )
        dag = api.get("/dags/ee2_test.true.job").json()
        versions = api.get("/dags/ee2_test.true.job/dagVersions").raise_for_status().json()
    assert not dag["is_stale"] and dag["relative_fileloc"] == "submissions.py"
    assert {t["name"] for t in dag["tags"]} == {"ee2", "ee2_test", "job"}
    assert versions["total_entries"] == 1


def test_a_run_tells_whose_it_is_and_how_it_went(stack: Stack) -> None:
    job_id = stack.ee2("run_job", {"method": "ee2_test.true", "params": []})
    run = Run(stack, job_id)
    done = run.wait()
    assert done["state"] == "success"
    assert done["note"] == f"job {job_id} of admin\nsubmit: 1 of 1 job completed"
    links = run.get("/taskInstances/submit/links")["extra_links"]
    assert links == {"EE2 jobs": f"/services/ee2/jobs/{job_id}"}
    log = run.log("submit")
    assert "1 job to run for admin" in log and "In HTCondor's queue as cluster" in log
    assert "1 of 1 job completed" in log
    submission = until(
        lambda: s if (s := submission_of(stack, job_id))["status"] == "ended" else None,
        180,
        lambda: "the listener to note the end",
    )
    assert submission["ends"] == {"submit": "1 of 1 job completed"}


def test_the_ticks_are_short(stack: Stack) -> None:
    """With ticks of a second a run takes at least two, however fast the machine is: its trigger
    starts after the second tick, and its end is sent with the third."""
    took_s: list[float] = []
    with stack.airflow() as api:
        path = "/dags/ee2_anchor/dagRuns"
        while not took_s or min(took_s) >= SHORT_RUN_S:
            assert len(took_s) < 40, f"no run took less than {SHORT_RUN_S} s: {took_s}"
            run = api.post(path, json={"logical_date": None}).raise_for_status().json()

            def ended(run_id: str = run["dag_run_id"]) -> dict[str, Any] | None:
                found: dict[str, Any] = api.get(f"{path}/{run_id}").json()
                return found if found["state"] == "success" else None

            took_s.append(until(ended, 120, lambda: "the anchor's run to end")["duration"])


def test_the_patched_loop_can_be_woken(stack: Stack) -> None:
    answer = in_airflow(
        stack,
        """
        import time, anyio
        from ee2_operators import airflow_internals as a
        a.shorten_ticks(0.2)
        import airflow.jobs.triggerer_job_runner as runner
        import inspect
        source = inspect.getsource(runner.TriggerRunner.arun)
        async def measure():
            event, times = runner.anyio.Event(), []
            for wake_it in (False, False, True, False):
                began = time.monotonic()
                if wake_it:
                    a.wake()
                with runner.anyio.move_on_after(1):
                    await event.wait()
                times.append(time.monotonic() - began)
            event.set()
            began = time.monotonic()
            await event.wait()
            await event.wait()
            return [*times, time.monotonic() - began]
        answer = [anyio.run(measure), source.count("anyio.")]
        """,
    )
    (first, second, woken, again, stopped), uses = answer
    assert 0.3 < first < 0.95 and second < 0.8 and again < 0.8, "pairs of ticks instead of 1 s each"
    assert woken < 0.2 and stopped < 0.2
    assert uses == 2, "the loop uses anyio.Event and anyio.move_on_after, and nothing else of it"


def test_a_lost_run_is_noticed(stack: Stack) -> None:
    """`run_state`, asked from a trigger: a submission whose run is not there starts again."""
    submission = str(ObjectId())
    with database(stack) as db:
        db.ee2_submissions.insert_one(
            {
                "_id": submission, "user": "admin", "kind": "job", "shape": "ee2_test.true.job",
                "status": "started", "accepted": time.time() - 120, "starts": 0, "tries": {},
                "on_child_error": "continue",
            }
        )
    with stack.airflow() as api:
        api.post("/dags/ee2_reconcile/dagRuns", json={"logical_date": None}).raise_for_status()
    # Back in the outbox it is found to have no live job, and ends; nobody else would look at it.
    until(
        lambda: submission_of(stack, submission)["status"] in ("accepted", "ended") or None,
        180,
        lambda: "the submission to be noticed",
    )
