"""The REST API: "notify me" for one job or batch, and messages in the page."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs.notices.collect import collect
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from tests.services.lists_support import World
from tests.services.rest_support import get, post, refused, request
from tests.services.rpc_support import Bridge

SETTINGS = {
    "rpc_url": "http://x/services/ee2", "secret_key": "s" * 32, "stage_dir": "/x", "apps_dir": "/x",
    "artifacts_url": "/x", "client_groups": "/x", "runner": "/x",
}  # fmt: skip


@pytest.fixture
def world(bridge: Bridge) -> World:
    for name in ("ee2_jobs", "ee2_watches", "ee2_notices", "ee2_notice_settings"):
        bridge.db[name].delete_many({})
    return World(bridge)


@pytest.fixture
async def store(mongo_uri: str, world: World) -> AsyncIterator[Store]:
    store = Store(mongo_uri, world.bridge.db.name)
    assert await collect(store, settings()) == 0
    yield store
    await store.close()


def settings(**more: Any) -> Settings:
    return Settings.model_validate({**SETTINGS, **more})


def notify(
    world: World, job: str, *on: str, who: str = "alice", status: int = 200, method: str = "PUT",
    **more: Any,
) -> Any:
    answer = request(
        world.bridge, method, f"/jobs/{job}/notify", who=who, json={"on": on}, params=more
    )
    assert answer.status_code == status, answer.text
    return answer.json()


def end(world: World, job: str, status: str = "completed", **more: Any) -> None:
    fields = {"status": status, "finished": time.time(), **more}
    world.bridge.db.ee2_jobs.update_one({"_id": ObjectId(job)}, {"$set": fields})


async def test_told_once_it_has_ended(world: World, store: Store) -> None:
    job, other = world.add(status="running", wsid=7), world.add(status="running", wsid=7)
    assert notify(world, job, "end", "end") == {"id": job, "on": ["end"], "channels": ["page"]}
    notify(world, job, "failure", who="rob")
    notify(world, other, "failure")
    assert await collect(store, settings()) == 0
    assert get(world.bridge, "/notices")["unread"] == {"value": 0, "exact": True}
    end(world, job)
    end(world, other, "error", errormsg="no <reads>\nmore")
    assert await collect(store, settings(), dry_run=True) == 2
    assert await collect(store, settings()) == 2
    assert await collect(store, settings()) == 0
    page = get(world.bridge, "/notices")
    told = {n["job_id"]: n for n in page["items"]}
    assert page["unread"] == {"value": 2, "exact": True}
    assert told[job]["event"] == "end" and "has completed" in told[job]["subject"]
    assert told[other]["event"] == "failure" and "no <reads>" in told[other]["lines"][1]
    # rob wanted to hear of a failure only, and nobody hears of another's messages.
    assert get(world.bridge, "/notices", who="rob")["items"] == []
    assert get(world.bridge, "/notices", since=page["items"][0]["at"])["items"] == []
    assert world.bridge.db.ee2_watches.count_documents({}) == 0
    assert "has ended" in notify(world, job, "end", status=409)["error"]["message"]


async def test_read_and_unread(world: World, store: Store) -> None:
    for n in range(3):
        job = world.add(status="running", made=time.time() - 50 + n)
        notify(world, job, "end")
        end(world, job)
        await collect(store, settings())
    first, second, third = get(world.bridge, "/notices")["items"]
    assert first["at"] >= second["at"] >= third["at"]
    left = post(world.bridge, "/notices/read", {"ids": [first["id"]]})
    assert left["unread"]["value"] == 2 and [n["read"] for n in left["items"]] == [
        True, False, False
    ]  # fmt: skip
    assert post(world.bridge, "/notices/read", {"ids": [third["id"]]}, who="bob")["items"] == []
    assert post(world.bridge, "/notices/read", {"until": second["at"]})["unread"]["value"] == 0
    for body in ({}, {"ids": [], "until": 1}, {"ids": "x"}, {"all": True}):
        assert refused(world.bridge, "/notices/read", method="POST", body=body)[0] == 400
    assert len(get(world.bridge, "/notices", limit=1)["items"]) == 1


async def test_a_batch_and_channels(world: World, store: Store) -> None:
    parent = world.add(status="created", batch_job=True, app="batch", submission="s1")
    child = world.add(status="running", batch_id=parent, role="submit", submission="s1")
    notify(world, parent, "end")
    world.bridge.db.ee2_notice_settings.insert_one(
        {"_id": "alice", "events": {"end": ["email"]}, "email": "a@x.org", "webhook": "/h",
         "confirmed": {"email": "a@x.org"}}
    )  # fmt: skip
    with_mail = settings(notice_channels="email")
    assert await collect(store, with_mail) == 0
    end(world, child, "error", errormsg="no reads")
    assert await collect(store, with_mail) == 2
    states = {n["channel"]: n["state"] for n in world.bridge.db.ee2_notices.find()}
    assert states == {"page": "sent", "email": "due"}
    [notice] = get(world.bridge, "/notices")["items"]
    assert notice["event"] == "batch_done" and notice["batch_id"] == parent
    assert "1 of 1 jobs failed" in notice["subject"]
    post(world.bridge, "/notices/read", {"ids": [notice["id"]]})
    assert get(world.bridge, "/notices")["unread"]["value"] == 0


async def test_what_the_settings_ask_for_anyway_comes_once(world: World, store: Store) -> None:
    submission = str(ObjectId())
    job = world.add(status="running", submission=submission, index=0)
    notify(world, job, "end")
    world.bridge.db.ee2_notice_settings.insert_one(
        {"_id": "alice", "events": {"end": ["page"]}, "quiet_s": 0.0}
    )
    world.bridge.db.ee2_submissions.insert_one(
        {"_id": submission, "user": "alice", "status": "ended", "ended": time.time(),
         "tries": {"submit": {"1": {}}}}
    )  # fmt: skip
    end(world, job)
    assert await collect(store, settings()) == 1
    assert len(get(world.bridge, "/notices")["items"]) == 1


async def test_who_may_no_longer_read_it_is_told_nothing(world: World, store: Store) -> None:
    job = world.add(status="running", wsid=7, app="secret/app")
    for who in ("rob", "alice"):
        notify(world, job, "end", who=who)
    notify(world, job, "end", who="eva", as_admin=1)
    end(world, job)
    # KBase's Workspace tells rights to the user alone: nothing about the job is told then.
    kbase = settings(workspace_url="https://x")
    assert await collect(store, kbase, dry_run=True) == 3
    world.bridge.db.ee2_jobs.update_one({"_id": ObjectId(job)}, {"$set": {"wsid": 8_888}})
    assert await collect(store, settings()) == 2
    assert get(world.bridge, "/notices", who="rob")["items"] == []
    [bare] = get(world.bridge, "/notices", who="eva")["items"]
    assert bare["event"] == "watched" and "secret" not in str(bare) and "alice" not in str(bare)
    assert "secret" in str(get(world.bridge, "/notices"))


async def test_long_waits_and_runs(world: World, store: Store) -> None:
    waits = world.add(status="queued", queued=time.time() - 5 * 3600)
    runs = world.add(status="running", made=time.time() - 90_000)
    for job in (waits, runs):
        notify(world, job, "long_wait", "long_run")
    assert await collect(store, settings()) == 2
    assert await collect(store, settings()) == 0
    events = {n["job_id"]: n["event"] for n in get(world.bridge, "/notices")["items"]}
    assert events == {waits: "long_wait", runs: "long_run"}
    assert world.bridge.db.ee2_watches.count_documents({}) == 2


def test_rights_and_bad_input(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job, nowhere = world.add(status="running"), str(ObjectId())
    for method in ("GET", "PUT", "DELETE"):
        body = {"on": ["end"]}
        there = refused(world.bridge, f"/jobs/{job}/notify", who="bob", method=method, body=body)
        gone = refused(
            world.bridge, f"/jobs/{nowhere}/notify", who="bob", method=method, body=body
        )
        assert there[0] == gone[0] == 404
        assert there[1].replace(job, "ID") == gone[1].replace(nowhere, "ID")
    for on in ((), ("batch_done",), ("end",) * 5):
        notify(world, job, *on, status=400)
    monkeypatch.setattr("ee2_jobs.notices.watches.MAX_WATCHES", 1)
    notify(world, job, "end")
    notify(world, job, "failure")
    assert "You watch 1" in notify(world, world.add(status="queued"), "end", status=409)[
        "error"
    ]["message"]  # fmt: skip
    assert notify(world, job, method="DELETE")["on"] == []
    assert notify(world, job, method="GET")["on"] == []
