"""The stand-alone home of the dashboard over HTTP: its files, its headers, signing in and out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest

from api_bridge import sessions
from api_bridge.app import create_app
from api_bridge.dashboard import DashboardFiles, bundle_version, react_apps
from ee2_jobs.identity import hash_token
from tests.services.conftest import free_port
from tests.services.rpc_support import Bridge, _browser

INDEX = '<!doctype html><html><head><base href="/elsewhere/"><title>EE2 jobs</title></head></html>'


class Home(Bridge):
    """A bridge whose dashboard is built from two lines."""

    def __init__(self, mongo_uri: str, folder: Path, **settings: Any) -> None:
        super().__init__(mongo_uri, folder / "artifacts", free_port(), **settings)
        self.dist = folder / "dist"
        (self.dist / "alone" / "assets").mkdir(parents=True)
        (self.dist / "airflow").mkdir()
        (self.dist / "alone" / "index.html").write_text(INDEX)
        (self.dist / "alone" / "assets" / "index-abc123.js").write_text("alone()" * 100)
        (self.dist / "airflow" / "ee2-jobs.umd.js").write_text("hosted()")
        (self.dist / "secret.txt").write_text("secret")
        self.app = create_app(
            self._make_engine, make_identity=self._make_identity, browser=_browser,
            on_stop=self._close_ports, dashboard=DashboardFiles(self.dist),
        )  # fmt: skip
        self.home = f"{self.url}/dashboard"

    def get(self, path: str, **how: Any) -> httpx.Response:
        """An answer below the dashboard."""
        return httpx.get(self.home + path, trust_env=False, **how)

    def send(
        self, method: str, path: str, body: Any, *, origin: str | None = "", **how: Any
    ) -> httpx.Response:
        """A request as a page of that origin makes it; '': of this host."""
        host = self.home.partition("/services")[0]
        headers = {} if origin is None else {"Origin": origin or host}
        headers |= how.pop("headers", {})
        url = self.home + path
        return httpx.request(method, url, json=body, headers=headers, trust_env=False, **how)

    def sign_in(self, token: str, **how: Any) -> httpx.Response:
        return self.send("POST", "/api/v1/session", {"token": token}, **how)


@pytest.fixture(scope="module")
def home(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(mongo_uri, tmp_path_factory.mktemp("home"), session_cookie="kbase_session")
    home.start()
    yield home
    home.stop()


@pytest.mark.parametrize("path", ["", "/", "/jobs", "/jobs/66f2a1b3c4d5e6f708192a3b/log?line=7"])
def test_every_address_is_the_page_with_its_base(home: Home, path: str) -> None:
    answer = home.get(path)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert '<base href="/services/ee2/dashboard/"' in answer.text and "elsewhere" not in answer.text
    assert answer.headers["cache-control"] == "no-cache"


def test_the_page_trusts_nobody_else(home: Home) -> None:
    headers = home.get("/jobs").headers
    policy = dict(
        (part.split()[0], part.split()[1:])
        for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == ["'none'"] and policy["script-src"] == ["'self'"]
    assert policy["frame-ancestors"] == ["'self'"] and policy["form-action"] == ["'none'"]
    assert not any("*" in source or ":" in source
                   for name, sources in policy.items() if name != "img-src" for source in sources)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


def test_files_with_a_hash_are_kept_for_ever(home: Home) -> None:
    asset = home.get("/assets/index-abc123.js")
    assert asset.text == "alone()" * 100 and asset.headers["content-encoding"] == "gzip"
    assert "immutable" in asset.headers["cache-control"]
    assert asset.headers["content-type"].startswith("text/javascript")
    plain = home.get("/assets/index-abc123.js", headers={"Accept-Encoding": "identity"})
    assert plain.text == asset.text and "content-encoding" not in plain.headers
    version = bundle_version(home.dist)
    bundle = home.get(f"/airflow/ee2-jobs.umd.js?v={version}")
    assert bundle.text == "hosted()" and "immutable" in bundle.headers["cache-control"]
    assert home.get("/airflow/ee2-jobs.umd.js?v=old").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/assets/none.js", "/assets/..%2f..%2fsecret.txt", "/airflow/other.js", "/assets/.x"]
)
def test_other_files_are_not_there(home: Home, path: str) -> None:
    answer = home.get(path)
    assert answer.status_code == 404 and "secret" not in answer.text


def test_not_built_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert react_apps("/services", tmp_path) == []
    assert "./ee2 dashboard build" in caplog.text


async def test_the_page_says_that_it_is_not_built(tmp_path: Path) -> None:
    from starlette.applications import Starlette

    app = Starlette(routes=DashboardFiles(tmp_path).routes())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ee2") as http:
        answer = await http.get("/ee2/dashboard/jobs")
    assert answer.status_code == 503 and "./ee2 dashboard build" in answer.text


def test_the_places_in_airflow(home: Home) -> None:
    places = react_apps("/air/services", home.dist)
    assert {one["destination"] for one in places} == {"nav", "dag_run", "dashboard"}
    for one in places:
        path, _, version = one["bundle_url"].partition("?v=")
        assert path == "/air/services/ee2/dashboard/airflow/ee2-jobs.umd.js"
        assert version == bundle_version(home.dist)


def test_signing_in_and_out(home: Home) -> None:
    token = home.tokens["alice"]
    answer = home.sign_in(f" {token}\n")
    assert answer.status_code == 200 and answer.json() == {"user": "alice"}
    cookie = SimpleCookie(answer.headers["set-cookie"])[sessions.COOKIE]
    assert cookie.value == token and cookie["path"] == "/services/ee2/dashboard"
    assert cookie["httponly"] and cookie["samesite"].lower() == "strict"
    assert not cookie["secure"], "the page came by http"
    cookies = {sessions.COOKIE: token}
    me = home.get("/api/v1/me", cookies=cookies)
    assert me.json()["user"] == "alice" and me.json()["may_write"] is True
    # Only there: the API of Airflow's home does not know the cookie.
    elsewhere = httpx.get(f"{home.url}/api/v1/me", cookies=cookies, trust_env=False)
    assert elsewhere.status_code == 401
    gone = home.send("DELETE", "/api/v1/session", {}, cookies=cookies)
    assert gone.status_code == 204 and "Max-Age=0" in gone.headers["set-cookie"]
    assert "Path=/services/ee2/dashboard;" in gone.headers["set-cookie"]


def test_the_cookie_is_secure_behind_https(home: Home) -> None:
    answer = home.sign_in(home.tokens["alice"], headers={"X-Forwarded-Proto": "https"})
    assert SimpleCookie(answer.headers["set-cookie"])[sessions.COOKIE]["secure"]


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", None])
def test_other_sites_change_nothing(home: Home, origin: str | None) -> None:
    """Nor do they sign anybody in."""
    job, token = home.job(), home.tokens["alice"]
    cookies = {sessions.COOKIE: token}
    path = f"/api/v1/jobs/{job}/cancel"
    answer = home.send("POST", path, {"reason": "x"}, origin=origin, cookies=cookies)
    assert answer.status_code == 403 and home.record(job)["status"] == "created"
    assert home.sign_in(token, origin=origin).status_code == 403
    text = httpx.post(home.home + path, content="{}", cookies=cookies, trust_env=False,
                      headers={"Content-Type": "text/plain", "Origin": home.home[:22]})
    assert text.status_code == 403
    own = home.send("POST", path, {"reason": "x"}, cookies=cookies)
    assert own.status_code == 200 and home.record(job)["status"] == "terminated"


def test_a_jobs_token_is_no_persons(home: Home) -> None:
    token = home.token(home.job())
    assert token is not None
    answer = home.sign_in(token)
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
    assert home.get("/api/v1/me", cookies={sessions.COOKIE: token}).status_code == 403


def test_an_expired_token_loses_its_cookie(home: Home) -> None:
    token = "f" * 40
    home.db.ee2_tokens.insert_one(
        {"_id": hash_token(token), "user": "alice", "created": 1.0, "expires": time.time() - 1}
    )
    answer = home.get("/api/v1/jobs", cookies={sessions.COOKIE: token})
    assert answer.status_code == 401
    assert f"{sessions.COOKIE}=; Max-Age=0" in answer.headers["set-cookie"]
    # Who comes with a header has no session that could end.
    header = home.get("/api/v1/jobs", headers={"Authorization": token})
    assert header.status_code == 401 and "set-cookie" not in header.headers


def test_who_is_asked_first(home: Home) -> None:
    """The header, this cookie, KBase's, Airflow's session."""
    cookies = {
        "session_of": "bob", "kbase_session": home.tokens["rob"],
        sessions.COOKIE: home.tokens["wendy"],
    }  # fmt: skip
    order = []
    headers = {"Authorization": home.tokens["alice"]}
    order.append(home.get("/api/v1/me", cookies=cookies, headers=headers).json()["user"])
    for name in (None, sessions.COOKIE, "kbase_session"):
        cookies.pop(name or "", None)
        order.append(home.get("/api/v1/me", cookies=cookies).json()["user"])
    assert order == ["alice", "wendy", "rob", "bob"]
    old = home.get("/api/v1/me", cookies={"kbase_session": "old", "session_of": "bob"})
    assert old.json()["user"] == "bob"


def test_wrong_tokens_are_counted(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_WRONG", 3)
    answers = [home.sign_in(f"wrong-{n}") for n in range(5)]
    assert [a.status_code for a in answers] in ([401] * n + [429] * (5 - n) for n in range(1, 4))
    assert answers[-1].headers["retry-after"] == "60"
    assert "wrong-0" not in answers[0].text
