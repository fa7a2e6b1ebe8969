"""What tests in the browser use: pages of signed-in people, screenshots, the look for barriers."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize
from pymongo import MongoClient
from pymongo.database import Database

REPO = Path(__file__).resolve().parents[2]
AXE = REPO / "plugins" / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
SCREENSHOTS = REPO / "docs" / "screenshots"
COOKIE = "ee2_session"
AIRFLOW_COOKIE = "_token"
WIDE: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
Theme = Literal["light", "dark"]
# What a browser says about troubles that tests make on purpose, or that do no harm.
_HARMLESS = re.compile(r"Failed to load resource|net::ERR_|favicon|Blocked script execution")


@dataclass
class Pages:
    """Opens pages; made for one test. folder: where screenshots go."""

    browser: Browser
    folder: Path
    troubles: list[str] = field(default_factory=list)
    _open: list[BrowserContext] = field(default_factory=list)

    def open(
        self, address: str, token: str | None = None, *, airflow: bool = False,
        theme: Theme = "light", phone: bool = False, reduced_motion: bool = False, **more: Any,
    ) -> Page:  # fmt: skip
        """A page in a browser's context of its own. token: of the person who is signed in, ours or
        (airflow) Airflow's; None: nobody. more: as of Playwright's `new_context`."""
        context = self.browser.new_context(
            viewport=PHONE if phone else WIDE, has_touch=phone, color_scheme=theme,
            reduced_motion="reduce" if reduced_motion else "no-preference", locale="en-GB",
            timezone_id="Europe/Berlin", **more,
        )  # fmt: skip
        self._open.append(context)
        context.set_default_timeout(20_000)
        if token is not None:
            parts = urlsplit(address)
            path = "/" if airflow else parts.path.partition("/dashboard")[0] + "/dashboard"
            context.add_cookies(
                [
                    {
                        "name": AIRFLOW_COOKIE if airflow else COOKIE, "value": token,
                        "domain": parts.hostname or "", "path": path, "httpOnly": True,
                        "sameSite": "Lax" if airflow else "Strict",
                    }
                ]
            )  # fmt: skip
        page = context.new_page()
        page.on("pageerror", lambda error: self._uncaught(error, airflow))
        page.on("console", self._note)
        page.goto(address)
        return page

    def _uncaught(self, error: Any, airflow: bool) -> None:
        # Of Airflow's pages only ours is ours.
        if not airflow or "ee2-jobs" in (error.stack or ""):
            self.troubles.append(f"uncaught: {error}")

    def _note(self, message: Any) -> None:
        if message.type == "error" and not _HARMLESS.search(message.text):
            self.troubles.append(message.text)

    def close(self) -> None:
        """Close what was opened."""
        for context in self._open:
            context.close()

    def shot(self, page: Page, name: str, *, whole: bool = True) -> Path:
        """A screenshot, as `name-light.png` or `name-dark.png` (on a phone `name-phone-….png`)."""
        dark = page.evaluate("document.documentElement.classList.contains('dark')")
        size = page.viewport_size or WIDE
        parts = [name, *(["phone"] if size["width"] < 640 else []), "dark" if dark else "light"]
        path = self.folder / f"{'-'.join(parts)}.png"
        if whole:  # else the bar, which stays where one is, stands in the middle of the picture
            page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=path, full_page=whole, animations="disabled")
        return path

    def in_both(self, page: Page, name: str, *, whole: bool = True) -> None:
        """A screenshot in light and one in dark, without barriers in either; light again then."""
        schemes: tuple[Theme, ...] = ("light", "dark")
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            axe(page)
            self.shot(page, name, whole=whole)
        page.emulate_media(color_scheme="light")


def screenshot_folder(otherwise: Path) -> Path:
    """Where screenshots go: to the documentation if EE2_SCREENSHOTS is set."""
    if "EE2_SCREENSHOTS" not in os.environ:
        return otherwise
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS


def axe(page: Page, within: str | None = None) -> None:
    """Fails if axe finds a serious or critical barrier on the page. within: selector of the part to
    look at (of Airflow's pages only ours is ours)."""
    page.evaluate(AXE.read_text())
    # Colours that are on their way are no colours.
    page.evaluate(
        """document.getAnimations()
            .filter(one => one.effect?.getComputedTiming().endTime < Infinity)
            .forEach(one => one.finish())"""
    )
    found = page.evaluate(
        "([where]) => axe.run(where ?? document, {resultTypes: ['violations']})", [within]
    )
    bad = [
        f"{one['impact']}: {one['help']} ({one['id']})\n  "
        + "\n  ".join(f"{n['html'][:200]} — {n['failureSummary'][:300]}" for n in one["nodes"][:4])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert not bad, "\n".join(bad)


def attacked(page: Page) -> bool:
    """Whether one of the attacks in the seeded texts has run."""
    return bool(page.evaluate("window.attacked !== undefined"))


@dataclass(frozen=True)
class Place:
    """A running dashboard. url: of the dashboard itself; seeded: what is in its database (see
    `seed.Seeded`)."""

    url: str
    seeded: dict[str, Any]

    @property
    def tokens(self) -> dict[str, str]:
        """By user."""
        found: dict[str, str] = self.seeded["tokens"]
        return found

    @property
    def jobs(self) -> dict[str, str]:
        """Ids of jobs by what is special about them."""
        found: dict[str, str] = self.seeded["jobs"]
        return found

    @property
    def batches(self) -> dict[str, str]:
        """The same of batches."""
        found: dict[str, str] = self.seeded["batches"]
        return found

    def records(self) -> Database[dict[str, Any]]:
        """Its database: for what the engine, the pool and the runners do."""
        database = self.seeded["database"]
        return MongoClient[dict[str, Any]](database["uri"])[database["name"]]


def given_place() -> Place | None:
    """The dashboard that EE2_TEST_DASHBOARD names (a development server), with what
    EE2_TEST_SEEDED says of it; None if the tests are to start their own."""
    url = os.environ.get("EE2_TEST_DASHBOARD")
    if not url:
        return None
    return Place(url.rstrip("/"), json.loads(Path(os.environ["EE2_TEST_SEEDED"]).read_text()))
