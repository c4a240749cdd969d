"""How much a first visitor waits for, in bytes of what the built page loads first; and no style was forgotten to make it small."""

import gzip
import re
from pathlib import Path

from agent_servicing.web.page import STATIC

UI = Path(__file__).parents[2] / "ui"
FIRST_PAGE_BYTES = 240_000
LAZY_CHUNK_BYTES = 60_000
"""No screen may bring more than this of its own."""
EDITOR_BYTES = 130_000
"""But for the one part that shows text with a syntax, which comes when there is something to edit or to compare."""


def packed(name: str) -> int:
    return len(gzip.compress((STATIC / name).read_bytes()))


def of_first_page() -> set[str]:
    """What the document names, and what that imports without being asked."""
    found = set(re.findall(r'(?:src|href)="/?(assets/[^"]+)"', (STATIC / "index.html").read_text()))
    left = [name for name in found if name.endswith(".js")]
    while left:
        for name in re.findall(r'(?:from|import)\s*"\./([^"]+\.js)"', (STATIC / left.pop()).read_text()):
            if (whole := f"assets/{name}") not in found:
                found.add(whole)
                left.append(whole)
    return found


def test_the_first_page_stays_within_its_budget() -> None:
    sizes = {name: packed(name) for name in of_first_page()}
    assert {name.rsplit(".", 1)[1] for name in sizes} == {"js", "css"}, sizes
    assert sum(sizes.values()) <= FIRST_PAGE_BYTES, (sum(sizes.values()), sizes)


def test_no_screen_brings_too_much_of_its_own() -> None:
    first = of_first_page()
    big = {f.name: packed(f"assets/{f.name}") for f in (STATIC / "assets").iterdir() if f"assets/{f.name}" not in first}
    text = {name: size for name, size in big.items() if "cm-scroller" in (STATIC / "assets" / name).read_text()}
    assert 0 < max(text.values()) <= EDITOR_BYTES, text
    assert all(size <= LAZY_CHUNK_BYTES for name, size in big.items() if name not in text), big


def test_every_part_of_the_kit_that_is_used_has_its_style() -> None:
    styles = UI / "node_modules/@mantine/core/styles"
    used: set[str] = set()
    for source in (UI / "src").rglob("*.tsx"):
        for names in re.findall(r"import \{([^}]*)\} from \"@mantine/core\"", source.read_text()):
            used |= {name.strip().removeprefix("type ") for name in names.split(",")}
    held = set(re.findall(r"styles/(\w+)\.css", (UI / "src/theme/mantine.ts").read_text()))
    assert len(used) > 20
    assert not {name for name in used if (styles / f"{name}.css").exists()} - held
