"""The pages of administrators: overview, limits, run times, audit."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Alone
from tests.browser.support import Place, Theme, attacked, axe
from tests.browser.test_status import api, heading

BOWTIE = "kb_Bowtie2.align_reads"


def opened(alone: Alone, path: str, title: str, user: str = "root", **how: object) -> Page:
    page = alone(path, user=user, **how)
    heading(page, title)
    return page


def words_of(page: Page) -> dict[str, list[str]]:
    """The filter of the page's address."""
    return parse_qs(urlsplit(page.url).query)


def row(page: Page, table: str, text: str) -> Locator:
    return page.get_by_role("table", name=table).get_by_role("row").filter(has_text=text).first


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_overview_says_what_waits_on_what(alone: Alone, theme: Theme) -> None:
    page = opened(alone, "/admin", "Overview", theme=theme)
    attention = page.get_by_role("list", name="Needs attention")
    expect(attention).to_contain_text("bigmem is drained by root")
    expect(attention).to_contain_text("1 machine being emptied")
    expect(attention).to_contain_text("without a sign of life")
    expect(page.get_by_role("img", name=re.compile(r"^Cores: .* used, .* claimed, .* free"))
           .first).to_be_visible()
    expect(page.locator("[data-reason=limit]")).to_contain_text("Owner’s limit of running jobs")
    node = page.get_by_role("link", name=re.compile("^node12 emptying"))
    expect(node).to_be_visible()
    expect(row(page, "Silent runners", "kb_Msuite/run_checkM")).to_contain_text("ana")
    for table in ("Longest running", "Longest waiting", "Largest users"):
        expect(page.get_by_role("table", name=table)).to_be_visible()
    assert not attacked(page)
    axe(page)
    alone.pages.shot(page, "admin-overview")


def test_each_part_of_the_overview_leads_to_its_jobs(alone: Alone) -> None:
    page = opened(alone, "/admin", "Overview")
    leads = (
        (page.get_by_role("link", name=re.compile("^node1 64.64 full")),
         {"status": ["running"], "node": ["node1"]}),
        (page.locator("[data-reason=drained]").get_by_role("link"),
         {"status": ["queued"], "group": ["bigmem"]}),
        (row(page, "Largest users", "ana").get_by_role("link"),
         {"status": ["live"], "user": ["ana"]}),
    )  # fmt: skip
    for link, wanted in leads:
        link.click()
        page.wait_for_url("**/admin/jobs?**")
        found = words_of(page)
        assert {word: found.get(word) for word in wanted} == wanted
        page.go_back()
        expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()


def test_unusual_failures_and_stuck_jobs_come_first(alone: Alone) -> None:
    page = opened(alone, "/admin", "Overview")

    def answer(route: Route) -> None:
        body = route.fetch().json()
        app = 'kb_evil/<img src=x onerror="window.attacked=1">'
        body["failures"] = [{"app": app, "ended_hour": 40, "failed_hour": 30, "ended_week": 900,
                             "failed_week": 9, "unusual": True}]
        body["waiting"].append({"code": "no_such_slot", "count": 7, "groups": {"njs": 7},
                                "example": "No machine is large enough."})
        route.fulfill(status=200, content_type="application/json", body=json.dumps(body))

    page.route("**/api/v1/admin/overview", answer)
    page.get_by_role("button", name="Read anew").click()
    attention = page.get_by_role("list", name="Needs attention").get_by_role("listitem")
    expect(attention.nth(0)).to_contain_text("7 jobs cannot start: no machine is large enough")
    expect(attention.nth(1)).to_contain_text("fails unusually often: 30 of 40")
    expect(page.locator("[data-reason=no_such_slot]")).to_contain_text("Needs somebody")
    assert not attacked(page)


def test_pausing_asks_and_names_the_reason(alone: Alone, site: Place) -> None:
    page = opened(alone, "/admin", "Overview")
    with api(site, "root") as client:
        try:
            page.get_by_role("button", name="Pause the engine").click()
            dialog = page.get_by_role("alertdialog")
            expect(dialog.get_by_role("button", name="Keep it going")).to_be_focused()
            expect(dialog.get_by_role("button", name="Pause the engine")).to_be_disabled()
            axe(page)
            dialog.get_by_label("Reason").fill("new switches <i>now</i>")
            dialog.get_by_role("button", name="Pause the engine").click()
            expect(dialog).to_be_hidden()
            attention = page.get_by_role("list", name="Needs attention")
            expect(attention).to_contain_text("The engine is paused by root")
            expect(page.get_by_text("new switches <i>now</i>").first).to_be_visible()
            assert client.get("/controls").json()["paused"]["reason"] == "new switches <i>now</i>"
            page.get_by_role("button", name="Go on", exact=True).click()
            dialog.get_by_label("Reason").fill("done")
            dialog.get_by_role("button", name="Go on").click()
            expect(attention).not_to_contain_text("paused")
        finally:
            client.post("/controls/resume", json={"reason": "after the test"}).raise_for_status()


def test_limits_are_set_previewed_and_audited(alone: Alone, site: Place) -> None:
    """Scenario 9, as far as it can be seen without a pool."""
    page = opened(alone, "/admin/limits/users", "Limits")
    with api(site, "root") as client:
        try:
            page.get_by_role("button", name="Change the limit of ana").click()
            page.get_by_label("Jobs at once").fill("5")
            would = client.post(
                "/limits/preview", json={"kind": "user", "user": "ana", "places": 5}
            ).json()
            expect(page.get_by_test_id("preview")).to_have_text(would["text"])
            assert re.search(r"Would hold back [\d,]+ waiting jobs of ana", would["text"])
            page.get_by_label("Note").fill("a course")
            page.get_by_label("Reason").fill("too many for one")
            alone.pages.in_both(page, "limits-users")
            page.get_by_role("button", name="Save limit").click()
            ana = row(page, "Users and their limits", "ana")
            expect(ana).to_contain_text(re.compile(r"5\s*own"))
            expect(ana).to_contain_text("a course")

            page.goto(f"{site.url}/admin/limits/runtime")
            page.get_by_role("button", name=f"Change the rule for {BOWTIE} and ana").click()
            page.get_by_label("Hours").fill("1")
            save = page.get_by_role("button", name="Save rule")
            expect(page.get_by_role("radiogroup", name="For which jobs")).to_be_visible()
            expect(save).to_be_disabled()
            page.get_by_text("Also what waits or runs now").click()
            page.get_by_label("Reason").fill("runs in circles")
            alone.pages.in_both(page, "limits-runtime")
            save.click()
            expect(row(page, "Rules on run time", BOWTIE)).to_contain_text("1 h")

            page.goto(f"{site.url}/admin/audit?actor=root")
            first = page.get_by_role("table").get_by_role("row").nth(1)
            expect(first).to_contain_text("runs in circles")
            expect(first).to_contain_text(f"run time of ana's {BOWTIE}")
            second = page.get_by_role("table").get_by_role("row").nth(2)
            expect(second).to_contain_text("too many for one")
            expect(second).to_contain_text("user ana")

            # ana's own job says which rule counts, and so do her settings.
            job = client.get(f"/jobs/{site.jobs['near_limit']}?as_admin=true").json()
            assert job["limit"]["time_limit_s"] == 3600
            assert "1 h for ana's" in job["limit"]["rule"]
            own = alone("/settings", user="ana")
            expect(own.get_by_text("Up to 5 jobs of yours may run at once.")).to_be_visible()
            expect(own.get_by_text(f"1 h for ana's {BOWTIE}")).to_be_visible()
        finally:
            client.delete("/limits/users/ana", params={"reason": "after the test"})
            client.put(
                f"/limits/time/{BOWTIE}/ana", json={"seconds": 86400, "apply_now": True}
            ).raise_for_status()


def test_what_is_wrong_stands_at_its_field(alone: Alone, site: Place) -> None:
    page = opened(alone, "/admin/limits/users?user=ben", "Limits")
    page.get_by_role("button", name="Change the limit of ben").click()
    form = page.get_by_role("form", name="Limit of ben")
    places, save = form.get_by_label("Jobs at once"), form.get_by_role("button", name="Save limit")
    places.fill("many")
    expect(form.get_by_text("Give a whole number")).to_be_visible()
    expect(save).to_be_disabled()
    places.fill("-3")
    save.click()
    expect(form.get_by_text("places must be a whole number from 0 to 1,000,000")).to_be_visible()
    expect(places).to_have_attribute("aria-invalid", "true")
    places.fill("4")
    form.get_by_label("Until the end of").fill("2020-01-31")
    save.click()
    expect(form.get_by_text(re.compile("2020-02-01 is over already"))).to_be_visible()
    expect(form.get_by_label("Until the end of")).to_have_attribute("aria-invalid", "true")
    form.get_by_role("button", name="Leave as it is").click()

    page.get_by_role("button", name="Limit another user").click()
    page.get_by_role("textbox", name="User", exact=True).fill("nobody at all")
    page.get_by_label("Jobs at once").fill("3")
    page.get_by_role("button", name="Save limit").click()
    expect(page.get_by_text("'nobody at all' is not the name of a user")).to_be_visible()
    # Without a field to stand at, it stands in the form: user07 has jobs, but is no user any more.
    page.goto(f"{site.url}/admin/limits/users?user=user07")
    page.get_by_role("button", name="Change the limit of user07").click()
    page.get_by_label("Jobs at once").fill("3")
    page.get_by_role("button", name="Save limit").click()
    expect(page.get_by_text("There is no user 'user07'")).to_be_visible()
    with api(site, "root") as client:
        rows = client.get("/limits/users").json()["users"]
    assert next(one for one in rows if one["user"] == "ben")["own"] is None


def test_who_was_slower_is_told(alone: Alone, site: Place) -> None:
    page = opened(alone, "/admin/limits/users?user=ben", "Limits")
    with api(site, "root") as client:
        try:
            page.get_by_role("button", name="Change the limit of ben").click()
            page.get_by_label("Jobs at once").fill("7")
            faster = {"places": 2, "note": "mine"}
            client.put("/limits/users/ben", json=faster).raise_for_status()
            page.get_by_role("button", name="Save limit").click()
            expect(page.get_by_text("Somebody else has changed this meanwhile")).to_be_visible()
            rows = client.get("/limits/users").json()["users"]
            assert next(one for one in rows if one["user"] == "ben")["limit"] == 2
            page.get_by_role("button", name="Show what is set now").click()
            expect(page.get_by_label("Jobs at once")).to_have_value("2")
            page.get_by_label("Jobs at once").fill("7")
            page.get_by_role("button", name="Save limit").click()
            expect(row(page, "Users and their limits", "ben")).to_contain_text(
                re.compile(r"7\s*own")
            )
        finally:
            client.delete("/limits/users/ben", params={"reason": "after the test"})


def test_the_tester_names_the_rule(alone: Alone) -> None:
    page = opened(alone, "/admin/limits/runtime", "Limits")
    tester = page.locator("#tester")
    tester.get_by_label("User").fill("ben")
    tester.get_by_label("App").fill("kb_SPAdes.run_SPAdes")
    found = page.get_by_test_id("effective")
    expect(found).to_contain_text("48 h")
    expect(found).to_contain_text("set by root")
    assert words_of(page) == {"user": ["ben"], "app": ["kb_SPAdes.run_SPAdes"]}
    tester.get_by_label("App").fill("kb_Bowtie2.nothing")
    expect(page.get_by_text("has no method 'nothing'")).to_be_visible()


def test_the_audit_is_filtered_by_its_address(alone: Alone) -> None:
    page = opened(alone, "/admin/audit", "Audit")
    table = page.get_by_role("table")
    expect(table.get_by_text("New disks are put in").first).to_be_visible()
    assert not attacked(page)
    alone.pages.in_both(page, "admin-audit")
    page.get_by_label("What", exact=True).select_option("drain")
    expect(table.get_by_role("row")).to_have_count(2)
    assert words_of(page) == {"what": ["drain"]}
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download table").click()
    rows = list(csv.DictReader(Path(waiting.value.path()).open(newline="")))
    assert {one["what"] for one in rows} == {"drain"}
    page.get_by_label("To what").fill("nothing of the kind")
    expect(page.get_by_text("Nothing was done that fits this filter.")).to_be_visible()
    page.get_by_role("button", name="All entries").click()
    expect(table.get_by_text("endless alignments")).to_be_visible()
    assert words_of(page) == {}


def test_older_entries_of_the_audit_come_by_and_by(alone: Alone) -> None:
    page = alone("/status", user="root")
    page.route(re.compile(r"/audit\?.*limit=50"),
               lambda route: route.continue_(url=route.request.url.replace("limit=50", "limit=5")))
    page.goto(page.url.replace("/status", "/admin/audit?what=set_user_limit&to=2100-01-01"))
    rows = page.get_by_role("table").get_by_role("row")
    expect(rows).to_have_count(6)
    page.get_by_role("button", name="Show older entries").click()
    expect(rows).to_have_count(11)


def test_others_get_no_pages_of_administrators(alone: Alone, site: Place) -> None:
    page = alone("/admin", user="ana")
    expect(page.get_by_text("There is no such page")).to_be_visible()
    bar = page.get_by_role("navigation", name="Pages of the dashboard")
    expect(bar.get_by_role("link", name="My jobs")).to_be_visible()
    for name in ("Overview", "All jobs", "Limits", "Audit"):
        expect(bar.get_by_role("link", name=name)).to_have_count(0)
    page.goto(f"{site.url}/admin/limits/runtime")
    expect(page.get_by_text("These pages are not for you")).to_be_visible()
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(site.url))
    for path, body in (
        ("limits/users/ana", {"places": 1000}),
        (f"limits/time/{BOWTIE}/ana", {"seconds": 10_000_000}),
        ("limits/sizes/ana", {"figures": {}}),
        ("announcements", [{"text": "I was here"}]),
    ):
        answer = page.request.put(
            f"{site.url}/api/v1/{path}", data=body,
            headers={"Origin": origin, "Content-Type": "application/json"},
        )  # fmt: skip
        assert answer.status == 403, (path, answer.text())


def test_trouble_leaves_what_was_there(alone: Alone) -> None:
    page = opened(alone, "/admin", "Overview")
    expect(page.get_by_role("table", name="Largest users")).to_be_visible()
    address, said = "**/api/v1/admin/overview", '{"error": {"status": 429, "message": "Slowly"}}'
    page.route(address, lambda route: route.fulfill(
        status=429, headers={"Retry-After": "1"}, content_type="application/json", body=said))
    page.get_by_role("button", name="Read anew").click()
    expect(page.get_by_text("Slowed down")).to_be_visible()
    page.unroute(address)
    page.route(address, lambda route: route.fulfill(status=503, body="<h1>proxy</h1>"))
    page.get_by_role("button", name="Try now").click()
    expect(page.get_by_text(re.compile("No answer since"))).to_be_visible()
    expect(page.get_by_role("table", name="Largest users")).to_be_visible()


def test_on_a_phone(alone: Alone) -> None:
    for path, title in (
        ("/admin", "Overview"), ("/admin/limits/users", "Limits"), ("/admin/audit", "Audit"),
    ):  # fmt: skip
        page = opened(alone, path, title, phone=True)
        expect(page.get_by_role("table").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        axe(page)
        alone.pages.shot(page, path.strip("/").replace("/", "-"), whole=False)
