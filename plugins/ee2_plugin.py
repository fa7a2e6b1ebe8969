"""What Airflow loads of EE2: the bridge's application, the backstop at the end of a run, the links.

Every Airflow component imports this file at its start, so it does little: what only the API server
needs is imported when that asks for the application, and connections are opened when it starts.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

from ee2_operators import airflow_internals, listener
from ee2_operators.operators import JobsLink

if TYPE_CHECKING:
    from fastapi import FastAPI

PREFIX = "/services"


@cache
def _application() -> FastAPI:
    """The bridge with its ports: our stores or KBase's services, Airflow's users, Airflow as the
    orchestrator."""
    from api_bridge.app import create_app
    from api_bridge.pages import Pages
    from api_bridge.rest.common import Visitor
    from ee2_jobs.catalog import register_apps
    from ee2_jobs.engine import Engine
    from ee2_jobs.identity import ROLE_ADMIN, Caller
    from ee2_jobs.migrations import migrate_at_start
    from ee2_jobs.store import Store
    from ee2_operators.starter import Starter
    from kbase_services.ports import Ports, open_ports

    engines: list[Engine] = []
    opened: list[Ports] = []

    async def make_engine() -> Engine:
        # A thread creates Airflow's runs; it must not keep the calls waiting for its 5 ms turns.
        sys.setswitchinterval(0.0005)
        settings = airflow_internals.engine_settings()
        store = Store(airflow_internals.mongo_uri())
        await migrate_at_start(store)
        await register_apps(store, Path(settings.apps_dir))
        opened[:] = [open_ports(settings, store)]
        engines[:] = [
            Engine(
                store=store,
                settings=settings,
                groups=settings.groups(),
                catalog=opened[0].catalog,
                workspaces=opened[0].workspaces,
                orchestrator=Starter(store),
            )
        ]
        return engines[0]

    async def browser(request: Any) -> Visitor | None:
        user = await airflow_internals.signed_in(request)
        if user is None:
            return None
        roles = frozenset({ROLE_ADMIN}) if user.is_admin else frozenset[str]()
        return Visitor(Caller(user.name, roles), may_write=user.may_edit, browser=True)

    async def viewer(request: Any) -> Caller | None:
        visitor = await browser(request)
        return visitor.caller if visitor else None

    def run_url(dag_id: str, submission_id: str) -> str:
        return f"{airflow_internals.base_path()}/dags/{dag_id}/runs/{submission_id}"

    async def run_user(dag_id: str, run_id: str) -> tuple[str, bool] | None:
        user = await airflow_internals.run_user(dag_id, run_id)
        return (user.name, user.is_admin) if user else None

    async def close_ports() -> None:
        await opened[0].aclose()

    app = create_app(
        make_engine,
        make_identity=lambda _: opened[0].identity,
        browser=browser,
        on_stop=close_ports,
        run_url=run_url,
    )
    pages = Pages(lambda: engines[0], viewer, run_url, run_user, _job_url)
    app.router.routes.extend(pages.routes())
    return app


def _job_url(kind: str, job_id: str) -> str | None:
    """Where the dashboard within Airflow shows a job (`jobs`) or a batch (`batches`)."""
    if not _react_apps():
        return None
    return f"{airflow_internals.base_path()}/plugin/ee2-jobs/{kind}/{job_id}"


@cache
def _react_apps() -> list[Any]:
    from api_bridge.dashboard import react_apps

    return react_apps(f"{airflow_internals.base_path()}{PREFIX}")


class Ee2Plugin(AirflowPlugin):
    """See the module."""

    name = "ee2"
    listeners: list[Any] = [listener]
    operator_extra_links: list[Any] = [JobsLink()]

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """Asked for by the API server only."""
        return [{"app": _application(), "url_prefix": PREFIX, "name": "EE2"}]

    @property
    def react_apps(self) -> list[Any]:  # type: ignore[override]
        """The dashboard's places in Airflow's pages; asked for by the API server only."""
        return _react_apps()

    @property
    def fastapi_root_middlewares(self) -> list[Any]:  # type: ignore[override]
        """The short way for clients that come with a token of their own."""
        from api_bridge.app import DIRECT
        from api_bridge.direct import DirectRoute

        app = _application()
        direct = airflow_internals.middleware(
            DirectRoute,
            target=app,
            prefix=PREFIX,
            names=DIRECT,
            endpoints=app.state.endpoints,
        )
        return [direct]
