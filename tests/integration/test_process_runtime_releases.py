"""Installing and deleting versions in the process runtime, with real install steps."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from agent_servicing.adapters.runtime.process import ProcessRuntime
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import Manifest, Source
from agent_servicing.core.model import Release
from agent_servicing.core.status import PreparationStatus
from tests.integration import process_world as world
from tests.integration.process_world import AGENT, ScriptSource, install, open_runtime, release

pytestmark = pytest.mark.anyio


async def failure(runtime: ProcessRuntime, wanted: Release) -> list[str]:
    """The lines shown of an installation that fails."""
    await runtime.prepare(wanted)

    async def is_over() -> bool:
        return (await runtime.preparation(AGENT, wanted.version)).status is PreparationStatus.FAILED

    await world.until(is_over)
    return (await runtime.preparation(AGENT, wanted.version)).detail.splitlines()


async def test_two_prepares_are_one_installation(tmp_path: Path) -> None:
    source = ScriptSource()
    source.gate = type(source.gate)()
    async with open_runtime(tmp_path, source=source) as runtime:
        for _ in range(3):
            await runtime.prepare(release(), again=True)
        assert (await runtime.preparation(AGENT, "1.0.0")).status is PreparationStatus.INSTALLING
        source.gate.set()
        await install(runtime, release())
        await install(runtime, release())
    assert source.fetched == ["1.0.0"]


async def test_an_installed_version_is_still_installed_after_a_restart(tmp_path: Path) -> None:
    async with open_runtime(tmp_path) as runtime:
        await install(runtime, release())
    async with open_runtime(tmp_path) as runtime:
        assert (await runtime.preparation(AGENT, "1.0.0")).status is PreparationStatus.READY


async def test_the_install_step_of_the_manifest_wins_over_the_sources(tmp_path: Path) -> None:
    folder = tmp_path / "agents" / AGENT / "releases"
    async with open_runtime(tmp_path, source=ScriptSource(command=("touch", "by-source"))) as runtime:
        await install(runtime, release("1.0.0", install=("touch", "by-manifest-{version}")))
        await install(runtime, release("2.0.0"))
    assert (folder / "1.0.0/by-manifest-1.0.0").exists()
    assert not (folder / "1.0.0/by-source").exists()
    assert (folder / "2.0.0/by-source").exists()


async def test_the_install_log_is_kept(tmp_path: Path) -> None:
    async with open_runtime(tmp_path) as runtime:
        await install(runtime, release(install=("sh", "-c", "echo to stdout; echo to stderr >&2")))
    log = tmp_path / "agents" / AGENT / "releases" / "1.0.0.install.log"
    assert log.read_text().splitlines() == ["$ sh -c echo to stdout; echo to stderr >&2", "to stdout", "to stderr", "exit code 0"]


async def test_a_failed_installation_shows_its_last_lines(tmp_path: Path) -> None:
    async with open_runtime(tmp_path) as runtime:
        lines = await failure(runtime, release(install=("sh", "-c", "seq 1 100; echo no such package; exit 2")))
    assert lines[0] == "the install step failed: sh -c seq 1 100; echo no such package; exit 2"
    assert lines[-3:] == ["100", "no such package", "exit code 2"]
    assert len(lines) == 21


async def test_an_install_command_that_is_not_found_says_where_it_was_looked_for(tmp_path: Path) -> None:
    async with open_runtime(tmp_path) as runtime:
        (line,) = await failure(runtime, release(install=("no-such-installer",)))
    assert line.startswith("command not found: no-such-installer (looked in /")


async def test_python_and_uv_are_found_by_the_install_step(tmp_path: Path) -> None:
    async with open_runtime(tmp_path, environ={"PATH": "/usr/bin:/bin"}) as runtime:
        await install(runtime, release(install=("sh", "-c", "python -c 'import anyio' && uv --version")))


async def test_an_installation_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    async with open_runtime(tmp_path, install_timeout_seconds=0.5) as runtime:
        lines = await failure(runtime, release(install=("sh", "-c", "echo waiting; sleep 1000 & wait")))
        assert lines[0] == "installing took longer than 0.5 s and was ended"
        assert lines[-1] == "waiting"
        await world.nothing_lives(tmp_path)


async def test_a_source_that_cannot_fetch_fails_the_installation_in_its_words(tmp_path: Path) -> None:
    async with open_runtime(tmp_path, source=ScriptSource(error=PermanentError("the tag v1.0.0 is gone"))) as runtime:
        assert await failure(runtime, release()) == ["the tag v1.0.0 is gone"]


async def test_a_bug_in_a_source_fails_the_installation_and_nothing_else(tmp_path: Path) -> None:
    source = ScriptSource(error=ZeroDivisionError("oops"))
    async with open_runtime(tmp_path, source=source) as runtime:
        assert await failure(runtime, release()) == ["cannot install: ZeroDivisionError: oops"]
        source.error = None
        await install(runtime, release("2.0.0"))


async def test_a_full_disk_fails_the_installation_in_words(tmp_path: Path) -> None:
    async with open_runtime(tmp_path) as runtime:
        lines = await failure(runtime, release(install=("ln", "-s", "/dev/full", "..installed.new")))
    assert lines[0].startswith("cannot install: the disk of the data directory is full")


async def test_a_source_that_is_not_installed_is_named(tmp_path: Path) -> None:
    wanted = release()
    manifest = Manifest(agent=AGENT, source=Source(kind="image", location="x"), run=wanted.manifest.run)
    async with open_runtime(tmp_path) as runtime:
        lines = await failure(runtime, Release(agent=AGENT, version="1.0.0", manifest=manifest, ref=""))
    assert lines == ["versions of kind 'image' cannot be installed here; installed sources: path"]


async def test_a_rest_of_an_earlier_attempt_is_removed_first(tmp_path: Path) -> None:
    folder = tmp_path / "agents" / AGENT / "releases" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "rest").write_text("")
    async with open_runtime(tmp_path) as runtime:
        await install(runtime, release())
    assert not (folder / "rest").exists()


async def test_a_virtual_environment_made_by_uv_serves_the_instances(tmp_path: Path) -> None:
    command: Sequence[str] = ("python", "-c", "import sys; print(sys.prefix)")
    async with open_runtime(tmp_path) as runtime:
        await world.started(runtime, release(command=command, install=("uv", "venv", "--no-project", "--offline", ".venv")))
        prefix = str(tmp_path / "agents" / AGENT / "releases" / "1.0.0" / ".venv")
        assert await world.printed(runtime, prefix) == [prefix]


async def test_collecting_deletes_folders_and_install_logs(tmp_path: Path) -> None:
    releases = tmp_path / "agents" / AGENT / "releases"
    async with open_runtime(tmp_path) as runtime:
        for version in ("1.0.0", "2.0.0"):
            await install(runtime, release(version, install=("true",)))
        await failure(runtime, release("3.0.0", install=("false",)))
        assert list(await runtime.collect(AGENT, keep={"2.0.0"})) == ["1.0.0", "3.0.0"]
        assert (await runtime.preparation(AGENT, "3.0.0")).status is PreparationStatus.ABSENT

        async def are_gone() -> bool:
            return sorted(path.name for path in releases.iterdir()) == ["2.0.0", "2.0.0.install.log"]

        await world.until(are_gone)


async def test_an_installation_under_way_is_not_collected(tmp_path: Path) -> None:
    source = ScriptSource()
    source.gate = type(source.gate)()
    async with open_runtime(tmp_path, source=source) as runtime:
        await runtime.prepare(release())
        assert list(await runtime.collect(AGENT, keep=())) == []
        source.gate.set()
        await install(runtime, release())
