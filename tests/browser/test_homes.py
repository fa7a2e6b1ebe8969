"""The two homes of the dashboard: a page of its own, and within Airflow's pages."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Accounts, Alone, Hosted, password
from tests.browser.support import COOKIE, Place, Theme, attacked, axe
from tests.conftest import until

THEMES: tuple[Theme, ...] = ("light", "dark")


def heading(page: Page, text: str | re.Pattern[str]) -> None:
    """Waits for the page's title."""
    expect(page.get_by_role("heading", level=1, name=text)).to_be_visible()


@pytest.mark.parametrize("theme", THEMES)
def test_signing_in_with_a_token(alone: Alone, site: Place, theme: Theme) -> None:
    page = alone("/jobs", user=None, theme=theme)
    heading(page, "EE2 jobs")
    axe(page)
    alone.pages.shot(page, "sign-in")
    page.get_by_label("Token").fill("not a token")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("You are not signed in")).to_be_visible()
    page.get_by_label("Token").fill(site.tokens["ana"])
    page.keyboard.press("Enter")
    heading(page, "My jobs")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert cookies[COOKIE]["httpOnly"] and cookies[COOKIE]["sameSite"] == "Strict"
    assert site.tokens["ana"] not in page.evaluate("document.cookie + JSON.stringify(localStorage)")
    page.reload()
    heading(page, "My jobs")
    page.get_by_role("button", name="Sign out").click()
    heading(page, "EE2 jobs")
    assert COOKIE not in {cookie["name"] for cookie in page.context.cookies()}


def test_an_address_is_kept_over_signing_in(alone: Alone, site: Place) -> None:
    page = alone("/status", user=None)
    page.get_by_label("Token").fill(site.tokens["ben"])
    page.keyboard.press("Enter")
    heading(page, "System status")
    assert page.url == f"{site.url}/status"


def test_hostile_texts_stay_texts(alone: Alone, site: Place) -> None:
    """Whole lists of them; pages of jobs are looked at with the pages themselves."""
    for path in ("/jobs", "/jobs/narratives", "/status"):
        page = alone(path)
        page.wait_for_load_state("networkidle")
        assert not attacked(page)


@pytest.mark.parametrize("theme", THEMES)
def test_airflow_shows_an_entry_a_card_and_the_pages(hosted: Hosted, theme: Theme) -> None:
    page = hosted.airflow("/", theme=theme)
    page.get_by_role("link", name="EE2 jobs", exact=True).click()
    heading(page, "My jobs")
    expect(page.get_by_text("Ended most recently")).to_be_visible()
    page.wait_for_load_state("networkidle")
    axe(page, within="#main")
    page = hosted.airflow("/plugin/ee2-jobs/status", theme=theme)
    heading(page, "System status")


def test_what_is_typed_stays_while_the_host_draws_anew(hosted: Hosted) -> None:
    """Airflow 3.3 puts another component in the place of ours when it draws for the second time;
    here because a filter changes the address."""
    page = hosted.airflow("/plugin/ee2-jobs/jobs/history")
    heading(page, "History")
    pages = page.get_by_role("navigation", name="Pages of the dashboard")
    pages.evaluate("one => { one.dataset.same = 'yes' }")
    box = page.get_by_label("Search by id, app or narrative")
    box.press_sequentially("sleep", delay=300)
    page.wait_for_url("**/history?*sleep*")
    expect(box).to_have_value("sleep")
    expect(box).to_be_focused()
    expect(pages).to_have_attribute("data-same", "yes")


def test_a_scientist_sees_nothing_else_of_airflow(hosted: Hosted, accounts: Accounts) -> None:
    cookies = {"_token": accounts.airflow["ana"]}
    url = accounts.stack.airflow_url

    def get(path: str) -> httpx.Response:
        return httpx.get(url + path, cookies=cookies, timeout=60)

    job = stack_job(accounts)
    run = f"/api/v2/dags/ee2_test.echo.job/dagRuns/{job}"
    for path in (
        "/api/v2/connections", "/api/v2/variables", "/api/v2/config", "/api/v2/eventLogs",
        "/api/v2/dags/ee2_test.echo.job", "/api/v2/dags/ee2_test.echo.job/dagRuns", run,
        f"{run}/taskInstances", f"{run}/taskInstances/submit/logs/1",
        "/api/v2/dagSources/ee2_test.echo.job", "/ui/grid/runs/ee2_test.echo.job",
        "/services/ee2/api/v1/audit", "/services/ee2/api/v1/jobs?scope=all",
    ):  # fmt: skip
        assert get(path).status_code == 403, path
    for path in (
        "/api/v2/dags", "/api/v2/dags/~/dagRuns", "/api/v2/dags/~/dagRuns/~/taskInstances",
    ):  # fmt: skip
        answer = get(path)
        assert answer.status_code == 200 and answer.json()["total_entries"] == 0, path
    for path in ("/api/v2/plugins", "/services/ee2/api/v1/jobs"):
        assert get(path).status_code == 200, path


def stack_job(accounts: Accounts) -> str:
    """A job of ana that has ended."""
    call = {"method": "ee2_test.echo", "params": ["hello"]}
    job = str(accounts.stack.ee2("run_job", call, token=accounts.own["ana"]))
    until(
        lambda: (
            accounts.stack.ee2("check_job", {"job_id": job}, token=accounts.own["ana"])["status"]
            == "completed"
            or None
        ),
        60,
        lambda: f"job {job} to end",
    )
    return job


def test_a_run_shows_its_jobs(hosted: Hosted, accounts: Accounts) -> None:
    stack, job = accounts.stack, stack_job(accounts)
    page = hosted.airflow(f"/dags/ee2_test.echo.job/runs/{job}/plugin/ee2-run", user="root")
    expect(page.get_by_text(job[:8]).first).to_be_visible()
    # The button on a task leads to the page of the job, for those who may see it.
    old = f"{stack.rpc_url}/jobs/{job}"
    asked = {"_token": accounts.airflow["root"]}
    answer = httpx.get(old, cookies=asked, timeout=60)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/plugin/ee2-jobs/jobs/{job}"
    asked = {"_token": accounts.airflow["ben"]}
    assert httpx.get(old, cookies=asked, timeout=60).status_code == 404
    nobody = httpx.get(old, timeout=60)
    assert nobody.headers["location"] == f"/services/ee2/dashboard/jobs/{job}"


def test_signing_in_to_airflow_leads_back(hosted: Hosted, accounts: Accounts) -> None:
    url = f"{accounts.stack.airflow_url}/plugin/ee2-jobs"
    page = hosted.pages.open(url, airflow=True)
    page.locator("input[name=username]").fill("ana")
    page.locator("input[name=password]").fill(password("ana"))
    page.keyboard.press("Enter")
    heading(page, "My jobs")
    me = page.evaluate("fetch('/services/ee2/api/v1/me').then((a) => a.json())")
    assert me["user"] == "ana" and not me["is_admin"], json.dumps(me)
