"""Artifacts over HTTP, and the short way past a host application's middleware."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from api_bridge.direct import DirectRoute
from ee2_client import Client, EngineError
from tests.services.rpc_support import Bridge


def request(
    bridge: Bridge, verb: str, ref: str, who: str | None, content: object = None
) -> httpx.Response:
    token = bridge.token(who)
    headers = {} if token is None else {"Authorization": token}
    return bridge.http.request(
        verb, f"{bridge.url}/artifacts/{ref}", headers=headers, content=content
    )


def batch(bridge: Bridge, jobs: int = 2) -> tuple[str, list[str]]:
    ids = bridge.call("run_job_batch", [{"method": "m.f"}] * jobs, {"wsid": 7})
    return ids["batch_id"], ids["child_job_ids"]


def test_a_job_writes_its_own_and_its_submission_reads(bridge: Bridge) -> None:
    batch_id, (job, sibling) = batch(bridge)
    ref = f"{batch_id}/{job}/sub folder/chunk 1 é.sam"
    data = bytes(range(256)) * 20_000

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(data), 70_000):
            yield data[start : start + 70_000]

    assert request(bridge, "PUT", ref, job, chunks()).status_code == 201
    for reader in (job, sibling, "alice", "rob"):
        answer = request(bridge, "GET", ref, reader)
        assert answer.status_code == 200 and answer.content == data
        assert answer.headers["content-length"] == str(len(data))
        assert answer.headers["content-disposition"].startswith("attachment")
    head = request(bridge, "HEAD", ref, "alice")
    assert head.status_code == 200 and head.headers["content-length"] == str(len(data))
    assert head.content == b""
    assert request(bridge, "PUT", ref, job, b"new").status_code == 201
    assert request(bridge, "GET", ref, job).content == b"new"


def test_who_may_not(bridge: Bridge) -> None:
    batch_id, (job, sibling) = batch(bridge)
    stranger = bridge.job(who="bob", wsid=8)
    ref = f"{batch_id}/{job}/x.txt"
    assert request(bridge, "PUT", ref, job, b"x").status_code == 201
    for who, status in ((None, 401), ("bob", 404), (stranger, 404)):
        answer = request(bridge, "GET", ref, who)
        assert answer.status_code == status and answer.content != b"x"
    for who, status in ((None, 401), ("alice", 403), (sibling, 403), (stranger, 403)):
        assert request(bridge, "PUT", ref, who, b"y").status_code == status
    assert request(bridge, "PUT", f"{stranger}/{job}/x.txt", job, b"y").status_code == 403
    # A readable job does not open another submission's folder.
    mine = bridge.job(who="bob", wsid=8)
    assert request(bridge, "GET", f"{batch_id}/{mine}/x.txt", "bob").status_code == 404
    assert request(bridge, "GET", ref, job).content == b"x"
    bridge.call("cancel_job", {"job_id": job})
    for verb in ("GET", "PUT"):
        assert request(bridge, verb, ref, job, b"z").status_code == 403
    assert request(bridge, "GET", ref, "alice").content == b"x"


def test_the_command_line_fetches_as_an_administrator(bridge: Bridge, tmp_path: Path) -> None:
    job = bridge.job()
    ref, target = f"{job}/{job}/a b/é?x=1#y", tmp_path / "new" / "file"
    with Client(bridge.url, bridge.token(job)) as runner:
        address = httpx.URL(bridge.url).copy_with(
            raw_path=f"/services/ee2/artifacts/{job}/{job}/a%20b/%C3%A9%3Fx%3D1%23y".encode()
        )
        put = bridge.http.put(
            address, headers={"Authorization": str(bridge.token(job))}, content=b"data"
        )
        assert put.status_code == 201
        assert runner.download(f"artifact:{ref}", target).read_bytes() == b"data"
    for who, as_admin in (("root", True), ("eva", True), ("alice", False)):
        with Client(bridge.url, bridge.token(who), as_admin=as_admin) as client:
            client.download(f"artifact:{ref}", target)
    for who, as_admin in (("root", False), ("alice", True), ("bob", True)):
        with Client(bridge.url, bridge.token(who), as_admin=as_admin) as client:
            with pytest.raises(EngineError, match="fetch"):
                client.download(f"artifact:{ref}", target)
    with Client(bridge.url, bridge.token("alice")) as client:
        with pytest.raises(EngineError, match="file/x cannot be written: "):
            client.download(f"artifact:{ref}", target / "x")
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_retry_reads_what_its_batch_holds(bridge: Bridge) -> None:
    batch_id, (job, sibling) = batch(bridge)
    ref = f"{batch_id}/{sibling}/chunk"
    assert request(bridge, "PUT", ref, sibling, b"x").status_code == 201
    bridge.call("cancel_job", {"job_id": job})
    retry = bridge.call("retry_job", {"job_id": job})["retry_id"]
    assert bridge.record(retry)["submission"] != batch_id
    assert request(bridge, "GET", ref, retry).content == b"x"
    other_batch, (other, _) = batch(bridge)
    assert request(bridge, "GET", ref, other).status_code == 404
    assert request(bridge, "GET", f"{batch_id}/{sibling}/absent", retry).status_code == 404
    assert other_batch != batch_id


@pytest.mark.parametrize(
    "name", ["..%2f..%2fx", "a/../../x", "%2e%2e/%2e%2e/x", "a//b", "a%00b", "a%5cb", "", "x/",
             ".ee2-part-1", "a%0ab", "n" * 300]
)  # fmt: skip
def test_names_that_lead_elsewhere(bridge: Bridge, name: str) -> None:
    job = bridge.job()
    token = bridge.token(job)
    assert token is not None
    # httpx would tidy the path up: the raw form must reach the server.
    url = httpx.URL(bridge.url).copy_with(
        raw_path=f"/services/ee2/artifacts/{job}/{job}/{name}".encode()
    )
    for verb in ("PUT", "GET"):
        answer = bridge.http.request(verb, url, headers={"Authorization": token}, content=b"x")
        assert answer.status_code in (400, 404), answer.text
        assert "Traceback" not in answer.text
    assert request(bridge, "GET", "x", "alice").status_code == 400
    assert request(bridge, "GET", f"{ObjectId()}/{ObjectId()}/x", "alice").status_code == 404


def test_reports_are_shown_in_a_sandbox(bridge: Bridge) -> None:
    job = bridge.job()
    kinds = {
        "report.html": ("text/html; charset=utf-8", "inline"),
        "picture.svg": ("image/svg+xml", "inline"),
        "picture.png": ("image/png", "inline"),
        "notes.TXT": ("text/plain; charset=utf-8", "inline"),
        "merged.bam": ("application/octet-stream", "attachment"),
        "page.xhtml": ("application/xhtml+xml", "attachment"),
    }
    for name, (kind, how) in kinds.items():
        assert request(bridge, "PUT", f"{job}/{job}/{name}", job, b"x").status_code == 201
        headers = request(bridge, "GET", f"{job}/{job}/{name}", "alice").headers
        assert headers["content-type"] == kind
        assert headers["content-disposition"] == f"{how}; filename*=UTF-8''{name}"
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "sandbox" in policy and "allow-same-origin" not in policy


def test_a_signed_in_browser_reads_with_its_users_rights(bridge: Bridge) -> None:
    job = bridge.job()
    url = f"{bridge.url}/artifacts/{job}/{job}/r.html"
    assert request(bridge, "PUT", f"{job}/{job}/r.html", job, b"x").status_code == 201
    statuses = {}
    for user in ("alice", "rob", "bob"):
        answer = httpx.get(url, headers={"Cookie": f"session_of={user}"}, trust_env=False)
        statuses[user] = answer.status_code
    assert statuses == {"alice": 200, "rob": 200, "bob": 404}
    put = httpx.put(url, headers={"Cookie": "session_of=alice"}, content=b"y", trust_env=False)
    assert put.status_code == 401
    assert httpx.get(url, params={"token": bridge.tokens["alice"]},
                     trust_env=False).status_code == 401  # fmt: skip


def test_an_upload_that_breaks_off_leaves_nothing(bridge: Bridge) -> None:
    job = bridge.job()

    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise ConnectionError

    with httpx.Client(trust_env=False) as client, pytest.raises(ConnectionError):
        client.put(
            f"{bridge.url}/artifacts/{job}/{job}/half",
            content=broken(), headers={"Authorization": str(bridge.token(job))},
        )  # fmt: skip
    assert request(bridge, "GET", f"{job}/{job}/half", job).status_code == 404


class Counting:
    """Middleware that counts what passes."""

    seen = 0

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            Counting.seen += 1
        await self._app(scope, receive, send)


def test_the_direct_route_goes_past_middleware_that_was_added_later() -> None:
    """Airflow adds its own middleware after the plugins', which puts it outside of theirs."""
    inner = FastAPI()

    @inner.get("/ee2")
    @inner.get("/ee2/{rest:path}")
    def served(rest: str = "") -> str:
        return f"inner {rest}"

    host = FastAPI()
    host.mount("/services", inner)

    @host.get("/services-of-others")
    def other() -> str:
        return "host"

    host.add_middleware(
        DirectRoute,
        target=inner,
        prefix="/services",
        names=["ee2"],
        endpoints={"/ee2/rpc": PlainTextResponse("endpoint")},
    )
    host.add_middleware(Counting)
    Counting.seen = 0
    with TestClient(host) as client:
        assert client.get("/services/ee2").json() == "inner "
        assert client.get("/services/ee2/artifacts/x").json() == "inner artifacts/x"
        assert client.get("/services/ee2/rpc").text == "endpoint"
        assert client.get("/services/ee2/rpc/").json() == "inner rpc/"
        assert Counting.seen == 0
        assert client.get("/services-of-others").json() == "host"
        assert client.get("/services/ee2x").status_code == 404
        assert Counting.seen == 2
    # Without a start of the host (or should its stack move) the mounted application serves.
    assert TestClient(host).get("/services/ee2").json() == "inner "
