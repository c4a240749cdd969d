"""What goes wrong around the page: answers that fail or do not come, a connection that is blocked, a newer server, words that look like markup,
rights that are missing. The faults are made at the browser; the server behind it is real and well."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, WebSocketRoute, expect

from tests.browser.conftest import GONE, PATIENCE_MS, sign_in, watched
from tests.browser.looks import accessible
from tests.e2e.harness import Server, a_version, an_agent

pytestmark = pytest.mark.timeout(600)

API = "**/api/platform"
PASSWORD = "correct horse battery"
MARKUP = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"
LINES = 10_000
ANSWERED = r"Failed to load resource: the server responded with a status of"


@pytest.fixture(scope="module", autouse=True)
def agent(server: Server) -> None:
    source = an_agent(server, agent="Echo", instances=1)
    a_version(source, "1.1.0")
    server.post("/agents/Echo/versions/refresh", expect=200)


def at(server: Server, address: str) -> str:
    return f"{server.info['api_url']}{address}"


def changed(page: Page, pattern: str, change: Any) -> None:
    """The real answers to GET, each with something else in it."""

    def answer(route: Route) -> None:
        if route.request.method != "GET":
            route.fallback()
            return
        real = route.fetch()
        route.fulfill(response=real, body=json.dumps(change(real.json())))

    page.route(pattern, answer)


def test_what_does_not_exist_is_a_page_of_its_own_from_which_one_goes_on(browser: Browser, server: Server) -> None:
    lost = (
        "/agents/Nobody",
        "/agents/Nobody/upgrade",
        "/agents/Nobody/compare",
        "/agents/Echo/deployments/upg-0",
        "/agents/Echo/staging/run-0",
    )
    with watched(browser, server, scheme="dark", but=ANSWERED + " 404") as page:
        sign_in(page, server)
        for address in (*lost, "/agents/Echo/nowhere"):
            page.goto(at(server, address))
            expect(page.get_by_role("heading", level=1, name="There is no such page")).to_be_visible(timeout=PATIENCE_MS)
        expect(page).to_have_title(re.compile("There is no such page"))
        accessible(page, "no such page")
        page.get_by_role("textbox", name="Look for an agent").fill("ech")
        page.keyboard.press("Enter")
        expect(page.get_by_role("row", name=re.compile("Echo"))).to_be_visible(timeout=PATIENCE_MS)
        expect(page).to_have_url(re.compile("q=ech"))


def test_a_part_whose_answer_fails_says_so_with_its_request_and_the_others_go_on(browser: Browser, server: Server) -> None:
    problem = {"status": 500, "detail": "The audit could not be read.", "hint": "Look at the disk.", "request_id": "req-test-1"}
    with watched(browser, server, but=ANSWERED + " 50[02]") as page:
        sign_in(page, server)
        page.route(f"{API}/audit?*", lambda route: route.fulfill(status=500, json=problem))
        page.route(f"{API}/fleet", lambda route: route.fulfill(status=502, body="<html>bad gateway</html>", content_type="text/html"))
        page.reload()
        failed = page.get_by_role("region", name="What was done").get_by_role("alert")
        expect(failed).to_contain_text("The audit could not be read.", timeout=PATIENCE_MS)
        expect(failed).to_contain_text("Look at the disk.")
        expect(failed).to_contain_text("req-test-1")
        expect(page.get_by_role("row", name=re.compile("Echo"))).to_be_visible(timeout=PATIENCE_MS)
        accessible(page, "a part that failed")
        page.unroute(f"{API}/audit?*")
        failed.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("region", name="What was done").get_by_text(re.compile("Echo")).first).to_be_visible(timeout=PATIENCE_MS)


def test_an_act_that_gets_no_answer_keeps_its_form_and_can_be_tried_again(browser: Browser, server: Server) -> None:
    with watched(browser, server, but=GONE + "|" + ANSWERED + " 502") as page:
        sign_in(page, server)
        page.goto(at(server, "/deployments"))
        page.get_by_role("button", name="Stop the line").click()
        page.get_by_role("textbox", name="Reason").fill("kept")
        page.route(f"{API}/**", lambda route: route.abort() if route.request.method != "GET" else route.fallback())
        button = page.get_by_role("dialog").get_by_role("button", name=re.compile("Stop"))
        button.click()
        expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("The server cannot be reached", timeout=PATIENCE_MS)
        page.unroute(f"{API}/**")
        expect(page.get_by_role("textbox", name="Reason")).to_have_value("kept")
        button.click()
        expect(page.get_by_role("dialog")).to_have_count(0, timeout=PATIENCE_MS)
    assert server.get("/schedule")["stopped"]
    server.post("/schedule/resume", {"reason": "over"}, expect=200)


def test_nothing_is_called_empty_before_its_answer_is_there(browser: Browser, server: Server) -> None:
    held: list[Route] = []
    slow = True

    def hold(route: Route) -> None:
        if slow:
            held.append(route)
        else:
            route.continue_()

    with watched(browser, server) as page:
        sign_in(page, server)
        page.route(f"{API}/agents?*", hold)
        page.reload()
        agents = page.get_by_role("region", name="Agents", exact=True)
        expect(agents.get_by_role("status", name="Loading")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("region", name="What was done").get_by_text(re.compile("Echo")).first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("No agent yet")).to_have_count(0)
        slow = False
        for route in held:
            route.continue_()
        expect(agents.get_by_role("row", name=re.compile("Echo"))).to_be_visible(timeout=PATIENCE_MS)
        changed(page, f"{API}/agents?*", lambda found: found | {"agents": []})
        page.reload()
        expect(page.get_by_text("No agent yet")).to_be_visible(timeout=PATIENCE_MS)
        accessible(page, "an empty dashboard")


def test_a_server_that_cannot_be_asked_is_not_taken_for_one_that_wants_a_password(browser: Browser, server: Server) -> None:
    with watched(browser, server, but=GONE) as page:
        sign_in(page, server)
        page.route(f"{API}/session", lambda route: route.abort())
        page.reload()
        expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.", timeout=PATIENCE_MS)
        expect(page.get_by_role("button", name="Sign in")).to_have_count(0)
        accessible(page, "no server")
        page.unroute(f"{API}/session")
        expect(page.get_by_role("heading", name="Dashboard")).to_be_visible(timeout=PATIENCE_MS)  # by itself


def test_where_no_websocket_comes_through_the_page_asks_instead_and_says_when_it_tries_again(browser: Browser, server: Server) -> None:
    blocked = True

    def decide(socket: WebSocketRoute) -> None:
        if blocked:
            socket.close()
        else:
            socket.connect_to_server()

    with watched(browser, server, but=GONE) as page:
        page.route_web_socket("**/ws/*", decide)
        sign_in(page, server)
        expect(page.get_by_text("Offline", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text(re.compile("next try in"))).to_be_visible(timeout=PATIENCE_MS)
        accessible(page, "offline")
        server.post("/agents/Echo/lock", {"reason": "seen without events"}, expect=200)
        expect(page.get_by_text("seen without events").first).to_be_visible(timeout=PATIENCE_MS)
        blocked = False
        page.get_by_role("button", name="Retry now").click()
        expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("button", name="Retry now")).to_have_count(0)


def test_a_tab_is_told_that_its_server_was_upgraded_and_reloads_when_it_likes(browser: Browser, server: Server) -> None:
    sockets: list[WebSocketRoute] = []

    def through(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    newer = re.compile(re.escape(server.info["api_url"]) + "/$")
    with watched(browser, server) as page:
        page.route_web_socket("**/ws/*", through)
        sign_in(page, server)
        expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        page.route(newer, lambda route: route.fulfill(body='<script type="module" src="/assets/index-newer.js"></script>'))
        sockets[-1].close()
        stripe = page.get_by_text("The server has a newer version of this page.")
        expect(stripe).to_be_visible(timeout=PATIENCE_MS)
        accessible(page, "a newer version")
        page.unroute(newer)
        page.get_by_role("button", name="Reload").click()
        expect(stripe).to_have_count(0, timeout=PATIENCE_MS)
        expect(page.get_by_role("heading", name="Dashboard")).to_be_visible(timeout=PATIENCE_MS)


def test_a_part_that_the_server_no_longer_has_is_a_friendly_word_and_not_a_white_page(browser: Browser, server: Server) -> None:
    with watched(browser, server, but=ANSWERED + " 404|dynamically imported module") as page:
        sign_in(page, server)
        page.route("**/assets/audit-*.js", lambda route: route.fulfill(status=404))
        page.get_by_role("navigation", name="Pages").get_by_role("link", name="Audit").click()
        expect(page.get_by_text("This part of the page cannot be had")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
        accessible(page, "a part that is gone")
        page.unroute("**/assets/audit-*.js")
        page.get_by_role("button", name="Reload the page").click()
        expect(page.get_by_role("heading", level=1, name="Audit")).to_be_visible(timeout=PATIENCE_MS)


@pytest.fixture
def viewer(browser: Browser, server: Server) -> Iterator[Page]:
    """Somebody who may look at everything."""
    server.post("/users", {"name": "looker", "role": "viewer", "password": PASSWORD}, expect=201)
    with watched(browser, server, but=ANSWERED + " 40[13]") as page:
        page.goto(at(server, "/agents/Echo?tab=versions"))
        page.get_by_role("textbox", name="Name").fill("looker")
        page.locator("input[name=password]").fill("not this one")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_be_visible(timeout=PATIENCE_MS)
        page.locator("input[name=password]").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        yield page


def test_who_may_only_look_sees_every_act_with_why_it_is_not_theirs(viewer: Page, server: Server) -> None:
    expect(viewer.get_by_text("Read only", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    expect(viewer.get_by_role("heading", level=1, name="Echo")).to_be_visible(timeout=PATIENCE_MS)  # the address from before signing in
    accessible(viewer, "read only")
    for verb in ("Upgrade to this", "Roll back"):
        button = viewer.get_by_role("button", name=verb, exact=True).first
        expect(button).to_have_attribute("aria-disabled", "true")
        button.press("Enter")
    viewer.keyboard.press("Shift+Tab")
    viewer.keyboard.press("Tab")
    expect(viewer.get_by_text("Needs the role operator for Echo; you are viewer.").first).to_be_visible(timeout=PATIENCE_MS)
    expect(viewer.get_by_role("dialog")).to_have_count(0)
    viewer.goto(at(server, "/settings?part=users"))
    expect(viewer.get_by_text("Needs the role admin; you are viewer.")).to_be_visible(timeout=PATIENCE_MS)
    token = viewer.evaluate("fetch('/api/platform/me').then(answer => answer.json()).then(me => me.csrf_token)")
    forced = viewer.request.post(
        at(server, "/api/platform/agents/Echo/upgrade"),
        data={"target_version": "1.1.0", "reason": "forced"},
        headers={"X-CSRF-Token": token, "Origin": server.info["api_url"]},
    )
    assert (forced.status, forced.json()["code"]) == (403, "role_too_low")
    viewer.get_by_role("button", name="looker").click()
    viewer.get_by_role("menuitem", name="Sign out").click()
    expect(viewer.get_by_role("button", name="Sign in")).to_be_visible(timeout=PATIENCE_MS)


def test_words_that_look_like_markup_are_words_everywhere(browser: Browser, server: Server) -> None:
    free = {
        "description",
        "owner",
        "reason",
        "message",
        "summary",
        "author",
        "migration_notes",
        "state_note",
        "operator",
        "sentence",
        "body",
    }

    def marked(found: Any, key: str = "") -> Any:
        if isinstance(found, dict):
            return {name: marked(value, name if key != "changelog" else "summary") for name, value in found.items()}
        if isinstance(found, list):
            return [marked(each, key) for each in found]
        return MARKUP if key in free and isinstance(found, str) else found

    first = server.get("/agents/Echo/upgrades")["upgrades"][0]["upgrade_id"]
    places = (
        "/",
        "/agents",
        "/agents/Echo?tab=versions",
        "/agents/Echo?tab=audit",
        f"/agents/Echo/deployments/{first}",
        "/deployments",
        "/audit",
    )
    with watched(browser, server) as page:
        sign_in(page, server)
        changed(page, f"{API}/**", marked)
        for address in (*places, "/agents/Echo/upgrade?version=1.1.0"):
            page.goto(at(server, address))
            expect(page.get_by_text("<img src=x").first).to_be_visible(timeout=PATIENCE_MS)
            expect(page.locator("img[src=x]")).to_have_count(0)
            assert page.title() != "owned", address


def test_a_changelog_of_ten_thousand_lines_is_shown_whole_without_a_page_that_grows(browser: Browser, server: Server) -> None:
    def longer(found: dict[str, Any]) -> dict[str, Any]:
        for version in found["versions"]:
            version["changelog"] = {"changed": [f"line {n} of many" for n in range(LINES)]}
        return found

    with watched(browser, server) as page:
        sign_in(page, server)
        changed(page, f"{API}/agents/Echo/versions", longer)
        page.goto(at(server, "/agents/Echo?tab=versions"))
        more = page.get_by_role("button", name="Show all 10,000 lines").first
        expect(more).to_be_visible(timeout=PATIENCE_MS)
        before = nodes(page)
        more.click()
        whole = page.get_by_role("region", name="The whole changelog")
        expect(whole).to_contain_text(f"line {LINES - 1} of many", timeout=PATIENCE_MS)
        assert nodes(page) <= before
        box = whole.bounding_box()
        assert box, "it is shown"
        assert box["height"] < 400
        accessible(page, "a long changelog")


def nodes(page: Page) -> int:
    return int(page.evaluate("document.querySelectorAll('*').length"))


def test_figures_that_come_each_second_are_drawn_without_a_page_that_grows(browser: Browser, server: Server) -> None:
    first = server.get("/agents/Echo/upgrades")["upgrades"][0]["upgrade_id"]
    sockets: list[WebSocketRoute] = []
    side = {"error_rate": 0.5, "p95_latency_ms": 20.0, "traffic_percent": 50.0}

    def tick(second: int) -> None:
        when = f"2026-01-01T12:{second // 60:02}:{second % 60:02}Z"
        sides = {"blue": side | {"throughput": 1.0 * second}, "green": side | {"throughput": 2.0 * second}}
        say(event="metrics_update", seq=100 + second, at=when, upgrade_id=first, agent_id="Echo", metrics=sides)

    def say(**message: Any) -> None:
        sockets[-1].send(json.dumps(message))

    def fake(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.on_message(lambda heard: say(event="snapshot", seq=1) if "subscribe" in str(heard) else say(event="pong"))

    with watched(browser, server) as page:
        page.route_web_socket("**/ws/*", fake)
        changed(page, f"{API}/agents/Echo/upgrades/{first}", lambda found: found | {"status": "in_progress"})
        sign_in(page, server)
        page.goto(at(server, f"/agents/Echo/deployments/{first}"))
        requests = page.get_by_role("region", name="Requests")
        expect(requests).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        for second in range(30):
            tick(second)
        expect(requests).to_contain_text("58/s", timeout=PATIENCE_MS)
        expect(page.locator(".uplot")).to_have_count(3, timeout=PATIENCE_MS)
        expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=PATIENCE_MS)
        before = nodes(page)
        for second in range(30, 700):
            tick(second)
        expect(requests).to_contain_text("1,398/s", timeout=PATIENCE_MS)
        assert nodes(page) == before
        tick(650)  # late, and seen already
        tick(760)  # after a minute without a word
        expect(requests).to_contain_text("1,520/s", timeout=PATIENCE_MS)
        page.get_by_text("Show the charts as a table").click()
        table = page.get_by_role("table", name="Figures of the last minutes")
        expect(table.get_by_text("Nothing was measured here")).to_have_count(1, timeout=PATIENCE_MS)
        expect(table.get_by_role("row")).to_have_count(31)
        for number in range(100):
            say(event="instance_ready", seq=1000 + number, at="2026-01-01T13:00:00Z", agent_id="Echo", reason=MARKUP)
            say(event="instance_ready", seq=1000 + number, at="2026-01-01T13:00:00Z", agent_id="Echo", reason=MARKUP)
        feed = page.get_by_role("region", name="Events since you look")
        expect(feed.locator("[data-seq='1099']")).to_have_count(1, timeout=PATIENCE_MS)
        expect(feed.locator("[data-seq]")).to_have_count(30)
        expect(page.locator("img[src=x]")).to_have_count(0)
        sockets[-1].close()
        expect(page.get_by_text("No live figures while the connection is away")).to_be_visible(timeout=PATIENCE_MS)
        accessible(page, "a monitor without a connection")


SMALL = """() => [...document.querySelectorAll("a[href], button, summary, select, textarea, [role=tab], input:not([type=checkbox], [type=radio])")]
  .filter(each => each.checkVisibility() && !each.closest(".skip, p, [aria-hidden=true]"))
  .map(each => [each.getBoundingClientRect(), each.getAttribute("aria-label") || each.textContent || each.name])
  .filter(([box]) => box.width > 0 && (box.width < 24 || box.height < 24)).map(([box, name]) => `${name}: ${box.width} x ${box.height}`)"""
MOVING = """() => [...document.querySelectorAll("*")].filter(each => { const style = getComputedStyle(each);
  return style.transitionProperty !== "none" && parseFloat(style.transitionDuration) > 0 || style.animationName !== "none"; })
  .map(each => each.className)"""


def test_the_narrowest_screen_needs_no_scrolling_sideways_and_no_fine_finger(browser: Browser, server: Server) -> None:
    first = server.get("/agents/Echo/upgrades")["upgrades"][0]["upgrade_id"]
    tabs = [f"/agents/Echo?tab={tab}" for tab in ("overview", "versions", "deployments", "staging", "config", "audit")]
    places = (
        "/",
        "/?rollback=Echo",
        "/agents",
        *tabs,
        f"/agents/Echo/deployments/{first}",
        "/agents/Echo/upgrade?version=1.1.0",
        "/deployments",
        "/audit",
    )
    wrong: dict[str, Any] = {}
    with watched(browser, server, width=320) as page:
        sign_in(page, server)
        page.emulate_media(reduced_motion="reduce", forced_colors="active")
        for address in (*places, "/settings?part=users"):
            page.goto(at(server, address))
            page.get_by_role("heading", level=1).wait_for()
            expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=PATIENCE_MS)
            found = (page.evaluate("document.documentElement.scrollWidth"), page.evaluate(SMALL), page.evaluate(MOVING))
            if found != (320, [], []):
                wrong[address] = found
        assert not wrong, wrong
        page.goto(at(server, f"/agents/Echo/deployments/{first}"))
        expect(page.get_by_text("Completed").first).to_be_visible(timeout=PATIENCE_MS)
        page.keyboard.press("Control+k")
        chosen = page.locator("[role=option][aria-selected=true]")
        expect(chosen).to_have_count(1, timeout=PATIENCE_MS)
        assert chosen.evaluate("each => getComputedStyle(each).outlineStyle") == "solid", "which one is chosen is not told by colour alone"
