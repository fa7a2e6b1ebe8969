"""A stand-in for KBase's Catalog: modules and their versions, client groups, statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.fakes.kbase_server import KBaseRpcServer, RpcFault

CATALOG_TOKEN = "CATALOGADMINTOKEN"


class FakeCatalog(KBaseRpcServer):
    """modules: versions by module and tag, number or commit. groups: `client_groups` by method.
    stats: what was told of jobs."""

    path = "/services/catalog"

    def __init__(self) -> None:
        self.modules: dict[str, dict[str, dict[str, Any]]] = {}
        self.groups: dict[str, list[Any]] = {}
        self.stats: list[dict[str, Any]] = []
        super().__init__()

    def add(self, module: str, commit: str, *names: str) -> None:
        """A version of a module, found by its commit and by these tags or numbers."""
        version = {
            "module_name": module, "git_url": f"https://github.com/kbase/{module}",
            "git_commit_hash": commit, "docker_img_name": f"registry.example.org/{module}:{commit}",
            "version": "0.0.1", "released": 1, "release_tags": list(names), "timestamp": 1,
            "registration_id": "1_a", "dynamic_service": 0, "narrative_app_ids": [],
            "local_function_ids": [], "git_commit_message": "x",
        }
        for name in (commit, *names):
            self.modules.setdefault(module, {})[name] = version

    def methods(self) -> dict[str, Callable[[Any, str | None], Any]]:
        return {
            "Catalog.get_module_version": self._version,
            "Catalog.list_client_group_configs": self._groups,
            "Catalog.log_exec_stats": self._log,
        }

    def _version(self, params: Any, token: str | None) -> Any:
        versions = self.modules.get(params["module_name"])
        if versions is None:
            raise _fault("Module cannot be found based on module_name or git_url parameters.")
        found = versions.get(params["version"])
        if found is None:
            raise _fault(
                "Method get_module_version return value version is not type dict as required."
            )
        return found

    def _groups(self, params: Any, token: str | None) -> Any:
        module, function = params["module_name"], params["function_name"]
        groups = self.groups.get(f"{module}.{function}")
        if groups is None:
            return []
        return [{"module_name": module, "function_name": function, "client_groups": groups}]

    def _log(self, params: Any, token: str | None) -> Any:
        if token is None:
            raise RpcFault(
                -32000, "Server error",
                "Authentication required for Catalog but no authentication header was passed",
            )
        if token != CATALOG_TOKEN:
            raise _fault("You do not have permission to log execution statistics.")
        self.stats.append(params)


def _fault(message: str) -> RpcFault:
    """The Catalog sends the repr of its messages."""
    return RpcFault(-32000, "Server error", repr(message))
