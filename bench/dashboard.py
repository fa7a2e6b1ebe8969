"""How soon the dashboard shows something, and how smoothly it goes on, with a million jobs.

A real browser opens the page of its own on the database of `million.py`. Times are those that the
person sees: from the moment the address is asked for to the first row, with an empty cache (cold),
and from a click within the page (warm). Frames are counted by the page itself.
"""

from __future__ import annotations

import gzip
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Response, sync_playwright
from pymongo import MongoClient

from bench.engine import Engine
from bench.figures import Figure
from bench.million import loaded, served, token_of_ana
from bench.million_data import Data
from ee2_cli import dashboard
from ee2_cli.settings import REPO, StackError

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
_ROW = "[data-testid=jobs] tbody tr[aria-rowindex], [data-testid=jobs] [data-job]"
# Where each list is, its name in the bar, and what a row of it is.
_LISTS = {
    "my jobs": ("/jobs", "My jobs", _ROW),
    "by narrative": (
        "/jobs/narratives", "By narrative", "#main section > button[aria-expanded]"
    ),
    "history": ("/jobs/history?span=all", "History", _ROW),
    "all jobs": ("/admin/jobs", "All jobs", _ROW),
}
_HOUR = 3600
# From the next click to the frame that shows what is waited for, ms.
_CLICK_TO_SIGHT = """selector => { window.took = new Promise(done => {
  addEventListener('click', ({timeStamp}) => {
    const look = () => {
      if (!document.querySelector(selector)) return requestAnimationFrame(look);
      requestAnimationFrame(() => done(performance.now() - timeStamp));
    };
    requestAnimationFrame(look);
  }, {capture: true, once: true}); }); }"""
_RESTS_MS = 1000
# What cancels one of the owner's live jobs, and the sign that it was asked for.
_CANCEL = "[data-testid=jobs] [data-row] button[aria-label^=Cancel]"
_CANCELLING = "[data-testid=jobs] [data-state=cancelling]"
# What is scrolled in each frame, pixels: 3,600 a second, or 100 rows, more than one can read.
_STEP = 60
# Scrolls a box for three seconds, a step each frame, and gives the frames of each second.
_SCROLL = """async ([selector, step]) => {
  const box = document.querySelector(selector);
  const rates = [];
  for (let second = 0; second < 3; second += 1) {
    const start = performance.now();
    let frames = 0;
    while (performance.now() - start < 1000) {
      await new Promise(requestAnimationFrame);
      box.scrollBy(0, step);
      frames += 1;
    }
    rates.push(frames * 1000 / (performance.now() - start));
  }
  return rates;
}"""


def measure(engine: Engine) -> list[Figure]:
    """The figures of this family, beside the running stack."""
    return measure_at(engine.mongo_uri, quick=engine.quick, say=engine.say)


def measure_at(
    uri: str, *, quick: bool, say: Callable[[str], None], keep: bool = False
) -> list[Figure]:
    """The figures on a MongoDB. keep: as of `million.loaded`."""
    program = shutil.which("chromium")
    if program is None:
        raise StackError("No Chromium: on Debian, as root, apt-get install chromium")
    dashboard.build(say)
    with loaded(uri, quick=quick, say=say, keep=keep) as (name, data, _):
        token = token_of_ana(uri, name)
        with served(uri, name) as (address, _), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
            home = _Home(browser, f"{address}/services/ee2/dashboard", token, 3 if quick else 7)
            try:
                found = [
                    Figure("bundle, gzipped, without the host's libraries", "kB", [[_bundle_kb()]],
                           target=350),
                ]  # fmt: skip
                say("first rows")
                found += _first_rows(home, data)
                found.append(_cancelling(home))
                say("scrolling")
                found += _scrolling(home, data)
                say("an hour with a change each second")
                client: MongoClient[Any] = MongoClient(uri)
                with client:
                    found.append(_an_hour(home, client[name], 300 if quick else _HOUR))
                return found
            finally:
                browser.close()


class _Home:
    """Opens pages as ana, who may read everything."""

    def __init__(self, browser: Browser, url: str, token: str, rounds: int) -> None:
        self.rounds = rounds
        self._browser, self._url = browser, url
        self._headers = {"Authorization": token}

    def open(self, path: str, wait_for: str) -> Page:
        """A page in a context of its own, whose cache is empty. A new context starts processes, and
        the one before it ends its own: the browser is at rest when it is told where to go."""
        context = self._browser.new_context(
            viewport={"width": 1440, "height": 900}, extra_http_headers=self._headers
        )
        page = context.new_page()
        page.wait_for_timeout(_RESTS_MS)
        page.goto(self._url + path, wait_until="commit")
        page.wait_for_selector(wait_for, state="visible")
        return page


def _bundle_kb() -> float:
    bundle = Path(REPO) / "plugins" / "dashboard" / "dist" / "airflow" / "ee2-jobs.umd.js"
    return len(gzip.compress(bundle.read_bytes())) / 1000


def _now(page: Page) -> float:
    return float(page.evaluate("performance.now()"))


def _first_rows(home: _Home, data: Data) -> list[Figure]:
    addresses = {name: (path, row) for name, (path, _, row) in _LISTS.items()}
    addresses["a batch of 10,000"] = (f"/batches/{data.big_batch}", _ROW)
    cold: dict[str, list[float]] = {name: [] for name in addresses}
    warm: dict[str, list[float]] = {name: [] for name in _LISTS}
    for _ in range(home.rounds):
        for name, (path, row) in addresses.items():
            page = home.open(path, row)
            cold[name].append(_now(page) / 1000)  # counted by the browser from the navigation on
            page.context.close()
        page = home.open("/status", "h1")
        page.wait_for_load_state("networkidle")  # all pages' code is there then
        page.wait_for_timeout(2 * _RESTS_MS)
        for name, (_, title, row) in _LISTS.items():
            page.get_by_role("link", name="System status", exact=True).click()
            page.wait_for_timeout(_RESTS_MS)  # as one who reads it does
            page.evaluate(_CLICK_TO_SIGHT, row)
            page.get_by_role("link", name=title, exact=True).click()
            warm[name].append(page.evaluate("window.took") / 1000)
        page.context.close()
    return [
        *(Figure(f"first rows of {name}, cold", "s", [[v] for v in values], target=1.5)
          for name, values in cold.items()),
        *(Figure(f"first rows of {name}, warm", "s", [[v] for v in values[1:]], target=0.3)
          for name, values in warm.items()),
    ]  # fmt: skip


def _cancelling(home: _Home) -> Figure:
    """From confirming to the row that says so."""
    took: list[float] = []
    for _ in range(home.rounds):
        page = home.open("/jobs", _CANCEL)
        page.wait_for_timeout(_RESTS_MS)
        page.locator(_CANCEL).first.click()
        page.get_by_role("alertdialog").get_by_role("button", name="Keep running").wait_for()
        page.evaluate(_CLICK_TO_SIGHT, _CANCELLING)
        page.get_by_role("alertdialog").get_by_role("button", name="Cancel job").click()
        took.append(page.evaluate("window.took") / 1000)
        page.context.close()
    return Figure("cancelling: from confirming to the row", "s", [[v] for v in took], target=0.3)


def _scrolling(home: _Home, data: Data) -> list[Figure]:
    lists, log = "[data-testid=jobs]", "[data-testid=log-lines]"
    places = {
        "log of 100,000 lines": (f"/jobs/{data.long_log}/log", f"{log} [role=row]", log),
        "history": ("/jobs/history?span=all", _ROW, lists),
        "all jobs": ("/admin/jobs", _ROW, lists),
        "batch of 10,000 children": (f"/batches/{data.big_batch}", _ROW, lists),
    }  # fmt: skip
    figures = []
    for name, (path, wait_for, box) in places.items():
        rates: list[list[float]] = []
        for _ in range(3):
            page = home.open(path, wait_for)
            page.wait_for_timeout(_RESTS_MS)
            rates.append(page.evaluate(_SCROLL, [box, _STEP]))
            page.context.close()
        figures.append(
            Figure(f"scrolling: {name}", "frames/s", rates, target=50, better="more",
                   note=f"{_STEP} pixels each frame, drawn by the processor (no GPU)")
        )
    return figures


def _an_hour(home: _Home, jobs: Any, seconds: int) -> Figure:
    """Growth of the page's memory while `seconds` of its time go by, each with a change of one of
    its rows. The page's clock is turned on by hand, so that an hour takes minutes."""
    page = home.open("/jobs", _ROW)
    page.clock.install()
    browser = page.context.new_cdp_session(page)
    mine = [job["_id"] for job in jobs["ee2_jobs"].find(
        {"user": "ana", "status": "running"}, {"_id": 1}, limit=20)]  # fmt: skip
    heard: list[Response] = []
    page.on("response", lambda one: heard.append(one) if "/changes?" in one.url else None)
    used: list[float] = []
    renewed, step = 0, 5
    for at in range(0, seconds, step):
        for second in range(at, at + step):
            jobs["ee2_jobs"].update_one(
                {"_id": mine[second % len(mine)]}, {"$inc": {"bench": 1}}
            )
        page.clock.fast_forward(step * 1000)
        page.wait_for_timeout(20)
        renewed += sum(len(one.json().get("items", ())) for one in heard if one.ok)
        heard.clear()
        if at % (seconds // 10 // step * step or step) == 0:
            browser.send("HeapProfiler.collectGarbage")
            used.append(browser.send("Runtime.getHeapUsage")["usedSize"] / 1e6)
    page.context.close()
    growth = statistics.fmean(used[-3:]) - statistics.fmean(used[1:4])
    return Figure(
        "memory that a page left open for an hour has gained", "MB", [[growth]], target=5,
        note=f"{seconds} s of the page's clock, a change each second, {renewed:,} rows renewed;"
        f" at the end it uses {used[-1]:.0f} MB",
    )
