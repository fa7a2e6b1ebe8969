"""The port Workspaces: the same contract for the local workspaces and for KBase's Workspace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import pytest

from ee2_jobs.errors import (
    Denied,
    EngineError,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    Unavailable,
)
from ee2_jobs.identity import Caller
from ee2_jobs.store import Store
from ee2_jobs.workspaces import (
    DELETED,
    LocalWorkspaces,
    Narrative,
    NewObject,
    Permission,
    Workspaces,
    create_workspace,
    list_workspaces,
    remove_workspace,
    share_workspace,
)
from kbase_services.http import Service
from kbase_services.workspace import KBaseWorkspaces
from tests.fakes.kbase_workspace import ADMIN_TOKEN, FakeSpace, FakeWorkspace
from tests.services.kbase_support import QUICK, Clock, open_store


class World(Protocol):
    """What a test does to the workspaces behind the port."""

    port: Workspaces
    clock: Clock

    async def add(self, wsid: int, owner: str, public: bool = False) -> None: ...
    async def share(self, wsid: int, user: str, permission: Permission) -> None: ...
    async def delete(self, wsid: int) -> None: ...
    async def call(self, wsid: int, title: str) -> None: ...
    def caller(self, user: str) -> Caller: ...


class Local:
    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, Clock()
        self.port: Workspaces = LocalWorkspaces(store)

    async def add(self, wsid: int, owner: str, public: bool = False) -> None:
        await create_workspace(self.store, wsid, owner, public=public)

    async def share(self, wsid: int, user: str, permission: Permission) -> None:
        await share_workspace(self.store, wsid, user, permission)

    async def delete(self, wsid: int) -> None:
        await remove_workspace(self.store, wsid)

    async def call(self, wsid: int, title: str) -> None:
        await self.store.workspaces.update_one({"_id": wsid}, {"$set": {"name": title}})

    def caller(self, user: str) -> Caller:
        return Caller(user)


class Http:
    def __init__(self, fake: FakeWorkspace, service: Service) -> None:
        self.clock, self.fake = Clock(), fake
        self.port = KBaseWorkspaces(service, admin_token=ADMIN_TOKEN, clock=self.clock)

    async def add(self, wsid: int, owner: str, public: bool = False) -> None:
        self.fake.spaces[wsid] = FakeSpace({owner: "a"}, public)

    async def share(self, wsid: int, user: str, permission: Permission) -> None:
        self.fake.spaces[wsid].acl[user] = permission

    async def delete(self, wsid: int) -> None:
        self.fake.spaces[wsid].deleted = True

    async def call(self, wsid: int, title: str) -> None:
        self.fake.spaces[wsid].title = title

    def caller(self, user: str) -> Caller:
        self.fake.tokens[f"{user}-token"] = user
        return Caller(user, token=f"{user}-token")


@asynccontextmanager
async def open_http() -> AsyncIterator[Http]:
    fake = FakeWorkspace({})
    service = Service("Workspace", fake.url, QUICK)
    yield Http(fake, service)
    await service.aclose()
    fake.stop()


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with open_http() as opened:
        yield opened


@pytest.fixture(params=["local", "http"])
async def world(request: pytest.FixtureRequest, mongo_uri: str) -> AsyncIterator[World]:
    if request.param == "http":
        async with open_http() as opened:
            yield opened
        return
    async with open_store(mongo_uri) as store:
        yield Local(store)


async def permission(world: World, user: str, wsid: int) -> str:
    return (await world.port.permissions(world.caller(user), [wsid]))[wsid]


async def test_each_user_has_the_permission_that_was_given(world: World) -> None:
    await world.add(7, "alice")
    await world.share(7, "wendy", "w")
    await world.share(7, "rob", "r")
    await world.share(7, "anna", "a")
    await world.share(7, "nick", "n")
    users = ("alice", "anna", "wendy", "rob", "nick", "bob")
    assert [await permission(world, user, 7) for user in users] == ["a", "a", "w", "r", "n", "n"]


async def test_everybody_reads_what_is_public(world: World) -> None:
    await world.add(7, "alice", public=True)
    await world.share(7, "wendy", "w")
    await world.share(7, "nick", "n")
    users = ("alice", "wendy", "bob")
    assert [await permission(world, user, 7) for user in users] == ["a", "w", "r"]


async def test_unknown_and_deleted_are_none_and_spoil_nothing(world: World) -> None:
    for wsid in range(1, 41):
        await world.add(wsid, "alice" if wsid % 2 else "bob")
    await world.delete(3)
    await world.delete(40)
    wanted = [*range(1, 41), 999, 10**12]
    found = await world.port.permissions(world.caller("alice"), wanted)
    gone = (3, 40, 999, 10**12)
    assert found == {w: "a" if w % 2 and w not in gone else "n" for w in wanted}


async def test_nothing_asked_is_nothing_answered(world: World) -> None:
    assert await world.port.permissions(world.caller("alice"), []) == {}
    assert await world.port.inaccessible(world.caller("alice"), []) == []
    await world.add(7, "alice")
    assert await world.port.permissions(world.caller("alice"), [7, 7]) == {7: "a"}


async def test_what_is_taken_away_is_gone_within_a_minute(world: World) -> None:
    await world.add(7, "alice")
    await world.share(7, "wendy", "w")
    assert await permission(world, "wendy", 7) == "w"
    await world.share(7, "wendy", "n")
    world.clock.forward(60)
    assert await permission(world, "wendy", 7) == "n"
    await world.share(7, "wendy", "r")
    world.clock.forward(6)
    assert await permission(world, "wendy", 7) == "r"
    await world.delete(7)
    world.clock.forward(60)
    assert await permission(world, "alice", 7) == "n"


def new(name: str, data: object = 1) -> NewObject:
    return NewObject(name, "KBaseReport.Report", {"x": data}, {"from": "job"})


async def test_saved_objects_have_references_and_versions(world: World) -> None:
    await world.add(7, "alice")
    await world.share(7, "wendy", "w")
    assert await world.port.save_object("alice", 7, new("one")) == "7/1/1"
    assert await world.port.save_object("wendy", 7, new("two")) == "7/2/1"
    assert await world.port.save_object("alice", 7, new("one", 2)) == "7/1/2"


async def test_who_may_not_write_saves_nothing(world: World) -> None:
    await world.add(7, "alice", public=True)
    await world.share(7, "rob", "r")
    await world.add(8, "alice")
    await world.delete(8)
    for user, wsid in (("rob", 7), ("bob", 7), ("alice", 8), ("alice", 999)):
        with pytest.raises(Denied, match=f"User {user} may not write workspace {wsid}"):
            await world.port.save_object(user, wsid, new("one"))
    assert await world.port.save_object("alice", 7, new("one")) == "7/1/1"


async def test_references_are_readable_where_the_workspace_is(world: World) -> None:
    await world.add(7, "alice")
    await world.add(8, "bob")
    await world.add(9, "bob", public=True)
    for wsid, user in ((7, "alice"), (8, "bob"), (9, "bob")):
        await world.port.save_object(user, wsid, new("one"))
    refs = ["8/1/1", "7/1/1", "999/1/1", "9/1/1"]
    assert await world.port.inaccessible(world.caller("alice"), refs) == ["8/1/1", "999/1/1"]
    assert await world.port.inaccessible(world.caller("bob"), refs) == ["7/1/1", "999/1/1"]


# What only one of the two has.


async def test_local_workspaces_are_listed_and_marked_deleted(mongo_uri: str) -> None:
    async with open_store(mongo_uri) as store:
        await create_workspace(store, 8, "bob", public=True)
        await create_workspace(store, 7, "alice")
        await share_workspace(store, 7, "rob", "r")
        assert [(w.id, w.owner, w.acl, w.public) for w in await list_workspaces(store)] == [
            (7, "alice", {"rob": "r"}, False), (8, "bob", {}, True),
        ]
        await remove_workspace(store, 7)
        assert [w.id for w in await list_workspaces(store)] == [8]
        for refused in (remove_workspace(store, 7), share_workspace(store, 7, "rob", "w")):
            with pytest.raises(NotFound, match="There is no workspace 7"):
                await refused
        with pytest.raises(InvalidInput, match="There is a workspace 7 already"):
            await create_workspace(store, 7, "bob")


async def test_a_caller_without_a_token_has_nothing_and_nobody_is_asked(http: Http) -> None:
    await http.add(7, "alice", public=True)
    assert await http.port.permissions(Caller("alice"), [7]) == {7: "n"}
    assert await http.port.inaccessible(Caller("alice"), ["7/1/1"]) == ["7/1/1"]
    assert http.fake.total == 0


async def test_a_token_that_the_workspace_refuses_is_no_missing_workspace(http: Http) -> None:
    with pytest.raises(NotAuthenticated, match="Token validation failed"):
        await http.port.permissions(Caller("alice", token="expired"), range(1, 50))
    assert http.fake.total == 1


async def test_a_workspace_without_database_is_to_be_tried_again(http: Http) -> None:
    await http.add(7, "alice")
    alice = http.caller("alice")
    http.fake.database_away = True
    with pytest.raises(Unavailable, match="KBase's Workspace service.*try again"):
        await http.port.permissions(alice, [7])
    http.fake.database_away = False
    assert await http.port.permissions(alice, [7]) == {7: "a"}


async def test_saving_says_what_is_missing(http: Http) -> None:
    await http.add(7, "alice")
    service = Service("Workspace", http.fake.url, QUICK)
    for token in ("", "expired"):
        port = KBaseWorkspaces(service, admin_token=token)
        with pytest.raises(EngineError, match=r"workspace_admin_token.*\[ee2\]"):
            await port.save_object("alice", 7, new("one"))
    with pytest.raises(InvalidInput, match="'one' cannot be saved: .*could not be split"):
        await http.port.save_object("alice", 7, NewObject("one", "Nodot", 1))
    with pytest.raises(InvalidInput, match="Illegal number of separators"):
        await http.port.inaccessible(http.caller("alice"), ["7/1/1/1/1"])
    await service.aclose()


async def test_one_call_for_a_thousand_and_two_for_more(http: Http) -> None:
    for wsid in range(1, 1502):
        await http.add(wsid, "alice")
    alice = http.caller("alice")
    assert set((await http.port.permissions(alice, range(1, 1001))).values()) == {"a"}
    assert http.fake.total == 1
    await http.port.permissions(alice, range(1, 1001))
    assert http.fake.total == 1
    http.clock.forward(31)
    await http.port.permissions(alice, range(1, 1502))
    assert http.fake.total == 3


async def test_one_deleted_among_a_thousand_costs_few_calls(http: Http) -> None:
    for wsid in range(1, 1001):
        await http.add(wsid, "alice")
    await http.delete(500)
    found = await http.port.permissions(http.caller("alice"), range(1, 1001))
    assert [wsid for wsid, permission in found.items() if permission == "n"] == [500]
    assert http.fake.total <= 21


async def test_references_by_name_and_without_version(world: World) -> None:
    await world.add(7, "alice")
    await world.add(8, "bob")
    alice = world.caller("alice")
    first = await world.port.save_object("alice", 7, NewObject("reads", "M.T", {}))
    second = await world.port.save_object("alice", 7, NewObject("reads", "M.T", {}))
    other = await world.port.save_object("bob", 8, NewObject("secret", "M.T", {}))
    number = first.split("/")[1]
    wanted = ["7/reads", f"7/{number}", "7/reads/1", first, "7/nothing", "8/secret", other, "9/x"]
    assert await world.port.resolve(alice, wanted) == {
        "7/reads": second, f"7/{number}": second, "7/reads/1": first, first: first,
        "7/nothing": None, "8/secret": None, other: None, "9/x": None,
    }  # fmt: skip
    assert await world.port.resolve(alice, []) == {}


async def test_which_workspaces_are_readable_and_what_they_are_called(world: World) -> None:
    for wsid, owner, public in ((1, "ana", False), (2, "ben", False), (3, "ben", True),
                                (4, "ben", False), (5, "ana", False)):
        await world.add(wsid, owner, public)
        await world.call(wsid, f"Growth of E. coli {wsid}")
    await world.share(2, "ana", "r")
    await world.share(4, "cleo", "w")
    await world.delete(5)
    ana, cleo = world.caller("ana"), world.caller("cleo")
    assert await world.port.readable(ana) == {1, 2}, "public ones and deleted ones are not"
    assert await world.port.readable(cleo) == {4}
    assert await world.port.readable(world.caller("dora")) == frozenset()
    assert await world.port.narratives(ana, [1, 2, 3, 4, 5, 99]) == {
        n: Narrative(f"Growth of E. coli {n}", "ana" if n == 1 else "ben") for n in (1, 2, 3)
    } | {5: DELETED}
    assert await world.port.narratives(ana, []) == {}
    assert sorted(await world.port.titled(ana, "e. COLI")) == [1, 2]
    assert await world.port.titled(ana, "coli 2") == [2]
    assert await world.port.titled(cleo, "coli 2") == []
    await world.share(2, "ana", "n")
    world.clock.now_s += 61
    assert await world.port.readable(ana) == {1}


async def test_titles_are_never_waited_for(http: Http) -> None:
    await http.add(1, "ana")
    await http.call(1, "One")
    ana = http.caller("ana")
    http.fake.database_away = True
    assert await http.port.narratives(ana, [1]) == {}
    with pytest.raises(Unavailable):
        await http.port.readable(ana)
    http.fake.database_away = False
    assert await http.port.narratives(ana, [1]) == {1: Narrative("One", "ana")}
    assert await http.port.readable(Caller("ana")) == frozenset(), "a session has no token"
    assert await http.port.narratives(Caller("ana"), [1]) == {}
    assert await http.port.titled(Caller("ana"), "o") == []
