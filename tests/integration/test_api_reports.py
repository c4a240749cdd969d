"""Reported metrics over HTTP and in the database: who may report what, what is refused, what is kept, and how it is summed up."""

import json
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from statistics import mean
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text

from agent_servicing.core.analysis import Tally
from agent_servicing.core.reports import Limit
from agent_servicing.services.reports import METRICS_MAX, VALUES_MAX, AgentReports, Report
from agent_servicing.store.reports import ReportRow, SqlReports, insert_reports, tallies_query
from agent_servicing.store.tables import reports
from agent_servicing.testing.clock import START
from agent_servicing.web.app import PREFIX
from agent_servicing.web.auth import ANYONE, INSTANCE
from tests.integration import process_world
from tests.integration.api_world import AGENT, MANIFEST, ApiWorld
from tests.integration.verification_world import data_plane
from tests.store_builders import add, an_agent, open_store, sqlite_url

pytestmark = pytest.mark.anyio

PATH = f"{PREFIX}/agents/{AGENT}/reports"
OTHER = "WowCache"


def body(*values: float, metric: str = "quality", **more: Any) -> dict[str, Any]:
    return {"values": [{"metric": metric, "value": value} for value in values], **more}


@pytest.fixture
async def serving(api_world: ApiWorld) -> ApiWorld:
    """The agent serves with two instances, g1-1-1 and g1-2-2; another agent serves too."""
    async with api_world.client(api_world.admin_token) as admin:
        await api_world.add(admin)
        other = await admin.post(f"{PREFIX}/agents", json={"manifest": MANIFEST.replace(AGENT, OTHER), "version": "1.2.5"})
        await api_world.until(admin, other.json()["upgrade_id"], "completed", agent=OTHER)
    return api_world


@asynccontextmanager
async def instance(world: ApiWorld, name: str = "g1-1-1", agent: str = AGENT) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the token of that instance."""
    assert world.runtime.processes[agent][name].alive
    async with world.client(world.runtime.token_of(agent, name)) as client:
        yield client


async def stored(world: ApiWorld) -> list[tuple[str, int, str, str, float]]:
    async with world.database.read() as connection:
        rows = await connection.execute(select(reports).order_by(reports.c.number))
        return [(row.agent, row.generation, row.instance, row.metric, row.value) for row in rows]


# --- who may ---


async def test_an_instance_reports_on_itself_with_its_own_token(serving: ApiWorld) -> None:
    async with instance(serving, "g1-2-2") as client:
        answer = await client.post(PATH, json=body(0.93, 0.5))
        assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
        assert (await client.post(PATH, json=body(7, metric="tokens", instance="g1-2-2"))).status_code == 202
    assert await stored(serving) == [
        (AGENT, 1, "g1-2-2", "quality", 0.93),
        (AGENT, 1, "g1-2-2", "quality", 0.5),
        (AGENT, 1, "g1-2-2", "tokens", 7.0),
    ]


async def test_an_instance_cannot_report_for_another_one_nor_for_another_agent(serving: ApiWorld) -> None:
    async with instance(serving) as client:
        answer = await client.post(PATH, json=body(1, instance="g1-2-2"))
        assert (answer.status_code, answer.json()["code"]) == (403, "denied")
        answer = await client.post(f"{PREFIX}/agents/{OTHER}/reports", json=body(1))
        assert (answer.status_code, answer.json()["code"]) == (403, "agent_out_of_reach")
    async with instance(serving, "g1-1-1", OTHER) as client:
        assert (await client.post(PATH, json=body(1))).status_code == 403
    assert await stored(serving) == []


async def test_the_token_of_an_instance_opens_nothing_else(serving: ApiWorld) -> None:
    operations = [
        (method.upper(), path.replace("{agent_id}", AGENT))
        for path, found in serving.app.openapi()["paths"].items()
        for method, operation in found.items()
        if path.startswith(PREFIX) and operation["x-required-role"] not in {INSTANCE, ANYONE}
    ]
    assert len(operations) > 20
    async with instance(serving) as client:
        for method, path in operations:
            answer = await client.request(method, path, json={})
            assert answer.status_code == (422 if (method, path) == ("POST", PATH) else 401), (method, path)
        for path in (f"{PATH}/", f"{PREFIX}/agents/{AGENT}/x/reports", f"{PREFIX}/agents//reports", "/metrics"):
            assert (await client.post(path, json=body(1))).status_code == 401, path


async def test_the_token_of_a_stopped_instance_is_refused(serving: ApiWorld) -> None:
    async with instance(serving) as client:
        assert (await client.post(PATH, json=body(1))).status_code == 202
        serving.runtime.crash(AGENT, "g1-1-1")
        answer = await client.post(PATH, json=body(1))
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_operators_report_for_an_instance_viewers_and_strangers_do_not(serving: ApiWorld) -> None:
    for token, status, code in (
        (None, 401, "unauthenticated"),
        ("token-of-nobody", 401, "unauthenticated"),
        (await serving.token("viewer"), 403, "role_too_low"),
        (await serving.token("operator", [OTHER]), 403, "agent_out_of_reach"),
    ):
        async with serving.client(token) as client:
            answer = await client.post(PATH, json=body(1, instance="g1-1-1"))
            assert (answer.status_code, answer.json()["code"]) == (status, code)
    async with serving.client(await serving.token("operator", [AGENT])) as client:
        assert (await client.post(PATH, json=body(1, instance="g1-1-1"))).status_code == 202
        missing = await client.post(PATH, json=body(1))
        assert (missing.status_code, missing.json()["code"]) == (422, "instance_missing")
        for name in ("g9-1-1", "elsewhere", "g1-1-1' or 1=1"):
            unknown = await client.post(PATH, json=body(1, instance=name))
            assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_instance")
            assert "g1-1-1" in unknown.json()["hint"]
        # Judged after it crashed and was replaced: its generation is still there.
        assert (await client.post(PATH, json=body(1, instance="g1-1-7"))).status_code == 202
    async with serving.client(serving.admin_token) as client:
        unknown = await client.post(f"{PREFIX}/agents/Nobody/reports", json=body(1, instance="g1-1-1"))
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_agent")


# --- what is refused ---


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"metric": "Quality"}, "metric"),
    ({"metric": "q" * 64}, "metric"),
    ({"metric": "quality\n"}, "metric"),
    ({"value": "1"}, "value"),
    ({"value": True}, "value"),
    ({"value": None}, "value"),
    ({"value": 2e15}, "value"),
    ({"value": 10**400}, "value"),
    ({"unit": "eur"}, "unit"),
    ({"at": "2026-01-01T00:00:00"}, "at"),
    ({"at": "2036-01-01T00:00:00Z"}, "at"),
    ({"at": "2025-01-01T00:00:00Z"}, "at"),
]


async def test_what_cannot_be_is_refused_by_name_and_nothing_is_kept(serving: ApiWorld) -> None:
    fine = {"metric": "quality", "value": 1}
    async with instance(serving) as client:
        for wrong, field in IMPOSSIBLE:
            answer = await client.post(PATH, json={"values": [fine, {**fine, **wrong}]})
            assert answer.status_code == 422, wrong
            assert [error["path"] for error in answer.json()["errors"]] == [f"values.1.{field}"], wrong
        for number in ("NaN", "Infinity", "-Infinity", "1e999"):
            content = f'{{"values": [{{"metric": "quality", "value": {number}}}]}}'
            answer = await client.post(PATH, content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code == 422, number
    assert await stored(serving) == []


async def test_a_thousand_values_fit_and_one_more_does_not(serving: ApiWorld) -> None:
    async with instance(serving) as client:
        assert (await client.post(PATH, json=body(*[0.5] * VALUES_MAX))).json() == {"accepted": VALUES_MAX}
        assert (await client.post(PATH, json=body(*[0.5] * (VALUES_MAX + 1)))).status_code == 422
        assert (await client.post(PATH, json=body())).status_code == 422
        assert (await client.post(PATH, content=b" " * 2_000_000)).status_code == 413
    assert len(await stored(serving)) == VALUES_MAX


async def test_names_made_from_data_are_refused_before_they_fill_the_lists(serving: ApiWorld) -> None:
    async with instance(serving) as client:
        names = [{"metric": f"m{number}", "value": 1} for number in range(METRICS_MAX)]
        assert (await client.post(PATH, json={"values": names})).status_code == 202
        answer = await client.post(PATH, json=body(1, metric="one_more"))
        assert (answer.status_code, answer.json()["code"]) == (409, "too_many_metrics")
        assert (await client.post(PATH, json=body(1, metric="m7"))).status_code == 202


async def test_a_repeated_report_with_the_same_key_counts_once(serving: ApiWorld) -> None:
    async with instance(serving) as client:
        for replayed in ("false", "true"):
            answer = await client.post(PATH, json=body(1), headers={"Idempotency-Key": "batch-1"})
            assert (answer.status_code, answer.headers["Idempotency-Replayed"]) == (202, replayed)
    async with instance(serving, "g1-2-2") as client:
        assert (await client.post(PATH, json=body(2), headers={"Idempotency-Key": "batch-1"})).status_code == 202
    assert len(await stored(serving)) == 2


# --- what is shown and counted ---


async def test_the_summary_shows_each_generation_and_its_instances(serving: ApiWorld) -> None:
    first, second = [float(n) for n in range(1, 101)], [0.5, 0.5]
    async with instance(serving) as client:
        assert (await client.post(PATH, json=body(*reversed(first), metric="tokens"))).status_code == 202
    serving.clock.advance(1)
    async with instance(serving, "g1-2-2") as client:
        assert (await client.post(PATH, json=body(*second, metric="tokens"))).status_code == 202
        assert (await client.post(PATH, json=body(3))).status_code == 202
    async with serving.client(await serving.token("viewer")) as viewer:
        answer = (await viewer.get(PATH, params={"window": 60})).json()
        assert (answer["agent_id"], answer["window_seconds"], answer["truncated"]) == (AGENT, 60, False)
        assert [found["metric"] for found in answer["metrics"]] == ["quality", "tokens"]
        (generation,) = answer["metrics"][1]["generations"]
        assert (generation["generation"], generation["version"], generation["count"]) == (1, "1.2.5", 102)
        assert (generation["p50"], generation["p95"], generation["last"]) == (49, 95, 0.5)
        assert generation["mean"] == pytest.approx(mean(first + second))
        shown = [(each["instance"], each["count"], each["p50"], each["p95"], each["last"]) for each in generation["instances"]]
        assert shown == [("g1-1-1", 100, 50, 95, 1), ("g1-2-2", 2, 0.5, 0.5, 0.5)]
        only = (await viewer.get(PATH, params={"metric": "quality"})).json()
        assert [found["metric"] for found in only["metrics"]] == ["quality"]
        serving.clock.advance(120)
        assert (await viewer.get(PATH, params={"window": 60})).json()["metrics"] == []
        for wrong in ({"window": 0}, {"window": 1e6}, {"window": "nan"}, {"metric": "Q"}, {"metrics": "quality"}):
            assert (await viewer.get(PATH, params=wrong)).status_code == 422


async def test_a_value_counts_when_it_was_observed_not_when_it_arrived(serving: ApiWorld) -> None:
    now = serving.clock.now()
    moments = [now - timedelta(hours=1), now, now + timedelta(seconds=30)]
    async with instance(serving) as client:
        values = [{"metric": "quality", "value": 0.1, "at": at.isoformat()} for at in moments]
        assert (await client.post(PATH, json={"values": values})).status_code == 202
    counted = SqlReports(database=serving.database)
    limit = Limit(name="quality", below=0.7)
    assert await counted.tallies(AGENT, [limit], now) == {1: {"quality": Tally(total=2, bad=2)}}
    assert await counted.tallies(AGENT, [limit], now + timedelta(seconds=1)) == {}


async def test_reports_go_with_their_agent(serving: ApiWorld) -> None:
    async with instance(serving) as client:
        await client.post(PATH, json=body(1))
    async with serving.client(serving.admin_token) as admin:
        await admin.delete(f"{PREFIX}/agents/{AGENT}?reason=gone")
        for _ in range(300):
            await serving.turn()
            if (await admin.get(f"{PREFIX}/agents/{AGENT}")).status_code == 404:
                break
    assert await stored(serving) == []


# --- the guide ---

GUIDE = (Path(__file__).resolve().parents[2] / "docs/guides/reported-metrics.md").read_text()


async def test_the_examples_of_the_guide_are_taken_as_they_stand(serving: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    (python,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    post, get = [shlex.split(block) for block in re.findall(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)]
    exec(compile(python, "guide", "exec"), {})  # noqa: S102 (without a server it does nothing)
    with data_plane(lambda *_: (202, {})) as (url, asked, bodies):
        monkeypatch.setenv("SERVICING_URL", url)
        monkeypatch.setenv("SERVICING_AGENT", AGENT)
        monkeypatch.setenv("SERVICING_INSTANCE_TOKEN", "secret")
        exec(compile(python, "guide", "exec"), {})  # noqa: S102
    assert [(method, path) for method, path, _ in asked] == [("POST", PATH)]
    async with instance(serving) as client:
        answer = await client.post(PATH, content=bodies[0], headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    async with serving.client(await serving.token("operator")) as operator:
        content = post[post.index("-d") + 1].replace("g7-2-1", "g1-1-1").replace("2026-01-02T02:03:04Z", serving.clock.now().isoformat())
        answer = await operator.post(PATH, content=content, headers={"Content-Type": "application/json"})
        assert answer.json() == {"accepted": 2}
        assert post[3].endswith(PATH)
        found = await operator.get(get[-1].partition(":8700")[2])
        assert found.json()["metrics"][0]["generations"][0]["count"] == 2


# --- the database ---


async def test_of_each_agent_the_newest_values_are_kept_and_never_more_than_the_limit(serving: ApiWorld) -> None:
    service = AgentReports(database=serving.database, clock=serving.clock, kept=100)
    await service.add(OTHER, [Report(metric="cost", value=1)] * 5, instance="g1-1-1")
    for value in range(400):
        await service.add(AGENT, [Report(metric="cost", value=value)], instance="g1-1-1")
        if value % 20 == 0:
            mine = [each[4] for each in await stored(serving) if each[0] == AGENT]
            assert len(mine) <= 100
            assert mine[-1] == value
    mine = [each[4] for each in await stored(serving) if each[0] == AGENT]
    assert mine == [float(n) for n in range(400 - len(mine), 400)]
    assert 90 <= len(mine) <= 100
    assert len([each for each in await stored(serving) if each[0] == OTHER]) == 5


async def test_a_value_stays_counted_for_a_deployment_when_it_is_no_longer_kept(serving: ApiWorld) -> None:
    service = AgentReports(database=serving.database, clock=serving.clock, kept=20)
    counted, limits = SqlReports(database=serving.database), [Limit(name="cost", above=4)]
    for total in range(10, 110, 10):
        await service.add(AGENT, [Report(metric="cost", value=value) for value in range(10)], instance="g1-1-1")
        assert await counted.tallies(AGENT, limits, START) == {1: {"cost": Tally(total=total, bad=total // 2)}}
    assert len(await stored(serving)) <= 20


async def test_tallies_are_answered_from_the_index_alone(tmp_path: Path) -> None:
    async with open_store(sqlite_url(tmp_path)) as (database, _):
        await add(database, an_agent(AGENT))
        rows = [ReportRow(generation=n % 2, instance="g1-1-1", metric=f"m{n % 5}", value=n, at=START) for n in range(2_000)]
        async with database.write() as connection:
            await insert_reports(connection, AGENT, rows)
        async with database.read() as connection:
            query = tallies_query(AGENT, [Limit(name="m1", above=5), Limit(name="m2", below=2)], START)
            dialect = connection.sync_connection.dialect  # type: ignore[union-attr]
            written = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
            plan = " ".join(row.detail for row in await connection.execute(text(f"EXPLAIN QUERY PLAN {written}")))
            assert "USING COVERING INDEX reports_counted (agent=? AND metric=? AND at>?)" in plan
            assert (await connection.execute(select(func.count()).select_from(reports))).scalar_one() == 2_000


async def test_the_process_runtime_knows_the_tokens_of_what_runs_and_of_nothing_else(tmp_path: Path) -> None:
    async with process_world.open_runtime(tmp_path) as runtime:
        try:
            wanted = process_world.release(command=process_world.SLEEPS, install=("true",))
            await process_world.started(runtime, wanted)
            token = json.loads(process_world.record_file(tmp_path).read_text())["token"]
            assert len(token) >= 40
            agent, process = await runtime.holder(token) or ("", None)
            assert (agent, process and process.instance) == (process_world.AGENT, "g1-1-0")
            for wrong in (token[:-1], token + "x", "", "ü"):
                assert await runtime.holder(wrong) is None
        finally:
            await runtime.stop_everything()
        assert await runtime.holder(token) is None
