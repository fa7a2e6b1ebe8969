"""Calls of the REST API in tests."""

from __future__ import annotations

from typing import Any

import httpx

from tests.services.rpc_support import Bridge

API = "/api/v1"


def request(
    bridge: Bridge, method: str, path: str, *, who: str | None = "alice", **how: Any
) -> httpx.Response:
    """One raw request of a user (None: without a token) below /services/ee2/api/v1."""
    headers = how.pop("headers", {})
    token = bridge.token(who)
    if token is not None:
        headers["Authorization"] = token
    return bridge.http.request(method, bridge.url + API + path, headers=headers, **how)


def get(bridge: Bridge, path: str, *, who: str | None = "alice", **params: Any) -> Any:
    """The JSON of a GET that succeeds."""
    answer = request(bridge, "GET", path, who=who, params=params or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(
    bridge: Bridge, path: str, body: Any = None, *, who: str | None = "alice", status: int = 200,
    **params: Any,
) -> Any:
    """The JSON of a POST that answers with this status."""
    answer = request(bridge, "POST", path, who=who, json=body or {}, params=params or None)
    assert answer.status_code == status, answer.text
    return answer.json()


def refused(
    bridge: Bridge, path: str, *, who: str | None = "alice", method: str = "GET", body: Any = None,
    **params: Any,
) -> tuple[int, str]:
    """Status and message of a request that fails; the form of the answer is checked."""
    how: dict[str, Any] = {"params": params or None}
    if method != "GET":
        how["json"] = body or {}
    answer = request(bridge, method, path, who=who, **how)
    assert answer.status_code >= 400, answer.text
    error = answer.json()["error"]
    assert error["status"] == answer.status_code and set(error) == {"status", "message"}
    assert "Traceback" not in error["message"] and error["message"].strip()
    return answer.status_code, error["message"]
