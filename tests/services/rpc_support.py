"""A live bridge for tests: the application under uvicorn, over a real MongoDB, called by HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
from bson import ObjectId
from fastapi import FastAPI
from pymongo import MongoClient
from starlette.requests import Request

from api_bridge.app import create_app
from api_bridge.rest.common import Visitor
from ee2_jobs.catalog import App, Method
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller, Identity, add_user, create_token, job_token
from ee2_jobs.settings import ClientGroup, ClientGroups, Settings
from ee2_jobs.store import Store
from ee2_jobs.workspaces import create_workspace, share_workspace
from kbase_services.ports import Ports, open_ports

SECRET = "k" * 32
USERS: dict[str, tuple[str, ...]] = {
    "alice": (),  # owns workspace 7 and most jobs
    "rob": (),  # may read workspace 7
    "wendy": (),  # may write workspace 7
    "bob": (),  # a stranger; owns workspace 8
    "root": ("admin",),
    "eva": ("admin_read",),
    "kbaseconcierge": (),
}


class RpcError(Exception):
    """An error answer of the server, checked for its form."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code: int = error["code"]
        self.name: str = error["name"]


class Started:
    """An orchestrator that only notes what it is asked to start."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def start(self, submission_ids: Sequence[str]) -> None:
        self.ids += submission_ids


class Bridge:
    """The server, a client for it, and a look into its database. settings: besides the usual ones;
    they say which ports it has."""

    def __init__(self, mongo_uri: str, folder: Path, port: int, **settings: Any) -> None:
        self.database = f"test_{ObjectId()}"
        self.tokens: dict[str, str] = {}
        self.started = Started()
        self.url = f"http://127.0.0.1:{port}/services/ee2"
        self._uri, self._port = mongo_uri, port
        self._mongo: MongoClient[dict[str, Any]] = MongoClient(mongo_uri)
        self.db = self._mongo[self.database]
        self.http = httpx.Client(trust_env=False, timeout=60)
        self._settings = {
            "rpc_url": self.url, "secret_key": SECRET, "stage_dir": "/tmp", "apps_dir": "/apps",
            "artifacts_url": folder.as_uri(), "client_groups": "", "runner": "/r",
            "max_batch_jobs": 50, "max_body_mb": 5, "max_list_jobs": 20,
            "notice_channels": "email,slack,webhook", **settings,
        }
        self._ports: Ports | None = None
        self.app = create_app(
            self._make_engine,
            make_identity=self._make_identity,
            browser=_browser,
            on_stop=self._close_ports,
        )
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    async def _make_engine(self) -> Engine:
        store = Store(self._uri, self.database)
        await store.ensure_indexes()
        for user, roles in USERS.items():
            await add_user(store, user, roles=roles)
            self.tokens[user] = await create_token(store, user)
        await create_workspace(store, 7, "alice")
        await share_workspace(store, 7, "wendy", "w")
        await share_workspace(store, 7, "rob", "r")
        await create_workspace(store, 8, "bob")
        true = Method(command=("true",))
        methods = {"f": Method(command=("true",), split="s", aggregate="a"), "s": true, "a": true}
        for name, described in (("m", methods), ("ee2_recipes", {"report": true})):
            app = App(module=name, version="1", git_commit="c0ffee", folder="m", methods=described)
            await store.apps.insert_one({**app.model_dump(mode="json"), "current": True})
        group = ClientGroup(cpus=1, memory_mb=10, disk_gb=1)
        settings = Settings.model_validate(self._settings)
        ports = self._ports = open_ports(settings, store)
        return Engine(
            store=store,
            settings=settings,
            groups=ClientGroups(default="njs", groups={"njs": group, "bigmem": group}),
            catalog=ports.catalog,
            workspaces=ports.workspaces,
            orchestrator=self.started,
        )

    def _make_identity(self, engine: Engine) -> Identity:
        assert self._ports is not None
        return self._ports.identity

    async def _close_ports(self) -> None:
        assert self._ports is not None
        await self._ports.aclose()

    def start(self) -> None:
        """Start the server; mounted as in Airflow, in a host application."""
        host = FastAPI(lifespan=self.app.router.lifespan_context)
        host.mount("/services", self.app)
        config = uvicorn.Config(
            host, host="127.0.0.1", port=self._port, log_level="warning", access_log=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 30
        while not self._server.started:
            assert self._thread.is_alive() and time.monotonic() < deadline, "no bridge"
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server and drop its database."""
        assert self._server is not None and self._thread is not None
        self.http.close()
        self._server.should_exit = True
        self._thread.join(20)
        self._mongo.drop_database(self.database)
        self._mongo.close()

    def token(self, who: str | None) -> str | None:
        """The token of a user, or of the job with that id."""
        if who is None:
            return None
        return self.tokens.get(who) or job_token(SECRET, who)

    def post(self, body: Any, token: str | None = None, **headers: str) -> httpx.Response:
        """One raw request; bytes as they are, everything else as JSON."""
        if token is not None:
            headers["Authorization"] = token
        if isinstance(body, bytes):
            return self.http.post(self.url, content=body, headers=headers)
        return self.http.post(self.url, json=body, headers=headers)

    def call(self, method: str, *params: Any, who: str | None = "alice") -> Any:
        """The only element of `result` (None for a null result); RpcError for an error answer.

        The form of every answer is checked on the way.
        """
        name = method if "." in method else f"execution_engine2.{method}"
        call_id = str(uuid4().int)[:17]
        body = {"version": "1.1", "id": call_id, "method": name, "params": list(params)}
        answer = self.post(body, self.token(who))
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["access-control-allow-origin"] == "*"
        content = answer.json()
        assert content["version"] == "1.1" and content["id"] == call_id
        if answer.status_code == 200:
            assert set(content) == {"version", "result", "id"}
            result = content["result"]
            if result is None:
                return None
            assert isinstance(result, list) and len(result) == 1
            return result[0]
        assert answer.status_code == 500
        assert set(content) == {"version", "error", "id"}
        error = content["error"]
        assert set(error) == {"name", "code", "message", "error"}
        assert error["error"] is None and isinstance(error["message"], str)
        assert "Traceback" not in error["message"] and error["message"].strip()
        raise RpcError(error)

    def job(self, who: str = "alice", wsid: int | None = 7, **more: Any) -> str:
        """A new job, in state created."""
        return str(self.call("run_job", {"method": "m.f", "wsid": wsid, **more}, who=who))

    def record(self, job_id: str) -> dict[str, Any]:
        """The stored record."""
        record = self.db.ee2_jobs.find_one({"_id": ObjectId(job_id)})
        assert record is not None
        return record

    def counts(self) -> tuple[int, int]:
        """How many records and submissions there are."""
        return (
            self.db.ee2_jobs.count_documents({}),
            self.db.ee2_submissions.count_documents({}),
        )


async def _browser(request: Request) -> Visitor | None:
    """A stand-in for Airflow's session: the user that a cookie names, with the user's roles; one
    who may only look with the cookie `only_reads`."""
    await asyncio.sleep(0)
    user = request.cookies.get("session_of")
    if user is None:
        return None
    roles = frozenset(USERS.get(user, ()))
    may_write = "only_reads" not in request.cookies
    return Visitor(Caller(user, roles), may_write=may_write, browser=True)
