"""The REST API of one job: page, parameters, output, changes of state, what can be done to it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from bson import ObjectId

from tests.services.rest_support import get, post, refused, request
from tests.services.rpc_support import Bridge

HOSTILE = "<script>alert(1)</script>\x00\u2028\"'=cmd|' /C calc'!A0 😀"


def update(bridge: Bridge, job_id: str, **fields: Any) -> None:
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(job_id)}, {"$set": fields})


@pytest.fixture
def job(bridge: Bridge) -> str:
    """alice's, in workspace 7."""
    return bridge.job(params=[{"reads": "7/1/1", "k": 31}], app_id="m/f")


def test_the_page_of_a_failed_job(bridge: Bridge, job: str) -> None:
    now = time.time()
    bridge.call("add_job_logs", {"job_id": job}, [
        {"line": "begins"}, {"line": "staging file is empty", "is_error": 1}, {"line": "more"},
    ])
    update(
        bridge, job, status="error", queued=now - 90, running=now - 60, finished=now - 20,
        error_code=1, errormsg="Boom: staging file\nsecond line", scheduler_id="17.0",
        claim={"id": "secret-claim", "host": "node7", "starts": 1, "at": now},
        where={"host": "node7", "slot": "slot1_2", "group": "njs", "cluster": "main", "route": "p"},
        usage={"cpu_user_s": 3.5, "wall_s": 40.0, "host": "node7"}, time_limit_s=3600,
        time_limit_rule="app m.f: 1 h",
        job_output={"version": "1", "result": [
            {"report_name": "rep", "report_ref": "7/9/1", "genome_ref": "7/5/2"}
        ]},
    )  # fmt: skip
    page = get(bridge, f"/jobs/{job}", who="rob")
    assert page["sentence"] == "The app failed: Boom: staging file"
    assert page["error_line"] == {"n": 1, "text": "staging file is empty"}
    assert page["code"] == 1 and page["owner"] == "alice" and not page["is_batch"]
    assert page["app"]["method"] == "m.f" and page["app"]["version"] == "1"
    assert page["narrative"] == {
        "ws_id": 7, "title": "alice:narrative_7", "cell_id": None, "run_id": None, "tag": None,
        "href": None,
    }
    assert page["timings"]["run_ms"] == 40_000 and page["timings"]["finished"]
    assert page["limit"] == {"time_limit_s": 3600, "rule": "app m.f: 1 h", "limit_at": None}
    assert page["where"]["slot"] == "slot1_2" and page["where"]["host"] == "node7"
    assert page["resources"]["used"] == {"cpu_user_s": 3.5, "wall_s": 40.0}
    assert page["resources"]["requested"]["cpus"] == 1
    assert page["output"]["report"] == {"name": "rep", "ref": "7/9/1"}
    assert [one["ref"] for one in page["output"]["objects"]] == ["7/5/2"]
    assert page["output"]["state"] == "produced"
    assert page["can"] == {"cancel": False, "retry": False, "share": False, "reprioritise": False}
    assert page["shared"] is None and page.get("admin") is None
    assert get(bridge, f"/jobs/{job}")["can"]["retry"]
    assert "secret-claim" not in request(bridge, "GET", f"/jobs/{job}").text
    as_admin = get(bridge, f"/jobs/{job}", who="eva", as_admin=1)
    assert as_admin["admin"]["record"]["user"] == "alice"
    assert "secret-claim" not in str(as_admin) and not any(as_admin["can"].values())


def test_where_its_times_stand_among_those_of_its_app(bridge: Bridge) -> None:
    """The app's times are kept for a minute: this test has an app of its own."""
    now = int(time.time())
    runs = [
        {
            "_id": ObjectId(f"{now - 1000:08x}{n:016x}"), "user": "bob", "status": "completed",
            "job_input": {"app_id": "ranked/app", "method": "ranked.app"},
            "running": now - 1000 + n, "finished": now - 900 + 2 * n,
        }
        for n in range(10)
    ]  # fmt: skip
    bridge.db.ee2_jobs.insert_many(runs)
    job = bridge.job()
    update(bridge, job, **{"job_input.app_id": "ranked/app"})
    try:
        created = int(job[:8], 16)
        assert get(bridge, f"/jobs/{job}")["ranks"] == {"runs": 10, "wait": None, "run": None}
        update(bridge, job, status="running", running=created + 3)
        assert get(bridge, f"/jobs/{job}")["ranks"] == {"runs": 10, "wait": 0.35, "run": None}
        update(bridge, job, status="error", finished=created + 3 + 9999, error_code=1)
        assert get(bridge, f"/jobs/{job}")["ranks"] == {"runs": 10, "wait": 0.35, "run": 1.0}
    finally:
        bridge.db.ee2_jobs.delete_many({"job_input.app_id": "ranked/app"})


def test_a_waiting_and_a_running_job(bridge: Bridge, job: str) -> None:
    page = get(bridge, f"/jobs/{job}")
    assert page["status"] == "created" and page["output"]["state"] == "not yet"
    assert page["can"] == {"cancel": True, "retry": False, "share": False, "reprioritise": True}
    now = time.time()
    update(bridge, job, status="running", running=now - 10, time_limit_s=60)
    page = get(bridge, f"/jobs/{job}")
    assert page["limit"]["limit_at"] == round((now + 50) * 1000)
    assert 10_000 <= page["timings"]["run_ms"] < 40_000 and not page["can"]["reprioritise"]
    update(bridge, job, status="completed", finished=now, job_output={})
    assert get(bridge, f"/jobs/{job}")["output"]["state"] == "not produced"


def test_who_may_see_it(bridge: Bridge, job: str) -> None:
    nowhere = str(ObjectId())
    alone = bridge.job(wsid=None)
    bridge.call("share_job", {"job_id": alone, "users": ["rob"]})
    for path in ("", "/io", "/io/raw", "/transitions", "/log", "/log/search?q=x", "/log/errors",
                 "/log/raw"):  # fmt: skip
        for who, one in (("rob", job), ("wendy", job), ("alice", job), ("rob", alone)):
            assert request(bridge, "GET", f"/jobs/{one}{path}", who=who).status_code == 200, path
        there = refused(bridge, f"/jobs/{job}{path}", who="bob")
        not_there = refused(bridge, f"/jobs/{nowhere}{path}", who="bob")
        assert there[0] == not_there[0] == 404
        assert there[1].replace(job, "ID") == not_there[1].replace(nowhere, "ID")
        assert refused(bridge, f"/jobs/{job}{path}", who=None)[0] == 401
        sign = "&" if "?" in path else "?"
        admin = f"/jobs/{job}{path}{sign}as_admin=1"
        assert refused(bridge, admin, who="alice")[0] == 403
        assert request(bridge, "GET", admin, who="eva").status_code == 200
        assert refused(bridge, f"/jobs/{job[:-1]}x{path}")[0] == 400
    own = refused(bridge, f"/jobs/{job}", who=job)
    assert own[0] == 403 and "token of job" in own[1]
    assert get(bridge, f"/jobs/{alone}")["shared"] == {
        "users": [{"user": "rob", "right": "read"}], "more": 0,
    }
    assert get(bridge, f"/jobs/{alone}", who="rob")["shared"] is None


def test_the_same_page_costs_nothing(bridge: Bridge, job: str) -> None:
    update(bridge, job, status="completed", running=1.0, finished=2.0)
    first = request(bridge, "GET", f"/jobs/{job}")
    again = request(
        bridge, "GET", f"/jobs/{job}", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert again.status_code == 304 and not again.content


def test_hostile_content_is_data_and_bounded(bridge: Bridge, job: str) -> None:
    long = (HOSTILE.replace("\x00", "") + "\x01é") * 3000
    refs = [f"7/{n}/1" for n in range(500)]
    update(
        bridge, job, status="error", error_code=1, errormsg=long, finished=3.0, running=1.0,
        time_limit_rule=long, scheduler_id=long, where={"host": long, "route": long, "slot": long},
        claim={"id": "x", "host": long}, usage={long: 1.0, "k": long, "wall_s": 1},
        job_output={"result": [{"report_name": long, "report_ref": long, "refs": refs}]},
        saved=[{"name": long[:3000], "ref": f"7/{n}/2"} for n in range(300)],
        ended_by={"kind": "user", "user": long, "reason": long},
    )  # fmt: skip
    update(bridge, job, **{"job_input.app_id": long, "job_input.method": f"m.{long}",
                           "job_input.narrative_cell_info": {"cell_id": long, "run_id": long}})
    for _ in range(30):
        bridge.db.ee2_jobs.insert_one({
            "user": "alice", "status": "error", "retry_parent": job, "updated": 1.0,
            "claim": {"host": long},
        })  # fmt: skip
    update(bridge, job, superseded=True)
    answer = request(bridge, "GET", f"/jobs/{job}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.status_code == 200 and len(answer.content) <= 8200
    assert answer.json()["sentence"].startswith("The app failed: <script>")
    assert request(bridge, "GET", f"/jobs/{job}/transitions").status_code == 200
    assert request(bridge, "GET", f"/jobs/{job}?as_admin=1", who="root").status_code == 200


def test_a_batch_is_looked_at_elsewhere(bridge: Bridge) -> None:
    batch = bridge.call("run_job_batch", [{"method": "m.f"}] * 2, {"wsid": 7})
    page = get(bridge, f"/jobs/{batch['batch_id']}")
    assert page["is_batch"] and page["batch"]["id"] == batch["batch_id"]
    child = get(bridge, f"/jobs/{batch['child_job_ids'][1]}")
    assert child["batch"] == {
        "id": batch["batch_id"], "role": "submit", "index": 1, "children": 2,
    }


def test_io(bridge: Bridge, job: str) -> None:
    update(bridge, job, job_output={"result": [HOSTILE.replace("\x00", "")]},
           error={"name": "E", "error": "Traceback …"})
    found = get(bridge, f"/jobs/{job}/io", who="rob")
    assert found["params"]["value"] == [{"reads": "7/1/1", "k": 31}] and not found["params"]["cut"]
    assert found["output"]["value"]["result"] == [HOSTILE.replace("\x00", "")]
    assert found["error"]["value"]["error"] == "Traceback …" and found["names"] == {}
    big = [{"text": "x" * 400_000, "rows": list(range(200_000)), "small": 1}]
    update(bridge, job, job_output={"result": big}, **{"job_input.params": big})
    answer = request(bridge, "GET", f"/jobs/{job}/io")
    found = answer.json()
    assert len(answer.content) < 1_000_000
    assert found["output"]["cut"] and found["params"]["bytes"] > 1_000_000
    assert found["params"]["value"][0]["small"] == 1
    raw = request(bridge, "GET", f"/jobs/{job}/io/raw", params={"part": "params"})
    assert raw.json() == big and raw.headers["content-disposition"].startswith("attachment")
    assert refused(bridge, f"/jobs/{job}/io/raw", part="claim")[0] == 400


def test_transitions(bridge: Bridge, job: str) -> None:
    now = time.time()
    update(bridge, job, status="running", queued=now + 1, running=now + 2, claim={"host": "n1"})
    post(bridge, f"/jobs/{job}/cancel", {"reason": "wrong input"})
    update(bridge, job, finished=now + 3)
    rows = get(bridge, f"/jobs/{job}/transitions", who="rob")["transitions"]
    assert [(r["from"], r["to"], r["by"], r["user"]) for r in rows] == [
        (None, "created", "owner", "alice"),
        ("created", "queued", "engine", None),
        ("queued", "running", "runner", None),
        ("running", "terminated", "owner", "alice"),
    ]
    assert rows[-1]["reason"] == "wrong input" and rows[2]["words"] == "on n1"


def test_cancelled_by_an_administrator(bridge: Bridge, job: str) -> None:
    path = f"/jobs/{job}/cancel"
    assert refused(bridge, path, who="root", method="POST", as_admin=1)[0] == 400
    assert refused(bridge, path, who="root", method="POST", body={"reason": " "}, as_admin=1)[
        0
    ] == 400
    assert refused(
        bridge, path, who="eva", method="POST", body={"reason": "full"}, as_admin=1
    )[0] == 403
    assert bridge.record(job)["status"] == "created"
    state = post(bridge, path, {"reason": "node is full"}, who="root", as_admin=1)
    assert state["status"] == "terminated"
    assert state["sentence"] == "Cancelled by an administrator: node is full"
    entry = bridge.db.ee2_audit.find_one({"target": job})
    assert entry["who"] == "root" and entry["reason"] == "node is full"
    assert entry["outcome"] == "done"
    page = get(bridge, f"/jobs/{job}")
    assert page["ended_by"] == "administrator" and page["reason"] == "node is full"
    last = get(bridge, f"/jobs/{job}/transitions")["transitions"][-1]
    assert last["by"] == "administrator" and last["user"] is None
    for address in ("", "/transitions", "/io"):
        assert "root" not in request(bridge, "GET", f"/jobs/{job}{address}").text
    last = get(bridge, f"/jobs/{job}/transitions", who="eva", as_admin=1)["transitions"][-1]
    assert last["user"] == "root"
    assert "ended_by" not in bridge.call("check_job", {"job_id": job})


def test_cancel_needs_the_right(bridge: Bridge, job: str) -> None:
    for who, status in (("bob", 404), ("rob", 403), (None, 401)):
        assert refused(bridge, f"/jobs/{job}/cancel", who=who, method="POST")[0] == status
    assert bridge.record(job)["status"] == "created"
    assert post(bridge, f"/jobs/{job}/cancel", who="wendy")["status"] == "terminated"
    page = get(bridge, f"/jobs/{job}")
    assert page["ended_by"] == "user" and page["sentence"] == "Cancelled."


def test_retry(bridge: Bridge, job: str) -> None:
    status, text = refused(bridge, f"/jobs/{job}/retry", method="POST")
    assert status == 409 and "can only retry" in text
    post(bridge, f"/jobs/{job}/cancel")
    assert get(bridge, f"/jobs/{job}")["can"]["retry"]
    new = post(bridge, f"/jobs/{job}/retry")["retry_id"]
    strip = get(bridge, f"/jobs/{new}")["attempts"]
    assert [(one["id"], one["attempt"], one["status"]) for one in strip] == [
        (job, 1, "terminated"), (new, 2, "created"),
    ]  # fmt: skip
    assert not get(bridge, f"/jobs/{job}")["can"]["retry"]
    assert refused(bridge, f"/jobs/{job}/retry", method="POST")[0] == 409
    assert refused(bridge, f"/jobs/{job}/retry", method="POST", who="bob")[0] == 404


def test_priority_and_sharing(bridge: Bridge, job: str) -> None:
    state = post(bridge, f"/jobs/{job}/priority", {"priority": -3})
    assert state["priority"] == -3 and state["changed"] == 1
    assert refused(bridge, f"/jobs/{job}/priority", method="POST", body={"priority": 5})[0] == 403
    for wrong in ({"priority": 21}, {"priority": "high"}, {}):
        assert refused(bridge, f"/jobs/{job}/priority", method="POST", body=wrong)[0] == 400
    up = {"priority": 5, "reason": "demo"}
    assert post(bridge, f"/jobs/{job}/priority", up, who="root", as_admin=1)["priority"] == 5
    alone = bridge.job(wsid=None)
    assert get(bridge, f"/jobs/{alone}")["can"]["share"]
    assert post(bridge, f"/jobs/{alone}/share", {"users": ["rob"]})["shared"] == [
        {"user": "rob", "right": "read"}
    ]
    assert refused(
        bridge, f"/jobs/{alone}/share", who="rob", method="POST", body={"users": ["bob"]}
    )[0] == 404
    gone = post(bridge, f"/jobs/{alone}/unshare", {"users": ["rob"]}, who="rob")
    assert gone["status"] == "" and refused(bridge, f"/jobs/{alone}", who="rob")[0] == 404
    assert refused(bridge, f"/jobs/{job}/share", method="POST", body={"users": ["rob"]})[0] == 404


def test_a_page_of_another_site_changes_nothing(bridge: Bridge, job: str) -> None:
    cookie = {"Cookie": "session_of=alice", "Origin": "https://evil.example"}
    answer = request(
        bridge, "POST", f"/jobs/{job}/cancel", who=None, json={}, headers=dict(cookie)
    )
    assert answer.status_code == 403 and bridge.record(job)["status"] == "created"


def test_compare(bridge: Bridge, job: str) -> None:
    other = bridge.job(params=[{"reads": "7/2/1", "k": 31, "new": "=1+1"}])
    found = get(bridge, "/compare", ids=f"{job},{other}")
    assert {row["path"]: row["values"] for row in found["params"]} == {
        "[0].reads": ["7/1/1", "7/2/1"], "[0].new": [None, "=1+1"],
    }
    assert found["same"]["method"] and [side["id"] for side in found["jobs"]] == [job, other]
    everything = get(bridge, "/compare", ids=f"{job},{other}", all=1)["params"]
    assert {"path": "[0].k", "values": [31, 31], "has": [True, True], "same": True} in everything
    for ids in (job, f"{job},{job}", ",".join([job] * 5), "", "x,y"):
        assert refused(bridge, "/compare", ids=ids)[0] == 400
    assert refused(bridge, "/compare", ids=f"{job},{other}", who="bob")[0] == 404
