"""What people are told of: withdrawn versions that run, and links that lead somewhere."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent_servicing.core.events import SYSTEM, Event
from agent_servicing.core.notices import KINDS, notice, told_types

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROUTER = Path(__file__).parents[2] / "ui/src/app/router.tsx"
ADDRESSES = [re.sub(r"\$\w+", "[^/]+", path) for path in re.findall(r'path: "([^"]+)"', ROUTER.read_text()) if "$tab" not in path]
TABS = set(re.findall(r'"(\w+)"', re.search(r"const TABS = (.*);", ROUTER.read_text())[1]))  # type: ignore[index] (it is there, or all of this is wrong)
SETTINGS = set(re.findall(r'"(\w+)"', re.search(r"const SETTINGS = \[(.*?)\]", (ROUTER.parent / "search.ts").read_text(), re.DOTALL)[1]))  # type: ignore[index] (as above)


def happened(kind: str, **data: object) -> Event:
    return Event(type=kind, at=NOON, agent="WowMemory", actor="grace", reason="it leaks", data={"version": "1.2.5", **data})


@pytest.mark.parametrize("deployment", [None, "upg-1"])
@pytest.mark.parametrize("kind", told_types())
def test_a_notice_leads_to_where_the_page_shows_it(kind: str, deployment: str | None) -> None:
    event = happened(kind, status="failed", running=True, run_id="stg-1", target="ops", issue_id="iss-1")
    found = notice(replace(event, deployment=deployment, actor=SYSTEM))
    assert found is not None
    path, _, query = found.link.partition("?")
    assert [address for address in ADDRESSES if re.fullmatch(address, path)], found.link
    assert query in {"", *(f"tab={tab}" for tab in TABS), *(f"part={part}" for part in SETTINGS)}


def test_the_page_offers_every_kind_for_a_rule_and_no_other() -> None:
    page = ROUTER.parents[1] / "features/settings/kinds.ts"
    assert re.findall(r'^  "(\w+)",$', page.read_text(), re.MULTILINE) == list(KINDS)


def test_a_withdrawn_version_is_told_where_it_runs_and_nowhere_else() -> None:
    found = notice(happened("version_withdrawn", running=True))
    assert found is not None
    assert (found.kind, found.title) == ("version_withdrawn", "WowMemory runs v1.2.5, which was withdrawn")
    assert "it leaks" in found.message
    assert notice(happened("version_withdrawn", running=False)) is None
