"""The port Identity: the same contract for the local users and for KBase's Auth2."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import pytest
from bson import ObjectId

from ee2_jobs.errors import Denied, NotAuthenticated, NotFound
from ee2_jobs.identity import (
    Caller,
    Identity,
    LocalIdentity,
    add_user,
    create_token,
    hash_token,
    job_token,
    list_tokens,
    list_users,
    remove_user,
    revoke_token,
)
from ee2_jobs.store import Store
from kbase_services.auth import Auth2Identity
from kbase_services.http import Service
from tests.fakes.kbase_auth import FakeAuth
from tests.services.kbase_support import QUICK, SECRET, Clock, open_store

INVALID = (
    "Token validation failed: Error connecting to auth service: 401 Unauthorized\n"
    "10020 Invalid token"
)


class World(Protocol):
    """What a test does to the users behind the port."""

    identity: Identity
    store: Store
    clock: Clock

    async def add(self, name: str, role: str | None = None) -> str: ...
    async def revoke(self, token: str) -> None: ...
    async def remove(self, name: str) -> None: ...


class Local:
    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, Clock()
        self.identity = LocalIdentity(store, SECRET, clock=self.clock)

    async def add(self, name: str, role: str | None = None) -> str:
        await add_user(self.store, name, roles=(role,) if role else ())
        return await create_token(self.store, name)

    async def revoke(self, token: str) -> None:
        await revoke_token(self.store, hash_token(token)[:12])

    async def remove(self, name: str) -> None:
        await remove_user(self.store, name)


class Http:
    def __init__(self, store: Store, fake: FakeAuth, service: Service) -> None:
        self.store, self.clock, self.fake = store, Clock(), fake
        self.identity = Auth2Identity(
            service, store, SECRET, admin_role="EE2_ADMIN", admin_read_role="RO", clock=self.clock
        )

    async def add(self, name: str, role: str | None = None) -> str:
        names = {"admin": "EE2_ADMIN", "admin_read": "RO"}
        return self.fake.add_user(name, "OTHER", *([names[role]] if role else []))

    async def revoke(self, token: str) -> None:
        del self.fake.tokens[token]

    async def remove(self, name: str) -> None:
        del self.fake.users[name]


@pytest.fixture(params=["local", "http"])
async def world(request: pytest.FixtureRequest, mongo_uri: str) -> AsyncIterator[World]:
    async with open_store(mongo_uri) as store:
        if request.param == "local":
            yield Local(store)
            return
        fake = FakeAuth()
        service = Service("Auth", fake.url, QUICK)
        yield Http(store, fake, service)
        await service.aclose()
        fake.stop()


async def refusal(world: World, token: str) -> str:
    with pytest.raises(NotAuthenticated) as e:
        await world.identity.caller(token)
    return str(e.value)


async def test_a_token_is_its_users(world: World) -> None:
    alice, bob = await world.add("alice"), await world.add("bob")
    assert (await world.identity.caller(alice)).user == "alice"
    found = await world.identity.caller(bob)
    assert (found.user, found.roles, found.job) == ("bob", frozenset(), None)
    assert bob not in repr(found)


async def test_roles_make_administrators(world: World) -> None:
    root = await world.identity.caller(await world.add("root", "admin"))
    assert root.can_admin and root.can_admin_read
    eva = await world.identity.caller(await world.add("eva", "admin_read"))
    assert eva.can_admin_read and not eva.can_admin
    plain = await world.identity.caller(await world.add("alice"))
    assert not plain.can_admin_read


@pytest.mark.parametrize("token", ["nobody's", "Ä€", "a b", "line\nbreak", "x" * 5000, "ee2job"])
async def test_a_token_of_nobody_is_refused_with_ee2s_text(world: World, token: str) -> None:
    message = await refusal(world, token)
    if token != "ee2job":  # looks like a job's: the text may say more
        assert message == INVALID
    assert message.startswith("Token validation failed: ")


async def test_no_token_is_refused_with_ee2s_text(world: World) -> None:
    assert await refusal(world, "") == "Token validation failed: Must supply token"


async def test_a_revoked_token_is_refused_within_a_minute(world: World) -> None:
    token = await world.add("alice")
    await world.identity.caller(token)
    await world.revoke(token)
    world.clock.forward(60)
    assert await refusal(world, token) == INVALID


async def test_a_removed_users_token_is_refused_within_a_minute(world: World) -> None:
    token = await world.add("alice")
    await world.identity.caller(token)
    await world.remove("alice")
    world.clock.forward(60)
    assert await refusal(world, token) == INVALID


async def test_roles_change_within_a_minute(world: World) -> None:
    token = await world.add("alice", "admin")
    assert (await world.identity.caller(token)).can_admin
    await world.add("alice")
    world.clock.forward(60)
    assert not (await world.identity.caller(token)).can_admin


async def test_a_refused_token_is_looked_at_again_soon(world: World) -> None:
    token = await world.add("alice")
    await world.revoke(token)
    assert await refusal(world, token) == INVALID
    if isinstance(world, Http):
        world.fake.tokens[token] = "alice"
    else:
        document = {"_id": hash_token(token), "user": "alice", "created": 1.0}
        await world.store.tokens.insert_one(document)
    world.clock.forward(6)
    assert (await world.identity.caller(token)).user == "alice"


async def test_a_jobs_token_stands_for_its_job(world: World) -> None:
    oid = ObjectId()
    await world.store.jobs.insert_one({"_id": oid, "user": "alice"})
    for _ in range(2):
        found = await world.identity.caller(job_token(SECRET, str(oid)))
        assert found == Caller("alice", frozenset(), str(oid)) and found.token is None
    forged = job_token("another secret....", str(oid))
    assert "not a job's token" in await refusal(world, forged)
    assert await refusal(world, job_token(SECRET, str(ObjectId()))) == INVALID
    if isinstance(world, Http):
        assert world.fake.total == 0, "a job's token went to Auth2"


async def test_unknown_users_are_told_in_the_order_given(world: World) -> None:
    asker = await world.identity.caller(await world.add("alice"))
    await world.add("bob")
    names = ["zoe", "bob", "Not A Name", "alice", "1x", "a,b", ""]
    unknown = await world.identity.unknown_users(asker, names)
    assert unknown == ["zoe", "Not A Name", "1x", "a,b", ""]
    assert await world.identity.unknown_users(asker, []) == []
    many = [f"user{n}" for n in range(120)]
    assert await world.identity.unknown_users(asker, [*many, "bob"]) == many


# What only one of the two has.


async def test_local_users_and_tokens_are_listed_and_taken_away(mongo_uri: str) -> None:
    async with open_store(mongo_uri) as store:
        await add_user(store, "bob", "Bob B.")
        await add_user(store, "alice", roles=("admin",))
        for name in ("laptop", "cluster"):
            await create_token(store, "bob", name, lifetime_days=1 if name == "laptop" else None)
        await create_token(store, "alice")
        assert [(u.name, u.display_name, u.roles) for u in await list_users(store)] == [
            ("alice", "alice", ("admin",)), ("bob", "Bob B.", ()),
        ]
        of_bob = await list_tokens(store, "bob")
        assert [(t.user, t.name) for t in of_bob] == [("bob", "laptop"), ("bob", "cluster")]
        assert of_bob[0].expires_s is not None
        assert of_bob[0].expires_s - of_bob[0].created_s == pytest.approx(86400, abs=1)
        assert of_bob[1].expires_s is None
        await revoke_token(store, of_bob[1].id)
        with pytest.raises(NotFound, match="There is no token"):
            await revoke_token(store, of_bob[1].id)
        assert [t.name for t in await list_tokens(store)] == ["", "laptop"]
        assert await remove_user(store, "bob") == 1
        assert [t.user for t in await list_tokens(store)] == ["alice"]
        with pytest.raises(NotFound, match="There is no user 'bob'"):
            await remove_user(store, "bob")


async def test_a_kbase_caller_carries_the_token_and_nothing_keeps_it(mongo_uri: str) -> None:
    fake = FakeAuth()
    async with open_store(mongo_uri) as store:
        service = Service("Auth", fake.url, QUICK)
        world = Http(store, fake, service)
        token = await world.add("alice")
        assert (await world.identity.caller(token)).token == token
        kept = world.identity._cache._kept
        assert len(kept) == 1 and token not in repr(dict(kept.items()))
        assert all(isinstance(c, Caller) and c.token is None for c in kept.values())
        assert fake.tokens_seen == [token]
        with pytest.raises(Denied, match="token of KBase"):
            await world.identity.unknown_users(Caller("alice"), ["bob"])
        await service.aclose()
    fake.stop()


async def test_a_disabled_account_is_told_in_auth2s_words(mongo_uri: str) -> None:
    fake = FakeAuth()
    async with open_store(mongo_uri) as store:
        service = Service("Auth", fake.url, QUICK)
        world = Http(store, fake, service)
        token = await world.add("alice")
        fake.users["alice"].disabled = True
        message = await refusal(world, token)
        assert "403 Forbidden\n20010 Account disabled" in message
        await service.aclose()
    fake.stop()
