"""What is not about one upgrade: notifications, all deployments and the calendar, settings; each is opened, used and looked at as its users do."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from agent_servicing.adapters.system import SystemClock
from tests.browser.conftest import PATIENCE_MS, sign_in, watched
from tests.browser.looks import accessible
from tests.e2e.harness import Server, a_version, an_agent

pytestmark = pytest.mark.timeout(600)

SOON = SystemClock().now() + timedelta(days=30)
KEEPS = '[state]\ndirectory = "state"\nwrites = 1\nreads = [1]\n'
PARTS = ("mine", "users", "tokens", "notifications", "freezes", "gates", "integrations", "secrets")


@pytest.fixture(scope="module", autouse=True)
def agent(server: Server) -> None:
    source = an_agent(server, agent="Echo", instances=1, extra=KEEPS)
    a_version(source, "1.1.0")
    server.post("/agents/Echo/versions/refresh", expect=200)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_the_settings_has_an_address_and_is_accessible(page: Page, server: Server, part: str) -> None:
    page.goto(f"{server.info['api_url']}/settings?part={part}")
    page.get_by_role("heading", name="Settings").wait_for()
    expect(page.get_by_role("tab", selected=True)).to_be_visible()
    accessible(page, f"settings, {part}")


def test_the_state_is_copied_and_tried_and_put_back_only_by_who_types_the_name(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page, watched(browser, server, scheme="dark", width=390) as phone:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/agents/Echo/state")
        page.get_by_role("button", name="Take one now").click()
        page.get_by_role("textbox", name="Reason").fill("before something")
        page.get_by_role("button", name="Take it").click()
        page.get_by_role("button", name="Try it").click(timeout=PATIENCE_MS)
        expect(page.get_by_text("Can be restored")).to_be_visible(timeout=PATIENCE_MS)
        accessible(page, "state")
        sign_in(phone, server)
        phone.goto(f"{server.info['api_url']}/agents/Echo?tab=state")
        phone.get_by_role("button", name="Put it back").click()
        expect(phone.get_by_role("button", name="Leave it as it is")).to_be_focused(timeout=PATIENCE_MS)
        expect(phone.get_by_text("Written since: 0 records")).to_be_visible(timeout=PATIENCE_MS)
        accessible(phone, "what wants the name typed")
        act = phone.get_by_role("dialog").get_by_role("button", name="Put it back")
        phone.get_by_role("textbox", name="Reason").fill("wrong answers")
        phone.get_by_role("textbox", name="Type Echo to confirm").fill("echo")
        expect(act).to_be_disabled()
        phone.get_by_role("textbox", name="Type Echo to confirm").fill("Echo")
        act.click()
        phone.get_by_role("heading", name=re.compile("1.0.0 → 1.0.0")).wait_for()
        name = phone.url.split("?")[0].rsplit("/", 1)[1]
        assert server.outcome(name)["status"] == "completed"
        assert server.get("/agents/Echo/state")["epoch"] == 1


def test_a_deployment_at_a_time_is_among_what_comes_gets_another_and_is_cancelled(browser: Browser, server: Server) -> None:
    later = SOON + timedelta(days=10)
    name = server.upgrade("1.1.0", schedule=SOON.isoformat())
    with watched(browser, server) as page, watched(browser, server, scheme="dark", width=390) as phone:
        sign_in(page, server)
        sign_in(phone, server)
        for each in (page, phone):
            each.goto(f"{server.info['api_url']}/deployments?state=upcoming&agent=Echo")
            expect(each.get_by_role("row", name=re.compile("1.1.0"))).to_be_visible(timeout=PATIENCE_MS)
            accessible(each, "deployments")
        page.get_by_role("button", name="Reschedule").click()
        page.get_by_label("Begins").fill(f"{later:%Y-%m-%dT%H:%M}")
        page.get_by_role("textbox", name="Reason").fill("earlier")
        accessible(page, "reschedule")
        page.get_by_role("dialog").get_by_role("button", name="Reschedule").click()
        expect(page.get_by_role("dialog")).to_have_count(0, timeout=PATIENCE_MS)
        assert server.deployment(name)["scheduled_at"].startswith(f"{later:%Y-%m}")
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("textbox", name="Reason").fill("not needed")
        page.get_by_role("button", name="Cancel it").click()
        for each in (page, phone):
            expect(each.get_by_text("There is none of these")).to_be_visible(timeout=PATIENCE_MS)
        assert server.deployment(name)["status"] == "cancelled"


def test_a_freeze_is_added_shown_and_removed(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/deployments")
        page.get_by_role("button", name="Add a freeze").click()
        page.get_by_role("textbox", name="Name").fill("quiet days")
        page.get_by_label("From").fill(f"{SOON:%Y-%m-%dT%H:%M}")
        page.get_by_label("Until").fill(f"{SOON + timedelta(days=1):%Y-%m-%dT%H:%M}")
        page.get_by_role("textbox", name="Reason").fill("holidays")
        page.get_by_role("button", name="Add it").click()
        rules = page.get_by_role("list", name="Freezes and windows")
        expect(rules).to_contain_text("quiet days", timeout=PATIENCE_MS)
        assert [rule["name"] for rule in server.get("/schedule")["rules"]] == ["quiet days"]
        rules.get_by_role("button", name="Remove").click()
        page.get_by_role("textbox", name="Reason").fill("over")
        page.get_by_role("button", name="Remove it").click()
        expect(page.get_by_text("deployments may begin at any time")).to_be_visible(timeout=PATIENCE_MS)
        assert server.get("/schedule")["rules"] == []


def test_a_notification_comes_to_the_open_page_leads_to_its_subject_and_is_read(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        server.post("/notifications/read-all", expect=200)
        page.reload()
        expect(page.get_by_role("button", name="Notifications", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        name = server.upgrade("1.1.0")
        page.get_by_role("button", name=re.compile("Notifications, [1-9]")).click(timeout=PATIENCE_MS)
        page.get_by_role("list", name="Notifications, newest first").wait_for()
        accessible(page, "notifications")
        page.get_by_role("link", name="See the deployment").first.click()
        page.get_by_role("heading", name=re.compile("1.0.0 → 1.1.0")).wait_for()
        page.get_by_role("button", name=re.compile("Notifications")).click()
        expect(page.get_by_text("All are read")).to_be_visible(timeout=PATIENCE_MS)
    server.post(f"/agents/Echo/upgrades/{name}/cancel")


def test_somebody_is_added_a_token_is_shown_once_and_both_are_taken_away(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/settings?part=users")
        page.get_by_role("button", name="Add somebody").click()
        accessible(page, "add somebody")
        page.get_by_role("textbox", name="Name").fill("night-shift")
        page.get_by_role("button", name="Add", exact=True).click()
        row = page.get_by_role("row", name=re.compile("night-shift"))
        row.get_by_role("button", name="One-time link").click()
        expect(page.get_by_text("/sign-in#")).to_be_visible(timeout=PATIENCE_MS)
        row.get_by_role("button", name="Disable").click()
        page.get_by_role("dialog").get_by_role("button", name="Disable").click()
        expect(row).to_contain_text("Disabled", timeout=PATIENCE_MS)
        page.goto(f"{server.info['api_url']}/settings?part=tokens")
        page.get_by_role("button", name="Make a token").click()
        page.get_by_role("textbox", name="Name").fill("a pipeline")
        page.get_by_role("button", name="Make it").click()
        expect(page.get_by_text("it is shown only now")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="I have kept it").click()
        row = page.get_by_role("row", name=re.compile("a pipeline"))
        row.get_by_role("button", name="Revoke").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        expect(row).to_contain_text("Revoked", timeout=PATIENCE_MS)


def test_a_target_of_notifications_that_nobody_answers_is_said_to_fail(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/settings?part=notifications")
        page.get_by_role("button", name="Add a target").click()
        page.get_by_role("textbox", name="Name").fill("nobody")
        page.get_by_role("textbox", name="Address").fill("json://127.0.0.1:9/hook")
        page.get_by_role("button", name="Add it").click()
        page.get_by_role("button", name="Send a test to nobody").click(timeout=PATIENCE_MS)
        expect(page.get_by_text("Not delivered:")).to_be_visible(timeout=PATIENCE_MS)
