"""How KBase's services are called: retries, circuit breaker, caches, and what a call may cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs import checks, submit
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, NotAuthenticated, Unavailable
from ee2_jobs.identity import Caller
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from ee2_jobs.workspaces import NewObject
from kbase_services.auth import Auth2Identity
from kbase_services.cache import Cache
from kbase_services.http import Patience, Service, ServiceError
from kbase_services.ports import open_ports
from kbase_services.workspace import KBaseWorkspaces
from tests.fakes.kbase_auth import FakeAuth
from tests.fakes.kbase_workspace import ADMIN_TOKEN, FakeSpace, FakeWorkspace
from tests.services.engines import close_engine, open_engine
from tests.services.kbase_support import QUICK, SECRET, Clock

PERMISSIONS = "Workspace.get_permissions_mass"
ASK = {"workspaces": [{"id": 7}]}
SAVE = {"command": "saveObjects", "user": "alice", "params": {"id": 7, "objects": []}}


@pytest.fixture
def workspace() -> Iterator[FakeWorkspace]:
    fake = FakeWorkspace({"t": "alice"})
    fake.spaces[7] = FakeSpace({"alice": "a"})
    yield fake
    fake.stop()


@pytest.fixture
def auth() -> Iterator[FakeAuth]:
    fake = FakeAuth()
    yield fake
    fake.stop()


@asynccontextmanager
async def calling(url: str, patience: Patience = QUICK, **more: Any) -> AsyncIterator[Service]:
    service = Service("Workspace", url, patience, **more)
    yield service
    await service.aclose()


# Retries


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_question_is_repeated(workspace: FakeWorkspace, status: int) -> None:
    async with calling(workspace.url) as service:
        workspace.fail, workspace.fail_status = 2, status
        answer = await service.call(PERMISSIONS, ASK, token="t")
        assert answer == {"perms": [{"alice": "a"}]}
        assert workspace.calls == {"failed": 2, PERMISSIONS: 1}


async def test_what_changes_something_is_never_sent_twice(workspace: FakeWorkspace) -> None:
    async with calling(workspace.url) as service:
        workspace.fail = 1
        with pytest.raises(Unavailable):
            await service.call("Workspace.administer", SAVE, token="t", read=False)
        assert workspace.calls == {"failed": 1}
        # Nothing listens, so nothing has arrived: that may be tried again.
        workspace.stop()
        pauses: list[float] = []

        async def pause(seconds: float) -> None:
            pauses.append(seconds)

        async with calling(workspace.url, sleep=pause) as other:
            with pytest.raises(Unavailable):
                await other.call("Workspace.administer", SAVE, token="t", read=False)
        assert len(pauses) == 2


async def test_an_error_answer_is_an_answer(workspace: FakeWorkspace) -> None:
    async with calling(workspace.url) as service:
        for _ in range(5):
            with pytest.raises(ServiceError, match="KBase's Workspace service: No workspace") as e:
                await service.call(PERMISSIONS, {"workspaces": [{"id": 1}]}, token="t")
            assert e.value.code == -32500 and "traceback" not in str(e.value)
        assert workspace.calls == {PERMISSIONS: 5}


async def test_a_slow_service_is_waited_for_once(workspace: FakeWorkspace) -> None:
    workspace.slow_s = 1
    async with calling(workspace.url, replace(QUICK, read_s=0.1)) as service:
        with pytest.raises(Unavailable, match="Workspace"):
            await service.call(PERMISSIONS, ASK, token="t")
        assert workspace.received == 1


async def test_saving_may_take_longer_than_asking(workspace: FakeWorkspace) -> None:
    workspace.slow_s = 0.3
    async with calling(workspace.url, replace(QUICK, read_s=0.1)) as service:
        port = KBaseWorkspaces(service, admin_token=ADMIN_TOKEN)
        new = NewObject("one", "M.T", {})
        assert await port.save_object("alice", 7, new) == "7/1/1"
        with pytest.raises(Unavailable):
            await port.permissions(ALICE, [7])


async def test_another_servers_page_is_no_answer(workspace: FakeWorkspace) -> None:
    workspace.html = True
    async with calling(workspace.url) as service:
        with pytest.raises(Unavailable, match="Workspace service gives answers that cannot be"):
            await service.call(PERMISSIONS, ASK, token="t")


async def test_pauses_grow_and_are_random_within_their_bounds() -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    patience = Patience(attempts=6, wait_s=0.1, wait_max_s=0.5, failures=10_000)
    async with calling("http://127.0.0.1:9", patience, sleep=pause) as service:
        for _ in range(40):
            with pytest.raises(Unavailable):
                await service.call(PERMISSIONS, ASK)
    assert len(pauses) == 200
    for n, bound in enumerate((0.1, 0.2, 0.4, 0.5, 0.5)):
        at = pauses[n::5]
        assert all(0 <= pause <= bound for pause in at)
        assert max(at) > 0.7 * bound and min(at) < 0.3 * bound


# The circuit breaker


async def test_a_dead_service_costs_milliseconds(workspace: FakeWorkspace) -> None:
    workspace.stop()
    clock = Clock()
    async with calling(workspace.url, Patience(), clock=clock) as service:
        with pytest.raises(Unavailable) as e:
            await service.call(PERMISSIONS, ASK, token="secret-token")
        assert str(e.value) == (
            "KBase's Workspace service does not answer at the moment. "
            "Please try again in a few seconds."
        )
        spent = []
        for _ in range(200):
            started = time.perf_counter()
            with pytest.raises(Unavailable):
                await service.call(PERMISSIONS, ASK, token="t")
            spent.append(time.perf_counter() - started)
        assert sorted(spent)[150] < 0.01, "three of four calls took longer than 10 ms"
        # Alive again: found out by the one probe after the rest.
        workspace.start()
        with pytest.raises(Unavailable):
            await service.call(PERMISSIONS, ASK, token="t")
        clock.forward(6)
        await service.call(PERMISSIONS, ASK, token="t")
        assert workspace.calls == {PERMISSIONS: 1}


async def test_one_probe_at_a_time(workspace: FakeWorkspace) -> None:
    clock = Clock()
    async with calling(workspace.url, clock=clock) as service:

        async def ask() -> Any:
            return await service.call(PERMISSIONS, ASK, token="t")

        workspace.fail = 3
        with pytest.raises(Unavailable):
            await ask()
        # The probe fails: one request more, and a rest again.
        clock.forward(6)
        workspace.fail = 1000
        done = await asyncio.gather(*(ask() for _ in range(50)), return_exceptions=True)
        assert all(isinstance(e, Unavailable) for e in done)
        assert workspace.calls["failed"] == 4
        # While a slow probe is under way, the others are refused at once.
        clock.forward(6)
        workspace.fail, workspace.slow_s = 0, 0.1
        done = await asyncio.gather(*(ask() for _ in range(50)), return_exceptions=True)
        assert sum(isinstance(e, Unavailable) for e in done) == 49
        assert workspace.calls[PERMISSIONS] == 1
        # And then all go through.
        assert len(await asyncio.gather(*(ask() for _ in range(20)))) == 20


async def test_a_cancelled_probe_is_followed_by_another(workspace: FakeWorkspace) -> None:
    clock = Clock()
    async with calling(workspace.url, clock=clock) as service:
        workspace.fail = 3
        with pytest.raises(Unavailable):
            await service.call(PERMISSIONS, ASK, token="t")
        clock.forward(6)
        workspace.slow_s = 0.5
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(service.call(PERMISSIONS, ASK, token="t"), 0.1)
        workspace.slow_s = 0
        assert await service.call(PERMISSIONS, ASK, token="t")


# Caches


async def test_the_same_question_goes_out_once() -> None:
    clock = Clock()
    asked: list[str] = []
    cache: Cache[str, str] = Cache(lambda v: 30 if v != "no" else 5, clock=clock)

    async def answer(key: str, value: str) -> str:
        asked.append(key)
        await asyncio.sleep(0.01)
        return value

    async def ask(key: str, value: str = "yes") -> str:
        return await cache.get(key, lambda: answer(key, value))

    assert set(await asyncio.gather(*(ask("a") for _ in range(100)))) == {"yes"}
    assert asked == ["a"]
    # Who gives up takes nothing from the others.
    first = asyncio.create_task(ask("b"))
    await asyncio.sleep(0)
    others = asyncio.gather(*(ask("b") for _ in range(5)))
    await asyncio.sleep(0)
    first.cancel()
    assert await others == ["yes"] * 5
    assert asked == ["a", "b"]
    # A "no" is kept for a shorter time.
    assert await ask("c", "no") == "no"
    clock.forward(4)
    assert await ask("c") == "no"
    clock.forward(2)
    assert await ask("c") == "yes"
    assert await ask("a") == "yes" and asked == ["a", "b", "c", "c"]
    clock.forward(30)
    await ask("a")
    assert asked[4:] == ["a"]


async def test_what_could_not_be_answered_is_asked_again() -> None:
    cache: Cache[int, str] = Cache(lambda _: 30)
    asked: list[list[int]] = []

    async def fail(keys: list[int]) -> dict[int, str]:
        asked.append(keys)
        await asyncio.sleep(0)
        raise Unavailable("away")

    async def answer(keys: list[int]) -> dict[int, str]:
        asked.append(keys)
        await asyncio.sleep(0.01)
        return {key: str(key) for key in keys}

    failed = await asyncio.gather(
        cache.get_many([1, 2], fail), cache.get_many([2], fail), return_exceptions=True
    )
    assert all(isinstance(e, Unavailable) for e in failed) and asked == [[1, 2]]
    found = await asyncio.gather(
        cache.get_many([1, 2, 2], answer), cache.get_many([2, 3], answer)
    )
    assert found == [{1: "1", 2: "2"}, {2: "2", 3: "3"}]
    assert asked[1:] == [[1, 2], [3]]


async def test_a_crowd_with_one_token_asks_auth2_once(auth: FakeAuth, mongo_uri: str) -> None:
    store = Store(mongo_uri, f"test_{ObjectId()}")
    clock = Clock()
    async with calling(auth.url) as service:
        identity = Auth2Identity(
            service, store, SECRET, admin_role="A", admin_read_role="R", clock=clock
        )
        token = auth.add_user("alice")
        found = await asyncio.gather(*(identity.caller(token) for _ in range(200)))
        assert {c.user for c in found} == {"alice"} and auth.total == 1
        for _ in range(3):
            with pytest.raises(NotAuthenticated):
                await identity.caller("bad")
        assert auth.total == 2
        clock.forward(44)
        await identity.caller(token)
        assert auth.total == 2
        clock.forward(2)
        del auth.tokens[token]
        with pytest.raises(NotAuthenticated):
            await identity.caller(token)
    await store.close()


# What a use case costs


@pytest.fixture
async def engine(mongo_uri: str, workspace: FakeWorkspace) -> AsyncIterator[Engine]:
    local = await open_engine(mongo_uri)
    async with calling(workspace.url) as service:
        yield replace(local, workspaces=KBaseWorkspaces(service))
    await close_engine(local, mongo_uri)


ALICE = Caller("alice", token="t")
ROB = Caller("rob", token="r")


async def test_ten_thousand_jobs_cost_one_permission_call(
    engine: Engine, workspace: FakeWorkspace
) -> None:
    workspace.tokens["r"] = "rob"
    jobs: list[dict[str, Any]] = []
    for wsid in range(100, 300):
        workspace.spaces[wsid] = FakeSpace({"alice": "a", "rob": "r" if wsid % 2 else "n"})
        jobs += [
            {
                "_id": ObjectId(), "user": "alice", "wsid": wsid, "authstrat": "kbaseworkspace",
                "status": "created", "job_input": {"method": "m.f", "wsid": wsid},
            }
            for _ in range(50)
        ]
    await engine.store.jobs.insert_many(jobs)
    states = await checks.check_jobs(engine, ROB, [str(job["_id"]) for job in jobs])
    assert len(states) == 10_000
    assert sum("failure" in state for state in states.values()) == 5000
    assert workspace.calls == {PERMISSIONS: 1}


async def test_a_batch_with_references_costs_one_look_up(
    engine: Engine, workspace: FakeWorkspace
) -> None:
    workspace.spaces[7].objects = [[{"name": f"o{n}"}] for n in range(60)]
    children = [
        {"method": "m.f", "source_ws_objects": [f"7/{n}/1", f"7/{n + 1}/1"]} for n in range(1, 51)
    ]
    ids = await submit.run_job_batch(engine, ALICE, children, {"wsid": 7})
    assert len(ids.child_job_ids) == 50
    assert workspace.calls == {PERMISSIONS: 1, "Workspace.get_object_info3": 1}
    children[0]["source_ws_objects"] = ["7/99/1", "8/1/1"]
    with pytest.raises(InvalidInput, match="Some workspace object is inaccessible: 7/99/1, 8/1/1"):
        await submit.run_job_batch(engine, ALICE, children, {"wsid": 7})


# Which ports there are


SETTINGS = dict(
    rpc_url="http://x/services/ee2", secret_key=SECRET, stage_dir="/s", apps_dir="/a",
    artifacts_url="/f", client_groups="", runner="/r",
)


async def test_each_port_is_kbases_where_its_address_is_set(mongo_uri: str) -> None:
    store = Store(mongo_uri, "test_ports")
    kinds = []
    for given in (
        {}, {"auth_url": "https://h/auth"}, {"catalog_url": "https://h/catalog/"},
        {"auth_url": "https://h/auth", "workspace_url": "https://h/ws"},
    ):
        ports = open_ports(Settings.model_validate({**SETTINGS, **given}), store)
        kinds.append(
            [type(p).__name__ for p in (ports.identity, ports.workspaces, ports.catalog)]
        )
        await ports.aclose()
    local = ["LocalIdentity", "LocalWorkspaces", "LocalCatalog"]
    assert kinds == [
        local, ["Auth2Identity", *local[1:]], [*local[:2], "KBaseCatalog"],
        ["Auth2Identity", "KBaseWorkspaces", local[2]],
    ]
    for wrong in ("kbase.us/auth", "ftp://h/auth", "https://user:secret@h/auth"):
        settings = Settings.model_validate({**SETTINGS, "auth_url": wrong})
        with pytest.raises(InvalidInput, match=r"\[ee2\] auth_url must be an address") as e:
            open_ports(settings, store)
        assert "secret" not in str(e.value)
    alone = Settings.model_validate({**SETTINGS, "workspace_url": "https://h/ws"})
    with pytest.raises(InvalidInput, match="workspace_url needs auth_url"):
        open_ports(alone, store)
    await store.close()
