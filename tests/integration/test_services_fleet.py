"""Fleet: taking agents on, scaling, restarting, removing, and how they are doing."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from agent_servicing.core.errors import Conflict, Invalid, NotFound, PermanentError, TemporaryError, Unavailable
from agent_servicing.core.manifest import Run
from agent_servicing.core.metrics import Counts, GenerationCounters
from agent_servicing.core.model import AgentState
from agent_servicing.core.status import AgentStatus, DeploymentKind, DeploymentStatus, InstanceStatus, Verb
from agent_servicing.services.fleet import INSTANCES_MAX
from agent_servicing.services.transaction import INTENTS_MAX
from tests.integration.services_world import ADA, AGENT, World, agent_toml, open_world
from tests.store_builders import a_manifest

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world:
        yield world


async def test_an_added_agent_waits_to_be_installed_at_its_newest_stable_version(world: World) -> None:
    for version in ("1.0.0", "1.2.0", "2.0.0-rc.1"):
        world.source.put(version)
    agent, deployment = await world.services.fleet.add(a_manifest(), version=None, actor=ADA)
    assert (agent.agent, agent.instances, agent.version) == (AGENT, 2, None)
    assert (deployment.kind, deployment.to_version, deployment.status) == (DeploymentKind.INSTALL, "1.2.0", DeploymentStatus.QUEUED)
    assert deployment.deployment.startswith("upg-")
    assert await world.audit() == [("agent_added", "requested")]
    assert world.bus.published == ["agent"]
    state = await world.store.load(AGENT)
    assert state.releases["1.2.0"].ref == "ref-1.2.0"
    assert (await world.services.fleet.get(AGENT)).health.status == "starting"


async def test_a_source_with_only_prereleases_gives_the_newest_of_them(world: World) -> None:
    world.source.put("1.0.0-rc.1")
    world.source.put("1.0.0-rc.2")
    _, deployment = await world.services.fleet.add(a_manifest(), version=None, actor=ADA)
    assert deployment.to_version == "1.0.0-rc.2"


async def test_a_version_may_be_named_with_the_v_of_its_tag(world: World) -> None:
    world.source.put("1.0.0")
    _, deployment = await world.services.fleet.add(a_manifest(), version="v1.0.0", actor=ADA)
    assert deployment.to_version == "1.0.0"


@pytest.mark.parametrize(
    ("version", "family", "code", "named"),
    [
        ("1.9.9", NotFound, "unknown_version", "1.0.0"),
        ("banana", Invalid, "invalid", "MAJOR.MINOR.PATCH"),
        ("1.1.0", Invalid, "unusable_version", "run.instances"),
    ],
)
async def test_a_version_that_cannot_be_installed_is_refused_and_nothing_is_kept(
    world: World, version: str, family: type[Exception], code: str, named: str
) -> None:
    world.source.put("1.0.0")
    world.source.put("1.1.0", manifest_text=agent_toml().replace("instances = 2", 'instances = "two"'))
    with pytest.raises(family) as caught:
        await world.services.fleet.add(a_manifest(), version=version, actor=ADA)
    error = caught.value
    assert isinstance(error, NotFound | Invalid)
    assert error.code == code
    assert named in f"{error.message} {error.hint} {error.errors}"
    assert await world.services.fleet.views() == {}
    assert await world.audit() == []


async def test_a_source_without_versions_says_what_to_do(world: World) -> None:
    with pytest.raises(Invalid) as caught:
        await world.services.fleet.add(a_manifest(), version=None, actor=ADA)
    assert (caught.value.code, caught.value.hint) == ("no_versions", "Tag one, for example v1.0.0.")


@pytest.mark.parametrize(
    ("failure", "family", "code"),
    [
        (PermanentError("no such repository"), Invalid, "source_unusable"),
        (TemporaryError("no answer"), Unavailable, "source_unavailable"),
    ],
)
async def test_a_source_that_fails_is_one_clear_error(world: World, failure: Exception, family: type[Exception], code: str) -> None:
    world.source.fails = failure
    with pytest.raises(family, match=str(failure)) as caught:
        await world.services.fleet.add(a_manifest(), version=None, actor=ADA)
    assert getattr(caught.value, "code", "") == code


@pytest.mark.parametrize("name", [AGENT, AGENT.lower()])
async def test_an_agent_is_added_once_whatever_the_case_of_its_name(world: World, name: str) -> None:
    await world.add("1.0.0")
    with pytest.raises(Conflict) as caught:
        await world.services.fleet.add(a_manifest(name), version=None, actor=ADA)
    assert caught.value.code == "agent_exists"
    assert len(await world.services.fleet.views()) == 1


async def test_an_agent_that_is_being_removed_must_be_gone_before_it_is_added_again(world: World) -> None:
    await world.add("1.0.0")
    await world.engine(lambda state: replace(state, agent=replace(state.agent, status=AgentStatus.REMOVING)))
    with pytest.raises(Conflict, match="still being removed"):
        await world.services.fleet.add(a_manifest(), version=None, actor=ADA)
    await world.engine(lambda state: replace(state, agent=replace(state.agent, status=AgentStatus.REMOVED)))
    await world.services.fleet.add(a_manifest(), version=None, actor=ADA)


@pytest.mark.parametrize("instances", [0, -1, INSTANCES_MAX + 1])
async def test_an_impossible_number_of_instances_is_refused(world: World, instances: int) -> None:
    with pytest.raises(Invalid, match="instances"):
        await world.services.fleet.add(a_manifest(run=Run(command=("x",), instances=instances)), version=None, actor=ADA)
    await world.add("1.0.0")
    with pytest.raises(Invalid, match="instances"):
        await world.services.fleet.scale(AGENT, instances, actor=ADA)


async def test_scaling_is_a_wish_for_the_engine(world: World) -> None:
    await world.add("1.0.0")
    await world.services.fleet.scale(AGENT, 5, actor=ADA, reason="friday")
    (intent,) = (await world.store.load(AGENT)).intents
    assert (intent.verb, intent.value, intent.actor, intent.reason) == (Verb.SCALE, 5, ADA, "friday")
    assert await world.store.next_due() == world.clock.now()
    assert (await world.audit())[-1] == ("scale", "requested")


async def test_nothing_is_asked_of_an_agent_that_is_to_be_removed(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    await world.services.fleet.remove(AGENT, actor=ADA)
    for ask in (
        lambda: world.services.fleet.remove(AGENT, actor=ADA),
        lambda: world.services.fleet.restart(AGENT, actor=ADA),
        lambda: world.upgrade("1.1.0"),
        lambda: world.services.rollbacks.request(AGENT, target_version=None, reason="x", actor=ADA),
        lambda: world.services.fleet.scale(AGENT, 3, actor=ADA),
    ):
        with pytest.raises(Conflict) as caught:
            await ask()
        assert caught.value.code == "agent_removing"
    assert [intent.verb for intent in (await world.store.load(AGENT)).intents] == [Verb.REMOVE]


async def test_a_runaway_script_cannot_fill_the_table_of_wishes(world: World) -> None:
    await world.add("1.0.0")
    for number in range(INTENTS_MAX):
        await world.services.fleet.scale(AGENT, 1 + number % 3, actor=ADA)
    with pytest.raises(Conflict) as caught:
        await world.services.fleet.scale(AGENT, 2, actor=ADA)
    assert caught.value.code == "too_many_requests"


async def test_a_restart_is_a_deployment_to_the_running_version(world: World) -> None:
    await world.add("1.0.0")
    deployment = await world.services.fleet.restart(AGENT, actor=ADA)
    assert (deployment.kind, deployment.from_version, deployment.to_version) == (DeploymentKind.RESTART, "1.0.0", "1.0.0")
    with pytest.raises(Conflict, match=deployment.deployment) as caught:
        await world.services.fleet.restart(AGENT, actor=ADA)
    assert caught.value.code == "agent_busy"


async def test_an_agent_that_runs_nothing_cannot_be_restarted(world: World) -> None:
    world.source.put("1.0.0")
    await world.services.fleet.add(a_manifest(), version=None, actor=ADA)
    with pytest.raises(Conflict) as caught:
        await world.services.fleet.restart(AGENT, actor=ADA)
    assert caught.value.code == "nothing_deployed"


async def test_an_unknown_agent_is_named_with_those_there_are(world: World) -> None:
    await world.add("1.0.0")
    for ask in (
        lambda: world.services.fleet.get("Nobody"),
        lambda: world.services.fleet.logs("Nobody"),
        lambda: world.services.fleet.metrics("Nobody"),
        lambda: world.services.fleet.scale("Nobody", 1, actor=ADA),
        lambda: world.services.versions.list("Nobody"),
        lambda: world.services.versions.refresh("Nobody"),
    ):
        with pytest.raises(NotFound) as caught:
            await ask()
        assert (caught.value.code, caught.value.hint) == ("unknown_agent", f"Known agents: {AGENT}.")


@pytest.mark.parametrize(("ready", "status"), [(2, "healthy"), (1, "degraded"), (0, "down")])
async def test_health_counts_the_instances_that_serve(world: World, ready: int, status: str) -> None:
    await world.add("1.0.0")

    def fail_some(state: AgentState) -> AgentState:
        broken = (replace(i, status=InstanceStatus.FAILED) for i in state.instances[ready:])
        return replace(state, instances=(*state.instances[:ready], *broken))

    await world.engine(fail_some)
    health = (await world.services.fleet.get(AGENT)).health
    assert (health.status, health.ready, health.failed, health.desired) == (status, ready, 2 - ready, 2)


async def test_totals_count_agents_instances_deployments_and_updates(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    world.source.put("1.2.0", kind="security")
    await world.services.versions.refresh(AGENT)
    await world.upgrade("1.1.0")
    totals = await world.services.fleet.totals()
    assert (totals.agents, totals.healthy, totals.instances_ready, totals.instances_desired) == (1, 1, 2, 2)
    assert (totals.deployments_waiting, totals.deployments_active) == (1, 0)
    assert (totals.updates_available, totals.security_updates, totals.critical_updates) == (1, 1, 0)


async def test_a_failed_first_installation_shows_the_agent_down(world: World) -> None:
    world.source.put("1.0.0")
    await world.services.fleet.add(a_manifest(), version=None, actor=ADA)
    await world.finish(DeploymentStatus.FAILED)
    assert (await world.services.fleet.get(AGENT)).health.status == "down"


async def test_metrics_have_rates_from_the_second_reading_on(world: World) -> None:
    await world.add("1.0.0")
    world.metrics.counted[AGENT] = {1: GenerationCounters(new=Counts(routed=100, answered=100, errors=1))}
    first = await world.services.fleet.metrics(AGENT)
    assert (first.window_seconds, first.generations[0].throughput, first.generations[0].requests) == (0, None, 100)
    world.clock.advance(10)
    world.metrics.counted[AGENT] = {1: GenerationCounters(new=Counts(routed=600, answered=600, errors=6))}
    second = await world.services.fleet.metrics(AGENT)
    (generation,) = second.generations
    assert (second.window_seconds, generation.throughput, generation.requests) == (10, 50, 500)
    assert (generation.role, generation.version, generation.traffic_percent, generation.error_rate) == ("stable", "1.0.0", 100, 1)


async def test_metrics_that_cannot_be_read_are_unavailable_and_never_zero(world: World) -> None:
    await world.add("1.0.0")
    world.metrics.reachable = False
    with pytest.raises(Unavailable) as caught:
        await world.services.fleet.metrics(AGENT)
    assert caught.value.code == "metrics_unavailable"
    await world.services.fleet.sample()


async def test_a_full_disk_refuses_a_request_and_keeps_the_reads_working(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    async with world.database.write() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
        await connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    async def ask_until_full() -> None:
        for _ in range(INTENTS_MAX):
            await world.services.fleet.scale(AGENT, 3, actor=ADA, reason="x" * 2000)

    with pytest.raises(Unavailable, match="disk") as caught:
        await ask_until_full()
    assert caught.value.code == "storage_unavailable"
    assert (await world.services.fleet.get(AGENT)).health.status == "healthy"
