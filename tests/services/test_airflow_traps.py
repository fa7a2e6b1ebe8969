"""The traps of Airflow that shaped the design, each against the real stack: one shape that is bad,
shapes that are retired, clear and mark, exceptions, a trigger that runs twice, rights."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import httpx
import pytest
from bson import ObjectId

from ee2_cli import airflow as embedded_airflow
from ee2_cli.keys import load_keys
from tests.conftest import Stack, until
from tests.services.airflow_support import (
    Run,
    database,
    in_airflow,
    in_queue,
    jobs_of,
    submission_of,
)


def sleeper(seconds: float = 120) -> dict[str, Any]:
    """A job that runs for so long."""
    return {"method": "ee2_test.sleep", "params": [{"seconds": seconds}]}


def parse_shapes(stack: Stack, **environment: str) -> list[str]:
    """The DAGs that the generator file has when it is read now."""
    found: list[str] = in_airflow(
        stack,
        """
        import os, runpy
        os.environ.update(environment)
        from airflow.sdk import DAG
        names = runpy.run_path(file)
        answer = sorted(v.dag_id for v in names.values() if isinstance(v, DAG))
        """,
        environment=environment,
        file=str(embedded_airflow.REPO / "dags" / "submissions.py"),
    )
    return found


# ---------------------------------------------------------------------------- 4: the shapes' file


def test_4_a_bad_shape_takes_no_other_down(stack: Stack) -> None:
    stack.wait(stack.ee2("run_job", {"method": "ee2_test.true", "params": []}))
    bad: list[dict[str, Any]] = [
        {"_id": f"bad{n}.{ObjectId()}.job", **rest}
        for n, rest in enumerate(
            [
                {"kind": "job", "stages": "nonsense"},
                {"kind": "job", "stages": [{"name": "submit"}]},
                {"kind": "job", "stages": [{"name": "split", "method": "m.f"}]},
            ]
        )
    ]
    bad.append({"_id": "not a name/of a DAG", "kind": "job",
                "stages": [{"name": "submit", "method": "not a name/of a DAG"}]})
    with database(stack) as db:
        db.ee2_shapes.insert_many(bad)
    try:
        dags = parse_shapes(stack)
        assert "ee2_test.true.job" in dags and "ee2_anchor" in dags
        assert not set(dags) & {b["_id"] for b in bad}
        with stack.airflow() as api:
            errors = api.get("/importErrors").raise_for_status().json()["import_errors"]
        assert errors == []
    finally:
        with database(stack) as db:
            db.ee2_shapes.delete_many({"_id": {"$in": [b["_id"] for b in bad]}})


def test_4_an_outage_of_mongodb_takes_no_dag_down(stack: Stack) -> None:
    stack.wait(stack.ee2("run_job", {"method": "ee2_test.true", "params": []}))
    there = parse_shapes(stack)
    nobody = '{"conn_type": "mongo", "host": "127.0.0.1", "port": 1, "schema": "ee2"}'
    assert parse_shapes(stack, AIRFLOW_CONN_EE2_MONGO=nobody) == there
    assert parse_shapes(stack, AIRFLOW_CONN_EE2_MONGO="{broken") == ["ee2_anchor"]


# --------------------------------------------------------------------------------- 5: retirement


def test_5_a_retired_shape_stays_while_something_of_it_is_under_way(stack: Stack) -> None:
    shape = f"m{ObjectId()}.f.job"
    method = shape.removesuffix(".job")
    submission = str(ObjectId())
    with database(stack) as db:
        db.ee2_shapes.insert_one(
            {"_id": shape, "kind": "job", "stages": [{"name": "submit", "method": method}],
             "retired": True}
        )
        # "ended" later: so that no chore takes it for one that lost its run
        db.ee2_submissions.insert_one(
            {"_id": submission, "shape": shape, "status": "started", "accepted": time.time() + 999}
        )
        try:
            assert shape in parse_shapes(stack)
            db.ee2_submissions.update_one({"_id": submission}, {"$set": {"status": "ended"}})
            assert shape not in parse_shapes(stack)
            db.ee2_shapes.update_one({"_id": shape}, {"$set": {"retired": False}})
            assert shape in parse_shapes(stack)
        finally:
            db.ee2_shapes.delete_one({"_id": shape})
            db.ee2_submissions.delete_one({"_id": submission})


# ------------------------------------------------------------------------------ 6: clear and mark


def test_6_clear_runs_again_what_did_not_complete_and_nothing_else(stack: Stack) -> None:
    batch = stack.ee2(
        "run_job_batch",
        [{"method": "ee2_test.true", "params": []}, sleeper()],
        {},
    )
    run = Run(stack, batch["batch_id"])
    done, old = batch["child_job_ids"]
    until(
        lambda: stack.ee2("check_job", {"job_id": done})["status"] == "completed" or None,
        180,
        lambda: "the short job to complete",
    )
    run.wait_running()
    before = {j["scheduler_id"] for j in jobs_of(stack, run.id)}
    run.clear("submit")
    jobs = until(
        lambda: js if len(js := jobs_of(stack, run.id)) == 3 else None, 120, lambda: "a new attempt"
    )
    run.wait_running()
    state = stack.ee2("check_job", {"job_id": old})
    assert state["status"] == "terminated" and "in Airflow" in state["errormsg"]
    assert stack.ee2("check_job", {"job_id": done})["status"] == "completed"
    new = str(jobs[2]["_id"])
    assert jobs[2]["try"] == 2 and jobs[2]["retry_parent"] == old
    queue = until(
        lambda: q if not before & set(q := in_queue(stack)) else None,
        180,
        lambda: "the old try's jobs to leave the pool",
    )
    mine = [ad for ad in queue.values() if ad["EE2_SUBMISSION"] == run.id]
    assert [(ad["EE2_JOB_ID"], ad["EE2_TRY"]) for ad in mine] == [(new, 2)]
    # The old try's on_kill has run by now, after the new try's start; it must have stopped nothing.
    time.sleep(3)
    assert stack.ee2("check_job", {"job_id": new})["status"] == "running"
    stack.ee2("cancel_job", {"job_id": batch["batch_id"]})
    run.wait()


def test_6_mark_failed_cancels_the_jobs_and_settles_what_would_follow(stack: Stack) -> None:
    batch = stack.ee2(
        "run_job_batch", [sleeper(), sleeper()], {"aggregate": {"method": "ee2_test.sum"}}
    )
    run = Run(stack, batch["batch_id"])
    run.wait_running(2)
    run.mark("failed", task="submit")
    assert run.wait()["state"] == "failed"
    states = stack.wait_batch(batch["batch_id"], 240)
    assert states["batch_jobstate"]["child_counts"] == {"terminated": 2}
    aggregate = states["batch_jobstate"]["stage_jobs"]["aggregate"]
    assert stack.ee2("check_job", {"job_id": aggregate})["status"] == "terminated"
    until(
        lambda: True
        if not [a for a in in_queue(stack).values() if a["EE2_SUBMISSION"] == run.id]
        else None,
        180,
        lambda: "the jobs to leave the pool",
    )

    # And a clear after that runs all of it, the aggregate too, which had never had a turn.
    with database(stack) as db:
        db.ee2_jobs.update_many(
            {"submission": run.id, "job_input.method": "ee2_test.sleep"},
            {"$set": {"job_input.method": "ee2_test.true", "job_input.params": []}},
        )
    run.clear("submit", downstream=True)
    until(
        lambda: submission_of(stack, run.id)["status"] == "started" or None, 99, lambda: "a restart"
    )
    assert run.wait()["state"] == "success"
    live = [j for j in jobs_of(stack, run.id) if not j.get("superseded")]
    assert [j["status"] for j in live] == ["completed"] * 3
    assert {j["stage"]: j["try"] for j in live} == {"submit": 2, "aggregate": 1}


def test_6_mark_of_the_whole_run(stack: Stack) -> None:
    job_id = stack.ee2("run_job", sleeper())
    run = Run(stack, job_id)
    run.wait_running()
    run.mark("failed")
    state = stack.wait(job_id, 180)
    assert state["status"] == "terminated" and "marked" in state["errormsg"]
    assert submission_of(stack, job_id)["status"] == "ended"


# --------------------------------------------------------------- 8: exceptions without any worker


def test_8_what_goes_wrong_fails_the_task_with_a_message_and_without_a_worker(
    stack: Stack,
) -> None:
    stack.wait(stack.ee2("run_job", {"method": "ee2_test.true", "params": []}))
    run_id = str(ObjectId())
    with stack.airflow() as api:
        path = "/dags/ee2_test.true.job/dagRuns"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": {"user": "admin"}}
        api.post(path, json=body).raise_for_status()
        task = until(
            lambda: (
                t
                if (t := api.get(f"{path}/{run_id}/taskInstances/submit").json())["state"]
                == "failed"
                else None
            ),
            180,
            lambda: "the task to fail",
        )
        log = api.get(f"{path}/{run_id}/taskInstances/submit/logs/1").text
    assert f"There is no submission {run_id}" in log
    assert task["pid"] is None and not task["hostname"], "a worker was started for it"


# ------------------------------------------------------------ 9: the same trigger once more, twice


def test_9_two_triggers_of_one_try_submit_once(stack: Stack) -> None:
    answer = in_airflow(
        stack,
        """
        import asyncio, time, logging
        from bson import ObjectId
        from ee2_jobs import stages
        from ee2_jobs.model import StageName
        from ee2_operators import stage
        from ee2_operators.parts import current_parts, _parts

        async def run():
            sid, log = str(ObjectId()), logging.getLogger("test")
            this = stage.StageTry(sid, StageName.SUBMIT, 1)
            both = []
            for _ in range(2):  # each as in a process of its own
                both.append(current_parts())
                _parts.clear()
            store = both[0].store
            await store.submissions.insert_one(
                {"_id": sid, "user": "admin", "tries": {}, "status": "ended", "shape": "none",
                 "accepted": time.time(), "on_child_error": "continue"})
            await store.jobs.insert_many(
                [{"status": "created", "submission": sid, "stage": "submit", "try": 1, "index": n,
                  "user": "admin", "updated": time.time(), "role": "submit",
                  "job_input": {"method": "ee2_test.true", "params": [], "service_ver": ver,
                                "requirements": {"cpu": 1, "memory": 100, "disk": 1,
                                                 "clientgroup": "njs"}}}
                 for n in range(5)])
            runs = [asyncio.create_task(stage.run_stage(p, this, log)) for p in both]
            ends = await asyncio.gather(*runs)
            jobs = await store.jobs.find({"submission": sid}).to_list()
            third = await stage.run_stage(both[0], this, log)
            for p in both:
                await p.pool.close()
            return [[e.ok for e in [*ends, third]], sorted(j["status"] for j in jobs),
                    sorted({j["scheduler_id"].split(".")[0] for j in jobs})]

        answer = asyncio.run(run())
        """,
        ver=_version_of(stack, "ee2_test"),
    )
    ends, states, clusters = answer
    assert ends == [True, True, True]
    assert states == ["completed"] * 5
    assert len(clusters) == 1, "the stage was submitted once"


def _version_of(stack: Stack, module: str) -> str:
    with database(stack) as db:
        app = db.ee2_apps.find_one({"module": module, "current": True})
    assert app is not None
    return str(app["git_commit"])


def test_9_a_killed_triggerer_finds_its_jobs_again(stack: Stack) -> None:
    batch = stack.ee2("run_job_batch", [sleeper(25) for _ in range(3)], {})
    run = Run(stack, batch["batch_id"])
    before = {j["scheduler_id"] for j in run.wait_running(3)}
    stack.kill("triggerer")
    assert run.wait(180)["state"] == "success"
    jobs = jobs_of(stack, run.id)
    assert {j["scheduler_id"] for j in jobs} == before and len(jobs) == 3
    assert [j["claim"]["starts"] for j in jobs] == [1, 1, 1], "no job was run twice"
    assert run.task("submit")["try_number"] == 1


def test_9_a_stopped_triggerer_stops_no_job(stack: Stack) -> None:
    """Its `cleanup` runs then, and must leave the jobs alone."""
    job_id = stack.ee2("run_job", sleeper(20))
    run = Run(stack, job_id)
    run.wait_running()
    os.kill(stack.pid("triggerer"), signal.SIGTERM)
    assert stack.wait(job_id, 120)["status"] == "completed"
    assert run.wait(120)["state"] == "success"


# ----------------------------------------------------------------------------- 11: who sees what


@pytest.fixture(scope="module")
def users(stack: Stack) -> dict[str, str]:
    """Airflow's bearer tokens of two users of EE2, one who may only look at Airflow, and nobody."""
    keys = load_keys(stack.var_dir)
    tokens = {"nobody": ""}
    for name in ("pia", "paul"):
        embedded_airflow.add_user(stack.settings, keys, name, f"{name}-has-a-password")
    with stack.airflow() as api:
        viewer = {
            "username": "vera", "email": "vera@ee2.invalid", "first_name": "v", "last_name": "v",
            "password": "vera-has-a-password", "roles": [{"name": "Viewer"}],
        }
        api.post(f"{stack.airflow_url}/auth/fab/v1/users", json=viewer)
    for name in ("pia", "paul", "vera"):
        login = {"username": name, "password": f"{name}-has-a-password"}
        answer = httpx.post(f"{stack.airflow_url}/auth/token", json=login, timeout=60)
        tokens[name] = answer.raise_for_status().json()["access_token"]
    return tokens


def get(stack: Stack, path: str, token: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.get(f"{stack.airflow_url}{path}", headers=headers, timeout=60)


def test_11_a_user_sees_his_own_jobs_and_the_administrator_all(
    stack: Stack, users: dict[str, str]
) -> None:
    job_id = stack.ee2("run_job", {"method": "ee2_test.echo", "params": ["<b>hello</b>"]})
    stack.wait(job_id)
    with database(stack) as db:
        db.ee2_jobs.update_one({"_id": ObjectId(job_id)}, {"$set": {"user": "pia"}})
        db.ee2_submissions.update_one({"_id": job_id}, {"$set": {"user": "pia"}})
    page, log = f"/services/ee2/jobs/{job_id}", f"/services/ee2/jobs/{job_id}/{job_id}/log"
    with stack.airflow() as api:
        admin = str(api.headers["authorization"]).removeprefix("Bearer ")
    # Who may see it is sent to the dashboard; who is not known, to that where a token signs in.
    expected = {"pia": 303, "admin": 303, "paul": 404, "vera": 303, "nobody": 303}
    logs = {"pia": 200, "admin": 200, "paul": 404, "vera": 401, "nobody": 401}
    for name, token in {**users, "admin": admin}.items():
        assert get(stack, page, token).status_code == expected[name], name
        assert get(stack, log, token).status_code in (logs[name], 404), name
    inside, outside = f"/plugin/ee2-jobs/jobs/{job_id}", f"/services/ee2/dashboard/jobs/{job_id}"
    assert get(stack, page, users["pia"]).headers["location"] == inside
    assert get(stack, page, users["vera"]).headers["location"] == outside
    cookie = httpx.get(
        f"{stack.airflow_url}{page}", cookies={"_token": users["pia"]}, timeout=60
    )
    assert cookie.headers["location"] == inside
    for path, status in (
        ("/services/ee2/jobs/nonsense", 400),
        (f"/services/ee2/jobs/{ObjectId()}", 404),
        (f"/services/ee2/jobs/{job_id}/{ObjectId()}/log", 404),
    ):
        assert get(stack, path, users["pia"]).status_code == status


def test_11_a_user_of_ee2_sees_the_plugins_pages(stack: Stack, users: dict[str, str]) -> None:
    assert get(stack, "/api/v2/plugins", users["pia"]).status_code == 200
    assert get(stack, "/api/v2/plugins", users["vera"]).status_code == 403


def test_only_the_engine_empties_the_outbox(stack: Stack, users: dict[str, str]) -> None:
    for token in ("", stack.token, f"Bearer {users['pia']}"):
        headers = {"Authorization": token} if token else {}
        answer = httpx.post(f"{stack.rpc_url}/outbox", headers=headers, timeout=60)
        assert answer.status_code == 401
