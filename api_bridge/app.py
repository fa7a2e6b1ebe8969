"""The application that is mounted at `/services`: `/services/ee2` and what lies below it.

It also runs by itself, for tests and for a deployment without Airflow's web server.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.routing import Route

from api_bridge.artifacts import ArtifactEndpoint, BrowserUser
from api_bridge.rpc import RpcEndpoint
from api_bridge.service import Memory, Service
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Identity, LocalIdentity


def create_app(
    make_engine: Callable[[], Awaitable[Engine]],
    make_identity: Callable[[Engine], Identity] | None = None,
    browser_user: BrowserUser | None = None,
) -> FastAPI:
    """The application. Routes: `/ee2`, `/ee2/` (JSON-RPC), `/ee2/artifacts/{path}`; no redirects,
    because a redirected POST becomes a GET (rule C-20).

    make_engine: called once when the application starts, in its event loop; the engine's store is
    closed when it ends. make_identity: by default users and tokens in MongoDB. browser_user: who is
    signed in with the browser (artifacts may be read with that).

    It is a FastAPI application because Airflow runs the lifespan of no other; its routes are plain
    ASGI, without FastAPI's machinery.
    """
    running: list[Service] = []

    def service() -> Service:
        return running[0]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine = await make_engine()
        identity = (
            make_identity(engine)
            if make_identity is not None
            else LocalIdentity(engine.store, engine.settings.secret_key)
        )
        running.append(Service(engine, identity, Memory(engine.store)))
        # What is loaded by now stays. Looking through all of it at each collection of garbage
        # would hold every call for tenths of a second in a process as large as Airflow's.
        gc.collect()
        gc.freeze()
        try:
            yield
        finally:
            running.clear()
            await engine.store.close()

    rpc = RpcEndpoint(service)
    artifacts = ArtifactEndpoint(service, browser_user)
    return FastAPI(
        title="EE2",
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
        routes=[
            Route("/ee2", rpc),
            Route("/ee2/", rpc),
            Route(
                "/ee2/artifacts/{path:path}", artifacts.handle, methods=["GET", "HEAD", "PUT"]
            ),
        ],
    )
