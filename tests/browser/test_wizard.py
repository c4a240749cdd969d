"""An upgrade asked for in five steps, with a staging run in it: what was answered is kept, what is missing is said, what is asked for is done."""

import re
import sys
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from agent_servicing.adapters.system import SystemClock
from tests.browser.conftest import PATIENCE_MS, sign_in, watched
from tests.browser.looks import accessible
from tests.e2e.harness import Server, a_version, an_agent
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)

TESTS = f"""
[tests]
smoke = ["{sys.executable}", "-c", "import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + '/hello')", "{{url}}"]
[[tests.requests]]
path = "/hello"
"""
BERLIN = "Europe/Berlin"
STEPS = ("review", "strategy", "test", "schedule", "start")


@pytest.fixture(scope="module", autouse=True)
def agent(server: Server) -> None:
    """Two versions to go to: one whose staging run is good, one that answers nothing."""
    source = an_agent(server, agent="Echo", instances=2, extra=TESTS)
    a_version(source, "1.1.0")
    a_version(source, "1.2.0", fail_every=1)
    server.post("/agents/Echo/versions/refresh", expect=200)


def at(server: Server, step: str, version: str = "1.1.0") -> str:
    return f"{server.info['api_url']}/agents/Echo/upgrade?version={version}&step={step}"


@pytest.mark.parametrize("step", STEPS)
def test_every_step_can_be_opened_by_its_address_and_is_accessible(page: Page, server: Server, step: str) -> None:
    page.goto(at(server, step))
    page.get_by_role("heading", name=re.compile(r"^\d\. ")).wait_for()
    (now,) = page.get_by_role("navigation", name="Steps").locator("[aria-current]").all()
    expect(now).to_have_css("box-shadow", re.compile("inset"))
    accessible(page, f"wizard, {step}")


def test_a_step_says_what_is_missing_and_what_was_typed_outlives_a_reload(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(at(server, "strategy"))
        page.get_by_role("textbox", name="Shares in percent").fill("50, 20, 100")
        expect(page.get_by_text("Shares grow and the last one is 100").first).to_be_visible()
        page.get_by_role("button", name="Next").press("Enter")
        expect(page).to_have_url(re.compile("step=strategy"))
        page.get_by_role("textbox", name="Shares in percent").fill("50, 100")
        page.reload()
        expect(page.get_by_role("textbox", name="Shares in percent")).to_have_value("50, 100", timeout=PATIENCE_MS)
        page.get_by_role("button", name="Next").click()
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_role("heading", name="4. Schedule and safety")).to_be_focused()
        expect(page.get_by_text("Say why")).to_be_visible()
        page.get_by_role("textbox", name="Reason").fill("it's <b>time</b>")
        expect(page.get_by_text("servicing upgrade Echo 1.1.0").first).to_contain_text("--steps 50,100")
        page.go_back()
        page.go_back()
        expect(page.get_by_role("textbox", name="Shares in percent")).to_have_value("50, 100", timeout=PATIENCE_MS)


def test_what_is_not_answered_yet_keeps_the_upgrade_from_being_started_and_is_named(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(at(server, "start"))
        page.get_by_role("button", name="Start deployment").hover()
        expect(page.get_by_text("Not answered yet: Schedule and safety.")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Start deployment").press("Enter")
    assert server.get("/agents/Echo")["current_version"] == "1.0.0"


def summer_begins() -> date:
    """The next day there on which the clocks are set forward, an hour after one at night in UTC."""
    noon = time(12, tzinfo=ZoneInfo(BERLIN))
    days = [SystemClock().now().date() + timedelta(days=number) for number in range(2, 400)]
    offsets = [datetime.combine(day, noon).utcoffset() or timedelta() for day in days]
    return next(day for day, before, after in zip(days[1:], offsets, offsets[1:], strict=False) if after > before)


def test_a_start_around_the_change_of_the_clocks_is_at_the_time_of_day_that_was_typed(browser: Browser, server: Server) -> None:
    day = summer_begins()
    eve = day - timedelta(days=1)
    said = f"{day:%b} {day.day}, {day.year}, 03:30 GMT+2"
    with watched(browser, server, zone=BERLIN) as page:
        sign_in(page, server)
        page.goto(at(server, "schedule"))
        page.get_by_role("radio", name="At a time").check()
        expect(page.get_by_text(re.compile(f"Time zone: {BERLIN}"))).to_be_visible()
        summary = page.get_by_role("region", name="So far")
        for typed in ("02:30", "03:30"):  # there is no 02:30 that day: what it is taken for is said
            page.get_by_label("Begins", exact=True).fill(f"{day}T{typed}")
            expect(summary).to_contain_text(f"Begins {said}")
            expect(summary).to_contain_text(f"--at {day}T01:30:00.000Z")
        page.get_by_role("textbox", name="Reason").fill("in the night")
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_text(f"beginning {said}")).to_be_visible()
        page.get_by_role("button", name="Schedule it").click()
        page.get_by_role("heading", level=1, name=re.compile("1.0.0 → 1.1.0")).wait_for()
        expect(page.get_by_text(f"Begins {said}")).to_be_visible()
        name = page.url.split("?")[0].rsplit("/", 1)[1]
        assert server.deployment(name)["scheduled_at"] == f"{day}T01:30:00Z"
        page.goto(f"{server.info['api_url']}/deployments?state=upcoming&agent=Echo")
        page.get_by_role("button", name="Reschedule").click()
        begins = page.get_by_role("dialog").get_by_label("Begins")
        expect(begins).to_have_value(f"{day}T03:30")
        begins.fill(f"{eve}T03:30")
        page.get_by_role("textbox", name="Reason").fill("a night earlier")
        page.get_by_role("dialog").get_by_role("button", name="Reschedule").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert server.deployment(name)["scheduled_at"] == f"{eve}T02:30:00Z"
    server.post(f"/agents/Echo/upgrades/{name}/cancel")


def test_a_version_that_does_not_exist_is_said_not_to(page: Page, server: Server) -> None:
    page.goto(at(server, "review", "9.9.9"))
    expect(page.get_by_text("Echo has no version 9.9.9")).to_be_visible(timeout=PATIENCE_MS)
    accessible(page, "no such version")


@pytest.mark.parametrize(("version", "verdict", "case"), [("1.2.0", "Issues detected", "failed"), ("1.1.0", "Safe to deploy", "passed")])
def test_a_staging_run_is_started_in_the_wizard_watched_there_and_has_a_report_from_which_a_case_is_run_again(
    browser: Browser, server: Server, version: str, verdict: str, case: str
) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(at(server, "test", version))
        page.get_by_role("button", name=re.compile("Test it now|Test again")).click()
        expect(page.get_by_role("region", name="Recommendation")).to_contain_text(verdict, timeout=180_000)
        page.get_by_role("link", name="The whole report").click()
        page.get_by_role("heading", level=1, name=re.compile(f"Echo {version}")).wait_for()
        expect(page.get_by_role("region", name="Recommendation")).to_contain_text(verdict)
        expect(page.get_by_role("list", name="Cases of start").get_by_role("button")).to_have_count(0)
        smoke = page.get_by_role("list", name="Cases of smoke").get_by_role("listitem")
        expect(smoke).to_contain_text(case.capitalize())
        smoke.get_by_role("button", name=re.compile("^Run .* again$")).click()
        expect(page.get_by_role("region", name="Run again by hand")).to_contain_text(case, timeout=180_000)
        accessible(page, "staging report")
        page.goto(f"{server.info['api_url']}/agents/Echo?tab=staging")
        expect(page.get_by_role("row", name=re.compile(version))).to_contain_text(verdict)
        page.goto(f"{server.info['api_url']}/agents/Echo/compare?from=1.0.0&to={version}")
        tests = page.get_by_role("row", name=re.compile("^Tests"))
        expect(tests).to_contain_text(f"In staging: {verdict.lower()}")
        expect(tests.get_by_role("link", name="See the report")).to_be_visible()


def test_the_wizard_starts_the_upgrade_that_it_describes(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(at(server, "strategy"))
        page.get_by_role("radio", name=re.compile("Rolling")).check()
        page.get_by_role("textbox", name="Watch between batches").fill("1")
        page.get_by_role("link", name=re.compile("Schedule and safety")).click()
        page.get_by_role("textbox", name="Reason").fill("by rolling")
        page.get_by_role("button", name="Next").click()
        page.get_by_role("button", name="Start deployment").click()
        page.get_by_role("heading", name=re.compile("1.0.0 → 1.1.0")).wait_for()
        name = page.url.split("?")[0].rsplit("/", 1)[1]
        begun = server.deployment(name)
        assert (begun["strategy"], begun["reason"]) == ("rolling", "by rolling")


def test_what_somebody_else_changed_meanwhile_is_shown_and_the_answers_are_kept(browser: Browser, server: Server) -> None:
    source = an_agent(server, agent="Raced")
    for version in ("1.1.0", "1.2.0"):
        a_version(source, version)
    server.post("/agents/Raced/versions/refresh", expect=200)
    with browser.new_context() as context:  # not watched: an answer of 409 is an error in the console
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        sign_in(page, server)
        page.goto(at(server, "schedule", "1.2.0").replace("Echo", "Raced"))
        page.get_by_role("textbox", name="Reason").fill("mine")
        page.get_by_role("button", name="Next").click()
        page.get_by_text("Move Raced from 1.0.0 to 1.2.0").wait_for()
        with Load(server.router_url, "Raced"):
            assert server.outcome(server.upgrade("1.1.0", agent="Raced"), agent="Raced")["status"] == "completed"
            page.get_by_role("button", name="Start deployment").click()
            expect(page.get_by_text("Raced had 1.0.0 when you came here; now it has 1.1.0.")).to_be_visible()
            expect(page.get_by_text("Reason: mine")).to_be_visible()
            page.get_by_role("button", name="Go on from 1.1.0").click()
            page.get_by_role("button", name="Start deployment").click()
            page.get_by_role("heading", name=re.compile("1.1.0 → 1.2.0")).wait_for()


def test_a_session_that_ends_in_mid_wizard_costs_nothing_that_was_answered(browser: Browser, server: Server) -> None:
    password = "correct horse battery"
    a_version(an_agent(server, agent="Kept"), "1.2.0")
    server.post("/agents/Kept/versions/refresh", expect=200)
    server.post("/users", {"name": "wanda", "role": "operator", "password": password}, expect=201)
    with browser.new_context() as context:  # not watched: an answer of 401 is an error in the console
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(at(server, "schedule", "1.2.0").replace("Echo", "Kept"))
        signed_in_by_password(page, "wanda", password)
        page.get_by_role("textbox", name="Reason").fill("typed before")
        page.get_by_role("button", name="Next").click()
        page.get_by_text("Reason: typed before").wait_for()
        context.clear_cookies()
        with page.expect_response("**/api/platform/session"):  # the refusal made the page ask who is there
            page.get_by_role("button", name="Start deployment").click()
        page.get_by_text("Your session is over.").wait_for()
        expect(page.get_by_text("Reason: typed before")).to_be_attached()
        page.route("**/api/platform/me", held_back)
        with page.expect_request("**/api/platform/me"):
            signed_in_by_password(page, "wanda", password)
        # Until the page has the new session's token, whatever it asked for would be refused.
        expect(page.get_by_text("Your session is over.")).to_be_visible()
        page.unroute("**/api/platform/me")  # lets those go that were held back
        expect(page.get_by_text("Your session is over.")).to_have_count(0)
        expect(page.get_by_text("Reason: typed before")).to_be_visible()
        page.get_by_role("button", name="Start deployment").click()
        page.get_by_role("heading", name=re.compile("1.0.0 → 1.2.0")).wait_for()


def held_back(route: Route) -> None:
    """Neither answered nor refused, until the route is given up."""


def signed_in_by_password(page: Page, name: str, password: str) -> None:
    page.get_by_role("textbox", name="Name").fill(name)
    page.locator("input[name=password]").fill(password)
    page.get_by_role("button", name="Sign in").click()
