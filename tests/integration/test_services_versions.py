"""Version management: what a refresh finds, what the list says, and what differs between two versions."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_servicing.core.errors import Invalid, NotFound, PermanentError, TemporaryError, Unavailable
from agent_servicing.core.manifest import Manifest, Run, Source
from agent_servicing.core.status import DeploymentStatus
from agent_servicing.services import catalogue
from agent_servicing.services.differences import MASKED
from tests.integration.services_world import ADA, AGENT, World, WrittenSource, agent_toml, open_world
from tests.store_builders import a_manifest

pytestmark = pytest.mark.anyio

SCHEMA = '{"properties": {"timeout_seconds": {"type": "integer"}, "api_key": {"type": "string", "x-servicing-secret": true}}}'


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world:
        yield world


async def told(world: World, kind: str) -> list[dict[str, object]]:
    return [dict(each.event.data) for each in await world.services.events.since(0) if each.event.type == kind]


async def test_a_refresh_tells_of_every_version_that_is_new_and_newer(world: World) -> None:
    await world.add("1.1.0")
    for version in ("1.0.9", "1.2.0", "2.0.0", "2.1.0-rc.1"):
        world.source.put(version)
    assert list(await world.services.versions.refresh(AGENT)) == ["2.1.0-rc.1", "2.0.0", "1.2.0", "1.0.9"]
    available = await told(world, "version_available")
    assert [(e["version"], e["update_type"], e["current_version"]) for e in available] == [
        ("1.2.0", "minor", "1.1.0"),
        ("2.0.0", "major", "1.1.0"),
    ]
    assert list(await world.services.versions.refresh(AGENT)) == []
    assert await told(world, "version_available") == available


async def test_the_list_has_what_the_story_shows(world: World) -> None:
    await world.add("1.0.0")
    await world.upgraded_to("1.1.0")
    notes = 'breaking = ["drops the old API"]\nmigration_notes = "run the importer"\ncritical = true'
    world.source.put("2.0.0", manifest_text=agent_toml(upgrade=notes), kind="security", text="closes a hole")
    await world.services.versions.refresh(AGENT)
    view = await world.services.versions.list(AGENT)
    assert (view.current_version, view.current_deployed_at) == ("1.1.0", world.clock.now())
    assert [(p.version, p.can_rollback) for p in view.rollback_points] == [("1.0.0", True)]
    assert [info.version for info in view.versions] == ["2.0.0", "1.1.0", "1.0.0"]
    (new,) = view.available
    assert (new.version, new.type, new.security, new.critical, new.author) == ("2.0.0", "major", True, True, "Release team")
    assert new.changelog == {"security": ["closes a hole"]}
    assert (new.breaking_changes, new.migration_notes) == (("drops the old API",), "run the importer")
    assert (new.upgradable, new.compatibility) == (True, "can follow 1.1.0, once its breaking changes are acknowledged")
    assert [info.type for info in view.versions] == ["major", "current", "downgrade"]
    assert view.refreshed_at == world.clock.now()


async def test_success_is_counted_over_finished_deployments(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    for status in (DeploymentStatus.ROLLED_BACK, DeploymentStatus.CANCELLED, DeploymentStatus.COMPLETED):
        await world.upgrade("1.1.0")
        await world.finish(status)
    info = {i.version: i for i in (await world.services.versions.list(AGENT)).versions}
    assert (info["1.1.0"].deployment_count, info["1.1.0"].success_rate) == (3, 50.0)
    assert (info["1.0.0"].deployment_count, info["1.0.0"].success_rate) == (1, 100.0)


async def test_a_version_with_a_broken_manifest_is_listed_with_its_problem_and_not_offered(world: World) -> None:
    await world.add("1.0.0")
    world.source.put("1.1.0", manifest_text=agent_toml() + "\n[unknown]\nkey = 1\n")
    await world.services.versions.refresh(AGENT)
    view = await world.services.versions.list(AGENT)
    assert view.available == ()
    assert "unknown" in view.versions[0].problem
    assert not view.versions[0].upgradable


async def test_a_tag_that_was_moved_after_deployment_keeps_the_deployed_artifact_and_is_told_once(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    world.source.put("1.0.0", ref="other")
    world.source.put("1.1.0", ref="other")
    await world.services.versions.refresh(AGENT)
    await world.services.versions.refresh(AGENT)
    infos = {i.version: i for i in (await world.services.versions.list(AGENT)).versions}
    assert (infos["1.0.0"].ref, infos["1.0.0"].moved) == ("ref-1.0.0", True)
    assert (infos["1.1.0"].ref, infos["1.1.0"].moved) == ("other", False)
    assert [(e["version"], e["moved_ref"], e["status"]) for e in await told(world, "version_moved")] == [("1.0.0", "other", "warning")]
    world.source.put("1.0.0")
    await world.services.versions.refresh(AGENT)
    assert not any(info.moved for info in (await world.services.versions.list(AGENT)).versions)


async def test_versions_that_vanish_from_the_source_stay_while_they_are_needed(world: World) -> None:
    await world.add("1.0.0", "1.5.0")
    await world.upgraded_to("1.1.0")
    world.source.found.clear()
    world.source.put("1.2.0")
    await world.services.versions.refresh(AGENT)
    assert [info.version for info in (await world.services.versions.list(AGENT)).versions] == ["1.2.0", "1.1.0", "1.0.0"]


@pytest.mark.parametrize(("failure", "family"), [(PermanentError("no tags"), Invalid), (TemporaryError("no answer"), Unavailable)])
async def test_a_source_that_fails_is_noted_and_what_is_known_stays(world: World, failure: Exception, family: type[Exception]) -> None:
    await world.add("1.0.0")
    world.source.fails = failure
    with pytest.raises(family):
        await world.services.versions.refresh(AGENT)
    await world.services.versions.refresh_all()
    view = await world.services.versions.list(AGENT)
    assert str(failure) in view.source_problem
    assert [info.version for info in view.versions] == ["1.0.0"]
    world.source.fails = None
    await world.services.versions.refresh_all()
    assert (await world.services.versions.list(AGENT)).source_problem == ""


async def test_an_unknown_kind_of_source_is_refused_with_the_installed_ones(world: World) -> None:
    manifest = a_manifest(source=a_manifest().source.__class__(kind="image", location="registry/x"))
    with pytest.raises(Invalid, match="image") as caught:
        await world.services.versions.discover(manifest)
    assert (caught.value.code, caught.value.hint) == ("source_unsupported", "Installed: git.")


async def test_only_the_newest_versions_of_a_long_history_are_kept(world: World) -> None:
    await world.add("0.0.1")
    for number in range(catalogue.VERSIONS_KEPT + 20):
        world.source.put(f"1.0.{number}")
    await world.services.versions.refresh(AGENT)
    versions = [info.version for info in (await world.services.versions.list(AGENT)).versions]
    assert len(versions) == catalogue.VERSIONS_KEPT + 1
    assert (versions[0], versions[-2], versions[-1]) == (f"1.0.{catalogue.VERSIONS_KEPT + 19}", "1.0.20", "0.0.1")


async def test_changes_add_up_over_the_versions_between(world: World) -> None:
    world.source.put("1.0.0", manifest_text=agent_toml(), schema=SCHEMA)
    world.source.put("1.1.0", manifest_text=agent_toml(upgrade='migration_notes = "first"'), kind="added", text="memory")
    world.source.put("1.2.0-rc.1", text="not told twice")
    late = agent_toml(instances=3, timeout_seconds=60, api_key="k2", writes=2, reads=(1, 2), upgrade='migration_notes = "second"')
    more = (
        SCHEMA.replace('"integer"', '"number"')
        .replace("{}", "")
        .replace('"properties": {', '"properties": {"limits": {"type": "object"}, ')
    )
    world.source.put("1.2.0", manifest_text=late, schema=more, kind="breaking", text="new format")
    await world.add("1.0.0")
    view = await world.services.versions.changes(AGENT, None, "v1.2.0")
    assert (view.from_version, view.to_version, view.type) == ("1.0.0", "1.2.0", "minor")
    assert view.changelog == {"breaking": ["new format"], "added": ["memory"]}
    assert view.breaking_changes == ("new format",)
    assert view.migration_notes == (("1.1.0", "first"), ("1.2.0", "second"))
    assert {d.key: (d.old, d.new) for d in view.config_schema} == {
        "limits": (None, {"type": "object"}),
        "timeout_seconds": ({"type": "integer"}, {"type": "number"}),
    }
    differences = {d.key: (d.old, d.new) for d in view.manifest}
    assert differences["run.instances"] == (2, 3)
    assert differences["config.defaults.timeout_seconds"] == (30, 60)
    assert differences["config.defaults.api_key"] == (MASKED, MASKED)
    assert (view.state_door, "cannot read state schema 2" in view.state_note) == ("one_way", True)


async def test_changes_backwards_tell_what_would_be_lost(world: World) -> None:
    await world.add("1.2.0", "1.0.0", "1.1.0")
    view = await world.services.versions.changes(AGENT, "1.2.0", "1.0.0")
    assert (view.type, view.changelog) == ("downgrade", {"fixed": ["change of 1.1.0", "change of 1.2.0"]})


@pytest.mark.parametrize(("start", "end"), [("1.0.0", "9.9.9"), ("9.9.9", "1.0.0")])
async def test_changes_of_an_unknown_version_name_the_known_ones(world: World, start: str, end: str) -> None:
    await world.add("1.0.0")
    with pytest.raises(NotFound) as caught:
        await world.services.versions.changes(AGENT, start, end)
    assert (caught.value.code, caught.value.hint) == ("unknown_version", "Known versions: 1.0.0.")


def an_image(runtime: str = "docker") -> Manifest:
    return a_manifest(source=Source(kind="image", location="r/x"), run=Run(runtime=runtime, command=("serve",)))


async def test_an_images_version_keeps_the_digest_first_seen_though_it_was_never_deployed(tmp_path: Path) -> None:
    images = WrittenSource()
    async with open_world(tmp_path, image=images) as world:
        images.put("1.0.0", ref="sha256:a")
        images.put("1.1.0", ref="sha256:b")
        await world.services.fleet.add(an_image(), version="1.0.0", actor=ADA)
        images.put("1.1.0", ref="sha256:c")
        for _ in range(2):
            await world.services.versions.refresh(AGENT)
        infos = {i.version: i for i in (await world.services.versions.list(AGENT)).versions}
        assert (infos["1.1.0"].ref, infos["1.1.0"].moved) == ("sha256:b", True)
        assert [(e["version"], e["moved_ref"]) for e in await told(world, "version_moved")] == [("1.1.0", "sha256:c")]


async def test_an_image_is_not_deployed_by_a_runtime_of_processes_and_says_why(tmp_path: Path) -> None:
    images = WrittenSource()
    async with open_world(tmp_path, image=images) as world:
        images.put("1.0.0")
        with pytest.raises(Invalid, match="'process', which runs no containers"):
            await world.services.fleet.add(an_image("process"), version="1.0.0", actor=ADA)
