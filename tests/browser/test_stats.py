"""Statistics, the numbers and where they lead, in a browser."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Alone
from tests.browser.support import attacked, axe

DAY_MS = 86_400_000
COUNTED = re.compile(r"Counted .+; what has ended since then comes with the next count\.$")


def api(alone: Alone, path: str, user: str = "ana") -> Any:
    url = alone.place.url.replace("/dashboard", "/api/v1") + path
    answer = httpx.get(url, headers={"Authorization": alone.place.tokens[user]}, timeout=30)
    return answer.raise_for_status().json()


def open_stats(alone: Alone, words: str = "", **how: Any) -> Page:
    page = alone(f"/stats{words}", **how)
    expect(page.get_by_role("heading", name="Statistics", level=1)).to_be_visible()
    return page


def test_tiles_and_bars_say_what_the_server_counts(alone: Alone) -> None:
    page = open_stats(alone, "?from=2026-01-01&by=month")
    found = api(alone, "/stats?from=2026-01-01&by=month")
    main = page.get_by_role("main")
    expect(main.get_by_text(f"{found['totals']['runs']:,}", exact=True).first).to_be_visible()
    expect(main.get_by_text(re.compile(r"against the \d+ days before|nothing in the")).first
           ).to_be_visible()  # fmt: skip
    parts = page.get_by_role("group", name=re.compile("^Runs by how")).get_by_role("link")
    wanted = sum(
        1 for bar in found["series"] for state in ("completed", "terminated", "error") if bar[state]
    )
    expect(parts).to_have_count(wanted)
    # The same numbers as a table.
    page.get_by_role("button", name="Show as table").click()
    expect(page).to_have_url(re.compile("view=table"))
    table = page.get_by_role("table", name="Runs by time")
    newest = found["series"][-1]
    cells = table.get_by_role("row").nth(1).get_by_role("cell")
    expect(cells.nth(1)).to_have_text(f"{newest['runs']:,}")
    expect(cells.nth(4)).to_have_text(f"{newest['error']:,}")


def test_a_part_of_a_bar_leads_to_its_jobs_by_the_keyboard(alone: Alone) -> None:
    page = open_stats(alone, "?from=2026-08-01&to=2026-10-31&by=month&app=kb_Bowtie2/align_reads")
    part = page.get_by_role("link", name=re.compile(r"^Sept 2026: \d+ failed$"))
    expect(part).to_be_visible()
    runs = int(re.findall(r"(\d+) failed", part.get_attribute("aria-label") or "")[0])
    part.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/jobs/history"))
    words = parse_qs(urlsplit(page.url).query)
    assert words["status"] == ["error"] and words["app"] == ["kb_Bowtie2/align_reads"]
    assert int(words["to"][0]) - int(words["from"][0]) == 30 * DAY_MS
    query = urlsplit(page.url).query
    listed = api(alone, f"/jobs?{query}&sort=-finished&limit=200")
    assert runs and listed["count"] == {"value": runs, "exact": True}


def test_a_bar_counts_just_what_it_leads_to(alone: Alone) -> None:
    """Jobs of batches and all attempts, one by one."""
    page = open_stats(alone, "?by=week")  # batches are of the last days
    bars = page.get_by_role("group", name=re.compile("^Runs by how"))
    part = bars.get_by_role("link", name=re.compile(r": [\d,]+ failed$"))
    expect(part.last).to_be_visible()
    for one in part.all():
        said = re.findall(r"([\d,]+) failed$", one.get_attribute("aria-label") or "")[0]
        failed = int(said.replace(",", ""))
        words = urlsplit(one.get_attribute("href") or "").query
        listed = api(alone, f"/jobs?{words}&sort=-finished")
        assert listed["count"] == {"value": min(failed, 1000), "exact": failed <= 1000}, words
    part.last.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Batches: each run by itself")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Batch")).to_be_visible()
    expect(page.get_by_role("table").locator("a[href*='/batches/']").first).to_be_visible()


def test_methods_are_sorted_and_lead_to_their_jobs(alone: Alone) -> None:
    page = open_stats(alone)
    rows = page.get_by_role("table", name="Methods").get_by_role("row")
    found = api(alone, "/stats/apps")["apps"]
    expect(rows).to_have_count(len(found) + 1)
    expect(rows.nth(1)).to_contain_text(found[0]["app"])
    page.get_by_role("button", name="Ran, median").click()
    slowest = max(found, key=lambda app: app["run_p50_ms"] or 0)
    expect(rows.nth(1)).to_contain_text(slowest["app"])
    expect(page).to_have_url(re.compile("sort=-run_p50_ms"))
    head = page.get_by_role("columnheader", name="Ran, median")
    expect(head).to_have_attribute("aria-sort", "descending")
    link = rows.nth(1).get_by_role("link")
    href = link.get_attribute("href") or ""
    assert "/jobs/history?" in href and slowest["app"].split("/")[0] in href
    # A table that drew itself without end let nothing else through.
    page.get_by_role("button", name="Show as table").click()
    expect(page.get_by_role("table", name="Runs by time")).to_be_visible()
    page.get_by_role("button", name="Show as chart").click()
    expect(page.get_by_role("table", name="Runs by time")).to_have_count(0)
    reasons = page.get_by_role("table", name="Why runs did not complete")
    expect(reasons.get_by_role("link", name="the app failed")).to_have_attribute(
        "href", re.compile(r"status=error.*error=1")
    )
    # A hostile name of a method is a text among the others.
    expect(page.get_by_role("table", name="Methods")).to_contain_text("<img src=x onerror=")
    assert not attacked(page)


def test_only_administrators_see_everybodys(alone: Alone) -> None:
    page = open_stats(alone, "?scope=all")
    expect(page.get_by_role("button", name="Everybody's")).to_have_count(0)
    mine = api(alone, "/stats")["totals"]["runs"]
    expect(page.get_by_text(f"{mine:,}", exact=True).first).to_be_visible()
    page = open_stats(alone, "", user="root")
    page.get_by_role("button", name="Everybody's").click()
    everybodys = api(alone, "/stats?scope=all", "root")["totals"]["runs"]
    assert everybodys > mine
    expect(page.get_by_text(f"{everybodys:,}", exact=True).first).to_be_visible()


def test_how_old_the_figures_are(alone: Alone) -> None:
    """They are made every ten minutes, whenever the page was read."""
    page = open_stats(alone)
    expect(page.get_by_text(COUNTED)).to_be_visible()
    made_at = page.get_by_text(COUNTED).locator("time").get_attribute("datetime") or ""
    with page.expect_response(re.compile(r"/api/v1/stats\?")) as heard:
        page.get_by_role("button", name="Read anew").click()
    as_of = heard.value.json()["as_of"]
    assert datetime.fromisoformat(made_at).timestamp() == pytest.approx(as_of / 1000, abs=1)
    page.route(
        re.compile(r"/api/v1/stats\?"),
        lambda route: route.fulfill(json={**heard.value.json(), "as_of": None}),
    )
    page.get_by_role("button", name="Read anew").click()
    expect(page.get_by_text("Nothing has been counted yet.")).to_be_visible()


def test_nothing_yet_has_a_picture_and_a_way_on(alone: Alone) -> None:
    page = open_stats(alone, "?from=2020-01-01&to=2020-02-01")
    expect(page.get_by_role("img", name=re.compile("^An example"))).to_be_visible()
    expect(page.get_by_text("Nothing has ended in these days.")).to_be_visible()
    expect(page.get_by_text(COUNTED)).to_be_visible()
    axe(page)
    page.get_by_role("button", name="Look at the last year").click()
    expect(page.get_by_role("heading", name=re.compile("^Runs by"))).to_be_visible()


def test_what_makes_no_sense_is_the_usual_span(alone: Alone) -> None:
    page = open_stats(alone, "?from=yesterday&to=<script>&by=hour&sort=-constructor&app=")
    expect(page.get_by_role("button", name="30 days")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("heading", name="Runs by day")).to_be_visible()
    page.goto(f"{alone.place.url}/stats?from=1971-01-01")
    expect(page.get_by_role("alert")).to_contain_text("3660 days")


def test_no_answer(alone: Alone) -> None:
    page = open_stats(alone)
    expect(page.get_by_role("heading", name="Methods")).to_be_visible()
    page.route(re.compile(r"/api/v1/stats"), lambda route: route.abort())
    page.get_by_role("button", name="Read anew").click()
    expect(page.get_by_text(re.compile("No answer since")).first).to_be_visible()
    expect(page.get_by_role("heading", name="Methods")).to_be_visible()
    page.unroute(re.compile(r"/api/v1/stats"))
    page.get_by_role("button", name="Try now").first.click()
    expect(page.get_by_text(re.compile("No answer since"))).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_and_barriers(alone: Alone, theme: str) -> None:
    page = open_stats(alone, "?from=2026-06-01&to=2026-10-31", theme=theme)
    page.get_by_role("group", name=re.compile("^Runs by how")).get_by_role("link").first.wait_for()
    axe(page)
    alone.pages.shot(page, "stats")
    page.get_by_role("button", name="Show as table").click()
    page.get_by_role("table", name="Runs by time").wait_for()
    axe(page)


def test_on_a_phone(alone: Alone) -> None:
    page = open_stats(alone, "?from=2026-06-01&to=2026-10-31", phone=True)
    page.get_by_role("table", name="Methods").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    axe(page)
    alone.pages.shot(page, "stats")
