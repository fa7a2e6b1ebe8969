"""KBase's Catalog: which code a method means, what it needs, and how jobs have run."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ee2_jobs.catalog import App, AppRequirements, ExecStats, LocalCatalog, Method
from ee2_jobs.errors import Denied, InvalidInput
from ee2_jobs.requirements import parse_requested
from kbase_services.cache import Cache
from kbase_services.http import Service, ServiceError

log = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")
# What the Catalog says of a module that is not there, and of a version.
_NO_MODULE = ("cannot be found", "never properly registered")
_NO_VERSION = "is not type dict"
# EE2's keys that have no meaning here: the route of a client group says where its jobs go.
_KNOWN = {
    "client_group", "request_cpus", "request_memory", "request_disk", "time_limit_s",
}

Version = tuple[str, str]
"""Commit and image of a module's version."""


class KBaseCatalog:
    """The port Catalog by KBase's service. Modules that the local catalog has are answered there.

    What a tag or a version number stands for is kept for KEEP_S, what a commit stands for for
    KEEP_COMMIT_S, that there is no such module or version for KEEP_NONE_S; a method's requirements
    for KEEP_S. token: with which statistics are sent; none: they are kept in the local catalog.
    """

    KEEP_S = 30.0
    KEEP_COMMIT_S = 3600.0
    KEEP_NONE_S = 5.0

    def __init__(
        self,
        service: Service,
        local: LocalCatalog,
        *,
        token: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._local = local
        self._token = token
        # Which modules are local is soon seen when it changes, and costs no query per call.
        self._is_local: Cache[str, bool] = Cache(lambda _: LocalCatalog.KEEP_S, clock=clock)
        # An answer is a version, or the text why there is none.
        self._tags: Cache[tuple[str, str], Version | str] = Cache(self._keep, clock=clock)
        self._commits: Cache[tuple[str, str], Version | str] = Cache(
            self._keep_commit, clock=clock
        )
        self._requirements: Cache[tuple[str, str], AppRequirements | str] = Cache(
            self._keep, clock=clock
        )

    def _keep(self, answer: object) -> float:
        return self.KEEP_NONE_S if isinstance(answer, str) else self.KEEP_S

    def _keep_commit(self, answer: object) -> float:
        return self.KEEP_NONE_S if isinstance(answer, str) else self.KEEP_COMMIT_S

    async def app(self, module: str, version: str | None, function: str) -> App:
        """See the port. The Catalog lists no methods: of the module's, the app has `function`."""
        if await self._is_local.get(module, lambda: self._local.has(module)):
            return await self._local.app(module, version, function)
        wanted = (version or "").strip() or "release"
        versions = self._commits if _COMMIT.fullmatch(wanted) else self._tags
        found, needs = await asyncio.gather(
            versions.get((module, wanted), lambda: self._version(module, wanted)),
            self._requirements.get((module, function), lambda: self._needs(module, function)),
        )
        for answer in (found, needs):
            if isinstance(answer, str):
                raise InvalidInput(answer)
        assert not isinstance(found, str) and not isinstance(needs, str)
        commit, image = found
        try:
            return App(
                module=module,
                version=wanted,
                git_commit=commit,
                methods={function: Method(image=image, requirements=needs)},
            )
        except ValidationError as e:
            wrong = "; ".join(str(problem["msg"]) for problem in e.errors())
            raise InvalidInput(f"{module}.{function} cannot be run: {wrong}") from None

    async def _version(self, module: str, wanted: str) -> Version | str:
        try:
            found = await self._service.call(
                "Catalog.get_module_version", {"module_name": module, "version": wanted}
            )
        except ServiceError as e:
            if any(text in e.message for text in _NO_MODULE):
                return f"There is no app '{module}' in KBase's Catalog"
            if _NO_VERSION not in e.message:
                return f"KBase's Catalog does not tell of {module}, {wanted}: {_text(e)}"
            found = None
        if found is None:
            return f"The app {module} has no version '{wanted}' in KBase's Catalog"
        commit = found.get("git_commit_hash") if isinstance(found, dict) else None
        image = found.get("docker_img_name") if isinstance(found, dict) else None
        if not isinstance(commit, str) or not isinstance(image, str) or not image:
            return f"KBase's Catalog names no commit or no image for {module}, {wanted}"
        return commit, image

    async def _needs(self, module: str, function: str) -> AppRequirements | str:
        """What the Catalog says that a method needs, or the text what is wrong with it."""
        name = f"{module}.{function}"
        try:
            configs = await self._service.call(
                "Catalog.list_client_group_configs",
                {"module_name": module, "function_name": function},
            )
            return read_requirements(configs, name)
        except ServiceError as e:
            return f"KBase's Catalog does not tell what {name} needs: {_text(e)}"
        except InvalidInput as e:
            return str(e)

    async def titles(self) -> Mapping[str, str]:
        """See the port. Only of local apps: the Catalog knows no titles."""
        return await self._local.titles()

    async def parameters(self, method: str) -> Mapping[str, str]:
        """See the port. Only of local apps: the Catalog has no names of parameters."""
        return await self._local.parameters(method)

    async def owned_by(self, user: str) -> frozenset[str]:
        """See the port. Only of local apps: the Catalog is not asked who owns a module."""
        return await self._local.owned_by(user)

    async def log_exec_stats(self, stats: ExecStats) -> None:
        """See the port. The Catalog cannot tell whether it has heard of a job before, so the call
        is repeated only if it cannot have arrived. Denied if the Catalog refuses the token."""
        if not self._token:
            await self._local.log_exec_stats(stats)
            return
        told: dict[str, Any] = {
            "user_id": stats.user_id,
            "func_module_name": stats.module,
            "func_name": stats.function,
            "git_commit_hash": stats.git_commit,
            "creation_time": int(stats.created_s),
            "exec_start_time": stats.started_s,
            "finish_time": stats.finished_s,
            "is_error": int(stats.is_error),
            "job_id": stats.job_id,
        }
        if stats.app_id:
            told["app_module_name"] = stats.app_id.split("/")[0]
            told["app_id"] = stats.app_id.split("/")[-1]
        try:
            await self._service.call(
                "Catalog.log_exec_stats", told, token=self._token, read=False
            )
        except ServiceError as e:
            raise Denied(
                f"KBase's Catalog does not take the statistics of job {stats.job_id} (sent with "
                f"the setting catalog_token of [ee2]): {_text(e)}"
            ) from e


def _text(error: ServiceError) -> str:
    """The Catalog puts its texts into quotes."""
    return error.message.strip("'\"")


def read_requirements(configs: Any, method: str) -> AppRequirements:
    """What the answer of `list_client_group_configs` says of one method (`ee2-api` 5.4).

    configs: a list of no or one mapping; its `client_groups` is a list of strings, either a client
    group and then `key=value` each (CSV), or the pieces of a JSON object that was cut at its
    commas. InvalidInput with EE2's texts, each of which names the Catalog and the method.
    """
    if not configs:
        return AppRequirements()
    if len(configs) > 1:
        raise InvalidInput(
            "Unexpected result from the Catalog service: more than one client group configuration "
            f"found for method {method} {configs}"
        )
    pieces = configs[0].get("client_groups") or []
    if not pieces:
        return AppRequirements()
    said = _from_json(pieces, method) if "{" in str(pieces[0]) else _from_csv(pieces, method)
    unused = sorted(said.keys() - _KNOWN)
    if unused:
        log.info(
            "not used of what the catalog says of method %s: %s", method, ", ".join(unused)
        )
    source = f"catalog method {method}"
    try:
        asked = parse_requested(said, source)
    except InvalidInput as e:
        raise InvalidInput(str(e) if source in str(e) else f"{e} (it stands in {source})") from None
    return AppRequirements(
        cpus=asked.get("request_cpus"),
        memory_mb=asked.get("request_memory"),
        disk_gb=asked.get("request_disk"),
        client_group=asked.get("client_group"),
        time_limit_s=asked.get("time_limit_s"),
    )


def _from_csv(pieces: Sequence[Any], method: str) -> dict[str, Any]:
    said: dict[str, Any] = {"client_group": str(pieces[0]).strip()}
    for piece in pieces[1:]:
        key, equals, value = (part.strip() for part in str(piece).partition("="))
        if not equals or not key:
            raise InvalidInput(
                f"Malformed requirement. Format is <key>=<value>. Item is '{piece}' for catalog "
                f"method {method}"
            )
        said[key] = value
    return said


def _from_json(pieces: Sequence[Any], method: str) -> Mapping[str, Any]:
    try:
        said = json.loads(", ".join(str(piece) for piece in pieces))
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise InvalidInput(
            f"Unable to parse JSON client group entry from catalog for method {method}"
        )
    return {key.strip(): value for key, value in said.items()}
