"""The REST API: how a user wants the pages, and saved filters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.services.rest_support import get, refused, request
from tests.services.rpc_support import Bridge


@pytest.fixture
def bare(bridge: Bridge) -> Bridge:
    bridge.db.ee2_page_settings.delete_many({})
    return bridge


def put(bridge: Bridge, path: str, body: Any, who: str = "alice") -> Any:
    answer = request(bridge, "PUT", path, who=who, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_page(bare: Bridge) -> None:
    first = {"time_zone": None, "density": "comfortable", "theme": "system"}
    assert get(bare, "/settings/page") == first
    wanted = {"time_zone": "Europe/Berlin", "density": "compact", "theme": "dark"}
    assert put(bare, "/settings/page", wanted) == get(bare, "/settings/page") == wanted
    assert get(bare, "/settings/page", who="bob") == first
    put(bare, "/settings/filters", {"name": "x", "page": "jobs", "query": ""})
    assert get(bare, "/settings/page") == wanted


@pytest.mark.parametrize(
    "body",
    [{"time_zone": "../etc/passwd"}, {"theme": "pink"}, {"density": 1}, {"more": 1}, [1], "x"],
)
def test_bad_page(bare: Bridge, body: Any) -> None:
    assert refused(bare, "/settings/page", method="PUT", body=body)[0] == 400


def test_filters(bare: Bridge) -> None:
    assert get(bare, "/settings/filters") == {"filters": []}
    for name, page, query in (
        (" Failed ", "history", "status=error"), ("b", "jobs", ""), ("Failed", "history", "q=<b>"),
        ("Failed", "admin/jobs", "q=1"),
    ):  # fmt: skip
        saved = put(bare, "/settings/filters", {"name": name, "page": page, "query": query})
    assert [(f["page"], f["name"], f["query"]) for f in saved["filters"]] == [
        ("admin/jobs", "Failed", "q=1"), ("history", "Failed", "q=<b>"), ("jobs", "b", ""),
    ]  # fmt: skip
    assert get(bare, "/settings/filters") == saved
    assert get(bare, "/settings/filters", who="bob") == {"filters": []}
    gone = {"page": "history", "name": "Failed"}
    assert request(bare, "DELETE", "/settings/filters", who="bob", params=gone).status_code == 404
    left = request(bare, "DELETE", "/settings/filters", params=gone).json()["filters"]
    assert [f["page"] for f in left] == ["admin/jobs", "jobs"]
    assert request(bare, "DELETE", "/settings/filters", params=gone).status_code == 404


def test_so_many_filters(bare: Bridge) -> None:
    for n in range(50):
        put(bare, "/settings/filters", {"name": f"{n}", "page": "jobs", "query": ""})
    one_more = {"name": "50", "page": "jobs", "query": ""}
    status, text = refused(bare, "/settings/filters", method="PUT", body=one_more)
    assert status == 409 and "delete one" in text
    put(bare, "/settings/filters", {"name": "7", "page": "jobs", "query": "new"})


@pytest.mark.parametrize(
    "wrong",
    [{"name": "x" * 61}, {"name": " "}, {"name": ""}, {"name": "a\u202eb"}, {"page": "//evil.com"},
     {"page": "javascript:x"}, {"query": "x" * 2001}, {"query": "\n"}, {"user": "bob"}],
)  # fmt: skip
def test_bad_filters(bare: Bridge, wrong: Any) -> None:
    body = {"name": "x", "page": "jobs", "query": "q=1", **wrong}
    assert refused(bare, "/settings/filters", method="PUT", body=body)[0] == 400
    assert get(bare, "/settings/filters") == {"filters": []}
