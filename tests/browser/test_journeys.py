"""What an operator does with the page, on real agents behind the real HAProxy, and what it tells meanwhile."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import GONE, PATIENCE_MS, sign_in, watched
from tests.browser.looks import accessible
from tests.e2e.harness import Server, a_version, an_agent
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)

TABS = ("overview", "versions", "instances&instance=g1-1-1", "deployments", "staging", "config", "state", "audit")
VIEWS = ("/", "/agents", *(f"/agents/Echo?tab={tab}" for tab in TABS), "/audit", "/deployments", "/agents/Echo/nowhere")


@pytest.fixture(scope="module", autouse=True)
def agents(server: Server) -> Iterator[None]:
    """One with two versions and a configuration, under load for as long as anybody looks."""
    source = an_agent(server, agent="Echo", instances=2)
    a_version(source, "1.1.0")
    a_version(source, "1.2.0", fail_every=2)
    server.post("/agents/Echo/versions/refresh", expect=200)
    with Load(server.router_url, "Echo"):
        yield


def test_nobody_sees_anything_before_signing_in_and_the_link_works_once(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        page.goto(f"{server.info['api_url']}/agents/Echo")
        expect(page.get_by_role("button", name=re.compile("Sign in|Make it"))).to_be_visible(timeout=PATIENCE_MS)
        assert "1.0.0" not in page.content()
        accessible(page, "sign-in")
        sign_in(page, server)
        expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=PATIENCE_MS)


@pytest.mark.parametrize("address", VIEWS)
def test_every_view_can_be_reloaded_by_its_address_and_is_accessible(page: Page, server: Server, address: str) -> None:
    page.goto(server.info["api_url"] + address)
    page.get_by_role("heading", level=1).wait_for()
    accessible(page, address)


def test_an_upgrade_is_asked_for_watched_and_taken_back_by_clicks_alone(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page, watched(browser, server, width=390) as phone:
        sign_in(page, server)
        sign_in(phone, server)
        page.get_by_role("row", name=re.compile("Echo")).get_by_role("button", name=re.compile("Upgrade|Versions")).click()
        page.get_by_role("listitem").filter(has_text="1.1.0").get_by_role("button", name="Upgrade to this").click()
        page.get_by_text("What 1.1.0 brings").wait_for()
        for _ in range(3):
            page.get_by_role("button", name="Next").click()
        page.get_by_role("textbox", name="Reason").fill("a test <b>with markup</b>")
        page.get_by_role("button", name="Next").click()
        accessible(page, "the last step")
        page.get_by_role("button", name="Start deployment").click()
        page.get_by_role("heading", name=re.compile("1.0.0 → 1.1.0")).wait_for()
        name = page.url.split("?")[0].rsplit("/", 1)[1]
        phone.goto(page.url)
        expect(page.get_by_text("a test <b>with markup</b>").first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("img", name=re.compile(r"1\.1\.0 has 25 %"))).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Pause").click()
        expect(phone.get_by_text("Paused").first).to_be_visible(timeout=PATIENCE_MS)
        accessible(phone, "monitor on a phone")
        page.get_by_role("button", name="Resume").click()
        expect(phone.get_by_text("In progress").first).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Roll back").click()
        page.get_by_text("Error rate", exact=True).click()
        page.get_by_role("button", name="Cancel and take back").click()
        for each in (page, phone):
            expect(each.get_by_text("Rolled back").first).to_be_visible(timeout=PATIENCE_MS)
        assert server.deployment(name)["status"] == "rolled_back"
        accessible(page, "what was taken back")


def seen(page: Page) -> list[int]:
    """The numbers of the events that the page tells of, as they stand there."""
    return [int(number) for number in page.locator("[data-seq]").evaluate_all("lines => lines.map(line => line.dataset.seq)")]


def test_a_server_killed_in_mid_deployment_leaves_a_page_that_says_so_and_comes_back_with_what_it_missed(
    browser: Browser, server: Server
) -> None:
    port = server.info["api_url"].rsplit(":", 1)[1]
    with Load(server.router_url, "Echo"), watched(browser, server, but=GONE) as page:
        sign_in(page, server)
        name = server.upgrade("1.1.0", blue_green={"steps": [25, 100], "monitor_seconds": 15})
        page.goto(f"{server.info['api_url']}/agents/Echo/deployments/{name}")
        expect(page.get_by_role("img", name=re.compile(r"1\.1\.0 has 25 %"))).to_be_visible(timeout=PATIENCE_MS)
        server.kill()
        expect(page.get_by_text(re.compile("^(Reconnecting|Offline)$"))).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("No live figures while the connection is away")).to_be_visible(timeout=PATIENCE_MS)
        before = seen(page)
        server.start("--port", port)
        expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=3 * PATIENCE_MS)
        after = seen(page)
        assert after == sorted(set(after), reverse=True), "each event once, newest first"
        assert max(after) > max(before), "what happened meanwhile is told as well"
    assert server.deployment(name)["status"] == "completed"


TAPS = "addEventListener('pointerdown', () => sessionStorage.setItem('taps', 1 + Number(sessionStorage.getItem('taps'))), true)"


def test_the_rollback_opens_from_everywhere_holds_the_focus_and_one_double_click_is_one_act(browser: Browser, server: Server) -> None:
    sent: list[str] = []

    def refuse(route: Route) -> None:
        if '"dry_run":true' in (route.request.post_data or ""):
            route.fallback()
            return
        sent.append(route.request.headers["idempotency-key"])
        route.fulfill(status=503, json={"status": 503, "detail": "The data plane does not answer.", "hint": "Try again."})

    with watched(browser, server, but="status of 503") as page:
        sign_in(page, server)
        page.route("**/agents/Echo/rollback", refuse)
        home = server.info["api_url"]
        dialog = page.get_by_role("dialog", name="Roll back Echo")
        for address, name in (("/", "Roll back"), ("/agents/Echo", "Roll back"), ("/agents/Echo?tab=versions", "Roll back to this")):
            page.goto(home + address)
            opener = page.get_by_role("button", name=name, exact=True)
            opener.focus()
            page.keyboard.press("Enter")
            expect(dialog.get_by_role("textbox", name="Reason")).to_be_focused(timeout=PATIENCE_MS)
            for _ in range(20):
                page.keyboard.press("Tab")
            assert dialog.evaluate("dialog => dialog.contains(document.activeElement)"), "the focus stays in it"
            page.keyboard.press("Escape")
            expect(dialog).to_have_count(0)
            expect(opener).to_be_focused(timeout=PATIENCE_MS)
        page.keyboard.press("Control+k")
        expect(page.get_by_role("option", name="Echo: roll back")).to_be_visible(timeout=PATIENCE_MS)
        page.keyboard.type("echo roll")
        page.keyboard.press("Enter")
        expect(dialog).to_be_visible(timeout=PATIENCE_MS)
        page.goto(home + "/?rollback=Echo")
        dialog.get_by_text("Latency", exact=True).click()
        accessible(page, "rollback")
        dialog.get_by_role("button", name="Roll back to 1.0.0").dblclick()
        expect(dialog.get_by_role("alert")).to_contain_text("The data plane does not answer.", timeout=PATIENCE_MS)
        expect(dialog.get_by_role("textbox", name="Reason")).to_have_value("Latency")
    assert len(set(sent)) == 1, sent
    assert server.get("/agents/Echo")["current_version"] == "1.1.0"


def test_from_the_dashboard_to_a_rollback_are_two_clicks_and_a_reason(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        page.add_init_script(TAPS)
        page.reload()
        page.get_by_role("row", name=re.compile("Echo")).get_by_role("button", name="Roll back").click()
        page.get_by_role("dialog").get_by_text("Error rate", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Roll back to 1.0.0").click()
        page.get_by_role("heading", name=re.compile("1.1.0 → 1.0.0")).wait_for()
        assert page.evaluate("sessionStorage.getItem('taps')") == "3"
        expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=3 * PATIENCE_MS)
    found = server.get("/agents/Echo")
    assert found["current_version"] == "1.0.0"
    entry = server.get("/audit", type="rollback", limit=1)["events"][0]
    assert (entry["agent_id"], entry["reason"]) == ("Echo", "Error rate")
