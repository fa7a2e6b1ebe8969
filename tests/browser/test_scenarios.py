"""The acceptance scenarios of the dashboard, played on the real stack: real jobs, in the pool, by
the engine's own means. Scenarios 5 (log) and 8 (history) are in test_scenarios_long.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from playwright.sync_api import Page, Response, Route, expect

from tests.browser.conftest import Accounts, Hosted
from tests.browser.play import PATIENCE_S, SLEEP, Home, Play, clean_up, row_of, section
from tests.browser.support import axe
from tests.conftest import until

BOTH_HOMES = pytest.mark.parametrize("home", ["airflow", "alone"])
LIVE_TABLE = "Jobs that have not ended"
ENDED_TABLE = "Jobs that have ended"
NOT_SEEN = "No such job, or you may not see it."
MAX_BYTES = 50_000
PATIENCE_MS = PATIENCE_S * 1000
# The brief's six seconds from the engine's word to the page, and a slow machine's.
SOON_MS = 15_000
API = re.compile(r"/ee2/(dashboard/)?api/v1/")
# Of Airflow's pages only what is ours.
OURS = {"airflow": "#main", "alone": None}
# Scrolls what the page scrolls in, Airflow's box or the window; gives how far it is then.
SCROLLED_BY = """(one, by) => {
  while (one.parentElement && !(one.scrollHeight > one.clientHeight
      && /auto|scroll/.test(getComputedStyle(one).overflowY))) one = one.parentElement;
  one.scrollTop += by;
  return Math.round(one.scrollTop);
}"""
LISTS = re.compile(r"/api/v1/jobs(/changes)?\?.*status=live")


@pytest.fixture
def home() -> Home:
    """Where a scenario is played if it is played in one home only."""
    return "alone"


@pytest.fixture(scope="module")
def lasting(accounts: Accounts) -> Iterator[dict[str, str]]:
    """See Play."""
    found: dict[str, str] = {}
    yield found
    clean_up(accounts, found)


@pytest.fixture
def play(hosted: Hosted, home: Home, lasting: dict[str, str]) -> Iterator[Play]:
    """See Play."""
    found = Play(hosted, home, lasting)
    yield found
    found.clean()


def tile(page: Page, name: str, number: int) -> Any:
    """The tile of a state, with its number."""
    return page.get_by_role("button", name=re.compile(rf"^{name}\s*{number}\b"))


def posted(page: Page, address: str) -> int:
    """The status of the API's answer to a request that no control of the page makes."""
    status = page.evaluate(
        """url => fetch(url, {method: 'POST', body: '{}', credentials: 'same-origin',
            headers: {'Content-Type': 'application/json'}}).then(answer => answer.status)""",
        address,
    )
    return int(status)


def go_to_row(page: Page, job: str) -> None:
    """With the keyboard: down the table until the row of the job has the focus."""
    expect(row_of(page, job)).to_be_visible(timeout=PATIENCE_MS)
    for _ in range(20):
        page.keyboard.press("j")
        if page.evaluate("document.activeElement.dataset.row") == job:
            return
    pytest.fail(f"The keyboard does not lead to {job}")


@BOTH_HOMES
def test_1_first_view(play: Play) -> None:
    bens = play.bens_job_for_all()
    running, queued = play.one_runs_one_waits()
    page = play.open("/status")
    page.goto("about:blank")
    seen: list[Response] = []
    page.on("response", lambda one: seen.append(one) if API.search(one.url) else None)
    page.goto(play.url("/jobs"))
    live = page.get_by_role("table", name=LIVE_TABLE)
    expect(live.locator("[data-row]").nth(1)).to_be_visible()
    ids = [one.get_attribute("data-row") for one in live.locator("[data-row]").all()]
    assert ids == [running, queued]
    expect(row_of(page, running)).to_contain_text("Running")
    expect(row_of(page, queued)).to_contain_text("Queued")
    expect(row_of(page, bens)).to_have_count(0)
    expect(tile(page, "Running", 1)).to_be_visible()
    expect(tile(page, "Queued", 1)).to_be_visible()
    sizes = {one.url: len(one.body()) for one in seen if one.ok}
    assert any(LISTS.search(url) for url in sizes) and max(sizes.values()) <= MAX_BYTES, sizes
    if play.home == "airflow":
        play.hosted.pages.shot(page, "airflow-jobs", whole=False)
        dark = play.open("/jobs", theme="dark")
        expect(row_of(dark, running)).to_be_visible()
        play.hosted.pages.shot(dark, "airflow-jobs", whole=False)


@BOTH_HOMES
def test_2_live_change(play: Play) -> None:
    running, queued = play.one_runs_one_waits()
    page = play.open("/status")
    page.set_viewport_size({"width": 1280, "height": 500})
    page.clock.install()
    page.goto(play.url("/jobs"))
    row = row_of(page, queued)
    expect(row).to_contain_text("Queued")
    expect(tile(page, "Running", 1)).to_be_visible()
    expect(row_of(page, running)).to_contain_text("Running")
    page.evaluate("window.stayed = true")
    far = row.evaluate(SCROLLED_BY, 60)
    assert far > 0
    play.unset("/limits/users/ana")
    play.wait(queued, "running")
    expect(row).to_contain_text("Running", timeout=SOON_MS)
    node = play.rest("GET", f"/jobs/{queued}", "ana")["where"]["host"]
    expect(row).to_contain_text(f"on {node}", timeout=SOON_MS)
    expect(tile(page, "Running", 2)).to_be_visible()
    expect(tile(page, "Queued", 0)).to_be_visible()
    assert page.evaluate("window.stayed") and row.evaluate(SCROLLED_BY, 0) == far
    # Half a minute hidden: nothing is asked. Looked at again, it asks at once.
    page.evaluate(
        """() => { Object.defineProperty(document, 'visibilityState',
            {configurable: true, get: () => window.shown ? 'visible' : 'hidden'});
          document.dispatchEvent(new Event('visibilitychange')); }"""
    )
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if API.search(one.url) else None)
    for _ in range(15):
        page.clock.run_for(2000)
    assert asked == []
    with page.expect_request(LISTS):
        page.evaluate("window.shown = true; document.dispatchEvent(new Event('visibilitychange'))")


@BOTH_HOMES
def test_3_readable_but_not_mine(play: Play) -> None:
    bens = play.bens_job_for_all()
    page = play.open("/jobs/narratives")
    group = page.get_by_role("button", name=re.compile("Phages, shared by ben"))
    expect(group).to_contain_text("owned by ben")
    group.click()
    row = row_of(page, bens)
    expect(row.get_by_text("ben", exact=True)).to_be_visible()
    expect(row).to_contain_text("Running")
    expect(row.get_by_role("button", name=re.compile("Cancel"))).to_have_count(0)
    job_page = play.open(f"/jobs/{bens}")
    expect(job_page.get_by_text("of ben")).to_be_visible()
    expect(job_page.get_by_role("button", name="Cancel")).to_have_count(0)
    play.share({})
    expect(row).to_have_count(0, timeout=70_000)
    expect(group).to_have_count(0, timeout=70_000)
    unknown = "0123456789abcdef01234567"
    said: list[Any] = []
    for job in (bens, unknown):
        page.goto(play.url(f"/jobs/{job}"))
        expect(page.get_by_role("heading", name=NOT_SEEN)).to_be_visible()
        said.append(page.get_by_role("main").inner_text())
        said.append(
            page.evaluate(
                "url => fetch(url).then(async one => [one.status, await one.text()])",
                f"{play.api}/jobs/{job}",
            )
        )
    assert said[0] == said[2]
    assert (said[1][0], said[1][1].replace(bens, unknown)) == tuple(said[3]) and said[3][0] == 404


@BOTH_HOMES
def test_4_reading_order(play: Play, accounts: Accounts) -> None:
    job = play.submit("ee2_test.fail", how="exit", message="ERROR: the reads are empty")
    play.wait(job, "error")
    page = play.open(f"/jobs/{job}")
    alert = page.get_by_role("alert").filter(has_text="First error line")
    expect(alert).to_contain_text(play.ee2("check_job", {"job_id": job})["errormsg"])
    expect(page.get_by_role("heading", level=1)).to_contain_text("ee2_test")
    expect(section(page, "Where it ran")).to_be_visible()
    titles = page.get_by_role("heading", level=2).all_inner_texts()
    assert titles[:6] == [
        "Narrative", "Console log", "Report objects", "Timings", "Input and output",
        "Where it ran",
    ]  # fmt: skip
    link = alert.get_by_role("link", name=re.compile("ERROR: the reads are empty"))
    line = link.inner_text().partition(":")[0]
    link.click()
    expect(page).to_have_url(re.compile(rf"/jobs/{job}/log\?line={line}$"))
    tokens, airflow = accounts.own, play.home == "airflow"
    if airflow:
        tokens = accounts.airflow
    other = play.hosted.pages.open(page.url, tokens["ana"], airflow=airflow)
    for one in (page, other):
        expect(one.locator(f"[data-line='{line}']")).to_contain_text("the reads are empty")


@BOTH_HOMES
def test_6_cancel_own_by_keyboard(play: Play) -> None:
    job, bens = play.running(), play.bens_job_for_all()
    page = play.open("/jobs")
    go_to_row(page, job)
    expect(row_of(page, job)).to_contain_text("Running")
    page.evaluate(
        """job => { window.said = []; const look = () => {
            const state = document.querySelector(`[data-row='${job}'] [data-state]`)?.innerText;
            if (state && window.said.at(-1) !== state) window.said.push(state); };
          look(); new MutationObserver(look).observe(document.body,
            {subtree: true, childList: true, characterData: true}); }""",
        job,
    )
    page.keyboard.press("c")
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("Sleep")
    expect(dialog.get_by_role("button", name="Keep running")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    assert play.status(job) == "running"
    go_to_row(page, job)
    page.keyboard.press("c")
    expect(dialog.get_by_role("button", name="Keep running")).to_be_focused()
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Cancel job")).to_be_focused()
    page.keyboard.press("Enter")
    ended = page.get_by_role("table", name=ENDED_TABLE).locator(f"[data-row='{job}']")
    expect(ended).to_contain_text("Cancelled", timeout=PATIENCE_MS)
    assert [word.strip() for word in page.evaluate("window.said")] == [
        "Running", "Cancelling", "Cancelled",
    ]  # fmt: skip
    assert play.status(job) == "terminated"
    # Somebody else's job: nothing offers it, and a crafted request is refused.
    page.goto(play.url(f"/jobs/{bens}"))
    expect(page.get_by_text("of ben")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    assert posted(page, f"{play.api}/jobs/{bens}/cancel") == 403
    assert play.status(bens, "ben") == "running"


@BOTH_HOMES
def test_7_batch(play: Play) -> None:
    """Three of twelve are over a time limit; once that is taken away they succeed."""
    rule = f"/limits/time/{SLEEP}/ana"
    play.set(rule, seconds=2, reason="acceptance")
    quick = {"method": "ee2_test.child", "params": [{"value": 1}]}
    slow = {"method": SLEEP, "params": [{"seconds": 5}]}
    batch = play.batch([slow if n in (2, 5, 8) else quick for n in range(12)])
    page = play.open(f"/batches/{batch}")
    bar = page.get_by_role("img", name="9 completed, 3 failed").first
    expect(bar).to_be_visible(timeout=2 * PATIENCE_MS)
    groups = page.get_by_role("list", name="Failures by their first line").get_by_role("button")
    expect(groups).to_have_count(1)
    expect(groups).to_contain_text(re.compile("3 × .*time limit of 2 s"))
    rows = page.get_by_role("table", name=re.compile("^Children")).locator("tr[data-row]")
    expect(rows).to_have_count(12)
    expect(rows.filter(has_text="Failed")).to_have_count(3, timeout=SOON_MS)
    play.unset(rule)
    page.get_by_role("button", name="Retry failed (3)").click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("3 jobs will run again")
    dialog.get_by_role("button", name="Retry 3 jobs").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_test_id("action")).to_contain_text("3 jobs retried", timeout=PATIENCE_MS)
    expect(page.get_by_role("button", name=re.compile("^Retry failed"))).to_have_count(0)
    whole = page.get_by_role("img", name="12 completed", exact=True).first
    expect(whole).to_be_visible(timeout=PATIENCE_MS)
    page.reload()
    expect(whole).to_be_visible()
    expect(rows).to_have_count(12)
    heads = page.get_by_role("table", name=re.compile("^Children")).get_by_role("columnheader")
    names = heads.all_inner_texts()
    cells = [row.locator("td").all_inner_texts() for row in rows.all()]
    tries = {int(row[names.index("#")]): int(row[names.index("Attempt")]) for row in cells}
    assert tries == {n + 1: 2 if n in (2, 5, 8) else 1 for n in range(12)}
    counts = play.rest("GET", f"/batches/{batch}", "ana")
    assert (counts["children"], counts["counts"]) == (12, {"completed": 12})


@BOTH_HOMES
def test_9_limits(play: Play) -> None:
    play.one_runs_one_waits()
    third = play.submit()
    play.wait(third, "queued")
    page = play.open("/admin/limits/users", user="root")
    page.get_by_role("button", name="Change the limit of ana").click()
    form = page.get_by_role("form", name="Limit of ana")
    form.get_by_label("Jobs at once").fill("2")
    preview = form.get_by_test_id("preview")
    expect(preview).to_contain_text("Would hold back 1 waiting job of ana")
    form.get_by_label("Reason").fill("two are enough")
    form.get_by_role("button", name="Save limit").click()
    expect(form).to_have_count(0)
    # A rule of four seconds for ana's jobs of one app.
    rule = "/limits/time/ee2_test.child/ana"
    play.undo(rule)
    page.goto(play.url("/admin/limits/runtime"))
    page.get_by_role("button", name="Add a rule").click()
    form = page.get_by_role("form", name="A rule on run time")
    for label, text in (
        ("App", "ee2_test.child"), ("User", "ana"), ("Hours", "0.001"), ("Note", "for a test"),
        ("Reason", "four seconds do"),
    ):  # fmt: skip
        form.get_by_label(label).fill(text)
    expect(form.get_by_test_id("preview")).not_to_be_empty()
    form.get_by_role("button", name="Save rule").click()
    expect(form).to_have_count(0)
    mine = play.open(f"/jobs/{third}")
    expect(mine.get_by_test_id("waiting")).to_contain_text(
        "Waiting because: Your limit of 2 running jobs is reached.", timeout=PATIENCE_MS
    )
    play.clean_jobs()
    over = play.submit("ee2_test.child", seconds=600)
    mine.goto(play.url(f"/jobs/{over}"))
    words = re.compile(r"4 s for ana's ee2_test\.child, set by root on \d{4}-\d\d-\d\d: for a test")
    expect(section(mine, "Timings")).to_contain_text(words)
    expect(mine.locator("[data-state=error]").first).to_be_visible(timeout=PATIENCE_MS)
    alert = mine.get_by_role("alert").first
    expect(alert).to_contain_text(re.compile("time limit of 4 s"))
    expect(alert).to_contain_text(words)
    page.goto(play.url("/admin/audit?actor=root"))
    entries = page.get_by_role("table").get_by_role("row")
    for act, target, reason in (
        ("Set a user’s limit", "user ana", "two are enough"),
        ("Set a rule on run time", "ee2_test.child", "four seconds do"),
    ):
        entry = entries.filter(has_text=reason).filter(has_text=act).first
        expect(entry).to_contain_text(target)
        expect(entry).to_contain_text("Done")


@BOTH_HOMES
def test_10_trouble(play: Play) -> None:
    staying, leaving = play.running(), play.submit()
    page = play.open("/status")
    page.clock.install()
    page.goto(play.url("/jobs"))
    live = page.get_by_role("table", name=LIVE_TABLE)
    expect(live.locator("[data-row]")).to_have_count(2)
    second, asked = 0, list[int]()

    def refused(route: Route) -> None:
        if LISTS.search(route.request.url):
            asked.append(second)
        route.abort()

    page.route(API, refused)
    play.cancel(leaving)
    new = play.submit()
    while second < 90:
        second += 2
        page.clock.run_for(2000)
        page.wait_for_timeout(20)
    expect(page.get_by_text(re.compile(r"^No answer since \d\d:\d\d")).first).to_be_visible()
    assert {one.get_attribute("data-row") for one in live.locator("[data-row]").all()} == {
        staying, leaving,
    }  # fmt: skip
    assert live.evaluate(
        "one => { for (; one; one = one.parentElement)"
        " if (getComputedStyle(one).filter.includes('grayscale(1)')) return true; return false; }"
    )
    # Twice as long after each failure: the first few in a row, then one in 15 s at most.
    later = asked[2:]
    assert later and all(b - a >= 13 for a, b in zip(later, later[1:], strict=False)), asked
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=cast(Any, scheme))
        axe(page, OURS[play.home])
    page.unroute(API)
    with page.expect_response(LISTS):
        for _ in range(35):
            page.clock.run_for(2000)
            page.wait_for_timeout(20)
            if page.get_by_text(re.compile("^No answer since")).count() == 0:
                break
    expect(live.locator(f"[data-row='{new}']")).to_have_count(1, timeout=SOON_MS)
    expect(live.locator(f"[data-row='{leaving}']")).to_have_count(0, timeout=SOON_MS)
    assert sorted(
        one.get_attribute("data-row") or "" for one in live.locator("[data-row]").all()
    ) == sorted([staying, new])
    expect(page.get_by_text(re.compile("^No answer since"))).to_have_count(0, timeout=SOON_MS)


@pytest.mark.parametrize("home", ["airflow"])
def test_from_a_run_to_its_job_and_back(play: Play) -> None:
    job = play.running()
    run = f"/dags/{SLEEP}.job/runs/{job}"
    page = play.hosted.airflow(run, user="root")
    tab = page.get_by_role("link", name="EE2 jobs of this run")
    tab.click()
    expect(page).to_have_url(re.compile(f"{run}/plugin/ee2-run$"))
    page.get_by_role("link", name="All of this job").click()
    expect(page).to_have_url(re.compile(f"/plugin/ee2-jobs/jobs/{job}$"))
    expect(section(page, "Where it ran")).to_be_visible()
    back = page.get_by_role("link", name="Run in Airflow")
    assert until(lambda: back.get_attribute("href"), 20, lambda: "the link").endswith(run)
    back.click()
    expect(page).to_have_url(re.compile(f"{run}/?$"))
    expect(tab).to_be_visible()
