"""How the Java services are reached, and what they say of calls that do not fit."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.fakes.kbase_clients import (
    JOB_STATE,
    JavaError,
)
from tests.services.legacy_support import (
    UNKNOWN,
    address,
    java_njs,
)
from tests.services.rpc_support import Bridge


def post(bridge: Bridge, body: Any, path: str = "njs_wrapper", **headers: str) -> httpx.Response:
    url = f"{bridge.url.rsplit('/', 1)[0]}/{path}"
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return bridge.http.post(url, content=content, headers=headers)


def error_of(reply: httpx.Response) -> tuple[int, str]:
    assert reply.status_code == 500
    assert reply.headers["content-type"] == "application/json"
    error = reply.json()["error"]
    assert set(error) == {"name", "code", "message", "error"}
    assert error["name"] == "JSONRPCError" and error["error"] is None
    return error["code"], error["message"]


def test_java_errors(bridge: Bridge) -> None:
    body = {"version": "1.1", "id": "1", "method": "NarrativeJobService.ver", "params": []}

    def told(**changes: Any) -> tuple[int, str]:
        sent = {k: v for k, v in {**body, **changes}.items() if v is not ...}
        return error_of(post(bridge, sent, Authorization=bridge.tokens["alice"]))

    assert told(method=...) == (-32601, "JSON RPC method property is not defined")
    assert told(params=...) == (-32601, "JSON RPC params property is not defined")
    assert told(method="NarrativeJobService.run_app") == (
        -32601,
        "Can not find method [NarrativeJobService.run_app] in server class "
        "us.kbase.narrativejobservice.NarrativeJobServiceServer",
    )
    assert told(params=[1]) == (-32602, "Wrong parameter count for method NarrativeJobService.ver")
    check = "NarrativeJobService.check_job"
    assert told(method=check) == (-32602, f"Wrong parameter count for method {check}")
    assert told(method=check, params=[{}])[1].startswith(
        f"Wrong type of parameter 1 for method {check} ("
    )
    assert told(method=check, params=[None]) == (-32500, "id cannot be null or the empty string")
    canceled = "NarrativeJobService.check_job_canceled"
    assert told(method=canceled, params=[None]) == (-32500, "No parameters supplied to method")
    assert told(method=canceled, params=[{}]) == (-32500, "No job id supplied")
    assert error_of(post(bridge, b"{"))[0] == -32700
    assert error_of(post(bridge, b"[]"))[1].startswith("Parse error (")
    assert error_of(post(bridge, b"x" * 5_000_001)) == (
        -32700, "Object is too big, length is more than 5000000 bytes"
    )  # fmt: skip
    body["method"] = check
    body["params"] = [UNKNOWN]
    assert error_of(post(bridge, body)) == (
        -32400,
        "Token validation failed: Authorization is required for this method but no credentials "
        "were provided",
    )
    code, text = error_of(post(bridge, body, Authorization="wrong"))
    assert code == -32400 and text.startswith("Token validation failed: ")


def test_addresses(bridge: Bridge) -> None:
    ask = {"version": "1.1", "id": "1", "method": "NarrativeJobService.ver", "params": []}
    for path in ("njs_wrapper", "njs_wrapper/", "njs_wrapper/any/rpc", "userandjobstate/",
                 "narrativejobproxy", "ee2"):  # fmt: skip
        assert post(bridge, ask, path).json()["result"] == ["0.2.11"], path
    # Every service answers at every address; the address is who is meant where nothing is said.
    bare = {"method": "ver", "params": []}
    assert post(bridge, bare).json() == {"version": "1.1", "result": ["0.2.11"]}
    assert post(bridge, bare, "userandjobstate").json()["result"] == ["0.2.3"]
    assert post(bridge, {**bare, "id": None}).json()["result"] == ["0.2.11"]
    ee2 = {**ask, "method": "execution_engine2.ver"}
    assert post(bridge, ee2).json()["result"] == ["0.1.0"]
    content_type = {"Content-Type": "application/x-www-form-urlencoded"}
    assert post(bridge, ask, **content_type).json()["result"] == ["0.2.11"]
    url = address(bridge, "njs_wrapper")
    for _ in range(2):
        assert error_of(bridge.http.get(url)) == (-32300, "HTTP GET not allowed.")
        url += "more"
    options = bridge.http.options(url, headers={"Access-Control-Request-Headers": "x-y"})
    assert options.status_code == 200 and options.content == b""
    assert options.headers["access-control-allow-headers"] == "x-y"


def test_java_clients_read_errors(bridge: Bridge) -> None:
    with pytest.raises(JavaError, match="viewable by user alice") as caught:
        java_njs(bridge).call([JOB_STATE], "NarrativeJobService.check_job", UNKNOWN)
    assert caught.value.code == -32500
