"""What every version source promises, asked of each that hands over files. Packages promise less; they have a suite of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent_servicing.adapters.sources.git import GitSource
from agent_servicing.adapters.sources.path import PathSource
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.semver import parse
from agent_servicing.core.versions import SourceVersion
from agent_servicing.ports import VersionSource
from tests.source_builders import AGENT_TOML, FILES, SCHEMA, GitRepository, folder_of, manifest, tar_of, tree, zip_of

OLD = {"wow_cache.py": "print('old')\n"}

pytestmark = pytest.mark.anyio


@dataclass
class World:
    """A source that holds 1.0.0 (no manifest), 1.10.0 and 1.9.0 (with one) and things that are no versions."""

    source: VersionSource
    manifest: Manifest
    change: Callable[[], None]
    """Changes what 1.10.0 is."""

    async def version(self, name: str) -> SourceVersion:
        return next(v for v in await self.source.versions(self.manifest) if v.version == name)


def git_world(tmp_path: Path) -> World:
    repository = GitRepository(tmp_path / "repository")
    repository.commit("feat: a cache", OLD)
    repository.tag("v1.0.0")
    repository.commit("feat: a manifest", FILES)
    repository.tag("1.9.0")
    repository.commit("fix: a leak", {"wow_cache.py": FILES["wow_cache.py"]})
    repository.tag("v1.10.0", "Ten")
    repository.tag("nightly")

    def change() -> None:
        repository.commit("fix: another", {"wow_cache.py": "print('moved')\n"})
        repository.tag("v1.10.0", None, "--force")

    return World(GitSource(tmp_path / "data"), manifest("git", repository.folder.as_uri(), schema="config.json"), change)


def path_world(tmp_path: Path, make_last: Callable[[dict[str, str], Path], Path], name: str) -> World:
    location = tmp_path / "dist"
    folder_of(OLD, location / "v1.0.0")
    folder_of(FILES, location / "1.9.0")
    folder_of({"README": "no version"}, location / "notes")
    make_last(FILES, location / name)

    def change() -> None:
        make_last(FILES | {"wow_cache.py": "print('moved')\n"}, location / name)

    return World(
        PathSource(tmp_path / "data"),
        manifest("path", location, schema="config.json"),
        change,
    )


WORLDS: dict[str, Callable[[Path], World]] = {
    "git": git_world,
    "folder": lambda tmp_path: path_world(tmp_path, folder_of, "1.10.0"),
    "tar": lambda tmp_path: path_world(tmp_path, tar_of, "1.10.0.tar.gz"),
    "zip": lambda tmp_path: path_world(tmp_path, zip_of, "1.10.0.zip"),
}


@pytest.fixture(params=sorted(WORLDS))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return WORLDS[request.param](tmp_path)


async def test_every_version_is_listed_newest_first_and_nothing_else(world: World) -> None:
    found = await world.source.versions(world.manifest)
    assert [version.version for version in found] == ["1.10.0", "1.9.0", "1.0.0"]
    assert [parse(version.version) for version in found] == sorted((parse(version.version) for version in found), reverse=True)


async def test_a_version_has_a_date_and_a_ref_of_its_own(world: World) -> None:
    found = await world.source.versions(world.manifest)
    assert all(version.released_at is not None and version.released_at.tzinfo is not None for version in found)
    assert len({version.ref for version in found}) >= 2
    assert all(version.ref for version in found)


async def test_a_version_brings_its_manifest_and_the_schema_that_it_names(world: World) -> None:
    newest = await world.version("1.10.0")
    assert newest.manifest_text == AGENT_TOML
    assert dict(newest.files) == {"schemas/config.schema.json": SCHEMA}


async def test_a_version_without_a_manifest_says_so(world: World) -> None:
    oldest = await world.version("1.0.0")
    assert oldest.manifest_text is None
    assert dict(oldest.files) == {}


async def test_listing_twice_says_the_same(world: World) -> None:
    assert await world.source.versions(world.manifest) == await world.source.versions(world.manifest)


async def test_the_files_of_a_version_are_fetched_exactly(world: World, tmp_path: Path) -> None:
    for name, files in (("1.10.0", FILES), ("1.0.0", OLD)):
        folder = tmp_path / "releases" / name
        folder.mkdir(parents=True)
        await world.source.fetch(world.manifest, name, (await world.version(name)).ref, folder)
        assert tree(folder) == files


async def test_a_version_whose_content_changed_shows_another_ref(world: World) -> None:
    before = await world.version("1.10.0")
    world.change()
    after = await world.version("1.10.0")
    assert before.ref != after.ref
    assert (await world.version("1.9.0")).version == "1.9.0"


async def test_a_ref_that_never_was_is_refused_with_what_to_do(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    with pytest.raises(PermanentError, match="refresh the agent's versions"):
        await world.source.fetch(world.manifest, "1.10.0", "0" * 40, folder)
    assert list(folder.iterdir()) == []


async def test_an_installation_is_worked_out_from_the_files(world: World, tmp_path: Path) -> None:
    assert world.source.install_command(world.manifest, "1.10.0", folder_of(OLD, tmp_path / "plain")) is None
    command = world.source.install_command(world.manifest, "1.10.0", folder_of({"requirements.txt": ""}, tmp_path / "project"))
    assert command is not None
    assert command[-1] == "project"
