"""The lists: what is mine, what runs in narratives, what has ended, all jobs."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from bson import ObjectId
from playwright.sync_api import Locator, Page, Response, expect

from tests.browser.conftest import Alone
from tests.browser.support import Place, Theme, attacked, axe
from tests.browser.test_status import api

THEMES: tuple[Theme, ...] = ("light", "dark")
MAX_BYTES = 50_000
LIVE_TABLE = "Jobs that have not ended"


def table(page: Page, name: str) -> Locator:
    """A table of jobs."""
    return page.get_by_role("table", name=name)


def rows(where: Locator | Page) -> Locator:
    """The rows of jobs."""
    return where.locator("[data-row]")


def row_of(page: Page, job_id: str) -> Locator:
    """The row of a job."""
    return page.locator(f"[data-row='{job_id}']").first


def answers(page: Page) -> list[Response]:
    """The API's answers from now on."""
    found: list[Response] = []
    page.on("response", lambda one: found.append(one) if "/api/v1/" in one.url else None)
    return found


def all_rows(client: httpx.Client, path: str) -> list[str]:
    """Ids of all jobs of a list, in its order."""
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = client.get(path + (f"&cursor={cursor}" if cursor else "")).raise_for_status()
        found += [one["id"] for one in answer.json()["items"]]
        cursor = answer.json()["next"]
    return found


@contextmanager
def another(site: Place, like: str, **changes: Any) -> Iterator[str]:
    """A job of the test's own, like another one."""
    jobs = site.records().ee2_jobs
    record = jobs.find_one({"_id": ObjectId(like)})
    assert record is not None
    oid = ObjectId()
    jobs.insert_one(record | {"_id": oid} | changes)
    try:
        yield str(oid)
    finally:
        jobs.delete_one({"_id": oid})


@pytest.mark.parametrize("theme", THEMES)
def test_first_view(alone: Alone, site: Place, theme: Theme) -> None:
    """Scenario 1: ana sees her live jobs and nobody else's, running before queued."""
    page = alone("/status", theme=theme)
    seen = answers(page)
    page.goto(f"{site.url}/jobs")
    live = table(page, LIVE_TABLE)
    expect(rows(live)).to_have_count(len(site.seeded["anas_live"]))
    ids = [one.get_attribute("data-row") for one in rows(live).all()]
    assert set(ids) == set(site.seeded["anas_live"])
    states = [one.get_attribute("data-status") or "" for one in rows(live).all()]
    order = ["running", "queued", "estimating", "created"]
    assert states == sorted(states, key=order.index)
    expect(page.get_by_text(re.compile(r"\d+(st|nd|rd|th) of [\d,]+ in njs")).first).to_be_visible()
    tile = page.get_by_role("button", name=re.compile("^Running"))
    expect(tile).to_contain_text(str(states.count("running")))
    sizes = [len(one.body()) for one in seen if one.ok and "/jobs" in one.url]
    assert sizes and max(sizes) < MAX_BYTES
    expect(rows(table(page, "Jobs that have ended"))).to_have_count(10)
    assert not attacked(page)
    axe(page)
    alone.pages.shot(page, "my-jobs")
    tile.click()
    expect(rows(live)).to_have_count(states.count("running"))
    assert "show=running" in page.url


def test_live_change(alone: Alone, site: Place) -> None:
    """Scenario 2: a job starts; its row and the tiles say so, and nothing else moves."""
    with another(site, site.jobs["queued"]) as job_id:
        page = alone("/jobs")
        row = row_of(page, job_id)
        expect(row.get_by_text("Queued")).to_be_visible()
        running = page.get_by_role("button", name=re.compile("^Running"))
        expect(running).to_contain_text(re.compile(r"\d"))
        before = int(re.sub(r"\D", "", running.inner_text()))
        page.evaluate("window.stayed = true; window.scrollTo(0, 120)")
        now = time.time()
        site.records().ee2_jobs.update_one(
            {"_id": ObjectId(job_id)},
            {"$set": {"status": "running", "running": now, "claim": {"host": "node9", "at": now}}},
        )
        expect(row.get_by_text("Running")).to_be_visible(timeout=9000)
        expect(row.get_by_text("on node9")).to_be_visible()
        expect(running).to_contain_text(str(before + 1), timeout=9000)
        assert page.evaluate("window.stayed && Math.round(window.scrollY)") == 120
        # A hidden tab asks for nothing; looked at again, it asks at once.
        page.evaluate(
            """() => { Object.defineProperty(document, 'visibilityState',
                {configurable: true, get: () => window.shown ? 'visible' : 'hidden'});
              document.dispatchEvent(new Event('visibilitychange')); }"""
        )
        page.wait_for_load_state("networkidle")
        seen = answers(page)
        page.wait_for_timeout(6000)
        lists = [one.url for one in seen if "/jobs/changes" in one.url]
        assert lists == []
        with page.expect_response(re.compile("/jobs/changes")):
            page.evaluate(
                "window.shown = true; document.dispatchEvent(new Event('visibilitychange'))"
            )


@pytest.mark.parametrize("theme", THEMES)
def test_readable_but_not_mine(alone: Alone, site: Place, theme: Theme) -> None:
    """Scenario 3: ben's job in a narrative shared with ana, until he withdraws it."""
    page = alone("/jobs/narratives", theme=theme)
    group = page.get_by_role("button", name=re.compile("Phage study, shared by ben"))
    expect(group).to_contain_text("owned by ben")
    assert "Ben's own things" not in page.content()
    group.click()
    row = row_of(page, site.jobs["bens_shared"])
    expect(row.get_by_text("ben", exact=True)).to_be_visible()
    expect(row.get_by_role("button", name=re.compile("Cancel"))).to_have_count(0)
    assert "ws=48300" in page.url and not attacked(page)
    axe(page)
    alone.pages.shot(page, "narratives")
    if theme == "dark":
        return
    shares = site.records().ee2_workspaces
    try:
        shares.update_one({"_id": 48300}, {"$set": {"acl": {}}})
        expect(row).to_have_count(0, timeout=90_000)
        status = page.evaluate(
            "url => fetch(url).then(answer => answer.status)",
            f"{site.url}/api/v1/jobs/{site.jobs['bens_shared']}",
        )
        assert status == 404
    finally:
        shares.update_one({"_id": 48300}, {"$set": {"acl": {"ana": "r"}}})


def test_cancel_own_with_the_keyboard(alone: Alone, site: Place) -> None:
    """Scenario 6: the dialog names the app and starts on "Keep running"; then it is cancelled."""
    with another(site, site.jobs["running"]) as job_id:
        page = alone("/jobs")
        row = row_of(page, job_id)
        expect(row).to_be_visible()
        for _ in range(40):
            page.keyboard.press("j")
            if page.evaluate("document.activeElement.dataset.row") == job_id:
                break
        expect(row).to_be_focused()
        page.keyboard.press("c")
        dialog = page.get_by_role("alertdialog")
        expect(dialog).to_contain_text("Align reads with Bowtie2")
        expect(dialog.get_by_role("button", name="Keep running")).to_be_focused()
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(row.get_by_text("Running")).to_be_visible()
        row.focus()
        page.keyboard.press("c")
        expect(dialog.get_by_role("button", name="Keep running")).to_be_focused()
        # Until the engine has said how it is, the row says what was asked for.
        page.route(re.compile(r"/jobs(/changes)?\?.*status=live"), lambda route: route.abort())
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(row.get_by_text("Cancelling")).to_be_visible()
        page.unroute(re.compile(r"/jobs(/changes)?\?.*status=live"))
        ended = table(page, "Jobs that have ended").locator(f"[data-row='{job_id}']")
        expect(ended.get_by_text("Cancelled")).to_be_visible(timeout=30_000)
        expect(table(page, LIVE_TABLE).locator(f"[data-row='{job_id}']")).to_have_count(0)
        status = page.evaluate(
            """url => fetch(url, {method: 'POST', body: '{}',
                headers: {'Content-Type': 'application/json'}}).then(answer => answer.status)""",
            f"{site.url}/api/v1/jobs/{site.jobs['bens_shared']}/cancel",
        )
        assert status == 403


def test_batches_open_in_place(alone: Alone, site: Place) -> None:
    batch = site.batches["five_hundred"]
    page = alone("/jobs")
    row = row_of(page, batch)
    expect(
        row.get_by_role("img", name=re.compile("480 completed, 8 running, 12 failed"))
    ).to_be_visible()
    before = rows(table(page, LIVE_TABLE)).count()
    row.get_by_role("button", name=re.compile("Open Batch of 500 jobs")).click()
    expect(rows(table(page, LIVE_TABLE))).to_have_count(before + 20)
    link = page.get_by_role("link", name="and 480 more")
    expect(link).to_have_attribute("href", re.compile(f"/batches/{batch}$"))
    row.get_by_role("button", name=re.compile("Close Batch")).click()
    expect(rows(table(page, LIVE_TABLE))).to_have_count(before)


# Scrolls to the end of what is held, again and again, until the row of that place is drawn.
FAR_DOWN = """async (wanted) => {
  const box = document.querySelector('[data-testid=jobs]'), seen = new Map();
  let moved = 0, drawn = 0, last = 0;
  const end = performance.now() + 60000;
  while (last < wanted && performance.now() < end) {
    box.scrollTop = box.scrollHeight;
    await new Promise(done => requestAnimationFrame(() => setTimeout(done, 5)));
    const rows = [...document.querySelectorAll('tr[data-row]')];
    for (const row of rows) {
      last = Number(row.getAttribute('aria-rowindex')) - 1;
      if ((seen.get(last) ?? row.dataset.row) !== row.dataset.row) moved += 1;
      seen.set(last, row.dataset.row);
    }
    drawn = Math.max(drawn, rows.length);
  }
  const took = performance.getEntriesByType('resource')
    .filter(one => one.name.includes('cursor=')).map(one => one.duration);
  return {seen: [...seen], last, moved, drawn, took};
}"""


def test_history_at_scale(alone: Alone, site: Place) -> None:
    """Scenario 8: far down a long list: nothing twice, nothing missed, back to the same row."""
    with api(site, "root") as client:
        wanted = all_rows(client, "/jobs?scope=all&status=completed&sort=-finished&limit=200")
    assert len(wanted) == len(set(wanted)) > 2500
    page = alone("/admin/jobs?status=completed", user="root")
    expect(page.get_by_test_id("count")).to_have_text("1,000+ jobs")
    seen = answers(page)
    found = page.evaluate(FAR_DOWN, 2000)
    assert found["last"] >= 2000 and found["moved"] == 0 and found["drawn"] < 80
    # Each row is where it is in the same list read with other pages: none is missing before it.
    shown = dict(found["seen"])
    assert len(shown) > 500 and shown == {place: wanted[place - 1] for place in shown}
    assert statistics.median(found["took"]) < 500  # ms; those that were slower waited for the rest
    # No more than 1,000 are held: going up, those above have to be read again.
    seen.clear()
    page.get_by_test_id("jobs").evaluate("box => { box.scrollTop -= 1100 * 36 }")
    expect(rows(page).first).to_be_visible()
    assert any("cursor=" in one.url for one in seen)
    drawn = rows(page).evaluate_all("all => all.map(r => [r.ariaRowIndex, r.dataset.row])")
    assert all(job_id == wanted[int(place) - 2] for place, job_id in drawn)
    pages = [one for one in seen if "cursor=" in one.url]
    assert pages and all(one.ok and len(one.body()) < MAX_BYTES for one in pages)
    row = rows(page).nth(15)
    job_id, place = row.get_attribute("data-row") or "", row.get_attribute("aria-rowindex")
    top = page.get_by_test_id("jobs").evaluate("box => box.scrollTop")
    row.get_by_role("link").first.click()
    expect(page).to_have_url(re.compile(f"/jobs/{job_id}$"))
    page.go_back()
    again = row_of(page, job_id)
    expect(again).to_be_focused()
    assert again.get_attribute("aria-rowindex") == place
    assert abs(page.get_by_test_id("jobs").evaluate("box => box.scrollTop") - top) < 40
    # A job ends meanwhile: it is told of, and nothing moves.
    like = site.jobs["report"]
    with another(site, like, finished=time.time(), updated=time.time()):
        page.get_by_role("button", name="Read anew").click()
        pill = page.get_by_role("button", name=re.compile("1 new"))
        deadline = time.monotonic() + 20
        while not pill.count() and time.monotonic() < deadline:
            page.get_by_role("button", name="Read anew").click()
            page.wait_for_timeout(200)
        assert again.get_attribute("aria-rowindex") == place
        pill.click()
        expect(rows(page).first).to_have_attribute("aria-rowindex", "2")
        expect(pill).to_have_count(0)


@pytest.mark.parametrize("theme", THEMES)
def test_history(alone: Alone, theme: Theme) -> None:
    page = alone("/jobs/history", theme=theme)
    expect(rows(page).first).to_be_visible()
    ends = page.locator("tr[data-row] td:nth-child(6) time").evaluate_all(
        "all => all.map(one => one.dateTime)"
    )
    assert ends == sorted(ends, reverse=True)
    axe(page)
    alone.pages.shot(page, "history", whole=False)
    if theme == "dark":
        return
    page.get_by_label("State").select_option("error")
    expect(page).to_have_url(re.compile("status=error"))
    expect(page.locator("tr[data-row]:not([data-status=error])")).to_have_count(0)
    page.get_by_label("Span of time").select_option("all")
    expect(page.get_by_role("navigation", name="Days of the list")).to_contain_text("2025")
    href = page.get_by_role("link", name="CSV").get_attribute("href") or ""
    assert "status=error" in href and "/jobs/export.csv" in href
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.path().read_text().startswith("id,")
    # The last filter is found again; one that an address brings is left as it is.
    page.get_by_role("link", name="Statistics").click()
    page.get_by_role("link", name="History", exact=True).click()
    expect(page).to_have_url(re.compile("status=error"))
    page.get_by_label("Search by id, app or narrative").fill("zzzz-nothing")
    expect(page.get_by_role("heading", name="No job fits.")).to_be_visible()
    page.get_by_role("button", name="Clear filters").click()
    expect(rows(page).first).to_be_visible()


def test_a_day_far_back(alone: Alone) -> None:
    page = alone("/jobs/history?span=year")
    days = page.get_by_role("navigation", name="Days of the list").get_by_role("button")
    expect(days).to_have_count(13)
    name = days.nth(3).inner_text()
    days.nth(3).click()
    first = page.locator("tr[data-row] td:nth-child(6) time").first
    month = time.strftime("%Y-%m", time.strptime(name, "%b %Y"))
    expect(first).to_have_attribute("title", re.compile(f"^{month}"))


def test_saved_filters(alone: Alone) -> None:
    page = alone("/jobs/history?status=terminated&span=year")
    page.get_by_role("button", name="Saved").click()
    page.get_by_role("menuitem", name="Save this filter").click()
    page.get_by_label("Name of the filter").fill("<b>Cancelled</b>")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Saved")).to_be_visible()
    page.goto(page.url.partition("?")[0] + "?span=month")
    page.get_by_role("button", name="Saved").click()
    page.get_by_role("menuitem", name="<b>Cancelled</b>", exact=True).click()
    expect(page).to_have_url(re.compile(r"status=terminated.*span=year"))
    page.get_by_role("button", name="Saved").click()
    page.get_by_role("menuitem", name="Delete <b>Cancelled</b>").click()
    page.get_by_role("button", name="Saved").click()
    expect(page.get_by_role("menuitem", name="<b>Cancelled</b>", exact=True)).to_have_count(0)


@pytest.mark.parametrize("theme", THEMES)
def test_all_jobs(alone: Alone, site: Place, theme: Theme) -> None:
    """Facets filter, an id is jumped to, many are cancelled with a reason."""
    page = alone("/admin/jobs?status=live", user="root", theme=theme)
    expect(rows(page).first).to_be_visible()
    axe(page)
    alone.pages.shot(page, "admin-jobs", whole=False)
    if theme == "dark":
        return
    facets = page.get_by_role("complementary", name="What these jobs are")
    facets.get_by_role("button", name=re.compile("^cho ")).click()
    expect(page).to_have_url(re.compile("user=cho"))
    running = site.jobs["chos"]
    with another(site, running) as first, another(site, running) as second:
        page.goto(f"{site.url}/admin/jobs?status=running&user=cho")
        row_of(page, first).get_by_role("checkbox").check()
        row_of(page, first).focus()
        row_of(page, second).focus()
        page.keyboard.press("x")
        page.get_by_role("button", name="Cancel (2)").click()
        dialog = page.get_by_role("alertdialog")
        expect(dialog).to_contain_text("Cancel 2 jobs?")
        expect(dialog.get_by_role("button", name="Cancel 2 jobs")).to_be_disabled()
        dialog.get_by_label("Reason").fill("a test")
        dialog.get_by_role("button", name="Cancel 2 jobs").click()
        page.get_by_role("link", name="System status").click()
        expect(page.get_by_text("Cancelled 2 jobs")).to_be_visible()
        states = {one["status"] for one in site.records().ee2_jobs.find(
            {"_id": {"$in": [ObjectId(first), ObjectId(second)]}})}  # fmt: skip
        assert states == {"terminated"}
    page.goto(f"{site.url}/admin/jobs")
    page.get_by_label("Go to an id").fill(site.jobs["failed"][:20])
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/jobs/{site.jobs['failed']}"))


def test_many_are_confirmed_by_their_number(alone: Alone) -> None:
    page = alone("/admin/jobs?status=live&group=njs", user="root")
    page.get_by_role("button", name="Cancel all of the filter").click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog.get_by_label(re.compile(r"Type \d+ to go on"))).to_be_visible()
    dialog.get_by_label("Reason").fill("a test")
    expect(dialog.get_by_role("button", name=re.compile("^Cancel [0-9,]+ jobs"))).to_be_disabled()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_on_a_phone_rows_are_cards(alone: Alone) -> None:
    page = alone("/jobs", phone=True)
    card = page.locator("li[data-row]").first
    expect(card).to_be_visible()
    expect(card.get_by_role("button", name=re.compile("Cancel"))).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    axe(page)
    alone.pages.shot(page, "my-jobs")


@pytest.mark.parametrize(
    ("status", "words"),
    [(503, "No answer since"), (429, "Slowed down"), (0, "No answer since")],
    ids=["503", "429", "offline"],
)
def test_trouble_keeps_the_rows(alone: Alone, site: Place, status: int, words: str) -> None:
    page = alone("/jobs")
    live = table(page, LIVE_TABLE)
    expect(rows(live)).to_have_count(len(site.seeded["anas_live"]))
    where = re.compile(r"/jobs/changes")

    def answer(route: Any) -> None:
        if status == 0:
            route.abort()
        else:
            route.fulfill(status=status, headers={"Retry-After": "20"}, body="no")

    page.route(where, answer)
    page.get_by_role("button", name="Read anew").click()
    expect(page.get_by_text(words).first).to_be_visible()
    expect(rows(live)).to_have_count(len(site.seeded["anas_live"]))
    page.unroute(where)
    page.get_by_role("button", name="Try now").first.click()
    expect(page.get_by_text(words)).to_have_count(0)


def test_an_unknown_word_and_a_bad_one(alone: Alone) -> None:
    page = alone("/jobs/history?colour=blue&span=year")
    expect(rows(page).first).to_be_visible()
    page = alone("/jobs/history?min_run=soon&span=year")
    expect(page.get_by_text("This could not be shown")).to_be_visible()


def test_nothing_runs(alone: Alone) -> None:
    page = alone("/jobs", user="root")
    expect(page.get_by_role("heading", name="Nothing is running.")).to_be_visible()
    expect(page.get_by_role("link", name="What has ended")).to_be_visible()
