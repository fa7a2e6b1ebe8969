"""The REST API: a user's own star and labels on jobs, what differs between a batch's children, and
finding jobs by the scheduler's id."""

from __future__ import annotations

import re
from typing import Any

import pytest
from bson import ObjectId

from tests.services.lists_support import NOW_S, World
from tests.services.rest_support import get, post, refused, request
from tests.services.rpc_support import Bridge


@pytest.fixture
def world(bridge: Bridge) -> World:
    for name in ("ee2_jobs", "ee2_tags"):
        bridge.db[name].delete_many({})
    return World(bridge)


def put(
    world: World, job: str, body: Any, who: str = "alice", status: int = 200, **more: Any
) -> Any:
    answer = request(world.bridge, "PUT", f"/jobs/{job}/tags", who=who, json=body, params=more)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_mine_alone(world: World) -> None:
    job, other = world.add(wsid=7), world.add()
    said = put(world, job, {"star": True, "labels": [" paper  2", "bad reads", "paper 2"]})
    assert said == {"id": job, "star": True, "labels": ["paper 2", "bad reads"]}
    assert get(world.bridge, f"/jobs/{job}/tags") == said
    page = get(world.bridge, f"/jobs/{job}")
    assert page["tags"] == {"star": True, "labels": ["paper 2", "bad reads"]}
    rows = {row["id"]: row for row in world.page()["items"]}
    assert rows[job]["star"] and rows[job]["labels"] == ["paper 2", "bad reads"]
    assert "star" not in rows[other] and "labels" not in rows[other]
    # rob may read the job, and has noted nothing.
    assert get(world.bridge, f"/jobs/{job}", who="rob")["tags"] == {"star": False, "labels": []}
    assert "paper" not in world.get("/jobs", "rob", scope="readable", ws=7).text
    assert "paper" not in world.get("/jobs", "root", scope="all").text
    put(world, job, {"labels": ["mine"]}, who="rob")
    assert get(world.bridge, "/labels", who="rob") == {"labels": [{"label": "mine", "jobs": 1}]}
    put(world, other, {"labels": ["bad reads"]})
    assert get(world.bridge, "/labels")["labels"] == [
        {"label": "bad reads", "jobs": 2}, {"label": "paper 2", "jobs": 1},
    ]  # fmt: skip
    put(world, job, {})
    assert get(world.bridge, "/labels")["labels"] == [{"label": "bad reads", "jobs": 1}]


def test_found_by_star_and_label(world: World) -> None:
    parent = world.add(status="created", batch_job=True, app="batch")
    child = world.add(made=NOW_S - 900, batch_id=parent, role="submit")
    old = world.add(made=NOW_S - 99_000, wsid=7)
    old_attempt = world.add(made=NOW_S - 2000, superseded=True, status="error")
    for n in range(5):
        world.add(made=NOW_S - n)
    for job in (child, old, old_attempt):
        put(world, job, {"star": job != old, "labels": ["x.*"]})
    assert world.ids(star="true") == [child, old_attempt]
    assert world.ids(label="x.*") == [child, old_attempt, old]
    assert world.ids(label="x.*", status="completed", sort="finished") == [old, child]
    assert world.ids(label="x.*", star="true", status="error") == [old_attempt]
    assert world.ids(label="x") == world.ids(who="bob", star="true") == []
    assert world.page(star="true")["count"] == {"value": 2, "exact": True}
    first = world.page(label="x.*", limit=2)
    assert [r["id"] for r in world.page(label="x.*", limit=2, cursor=first["next"])["items"]] == [
        old
    ]
    # What has ended is found in readable workspaces, too, as long as they are readable.
    put(world, old, {"star": True}, who="rob")
    assert world.ids("rob", scope="readable", star="true") == [old]
    world.bridge.db.ee2_jobs.update_one({"_id": ObjectId(old)}, {"$set": {"wsid": 8_888}})
    assert world.ids("rob", scope="readable", star="true") == []
    assert "star must be" in world.page(expect=400, star="maybe")


def test_act_on_what_has_a_label(world: World) -> None:
    jobs = {
        name: world.add(status=status, made=NOW_S - 500, **more)
        for name, status, more in (
            ("failed", "error", {}), ("old", "error", {"superseded": True}),
            ("done", "completed", {}), ("plain", "error", {}),
        )
    }  # fmt: skip
    theirs = world.add("bob", status="error", wsid=8)
    for name in ("failed", "old", "done"):
        put(world, jobs[name], {"labels": ["again"]})
    put(world, theirs, {"labels": ["again"]}, who="bob")
    body = {"action": "retry", "filter": {"label": "again"}}
    seen = post(world.bridge, "/actions/preview", body)
    assert [one["id"] for one in seen["sample"]] == [jobs["failed"]] and seen["jobs"] == 1
    body["filter"] = {"scheduler": "1.0"}
    assert refused(world.bridge, "/actions/preview", method="POST", body=body)[0] == 400


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"labels": ["x" * 41]}, 400, "40 characters"),
        ({"labels": ["\u200b\n"]}, 400, "can be seen"),
        ({"labels": [" "]}, 400, "1 to 40"),
        ({"labels": [f"{n}" for n in range(21)]}, 400, "20"),
        ({"labels": "x"}, 400, "labels"),
        ({"star": "yes"}, 400, "star"),
        ({"starr": True}, 400, "starr"),
    ],
)
def test_bad_tags(world: World, body: Any, status: int, text: str) -> None:
    job = world.add()
    assert text in put(world, job, body, status=status)["error"]["message"]
    assert world.bridge.db.ee2_tags.count_documents({"job": ObjectId(job)}) == 0


def test_who_may_not_read_may_not_note(world: World) -> None:
    job, nowhere = world.add(), str(ObjectId())
    for method in ("GET", "PUT"):
        there = refused(world.bridge, f"/jobs/{job}/tags", who="bob", method=method)
        gone = refused(world.bridge, f"/jobs/{nowhere}/tags", who="bob", method=method)
        assert there[0] == gone[0] == 404
        assert there[1].replace(job, "ID") == gone[1].replace(nowhere, "ID")
    put(world, job, {"star": True}, who="eva", as_admin=1)
    assert world.ids("eva", scope="all", star="true") == [job]


def test_so_many_jobs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ee2_jobs.tags.MAX_JOBS", 2)
    jobs = [world.add(made=NOW_S - n) for n in range(3)]
    for job in jobs[:2]:
        put(world, job, {"star": True})
    assert "take them off" in put(world, jobs[2], {"star": True}, status=409)["error"]["message"]
    put(world, jobs[1], {"labels": ["it may change"]})
    put(world, jobs[0], {})
    put(world, jobs[2], {"star": True})


def test_what_differs_between_children(world: World) -> None:
    parent = world.add(status="created", batch_job=True, app="batch")

    def child(n: int, params: Any, **more: Any) -> str:
        made = world.add(made=NOW_S - 900 + n, batch_id=parent, role="submit", index=n, **more)
        field = {"job_input.params": params}
        world.bridge.db.ee2_jobs.update_one({"_id": ObjectId(made)}, {"$set": field})
        return made

    long = child(0, [{"in": {"reads": "a" * 500, "k": 31}, "all": "same"}])
    child(1, [{"in": {"reads": "sam\nple", "k": 31}, "all": "same"}])
    huge = child(2, [{"in": {"reads": "c"}, "blob": ["x" * 70_000]}])
    step = world.add(made=NOW_S - 950, batch_id=parent, role="split")
    rows = {row["id"]: row for row in world.page(batch=parent)["items"]}
    labels = {row.get("index"): row.get("label") for row in rows.values()}
    assert labels[1] == "reads=sam ple"
    assert rows[long]["label"].startswith("reads=aaaa") and len(rows[long]["label"]) <= 80
    assert "label" not in rows[huge] and rows[step]["role"] == "split"
    assert "label" not in rows[step] and "role" not in rows[long]
    assert "label" not in world.page()["items"][0]
    found = get(world.bridge, "/jobs/changes", since=world.page()["version"], batch=parent)
    assert found["items"] == []


def test_found_by_the_schedulers_id(world: World) -> None:
    parent = world.add(status="created", batch_job=True, app="batch")
    ids = [
        world.add(made=NOW_S - 900 + n, batch_id=parent, role="submit", scheduler_id=f"4711.{n}")
        for n in range(2)
    ]
    world.add(scheduler_id="47110.0")
    routed = world.add(
        user="bob", where={"batch_id": "99123"}, scheduler_id="12.0", time_limit_s=3600
    )
    assert world.ids("root", scope="all", scheduler="4711.1") == [ids[1]]
    assert world.ids("eva", scope="all", scheduler="4711") == [ids[1], ids[0]]
    assert world.ids("root", scope="all", scheduler="99123") == [routed]
    assert world.ids("root", scope="all", scheduler="4711|.*") == []
    [row] = world.page("root", scope="all", scheduler="99123")["items"]
    assert (row["scheduler_id"], row["limit_s"]) == ("12.0", 3600)
    assert "for administrators" in world.page(expect=400, scheduler="4711.1")
    looked = world.bridge.db.ee2_jobs.find({"$or": [
        {"scheduler_id": {"$in": ["4711", re.compile(r"^4711\.")]}}, {"where.batch_id": "4711"},
    ]}).explain()  # fmt: skip
    assert "COLLSCAN" not in str(looked["queryPlanner"]["winningPlan"])
    assert "scheduler_id" not in world.get("/jobs").text
