"""A server that nobody knows yet: its first admin is made, finds an empty dashboard, stays admin, sees chosen
colours from the first paint, and takes the history along."""

import csv
import io
import json
import re
import struct
import zlib
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import PATIENCE_MS, sign_in, watched
from tests.browser.looks import accessible
from tests.e2e.harness import Server, wait_for

pytestmark = pytest.mark.timeout(600)

NAME, PASSWORD = "ada", "correct horse battery"
REFUSED = r"Failed to load resource: the server responded with a status of 4(01|09)"
FORMULA, MARKUP, ROUNDS = "=cmd|' /C calc'!A0 in round 0", "<img src=x onerror=\"document.title='owned'\"> in round 0", 26
FIRST_ADMIN = re.compile(r"first admin\s+(\S+), with the set-up token in (\S+)")


def said_by_the_server(server: Server) -> tuple[str, Path]:
    """Where the first admin is made, and the file with what is needed for it, as `servicing serve` prints both."""
    found = wait_for("what the server says once it is ready", lambda: FIRST_ADMIN.search(server.log()))
    return found[1], Path(found[2])


def test_the_first_admin_is_made_with_what_the_server_printed_and_sees_what_to_do_next(browser: Browser, server: Server) -> None:
    address, file = said_by_the_server(server)
    with watched(browser, server, but=REFUSED) as page:
        page.goto(address)
        expect(page.get_by_role("heading", level=1, name="Make the first admin")).to_be_visible()
        accessible(page, "the first admin")
        page.get_by_label("Set-up token").fill("a guess")
        page.get_by_label("Name").fill(NAME)
        page.locator("input[name=password]").fill(PASSWORD)
        page.get_by_role("button", name="Make it and sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("This is not the set-up token.")
        expect(page.get_by_label("Name")).to_have_value(NAME)
        page.get_by_label("Set-up token").fill(file.read_text().strip())
        page.get_by_role("button", name="Make it and sign in").click()
        expect(page.get_by_role("heading", level=1, name="Dashboard")).to_be_visible()
        expect(page).to_have_url(server.info["api_url"] + "/")
        agents = page.get_by_role("region", name="Agents", exact=True)
        expect(agents).to_contain_text("No agent yet")
        expect(agents).to_contain_text("servicing agent add path/to/agent.toml --wait")
        expect(agents).to_contain_text(re.compile("four sample agents.*servicing demo.*make demo"))
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name=NAME, exact=True)).to_be_visible()
        expect(page.get_by_role("region", name="What was done")).to_contain_text(re.compile(r"User created.*(just now|ago)"))
        assert not file.exists(), "the token works once"
        first = server.get("/users")["users"]
        assert [(user["name"], user["role"]) for user in first] == [(NAME, "admin")]
    with watched(browser, server) as other:
        other.goto(address)
        expect(other.get_by_role("heading", level=1, name="Agent Servicing")).to_be_visible()
        expect(other.get_by_label("Set-up token")).to_have_count(0)


def test_the_last_admin_can_be_neither_disabled_nor_made_less(browser: Browser, server: Server) -> None:
    with watched(browser, server, but=REFUSED) as page:
        sign_in(page, server)  # by the token of the data directory: for it, ada is somebody else
        page.goto(f"{server.info['api_url']}/settings?part=users")
        row = page.get_by_role("row", name=re.compile(NAME))
        row.get_by_role("button", name="Disable").click()
        page.get_by_role("dialog").get_by_role("button", name="Disable").click()
        expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("ada is the last admin.")
        accessible(page, "the last admin")
        page.keyboard.press("Escape")
        role = row.get_by_role("combobox", name=f"Role of {NAME}")
        role.click()
        page.get_by_role("option", name=re.compile("^Viewer")).click()
        expect(page.get_by_role("alert")).to_contain_text("ada is the last admin.")
        expect(role).to_have_value(re.compile("^Admin"))
        expect(row).to_contain_text("Active")
    assert server.get(f"/users/{NAME}")["role"] == "admin"


def colour(page: Page) -> tuple[int, ...]:
    """What is painted in the middle of the page now: a picture of one pixel is small enough to be read by hand."""
    picture = page.screenshot(clip={"x": 700, "y": 700, "width": 1, "height": 1})
    at, packed = 8, b""
    while at < len(picture):
        length, kind = struct.unpack(">I4s", picture[at : at + 8])
        packed += picture[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    return tuple(zlib.decompress(packed)[1:4])


@pytest.mark.parametrize(("system", "chosen"), [("light", "Dark"), ("dark", "Light")])
def test_the_colours_that_were_chosen_are_there_at_the_first_paint(browser: Browser, server: Server, system: str, chosen: str) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    with watched(browser, server, scheme=system) as page:
        sign_in(page, server)
        page.get_by_role("button", name="Colours").click()
        page.get_by_role("menuitem", name=chosen).click()
        expect(page.locator(f"html[data-mantine-color-scheme={chosen.lower()}]")).to_be_attached()
        page.keyboard.press("Escape")
        painted = colour(page)
        assert (max(painted) < 128) == (chosen == "Dark"), painted
        page.route("**/assets/index-*.js", hold)
        page.reload(wait_until="commit")
        expect(page.locator("#root")).to_be_empty()
        expect(page.locator("body")).to_have_css("margin", "0px")  # the style sheet is there; a page without has a margin
        assert colour(page) == painted, "before a line of the page's own program has run"
        for route in held:
            route.continue_()
        expect(page.get_by_role("heading", name="Dashboard")).to_be_visible(timeout=PATIENCE_MS)
        assert colour(page) == painted


def downloaded(page: Page, name: str) -> str:
    with page.expect_download() as begun:
        page.get_by_role("link", name=name).click()
    return begun.value.path().read_text()


def test_the_history_is_filtered_by_its_address_and_taken_along_as_it_is_shown(browser: Browser, server: Server) -> None:
    for number in range(ROUNDS + 1):
        server.post("/schedule/stop", {"reason": f"in round {number}" if number else FORMULA}, expect=200)
        server.post("/schedule/resume", {"reason": f"in round {number}" if number else MARKUP}, expect=200)
    with watched(browser, server) as page:
        sign_in(page, server)
        page.goto(f"{server.info['api_url']}/audit")
        entries = page.get_by_role("region", name="Entries").get_by_role("button", name=re.compile("in round"))
        page.get_by_role("combobox", name="Kind").click()
        page.get_by_role("option", name="line stopped").click()
        page.get_by_role("textbox", name="Reason says").fill("in round")
        expect(entries).to_have_count(ROUNDS + 1)
        expect(page).to_have_url(re.compile(r"type=line_stopped.*says=in"))
        page.reload()
        expect(page.get_by_role("combobox", name="Kind")).to_have_value("line stopped")
        expect(entries).to_have_count(ROUNDS + 1)
        page.get_by_role("combobox", name="Kind").click()
        page.get_by_role("option", name="line stopped").click()  # once more: any
        page.get_by_role("button", name="Older ones").click()
        expect(entries).to_have_count(2 * (ROUNDS + 1))
        expect(page.get_by_text(FORMULA)).to_have_count(1)
        expect(page.get_by_text(MARKUP)).to_have_count(1)
        expect(page.locator("img[src=x]")).to_have_count(0)
        rows = list(csv.DictReader(io.StringIO(downloaded(page, "Export CSV"))))
        whole = json.loads(downloaded(page, "Export JSON"))["events"]
        assert [row["event_id"] for row in rows] == [event["event_id"] for event in whole]
        assert len(rows) == entries.count()
        assert [row["reason"] for row in rows[-2:]] == [MARKUP, f"'{FORMULA}"], "a spreadsheet runs no text"
        assert [event["reason"] for event in whole[-2:]] == [MARKUP, FORMULA]
        page.get_by_label("To", exact=True).fill("2020-01-01")
        expect(page.get_by_text("No entry is like that")).to_be_visible()
        accessible(page, "nothing found in the audit")
        page.get_by_role("button", name="Show all").click()
        expect(page).to_have_url(re.compile("/audit$"))
        expect(page.get_by_role("button", name=re.compile("^Audit exported")).first).to_be_visible()
