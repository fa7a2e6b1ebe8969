"""What all routes of the REST API share: who may ask, errors, ETags, HEAD and OPTIONS, cursors."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from api_bridge.rest.common import Rest, Visitor, decode_cursor, encode_cursor
from ee2_jobs.errors import Denied, InvalidInput
from ee2_jobs.identity import Caller
from tests.services.rpc_support import Bridge


def get(bridge: Bridge, path: str, who: str | None = "alice", **headers: str) -> Any:
    """GET below /api/v1 with a user's token."""
    token = bridge.token(who)
    if token is not None:
        headers["Authorization"] = token
    return bridge.http.get(f"{bridge.url}/api/v1{path}", headers=headers)


def message(answer: Any, status: int) -> str:
    """The message of an error answer, whose form is checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert set(content) == {"error"} and set(content["error"]) == {"status", "message"}
    assert content["error"]["status"] == status
    return str(content["error"]["message"])


def test_who_asks(bridge: Bridge) -> None:
    mine = get(bridge, "/me").json()
    assert (mine["user"], mine["is_admin"], mine["is_admin_reader"]) == ("alice", False, False)
    assert mine["may_write"] and mine["as_of"] > 1.7e12
    root = get(bridge, "/me", "root").json()
    assert root["is_admin"] and root["is_admin_reader"]
    eva = get(bridge, "/me", "eva").json()
    assert not eva["is_admin"] and eva["is_admin_reader"]
    session = get(bridge, "/me", None, Cookie="session_of=bob").json()
    assert session["user"] == "bob"
    both = get(bridge, "/me", "alice", Cookie="session_of=bob").json()
    assert both["user"] == "alice", "a token goes before a session"
    assert "sign in" in message(get(bridge, "/me", None), 401)
    assert "10020" in message(get(bridge, "/me", None, Authorization="wrong"), 401)
    job = bridge.job()
    assert job in message(get(bridge, "/me", job), 403)


def test_an_unchanged_answer_costs_a_304(bridge: Bridge) -> None:
    first = get(bridge, "/me")
    tag = first.headers["etag"]
    for known in (tag, f'"x", {tag}', tag.removeprefix("W/"), "*"):
        again = get(bridge, "/me", **{"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b""), known
        assert again.headers["etag"] == tag
    assert get(bridge, "/me", "root", **{"If-None-Match": tag}).status_code == 200


def test_headers_and_verbs(bridge: Bridge) -> None:
    answer = get(bridge, "/me")
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    url = f"{bridge.url}/api/v1/me"
    head = bridge.http.head(url, headers={"Authorization": bridge.token("alice") or ""})
    assert head.status_code == 200 and head.content == b""
    assert int(head.headers["content-length"]) > 50
    asked = bridge.http.options(url, headers={"Access-Control-Request-Headers": "authorization"})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-headers"] == "authorization"
    assert "access-control-allow-credentials" not in asked.headers
    assert "DELETE" in message(bridge.http.delete(url), 405)


@pytest.mark.parametrize("path", ["/nothing", "/me/", "/", "/jobs/x/y/z", "/%00"])
def test_there_is_no_such_address(bridge: Bridge, path: str) -> None:
    message(get(bridge, path), 404)


def test_cursors() -> None:
    text = encode_cursor("jobs mine", 1.5, "66f2", None)
    assert text.isascii() and "=" not in text
    assert decode_cursor("jobs mine", text) == [1.5, "66f2", None]
    for kind, wrong in (
        ("jobs all", text), ("jobs mine", text[:-3]), ("jobs mine", ""), ("jobs mine", "ü{}"),
        ("jobs mine", "W10"), ("jobs mine", "bnVsbA"), ("jobs mine", "[" * 3000),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match="belongs to another list"):
            decode_cursor(kind, wrong)


_JSON = {"content-type": "application/json; charset=utf-8"}
_OWN = {**_JSON, "origin": "https://ee2.example"}


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        (_OWN, True),
        ({**_JSON, "sec-fetch-site": "same-origin"}, True),
        ({**_OWN, "sec-fetch-site": "same-origin"}, True),
        ({**_JSON, "origin": "https://outside.example"}, True),  # the address that people use
        (_JSON, False),
        ({"origin": "https://ee2.example"}, False),
        ({**_OWN, "content-type": "text/plain"}, False),
        ({**_OWN, "content-type": "application/x-www-form-urlencoded"}, False),
        ({**_OWN, "origin": "https://evil.example"}, False),
        ({**_OWN, "origin": "https://ee2.example.evil.example"}, False),
        ({**_OWN, "origin": "null"}, False),
        ({**_OWN, "origin": ""}, False),
        ({**_OWN, "sec-fetch-site": "cross-site"}, False),
        ({**_OWN, "sec-fetch-site": "same-site"}, False),
        ({**_OWN, "origin": "https://evil.example", "sec-fetch-site": "same-origin"}, False),
    ],
)
def test_a_session_changes_things_from_our_pages_only(
    headers: dict[str, str], allowed: bool
) -> None:
    settings = SimpleNamespace(rpc_url="https://outside.example/services/ee2")
    service: Any = SimpleNamespace(engine=SimpleNamespace(settings=settings))

    async def ask(may_write: bool) -> Caller:
        async def browser(_: Request) -> Visitor:
            return Visitor(Caller("ana"), may_write=may_write, browser=True)

        scope = {
            "type": "http", "method": "POST", "path": "/x", "query_string": b"",
            "headers": [(k.encode(), v.encode())
                        for k, v in {"host": "ee2.example", **headers}.items()],
        }  # fmt: skip
        return await Rest(lambda: service, browser).writer(Request(scope))

    if allowed:
        assert asyncio.run(ask(True)).user == "ana"
        with pytest.raises(Denied, match="may only look"):
            asyncio.run(ask(False))
    else:
        with pytest.raises(Denied, match="application/json|another site"):
            asyncio.run(ask(True))


def test_half_letters_are_bad_input(bridge: Bridge) -> None:
    """JSON can write a lone surrogate, which neither MongoDB nor an answer can have."""
    half = "\\ud800"
    for path, body in (
        ("/limits/preview", f'{{"kind": "user", "user": "{half}"}}'),
        ("/controls/drain", f'{{"group": "{half}"}}'),
        ("/controls/drain", f'{{"group": "njs", "reason": "{half}"}}'),
    ):
        headers = {"Authorization": bridge.token("root") or "", "Content-Type": "application/json"}
        url = f"{bridge.url}/api/v1{path}"
        message(bridge.http.post(url, content=body, headers=headers), 400)
