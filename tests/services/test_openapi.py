"""The OpenAPI description and the page that shows it."""

from __future__ import annotations

import re

from tests.services.rpc_support import Bridge


def test_the_description(bridge: Bridge) -> None:
    answer = bridge.http.get(f"{bridge.url}/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    described = answer.json()
    assert described["openapi"] == "3.0.3"
    assert described["servers"] == [{"url": "/services"}]
    assert "/ee2/artifacts/{submission}/{job}/{name}" in described["paths"]
    assert "/ee2/jobs/{submission}" not in described["paths"], "no pages are served here"
    operations = [
        operation["operationId"]
        for path in described["paths"].values()
        for verb, operation in path.items()
        if verb != "parameters"
    ]
    assert len(operations) == len(set(operations)) and {"rpc", "aweJobs", "me"} <= set(operations)
    text = answer.text
    for newer in ('"type":"null"', '"examples":[', '"const":', "HTTPValidationError"):
        assert newer not in text, "the page knows 3.0 only"


def test_the_page_asks_no_other_site(bridge: Bridge) -> None:
    page = bridge.http.get(f"{bridge.url}/docs")
    assert page.status_code == 200 and "default-src 'self'" in page.headers[
        "content-security-policy"
    ]
    addresses = re.findall(r"""(?:src|href|url)["']?[=:]\s*["']([^"']+)""", page.text)
    assert len(addresses) >= 4 and all(a.startswith("/services/ee2/") for a in addresses)
    base = bridge.url.removesuffix("/services/ee2")
    for address in addresses:
        assert bridge.http.get(base + address).status_code == 200, address
    for path in ("docs/index.html", "docs/..%2fsecret"):
        assert bridge.http.get(f"{bridge.url}/{path}").status_code == 404
