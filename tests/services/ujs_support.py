"""UserAndJobState's clients for tests, and users that no other test knows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs.identity import hash_token
from tests.fakes.kbase_clients import PythonClient, ServerError
from tests.services.rpc_support import Bridge

NOBODY = "5f0c" * 6
NONE = {"ptype": "none"}
TASK = {"ptype": "task", "max": 3}
RESULTS = {
    "shocknodes": ["node1", "node2"],
    "shockurl": "http://shock.example",
    "results": [{"server_type": "ws", "url": "http://ws.example", "id": "7/1/1"}],
}
_names = iter(range(1_000_000))


class Ujs:
    """One user's client: `alice.get_job_status(job)`."""

    def __init__(self, bridge: Bridge, user: str) -> None:
        self.user, self.token = user, bridge.tokens[user]
        self._client = PythonClient(bridge.url.replace("/ee2", "/userandjobstate/"), self.token)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *params: self._client.call(f"UserAndJobState.{name}", *params)


def new_user(bridge: Bridge) -> Ujs:
    """A user that no other test knows, and so one without jobs."""
    name = f"user_{next(_names)}"
    bridge.tokens[name] = f"token_{name}"
    bridge.db.ee2_users.insert_one({"_id": name, "roles": []})
    bridge.db.ee2_tokens.insert_one({"_id": hash_token(f"token_{name}"), "user": name})
    return Ujs(bridge, name)


def started(owner: Ujs, service: Ujs, progress: dict[str, Any] = NONE) -> str:
    """A job that the service has started."""
    job = owner.create_and_start_job(service.token, "busy", "a job", progress, None)
    assert ObjectId.is_valid(job)
    return str(job)


def ids(listed: Any) -> set[str]:
    """The ids of listed jobs."""
    return {job[0] for job in listed or ()}


def refused(text: str, call: Callable[..., Any], *params: Any) -> None:
    """The call is refused with exactly this text, as a Java service refuses."""
    with pytest.raises(ServerError) as raised:
        call(*params)
    assert (raised.value.message, raised.value.code) == (text, -32500)
    assert raised.value.name == "JSONRPCError"


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000")


class _Timed:
    """Equal to every time as it is told, of the last minutes."""

    def __eq__(self, told: object) -> bool:
        if not isinstance(told, str) or not TIME.fullmatch(told):
            return False
        at_s = datetime.strptime(told, "%Y-%m-%dT%H:%M:%S%z").timestamp()
        return abs(time.time() - at_s) < 600


TIMED = _Timed()
