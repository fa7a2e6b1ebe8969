"""The page of the system's status, and what administrators announce there."""

from __future__ import annotations

import json
import re
from datetime import datetime
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Alone
from tests.browser.support import Place, Theme, attacked, axe


def api(site: Place, user: str) -> httpx.Client:
    """The REST API as that user."""
    return httpx.Client(
        base_url=f"{site.url.removesuffix('/dashboard')}/api/v1",
        headers={"Authorization": site.tokens[user]},
    )


def heading(page: Page, title: str) -> None:
    """Waits for the page of this title; the first time takes long."""
    found = page.get_by_role("heading", level=1, name=title)
    expect(found).to_be_visible(timeout=20_000)


def opened(alone: Alone, user: str = "ana", path: str = "/status", **how: object) -> Page:
    page = alone(path, user=user, **how)
    heading(page, "System status")
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_sees_the_status(alone: Alone, site: Place, theme: Theme) -> None:
    page = opened(alone, theme=theme)
    workers = page.locator("[data-part=workers]")
    expect(workers).to_contain_text("Limited")
    expect(workers).to_contain_text("Drained client groups: bigmem")
    for part in ("submission", "scheduler", "storage", "log"):
        expect(page.locator(f"[data-part={part}]")).to_be_visible()
    queue = page.get_by_role("table", name="Queue by client group")
    row = queue.get_by_role("row").filter(has_text="bigmem")
    expect(row).to_contain_text("Drained")
    with api(site, "ana") as client:
        status = client.get("/status").json()
    line = next(one for one in status["groups"] if one["group"] == "njs")
    njs = queue.get_by_role("row").filter(has_text="njs")
    expect(njs).to_contain_text(f"{line['running']:,}")
    expect(njs.get_by_role("cell")).to_have_count(8)
    chart = page.get_by_role("img", name=re.compile("Jobs of the last seven days"))
    expect(chart.locator("path").first).to_be_visible()
    expect(page.get_by_test_id("freshness")).to_contain_text("updated")
    # Names are for administrators.
    expect(page.get_by_text("Active users", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Active users")).to_have_count(0)
    expect(page.get_by_role("button", name="Edit announcements")).to_have_count(0)
    assert not attacked(page)
    axe(page)
    alone.pages.shot(page, "status")


def test_administrators_see_names_and_announce(alone: Alone, site: Place) -> None:
    page = opened(alone, user="root")
    expect(page.get_by_role("heading", name="Active users")).to_be_visible()
    expect(page.locator("#users").get_by_text("cho", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Report of the day")).to_be_visible()
    with api(site, "root") as client:
        before = client.get("/status").json()["announcements"]
        try:
            page.get_by_role("button", name="Edit announcements").click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_role("button", name="Add another").click()
            text = "Back at noon <b onmouseover=alert(1)>‮ereh</b>"
            dialog.get_by_label("Text 3").fill(text)
            dialog.get_by_label("Until (Europe/Berlin)").nth(2).fill("2040-01-31T12:00")
            axe(page)
            dialog.get_by_role("button", name="Save").click()
            expect(dialog).to_be_hidden()
            said = page.get_by_role("region", name="Announcements")
            expect(said).to_contain_text(text)
            expect(said).to_contain_text("2040-01-31 12:00:00 CET")
            # By the way of the page: other processes, and other ways, may be some seconds late.
            kept = page.request.get(f"{site.url}/api/v1/status").json()["announcements"]
            # The time that was typed was that of the reader's zone.
            noon = datetime(2040, 1, 31, 12, tzinfo=ZoneInfo("Europe/Berlin"))
            untils = {one["text"]: one["until"] for one in kept}
            assert untils.get(text) == noon.timestamp() * 1000, untils
        finally:
            words = ("text", "level", "until")
            old = [{word: one[word] for word in words} for one in before]
            client.put("/announcements", json=old).raise_for_status()


def _with(page: Page, changes: dict[str, object]) -> None:
    """The real answer of the server, with some of it changed."""

    def answer(route: Route) -> None:
        real = route.fetch()
        route.fulfill(status=200, content_type="application/json",
                      body=json.dumps(real.json() | changes))

    page.route("**/api/v1/status", answer)


def test_late_figures_and_a_pause_are_said(alone: Alone) -> None:
    page = opened(alone)
    _with(page, {"note": "figures from 14:02 UTC", "as_of": 1795788120000, "paused": True})
    page.get_by_role("button", name="Read anew").click()
    # In the reader's zone.
    expect(page.get_by_test_id("late")).to_have_text(re.compile(r"figures from 15:02 (CET|GMT\+1)"))
    expect(page.get_by_text("The engine is paused")).to_be_visible()


def test_without_figures_it_says_so(alone: Alone) -> None:
    page = opened(alone)
    _with(page, {"chart": [], "groups": [], "parts": [], "as_of": None, "note": "no figures"})
    page.get_by_role("button", name="Read anew").click()
    expect(page.get_by_text("No figures yet.")).to_be_visible()
    expect(page.get_by_text("There are no client groups.")).to_be_visible()
    expect(page.get_by_text("Not known.", exact=True)).to_be_visible()


def test_old_figures_stay_while_nobody_answers(alone: Alone) -> None:
    page = opened(alone)
    expect(page.locator("[data-part=storage]")).to_be_visible()
    page.route("**/api/v1/status", lambda route: route.abort())
    page.get_by_role("button", name="Read anew").click()
    expect(page.get_by_text(re.compile("No answer since"))).to_be_visible()
    expect(page.locator("[data-part=storage]")).to_be_visible()
    page.unroute("**/api/v1/status")
    page.get_by_role("button", name="Try now").click()
    expect(page.get_by_text(re.compile("No answer since"))).to_be_hidden()


def test_on_a_phone_nothing_is_cut_off(alone: Alone) -> None:
    page = opened(alone, phone=True)
    expect(page.get_by_role("table", name="Queue by client group")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    axe(page)
    alone.pages.shot(page, "status")
