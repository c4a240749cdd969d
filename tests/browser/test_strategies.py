"""Canary and rolling chosen in the wizard and watched to their end, the judge overridden, and a rollback over a door that leads one way."""

import re
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import FLAGS, GONE, PATIENCE_MS, chromium, sign_in, watched
from tests.browser.looks import accessible
from tests.e2e.harness import MANIFEST, Server, a_version, an_agent
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)

INSTANCES = 3
VERSIONS = ("1.1.0", "1.2.0")
FEWEST = """versions => {
  window.fewest = Infinity;
  const look = () => {
    const rows = [...document.querySelectorAll("table[aria-label=Instances] tbody tr")].map(row => row.textContent);
    const ready = rows.filter(text => text.includes("Ready") && versions.some(version => text.includes(version)));
    if (rows.length) window.fewest = Math.min(window.fewest, ready.length);
  };
  look();
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""
"""Keeps how few instances of some versions the page ever showed as ready: whoever looks now and then would miss it."""
MONITOR = r"""
- main:
  - heading "Echo 1.0.0 → 1.1.0" [level=1]
  - group "Steer this deployment":
    - button "Pause"
    - button "Advance now"
    - button "Cancel"
    - button "Roll back"
  - region "Traffic":
    - heading "Traffic" [level=2]
    - img /1\.1\.0 has \d+ %/
  - region "Errors"
  - region "Latency, 95 % are faster"
  - region "Requests"
  - region "Stages":
    - list:
      - listitem
  - region "What users noticed"
  - region "Events since you look"
  - region "History":
    - heading "History" [level=2]
  - region "Instances"
"""
ROLLBACK = r"""
- dialog "Roll back Keeps":
  - heading "Roll back Keeps" [level=2]
  - button "Close"
  - radiogroup "Back to":
    - radio /1\.0\.0, the previous version/ [checked]
  - list:
    - listitem
  - radiogroup /What the agent remembers/:
    - 'radio /^Keep: nobody can count the records/'
    - 'radio /^Restore: not possible/ [disabled]'
  - textbox /^Reason/
  - group "Common reasons"
  - button "Keep 1.1.0"
  - button "Roll back to 1.0.0" [disabled]
"""
"""What a screen reader is told of both, in this order; there may be more in between."""
STATE = '[state]\ndirectory = "state"\nwrites = {writes}\nreads = {reads}\n'


@pytest.fixture(scope="module", autouse=True)
def agent(server: Server) -> None:
    source = an_agent(server, agent="Echo", instances=INSTANCES)
    a_version(source, "1.1.0")
    a_version(source, "1.2.0")
    a_version(source, "1.3.0", fail_every=2)
    server.post("/agents/Echo/versions/refresh", expect=200)


@pytest.fixture
def load(server: Server) -> Iterator[None]:
    with Load(server.router_url, "Echo", rate=120):
        yield


def started(page: Page, server: Server, version: str, strategy: str, **answers: str) -> str:
    """By the wizard; its id. The page is left where the deployment is watched."""
    page.goto(f"{server.info['api_url']}/agents/Echo/upgrade?version={version}&step=strategy")
    page.get_by_role("radio", name=re.compile(strategy)).check()
    for field, value in answers.items():
        page.get_by_role("textbox", name=field.replace("_", " ")).fill(value)
    page.get_by_role("link", name=re.compile("Schedule and safety")).click()
    page.get_by_role("textbox", name="Reason").fill(f"by {strategy}")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Start deployment").click()
    page.get_by_role("heading", level=1, name=re.compile(f"→ {version}")).wait_for()
    return page.url.split("?")[0].rsplit("/", 1)[1]


def completed(page: Page) -> list[str]:
    """What its stages say once it has come to its end on the page."""
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=3 * PATIENCE_MS)
    return page.get_by_role("region", name="Stages").get_by_role("listitem").all_inner_texts()


@pytest.mark.usefixtures("load")
def test_a_canary_goes_on_by_itself_and_a_rolling_update_is_never_seen_with_fewer_than_all_but_one(
    browser: Browser, server: Server
) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        name = started(page, server, "1.1.0", "Canary", Part_of_the_instances="25", Watch_each_step="2")
        expect(page.get_by_role("img", name=re.compile(r"1\.1\.0 has 25 %"))).to_be_visible()
        expect(page).to_have_title(re.compile(r"^Echo 1\.0\.0 → 1\.1\.0 · 25 %"))
        expect(page.get_by_role("main")).to_match_aria_snapshot(MONITOR)
        told = completed(page)
        expect(page).to_have_title(re.compile("· completed"))
        (watch,) = (text for text in told if text.startswith("Watch at 25 %"))
        assert "proven" in watch, watch
        assert any(text.startswith("Promote batch 1") for text in told), told
        assert "promote" not in {event["type"] for event in server.get("/audit", agent="Echo")["events"]}, "nobody told it to go on"
        assert server.deployment(name)["overridden_by"] is None
        name = started(page, server, "1.2.0", "Rolling", Instances_at_once="1", Watch_between_batches="0")
        page.evaluate(FEWEST, VERSIONS)
        told = completed(page)
        assert any(text.startswith(f"Replace batch {INSTANCES} of {INSTANCES}") for text in told), told
        assert INSTANCES - 1 <= page.evaluate("window.fewest") <= INSTANCES
        assert server.deployment(name)["strategy"] == "rolling"


def kept(page: Page) -> list[str]:
    """What the three charts of a deployment that has ended say they show, once they are there with the moment that decided it."""
    expect(
        page.get_by_text(re.compile(r"From beginning to end, a point for about every .+ The upright line is \d\d:\d\d:\d\d"))
    ).to_be_visible()
    charts = page.get_by_role("img", name=re.compile("from beginning to end"))
    expect(charts).to_have_count(3)
    return [chart.get_attribute("aria-label") or "" for chart in charts.all()]


@pytest.mark.usefixtures("load")
def test_a_canary_that_fails_goes_back_by_itself_and_the_open_page_says_why_at_once(browser: Browser, server: Server) -> None:
    port = server.info["api_url"].rsplit(":", 1)[1]
    with watched(browser, server, scheme="dark", but=GONE) as page:
        sign_in(page, server)
        name = started(page, server, "1.3.0", "Canary", Part_of_the_instances="25", Watch_each_step="300")
        expect(page).to_have_title(re.compile(r"^Echo 1\.2\.0 → 1\.3\.0 · 25 %"))
        # It comes while the page is open: it is read out at once.
        verdict = page.get_by_role("region", name="Rollback").get_by_role("alert")
        expect(verdict).to_contain_text(re.compile(r"Error rate threshold exceeded \([\d.]+% > 5%\)"), timeout=3 * PATIENCE_MS)
        expect(verdict).to_contain_text(re.compile(r"By the engine, while: .+, seen in \d+ requests within \d+ s"))
        expect(verdict.locator("time:not([aria-live=off])")).to_have_count(0)
        expect(page.get_by_text("Rolled back", exact=True).first).to_be_visible(timeout=3 * PATIENCE_MS)
        expect(page).to_have_title(re.compile(r"^Echo 1\.2\.0 → 1\.3\.0 · rolled back"))
        accessible(page, "taken back by the engine")
        charts = kept(page)
        assert all("when it was rolled back" in chart for chart in charts)
        server.kill()
        server.start("--port", port)
        page.reload()
        assert kept(page) == charts, "as they were at the verdict, also for a server that was not there"
        page.get_by_text("Show the charts as a table").click()
        expect(page.get_by_role("table", name="Figures from beginning to end").get_by_role("row").nth(2)).to_be_visible()
    assert server.deployment(name)["rollback"]["auto_triggered"]


def test_what_the_judge_cannot_know_is_decided_by_an_operator_who_types_the_name(browser: Browser, server: Server) -> None:
    server.post("/users", {"name": "night-shift", "role": "operator"}, expect=201)
    with watched(browser, server) as page:
        page.goto(server.post("/users/night-shift/link", expect=201)["url"])
        page.get_by_role("heading", name="Dashboard").wait_for()
        name = started(page, server, "1.3.0", "Canary", Part_of_the_instances="25", Watch_each_step="1")
        judge = page.get_by_role("region", name="Analysis")
        waits = judge.get_by_role("list", name="What it waits for")
        expect(waits.get_by_role("listitem").filter(has_text="Verdict")).to_contain_text("No requests yet")  # and so a canary waits
        expect(waits.get_by_role("listitem").filter(has_text="Errors")).to_contain_text("goes on below 2 %, rolls back above 5 %")
        expect(waits.get_by_role("listitem").filter(has_text="Watch")).to_contain_text(
            "goes on as soon as the rest allows", timeout=PATIENCE_MS
        )
        judge.get_by_role("button", name="Override").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("button", name="Leave it as it is")).to_be_focused()
        expect(dialog).to_contain_text("decides nothing any more in this deployment")
        accessible(page, "override")
        act = dialog.get_by_role("button", name="Override")
        dialog.get_by_role("textbox", name="Type Echo to confirm").fill("Echo")
        expect(act).to_be_disabled()
        dialog.get_by_text("Too little traffic to judge", exact=True).click()
        act.click()
        expect(judge).to_contain_text("night-shift has overridden it")
        expect(judge.get_by_role("button", name="Override")).to_have_attribute("aria-disabled", "true")
        completed(page)
        history = page.get_by_role("region", name="History")
        expect(history.get_by_role("button", name=re.compile("Analysis overridden"))).to_contain_text(
            "night-shift: Too little traffic to judge"
        )
        page.reload()
        history.get_by_role("button").first.wait_for()
        expect(page.get_by_role("region", name="Events since you look")).to_have_count(0)  # none will come
    assert server.deployment(name)["overridden_by"] == "night-shift"
    (entry,) = server.get("/audit", agent="Echo", operator="night-shift", type="analysis_overridden")["events"]
    assert entry["reason"] == "Too little traffic to judge"


def test_a_rollback_that_may_lose_what_was_remembered_wants_a_choice_and_the_name(browser: Browser, server: Server) -> None:
    keeps = {"agent": "Keeps", "instances": 1, "startup": 30}
    source = an_agent(server, **keeps, extra=STATE.format(writes=1, reads=[1]))  # type: ignore[arg-type]
    a_version(source, "1.1.0")
    newer = MANIFEST.format(**keeps, source=source, python=sys.executable, extra=STATE.format(writes=2, reads=[1, 2]))
    (source / "1.1.0" / "agent.toml").write_text(newer)
    server.post("/agents/Keeps/versions/refresh", expect=200)
    up = server.upgrade("1.1.0", agent="Keeps", blue_green={"steps": [100], "monitor_seconds": 0})
    assert server.outcome(up, agent="Keeps")["status"] == "completed"
    with server.api() as api:
        for copy in server.get("/agents/Keeps/state")["snapshots"]:
            assert api.delete(f"/agents/Keeps/state/snapshots/{copy['snapshot']}").status_code == 204
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/?rollback=Keeps")
        dialog = page.get_by_role("dialog", name="Roll back Keeps")
        expect(dialog).to_match_aria_snapshot(ROLLBACK)
        expect(dialog).to_contain_text("There is no snapshot that 1.0.0 can read.")
        dialog.get_by_text("Wrong answers", exact=True).click()
        back = dialog.get_by_role("button", name="Roll back to 1.0.0")
        expect(back).to_be_disabled()
        dialog.get_by_role("radio", name="Keep: nobody can count the records").check()
        accessible(page, "a rollback with a choice")
        back.click()
        sure = page.get_by_role("dialog", name="Roll back Keeps to 1.0.0")
        expect(sure.get_by_role("button", name="Keep 1.1.0")).to_be_focused()
        expect(sure).to_contain_text("The older version may not be able to use what is kept")
        accessible(page, "a rollback that wants the name")
        sure.get_by_role("textbox", name="Type Keeps to confirm").fill("keeps")
        expect(sure.get_by_role("button", name="Roll back to 1.0.0")).to_be_disabled()
        page.keyboard.press("Escape")
        expect(back).to_be_enabled()
        back.click()
        sure.get_by_role("textbox", name="Type Keeps to confirm").fill("Keeps")
        sure.get_by_role("button", name="Roll back to 1.0.0").click()
        page.get_by_role("heading", level=1, name=re.compile("1.1.0 → 1.0.0")).wait_for()
        completed(page)
    assert server.get("/agents/Keeps")["current_version"] == "1.0.0"
    asked = server.get("/audit", agent="Keeps", type="rollback_requested")["events"][0]
    assert (asked["reason"], asked["state"]) == ("Wrong answers", "keep")


def test_with_text_twice_as_large_everything_is_there_and_can_be_pressed(browser: Browser, server: Server) -> None:
    last = server.get("/agents/Echo/upgrades")["upgrades"][0]["upgrade_id"]
    large = browser.browser_type.launch(executable_path=chromium(), args=[*FLAGS.split(), "--blink-settings=defaultFontSize=32"])
    with large, watched(large, server, width=1280) as page:
        sign_in(page, server)
        wide: dict[str, int] = {}
        for address in ("/agents", "/audit", "/?rollback=Echo", f"/agents/Echo/deployments/{last}"):
            page.goto(server.info["api_url"] + address)
            page.get_by_role("heading", level=1).wait_for()
            expect(page.locator("[aria-busy=true]")).to_have_count(0)
            assert page.evaluate("getComputedStyle(document.body).fontSize") == "28px"
            wide[address] = page.evaluate("document.documentElement.scrollWidth")
            if "rollback" in address:
                dialog = page.get_by_role("dialog", name="Roll back Echo")
                dialog.get_by_text("Latency", exact=True).click()
                dialog.get_by_role("button", name=re.compile("^Roll back to")).click(trial=True)
            else:
                page.get_by_role("navigation", name="Pages").get_by_role("link", name="Settings").click(trial=True)
        page.get_by_role("button", name="Roll back").click(trial=True)
        assert set(wide.values()) == {1280}, wide
