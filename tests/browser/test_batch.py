"""The page of a batch: counts, stages, grid, failures, retry and cancel of many, in a browser."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Alone
from tests.browser.support import attacked, axe

TOAST = "[data-scope=toast][data-part=root]"
ATTACK = '<img src=x onerror="window.attacked=1">'


def open_batch(alone: Alone, name: str, words: str = "", **how: Any) -> Page:
    page = alone(f"/batches/{alone.place.batches[name]}{words}", **how)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    return page


def answered(page: Page, path: str, change: Any) -> None:
    """Answers of the API at addresses that end so are changed on their way."""

    def fulfil(route: Any) -> None:
        known = route.request.headers
        answer = route.fetch(headers={k: v for k, v in known.items() if k != "if-none-match"})
        found = answer.json()
        change(found)
        route.fulfill(response=answer, json=found)

    page.route(re.compile(path), fulfil)


def test_the_head_says_how_it_stands(alone: Alone) -> None:
    page = open_batch(alone, "five_hundred")
    bar = page.get_by_role("img", name="480 completed, 8 running, 12 failed")
    expect(bar.first).to_be_visible()
    main = page.get_by_role("main")
    for text in ("98.4 %", "CPU hours", "Soil metagenomes, June", "of ana"):
        expect(main.get_by_text(text, exact=False).first).to_be_visible()
    expect(main.get_by_text(re.compile(r"^in \d+–\d+ (min|h)"))).to_be_visible()
    expect(page.get_by_role("button", name="Retry failed (12)")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel all (8)")).to_be_visible()
    page.locator("table tr[data-row]").first.wait_for()
    page.get_by_test_id("squares").wait_for()
    alone.pages.in_both(page, "batch")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download table").click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 501 and lines[0].startswith("number,job_id,differs")


def test_failures_are_grouped_and_filter_the_table(alone: Alone) -> None:
    page = open_batch(alone, "five_hundred")
    groups = page.get_by_role("list", name="Failures by their first line").get_by_role("button")
    expect(groups).to_have_count(3)
    expect(groups.nth(0)).to_contain_text("6 × staging file is empty")
    expect(groups.nth(1)).to_contain_text("4 × Sample sheet: the barcode is not in the run")
    groups.nth(1).click()
    expect(page).to_have_url(re.compile(r"failure=Sample"))
    rows = page.locator("table tr[data-row]")
    expect(rows).to_have_count(4)
    expect(page.get_by_role("heading", name="Children (4)")).to_be_visible()
    page.reload()  # the address alone says what is shown
    expect(rows).to_have_count(4)
    expect(groups.nth(1)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Show all").click()
    expect(rows.nth(10)).to_be_visible()
    page.get_by_role("button", name="Failed (12)", exact=True).click()
    expect(page).to_have_url(re.compile(r"status=error"))
    expect(rows).to_have_count(12)
    expect(rows.first).to_contain_text("sample=S0007")


def test_the_stages_from_left_to_right(alone: Alone) -> None:
    page = open_batch(alone, "stages")
    stages = page.locator("[data-stage]")
    expect(stages).to_have_count(3)
    names = ["Split", "Parts (24)", "Aggregate"]
    for at, (name, state) in enumerate(
        zip(names, ["Completed", "Running", "Submitted"], strict=True)
    ):
        expect(stages.nth(at)).to_contain_text(name)
        expect(stages.nth(at)).to_contain_text(state)
    boxes = [stages.nth(at).bounding_box() for at in range(3)]
    edges = [box["x"] for box in boxes if box]
    assert edges == sorted(edges) and len(set(edges)) == 3
    log = stages.nth(0).get_by_role("link", name="Log")
    expect(log).to_have_attribute("href", re.compile(r"/jobs/[0-9a-f]{24}/log$"))
    bars = page.get_by_test_id("gantt").get_by_role("img")
    expect(bars.nth(0)).to_have_accessible_name("Split: waited 8 s, ran 1 m 40 s")
    # What goes on ends at now, and says so.
    expect(bars.nth(1)).to_have_accessible_name(re.compile(r"Parts.* so far$"))
    expect(bars.nth(2)).to_have_accessible_name("Aggregate: not begun")
    # Split and aggregate are no children.
    expect(page.locator("table tr[data-row]")).to_have_count(24)


def test_the_grid_by_keys_and_by_pointer(alone: Alone) -> None:
    page = open_batch(alone, "five_hundred")
    grid = page.get_by_test_id("squares")
    grid.focus()
    expect(grid).to_have_attribute("aria-valuetext", "Child 1: Completed")
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    expect(grid).to_have_attribute("aria-valuetext", "Child 8: Failed")
    expect(page.get_by_test_id("under")).to_have_text("Child 8: Failed")
    page.keyboard.press("End")
    expect(grid).to_have_attribute("aria-valuetext", "Child 500: Running")
    assert page.evaluate("document.querySelectorAll('[data-testid=squares] *').length") < 12
    grid.hover(position={"x": 5, "y": 5})
    expect(page.get_by_test_id("under")).to_have_text("Child 1: Completed")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f]{24}$"))


def test_ten_thousand_children(alone: Alone, record_property: Any) -> None:
    page = open_batch(alone, "ten_thousand")
    page.get_by_test_id("strip").wait_for()
    # Again, with a warm server and a warm browser: what a reader of the page waits for.
    page.reload()
    page.locator("table tr[data-row]").first.wait_for()
    usable_ms = page.evaluate("performance.now()")
    record_property("usable_ms", usable_ms)
    expect(page.get_by_role("button", name="Cancel all (3,760)")).to_be_visible()
    strip = page.get_by_test_id("strip")
    strip.wait_for()
    assert page.evaluate("document.querySelectorAll('*').length") < 3500
    strip.focus()
    page.keyboard.press("End")
    expect(strip).to_have_attribute("aria-valuetext", re.compile(r"to 10,000: 40 queued"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Children 9,521 to 10,000 of 10,000")).to_be_visible()
    frames = page.evaluate(
        """async () => {
            const box = document.querySelector('[data-testid=jobs]');
            const gaps = [];
            let before = performance.now();
            for (let n = 0; n < 60; n += 1) {
                box.scrollTop += 40;
                await new Promise((go) => requestAnimationFrame(go));
                const now = performance.now();
                gaps.push(now - before);
                before = now;
            }
            gaps.sort((a, b) => a - b);
            return {median: gaps[30], worst: gaps[59]};
        }"""
    )
    record_property("frames", frames)
    print(f"usable after {usable_ms:.0f} ms; frames: {frames}")
    # A machine that many share: the figures are for the reader, the bounds for what is broken.
    assert usable_ms < 10_000 and frames["median"] < 100
    assert page.evaluate("document.querySelectorAll('[data-testid=jobs] tr').length") < 120


def test_retry_asks_once_and_tells_what_it_would_do(alone: Alone) -> None:
    page = open_batch(alone, "five_hundred")
    sent: list[Any] = []
    state: dict[str, Any] = {
        "id": "6" * 24, "action": "retry", "state": "running", "user": "ana", "as_admin": False,
        "reason": None, "filter": None, "total": 12, "done": 5, "next": None, "created": 1,
        "skipped": {"count": 0, "items": []}, "failed": {"count": 0, "items": []}, "finished": None,
    }  # fmt: skip

    def accept(route: Any) -> None:
        sent.append(route.request.post_data_json)
        route.fulfill(status=202, json={"id": state["id"]})

    page.route(re.compile(r"/actions$"), accept)
    page.route(re.compile(r"/actions/6+"), lambda route: route.fulfill(json=state))
    page.get_by_role("button", name="Retry failed (12)").click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("12 jobs will run again")
    expect(dialog).to_contain_text("CPU hours")
    expect(dialog.get_by_role("list").get_by_role("listitem")).to_have_count(6)
    expect(dialog.get_by_role("button", name="Leave them")).to_be_focused()
    dialog.get_by_role("button", name="Retry 12 jobs").click()
    expect(dialog).to_be_hidden()
    assert len(sent) == 1 and sent[0]["expect"] == 12 and sent[0]["key"]
    assert sent[0]["filter"] == {"batch": alone.place.batches["five_hundred"], "status": "error"}
    toast = page.locator(TOAST).filter(has_text="Retrying 12 jobs").first
    expect(toast).to_contain_text("5 of 12 done")
    # The page can be left; the message stays and goes on.
    page.get_by_role("link", name="Statistics").click()
    expect(toast).to_be_visible()
    state |= {
        "state": "done",
        "done": 11,
        "failed": {"count": 1, "items": [{"id": "7" * 24, "reason": "its inputs are gone"}]},
    }
    told = page.locator(TOAST).filter(has_text="11 jobs retried").first
    expect(told).to_contain_text("1 could not be retried: its inputs are gone")
    page.go_back()
    result = page.get_by_test_id("action")
    expect(result).to_contain_text("11 jobs retried")
    expect(result.get_by_role("listitem")).to_contain_text("its inputs are gone")


def test_cancel_all_has_its_number_typed(alone: Alone) -> None:
    page = open_batch(alone, "ten_thousand")
    page.route(
        re.compile(r"/actions$"),
        lambda route: route.fulfill(
            status=409, json={"error": {"status": 409, "message": "3,000 jobs would be cancelled"}}
        ),
    )
    page.get_by_role("button", name="Cancel all").click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text(re.compile(r"[\d.]+ hours of work are lost"))
    do = dialog.get_by_role("button", name="Cancel 3,760 jobs")
    expect(do).to_be_disabled()
    box = dialog.get_by_label(re.compile("Type 3760"))
    box.fill("376")
    expect(do).to_be_disabled()
    box.fill("3760")
    do.click()
    expect(dialog).to_contain_text("This was not done")
    expect(dialog).to_contain_text("3,000 jobs would be cancelled")
    axe(page, "[role=alertdialog]")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_is_shared_by_name(alone: Alone) -> None:
    """The seeded batches are of narratives; this one is shown as if it were of none."""
    shared: list[Any] = []
    asked: list[Any] = []

    def of_no_narrative(batch: Any) -> None:
        batch["can"]["share"] = True
        batch["shared"] = {"users": shared, "more": 0}

    def share(route: Any) -> None:
        asked.append(json.loads(route.request.post_data))
        shared.append({"user": "ben", "right": "manage"})
        route.fulfill(json={"id": alone.place.batches["small"], "shared": shared})

    page = alone("/status")
    answered(page, rf"/v1/batches/{alone.place.batches['small']}(\?.*)?$", of_no_narrative)
    page.route(re.compile("/jobs/.*/share$"), share)
    page.goto(f"{alone.place.url}/batches/{alone.place.batches['small']}")
    page.get_by_role("button", name="Share", exact=True).click()
    page.get_by_label("User names").fill("ben")
    page.get_by_label("What they may do").select_option("can manage")
    page.get_by_role("dialog").get_by_role("button", name="Share", exact=True).click()
    expect(page.get_by_label("What ben may do")).to_have_value("manage")
    assert asked == [{"users": ["ben"], "right": "manage"}]


def test_somebody_elses_batch_needs_a_reason(alone: Alone) -> None:
    page = open_batch(alone, "stages", user="root")
    page.get_by_role("button", name="Cancel all (5)").click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("5 jobs that have not ended")
    expect(dialog).to_contain_text("ana will see it")
    expect(dialog.get_by_role("button", name="Cancel 5 jobs")).to_be_disabled()
    dialog.get_by_role("textbox").fill("The disks are full")
    expect(dialog.get_by_role("button", name="Cancel 5 jobs")).to_be_enabled()
    page.keyboard.press("Escape")
    # The batch itself is in no list of root's own jobs; its children are shown all the same.
    expect(page.locator("table tr[data-row]")).to_have_count(24)


@pytest.mark.parametrize("user", ["ben", "cho"])
def test_hidden_batches_are_as_those_that_are_not(alone: Alone, user: str) -> None:
    words = "No such job, or you may not see it."
    page = alone(f"/batches/{alone.place.batches['five_hundred']}", user=user)
    expect(page.get_by_role("main")).to_contain_text(words)
    page.goto(f"{alone.place.url}/batches/{'0' * 24}")
    expect(page.get_by_role("main")).to_contain_text(words)


def test_hostile_texts_stay_texts(alone: Alone) -> None:
    page = alone("/stats")
    evil = f"{ATTACK}‮txt.exe‬" + "W" * 300

    def name(found: Any) -> None:
        found["name"] = found["owner"] = found["reason"] = evil
        found["narrative"]["title"] = evil
        found["run_url"] = "javascript:window.attacked=1"

    def errors(found: Any) -> None:
        for group in found["groups"]:
            group["message"] = group["sample"] = evil

    def rows(found: Any) -> None:
        for row in found["items"]:
            row["label"] = row["error_line"] = row["node"] = evil

    batch = alone.place.batches["five_hundred"]
    answered(page, rf"/api/v1/batches/{batch}(\?|$)", name)
    answered(page, r"/batches/\w+/errors", errors)
    answered(page, r"/jobs\?.*batch=", rows)
    page.goto(f"{alone.place.url}/batches/{batch}?status=error")
    expect(page.get_by_role("heading", level=1)).to_contain_text(ATTACK)
    expect(page.locator("table tr[data-row]").first).to_contain_text(ATTACK)
    assert not attacked(page)
    assert page.locator("main a[href^=javascript]").count() == 0
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"the page is {wide} px too wide"


def test_no_answer_keeps_what_is_shown(alone: Alone) -> None:
    page = open_batch(alone, "stages_done")
    down: dict[str, Any] = {"status": 503}

    def fail(route: Any) -> None:
        body = json.dumps({"error": {"status": down["status"], "message": "Back in a minute."}})
        route.fulfill(status=down["status"], body=body, headers={"Retry-After": "60"})

    page.route(re.compile(r"/batches/"), fail)
    page.get_by_role("button", name="Read anew").first.click()
    expect(page.get_by_text("No answer since")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("× 16")
    down["status"] = 429
    page.get_by_role("button", name="Try now").first.click()
    expect(page.get_by_text("Slowed down")).to_be_visible()
    down["status"] = 401
    page.get_by_role("button", name="Try now").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("× 16")
    page.unroute(re.compile(r"/batches/"))
    page.get_by_role("button", name="Read anew").first.click()
    expect(page.get_by_text("Slowed down")).to_be_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_and_barriers(alone: Alone, theme: str) -> None:
    for name, words in (("ten_thousand", "?status=error"), ("stages", "")):
        page = open_batch(alone, name, words, theme=theme)
        page.locator("table tr[data-row]").first.wait_for()
        page.get_by_test_id("squares").wait_for()
        axe(page)
        alone.pages.shot(page, f"batch-{name.replace('_', '-')}")


def test_on_a_phone(alone: Alone) -> None:
    page = open_batch(alone, "stages", phone=True)
    cards = page.locator("li[data-row]")
    expect(cards).to_have_count(24)
    expect(cards.first).to_contain_text("1: reads=")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    axe(page)
    alone.pages.shot(page, "batch-stages")
