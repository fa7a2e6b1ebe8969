"""Which apps there are: the port and the local catalog, fed from `apps/*/app.yaml`."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ee2_jobs.errors import InvalidInput
from ee2_jobs.model import now_s
from ee2_jobs.store import Store

# Built-in ends of a split-process-aggregate run, by name.
RECIPES = {name: f"ee2_recipes.{name}" for name in ("report", "set", "table")}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
# How many apps a message lists.
_LISTED = 20


class AppRequirements(BaseModel):
    """What a method needs by default; what is not said comes from the client group."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: int | None = Field(default=None, ge=1)
    memory_mb: int | None = Field(default=None, ge=1)
    disk_gb: int | None = Field(default=None, ge=1)
    client_group: str | None = None
    time_limit_s: int | None = Field(default=None, ge=1)


class Method(BaseModel):
    """One method of an app, as `app.yaml` describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    description: str = ""
    parameters: dict[str, str] = {}  # what people call them, by name
    command: tuple[str, ...] | None = None
    image: str | None = None
    output: Literal["json", "none"] = "json"
    artifacts: Literal["fetch", "keep"] = "fetch"
    split: str | None = None
    aggregate: str | None = None
    requirements: AppRequirements = AppRequirements()

    @model_validator(mode="after")
    def _one_way_to_run(self) -> Method:
        if (self.command is None) == (self.image is None):
            raise ValueError("give either command or image")
        return self


class App(BaseModel):
    """A module at one version. `git_commit` is what a job record stores as `service_ver`. `owners`
    are the users who may say how long its jobs may run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: str
    version: str
    methods: dict[str, Method]
    owners: tuple[str, ...] = ()
    git_commit: str = ""
    folder: str = ""

    @model_validator(mode="after")
    def _names(self) -> App:
        for name in (self.module, *self.methods):
            if not _NAME.fullmatch(name):
                raise ValueError(f"'{name}' is not a name: letters, digits and underscores")
        for name, method in self.methods.items():
            if method.split is not None and method.split not in self.methods:
                raise ValueError(f"method {name}: split '{method.split}' is not a method here")
            if method.aggregate is not None and method.aggregate not in {**self.methods, **RECIPES}:
                raise ValueError(
                    f"method {name}: aggregate '{method.aggregate}' is neither a method here nor a "
                    f"built-in recipe ({', '.join(RECIPES)})"
                )
        return self


@dataclass(frozen=True)
class ExecStats:
    """How a job ran, for the catalog's statistics (`ee2-api` 8.3). Times in s since the epoch;
    `app_id` as the record has it (`module/app`) or None."""

    job_id: str
    user_id: str
    module: str
    function: str
    git_commit: str
    app_id: str | None
    created_s: float
    started_s: float
    finished_s: float
    is_error: bool


class Catalog(Protocol):
    """The port: which code a method means, and what it needs. KBase's is the Catalog."""

    async def app(self, module: str, version: str | None, function: str) -> App:
        """The module at a version (tag `release`, `beta`, `dev`, a version number or a commit;
        null is `release`), with at least the method `function` among its methods if there is one.
        InvalidInput names the module or version that is not there."""
        ...

    async def titles(self) -> Mapping[str, str]:
        """What methods (`Module.method`) are called, of those whose title is at hand: lists of
        jobs show it, so that asking must cost next to nothing."""
        ...

    async def parameters(self, method: str) -> Mapping[str, str]:
        """What people call the parameters of a method (`Module.method`), by name, as far as that
        is known."""
        ...

    async def owned_by(self, user: str) -> frozenset[str]:
        """The modules that a user owns, as far as the catalog can tell."""
        ...

    async def log_exec_stats(self, stats: ExecStats) -> None:
        """Keep how a job that ran has ended. Telling the same job again changes nothing where the
        catalog can tell."""
        ...


def method_of(app: App, function: str) -> Method:
    """The method of that name; InvalidInput lists the names there are."""
    try:
        return app.methods[function]
    except KeyError:
        raise InvalidInput(
            f"The app {app.module} has no method '{function}'; it has: {', '.join(app.methods)}"
        ) from None


class LocalCatalog:
    """Apps of the embedded default, from the collection `ee2_apps`; a version, and the titles, are
    kept for KEEP_S seconds in memory."""

    KEEP_S = 10.0

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: dict[tuple[str, str], tuple[float, App]] = {}
        self._titles: tuple[float, Mapping[str, str]] = (0.0, {})

    async def has(self, module: str) -> bool:
        """Whether a module is one of ours, at any version."""
        return await self._store.apps.find_one({"module": module}, {"_id": 1}) is not None

    async def app(self, module: str, version: str | None, function: str = "") -> App:
        """See the port."""
        wanted = (version or "release").strip() or "release"
        key = (module, wanted)
        kept = self._cache.get(key)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        query: dict[str, Any] = {"module": module}
        if wanted in ("release", "beta", "dev"):
            query["current"] = True
        else:
            query["$or"] = [{"git_commit": wanted}, {"version": wanted}]
        found = await self._store.apps.find_one(query, {"_id": 0, "current": 0, "added": 0})
        if found is None:
            if await self.has(module):
                raise InvalidInput(f"The app {module} has no version '{wanted}'")
            raise InvalidInput(f"There is no app '{module}'; {await self._there_are()}")
        app = App.model_validate(found)
        self._cache[key] = (time.monotonic() + self.KEEP_S, app)
        return app

    async def titles(self) -> Mapping[str, str]:
        """See the port: of the current versions."""
        until, found = self._titles
        if until <= time.monotonic():
            apps = self._store.apps.find({"current": True}, {"_id": 0, "module": 1, "methods": 1})
            found = {
                f"{app['module']}.{name}": title
                async for app in apps
                for name, method in app["methods"].items()
                if (title := method.get("title"))
            }
            self._titles = (time.monotonic() + self.KEEP_S, found)
        return found

    async def parameters(self, method: str) -> Mapping[str, str]:
        """See the port: of the current version."""
        module, _, function = method.partition(".")
        try:
            return method_of(await self.app(module, "release"), function).parameters
        except InvalidInput:
            return {}

    async def owned_by(self, user: str) -> frozenset[str]:
        """See the port: whose `owners` in `app.yaml` name the user."""
        return frozenset(
            await self._store.apps.distinct("module", {"current": True, "owners": user})
        )

    async def log_exec_stats(self, stats: ExecStats) -> None:
        """See the port: one document per job in `ee2_exec_stats`."""
        document = asdict(stats)
        job_id = document.pop("job_id")
        await self._store.exec_stats.update_one(
            {"_id": job_id}, {"$setOnInsert": document}, upsert=True
        )

    async def _there_are(self) -> str:
        names = sorted(await self._store.apps.distinct("module", {"current": True}))
        more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        return f"this service has: {', '.join(names[:_LISTED]) or 'none'}{more}"


async def current_apps(store: Store) -> list[App]:
    """The apps of the local catalog, each at its current version, by name."""
    found = store.apps.find({"current": True}, {"_id": 0, "current": 0, "added": 0})
    return [App.model_validate(app) async for app in found.sort("module", 1)]


def read_app(folder: Path) -> App:
    """The app that lives in a folder. Its `git_commit` is the SHA-1 over names and contents of the
    folder's files, so that changed code is another version."""
    try:
        described = yaml.safe_load((folder / "app.yaml").read_text())
        digest = hashlib.sha1(usedforsecurity=False)
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            if "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
        return App.model_validate(
            {**described, "git_commit": digest.hexdigest(), "folder": folder.name}
        )
    except (OSError, yaml.YAMLError, ValidationError, TypeError) as e:
        raise InvalidInput(f"The app in {folder} cannot be used: {e}") from None


async def register_apps(store: Store, apps_dir: Path) -> list[App]:
    """Make the apps below a folder the current ones of the local catalog; older versions stay on
    record, for the jobs that ran them."""
    apps = [read_app(path.parent) for path in sorted(apps_dir.glob("*/app.yaml"))]
    for app in apps:
        await store.apps.update_many(
            {"module": app.module, "git_commit": {"$ne": app.git_commit}},
            {"$set": {"current": False}},
        )
        await store.apps.update_one(
            {"_id": f"{app.module}@{app.git_commit}"},
            {"$set": {**app.model_dump(mode="json"), "current": True, "added": now_s()}},
            upsert=True,
        )
    return apps
