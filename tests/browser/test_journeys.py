"""What an operator does with the page, on real agents behind the real HAProxy, and what it tells meanwhile."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS, sign_in, watched
from tests.browser.looks import accessible
from tests.e2e.harness import Server, a_version, an_agent, wait_for
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)

TABS = ("overview", "versions", "instances&instance=g1-1-1", "deployments", "staging", "config", "state", "audit")
VIEWS = ("/", "/agents", *(f"/agents/Echo?tab={tab}" for tab in TABS), "/audit", "/deployments", "/agents/Echo/nowhere")


@pytest.fixture(scope="module", autouse=True)
def agents(server: Server) -> Iterator[None]:
    """One with two versions and a configuration, under load for as long as anybody looks."""
    source = an_agent(server, agent="Echo", instances=2)
    a_version(source, "1.1.0")
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


def test_a_page_whose_server_is_killed_says_so_and_is_live_again_by_itself(browser: Browser, server: Server) -> None:
    with browser.new_context() as context:  # not watched: a connection that is refused is an error in the console
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        sign_in(page, server)
        port = server.info["api_url"].rsplit(":", 1)[1]
        server.kill()
        expect(page.get_by_text(re.compile("Reconnecting|Offline")).first).to_be_visible(timeout=PATIENCE_MS)
        server.start("--port", port)
        expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        wait_for("its data", lambda: page.get_by_role("row", name=re.compile("Echo")).is_visible())
