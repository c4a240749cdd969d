"""How the tests of the page look at what is shown: whether everybody can use it."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE_MS

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def accessible(page: Page, where: str) -> None:
    """Once everything that was asked for is there."""
    expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=PATIENCE_MS)
    found = Axe().run(page, options=RULES).response["violations"]
    assert not found, (where, [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in found])
