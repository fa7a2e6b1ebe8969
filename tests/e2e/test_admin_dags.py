"""Every admin DAG, scheduled and by hand, in the running stack: all are triggered at once through
Airflow's REST API, and then their effects are looked at."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import ObjectId

from tests.conftest import Stack, triggered, until
from tests.services.airflow_support import database

DAY_S = 86_400
SCHEDULED = (
    "reconcile", "settle_held", "reap", "silent_runners", "statistics", "retention", "outbox",
    "health", "notices",
)  # fmt: skip
BY_HAND = ("cancel_user_jobs", "drain_group", "import_old_records")
OLD_JOB = ObjectId("5a9b7f1f0000000000000001")


class Dags:
    """The runs that this test has triggered, by chore."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.api = stack, stack.airflow()
        self.runs: dict[str, str] = {}

    def trigger(self, chore: str, name: str = "", **conf: Any) -> None:
        body = {"logical_date": None, "conf": conf}
        answer = triggered(self.api, f"ee2_{chore}", body)
        assert answer.is_success, answer.text
        self.runs[name or chore] = f"/dags/ee2_{chore}/dagRuns/{answer.json()['dag_run_id']}"

    def ended(self, name: str) -> str:
        """The state of a run once it has ended."""

        def state() -> str | None:
            found = self.api.get(self.runs[name]).raise_for_status().json()["state"]
            return found if found in ("success", "failed") else None

        return until(state, 180, lambda: f"the run of {name} to end")

    def said(self, name: str, key: str = "return_value") -> str:
        """What the chore said at its end, or (key `error`) why it failed."""
        chore = self.runs[name].split("/")[2].removeprefix("ee2_")
        path = f"{self.runs[name]}/taskInstances/{chore}/xcomEntries/{key}"
        answer = self.api.get(path, params={"deserialize": True})
        assert answer.is_success, (name, self.log(name), answer.text)
        value: str = answer.json()["value"]
        return value

    def log(self, name: str) -> str:
        """The log of the run's task."""
        chore = self.runs[name].split("/")[2].removeprefix("ee2_")
        path = f"{self.runs[name]}/taskInstances/{chore}/logs/1"
        content = self.api.get(path).raise_for_status().json()["content"]
        return "\n".join(e if isinstance(e, str) else str(e.get("event", "")) for e in content)


def record(status: str, user: str, age_s: float = 0, **fields: Any) -> dict[str, Any]:
    at = time.time() - age_s
    oid = ObjectId(f"{int(at):08x}" + str(ObjectId())[8:])
    job = {"_id": oid, "user": user, "status": status, "updated": at, "batch_job": False,
           "submission": str(oid), "stage": "submit", "try": 1,
           "job_input": {"method": "m.f", "app_id": "m/f"}}  # fmt: skip
    return {**job, **({"finished": at} if status == "completed" else {}), **fields}


@pytest.fixture(scope="module")
def dags(stack: Stack) -> Iterator[Dags]:
    dags = Dags(stack)
    stack.wait(stack.ee2("run_job", {"method": "ee2_test.sleep", "params": [{"seconds": 0}]}))
    with database(stack) as db:
        jobs = {
            "reap": record("created", "reaped", 4000),
            "retention": record("completed", "retained", 500 * DAY_S),
            "cancel_user_jobs": record("created", "leaver", batch_job=True, child_jobs=[]),
            "reconcile": record("running", "lost", 200, scheduler_id="99999999.0"),
            "queued": record("queued", "stayer"),
        }
        dags_jobs = {name: job["_id"] for name, job in jobs.items()}
        db.ee2_jobs.insert_many(jobs.values())
        bucket = {"job": dags_jobs["retention"], "base": 0, "count": 1, "bytes": 9, "keys": [],
                  "lines": [{"line": "x", "error": False, "ts": 1.0}]}  # fmt: skip
        db.ee2_log_buckets.insert_one(bucket)
        # A run of this morning's has looked at all that is so old; one that is under way would note
        # so again.
        under_way = {"state": ["queued", "running"]}
        runs = "/dags/ee2_retention/dagRuns"
        until(
            lambda: not dags.api.get(runs, params=under_way).json().get("dag_runs") or None,
            120,
            lambda: "the scheduled run of retention to end",
        )
        db.ee2_marks.delete_many({"_id": {"$regex": "^retention.logs"}})
        dags.jobs = dags_jobs  # type: ignore[attr-defined]
        old = db.client["admin_dags_old_ujs"]
        old.jobstate.insert_one(
            {"_id": OLD_JOB, "user": "old", "status": "done", "complete": True, "error": False,
             "service": "alice", "authstrat": "DEFAULT", "authparam": "DEFAULT"}
        )  # fmt: skip
        # With the stack's own user and password, as the old database is in the same mongod.
        connection = {"connection_id": "old_records", "conn_type": "mongo"}
        words = shlex.split((stack.var_dir / "etc" / "airflow.env").read_text())
        name = "AIRFLOW_CONN_EE2_MONGO="
        given = json.loads(next(w for w in words if w.startswith(name)).removeprefix(name))
        fields = ("host", "port", "login", "password")
        extra = json.dumps(given.get("extra") or {})
        connection |= {k: given[k] for k in fields if k in given} | {"extra": extra}
        dags.api.post("/connections", json=connection).raise_for_status()
        try:
            for chore in SCHEDULED:
                dags.trigger(chore)
            leaver = {"user": "leaver", "reason": "left"}
            dags.trigger("cancel_user_jobs", **leaver)
            stayer = {"user": "stayer", "reason": "x", "dry_run": True}
            dags.trigger("cancel_user_jobs", "dry", **stayer)
            dags.trigger("drain_group", group="bigmem", action="drain", reason="new memory")
            given_old = {"kind": "ujs", "source": "old_records", "database": old.name}
            dags.trigger("import_old_records", **given_old)
            yield dags
        finally:
            dags.api.delete("/connections/old_records")
            db.ee2_controls.delete_one({"_id": "drained:bigmem"})
            db.ee2_jobs.delete_many({"_id": {"$in": [*dags_jobs.values(), OLD_JOB]}})
            db.client.drop_database(old.name)


def test_every_admin_dag_is_here(stack: Stack) -> None:
    files = {p.stem.removeprefix("ee2_") for p in Path("dags/admin").glob("ee2_*.py")}
    assert files == {*SCHEDULED, *BY_HAND}
    with stack.airflow() as api:

        def by_name() -> dict[str, Any]:
            answer = api.get("/dags", params={"tags": ["admin"], "limit": 100}).raise_for_status()
            return {d["dag_id"].removeprefix("ee2_"): d for d in answer.json()["dags"]}

        # The files are read one after the other.
        until(
            lambda: by_name().keys() - {"anchor"} == files or None,
            180,
            lambda: f"exactly these admin DAGs: {sorted(files)}; there are {sorted(by_name())}",
        )
        found = by_name().values()
        errors = api.get("/importErrors").json()["import_errors"]
    assert not errors and not any(d["is_paused"] for d in found)
    scheduled = {d["dag_id"].removeprefix("ee2_") for d in found if d["timetable_summary"]}
    assert scheduled == set(SCHEDULED)


@pytest.mark.parametrize("chore", [*SCHEDULED, *BY_HAND])
def test_it_runs_and_says_what_it_did(dags: Dags, chore: str) -> None:
    state = dags.ended(chore)
    assert state == "success", dags.log(chore)
    if chore == "notices":  # it has a form of its own
        return
    line = f"{chore}: {dags.said(chore).splitlines()[0]}"
    until(lambda: line in dags.log(chore) or None, 120, lambda: f"the line '{line}'")


def test_their_effects(dags: Dags) -> None:
    for name in dags.runs:
        dags.ended(name)
    jobs: dict[str, ObjectId] = dags.jobs  # type: ignore[attr-defined]
    with database(dags.stack) as db:
        def job(name: str) -> dict[str, Any]:
            found = db.ee2_jobs.find_one({"_id": jobs[name]})
            assert found is not None
            return found

        assert job("reap")["status"] == "error" and "is gone" in job("reap")["errormsg"]
        assert "log_expired" in job("retention")
        assert db.ee2_log_buckets.count_documents({"job": jobs["retention"]}) == 0
        assert job("reconcile")["status"] == "error"
        assert job("cancel_user_jobs")["terminated_code"] == 1
        assert job("queued")["status"] in ("queued", "error")
        assert "dry run, nothing is changed: 1 job of stayer cancelled" in dags.said("dry")
        drained = db.ee2_controls.find_one({"_id": "drained:bigmem"})
        assert drained is not None
        assert (drained["by"], drained["reason"]) == (dags.stack.airflow_user, "new memory")
        imported = db.ee2_jobs.find_one({"_id": OLD_JOB})
        assert imported is not None and imported["user"] == "old"
        query = {"what": {"$in": ["cancel_user_jobs", "drain", "import_old_records ujs"]}}
        entries = list(db.ee2_audit.find({**query, "who": dags.stack.airflow_user}))
        assert len(entries) >= 3 and {e["outcome"] for e in entries} == {"done"}
        assert db.ee2_daily.count_documents({}) > 0
        report = db.ee2_health.find_one(sort=[("_id", -1)])
        assert report is not None and report["lines"]
        assert "In 24 hours" in dags.said("health")
        assert db.ee2_marks.find_one({"_id": "chore.settle_held"})["ok"]  # type: ignore[index]


def test_orders_with_mistakes_and_orders_given_again(dags: Dags) -> None:
    """A Param of the wrong type is refused at once; what makes no sense fails with a sentence; and
    a run that is cleared is not carried out a second time."""
    wrong = {"logical_date": None, "conf": {"user": 5, "dry_run": "perhaps"}}
    assert dags.api.post("/dags/ee2_cancel_user_jobs/dagRuns", json=wrong).status_code == 400
    dags.trigger("drain_group", "bad", group="nowhere", action="drain")
    dags.ended("drain_group")
    run_id = dags.runs["drain_group"].split("/")[-1]
    with database(dags.stack) as db:
        db.ee2_controls.delete_one({"_id": "drained:bigmem"})
        clear = {"dry_run": False, "task_ids": ["drain_group"], "dag_run_id": run_id,
                 "only_failed": False, "reset_dag_runs": True}  # fmt: skip
        path = "/dags/ee2_drain_group/clearTaskInstances"
        dags.api.post(path, json=clear).raise_for_status()
        assert dags.ended("bad") == "failed"
        assert "There is no client group 'nowhere'" in dags.said("bad", "error")
        assert dags.ended("drain_group") == "failed"
        assert "has been carried out" in dags.said("drain_group", "error")
        assert db.ee2_controls.find_one({"_id": "drained:bigmem"}) is None


def test_who_may_not(dags: Dags) -> None:
    """EE2's own role neither sees nor triggers them; a role that may trigger every DAG, but does
    not administrate EE2, gives no orders."""
    stack = dags.stack
    with httpx.Client(base_url=stack.airflow_url, timeout=60) as client:
        client.headers["Authorization"] = dags.api.headers["Authorization"]
        for name, role in (("ee2_user", "EE2User"), ("operator", "Op")):
            user = {"username": name, "email": f"{name}@x.invalid", "first_name": name,
                    "last_name": "-", "password": "p-" + name, "roles": [{"name": role}]}
            made = client.post("/auth/fab/v1/users", json=user)
            assert made.is_success or made.status_code == 409, made.text
        logins = {}
        for name in ("ee2_user", "operator"):
            login = {"username": name, "password": "p-" + name}
            token = client.post("/auth/token", json=login).raise_for_status().json()
            logins[name] = {"Authorization": f"Bearer {token['access_token']}"}
        of_user, of_operator = logins["ee2_user"], logins["operator"]
        api = f"{stack.airflow_url}/api/v2"
        order = {"logical_date": None, "conf": {"group": "bigmem", "action": "drain"}}
        path = f"{api}/dags/ee2_drain_group/dagRuns"
        assert client.post(path, json=order, headers=of_user).status_code == 403
        assert client.get(f"{api}/dags/ee2_drain_group", headers=of_user).status_code == 403
        seen = client.get(f"{api}/dags", headers=of_user)
        assert seen.status_code == 403 or not seen.json()["dags"]
        answer = client.post(path, json=order, headers=of_operator)
        assert answer.is_success, answer.text
        run = answer.json()["dag_run_id"]
        dags.runs["operator"] = f"/dags/ee2_drain_group/dagRuns/{run}"
        assert dags.ended("operator") == "failed"
        assert "You are not an administrator" in dags.said("operator", "error")
        asked = {"dag_id": "ee2_drain_group", "run_id": run}
        assert client.get(f"{stack.rpc_url}/run_user", params=asked).status_code == 401
    with database(stack) as db:
        assert db.ee2_controls.find_one({"_id": "drained:bigmem"}) is None
