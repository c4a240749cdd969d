"""What the judge may rely on in every `Reports`: cumulative counts per generation and metric since a moment, and nothing made up."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_servicing.core.reports import Limit, Tally, generation_of
from agent_servicing.ports import Reports
from agent_servicing.store.reports import ReportRow, SqlReports, insert_reports
from agent_servicing.testing.clock import START, VirtualClock
from agent_servicing.testing.memory import MemoryReports
from tests.store_builders import add, an_agent, open_store

pytestmark = pytest.mark.anyio

AGENT = "WowMemory"
QUALITY, TOKENS = Limit(name="quality", below=0.7), Limit(name="tokens", above=4000)
Put = Callable[[int, str, float, datetime], Awaitable[None]]


@dataclass
class Harness:
    reports: Reports
    put: Put

    async def report(self, generation: int, metric: str, values: Sequence[float], at: datetime = START) -> None:
        for value in values:
            await self.put(generation, metric, value, at)


@asynccontextmanager
async def sql(where: Path | str) -> AsyncIterator[Harness]:
    async with open_store(where) as (database, _):
        await add(database, an_agent(AGENT))

        async def put(generation: int, metric: str, value: float, at: datetime) -> None:
            row = ReportRow(generation=generation, instance=f"g{generation}-1-1", metric=metric, value=value, at=at)
            async with database.write() as connection:
                await insert_reports(connection, AGENT, [row])

        yield Harness(SqlReports(database=database), put)


@asynccontextmanager
async def memory(where: Path | str) -> AsyncIterator[Harness]:
    reports = MemoryReports(VirtualClock())

    async def put(generation: int, metric: str, value: float, at: datetime) -> None:
        reports.values.setdefault(AGENT, []).append((generation, metric, value, at))

    yield Harness(reports, put)


HARNESSES: dict[str, Callable[[Path | str], AbstractAsyncContextManager[Harness]]] = {"sqlite": sql, "postgresql": sql, "memory": memory}


@pytest.fixture(params=HARNESSES)
async def harness(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Harness]:
    where = request.getfixturevalue("postgres_url") if request.param == "postgresql" else tmp_path
    async with HARNESSES[request.param](where) as opened:
        yield opened


async def test_values_beyond_the_limit_are_bad_and_those_at_it_are_not(harness: Harness) -> None:
    await harness.report(1, "quality", [0.9, 0.7, 0.69, 0.1])
    await harness.report(1, "tokens", [4000, 4000.5, 12])
    found = await harness.reports.tallies(AGENT, [QUALITY, TOKENS], START)
    assert found == {1: {"quality": Tally(total=4, bad=2), "tokens": Tally(total=3, bad=1)}}


async def test_generations_are_counted_apart(harness: Harness) -> None:
    await harness.report(1, "quality", [0.9])
    await harness.report(12, "quality", [0.1, 0.2])
    found = await harness.reports.tallies(AGENT, [QUALITY], START)
    assert found == {1: {"quality": Tally(total=1, bad=0)}, 12: {"quality": Tally(total=2, bad=2)}}


async def test_only_what_was_observed_since_the_moment_counts(harness: Harness) -> None:
    for second in (-1, 0, 1):
        await harness.report(1, "quality", [0.5], START + timedelta(seconds=second))
    assert await harness.reports.tallies(AGENT, [QUALITY], START) == {1: {"quality": Tally(total=2, bad=2)}}


async def test_counts_go_up_as_values_arrive_late_ones_too(harness: Harness) -> None:
    for arrived in range(1, 4):
        await harness.report(1, "quality", [0.5], START + timedelta(seconds=10 - arrived))
        await harness.report(2, "tokens", [5000])
        found = await harness.reports.tallies(AGENT, [QUALITY, TOKENS], START)
        assert found == {1: {"quality": Tally(total=arrived, bad=arrived)}, 2: {"tokens": Tally(total=arrived, bad=arrived)}}
        assert await harness.reports.tallies(AGENT, [QUALITY, TOKENS], START) == found
    assert await harness.reports.tallies(AGENT, [QUALITY], START + timedelta(seconds=8)) == {1: {"quality": Tally(total=2, bad=2)}}


async def test_what_nobody_asks_for_or_reports_is_absent(harness: Harness) -> None:
    await harness.report(1, "cost", [1.0])
    assert await harness.reports.tallies(AGENT, [], START) == {}
    assert await harness.reports.tallies(AGENT, [QUALITY], START) == {}
    assert await harness.reports.tallies("Other", [Limit(name="cost")], START) == {}
    assert await harness.reports.tallies(AGENT, [Limit(name="cost")], START) == {1: {"cost": Tally(total=1, bad=0)}}


async def test_a_limit_may_have_two_sides(harness: Harness) -> None:
    await harness.report(3, "length", [1, 5, 10])
    limit = Limit(name="length", above=9, below=2)
    assert await harness.reports.tallies(AGENT, [limit], START) == {3: {"length": Tally(total=3, bad=2)}}


@given(st.integers(1, 999_999_999), st.integers(0, 128), st.integers(0, 10_000))
def test_the_generation_follows_from_the_name_of_an_instance(generation: int, place: int, attempt: int) -> None:
    assert generation_of(f"g{generation}-{place}-{attempt}") == generation


@pytest.mark.parametrize(
    "name", ["", "g", "g1", "g1-1", "g0-1-1", "g01-1-1", "x1-1-1", "g1-1-1 ", "g1-1-1-1", "g-1-1-1", "g" + "9" * 30 + "-1-1"]
)
def test_what_is_no_name_of_an_instance_has_no_generation(name: str) -> None:
    assert generation_of(name) is None
