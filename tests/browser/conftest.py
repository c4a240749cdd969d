"""A real server, a real browser, and a page that is watched: an error in the console, a broken policy or a foreign request fails the test."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from agent_servicing.web.page import STATIC
from tests.e2e.harness import Server, a_server

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
WATCH_POLICY = (
    "document.addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective + ' ' + e.blockedURI))"
)
PATIENCE_MS = 60_000
GONE = r"Failed to load resource: net::ERR|WebSocket connection to"
"""What the console says of a server that a test took away."""
expect.set_options(timeout=PATIENCE_MS)


def chromium() -> str:
    """Where the browser is; `scripts/screenshots.py` asks too."""
    path = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium")
    assert path, "no Chromium: `make test` installs one where it may, else name one in CHROMIUM_PATH"
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """No longer than a module: Playwright's event loop runs in this thread, and no test that needs one of its own can begin meanwhile."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=FLAGS.split())
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    assert (STATIC / "index.html").exists(), "the page is not built: make page"
    with a_server(tmp_path_factory.mktemp("browser")) as running:
        yield running


@contextmanager
def watched(
    browser: Browser, server: Server, *, scheme: str = "light", width: int = 1440, but: str = "$^", zone: str | None = None
) -> Iterator[Page]:
    """A page of a new visitor, in a time zone; whatever went wrong in it is told at its end, but what a test brings about (a regular expression)."""
    wrong: list[str] = []
    home = urlsplit(server.info["api_url"]).netloc
    looks = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}, "timezone_id": zone}
    with browser.new_context(**looks) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(WATCH_POLICY)
        page.on("console", lambda said: wrong.append(f"console: {said.text}") if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("request", lambda request: None if urlsplit(request.url).netloc == home else wrong.append(f"foreign: {request.url}"))
        yield page
        page.unroute_all(behavior="ignoreErrors")  # what is on its way when the page closes is nobody's any more
    wrong = [each for each in wrong if not re.search(but, each)]
    assert not wrong, wrong


def sign_in(page: Page, server: Server) -> None:
    """By the one-time link that the command prints."""
    page.goto(server.post("/tokens/sign-in", expect=201)["url"])
    page.get_by_role("heading", name="Dashboard").wait_for()


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """Signed in."""
    with watched(browser, server) as opened:
        sign_in(opened, server)
        yield opened
