"""Settings: time zone, density, notifications, saved filters; and the messages in the bell."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Alone
from tests.browser.support import Place, Theme, attacked, axe
from tests.browser.test_status import api, heading


def opened(alone: Alone, user: str = "ana", **how: object) -> Page:
    page = alone("/settings", user=user, **how)
    heading(page, "Settings")
    return page


@pytest.fixture
def put_back(site: Place) -> Iterator[None]:
    """cho's settings as they were."""
    with api(site, "cho") as client:
        notices = client.get("/settings/notices").json()["settings"]
        page = client.get("/settings/page").json()
        yield
        client.put("/settings/notices", json=notices).raise_for_status()
        client.put("/settings/page", json=page).raise_for_status()
        for one in client.get("/settings/filters").json()["filters"]:
            client.delete("/settings/filters", params={"page": one["page"], "name": one["name"]})


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page(alone: Alone, theme: Theme) -> None:
    page = opened(alone, theme=theme)
    expect(page.get_by_label("A job fails: E-mail")).to_be_checked()
    expect(page.get_by_label("A job fails: Slack")).not_to_be_checked()
    expect(page.get_by_text("Confirmed")).to_be_visible()
    expect(page.get_by_text("may run at once")).to_be_visible()
    axe(page)
    alone.pages.shot(page, "settings")


@pytest.mark.usefixtures("put_back")
def test_the_time_zone_is_kept_for_other_browsers(alone: Alone, site: Place) -> None:
    page = opened(alone, user="cho")
    now = page.get_by_test_id("zone-now")
    expect(now).to_have_text(re.compile(r"CES?T|GMT\+[12]"))
    zone = page.get_by_label("Time zone")
    assert zone.locator("option").nth(1).inner_text() == "UTC"
    zone.select_option("Asia/Tokyo")
    expect(now).to_have_text(re.compile(r"GMT\+9|JST"))
    page.get_by_text("Compact").click()
    with api(site, "cho") as client:
        kept = {"time_zone": "Asia/Tokyo", "density": "compact"}
        expect(page.get_by_role("radio", name=re.compile("Compact"))).to_be_checked()
        for _ in range(50):
            found = client.get("/settings/page").json()
            if {word: found[word] for word in kept} == kept:
                break
            page.wait_for_timeout(100)
        assert {word: found[word] for word in kept} == kept
        other = opened(alone, user="cho")
        expect(other.get_by_test_id("zone-now")).to_have_text(re.compile(r"GMT\+9|JST"))
        expect(other.get_by_role("radio", name=re.compile("Compact"))).to_be_checked()
        # Another browser's name of a zone that this one has by an older name.
        changed = found | {"time_zone": "Asia/Kolkata"}
        client.put("/settings/page", json=changed).raise_for_status()
    other = opened(alone, user="cho")
    expect(other.get_by_label("Time zone")).to_have_value("Asia/Kolkata")
    expect(other.get_by_test_id("zone-now")).to_have_text(re.compile(r"GMT\+5:30|IST"))


@pytest.mark.usefixtures("put_back")
def test_what_is_wrong_stands_at_its_field(alone: Alone, site: Place) -> None:
    page = opened(alone, user="cho")
    save = page.get_by_role("button", name="Save notifications")
    expect(save).to_be_disabled()
    page.get_by_label("A job fails: Webhook").check(force=True)
    save.click()
    hook = page.get_by_label("Webhook", exact=True)
    expect(hook).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("and webhook is not set")).to_be_visible()
    hook.fill("https://elsewhere.example.org/x")
    save.click()
    expect(page.get_by_text("webhook must be a path such as /hooks/7f3a")).to_be_visible()
    hook.fill("/hooks/7f3a")
    page.get_by_label("A wait is long after, hours").fill("soon")
    expect(page.get_by_text("Give a number, such as 1.5")).to_be_visible()
    expect(save).to_be_disabled()
    page.get_by_label("A wait is long after, hours").fill("1.5")
    save.click()
    expect(page.get_by_text("Notifications saved")).to_be_visible()
    with api(site, "cho") as client:
        kept = client.get("/settings/notices").json()["settings"]
    assert kept["events"] == {"failure": ["webhook"]}
    assert (kept["webhook"], kept["long_wait_s"]) == ("/hooks/7f3a", 5400)


@pytest.mark.usefixtures("put_back")
def test_a_new_address_has_to_be_confirmed(alone: Alone) -> None:
    page = opened(alone, user="cho")
    page.get_by_label("E-mail address").fill("cho@example.org")
    page.get_by_role("button", name="Save notifications").click()
    expect(page.get_by_text("Not confirmed: nothing is sent there yet")).to_be_visible()
    page.get_by_label("Code of the message").fill("12")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This is not the code that was sent")).to_be_visible()
    axe(page)


@pytest.mark.usefixtures("put_back")
def test_saved_filters_are_renamed_and_deleted(alone: Alone, site: Place) -> None:
    name = '<img src=x onerror="window.attacked=1">'
    with api(site, "cho") as client:
        for one in (name, "Last week"):
            body = {"name": one, "page": "history", "query": "status=error&min_run=1h"}
            client.put("/settings/filters", json=body).raise_for_status()
        page = opened(alone, user="cho")
        page.get_by_role("button", name="Rename Last week").click()
        page.get_by_label("New name").fill("Failed long ones")
        page.keyboard.press("Enter")
        link = page.get_by_role("link", name="Failed long ones")
        expect(link).to_be_visible()
        page.get_by_role("button", name=f"Delete {name}").click()
        dialog = page.get_by_role("alertdialog")
        expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
        dialog.get_by_role("button", name="Delete filter").click()
        expect(dialog).to_be_hidden()
        assert not attacked(page)
        left = [one["name"] for one in client.get("/settings/filters").json()["filters"]]
    assert left == ["Failed long ones"]
    link.click()
    page.wait_for_url("**/jobs/history?status=error&min_run=1h")


def test_the_bell_has_the_newest_messages(alone: Alone, site: Place) -> None:
    with api(site, "ben") as client:
        client.post("/settings/notices/test", json={"channel": "page"}).raise_for_status()
    page = alone("/status", user="ben")
    bell = page.get_by_test_id("bell")
    expect(bell).to_have_accessible_name(re.compile(r"Messages, \d+ unread"))
    bell.click()
    messages = page.get_by_role("dialog", name="Messages").get_by_role("listitem")
    expect(messages.first).to_be_visible()
    alone.pages.in_both(page, "bell", whole=False)
    page.get_by_role("button", name="All read").click()
    expect(bell).to_have_accessible_name("Messages")
    page.reload()
    expect(bell).to_have_accessible_name("Messages")


def test_messages_lead_to_their_jobs(alone: Alone, site: Place) -> None:
    page = alone("/status", user="ana")
    page.get_by_test_id("bell").click()
    page.get_by_role("link", name=re.compile("Your batch of kb_fastqc")).click()
    page.wait_for_url(f"**/batches/{site.batches['small']}")
    expect(page.get_by_role("dialog", name="Messages")).to_be_hidden()


def test_on_a_phone(alone: Alone) -> None:
    page = opened(alone, phone=True)
    expect(page.get_by_label("A job fails: E-mail")).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    axe(page)
    alone.pages.shot(page, "settings")
