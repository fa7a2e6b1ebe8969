"""Pausing the engine and draining groups: who may, what is kept, what is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from pymongo import MongoClient

from ee2_jobs import controls
from ee2_jobs.errors import Denied, InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.store import Store
from tests.services.engines import open_engine
from tests.services.rest_support import get, post, refused
from tests.services.rpc_support import Bridge

ROOT, RUTH = Caller("root", frozenset({"admin"})), Caller("ruth", frozenset({"admin"}))
OFF: dict[str, object] = {"paused": None, "drained": {}}


@pytest.fixture(autouse=True)
def _all_off(bridge: Bridge) -> Iterator[None]:
    yield
    bridge.db.ee2_controls.delete_many({})


def test_on_and_off_again(bridge: Bridge) -> None:
    assert get(bridge, "/controls", who="bob") == OFF
    paused = post(bridge, "/controls/pause", {"reason": "new disks"}, who="root")["paused"]
    assert (paused["by"], paused["reason"]) == ("root", "new disks")
    drained = post(bridge, "/controls/drain", {"group": "bigmem"}, who="root")["drained"]
    assert list(drained) == ["bigmem"] and drained["bigmem"]["reason"] is None
    assert get(bridge, "/controls")["paused"] == paused, "everybody sees why jobs wait"
    again = post(bridge, "/controls/pause", {"reason": "other"}, who="root")
    assert again["paused"] == paused, "who did it first stays"
    post(bridge, "/controls/resume", {"reason": "done"}, who="root")
    assert post(bridge, "/controls/undrain", {"group": "bigmem"}, who="root") == OFF
    assert post(bridge, "/controls/undrain", {"group": "bigmem"}, who="root") == OFF
    entries = [
        (one["what"], one["target"], one["reason"], one["outcome"])
        for one in bridge.db.ee2_audit.find({"who": "root"}).sort("at", 1)
        if one["what"] in ("pause", "resume", "drain", "undrain")
    ]
    assert entries == [
        ("pause", [], "new disks", "done"),
        ("drain", ["bigmem"], None, "done"),
        ("resume", [], "done", "done"),
        ("undrain", ["bigmem"], None, "done"),
    ], "what changed nothing is not there"


@pytest.mark.parametrize("who", ["alice", "eva"])
@pytest.mark.parametrize("path", ["pause", "resume", "drain", "undrain"])
def test_for_full_administrators(bridge: Bridge, who: str, path: str) -> None:
    group = {"group": "nowhere"} if "drain" in path else {}
    assert refused(bridge, f"/controls/{path}", who=who, method="POST", body=group)[0] == 403
    assert get(bridge, "/controls") == OFF


def test_bad_input(bridge: Bridge) -> None:
    for path in ("drain", "undrain"):
        said = refused(bridge, f"/controls/{path}", who="root", method="POST",
                       body={"group": "bigm"})  # fmt: skip
        assert said == (400, "There is no client group 'bigm': the groups are njs, bigmem")
    for body in ({"reason": 5}, {"reason": "x" * 1001}, {"why": "x"}):
        assert refused(bridge, "/controls/pause", who="root", method="POST", body=body)[0] == 400
    assert refused(bridge, "/controls/drain", who="root", method="POST")[0] == 400
    assert get(bridge, "/controls") == OFF
    # A group that was drained and then taken out of the file can be undrained.
    bridge.db.ee2_controls.insert_one({"_id": "drained:gone", "by": "root", "at": 1.0})
    assert list(get(bridge, "/controls")["drained"]) == ["gone"]
    assert post(bridge, "/controls/undrain", {"group": "gone"}, who="root") == OFF


async def test_two_at_once(mongo_uri: str) -> None:
    engine = await open_engine(mongo_uri)
    store: Store = engine.store
    try:
        both = await asyncio.gather(
            controls.pause(engine, ROOT, "a"), controls.pause(engine, RUTH, "b")
        )
        assert both[0].paused == both[1].paused and both[0].paused is not None
        assert (both[0].paused.by, both[0].paused.reason) in (("root", "a"), ("ruth", "b"))
        with pytest.raises(InvalidInput):
            await controls.drain(engine, ROOT, None)  # type: ignore[arg-type]
        with pytest.raises(Denied):
            await controls.resume(engine, Caller("root", frozenset({"admin"}), job="x" * 24))
        await controls.resume(engine, ROOT)
        assert not (await controls.controls(store)).any
    finally:
        MongoClient[dict[str, object]](mongo_uri).drop_database(store.db.name)
        await store.close()
