"""What is not about one upgrade: notifications, all deployments and the calendar, settings; each is opened, used and looked at as its users do."""

import re
from datetime import timedelta

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from agent_servicing.adapters.system import SystemClock
from tests.browser.conftest import PATIENCE_MS, sign_in, watched
from tests.browser.looks import accessible, within_reach
from tests.browser.patched import a_patchable_agent
from tests.e2e.harness import Server, a_version, an_agent
from tests.integration.receivers import Reply, http_receiver

pytestmark = pytest.mark.timeout(600)

SOON = SystemClock().now() + timedelta(days=30)
KEEPS = '[state]\ndirectory = "state"\nwrites = 1\nreads = [1]\n'
PARTS = ("mine", "users", "tokens", "notifications", "thresholds", "freezes", "gates", "integrations", "secrets")


@pytest.fixture(scope="module", autouse=True)
def agent(server: Server) -> None:
    source = an_agent(server, agent="Echo", instances=1, extra=KEEPS)
    a_version(source, "1.1.0")
    server.post("/agents/Echo/versions/refresh", expect=200)
    a_patchable_agent(server, "Tuned")


def name_in(page: Page, field: str, name: str) -> None:
    """One more name in a field that takes several; its list of suggestions has the same label."""
    box = page.get_by_label(field).and_(page.locator("input"))
    box.fill(name)
    box.press("Enter")


def heard(page: Page, name: str) -> set[str]:
    """As what Chromium gives the parts of a table to a screen reader, whatever they look like."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = {node["role"]["value"] for node in nodes if not node["ignored"]}
    assert any(name in node.get("name", {}).get("value", "") for node in nodes)
    return roles & {"table", "row", "rowheader", "cell", "gridcell", "LayoutTable", "LayoutTableCell"}


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


def test_a_lock_of_somebody_else_is_seen_and_taken_over_by_an_admin_who_types_the_name(browser: Browser, server: Server) -> None:
    token = server.post("/tokens", {"name": "night-watch", "role": "operator"}, expect=201)["token"]
    locked = httpx.post(
        f"{server.info['api_url']}/api/platform/agents/Echo/lock",
        json={"reason": "by hand"},
        headers={"Authorization": f"Bearer {token}"},
        timeout=PATIENCE_MS / 1000,
    )
    assert locked.is_success, locked.text
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/agents/Echo")
        expect(page.get_by_text("Locked by night-watch")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="More").click()
        item = page.get_by_role("menuitem", name=re.compile("Remove the agent"))
        expect(item).to_have_attribute("aria-disabled", "true")
        expect(item).to_contain_text("night-watch has it locked")
        accessible(page, "what is rarely done")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Take it over").click()
        page.get_by_text("Its holder cannot be reached", exact=True).click()
        page.get_by_role("textbox", name="Type Echo to confirm").fill("Echo")
        page.get_by_role("dialog").get_by_role("button", name="Take it over").click()
        expect(page.get_by_text("Locked by you")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Unlock").click()
        page.get_by_text("Done", exact=True).click()
        page.get_by_role("button", name="Unlock it").click()
        expect(page.get_by_role("region", name="Lock")).to_have_count(0, timeout=PATIENCE_MS)
        assert server.get("/agents/Echo/lock")["lock"] is None


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
        within_reach(phone)
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


def test_on_a_phone_every_act_of_a_table_is_in_sight_and_each_value_says_what_it_is(browser: Browser, server: Server) -> None:
    with watched(browser, server, width=390) as phone:
        sign_in(phone, server)
        for address in ("/", "/agents", "/agents/Echo?tab=deployments", "/settings?part=tokens"):
            phone.goto(server.info["api_url"] + address)
            phone.get_by_role("table").first.wait_for()
            within_reach(phone)
        phone.goto(f"{server.info['api_url']}/agents")
        row = phone.get_by_role("row", name=re.compile("Echo"))
        assert row.get_by_role("cell").nth(2).evaluate("cell => getComputedStyle(cell, '::before').content") == '"Health"'
        assert heard(phone, "Echo") == {"table", "row", "rowheader", "cell"}
        accessible(phone, "agents as cards")
        row.get_by_role("button", name="Roll back").click()
        expect(phone.get_by_role("dialog", name="Roll back Echo")).to_be_visible(timeout=PATIENCE_MS)


def test_a_freeze_is_added_shown_and_removed(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/deployments")
        page.get_by_role("button", name="Add a freeze").click()
        page.get_by_role("textbox", name="Name").fill("quiet days")
        page.get_by_text("Again and again").click()
        page.get_by_label("Begins at").fill("23:30")
        accessible(page, "what repeats")
        page.get_by_text("Once", exact=True).click()
        page.get_by_label("From").fill(f"{SOON:%Y-%m-%dT%H:%M}")
        page.get_by_label("Until").fill(f"{SOON + timedelta(days=1):%Y-%m-%dT%H:%M}")
        page.get_by_role("textbox", name="Reason").fill("holidays")
        page.get_by_role("button", name="Add it").click()
        rules = page.get_by_role("list", name="Freezes and windows")
        expect(rules).to_contain_text("quiet days", timeout=PATIENCE_MS)
        assert [rule["name"] for rule in server.get("/schedule")["rules"]] == ["quiet days"]
        page.get_by_role("button", name="Add a freeze").click()
        page.get_by_role("textbox", name="Name").fill("no nights")
        name_in(page, "Agents", "Echo")
        page.get_by_text("Again and again").click()
        page.get_by_label("Begins at").fill("23:30")
        page.get_by_text("Incident", exact=True).click()
        page.get_by_role("button", name="Add it").click()
        expect(rules).to_contain_text("30 23 * * *", timeout=PATIENCE_MS)
        assert [(rule["cron"], rule["agents"]) for rule in server.get("/schedule")["rules"]][-1] == ("30 23 * * *", ["Echo"])
        for _ in range(2):
            before = rules.get_by_role("listitem").count()
            rules.get_by_role("button", name="Remove").first.click()
            page.get_by_role("textbox", name="Reason").fill("over")
            page.get_by_role("button", name="Remove it").click()
            expect(rules.get_by_role("listitem")).to_have_count(before - 1, timeout=PATIENCE_MS)
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
        page.get_by_role("button", name="Which agents night-shift reaches").click()
        page.get_by_role("button", name="Add one").click()
        page.get_by_role("textbox", name="Agent", exact=True).fill("Echo")
        accessible(page, "roles for single agents")
        page.get_by_role("button", name="Keep it so").click()
        expect(row).to_contain_text("operator of Echo", timeout=PATIENCE_MS)
        assert server.get("/users/night-shift")["grants"] == {"Echo": "operator"}
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


def test_what_is_clicked_twice_before_an_answer_came_is_asked_for_once(browser: Browser, server: Server) -> None:
    held: list[Route] = []
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/settings?part=tokens")
        page.route("**/api/platform/tokens", lambda route: held.append(route) if route.request.method == "POST" else route.continue_())
        page.get_by_role("button", name="Make a token").click()
        page.get_by_role("textbox", name="Name").fill("only one")
        act = page.get_by_role("button", name="Make it")
        act.evaluate("button => { button.click(); button.click(); }")
        expect(act).to_be_disabled()
        expect(page.get_by_role("button", name="Not now")).to_be_enabled()
        held[0].continue_()
        expect(page.get_by_text("it is shown only now")).to_be_visible(timeout=PATIENCE_MS)
        assert len(held) == 1
        assert [each["name"] for each in server.get("/tokens")["tokens"]].count("only one") == 1


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
        page.get_by_role("button", name="Add a rule").click()
        page.get_by_role("textbox", name="Name").fill("echo-goes-back")
        name_in(page, "Agents", "Echo")
        name_in(page, "Kinds", "deployment_rolled_back")
        page.get_by_label("Kinds").and_(page.locator("input")).blur()
        accessible(page, "a rule of notifications")
        page.get_by_role("button", name="Add it").click()
        expect(page.get_by_role("row", name=re.compile("echo-goes-back"))).to_be_visible(timeout=PATIENCE_MS)
        rules = server.get("/settings/notifications")["rules"]
        assert [(rule["name"], rule["agents"], rule["kinds"], rule["targets"]) for rule in rules] == [
            ("nobody", None, None, ["nobody"]),
            ("echo-goes-back", ["Echo"], ["deployment_rolled_back"], ["nobody"]),
        ]


def test_thresholds_are_set_for_all_and_for_one_agent_and_fill_in_the_limits_of_its_upgrade(browser: Browser, server: Server) -> None:
    with watched(browser, server) as page, watched(browser, server, scheme="dark", width=390) as phone:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/settings?part=thresholds")
        page.get_by_role("button", name="Change those for all agents").click()
        page.get_by_role("textbox", name="Roll back above errors of").fill("3")
        page.get_by_role("textbox", name="Reason").fill("promised")
        accessible(page, "thresholds of all agents")
        page.get_by_role("button", name="Change them").click()
        expect(page.get_by_role("row", name="Roll back above errors of").get_by_text("3 %")).to_be_visible()
        page.get_by_role("button", name="Add an agent").click()
        page.get_by_role("textbox", name="Agent").or_(page.get_by_role("combobox", name="Agent")).first.fill("Echo")
        page.get_by_role("textbox", name="Roll back above p95 of").fill("300")
        page.get_by_role("textbox", name="Reason").fill("its users wait")
        page.get_by_role("button", name="Change them").click()
        expect(page.get_by_role("row", name="Echo").get_by_text("300 ms")).to_be_visible()
        assert server.get("/settings/thresholds")["all"] == {"error_rate_threshold": 3}
        accessible(page, "thresholds")

        sign_in(phone, server)
        phone.goto(f"{server.info['api_url']}/agents/Echo/upgrade?version=1.1.0&step=schedule")
        errors, latency = (phone.get_by_role("textbox", name=name) for name in ("Errors above", "95 % slower than"))
        expect(errors).to_have_value("3 %")
        expect(latency).to_have_value("300 ms")
        expect(phone.get_by_text("Default of all agents; now")).to_be_visible()
        expect(phone.get_by_text("Goes back by itself above 3 % errors, or above 300 ms")).to_be_visible()
        errors.fill("2")
        phone.reload()
        expect(errors).to_have_value("2 %", timeout=PATIENCE_MS)
        expect(latency).to_have_value("300 ms")
        accessible(phone, "limits of an upgrade")
        phone.get_by_role("button", name="Take the default limits").click()
        expect(errors).to_have_value("3 %")

        page.get_by_role("button", name="Remove those of Echo").click()
        page.get_by_role("textbox", name="Reason").fill("as all others")
        page.get_by_role("button", name="Remove them").click()
        expect(page.get_by_text("Every agent has those for all")).to_be_visible()
        with server.api() as api:
            assert api.put("/settings/thresholds", json={"thresholds": {}}).status_code == 200


def test_the_issue_tracker_that_is_set_up_is_tested_before_anybody_needs_it(browser: Browser, server: Server) -> None:
    with http_receiver() as receiver, watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/settings?part=integrations")
        page.get_by_role("combobox", name="Tracker").click()
        page.get_by_role("option", name="Webhook").click()
        page.get_by_role("textbox", name="Address").fill(f"{receiver.url}/hook")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("button", name="Test connection").click()
        expect(page.get_by_text(re.compile(r"^It answered in \d+ ms; nothing was opened there\.$"))).to_be_visible()
        (request,) = receiver.taken
        assert (request.method, request.path, request.json) == ("POST", "/hook", {"event": "test"})
        receiver.reply = lambda _: Reply(status=404)
        page.get_by_role("button", name="Test connection").click()
        expect(page.get_by_text("It cannot be used: the issue tracker answered 404")).to_be_visible()
        accessible(page, "a tracker that cannot be used")
        page.get_by_role("textbox", name="Address").fill(f"{receiver.url}/other")
        expect(page.get_by_role("button", name="Test connection")).to_have_attribute("aria-disabled", "true")
        page.get_by_role("combobox", name="Tracker").click()
        page.get_by_role("option", name=re.compile("^None")).click()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("button", name="Test connection")).to_have_count(0)


def write(page: Page, text: str) -> None:
    """In place of everything that stands in the editor."""
    page.get_by_role("textbox", name=re.compile("^Configuration of Tuned as ")).click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def test_a_hot_patch_is_one_document_as_form_and_as_text_and_its_secrets_are_in_neither(page: Page, server: Server) -> None:
    page.goto(f"{server.info['api_url']}/agents/Tuned/hot-patch")
    page.get_by_role("textbox", name="timeout_seconds", exact=True).fill("60")
    page.get_by_label("api_key").first.fill("a-secret-of-theirs")
    expect(page.get_by_label("workers")).to_be_disabled()
    expect(page.get_by_text("It is read at the start only.")).to_be_visible()
    expect(page.get_by_text("Valid; nothing is restarted")).to_be_visible(timeout=PATIENCE_MS)
    assert "a-secret-of-theirs" not in page.content()
    accessible(page, "hot patch, form")
    page.get_by_text("JSON", exact=True).click()
    editor = page.get_by_role("textbox", name="Configuration of Tuned as JSON")
    expect(editor).to_contain_text('"timeout_seconds": 60', timeout=PATIENCE_MS)
    assert "a-secret-of-theirs" not in page.content()
    expect(page.get_by_role("textbox", name="What changes in the configuration")).to_contain_text("(a new value)")
    accessible(page, "hot patch, JSON")
    write(page, "{")
    page.keyboard.press("Enter")
    page.keyboard.type("verb")
    choice = page.get_by_role("option", name=re.compile("verbose"))
    choice.click()
    for _ in range(20):  # in the moment in which its list was drawn the editor takes no click, and a slow machine draws it twice
        if '"verbose": ' in editor.inner_text() or not choice.is_visible():
            break
        choice.click()
    expect(editor).to_contain_text('"verbose": ')
    write(page, '{"verbose": true, "limits": {"most_tokens": 5000')
    page.get_by_text("YAML", exact=True).click()
    expect(page.get_by_role("alert").get_by_text("cannot be read yet")).to_be_visible()
    write(page, '{"verbose": true, "limits": {"most_tokens": 5000}}')
    page.get_by_text("YAML", exact=True).click()
    editor = page.get_by_role("textbox", name="Configuration of Tuned as YAML")
    expect(editor).to_contain_text("most_tokens: 5000", timeout=PATIENCE_MS)
    editor.click()
    page.keyboard.press("Tab")
    expect(editor).not_to_be_focused()
    page.get_by_text("Form", exact=True).click()
    expect(page.get_by_label("limits.most_tokens")).to_have_value("5000")
    expect(page.get_by_role("switch", name="verbose")).to_be_checked()
    page.get_by_role("link", name="Dashboard").click()
    expect(page.get_by_role("dialog", name="Leave what is not applied yet?")).to_be_visible()
    accessible(page, "leaving a hot patch")
    page.get_by_role("button", name="Leave and lose it").click()
    page.get_by_role("heading", name="Dashboard").wait_for()


def test_a_hot_patch_is_mended_at_its_line_rebased_refused_applied_and_brought_back(browser: Browser, server: Server) -> None:
    with browser.new_context() as context:  # not watched: what the server refuses is an error in the console
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/agents/Tuned/hot-patch?as=json")
        write(page, '{\n  "workers": 4,\n  "timeout_seconds": 700\n}')
        wrong = page.get_by_role("list", name="What is wrong, by line")
        expect(wrong.get_by_role("listitem").filter(has_text="300")).to_contain_text("Line 3", timeout=PATIENCE_MS)
        expect(page.locator(".cm-lintRange-error").first).to_contain_text("timeout_seconds")
        wrong.get_by_role("button", name="Line 3").click()
        expect(page.get_by_role("textbox", name="Configuration of Tuned as JSON")).to_be_focused()
        with server.api() as api:
            body = {"config_updates": {"verbose": True}, "reason": "theirs"}
            theirs = api.patch("/agents/Tuned/config", json=body).json()["config_version"]
        meanwhile = page.get_by_role("region", name="Somebody changed it meanwhile")
        expect(meanwhile).to_contain_text("theirs", timeout=PATIENCE_MS)
        expect(meanwhile.get_by_role("textbox", name="What somebody else changed")).to_contain_text("verbose: true")
        accessible(page, "changed meanwhile")
        meanwhile.get_by_role("button", name=f"Go on from {theirs}").click()
        expect(page.get_by_role("textbox", name="Configuration of Tuned as JSON")).to_contain_text('"timeout_seconds": 700')
        page.get_by_text("Form", exact=True).click()
        for value, ending in ((13, "Refused: nothing was applied anywhere"), (60, "3/3 acknowledged in")):
            page.get_by_role("textbox", name="timeout_seconds", exact=True).fill(str(value))
            page.get_by_role("textbox", name="Reason").fill("by hand")
            page.get_by_role("button", name="Apply hot patch").and_(page.locator(":not([aria-disabled])")).click()
            expect(page.get_by_text(ending)).to_be_visible(timeout=PATIENCE_MS)
            accessible(page, ending)
            if value == 13:
                expect(page.get_by_role("table", name="What each instance says")).to_contain_text("thirteen is bad luck")
                page.get_by_role("button", name="Back to the change").click()
        assert server.get("/agents/Tuned/config")["config"]["timeout_seconds"] == 60
        page.get_by_role("link", name="To the configuration").click()
        page.get_by_role("button", name=f"Bring {theirs} back").click()
        page.get_by_role("textbox", name="Reason").fill("not needed")
        page.get_by_role("dialog").get_by_role("button", name=f"Bring {theirs} back").click()
        expect(page.get_by_role("dialog")).to_have_count(0, timeout=PATIENCE_MS)
        assert server.get("/agents/Tuned/config")["config"]["timeout_seconds"] == 30


def test_what_an_entry_of_the_audit_changed_and_what_versions_say_differently_is_shown_as_difference(page: Page, server: Server) -> None:
    page.goto(f"{server.info['api_url']}/audit?agent=Tuned&type=config_patch")
    page.get_by_role("button", name=re.compile("not needed")).first.click()
    expect(page.get_by_role("textbox", name="Before and after")).to_contain_text("timeout_seconds: 60", timeout=PATIENCE_MS)
    accessible(page, "audit, before and after")
    page.goto(f"{server.info['api_url']}/agents/Tuned/compare?from=1.0.0&to=1.1.0")
    expect(page.get_by_role("textbox", name="Differences, configuration schema")).to_contain_text("retries", timeout=PATIENCE_MS)
    accessible(page, "compare, differences")


def test_several_agents_are_upgraded_one_after_the_other_and_the_rest_is_left_out_after_a_failure(browser: Browser, server: Server) -> None:
    source = an_agent(server, agent="Zebra", instances=1)
    a_version(source, "1.1.0")
    server.post("/agents/Zebra/versions/refresh", expect=200)
    a_version(server.folder / "source-Echo", "1.2.0", health=500)
    server.post("/agents/Echo/versions/refresh", expect=200)
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/agents")
        page.get_by_role("button", name="Choose the 3 with an update").click()
        page.get_by_role("button", name="Upgrade them").click()
        page.get_by_text("The newest of each").click()
        table = page.get_by_role("table", name="What each gets")
        expect(table.get_by_role("row", name=re.compile("Echo.*1.2.0"))).to_be_visible(timeout=PATIENCE_MS)
        accessible(page, "upgrading several")
        page.get_by_text("Planned", exact=True).click()
        page.get_by_role("textbox", name="Type 3 agents to confirm").fill("3 agents")
        page.get_by_role("button", name="Upgrade 3 agents").click()
        expect(page.get_by_text("1 failed, 2 left out")).to_be_visible(timeout=2 * PATIENCE_MS)
        accessible(page, "several upgrades")
        page.get_by_role("button", name="Put away").click()
    assert server.get("/agents/Zebra")["current_version"] == "1.0.0"
    assert server.get("/agents/Zebra/upgrades")["upgrades"][0]["to_version"] == "1.0.0"
    assert server.get("/agents/Echo/upgrades")["upgrades"][0]["status"] in ("rolled_back", "failed", "cancelled")


def test_an_agent_is_removed_by_who_types_its_name(browser: Browser, server: Server) -> None:
    """The last of this file: the others need it."""
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/agents/Echo")
        page.get_by_role("button", name="More").click()
        page.get_by_role("menuitem", name="Remove the agent").click()
        page.get_by_text("Not needed any more", exact=True).click()
        page.get_by_role("textbox", name="Type Echo to confirm").fill("Echo")
        accessible(page, "removing an agent")
        page.get_by_role("button", name="Remove it").click()
        page.get_by_role("heading", name="Agents", exact=True, level=1).wait_for()
        expect(page.get_by_role("row", name=re.compile("Echo"))).to_have_count(0, timeout=PATIENCE_MS)


def test_times_are_those_of_the_browser_or_utc_as_chosen(browser: Browser, server: Server) -> None:
    with watched(browser, server, zone="Asia/Tokyo") as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/settings?part=mine")
        started = page.get_by_role("table", name="Your sessions").locator("time").first
        expect(started).to_have_attribute("title", re.compile(r"\d\d:\d\d GMT\+9$"), timeout=PATIENCE_MS)
        page.get_by_text("UTC", exact=True).click()
        expect(page.get_by_role("radio", name="UTC")).to_be_checked(timeout=PATIENCE_MS)
        expect(started).to_have_attribute("title", re.compile(r"\d\d:\d\d UTC$"), timeout=PATIENCE_MS)
        page.get_by_text("As this browser (Asia/Tokyo)").click()
        expect(started).to_have_attribute("title", re.compile(r"GMT\+9$"), timeout=PATIENCE_MS)
