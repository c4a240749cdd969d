"""Several people and one agent: what one holds, the others see wherever they would act on it, wait for, and take over only as admins by its name."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS, sign_in, watched
from tests.browser.looks import accessible
from tests.e2e.harness import Server, a_version, an_agent

pytestmark = pytest.mark.timeout(600)

PASSWORD = "a long enough password"
FAR_SECONDS = 3000


@pytest.fixture(scope="module", autouse=True)
def agent(server: Server) -> None:
    source = an_agent(server, agent="Echo", instances=1)
    a_version(source, "1.1.0")
    a_version(source, "1.2.0")
    server.post("/agents/Echo/versions/refresh", expect=200)
    server.post("/users", {"name": "second", "role": "operator", "password": PASSWORD}, expect=201)


@pytest.fixture(scope="module")
def holder(server: Server) -> Iterator[httpx.Client]:
    """Somebody with a token of their own, who locks the agent and unlocks it."""
    token = server.post("/tokens", {"name": "night-watch", "role": "operator"}, expect=201)["token"]
    at = f"{server.info['api_url']}/api/platform/agents/Echo"
    with httpx.Client(base_url=at, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_MS / 1000) as client:
        yield client


def lock(holder: httpx.Client) -> None:
    holder.post("/lock", json={"reason": "migrating by hand"}).raise_for_status()


def as_second(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("textbox", name="Name").fill("second")
    page.locator("input[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_who_is_kept_off_sees_by_whom_in_the_steps_and_only_an_admin_takes_it_over_by_name(
    browser: Browser, server: Server, holder: httpx.Client
) -> None:
    lock(holder)
    steps = f"{server.info['api_url']}/agents/Echo/upgrade?version=1.1.0&step=start"
    with watched(browser, server) as admin, watched(browser, server, width=390, but="status of 401") as second:
        as_second(second, steps)
        banner = second.get_by_role("region", name="Lock")
        expect(banner).to_contain_text("Locked by night-watch", timeout=PATIENCE_MS)
        expect(banner).to_contain_text(re.compile(r"migrating by hand\. Since .+, until .+ what you answer here is kept\."))
        expect(banner.get_by_role("button", name="Take it over")).to_have_attribute("aria-disabled", "true")
        start = second.get_by_role("button", name="Start deployment")
        expect(start).to_have_attribute("aria-disabled", "true")
        start.hover()
        expect(second.get_by_role("tooltip", name="night-watch has it locked.")).to_be_visible(timeout=PATIENCE_MS)
        second.mouse.move(0, 0)
        expect(second.get_by_role("tooltip")).to_have_count(0)
        accessible(second, "the steps of somebody who is kept off")
        sign_in(admin, server)
        admin.goto(steps)
        admin.get_by_role("region", name="Lock").get_by_role("button", name="Take it over").click()
        dialog = admin.get_by_role("dialog", name="Take Echo over")
        dialog.get_by_text("Incident", exact=True).click()
        expect(dialog.get_by_role("button", name="Take it over")).to_be_disabled()
        dialog.get_by_role("textbox", name="Type Echo to confirm").fill("Echo")
        asked: list[str] = []
        admin.on(
            "request", lambda request: asked.append(request.method) if request.url.endswith("/lock") and request.method != "GET" else None
        )
        dialog.get_by_role("button", name="Take it over").click()
        expect(admin.get_by_text("Locked by you")).to_be_visible(timeout=PATIENCE_MS)
        expect(banner).to_contain_text("Locked by admin", timeout=PATIENCE_MS)
        assert asked == ["POST"], "one act: nobody finds it free in between"
        admin.get_by_role("button", name="Unlock").click()
        admin.get_by_text("Done", exact=True).click()
        admin.get_by_role("button", name="Unlock it").click()
        for each in (admin, second):
            expect(each.get_by_role("region", name="Lock")).to_have_count(0, timeout=PATIENCE_MS)


def test_who_comes_second_sees_what_is_under_way_queues_and_begins_when_it_is_over(
    browser: Browser, server: Server, holder: httpx.Client
) -> None:
    first = server.upgrade("1.1.0", blue_green={"steps": [25, 100], "monitor_seconds": FAR_SECONDS})
    server.stage(first, "monitor_metrics_25")
    with watched(browser, server) as admin, watched(browser, server, width=390, but="status of 401") as second:
        as_second(second, f"{server.info['api_url']}/agents/Echo/upgrade?version=1.2.0&step=schedule")
        before = second.get_by_role("region", name="Under way")
        expect(before).to_contain_text("admin is deploying 1.1.0", timeout=PATIENCE_MS)
        expect(before).to_contain_text(re.compile(r"a test\. Since .+, step \d+ of \d+\. Yours waits its turn and is next"))
        second.get_by_role("textbox", name="Reason").fill("after the other")
        second.get_by_role("button", name="Next").click()
        second.get_by_role("button", name="Start deployment").click()
        second.get_by_role("heading", name=re.compile("→ 1.2.0")).wait_for()
        mine = second.url.split("?")[0].rsplit("/", 1)[1]
        expect(before).to_contain_text("This waits its turn and is next", timeout=PATIENCE_MS)
        steer = second.get_by_role("group", name="Steer this deployment")
        expect(steer.get_by_role("button")).to_have_text(["Cancel"])
        accessible(second, "a deployment in the queue")

        sign_in(admin, server)
        admin.goto(f"{server.info['api_url']}/agents/Echo/deployments/{first}")
        expect(admin.get_by_role("region", name="Under way")).to_have_count(0)
        lock(holder)
        for each in (admin, second):
            expect(each.get_by_role("region", name="Lock")).to_contain_text("Locked by night-watch", timeout=PATIENCE_MS)
        advance = admin.get_by_role("button", name="Advance now")
        expect(advance).to_have_attribute("aria-disabled", "true")
        expect(admin.get_by_role("button", name="Pause")).to_be_enabled()
        accessible(admin, "a deployment of a locked agent")
        holder.delete("/lock").raise_for_status()
        expect(admin.get_by_role("region", name="Lock")).to_have_count(0, timeout=PATIENCE_MS)
        expect(advance).not_to_have_attribute("aria-disabled", "true")
        before.get_by_role("link", name="Watch it").click()
        second.get_by_role("heading", name=re.compile("→ 1.1.0")).wait_for()
        second.go_back()

        server.post(f"/agents/Echo/upgrades/{first}/promote", {"full": True, "reason": "enough"})
        assert server.outcome(first)["status"] == "completed"
        expect(second.get_by_text("In progress").or_(second.get_by_text("Completed")).first).to_be_visible(timeout=PATIENCE_MS)
        expect(before).to_have_count(0)
        server.stage(mine, "monitor_metrics_25")
        server.post(f"/agents/Echo/upgrades/{mine}/promote", {"full": True, "reason": "enough"})
        assert server.outcome(mine)["status"] == "completed"
        verbs = second.get_by_role("group", name="What can be done now").get_by_role("button")
        expect(verbs).to_have_text(["Roll back"], timeout=PATIENCE_MS)
        expect(second.get_by_role("button", name=re.compile("Pause|Resume|Advance now|Cancel"))).to_have_count(0)
        assert server.get("/agents/Echo")["current_version"] == "1.2.0"
