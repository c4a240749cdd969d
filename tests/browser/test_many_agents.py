"""Five hundred agents: every one of them is found, no list grows with them, and a storm of events does not become a storm of requests.

The server is real, its agents are pretended (`benchmarks/pretended_server.py`).
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from agent_servicing.adapters.system import SystemClock
from tests.browser.conftest import PATIENCE_MS, watched
from tests.browser.looks import accessible

pytestmark = pytest.mark.timeout(900)

AGENTS = 500
PROGRAM = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "pretended_server.py"
STORM = 120
"""Events, from as many agents."""


@dataclass
class Many:
    """What `watched` needs of a server."""

    info: dict[str, str]
    http: httpx.Client

    def enter(self, page: Page) -> None:
        link = self.http.post("/tokens/sign-in").raise_for_status().json()
        page.goto(f"{self.info['api_url']}/sign-in#{link['sign_in_token']}")
        page.get_by_role("heading", name="Dashboard").wait_for()


@pytest.fixture(scope="module")
def many() -> Iterator[Many]:
    words = [sys.executable, str(PROGRAM), "--copies", str(AGENTS), "--of-an-agent", "1"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        ready: dict[str, Any] = json.loads(process.stdout.readline())
        address = f"http://127.0.0.1:{ready['port']}"
        headers = {"Authorization": f"Bearer {ready['admin']}"}
        with httpx.Client(base_url=f"{address}/api/platform", headers=headers, timeout=60) as http:
            yield Many(info={"api_url": address}, http=http)
        process.communicate("", timeout=60)


def test_each_of_five_hundred_is_found_and_no_list_grows_with_them(browser: Browser, many: Many) -> None:
    with watched(browser, many) as page, watched(browser, many, scheme="dark", width=390) as phone:  # type: ignore[arg-type]
        for each in (page, phone):
            many.enter(each)
            expect(each.get_by_text(f"{AGENTS} agents, {AGENTS} of {AGENTS} instances ready")).to_be_visible(timeout=PATIENCE_MS)
            table = each.get_by_role("table", name="Agents")
            expect(table.get_by_role("row")).to_have_count(1 + 20, timeout=PATIENCE_MS)
            each.get_by_role("link", name=f"All {AGENTS}").click()
            expect(each.get_by_role("heading", name=f"{AGENTS} agents")).to_be_visible(timeout=PATIENCE_MS)
            expect(table.get_by_role("row")).to_have_count(1 + 50, timeout=PATIENCE_MS)
            accessible(each, "agents")
        each_name = set()
        for _ in range(AGENTS // 50):
            rows = table_names(page)
            assert len(rows) == 50
            each_name |= rows
            following = page.get_by_role("button", name="Next page")
            if not following.count():
                break
            following.click()
            expect(page.get_by_role("rowheader", name=min(rows)).first).to_have_count(0, timeout=PATIENCE_MS)
        assert each_name == {f"Agent{number}" for number in range(AGENTS)}
        page.get_by_role("textbox", name="Search").fill("number 437 team-3")
        expect(page.get_by_role("heading", name=re.compile("^1 agent"))).to_be_visible(timeout=PATIENCE_MS)
        expect(page).to_have_url(re.compile("q=number"))
        assert table_names(page) == {"Agent437"}
        page.reload()
        expect(page.get_by_role("link", name="Agent437", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        page.keyboard.press("Control+k")
        page.get_by_role("dialog").get_by_role("combobox").fill("agent499 upg")
        expect(page.get_by_role("option", name="Agent499: upgrade")).to_be_visible(timeout=PATIENCE_MS)


def test_all_deployments_of_five_hundred_agents_are_one_request(browser: Browser, many: Many) -> None:
    with watched(browser, many) as page:  # type: ignore[arg-type]
        many.enter(page)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/api/platform/" in request.url else None)
        page.goto(f"{many.info['api_url']}/deployments?state=over")
        table = page.get_by_role("table", name="Deployments of all agents")
        expect(table.get_by_role("row")).to_have_count(1 + 50, timeout=PATIENCE_MS)
        # Once more when the live connection stands: what happened between the first answer and that would be missed.
        # Of the dashboard, which was left, something may still be on its way.
        assert 1 <= len([url for url in asked if "/api/platform/deployments?" in url and "state=over" in url]) <= 2
        assert not [url for url in asked if re.search(r"/agents/|/upgrades", url)]
        first = table.get_by_role("row").nth(1).inner_text()
        page.get_by_role("button", name="Next page").click()
        expect(page).to_have_url(re.compile("after="))
        expect(table.get_by_role("row").nth(1)).not_to_have_text(first, timeout=PATIENCE_MS)
        expect(table.get_by_role("row")).to_have_count(1 + 50)


def test_a_storm_of_events_does_not_become_a_storm_of_requests(browser: Browser, many: Many) -> None:
    with watched(browser, many) as page:  # type: ignore[arg-type]
        heard: list[str] = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: heard.append(str(frame))))
        many.enter(page)
        expect(page.get_by_role("status").get_by_text("Live")).to_be_visible(timeout=PATIENCE_MS)
        lists: list[str] = []
        page.on("request", lambda request: lists.append(request.url) if "/api/platform/agents?limit=20" in request.url else None)
        clock, before = SystemClock(), len(heard)
        begun = clock.monotonic()
        for number in range(STORM):
            many.http.post(f"/agents/Agent{number}/scale", json={"instances": 2, "reason": "a storm"}).raise_for_status()
        expect(page.locator("body")).to_contain_text("Agent119", timeout=PATIENCE_MS)
        while len(heard) - before < STORM:
            page.wait_for_timeout(50)
        took = clock.monotonic() - begun
        assert lists, "what changed was not asked for"
        assert len(lists) <= 2 + took, f"{len(lists)} requests for one list in {took:.0f} s, with {len(heard) - before} events"


def table_names(page: Page) -> set[str]:
    links = page.get_by_role("table", name="Agents").get_by_role("rowheader").get_by_role("link")
    return set(links.all_inner_texts())
