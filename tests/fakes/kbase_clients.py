"""KBase's generated clients, as old programs have them built in: what they send, and above all
what they cannot read. Written after their behaviour (`legacy-apis` 1.4 and 2.6)."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import httpx

FIRST_CHECK_S, FACTOR, LONGEST_CHECK_S = 0.1, 1.5, 300.0


class ServerError(Exception):
    """The Python client's error; it is built from the keys of `error`, and others break it."""

    def __init__(
        self,
        name: str,
        code: int,
        message: str,
        data: str | None = None,
        error: str | None = None,
    ) -> None:
        super().__init__(message)
        self.name, self.code, self.message = name, code, message
        self.data = data or error or ""

    def __str__(self) -> str:
        return f"{self.name}: {self.code}. {self.message}\n" + self.data


class PythonClient:
    """The Python client of a module. sleep: what it waits with between two checks."""

    def __init__(
        self,
        url: str,
        token: str | None,
        service_ver: str | None = "release",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url, self._token, self._service_ver, self._sleep = url, token, service_ver, sleep
        self._http = httpx.Client(trust_env=False, timeout=1800)
        self.job_id = ""

    def call(self, method: str, *params: Any, context: Any = None) -> Any:
        """A synchronous call."""
        body: dict[str, Any] = {"method": method, "params": list(params), "version": "1.1",
                                "id": str(random.random())[2:]}  # fmt: skip
        if context:
            body["context"] = context
        headers = {"AUTHORIZATION": self._token} if self._token else {}
        reply = self._http.post(self._url, content=json.dumps(body).encode(), headers=headers)
        if reply.status_code == 500:
            if reply.headers.get("content-type") != "application/json":
                raise ServerError("Unknown", 0, reply.text)
            answer = reply.json()
            if "error" not in answer:
                raise ServerError("Unknown", 0, reply.text)
            raise ServerError(**answer["error"])
        reply.raise_for_status()
        answer = reply.json()
        if "result" not in answer:
            raise ServerError("Unknown", 0, "An unknown server error occurred")
        if not answer["result"]:
            return None
        return answer["result"][0] if len(answer["result"]) == 1 else answer["result"]

    def run(self, method: str, *params: Any) -> Any:
        """A call by the asynchronous convention, until the job has finished."""
        module, name = method.split(".")
        context = {"service_ver": self._service_ver} if self._service_ver else None
        self.job_id = self.call(f"{module}._{name}_submit", *params, context=context)
        pause_s = FIRST_CHECK_S
        while True:
            self._sleep(pause_s)
            pause_s = min(pause_s * FACTOR, LONGEST_CHECK_S)
            state = self.call(f"{module}._check_job", self.job_id)
            if state["finished"]:
                return state["result"][0]


class JavaError(Exception):
    """The Java client's error."""

    def __init__(self, name: str, code: int, message: str) -> None:
        super().__init__(message)
        self.name, self.code = name, code


class JavaClient:
    """The Java client: it reads answers into declared types, and dies of what does not fit."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url, self._token = url, token
        self._http = httpx.Client(trust_env=False, timeout=1800)

    def call(self, returns: Any, method: str, *params: Any) -> Any:
        """A call; returns: the declared types of the elements of `result`, None for void."""
        body = {"params": list(params), "method": method, "version": "1.1",
                "id": str(random.random())[2:]}  # fmt: skip
        headers = {"Authorization": self._token} if self._token else {}
        reply = self._http.post(self._url, content=json.dumps(body).encode(), headers=headers)
        answer = reply.json()
        if reply.status_code == 500:
            error = answer["error"]
            assert all(not isinstance(v, dict | list) for v in error.values()), "not a scalar"
            raise JavaError(error["name"], int(error["code"]), error["message"])
        assert reply.status_code == 200
        if returns is None:
            return None
        return java_read(answer["result"], returns)


def java_read(value: Any, declared: Any) -> Any:
    """The value, if Java's JSON library could read it into the declared type: int (a Long, which
    takes neither true nor 1.5), str, [T] (a list of T), (T, U, ...) (a tuple), {"key": T} (a class;
    keys it does not know are kept aside), {str: T} (a map), object (anything). null fits all."""
    if value is None or declared is object:
        return value
    if declared is int:
        assert isinstance(value, int) and not isinstance(value, bool), f"no Long: {value!r}"
    elif declared is str:
        assert isinstance(value, str), f"no String: {value!r}"
    elif isinstance(declared, list):
        assert isinstance(value, list), f"no List: {value!r}"
        for item in value:
            java_read(item, declared[0])
    elif isinstance(declared, tuple):
        assert isinstance(value, list) and len(value) == len(declared), f"no Tuple: {value!r}"
        for item, kind in zip(value, declared, strict=True):
            java_read(item, kind)
    else:
        assert isinstance(value, dict), f"no object: {value!r}"
        for key, item in value.items():
            java_read(item, declared.get(str) or declared.get(key, object))
    return value


STATUS = (str, str, str, int, str, int, int)
JSON_RPC_ERROR = {"name": str, "code": int, "message": str, "error": str}
JOB_STATE = {
    "job_id": str, "finished": int, "ujs_url": str, "status": [object], "result": object,
    "error": JSON_RPC_ERROR, "job_state": str, "position": int, "creation_time": int,
    "exec_start_time": int, "finish_time": int, "cancelled": int, "canceled": int,
}  # fmt: skip
RUN_JOB_PARAMS = {
    "method": str, "params": [object], "service_ver": str, "remote_url": str,
    "source_ws_objects": [str], "app_id": str, "meta": {str: str}, "wsid": int,
    "parent_job_id": str, "rpc_context": {"call_stack": [object], "run_id": str},
}  # fmt: skip
LOGS = {"lines": [{"line": str, "is_error": int}], "last_line_number": int}
CANCELED = {"job_id": str, "finished": int, "canceled": int, "ujs_url": str}
