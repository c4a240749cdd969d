"""The server dies, instances do not: what the next process runtime on the same data directory finds, believes and cleans up."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from anyio import to_thread

from agent_servicing.adapters.runtime.process import ProcessRuntime
from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.core.status import PreparationStatus
from agent_servicing.settings import Settings
from tests.integration import process_world as world
from tests.integration.process_world import AGENT, SERVES, edit_record, ended, install, open_runtime, record_file, release, started, until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def no_leftovers(tmp_path: Path, anyio_backend: str) -> AsyncIterator[None]:
    yield
    await world.end_everything(tmp_path)


@contextmanager
def killed_server(data_dir: Path, script: str) -> Iterator[None]:
    """A server in a process of its own that did `script` and was then killed with SIGKILL; collected afterwards."""
    with subprocess.Popen(world.owner_command(data_dir, script=script), stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as server:
        assert server.stdout
        assert "up\n" in iter(server.stdout.readline, "")  # after what it logs
        server.send_signal(signal.SIGKILL)
        server.wait(timeout=world.PATIENCE_SECONDS)
        yield


BEGIN_AN_INSTALLATION = """\
wanted = release(install=("sh", "-c", "touch half; echo begun; sleep 1000"))
await runtime.prepare(wanted)
log = runtime._folders.install_log(wanted.agent, wanted.version)
async def begun():
    return log.exists() and "begun" in log.read_text().splitlines()
await until(begun)"""

START_ONE = "await started(runtime, release(command=SERVES), 'g3-1-0', 3)"


async def test_instances_survive_a_killed_server_and_are_adopted(tmp_path: Path) -> None:
    with killed_server(tmp_path, START_ONE):
        async with open_runtime(tmp_path) as runtime:
            process = (await runtime.observe(AGENT))["g3-1-0"]
            assert (process.alive, process.generation, process.version) == (True, 3, "1.0.0")
            assert process.pid is not None
            await runtime.start(release(command=SERVES), instance="g3-1-0", generation=3)
            assert await runtime.observe(AGENT) == {"g3-1-0": process}
            await runtime.stop(AGENT, "g3-1-0")
            assert (await ended(runtime, "g3-1-0")).exit_code is None


async def test_an_instance_that_was_started_but_not_recorded_is_found_by_its_environment(tmp_path: Path) -> None:
    async with open_runtime(tmp_path) as runtime:
        before = await started(runtime, release(), "g3-1-0", 3)
    record = record_file(tmp_path, "g3-1-0")
    token = record.read_text().split('"token": "')[1].split('"')[0]
    record.unlink()
    async with open_runtime(tmp_path) as runtime:
        after = (await runtime.observe(AGENT))["g3-1-0"]
        assert (after.pid, after.port, after.version, after.generation) == (before.pid, before.port, "1.0.0", 3)
        assert before.started_at is not None
        assert after.started_at is not None
        assert abs(after.started_at - before.started_at) < timedelta(seconds=world.PATIENCE_SECONDS)
        assert token in record.read_text()


async def test_children_of_an_instance_are_not_taken_for_instances(tmp_path: Path) -> None:
    command = ("sh", "-c", "setsid sleep 1000 & echo worker; exec sleep 1000")
    async with open_runtime(tmp_path) as runtime:
        before = await started(runtime, release(command=command))
        await world.printed(runtime, "worker")
    record_file(tmp_path).unlink()
    async with open_runtime(tmp_path) as runtime:
        assert {name: process.pid for name, process in (await runtime.observe(AGENT)).items()} == {"g1-1-0": before.pid}
        await runtime.stop_everything()
    for worker in world.living(tmp_path):  # in a session of its own, so not known to be ours
        worker.kill()


async def test_an_unreadable_record_is_set_aside_and_its_instance_found_again(tmp_path: Path) -> None:
    async with open_runtime(tmp_path) as runtime:
        before = await started(runtime, release())
    record_file(tmp_path).write_text("{")
    async with open_runtime(tmp_path) as runtime:

        async def found() -> bool:
            """Found by its environment, which a process that was started a moment ago gets only with its own program."""
            process = (await runtime.observe(AGENT)).get("g1-1-0")
            return process is not None and process.pid == before.pid

        await until(found)
    assert record_file(tmp_path).with_suffix(".unreadable").read_text() == "{"


@pytest.mark.parametrize("field", ["start_ticks", "boot_id"])
async def test_a_pid_that_was_used_again_is_neither_believed_nor_signalled(tmp_path: Path, field: str) -> None:
    async with open_runtime(tmp_path) as runtime:
        before = await started(runtime, release())
    stranger = psutil.Process(before.pid)
    other = {"start_ticks": 1, "boot_id": "an earlier boot"}[field]
    edit_record(record_file(tmp_path), lambda values: values["identity"].update({field: other}))
    async with open_runtime(tmp_path) as runtime:
        assert (await runtime.observe(AGENT))["g1-1-0"].exit_code is None
        await runtime.stop(AGENT, "g1-1-0")
        assert not (await runtime.observe(AGENT))["g1-1-0"].alive
    assert stranger.is_running()
    assert stranger.status() != psutil.STATUS_ZOMBIE
    stranger.kill()
    await to_thread.run_sync(stranger.wait, world.PATIENCE_SECONDS)


class PastClock(SystemClock):
    """A wall clock that somebody set back by ten years."""

    def now(self) -> datetime:
        return datetime(2015, 1, 1, tzinfo=UTC)


async def test_a_clock_set_back_changes_nothing(tmp_path: Path) -> None:
    async with open_runtime(tmp_path) as runtime:
        before = await started(runtime, release())
    past = ProcessRuntime(settings=Settings(data_dir=tmp_path), sources={}, clock=PastClock(), ids=RandomIds())
    async with past as runtime:
        assert await runtime.observe(AGENT) == {"g1-1-0": before}
        await runtime.stop(AGENT, "g1-1-0")
        assert (await ended(runtime)).pid == before.pid


async def test_how_an_instance_ended_is_remembered_by_the_next_server(tmp_path: Path) -> None:
    async with open_runtime(tmp_path) as runtime:
        await started(runtime, release(command=("sh", "-c", "echo boom; exit 3")))
        before = await ended(runtime)
    async with open_runtime(tmp_path) as runtime:
        assert await runtime.observe(AGENT) == {"g1-1-0": before}
        assert (before.exit_code, before.last_output) == (3, "boom")


async def test_an_instance_that_ended_between_two_servers_is_seen_as_ended(tmp_path: Path) -> None:
    with killed_server(tmp_path, START_ONE):
        values = record_file(tmp_path, "g3-1-0").read_text()
        pid = int(values.split('"pid": ')[1].split(",")[0])
        os.kill(pid, signal.SIGKILL)
        async with open_runtime(tmp_path) as runtime:
            assert (await ended(runtime, "g3-1-0")).exit_code is None


async def test_an_installation_cut_off_by_the_servers_death_is_ended_and_starts_over(tmp_path: Path) -> None:
    folder = tmp_path / "agents" / AGENT / "releases" / "1.0.0"
    with killed_server(tmp_path, BEGIN_AN_INSTALLATION):
        assert (folder / "half").exists()
        async with open_runtime(tmp_path) as runtime:
            assert not world.living(tmp_path)
            assert (await runtime.preparation(AGENT, "1.0.0")).status is PreparationStatus.ABSENT
            await install(runtime, release())
            assert sorted(path.name for path in folder.iterdir()) == [".installed", "agent.py"]


async def test_a_version_half_deleted_by_an_earlier_server_is_deleted_for_good(tmp_path: Path) -> None:
    half = tmp_path / "agents" / AGENT / "releases" / ".deleted-01J"
    (half / "lib").mkdir(parents=True)
    async with open_runtime(tmp_path):

        async def is_gone() -> bool:
            return not half.exists()

        await world.until(is_gone)


async def test_a_data_directory_that_cannot_be_used_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="cannot use the data directory") as raised:
        async with open_runtime(tmp_path / "file" / "data"):
            pass
    assert type(raised.value).__name__ == "TemporaryError"
