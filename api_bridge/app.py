"""The application that is mounted at `/services`: `/services/ee2` and what lies below it.

It also runs by itself, for tests and for a deployment without Airflow's web server.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from pymongo.errors import PyMongoError
from starlette.routing import BaseRoute, Mount, Route

from api_bridge import openapi
from api_bridge.artifacts import ArtifactEndpoint
from api_bridge.dashboard import PREFIX as DASHBOARD
from api_bridge.dashboard import DashboardFiles
from api_bridge.envelope import Address
from api_bridge.legacy.awe import AWE_VERBS, AweEndpoint
from api_bridge.rest.api import create_rest_app
from api_bridge.rest.common import Browser, Rest
from api_bridge.rpc import RpcEndpoint
from api_bridge.service import Memory, Service
from api_bridge.sessions import EndedSessions, Sessions
from ee2_jobs import action_runs, changes
from ee2_jobs.engine import Engine
from ee2_jobs.feed import Feed
from ee2_jobs.identity import Identity, LocalIdentity
from ee2_jobs.silent import FLUSH_S
from ee2_jobs.waiting import Waiting

log = logging.getLogger(__name__)

# Python's are 700, 10, 10: the whole heap every second or two at 2,000 calls a second.
_GARBAGE = (10_000, 20, 50)
# Airflow goes on loading parts of itself for a while: rounds of FLUSH_S after which it has.
_SETTLED_AGAIN = (1, 4, 20)
OLD_ADDRESSES = {
    "njs_wrapper": Address("NarrativeJobService", "java"),
    "userandjobstate": Address("UserAndJobState", "java"),
    "narrativejobproxy": Address("NarrativeJobProxy", "python"),
}
"""The old services by the last part of their address, as KBase had them."""
REST = "/ee2/api/v1"
DIRECT = ("ee2", *OLD_ADDRESSES, "awe-api")
"""What `DirectRoute` takes past the host's middleware."""


def create_app(
    make_engine: Callable[[], Awaitable[Engine]],
    make_identity: Callable[[Engine], Identity] | None = None,
    browser: Browser | None = None,
    on_stop: Callable[[], Awaitable[None]] | None = None,
    run_url: Callable[[str, str], str] | None = None,
    dashboard: DashboardFiles | None = None,
) -> FastAPI:
    """The application. Routes: `/ee2`, `/ee2/` (JSON-RPC), `/ee2/artifacts/{path}`, `/ee2/api/v1`
    (REST), `/ee2/dashboard` (which has REST and artifacts below it once more, for those who signed
    in there), and the addresses of the old services with all below them; no redirects, because a
    redirected POST becomes a GET (rule C-20).

    make_engine: called once when the application starts, in its event loop; the engine's store is
    closed when it ends. make_identity: by default users and tokens in MongoDB. browser: who is
    signed in with the browser (for artifacts and REST). on_stop: closes what else was opened with
    the engine. run_url: the address of a submission's DAG run, from the DAG's and its own id.
    dashboard: its files, by default those that were built here.

    It is a FastAPI application because Airflow runs the lifespan of no other; its routes are plain
    ASGI, without FastAPI's machinery. Only REST uses that, in an application of its own.
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
        memory = Memory(engine.store)
        feed = Feed(engine.store)
        running.append(Service(engine, identity, memory, Waiting(engine.store), feed))
        await changes.begin(engine.store)
        await feed.start()
        await action_runs.resume(engine)
        listening = asyncio.create_task(_note_who_is_heard(memory), name="ee2 runners heard")
        _settle_garbage()
        try:
            yield
        finally:
            running.clear()
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            await action_runs.stop()
            await feed.aclose()
            if on_stop is not None:
                await on_stop()
            await engine.store.close()

    rpc = RpcEndpoint(service)
    old: list[BaseRoute] = []
    for name, address in OLD_ADDRESSES.items():
        endpoint = RpcEndpoint(service, address)
        old += [Route(f"/{name}", endpoint), Route(f"/{name}/{{path:path}}", endpoint)]
    artifacts = ArtifactEndpoint(service, browser)
    rest_app = create_rest_app(Rest(service, browser, run_url))
    sessions = Sessions(service, browser)
    own_rest = Rest(service, sessions.visitor, run_url)
    own_rest_app = create_rest_app(own_rest, sessions.router(own_rest))
    own_artifacts = ArtifactEndpoint(service, sessions.visitor)
    awe = AweEndpoint(service)
    endpoints = {"/ee2": rpc, "/ee2/": rpc}
    app = FastAPI(
        title="EE2",
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
        routes=[
            *(Route(path, endpoint) for path, endpoint in endpoints.items()),
            Route(
                "/ee2/artifacts/{path:path}", artifacts.handle, methods=["GET", "HEAD", "PUT"]
            ),
            Mount(REST, rest_app),
            Mount(f"{DASHBOARD}/api/v1", EndedSessions(own_rest_app)),
            Route(
                f"{DASHBOARD}/artifacts/{{path:path}}", own_artifacts.handle,
                methods=["GET", "HEAD"],
            ),
            *(dashboard or DashboardFiles()).routes(),
            *old,
            Route("/awe-api", awe.handle, methods=AWE_VERBS),
            Route("/awe-api/{path:path}", awe.handle, methods=AWE_VERBS),
        ],
    )
    app.router.routes += openapi.routes(
        lambda: service().engine.settings.service_version,
        lambda: {route.path for route in app.routes if isinstance(route, Route)},
        {REST: rest_app},
    )
    # For DirectRoute: these need nothing of the application's.
    app.state.endpoints = endpoints
    return app


def _settle_garbage() -> None:
    """What is loaded by now stays: looking through all of it at each collection of garbage would
    hold every call for a tenth of a second in a process as large as Airflow's. What comes and goes
    with calls is looked through less often, too; hardly any of it is in cycles."""
    gc.set_threshold(*_GARBAGE)
    gc.collect()
    gc.freeze()


async def _note_who_is_heard(memory: Memory) -> None:
    """All the time: the signs of life of runners, from memory to the records."""
    rounds = 0
    while True:
        await asyncio.sleep(FLUSH_S)
        rounds += 1
        if rounds in _SETTLED_AGAIN:
            _settle_garbage()
        try:
            await memory.flush_seen()
            await memory.calls.flush()
        except PyMongoError as e:
            log.warning("Runners were heard of, and it could not be noted: %s", e)
