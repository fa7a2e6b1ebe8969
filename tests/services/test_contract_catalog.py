"""The port Catalog: the same contract for the local apps and for KBase's Catalog."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

import pytest

from ee2_jobs.catalog import (
    App,
    AppRequirements,
    Catalog,
    ExecStats,
    LocalCatalog,
    Method,
    method_of,
)
from ee2_jobs.errors import Denied, EngineError, InvalidInput
from ee2_jobs.requirements import resolve
from ee2_jobs.settings import ClientGroup, ClientGroups
from ee2_jobs.store import Store
from kbase_services.catalog import KBaseCatalog
from kbase_services.http import Service
from tests.fakes.kbase_catalog import CATALOG_TOKEN, FakeCatalog
from tests.services.kbase_support import QUICK, Clock, open_store

OLD, NEW = "a" * 40, "b" * 40
STATS = ExecStats(
    job_id="5f0c0000000000000000aaaa", user_id="alice", module="Mod", function="f", git_commit=NEW,
    app_id="Mod/run_f", created_s=1700000000.9, started_s=1700000010.25, finished_s=1700000020.5,
    is_error=True,
)


class World(Protocol):
    """The module Mod: commit OLD, and NEW, which is the release and is number 1.2; method f."""

    port: Catalog

    async def needs(self, needs: AppRequirements) -> None: ...
    async def stats(self) -> list[tuple[Any, ...]]: ...


class Local:
    def __init__(self, store: Store) -> None:
        self.store, self.port = store, LocalCatalog(store)

    async def start(self) -> None:
        for commit, number, current in ((OLD, "1.1", False), (NEW, "1.2", True)):
            app = App(
                module="Mod", version=number, git_commit=commit,
                methods={"f": Method(image=f"image:{commit}")},
            )
            await self.store.apps.insert_one({**app.model_dump(mode="json"), "current": current})

    async def needs(self, needs: AppRequirements) -> None:
        await self.store.apps.update_many(
            {}, {"$set": {"methods.f.requirements": needs.model_dump()}}
        )

    async def stats(self) -> list[tuple[Any, ...]]:
        return [
            (s["_id"], s["user_id"], s["module"], s["function"], s["git_commit"],
             int(s["created_s"]), s["started_s"], s["finished_s"], int(s["is_error"]))
            async for s in self.store.exec_stats.find()
        ]


class Http:
    def __init__(self, store: Store, fake: FakeCatalog, service: Service) -> None:
        self.store, self.fake, self.service, self.clock = store, fake, service, Clock()
        self.port = KBaseCatalog(
            service, LocalCatalog(store), token=CATALOG_TOKEN, clock=self.clock
        )
        fake.add("Mod", OLD, "1.1")
        fake.add("Mod", NEW, "1.2", "release", "beta", "dev")

    async def needs(self, needs: AppRequirements) -> None:
        names = {
            "request_cpus": needs.cpus, "request_memory": needs.memory_mb,
            "request_disk": needs.disk_gb,
        }
        items = [f"{key}={value}" for key, value in names.items() if value]
        self.fake.groups["Mod.f"] = [needs.client_group or "", *items]

    async def stats(self) -> list[tuple[Any, ...]]:
        return [
            (s["job_id"], s["user_id"], s["func_module_name"], s["func_name"],
             s["git_commit_hash"], s["creation_time"], s["exec_start_time"], s["finish_time"],
             s["is_error"])
            for s in self.fake.stats
        ]


@asynccontextmanager
async def open_http(store: Store) -> AsyncIterator[Http]:
    fake = FakeCatalog()
    service = Service("Catalog", fake.url, QUICK)
    yield Http(store, fake, service)
    await service.aclose()
    fake.stop()


@pytest.fixture
async def http(mongo_uri: str) -> AsyncIterator[Http]:
    async with open_store(mongo_uri) as store, open_http(store) as opened:
        yield opened


@pytest.fixture(params=["local", "http"])
async def world(request: pytest.FixtureRequest, mongo_uri: str) -> AsyncIterator[World]:
    async with open_store(mongo_uri) as store:
        if request.param == "http":
            async with open_http(store) as opened:
                yield opened
            return
        local = Local(store)
        await local.start()
        yield local


@pytest.mark.parametrize(
    ("version", "commit"),
    [
        (None, NEW), ("", NEW), ("release", NEW), ("beta", NEW), ("dev", NEW), ("1.2", NEW),
        ("1.1", OLD), (OLD, OLD), (NEW, NEW),
    ],
)
async def test_a_version_is_a_commit_with_an_image(
    world: World, version: str | None, commit: str
) -> None:
    for _ in range(2):
        app = await world.port.app("Mod", version, "f")
        assert (app.module, app.git_commit) == ("Mod", commit)
        image = method_of(app, "f").image
        assert image is not None and image.endswith(commit)


async def test_unknown_names_are_told(world: World) -> None:
    for _ in range(2):
        with pytest.raises(InvalidInput, match="There is no app 'Nothing'"):
            await world.port.app("Nothing", None, "f")
        with pytest.raises(InvalidInput, match="The app Mod has no version '9.9'"):
            await world.port.app("Mod", "9.9", "f")


async def test_what_a_method_needs_comes_with_it(world: World) -> None:
    needs = AppRequirements(cpus=4, memory_mb=2000, disk_gb=30, client_group="bigmem")
    await world.needs(needs)
    assert method_of(await world.port.app("Mod", None, "f"), "f").requirements == needs


async def test_without_needs_the_groups_defaults_hold(world: World) -> None:
    found = method_of(await world.port.app("Mod", None, "f"), "f").requirements
    assert found == AppRequirements()


async def test_how_a_job_ran_is_kept(world: World) -> None:
    await world.port.log_exec_stats(STATS)
    assert await world.stats() == [
        (STATS.job_id, "alice", "Mod", "f", NEW, 1700000000, 1700000010.25, 1700000020.5, 1)
    ]


# What only KBase's has.


async def needs_of(http: Http, *groups: Any) -> AppRequirements:
    http.fake.groups["Mod.f"] = list(groups)
    http.clock.forward(31)
    return method_of(await http.port.app("Mod", None, "f"), "f").requirements


async def test_requirements_in_both_forms(http: Http) -> None:
    full = AppRequirements(cpus=32, memory_mb=64000, disk_gb=1000, client_group="bigmem")
    group = AppRequirements(client_group="njs")
    for groups, expected in (
        ([], AppRequirements()),
        ([" njs "], group),
        (
            ["bigmem", " request_cpus=32", "request_memory = 64000M", "request_disk=1000GB"],
            full,
        ),
        # JSON, as the Catalog's page cuts it
        (
            ['{"client_group": "bigmem"', '" request_cpus ": 32', '"request_memory": "64000"',
             '"request_disk":1000}'],
            full,
        ),
        (['{"request_cpus": "4"}'], AppRequirements(cpus=4)),
        (["{}"], AppRequirements()),
        # EE2's further keys and what it made ClassAds of: not used, and no failure (D27)
        (["njs", "foo=bar=whoop", "debug_mode=true", "client_group_regex=False"], group),
        (['{"client_group": "njs"', '"clientgroup": 7', '"debug_mode": true}'], group),
    ):
        assert await needs_of(http, *groups) == expected, groups


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        (["njs", "request_cpus"], "Malformed requirement. Format is <key>=<value>. Item is "
         "'request_cpus' for catalog method Mod.f"),
        (['{"client_group"'], "Unable to parse JSON client group entry from catalog for method "
         "Mod.f"),
        (['["{}"]'], "Unable to parse JSON client group entry from catalog for method Mod.f"),
        (["request_cpus=4"], "Found illegal client group 'request_cpus=4' in job requirements from "
         "catalog method Mod.f"),
        (["njs", "request_cpus=2.5"], "Found illegal cpu request '2.5' in job requirements from "
         "catalog method Mod.f"),
        (["njs", "request_memory=4G"], "Found illegal memory request '4G' in job requirements from "
         "catalog method Mod.f"),
        (['{"client_group": 7}'], "Found illegal client group '7' in job requirements from catalog "
         "method Mod.f"),
        (["njs", "request_disk=0"], "disk space in GB must be at least 1 (it stands in catalog "
         "method Mod.f)"),
    ],
)
async def test_wrong_requirements_name_catalog_and_method(
    http: Http, groups: list[str], text: str
) -> None:
    with pytest.raises(InvalidInput) as e:
        await needs_of(http, *groups)
    assert str(e.value) == text


async def test_an_unknown_client_group_is_the_catalogs_fault(http: Http) -> None:
    needs = await needs_of(http, "gone")
    group = ClientGroup(cpus=1, memory_mb=1, disk_gb=1)
    groups = ClientGroups(default="njs", groups={"njs": group})
    with pytest.raises(InvalidInput, match="Catalog specified illegal client group 'gone' for "):
        resolve(None, needs, groups, may_ask=False, method="Mod.f")


async def test_our_own_modules_are_answered_here(http: Http) -> None:
    recipe = App(
        module="ee2_recipes", version="1", git_commit="beef",
        methods={"report": Method(command=("true",))},
    )
    await http.store.apps.insert_one({**recipe.model_dump(mode="json"), "current": True})
    assert (await http.port.app("ee2_recipes", None, "report")).git_commit == "beef"
    with pytest.raises(InvalidInput, match="The app ee2_recipes has no version 'x'"):
        await http.port.app("ee2_recipes", "x", "report")
    assert http.fake.total == 0


async def test_answers_are_kept_for_their_time(http: Http) -> None:
    version, needs = "Catalog.get_module_version", "Catalog.list_client_group_configs"
    for _ in range(5):
        await http.port.app("Mod", None, "f")
        await http.port.app("Mod", OLD, "f")
    assert http.fake.calls == {version: 2, needs: 1}
    http.fake.modules["Mod"]["release"] = http.fake.modules["Mod"][OLD]
    assert (await http.port.app("Mod", None, "f")).git_commit == NEW
    http.clock.forward(31)
    assert (await http.port.app("Mod", None, "f")).git_commit == OLD
    await http.port.app("Mod", OLD, "f")
    assert http.fake.calls == {version: 3, needs: 2}
    with pytest.raises(InvalidInput):
        await http.port.app("Later", None, "f")
    http.fake.add("Later", NEW, "release")
    http.clock.forward(6)
    assert (await http.port.app("Later", None, "f")).git_commit == NEW


async def test_statistics_have_the_catalogs_names(http: Http) -> None:
    await http.port.log_exec_stats(STATS)
    assert http.fake.stats == [
        {
            "user_id": "alice", "app_module_name": "Mod", "app_id": "run_f",
            "func_module_name": "Mod", "func_name": "f", "git_commit_hash": NEW,
            "creation_time": 1700000000, "exec_start_time": 1700000010.25,
            "finish_time": 1700000020.5, "is_error": 1, "job_id": STATS.job_id,
        }
    ]
    assert http.fake.tokens_seen == [CATALOG_TOKEN]


@pytest.mark.parametrize(
    ("app_id", "told"), [("Mod.f", ("Mod.f", "Mod.f")), ("bare", ("bare", "bare")), (None, None)]
)
async def test_app_ids_are_told_as_ee2_told_them(
    http: Http, app_id: str | None, told: tuple[str, str] | None
) -> None:
    await http.port.log_exec_stats(replace(STATS, app_id=app_id))
    sent = http.fake.stats[0]
    if told is None:
        assert "app_id" not in sent and "app_module_name" not in sent
    else:
        assert (sent["app_module_name"], sent["app_id"]) == told


async def test_without_a_token_statistics_stay_here(http: Http) -> None:
    local = LocalCatalog(http.store)
    await KBaseCatalog(http.service, local).log_exec_stats(STATS)
    assert http.fake.total == 0
    assert await http.store.exec_stats.count_documents({"_id": STATS.job_id}) == 1
    with pytest.raises(Denied, match="catalog_token.*You do not have permission"):
        await KBaseCatalog(http.service, local, token="other").log_exec_stats(STATS)


async def test_statistics_that_may_have_arrived_are_not_sent_twice(http: Http) -> None:
    http.fake.fail, http.fake.fail_status = 1, 504
    with pytest.raises(EngineError, match="KBase's Catalog service does not answer"):
        await http.port.log_exec_stats(STATS)
    assert http.fake.calls == {"failed": 1}


async def test_what_people_call_parameters(world: World) -> None:
    for unknown in ("Mod.f", "Mod.g", "None.f", "f", ""):
        assert await world.port.parameters(unknown) == {}


async def test_a_local_app_says_what_people_call_its_parameters(mongo_uri: str) -> None:
    async with open_store(mongo_uri) as store:
        local = Local(store)
        await local.start()
        names = {"reads": "Sequencing reads"}
        await store.apps.update_many({}, {"$set": {"methods.f.parameters": names}})
        assert await local.port.parameters("Mod.f") == names
        assert await local.port.parameters("Mod.g") == {}
