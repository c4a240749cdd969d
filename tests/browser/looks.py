"""How the tests of the page look at what is shown: whether everybody can use it."""

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE_MS

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
OUT_OF_REACH = """() => {
    const acts = [...document.querySelectorAll('table button, table a, table input')].map(act => [act, act.getBoundingClientRect()]);
    return [acts.length, acts.filter(([_, box]) => box.left < 0 || box.right > innerWidth).map(([act]) => act.textContent || act.ariaLabel)];
}"""
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def accessible(page: Page, where: str) -> None:
    """Once everything that was asked for is there, in both schemes of colours: the page follows the system's at once."""
    expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=PATIENCE_MS)
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        expect(page.locator(f"html[data-mantine-color-scheme={scheme}]")).to_be_attached()
        found = Axe().run(page, options=RULES).response["violations"]
        assert not found, (where, scheme, [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in found])


def within_reach(page: Page) -> None:
    """Every act in a table is there without scrolling sideways, and there is at least one."""
    expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=PATIENCE_MS)
    many, outside = page.evaluate(OUT_OF_REACH)
    assert many, page.url
    assert not outside, (page.url, outside)
