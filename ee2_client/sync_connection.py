"""Made from `sync_connection.py` by `make_sync.py`: change that file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from ee2_client.errors import EngineError, NotAuthenticated, NotFound, Unavailable
from ee2_client.wire import Patience, call_of, checked_url, is_local, no_answer, result_of

T = TypeVar("T")


class Connection:
    """Calls of any method, with one token; a context manager. The parameters are those of
    Client."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_s: float = 60,
        patience_s: float = 30,
        as_admin: bool = False,
        hint: str = "",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = checked_url(url or os.environ.get("EE2_URL"))
        token = (token or os.environ.get("EE2_TOKEN") or "").strip()
        self._has_token = bool(token)
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._rights: dict[str, Any] = {"as_admin": True} if as_admin else {}
        self._hint = hint
        self._http = httpx.Client(
            headers={"Authorization": token} if token else {},
            timeout=timeout_s,
            trust_env=not is_local(self.url),
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(
        self, method: str, *params: Any, safe: bool = False, timeout_s: float | None = None
    ) -> Any:
        """The value that a method returns; None if it returns none. A name without a module is
        execution_engine2's. safe: whether the call may be sent twice. timeout_s: other than the
        client's."""
        body = call_of(method, params)

        def attempt() -> Any:
            try:
                answer = self._http.post(
                    self.url, content=body, timeout=timeout_s or self._timeout_s
                )
            except httpx.TransportError as e:
                raise no_answer(self.url, e, self._hint) from None
            return result_of(self.url, answer)

        try:
            return self._patiently(attempt, safe)
        except NotAuthenticated as e:
            if self._has_token:
                raise
            text = f"{e.message}. Give a token, or set EE2_TOKEN"
            raise NotAuthenticated(text, e.code, e.name) from None

    def _patiently(self, attempt: Callable[[], T], safe: bool) -> T:
        patience = Patience(self._patience_s)
        while True:
            try:
                return attempt()
            except Unavailable as e:
                if e.arrived and not safe:
                    raise Unavailable(
                        f"{e.message}. The call may have arrived all the same: before you send it "
                        "again, look whether it was done",
                        e.code,
                        e.name,
                    ) from None
                pause_s = patience.pause_s()
                if pause_s is None:
                    raise
            time.sleep(pause_s)

    def _ask(self, method: str, **fields: Any) -> Any:
        """A call that is safe to repeat."""
        return self.call(method, {**fields, **self._rights}, safe=True)

    def download(self, artifact: str, target: str | Path) -> Path:
        """Fetch a file that a job has left (`artifact:<submission>/<job>/<name>` in its result) to
        this path. It is there when all of it is; a file of that name is replaced."""
        path = Path(target)
        address = f"{self.url}/artifacts/{quote(artifact.removeprefix('artifact:'))}"
        partial = path.with_name(path.name + ".partial")

        def attempt() -> Path:
            with self._http.stream("GET", address, params=self._rights) as answer:
                if not answer.is_success:
                    answer.read()
                    text = f"{artifact} cannot be fetched: {answer.text[:500]}"
                    if answer.status_code in (502, 503, 504):
                        raise Unavailable(text)
                    raise (NotFound if answer.status_code == 404 else EngineError)(text)
                with partial.open("wb") as file:
                    for chunk in answer.iter_bytes():
                        file.write(chunk)
            return partial.rename(path)

        def fetch() -> Path:
            try:
                return attempt()
            except httpx.TransportError as e:
                raise no_answer(self.url, e, self._hint) from None

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return self._patiently(fetch, safe=True)
        except OSError as e:
            raise EngineError(f"{path} cannot be written: {e}") from None
        finally:
            with suppress(OSError):
                partial.unlink()
