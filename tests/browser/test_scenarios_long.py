"""Scenarios 5 and 8 on the real stack: a log of 100,000 lines, and a list beyond 2,000 rows."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bson import ObjectId
from playwright.sync_api import Page, expect

from tests.browser.conftest import Accounts
from tests.browser.play import Play, row_of
from tests.browser.test_lists import FAR_DOWN
from tests.browser.test_scenarios import BOTH_HOMES, PATIENCE_MS, home, lasting, play
from tests.services.airflow_support import database

__all__ = ["home", "lasting", "play"]  # fixtures
LINES, AT_ONCE = 100_000, 5_000
MARKED, WORD = 73_412, "quokka"
FAR = 2_000
ROWS = FAR + 300
# An app of these jobs alone, so that their list is not mixed with those of other tests.
APP = "ee2_acceptance/many"


def line(page: Page, number: int) -> Any:
    return page.locator(f"[data-line='{number}']")


@pytest.fixture
def long_log(play: Play) -> str:
    """A running job of ana's with 100,000 lines in its log, written as a runner writes them."""
    job = play.running()
    written = play.rest("GET", f"/jobs/{job}/log?tail=1", "ana")["count"]
    for start in range(written, LINES, AT_ONCE):
        lines = [
            {"line": f"\x1b[31m{WORD}\x1b[0m is found" if n == MARKED else f"read {n}: aligned"}
            for n in range(start, min(LINES, start + AT_ONCE))
        ]
        play.ee2("add_job_logs", {"job_id": job}, lines)
    return job


@BOTH_HOMES
def test_5_log(play: Play, long_log: str) -> None:
    page = play.open(f"/jobs/{long_log}/log")
    follow = page.get_by_role("button", name="Follow")
    expect(follow).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text(re.compile(r"^100,\d{3} lines$"))).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_test_id("log-lines").hover()
    page.mouse.wheel(0, -600)
    expect(follow).to_have_attribute("aria-pressed", "false")
    began = time.monotonic()
    page.keyboard.press("/")
    page.keyboard.type(WORD)
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("log-lines").locator("mark")).to_have_text(WORD)
    took_s = time.monotonic() - began
    print(f"found in {took_s:.2f} s")
    assert took_s < 5  # alone on a machine: below 1
    # The job itself writes a line now and then.
    at = int(re.findall(r"line=(\d+)", page.url)[0])
    assert abs(at - MARKED) < 1000
    text = line(page, at).inner_text()
    assert "\x1b" not in text and "[31m" not in text and f"{WORD} is found" in text
    colour = "one => getComputedStyle(one).color"
    plain = line(page, at).locator("span", has_text="is found").last.evaluate(colour)
    red = line(page, at).locator("mark").evaluate(
        "one => getComputedStyle(one.closest('[style*=color]') ?? one).color"
    )
    assert red != plain
    assert page.locator("[data-line]").count() < 1000
    with page.expect_download() as started:
        page.get_by_role("link", name="Text").click()
    assert len(started.value.path().read_text().splitlines()) >= LINES


@pytest.fixture(scope="module")
def many(accounts: Accounts) -> Iterator[list[str]]:
    """The ids of records of jobs that have failed, the newest end first."""
    now = time.time()
    ids = [ObjectId(f"{int(now) - n:08x}{'0' * 10}{n:06x}") for n in range(ROWS)]
    module, _, name = APP.partition("/")
    jobs = [
        {
            "_id": oid, "user": "ben", "authstrat": "kbaseworkspace", "status": "error",
            "updated": now - n, "queued": now - n - 90, "running": now - n - 60,
            "finished": now - n, "batch_job": False, "child_jobs": [], "retry_ids": [],
            "errormsg": "made up", "error_code": 1,
            "job_input": {"method": f"{module}.{name}", "app_id": APP, "params": [],
                          "requirements": {"clientgroup": "njs"}},
        }
        for n, oid in enumerate(ids)
    ]  # fmt: skip
    with database(accounts.stack) as db:
        db.ee2_jobs.insert_many(jobs)
    yield [str(oid) for oid in ids]
    with database(accounts.stack) as db:
        db.ee2_jobs.delete_many({"_id": {"$in": ids}})


@BOTH_HOMES
def test_8_history_at_scale(play: Play, many: list[str]) -> None:
    page = play.open(f"/admin/jobs?status=error&app={APP}", user="root")
    expect(page.get_by_test_id("count")).to_have_text("1,000+ jobs")
    found = page.evaluate(FAR_DOWN, FAR)
    assert found["last"] >= FAR and found["moved"] == 0 and found["drawn"] < 80
    shown = dict(found["seen"])
    assert shown == {place: many[place - 1] for place in shown}
    pages = sorted(found["took"])
    assert pages[len(pages) // 2] < 500, pages  # ms; alone on a machine some 15
    page.wait_for_timeout(1000)  # until no more rows are on their way
    job = page.locator("tr[data-row]").nth(12).get_attribute("data-row") or ""
    top = "box => box.scrollTop"
    place = page.get_by_test_id("jobs").evaluate(top)
    row_of(page, job).get_by_role("link").first.click()
    expect(page).to_have_url(re.compile(f"/jobs/{job}$"))
    page.go_back()
    expect(row_of(page, job)).to_be_focused()
    assert abs(page.get_by_test_id("jobs").evaluate(top) - place) < 40

