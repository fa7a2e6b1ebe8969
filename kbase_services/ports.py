"""Which implementation stands behind each port: KBase's service where a setting has its address,
else the local one in our MongoDB."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from urllib.parse import urlsplit

from ee2_jobs.catalog import Catalog, LocalCatalog
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Identity, LocalIdentity
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from ee2_jobs.workspaces import LocalWorkspaces, Workspaces
from kbase_services.auth import Auth2Identity
from kbase_services.catalog import KBaseCatalog
from kbase_services.http import Patience, Service
from kbase_services.workspace import KBaseWorkspaces


@dataclass(frozen=True)
class Ports:
    """The ports of one process and event loop; close them with `aclose`."""

    identity: Identity
    workspaces: Workspaces
    catalog: Catalog
    services: tuple[Service, ...] = ()

    async def aclose(self) -> None:
        """Close the connections to KBase's services."""
        await asyncio.gather(*(service.aclose() for service in self.services))


def open_ports(settings: Settings, store: Store, patience: Patience | None = None) -> Ports:
    """The ports as the settings say; InvalidInput names a setting that is no address. Nothing is
    asked yet: a service may start later than we do."""
    services: list[Service] = []

    def service(name: str, setting: str) -> Service:
        url = getattr(settings, setting)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.password:
            raise InvalidInput(
                f"[ee2] {setting} must be an address such as https://kbase.us/services/…, "
                "without user and password"
            )
        services.append(Service(name, url, patience))
        return services[-1]

    if settings.workspace_url and not settings.auth_url:
        raise InvalidInput(
            "[ee2] workspace_url needs auth_url: the Workspace decides by the users' KBase tokens"
        )
    # One line per look-up is nothing to keep, and it would name users.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    identity: Identity = LocalIdentity(store, settings.secret_key)
    workspaces: Workspaces = LocalWorkspaces(store)
    local_catalog = LocalCatalog(store)
    catalog: Catalog = local_catalog
    if settings.auth_url:
        identity = Auth2Identity(
            service("Auth", "auth_url"),
            store,
            settings.secret_key,
            admin_role=settings.admin_role,
            admin_read_role=settings.admin_read_role,
        )
    if settings.workspace_url:
        workspaces = KBaseWorkspaces(
            service("Workspace", "workspace_url"), admin_token=settings.workspace_admin_token
        )
    if settings.catalog_url:
        catalog = KBaseCatalog(
            service("Catalog", "catalog_url"), local_catalog, token=settings.catalog_token
        )
    return Ports(identity, workspaces, catalog, tuple(services))
