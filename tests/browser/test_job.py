"""The job page: reading order, failures, waiting, reports, cancelling, sharing, hostile contents;
and jobs side by side."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Alone
from tests.browser.support import attacked, axe

expect.set_options(timeout=20_000)
NOT_SEEN = "No such job, or you may not see it."


def _job(alone: Alone, name: str, more: str = "", **how: Any) -> Page:
    return alone(f"/jobs/{alone.place.jobs[name]}{more}", **how)


def _section(page: Page, title: str) -> Any:
    return page.get_by_role("region", name=title, exact=True)


def test_a_failed_job_is_read_in_order(alone: Alone) -> None:
    page = _job(alone, "failed")
    expect(page.get_by_role("alert")).to_contain_text(
        "The app failed: staging file reads_17.fastq is empty"
    )
    expect(_section(page, "Where it ran")).to_be_visible()
    titles = page.get_by_role("heading", level=2).all_inner_texts()
    assert titles == [
        "Narrative", "Console log", "Report objects", "Timings", "Input and output",
        "Where it ran", "History",
    ]  # fmt: skip
    expect(_section(page, "Narrative")).to_contain_text("Soil metagenomes, June")
    expect(_section(page, "Console log")).to_contain_text("The app ended with exit code 1")
    expect(_section(page, "Report objects")).to_contain_text("Not produced")
    expect(_section(page, "Timings")).to_contain_text(re.compile(r"Running 10 m 1\d s"))
    expect(_section(page, "Timings")).to_contain_text(re.compile(r"of the last \d+ runs"))
    expect(_section(page, "Where it ran")).to_contain_text("node1")
    expect(_section(page, "History")).to_contain_text("ana (owner)")
    line = page.get_by_role("link", name=re.compile("^2990: ERROR staging file"))
    line.click()
    expect(page).to_have_url(re.compile(r"/log\?line=2990$"))
    other = alone.pages.open(page.url, alone.place.tokens["ana"])  # its address, in a new window
    expect(other.locator('[data-line="2990"]')).to_contain_text("staging file reads_17.fastq")


def test_input_and_output_are_read_when_one_comes_near(alone: Alone) -> None:
    page = alone("/jobs")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{alone.place.url}/jobs/{alone.place.jobs['report']}")
    expect(_section(page, "Where it ran")).to_be_visible()
    assert not [url for url in asked if "/io" in url]
    _section(page, "Input and output").scroll_into_view_if_needed()
    io = _section(page, "Input and output")
    # As the app calls it, with its own name in small.
    called = "How exact the alignment is preset very-sensitive"
    expect(io.get_by_role("row", name=called)).to_be_visible()
    io.get_by_role("button", name="JSON").first.click()
    expect(io).to_contain_text('"preset": "very-sensitive"')
    with page.expect_download() as started:
        io.get_by_role("link", name="Download the Output").click()
    assert json.loads(started.value.path().read_text())["result"]


def test_a_report_is_shown_and_can_do_nothing(alone: Alone) -> None:
    page = _job(alone, "report", "#report")
    section = _section(page, "Report objects")
    expect(section).to_contain_text("S0001_alignment")
    frame = section.locator("iframe")
    assert frame.get_attribute("sandbox") == ""
    inside = section.frame_locator("iframe")
    expect(inside.get_by_role("heading", name="Alignment report")).to_be_visible()
    expect(inside.locator("#said")).to_have_text("This page was made by the app.")
    assert not attacked(page)
    assert page.title() != "attacked"


def test_hostile_contents_are_text(alone: Alone) -> None:
    page = _job(alone, "hostile")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    expect(page.get_by_role("alert")).to_contain_text('<img src=x onerror="window.attacked=1">')
    _section(page, "Input and output").scroll_into_view_if_needed()
    io = _section(page, "Input and output")
    expect(io).to_contain_text("__proto__.polluted")
    expect(io).to_contain_text("javascript:window.attacked=1")
    io.get_by_role("button", name=re.compile("Show all .* letters")).first.click()
    assert page.locator("main img, main script, a[href^=javascript]").count() == 0
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    assert not attacked(page) and not dialogs
    assert page.evaluate("({}).polluted") is None


def test_a_waiting_job_says_where_it_stands(alone: Alone) -> None:
    page = _job(alone, "queued")
    stand = page.get_by_test_id("waiting")
    expect(stand).to_contain_text(re.compile(r"\d+(st|nd|rd|th) of [\d,]+ in njs"))
    expect(stand).to_contain_text("Waiting because:")
    expect(stand).to_contain_text(re.compile(r"Expected to start"))
    expect(stand).to_contain_text(re.compile("such a range (is|was) right"))
    expect(page.get_by_role("button", name="Notify me")).to_be_visible()


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("by_admin", "Cancelled by an administrator: The node is taken down"),
        ("over_limit", "4 h 00 m (rule: 4 h for kb_Msuite.run_checkM, set by root)"),
        ("near_limit", "Near limit"),
        ("retried_1", "Attempt 3"),
    ],
)
def test_says_what_is_special(alone: Alone, job: str, words: str) -> None:
    expect(_job(alone, job).get_by_text(words).first).to_be_visible()


def test_cancel_asks_first_and_shows_at_once(alone: Alone) -> None:
    """The server's answer is made up: the seeded job is needed by others."""
    page = _job(alone, "running")
    sent: list[Any] = []
    def accept(route: Route) -> None:
        sent.append(route.request.method)
        route.fulfill(
            body=json.dumps({"id": "x", "status": "running", "sentence": "", "priority": 0}),
            content_type="application/json",
        )
    page.route("**/cancel*", accept)
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_visible()
    page.keyboard.press("c")
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text(re.compile("Align reads with Bowtie2|kb_Bowtie2/align_reads"))
    expect(dialog.get_by_role("button", name="Keep running")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert not sent
    page.get_by_role("button", name="Cancel", exact=True).click()
    dialog.get_by_role("button", name="Cancel job").click()
    expect(page.locator("[data-state=cancelling]")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_hidden()
    assert sent == ["POST"]


def test_others_jobs_are_not_to_be_cancelled(alone: Alone) -> None:
    page = _job(alone, "bens_shared")
    expect(_section(page, "Where it ran")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    address = f"{alone.place.url}/api/v1/jobs/{alone.place.jobs['bens_shared']}/cancel"
    crafted = "async (to) => (await fetch(to, {method: 'POST', body: '{}', " \
        "headers: {'Content-Type': 'application/json'}})).status"
    assert page.evaluate(crafted, address) in (403, 404)
    for hidden in (alone.place.jobs["bens_own"], "0123456789abcdef01234567", "nonsense"):
        page.goto(f"{alone.place.url}/jobs/{hidden}")
        expect(page.get_by_text(NOT_SEEN)).to_be_visible()


def test_star_and_labels(alone: Alone) -> None:
    page = _job(alone, "no_output")
    page.get_by_role("button", name="Put a star on it").click()
    expect(page.get_by_role("button", name="Take the star away")).to_be_visible()
    page.get_by_role("button", name="Label", exact=True).click()
    page.keyboard.type("paper <b>2</b>")
    with page.expect_response(lambda r: "paper" in (r.request.post_data or "")):
        page.keyboard.press("Enter")
        expect(page.get_by_text("paper <b>2</b>")).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Take the label paper <b>2</b> away").click()
    page.get_by_role("button", name="Take the star away").click()
    expect(page.get_by_role("button", name="Put a star on it")).to_be_visible()
    expect(page.get_by_text("paper <b>2</b>")).to_be_hidden()


def test_unsharing_can_be_undone(alone: Alone) -> None:
    page = _job(alone, "shared_by_name", user="ben")
    page.get_by_role("button", name="Share", exact=True).click()
    page.get_by_role("button", name="Unshare with ana").click()
    expect(page.get_by_role("button", name="Unshare with ana")).to_be_hidden()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Shared with ana again")).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Share", exact=True).click()
    expect(page.get_by_role("button", name="Unshare with ana")).to_be_visible()


def test_the_right_to_manage_is_given_and_kept(alone: Alone) -> None:
    page = _job(alone, "shared_by_name", user="ben")
    page.get_by_role("button", name="Share", exact=True).click()
    of_ana = page.get_by_label("What ana may do")
    expect(of_ana).to_have_value("read")
    of_ana.select_option("can manage")
    page.get_by_label("User names").fill("cho")
    page.get_by_label("What they may do").select_option("can manage")
    expect(page.get_by_text("They may also cancel it")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Share", exact=True).click()
    expect(page.get_by_label("What cho may do")).to_have_value("manage")
    expect(of_ana).to_have_value("manage")
    page.get_by_role("button", name="Unshare with cho").click()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Shared with cho again")).to_be_visible()
    expect(page.get_by_label("What cho may do")).to_have_value("manage")
    page.get_by_role("button", name="Unshare with cho").click()
    with page.expect_response("**/share"):
        of_ana.select_option("can read")
    expect(page.get_by_role("button", name="Unshare with cho")).to_be_hidden()
    page.reload()
    page.get_by_role("button", name="Share", exact=True).click()
    expect(of_ana).to_have_value("read")


def test_administrators_see_the_record(alone: Alone) -> None:
    page = _job(alone, "bens_own", user="root")
    box = _section(page, "For administrators")
    box.get_by_role("button", name="Show the record").click()
    expect(box).to_contain_text('"user": "ben"')
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_visible()


def test_parts_fail_alone_and_old_data_stays(alone: Alone) -> None:
    page = alone("/jobs")
    page.route("**/transitions*", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(f"{alone.place.url}/jobs/{alone.place.jobs['running']}")
    expect(page.get_by_text("History: not to be had")).to_be_visible()
    expect(_section(page, "Where it ran")).to_contain_text("njs")
    page.route(re.compile(r"/jobs/\w+$"), lambda route: route.abort())
    expect(page.get_by_text(re.compile("No answer since"))).to_be_visible()
    expect(_section(page, "Where it ran")).to_be_visible()


def test_jobs_side_by_side(alone: Alone) -> None:
    jobs = alone.place.jobs
    page = alone(f"/compare?ids={jobs['retried_1']},{jobs['retried']},{jobs['hostile']}")
    expect(_section(page, "Timings")).to_be_visible()
    table = _section(page, "Parameters that differ")
    expect(table).to_contain_text('<img src=x onerror="window.attacked=1">')
    page.goto(f"{alone.place.url}/compare?ids={jobs['failed']},{jobs['retried_1']}")
    page.get_by_role("button", name="Compare the logs").click()
    diff = page.get_by_role("region", name="What differs between the logs")
    expect(diff).to_contain_text("reads the sample sheet")
    page.goto(f"{alone.place.url}/compare?ids={jobs['failed']}")
    expect(page.get_by_text("Choose two to four jobs to compare.")).to_be_visible()
    assert not attacked(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_has_no_barriers(alone: Alone, theme: Any) -> None:
    page = _job(alone, "failed", theme=theme)
    _section(page, "Input and output").scroll_into_view_if_needed()
    expect(_section(page, "Input and output")).to_contain_text("very-sensitive")
    axe(page)
    page.evaluate("scrollTo(0, 0)")
    alone.pages.shot(page, "job")
    page.goto(f"{alone.place.url}/jobs/{alone.place.jobs['queued']}")
    expect(page.get_by_test_id("waiting")).to_contain_text("njs")
    axe(page)
    jobs = alone.place.jobs
    page.goto(f"{alone.place.url}/compare?ids={jobs['retried_1']},{jobs['retried']}")
    page.get_by_role("button", name="Compare the logs").click()
    expect(page.get_by_role("region", name="What differs between the logs")).to_be_visible()
    axe(page)
    alone.pages.shot(page, "compare")


def test_on_a_phone(alone: Alone) -> None:
    page = _job(alone, "failed", phone=True)
    expect(_section(page, "Where it ran")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    alone.pages.shot(page, "job")
