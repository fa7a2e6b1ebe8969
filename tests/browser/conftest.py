"""Fixtures of the tests in the browser: one Chromium, the dashboard on a seeded database, the
dashboard in the real stack. Of the package, not of the session: while Playwright runs, no test can
have an event loop of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ee2_cli import airflow as embedded_airflow
from ee2_cli import dashboard
from ee2_cli.keys import load_keys
from ee2_jobs.identity import add_user, create_token
from ee2_jobs.store import Store
from tests.browser.site import Site
from tests.browser.support import Pages, Place, given_place, screenshot_folder
from tests.conftest import Stack
from tests.services.conftest import free_port, mongo_uri

__all__ = ["mongo_uri"]  # a fixture
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--font-render-hinting=none",
)  # fmt: skip


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("No Chromium: ./ee2 test installs it; on Debian, apt-get install chromium")
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="session")
def built() -> None:
    """The dashboard as its sources are now."""
    dashboard.build(print)


@pytest.fixture(scope="package")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The dashboard on the seeded database, without Airflow: a Place. Tests share it: what one
    changes must be of its own, or be put back."""
    given = given_place()
    if given is not None:
        yield given
        return
    request.getfixturevalue("built")
    uri = request.getfixturevalue("mongo_uri")
    site = Site(uri, tmp_path_factory.mktemp("artifacts"), free_port())
    site.start()
    yield Place(site.dashboard, dataclasses.asdict(site.seeded))
    site.stop()


@pytest.fixture
def pages(browser: Browser, tmp_path: Path) -> Iterator[Pages]:
    """Opens pages. The test fails if a page had an error that nobody caught, or broke the content
    security policy."""
    found = Pages(browser, screenshot_folder(tmp_path))
    yield found
    found.close()
    assert not found.troubles, "\n".join(found.troubles)


@dataclass(frozen=True)
class Alone:
    """The stand-alone home on the seeded database."""

    pages: Pages
    place: Place

    def __call__(self, path: str = "/jobs", user: str | None = "ana", **how: Any) -> Page:
        """A page of the dashboard, with that user signed in; `how` as of Pages.open."""
        token = self.place.tokens[user] if user else None
        return self.pages.open(f"{self.place.url}{path}", token, **how)


@pytest.fixture
def alone(pages: Pages, site: Place) -> Alone:
    """Opens pages of the stand-alone home: `alone("/jobs", user="ana", theme="dark")`."""
    return Alone(pages, site)


@dataclass(frozen=True)
class Accounts:
    """ana, ben (scientists) and root (administrator) in the real stack: Airflow's tokens, ours."""

    stack: Stack
    airflow: dict[str, str]
    own: dict[str, str]


@pytest.fixture(scope="session")
def accounts(stack: Stack) -> Accounts:
    """See Accounts; made once."""
    return make_accounts(stack)


def make_accounts(stack: Stack) -> Accounts:
    """The same for any stack."""
    keys = load_keys(stack.var_dir)
    with stack.airflow() as api:
        for name in ("ana", "ben", "root"):
            embedded_airflow.add_user(stack.settings, keys, name, password(name))
        admin = {"roles": [{"name": "Admin"}]}
        users = f"{stack.airflow_url}/auth/fab/v1/users/root?update_mask=roles"
        api.patch(users, json=admin).raise_for_status()
    tokens = {}
    for name in ("ana", "ben", "root"):
        login = {"username": name, "password": password(name)}
        answer = httpx.post(f"{stack.airflow_url}/auth/token", json=login, timeout=60)
        tokens[name] = answer.raise_for_status().json()["access_token"]
    return Accounts(stack, tokens, own_tokens(stack))


def own_tokens(stack: Stack) -> dict[str, str]:
    """Local users of the same names, with a token each."""
    async def make() -> dict[str, str]:
        store = Store(stack.mongo_uri)
        found = {}
        for name in ("ana", "ben", "root"):
            await add_user(store, name, name.capitalize(), ("admin",) if name == "root" else ())
            found[name] = await create_token(store, name, "browser tests")
        await store.close()
        return found

    with ThreadPoolExecutor(1) as thread:  # this one may have Playwright's event loop
        return thread.submit(asyncio.run, make()).result()


def password(name: str) -> str:
    """Of a person in the stack."""
    return f"{name}-has-a-password"


@dataclass(frozen=True)
class Hosted:
    """The dashboard in the real stack, in both homes."""

    pages: Pages
    accounts: Accounts

    def airflow(self, path: str = "/plugin/ee2-jobs", user: str = "ana", **how: Any) -> Page:
        """A page of Airflow's, with that user signed in."""
        url = f"{self.accounts.stack.airflow_url}{path}"
        return self.pages.open(url, self.accounts.airflow[user], airflow=True, **how)

    def alone(self, path: str = "/jobs", user: str | None = "ana", **how: Any) -> Page:
        """A page of the stand-alone home."""
        url = f"{self.accounts.stack.rpc_url}/dashboard{path}"
        return self.pages.open(url, self.accounts.own[user] if user else None, **how)


@pytest.fixture
def hosted(pages: Pages, accounts: Accounts) -> Hosted:
    """Opens pages of the real stack."""
    return Hosted(pages, accounts)
