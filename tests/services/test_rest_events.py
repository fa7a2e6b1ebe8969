"""Changes of lists over REST: since a version, and as they happen."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import pytest
import uvicorn
from bson import ObjectId
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import StreamingResponse

from api_bridge.rest import changes
from ee2_jobs.browse import since
from ee2_jobs.feed import parse_version
from ee2_operators.api_workers import STREAM_END, DrainingProtocol
from tests.services.conftest import free_port
from tests.services.lists_support import World
from tests.services.rpc_support import Bridge
from tests.services.test_rest import message


@pytest.fixture(scope="module")
def served(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    bridge = Bridge(mongo_uri, tmp_path_factory.mktemp("artifacts"), free_port())
    bridge.start()
    yield World(bridge)
    bridge.stop()


@pytest.fixture
def world(served: World) -> World:
    served.bridge.db.ee2_jobs.delete_many({})
    return served


def wait_for(world: World, version: str, who: str = "alice", **words: Any) -> Any:
    """The changes since a version, once there are any."""
    deadline = time.monotonic() + 60
    while True:
        found = world.get("/jobs/changes", who, since=version, **words).json()
        if found["items"] or found["gone"] or found["reset"]:
            return found
        assert time.monotonic() < deadline, "no change was told"
        time.sleep(0.05)


def set_status(world: World, job_id: str, status: str, **more: Any) -> None:
    world.bridge.db.ee2_jobs.update_one(
        {"_id": ObjectId(job_id)}, {"$set": {"status": status, **more}}
    )


def settled(world: World) -> str:
    """A version that has all that was written before."""
    mark = world.add("alice")
    start = time.monotonic()
    while time.monotonic() - start < 60:
        page = world.page()
        number = world.get("/jobs/changes", since=page["version"]).json()
        if mark in [r["id"] for r in page["items"]] and not number["items"]:
            time.sleep(0.3)
            return str(world.page()["version"])
    raise AssertionError("the feed does not come to rest")


def test_changes_since(world: World) -> None:
    job = world.add(status="queued")
    world.add("bob", "queued")
    version = settled(world)
    quiet = world.get("/jobs/changes", since=version).json()
    assert (quiet["items"], quiet["gone"], quiet["reset"]) == ([], [], False)
    set_status(world, job, "running", running=time.time())
    found = wait_for(world, version)
    assert [(r["id"], r["status"]) for r in found["items"]] == [(job, "running")]
    assert parse_version(found["version"]) > parse_version(version)
    live = world.get("/jobs/changes", since=version, status="queued").json()
    assert live["items"] == [] and job in live["gone"], "the filter does not have it any more"
    again = world.get("/jobs/changes", since=found["version"]).json()
    assert again["items"] == [] and again["gone"] == []
    assert world.get("/jobs/changes", since="1:1").json()["reset"]
    for wrong in ({"since": "x"}, {}, {"since": version, "status": "odd"}):
        message(world.get("/jobs/changes", **wrong), 400)


def test_changes_tell_nobody_of_others_jobs(world: World) -> None:
    shared = world.add("alice", "queued", wsid=7)
    private = world.add("alice", "queued")
    version = settled(world)
    set_status(world, private, "running")
    set_status(world, shared, "running")
    assert [r["id"] for r in wait_for(world, version, "rob", scope="readable")["items"]] == [shared]
    for who in ("rob", "bob"):
        mine = world.get("/jobs/changes", who, since=version).json()
        assert (mine["items"], mine["gone"]) == ([], [])
    stranger = world.get("/jobs/changes", "bob", since=version, scope="readable").json()
    assert (stranger["items"], stranger["gone"], stranger["reset"]) == ([], [], False)
    message(world.get("/jobs/changes", "bob", since=version, scope="all"), 403)
    set_status(world, shared, "completed", finished=time.time())
    set_status(world, private, "completed", finished=time.time())
    deadline = time.monotonic() + 60
    while True:
        found = world.get("/jobs/changes", "rob", since=version, scope="readable").json()
        if found["gone"]:
            break
        assert time.monotonic() < deadline
    assert found["gone"] == [shared] and found["items"] == []


def test_too_many_changes_are_a_reset(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_CHANGED", 2)
    version = settled(world)
    for _ in range(3):
        world.add(status="queued")
    deadline = time.monotonic() + 60
    while not world.get("/jobs/changes", since=version).json()["reset"]:
        assert time.monotonic() < deadline


class Listener:
    """A client of /jobs/events in a thread."""

    def __init__(
        self, world: World, who: str, headers: dict[str, str], begins: str = "ready", **words: Any
    ) -> None:
        self.events: list[tuple[str, Any, float]] = []
        self.comments: list[str] = []
        self.ended = threading.Event()
        self._client = httpx.Client(trust_env=False, timeout=30)
        url = f"{world.bridge.url}/api/v1/jobs/events"
        token = {"Authorization": world.bridge.token(who) or ""}
        request = self._client.build_request(
            "GET", url, params=words, headers={**token, **headers}
        )
        self.answer = self._client.send(request, stream=True)
        if self.answer.status_code == 200:
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()
            self.wait(begins)

    def _read(self) -> None:
        name = ""
        try:
            for line in self.answer.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    data = json.loads(line.removeprefix("data: "))
                    self.events.append((name, data, time.monotonic()))
                elif line.startswith(":"):
                    self.comments.append(line)
        except httpx.HTTPError:
            pass
        finally:
            self.ended.set()

    def wait(self, name: str, count: int = 1, within_s: float = 10) -> list[Any]:
        """The data of the events of that name, once there are so many."""
        deadline = time.monotonic() + within_s
        while True:
            found = [data for n, data, _ in self.events if n == name]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{name}: {self.events}"
            time.sleep(0.01)

    def close(self) -> None:
        stream = self.answer.extensions["network_stream"]
        with suppress(OSError):
            # Closing alone does nothing while the thread reads.
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self.answer.close()
        self._client.close()


@contextmanager
def listening(world: World, who: str = "alice", **words: Any) -> Iterator[Listener]:
    headers = words.pop("headers", {})
    listener = Listener(world, who, headers, **words)
    try:
        yield listener
    finally:
        listener.close()


def test_events(world: World) -> None:
    job = world.add(status="queued")
    settled(world)
    with listening(world, status="live") as alice, listening(world, "bob") as bob:
        assert alice.answer.headers["content-type"].startswith("text/event-stream")
        began = time.monotonic()
        set_status(world, job, "running", running=time.time())
        changed = alice.wait("change")[0]
        assert [(r["id"], r["status"]) for r in changed["items"]] == [(job, "running")]
        assert alice.events[-1][2] - began < 3  # how soon is measured by bench/feed.py
        # Many within a moment are told together.
        for n in range(20):
            set_status(world, job, "running", usage={"n": n}, time_limit_s=n + 1)
        set_status(world, job, "completed", finished=time.time())
        deadline = time.monotonic() + 60
        while not any(job in data.get("gone", ()) for _, data, _ in alice.events):
            assert time.monotonic() < deadline, alice.events
            time.sleep(0.02)
        assert len(alice.events) <= 3 + (time.monotonic() - began) / changes.PAUSE_S
        assert [name for name, _, _ in bob.events] == ["ready"], "nothing of others' jobs"
    # Where one was lost: by the id of the last event.
    with listening(world, headers={"Last-Event-ID": changed["version"]}) as again:
        assert [r["status"] for r in again.wait("change")[0]["items"]] == ["completed"]
    with listening(world, headers={"Last-Event-ID": "1:1"}) as late:
        assert late.wait("reset")


def test_equal_lists_share_what_is_read_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.add("alice", "queued")
    settled(world)
    read: list[tuple[str, str, int]] = []
    reading = since._read

    async def noted(listing: Any, news: Any) -> Any:
        read.extend((listing.scope, listing.caller.user, c.number) for c in news)
        return await reading(listing, news)

    monkeypatch.setattr(since, "_read", noted)
    with ExitStack() as opened:
        every = [opened.enter_context(listening(world, "root", scope="all")) for _ in range(3)]
        eva = opened.enter_context(listening(world, "eva", scope="all"))
        failed = opened.enter_context(listening(world, "eva", scope="all", status="error"))
        alice = opened.enter_context(listening(world, "alice"))
        bob = opened.enter_context(listening(world, "bob"))
        set_status(world, job, "running", running=time.time())
        [row] = every[0].wait("change")[0]["items"]
        assert (row["id"], row["status"], row["can_cancel"]) == (job, "running", True)
        for other in every[1:]:
            assert other.wait("change")[0]["items"] == [row]
        [row] = eva.wait("change")[0]["items"]
        assert row["status"] == "running" and "can_cancel" not in row, "who only reads"
        assert alice.wait("change")[0]["items"][0]["can_cancel"]
        assert failed.wait("change")[0] | {"as_of": 0, "version": ""} == {
            "reset": False, "items": [], "gone": [job], "as_of": 0, "version": "",
        }  # fmt: skip
        for other in every:
            set_status(world, job, "running", time_limit_s=60 + len(other.events))
        set_status(world, job, "completed", finished=time.time())
        for listener in (*every, eva, alice):
            deadline = time.monotonic() + 60
            while listener.events[-1][1]["items"][0]["status"] != "completed":
                assert time.monotonic() < deadline
                time.sleep(0.02)
        assert [name for name, _, _ in bob.events] == ["ready"]
    shared = [one for one in read if one[0] == "all"]
    numbers = {number for _, _, number in shared}
    assert len(shared) <= 2 * len(numbers), "once for all jobs, once for those that failed"
    assert {user for scope, user, _ in read if scope == "mine"} == {"alice"}


def test_a_right_taken_back_ends_what_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "BEAT_S", 0.2)
    monkeypatch.setattr(changes, "RIGHTS_S", 0.2)
    job = world.add("alice", "queued", wsid=7)
    settled(world)
    acl = world.bridge.db.ee2_workspaces
    with listening(world, "rob", scope="readable") as rob:
        acl.update_one({"_id": 7}, {"$set": {"acl.rob": "n"}})
        try:
            rob.wait("reset")
            set_status(world, job, "running")
            time.sleep(0.6)
            assert "change" not in [name for name, _, _ in rob.events] and rob.comments
        finally:
            acl.update_one({"_id": 7}, {"$set": {"acl.rob": "r"}})


def test_a_token_taken_back_ends_the_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "BEAT_S", 0.2)
    with listening(world, "wendy") as wendy:
        identity = world.bridge._ports.identity  # type: ignore[union-attr]
        monkeypatch.setattr(identity, "_cache", {})
        held = list(world.bridge.db.ee2_tokens.find({"user": "wendy"}))
        world.bridge.db.ee2_tokens.delete_many({"user": "wendy"})
        try:
            assert wendy.wait("end")[0]["status"] == 401
            assert wendy.ended.wait(5)
        finally:
            world.bridge.db.ee2_tokens.insert_many(held)
            monkeypatch.setattr(identity, "_cache", {})


def test_a_role_taken_back_ends_the_stream_of_all_jobs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "BEAT_S", 0.2)
    users = world.bridge.db.ee2_users
    before = users.find_one({"_id": "root"})
    assert before is not None
    with listening(world, "root", scope="all") as root:
        identity = world.bridge._ports.identity  # type: ignore[union-attr]
        users.update_one({"_id": "root"}, {"$set": {"roles": []}})
        monkeypatch.setattr(identity, "_cache", {})
        try:
            assert root.wait("end")[0]["status"] == 403
            assert root.ended.wait(5)
        finally:
            users.replace_one({"_id": "root"}, before)
            monkeypatch.setattr(identity, "_cache", {})


def test_not_too_many_streams(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_STREAMS", 1)
    with listening(world), listening(world, "bob"):
        refused = world.get("/jobs/events")
        assert "streams of alice are open" in message(refused, 429)
        assert refused.headers["retry-after"] == "30"
    deadline = time.monotonic() + 60
    while True:
        with listening(world) as again:
            if again.answer.status_code == 200:
                break
        assert time.monotonic() < deadline
    head = world.bridge.http.head(
        f"{world.bridge.url}/api/v1/jobs/events",
        headers={"Authorization": world.bridge.token("bob") or ""},
    )
    assert head.status_code == 200
    assert "scope must be" in message(world.get("/jobs/events", "root", scope="x"), 400)


def test_streams_opened_at_the_same_moment_are_not_too_many_either(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who found room when asking and finds none when the stream begins is told so."""
    require_room, asked = changes.Streams.require_room, []

    def room_at_first(self: changes.Streams, user: str) -> None:
        asked.append(user)
        if len(asked) % 2 == 0:
            require_room(self, user)

    monkeypatch.setattr(changes, "MAX_STREAMS", 1)
    monkeypatch.setattr(changes.Streams, "require_room", room_at_first)
    with listening(world):
        second = Listener(world, "alice", {}, begins="end")
        assert second.wait("end")[0]["status"] == 429
        assert second.ended.wait(5)
        second.close()


def test_a_worker_that_ends_ends_its_streams(world: World) -> None:
    """As the launcher's workers do it: see `DrainingProtocol`."""
    assert STREAM_END == changes.STREAM_END
    app = FastAPI()

    @app.get("/endless")
    async def endless(request: Request) -> StreamingResponse:
        end = request.scope["state"][STREAM_END] = asyncio.Event()

        async def told() -> AsyncIterator[bytes]:
            yield b"begun\n"
            await end.wait()
            yield b"ended\n"

        return StreamingResponse(told())

    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, http=DrainingProtocol, log_level="warning")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    with httpx.stream("GET", f"http://127.0.0.1:{port}/endless", trust_env=False) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "begun"
        server.should_exit = True
        assert next(lines) == "ended"
    thread.join(5)
    assert not thread.is_alive()
