"""What is under way and what comes: told in the head of every page and on the dashboard, and steered from there."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from agent_servicing.adapters.system import SystemClock
from tests.browser.conftest import PATIENCE_MS, sign_in, watched
from tests.browser.looks import accessible
from tests.e2e.harness import Server, a_version, an_agent

pytestmark = pytest.mark.timeout(600)

LONG = {"steps": [25, 100], "monitor_seconds": 3000}


@pytest.fixture(scope="module", autouse=True)
def agents(server: Server) -> None:
    for name in ("Echo", "Other"):
        source = an_agent(server, agent=name, instances=1)
        a_version(source, "1.1.0")
        a_version(source, "1.2.0")
        server.post(f"/agents/{name}/versions/refresh", expect=200)


def tray(page: Page, words: str) -> None:
    expect(page.get_by_role("button", name="Operations", exact=not words)).to_have_accessible_name(
        f"Operations: {words}" if words else "Operations", timeout=PATIENCE_MS
    )


def test_the_head_of_every_page_tells_live_what_is_under_way_and_waits_and_leads_there(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page, watched(browser, server, scheme="dark", width=320) as phone:
        for each in (page, phone):
            sign_in(each, server)
            each.goto(f"{server.info['api_url']}/audit")
            tray(each, "")
        page.get_by_role("button", name="Operations").click()
        expect(page.get_by_role("menu")).to_contain_text("Nothing is under way, and nothing waits")
        accessible(page, "nothing under way")
        page.keyboard.press("Escape")
        first = server.upgrade("1.1.0", blue_green=LONG)
        second = server.upgrade("1.2.0")
        for each in (page, phone):
            tray(each, "1 running, 1 waiting")
        expect(page.get_by_role("button", name="Operations")).to_have_text("1 running, 1 waiting")
        expect(phone.get_by_role("button", name="Operations")).to_have_text("2")
        server.stage(first, "monitor_metrics_25")
        for each in (page, phone):
            each.get_by_role("button", name="Operations").click()
            item = each.get_by_role("menuitem", name="1.0.0 → 1.1.0")
            expect(item).to_contain_text(re.compile(r"Echo.*In progress.*25 % of the traffic, (just now|.+ ago)"), timeout=PATIENCE_MS)
            expect(each.get_by_role("menuitem", name="1.0.0 → 1.2.0")).to_contain_text("Queued")
            accessible(each, "what is under way")
            last = each.get_by_role("banner").get_by_role("button").last
            assert each.evaluate("button => button.getBoundingClientRect().right <= innerWidth", last.element_handle()), (
                "all of it is in sight"
            )
            assert each.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no scrolling sideways"
        page.get_by_role("menuitem", name="1.0.0 → 1.1.0").click()
        expect(page).to_have_url(re.compile(f"/agents/Echo/deployments/{first}"))
        for name in (second, first):
            server.post(f"/agents/Echo/upgrades/{name}/cancel", {"reason": "seen"})
        for each in (page, phone):
            tray(each, "")
    assert server.outcome(first)["status"] in ("cancelled", "rolled_back")


def test_head_and_dashboard_ask_once_for_what_is_open(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/api/platform/deployments?" in request.url else None)
        page.get_by_role("link", name="Audit").click()
        page.get_by_role("heading", name="Audit").wait_for()
        page.reload()
        page.get_by_role("link", name="Dashboard").click()
        page.get_by_role("heading", name="Dashboard").wait_for()
        expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=PATIENCE_MS)
        assert len(asked) >= 1
        assert len(set(asked)) == 1, asked


def test_the_dashboard_says_what_comes_up_next_and_what_runs_is_paused_resumed_and_rolled_back_there(
    browser: Browser, server: Server
) -> None:
    now = SystemClock().now()
    later = [server.upgrade("1.2.0", agent="Other", schedule=(now + timedelta(days=days)).isoformat()) for days in (9, 2, 5, 8, 4, 7)]
    name = server.upgrade("1.1.0", blue_green=LONG)
    server.stage(name, "monitor_metrics_25")
    with watched(browser, server) as page, watched(browser, server, scheme="dark", width=390) as phone:
        for each in (page, phone):
            sign_in(each, server)
            lines = each.get_by_role("list", name="Coming up").get_by_role("listitem")
            expect(lines).to_have_count(5, timeout=PATIENCE_MS)
            expect(lines.first).to_contain_text(
                re.compile(rf"Other to 1\.2\.0.*{(now + timedelta(days=2)).year}, \d\d:\d\d \S+, in (1 d|4\d h)")
            )
            expect(each.get_by_role("region", name="Coming up").get_by_role("link", name="All 6")).to_be_visible()
            accessible(each, "dashboard with what runs and what comes")
        card = page.get_by_role("region", name="Echo to 1.1.0")
        card.get_by_role("button", name="Pause").click()
        expect(phone.get_by_role("region", name="Echo to 1.1.0")).to_contain_text("Paused", timeout=PATIENCE_MS)
        card.get_by_role("button", name="Resume").click()
        expect(phone.get_by_role("region", name="Echo to 1.1.0")).to_contain_text("In progress", timeout=PATIENCE_MS)
        card.get_by_role("button", name="Roll back").click()
        expect(page).to_have_url(re.compile("rollback=Echo"))
        dialog = page.get_by_role("dialog", name="Roll back Echo")
        expect(dialog).to_contain_text("Now: 1.0.0, with 1.1.0 on its way, which is rolled back", timeout=PATIENCE_MS)
        accessible(page, "rolling back what is under way")
        dialog.get_by_text("Error rate", exact=True).click()
        dialog.get_by_role("button", name="Roll back to 1.0.0").click()
        page.get_by_role("heading", name=re.compile("1.1.0 → 1.0.0")).wait_for()
    assert server.outcome(name)["status"] == "rolled_back"
    assert server.get("/agents/Echo")["current_version"] == "1.0.0"
    for each_later in later:
        server.post(f"/agents/Other/upgrades/{each_later}/cancel", {"reason": "seen"})


def test_who_may_not_steer_sees_on_the_cards_why_not(browser: Browser, server: Server) -> None:
    server.post("/users", {"name": "looks", "role": "viewer", "password": "a long enough password"}, expect=201)
    name = server.upgrade("1.1.0", blue_green=LONG)
    server.stage(name, "monitor_metrics_25")
    with watched(browser, server, but="status of 401") as page:
        page.goto(server.info["api_url"])
        page.get_by_role("textbox", name="Name").fill("looks")
        page.locator("input[name=password]").fill("a long enough password")
        page.get_by_role("button", name="Sign in").click()
        card = page.get_by_role("region", name="Echo to 1.1.0")
        for act in ("Pause", "Roll back"):
            button = card.get_by_role("button", name=act)
            expect(button).to_have_attribute("aria-disabled", "true", timeout=PATIENCE_MS)
            button.hover()
            expect(page.get_by_role("tooltip", name="Needs the role operator")).to_be_visible(timeout=PATIENCE_MS)
            page.mouse.move(0, 0)
            expect(page.get_by_role("tooltip")).to_have_count(0)
        card.get_by_role("link", name="Open").click()
        expect(page).to_have_url(re.compile(name))
    server.post(f"/agents/Echo/upgrades/{name}/cancel", {"reason": "seen"})
    server.outcome(name)


def test_the_sign_of_the_tab_has_a_dot_while_an_agent_needs_attention(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/audit")
        sign = page.locator("link[rel=icon]")
        expect(sign).to_have_attribute("href", "/favicon.svg", timeout=PATIENCE_MS)
        name = server.upgrade("1.1.0", blue_green=LONG)
        server.stage(name, "monitor_metrics_25")
        server.post(f"/agents/Echo/upgrades/{name}/pause", {"reason": "for a while"})
        expect(sign).to_have_attribute("href", re.compile(r"^/assets/favicon-attention-.+\.svg$"), timeout=PATIENCE_MS)
        drawn = page.request.get(server.info["api_url"] + str(sign.get_attribute("href")))
        assert (drawn.status, drawn.headers["content-type"]) == (200, "image/svg+xml")
        assert page.title() == "Audit · Agent Servicing", "no number there"
        server.post(f"/agents/Echo/upgrades/{name}/cancel", {"reason": "seen"})
        expect(sign).to_have_attribute("href", "/favicon.svg", timeout=PATIENCE_MS)
    server.outcome(name)
