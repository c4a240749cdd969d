"""What is looked up on the event loop's thread is found by its keys, however long the history has become."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, ApiWorld

pytestmark = pytest.mark.anyio

AGENTS_OWN = ("", "/instances", "/versions", "/upgrades", "/config", "/metrics", "/generations")
COUNTS = re.compile(r"SELECT count\(\*\)")
"""Of deployments under way or waiting, by the index of their status: there are never many of those."""


@pytest.fixture
def looked(api_world: ApiWorld) -> list[tuple[str, Any]]:
    """Every statement of a glance, with its parameters."""
    found: list[tuple[str, Any]] = []
    engine: AsyncEngine = api_world.database._glancer

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        found.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    return found


async def test_no_glance_reads_a_whole_table_or_what_other_agents_did(
    api_world: ApiWorld, looked: list[tuple[str, Any]], tmp_path: Path
) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        begun = await api_world.upgrade(client)
        for _ in range(3):
            await api_world.turn()
        paths = [f"agents/{AGENT}{own}" for own in AGENTS_OWN] + [
            f"agents/{AGENT}/upgrades/{begun['upgrade_id']}",
            "schedule",
            "deployments",
        ]
        for path in [*paths, "deployments?state=open"]:
            assert (await client.get(f"{PREFIX}/{path}")).status_code == 200, path
    statements = dict(looked)
    assert len(statements) > 10
    assert slow(tmp_path, statements) == {}


async def test_an_agent_of_which_nothing_is_written_is_not_looked_up_again_and_one_for_which_something_waits_is(
    api_world: ApiWorld, looked: list[tuple[str, Any]]
) -> None:
    known = api_world.store.known
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        states = [await known.get(AGENT)]
        looked.clear()
        states += [await known.get(AGENT), await known.get(AGENT)]
        assert looked == []
        assert states[0] is states[1] is states[2] is not None
        await api_world.upgrade(client)
        waiting = await known.get(AGENT)
        assert waiting is not None
        assert len(waiting.deployments) == 1
        looked.clear()
        assert await known.get(AGENT) == waiting
        assert looked
    assert await known.get("Nobody") is None


def slow(folder: Path, statements: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Those whose plan reads more than it is asked for."""
    [file] = folder.rglob("test.db")
    found = {}
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        for statement, parameters in statements.items():
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            scans = any(step.startswith("SCAN ") and step not in ("SCAN line", "SCAN CONSTANT ROW") for step in plan)
            others = not COUNTS.search(statement) and any("deployments_status" in step for step in plan)
            if scans or others:
                found[statement] = plan
    return found
