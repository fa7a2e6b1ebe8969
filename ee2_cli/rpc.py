"""A client of the JSON-RPC 1.1 methods, as any other program would be one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx

from ee2_cli.settings import StackError


class CallFailed(StackError):
    """The server's error answer; code is JSON-RPC's."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Rpc:
    """Calls with one token. Keep it open for several calls; it is a context manager."""

    def __init__(self, url: str, token: str | None, timeout_s: float = 60) -> None:
        headers = {"Authorization": token} if token else {}
        self._url = url
        self._client = httpx.Client(headers=headers, timeout=timeout_s, trust_env=False)

    def __enter__(self) -> Rpc:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def call(self, method: str, *params: Any) -> Any:
        """The result of `execution_engine2.<method>`; CallFailed with the server's message."""
        body = {
            "version": "1.1",
            "id": uuid4().hex,
            "method": f"execution_engine2.{method}",
            "params": list(params),
        }
        try:
            response = self._client.post(self._url, json=body)
        except httpx.HTTPError as e:
            raise self._no_answer(e) from None
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
            raise StackError(
                f"{self._url} answered with HTTP status {response.status_code} and no JSON-RPC: "
                "the EE2 plugin is not loaded there; look at the api-server's log"
            )
        if error := answer.get("error"):
            raise CallFailed(str(error.get("message")), error.get("code"))
        result = answer["result"]
        return result[0] if isinstance(result, list) and result else result

    def download(self, artifact: str, target: Path, *, as_admin: bool = False) -> Path:
        """Fetch an artifact (`artifact:<submission>/<job>/<name>`) into a file; StackError says why
        it cannot be fetched. The file is there when all of it is."""
        address = f"{self._url}/artifacts/{quote(artifact.removeprefix('artifact:'))}"
        rights = {"as_admin": 1} if as_admin else None
        partial = target.with_name(target.name + ".partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._client.stream("GET", address, params=rights) as response:
                if response.is_error:
                    response.read()
                    raise StackError(f"{artifact} cannot be fetched: {response.text[:500]}")
                with partial.open("wb") as file:
                    for chunk in response.iter_bytes():
                        file.write(chunk)
            return partial.rename(target)
        except httpx.HTTPError as e:
            raise self._no_answer(e) from None
        except OSError as e:
            raise StackError(f"{target} cannot be written: {e}") from None
        finally:
            with suppress(OSError):
                partial.unlink()

    def _no_answer(self, error: httpx.HTTPError) -> StackError:
        return StackError(
            f"The engine at {self._url} does not answer ({error}). Start it with ./ee2 up"
        )


def server_version(url: str) -> str | None:
    """The engine's version; None if it does not answer (yet)."""
    try:
        with Rpc(url, token=None, timeout_s=5) as server:
            return str(server.call("ver"))
    except StackError:
        return None
