"""An engine on a database of its own, for tests of the ground floor."""

from collections.abc import Sequence

from bson import ObjectId
from pymongo import AsyncMongoClient

from ee2_jobs.catalog import App, LocalCatalog, Method
from ee2_jobs.engine import Engine
from ee2_jobs.legacy import kbparallel
from ee2_jobs.limits import gate
from ee2_jobs.settings import ClientGroup, ClientGroups, Settings
from ee2_jobs.store import Store
from ee2_jobs.workspaces import LocalWorkspaces, create_workspace, share_workspace


class Started:
    """An orchestrator that only notes what it is asked to start."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def start(self, submission_ids: Sequence[str]) -> None:
        self.ids += submission_ids


# By server: databases as the migrations leave them, without records. To make one takes 0.3 s and
# to drop it 0.1 s, which would be most of the time of most tests.
_prepared: dict[str, list[str]] = {}
_migrated: set[str] = set()  # the collections in such a database


async def open_engine(mongo_uri: str) -> Engine:
    """Apps m (methods f, s, a) and ee2_recipes; workspace 7 of alice, written by wendy, read by
    rob. The database is as good as new; give it back with `close_engine`."""
    free = _prepared.setdefault(mongo_uri, [])
    store = Store(mongo_uri, free.pop() if free else f"test_{ObjectId()}")
    await store.ensure_indexes()
    if not _migrated:
        _migrated.update(await store.db.list_collection_names())
    plain = Method(command=("true",))
    methods = {"f": Method(command=("true",), split="s", aggregate="a"), "s": plain, "a": plain}
    for app in (
        App(module="m", version="1", git_commit="c0ffee", folder="m", methods=methods),
        App(module="ee2_recipes", version="1", git_commit="beef", methods={"report": plain}),
    ):
        await store.apps.insert_one({**app.model_dump(mode="json"), "current": True})
    await create_workspace(store, 7, "alice")
    await share_workspace(store, 7, "wendy", "w")
    await share_workspace(store, 7, "rob", "r")
    groups = {"njs": ClientGroup(cpus=1, memory_mb=10, disk_gb=1)}
    return Engine(
        store=store,
        settings=Settings(
            rpc_url="http://127.0.0.1/services/ee2", secret_key="k" * 32, stage_dir="/tmp",
            apps_dir="/apps", artifacts_url="/tmp/a", client_groups="", runner="/r",
            max_batch_jobs=50,
        ),
        groups=ClientGroups(default="njs", groups=groups),
        catalog=LocalCatalog(store),
        workspaces=LocalWorkspaces(store),
        orchestrator=Started(),
    )


async def close_engine(engine: Engine, mongo_uri: str) -> None:
    """Close the engine's store. Its database is emptied for another test: one that lost indexes
    must be dropped instead."""
    store = engine.store
    for name in await store.db.list_collection_names():
        if name not in _migrated:
            await store.db.drop_collection(name)
        elif name != store.migrations.name:
            await store.db[name].delete_many({})
    await store.close()
    for known in (gate._waiting, kbparallel._statuses):  # by the database's name
        known.clear()
    _prepared[mongo_uri].append(store.db.name)


async def drop_prepared(mongo_uri: str) -> None:
    """Leave none of these databases behind on a server that goes on."""
    client = AsyncMongoClient[dict[str, object]](mongo_uri)
    for name in _prepared.pop(mongo_uri, []):
        await client.drop_database(name)
    await client.close()
