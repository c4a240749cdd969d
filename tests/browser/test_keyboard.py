"""An upgrade asked for, watched and taken back without a mouse; what was found by typing; two versions compared; an issue reported."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS, sign_in, watched
from tests.browser.looks import accessible
from tests.e2e.harness import Server, a_version, an_agent
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)

FURTHEST = 80
"""Presses of Tab after which a control cannot be reached."""
NAME = "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"


@pytest.fixture(scope="module", autouse=True)
def agent(server: Server) -> Iterator[None]:
    source = an_agent(server, agent="Echo", instances=1)
    a_version(source, "1.1.0")
    server.post("/agents/Echo/versions/refresh", expect=200)
    with Load(server.router_url, "Echo"):
        yield


def reach(page: Page, name: str) -> None:
    """By Tab alone, to the control that is called so."""
    seen = []
    for _ in range(FURTHEST):
        page.keyboard.press("Tab")
        seen.append(str(page.evaluate(NAME)).strip())
        if seen[-1] == name:
            return
    raise AssertionError((name, seen))


def press(page: Page, name: str) -> None:
    reach(page, name)
    page.keyboard.press("Enter")


def test_an_upgrade_is_started_paused_and_rolled_back_by_keyboard_alone(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        page.keyboard.press("Control+k")
        expect(page.get_by_role("combobox")).to_be_focused(timeout=PATIENCE_MS)
        expect(page.get_by_role("option", name="Echo: upgrade")).to_be_visible(timeout=PATIENCE_MS)
        accessible(page, "palette")
        page.keyboard.type("echo up")
        page.keyboard.press("Enter")
        page.get_by_text("What 1.1.0 brings").wait_for()
        for title in ("2. Strategy", "3. Test in staging", "4. Schedule and safety"):
            press(page, "Next")
            expect(page.get_by_role("heading", name=title)).to_be_focused(timeout=PATIENCE_MS)
        while not page.evaluate("document.activeElement.tagName === 'TEXTAREA'"):
            page.keyboard.press("Tab")
        page.keyboard.type("by keyboard")
        press(page, "Next")
        expect(page.get_by_role("button", name="Start deployment")).to_be_enabled(timeout=PATIENCE_MS)
        press(page, "Start deployment")
        page.get_by_role("heading", name=re.compile("1.0.0 → 1.1.0")).wait_for()
        expect(page.get_by_text("In progress").first).to_be_visible(timeout=PATIENCE_MS)
        press(page, "Pause")
        expect(page.get_by_text("Paused").first).to_be_visible(timeout=PATIENCE_MS)
        press(page, "Roll back")
        expect(page.get_by_role("textbox", name="Reason")).to_be_focused(timeout=PATIENCE_MS)
        page.keyboard.type("seen enough")
        press(page, "Cancel and take back")
        expect(page.get_by_text(re.compile("^(Rolled back|Cancelled)$")).first).to_be_visible(timeout=PATIENCE_MS)
    assert server.get("/agents/Echo")["current_version"] == "1.0.0"


def test_a_question_mark_shows_the_keys_but_not_to_whoever_types(browser: Browser, server: Server) -> None:
    with watched(browser, server, scheme="dark") as page:
        sign_in(page, server)
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible(timeout=PATIENCE_MS)
        accessible(page, "keys")
        page.keyboard.press("Escape")
        page.goto(f"{server.info['api_url']}/agents")
        page.get_by_role("textbox", name="Search").press("?")
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_keys_pressed_alone_can_be_turned_off_for_good_and_those_with_ctrl_stay(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        page.keyboard.press("?")
        page.get_by_role("switch", name="Keys pressed alone do something").uncheck()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.reload()
        page.get_by_role("heading", name="Dashboard").wait_for()
        page.keyboard.press("?")
        page.keyboard.press("Control+k")
        expect(page.get_by_role("dialog")).to_have_count(1)
        page.get_by_role("combobox").fill("keys")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog", name="Keys")).to_contain_text("unless keys pressed alone are off")
        page.goto(f"{server.info['api_url']}/settings")
        page.get_by_role("switch", name="Keys pressed alone do something").check()
        page.get_by_role("heading", level=1).click()
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_two_versions_are_compared_by_their_address(page: Page, server: Server) -> None:
    page.goto(f"{server.info['api_url']}/agents/Echo/compare?from=1.0.0&to=1.1.0")
    expect(page.get_by_role("table", name="Both versions")).to_contain_text("1.1.0", timeout=PATIENCE_MS)
    expect(page.get_by_role("heading", name="What would come")).to_be_visible()
    accessible(page, "compare")
    page.get_by_role("button", name="The other way round").click()
    expect(page.get_by_role("heading", name="What would be lost")).to_be_visible(timeout=PATIENCE_MS)


def test_an_issue_is_reported_from_a_deployment(browser: Browser, server: Server) -> None:
    name = server.get("/agents/Echo/upgrades")["upgrades"][0]["upgrade_id"]
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/agents/Echo/deployments/{name}")
        page.get_by_role("button", name="Report issue").click()
        accessible(page, "report issue")
        page.get_by_role("textbox", name="Note").fill("odd <b>answers</b>")
        page.get_by_role("button", name="Report it").click()
        expect(page.get_by_text("It is kept here; no tracker is set.")).to_be_visible(timeout=PATIENCE_MS)
    assert server.get("/agents/Echo/issues")["issues"][0]["note"] == "odd <b>answers</b>"
