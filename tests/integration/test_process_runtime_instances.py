"""Instances of the process runtime, as real processes: what they are given, how they end, and what is said about it."""

import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from agent_servicing.adapters.runtime.process import ProcessRuntime
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.manifest import ConfigSpec, StateSpec
from agent_servicing.core.model import Process
from tests.integration import process_world as world
from tests.integration.process_world import AGENT, SERVES, ended, install, printed, record_file, release, started

pytestmark = pytest.mark.anyio


@pytest.fixture
async def runtime(tmp_path: Path, anyio_backend: str) -> AsyncIterator[ProcessRuntime]:
    async with world.open_runtime(tmp_path) as opened:
        yield opened
        await opened.stop_everything()


async def told(runtime: ProcessRuntime, process: Process) -> dict[str, str]:
    """The environment that the serving tiny agent sees."""
    await printed(runtime, "listening", process.instance)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://{process.host}:{process.port}/env")
    seen: dict[str, str] = answer.json()["env"]
    return {**seen, "cwd": answer.json()["cwd"]}


async def test_an_instance_gets_what_the_contract_promises(runtime: ProcessRuntime, tmp_path: Path) -> None:
    env = {"GREETING": "{agent} {version} at {port} {unknown}", "PORT": "1"}
    wanted = release("1.2.0+patch.1", command=SERVES, env=env, config=ConfigSpec(defaults={"size": 3}))
    process = await started(runtime, wanted, "g4-1-0", 4)
    seen = await told(runtime, process)
    home = tmp_path / "agents" / AGENT
    expected = {
        "HOST": "127.0.0.1",
        "PORT": str(process.port),
        "SERVICING_URL": "http://127.0.0.1:8700",
        "SERVICING_ROUTER_URL": "http://127.0.0.1:8800",
        "SERVICING_CONFIG_FILE": str(home / "instances/g4-1-0/config.json"),
        "SERVICING_STATE_DIR": str(home / "state"),
        "SERVICING_AGENT": AGENT,
        "SERVICING_VERSION": "1.2.0+patch.1",
        "SERVICING_INSTANCE": "g4-1-0",
        "SERVICING_GENERATION": "4",
        "GREETING": f"{AGENT} 1.2.0+patch.1 at {process.port} {{unknown}}",
        "cwd": str(home / "releases/1.2.0+patch.1"),
    }
    assert {name: seen[name] for name in expected} == expected
    assert len(seen["SERVICING_INSTANCE_TOKEN"]) >= 32
    assert json.loads((home / "instances/g4-1-0/config.json").read_text()) == {"size": 3}
    assert (home / "state").is_dir()


async def test_every_instance_has_a_token_of_its_own(runtime: ProcessRuntime) -> None:
    wanted = release(command=SERVES)
    first = await told(runtime, await started(runtime, wanted, "g1-1-0"))
    second = await told(runtime, await started(runtime, wanted, "g1-2-0"))
    assert first["SERVICING_INSTANCE_TOKEN"] != second["SERVICING_INSTANCE_TOKEN"]


async def test_the_servers_own_variables_stay_with_the_server(tmp_path: Path) -> None:
    environ = {**os.environ, "SERVICING_TOKEN": "admin", "DATABASE_PASSWORD": "secret", "VIRTUAL_ENV": "elsewhere", "LC_ALL": "C.UTF-8"}
    async with world.open_runtime(tmp_path, environ=environ) as runtime:
        seen = await told(runtime, await started(runtime, release(command=SERVES)))
        await runtime.stop_everything()
    assert not {"SERVICING_TOKEN", "DATABASE_PASSWORD", "VIRTUAL_ENV"} & seen.keys()
    assert seen["LC_ALL"] == "C.UTF-8"


async def test_files_with_secrets_are_for_the_owner_only(runtime: ProcessRuntime, tmp_path: Path) -> None:
    await started(runtime, release(config=ConfigSpec(file="etc/agent.json", defaults={"key": "k"})))
    folder = record_file(tmp_path).parent
    for path in (folder / "instance.json", folder / "output.log", folder / "config/etc/agent.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize(
    ("manifest", "key"),
    [
        ({"config": ConfigSpec(file="../../other.json")}, "config.file"),
        ({"config": ConfigSpec(file="/etc/agent.json")}, "config.file"),
        ({"state": StateSpec(directory="../elsewhere")}, "state.directory"),
        ({"state": StateSpec(directory="releases")}, "state.directory"),
    ],
)
async def test_a_manifest_cannot_name_files_outside_its_folders(runtime: ProcessRuntime, manifest: dict[str, Any], key: str) -> None:
    wanted = release(**manifest)
    await install(runtime, wanted)
    with pytest.raises(PermanentError, match=key):
        await runtime.start(wanted, instance="g1-1-0", generation=1)
    assert not await runtime.observe(AGENT)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\n"])
async def test_names_that_are_no_path_parts_are_refused(runtime: ProcessRuntime, name: str) -> None:
    with pytest.raises(PermanentError):
        await runtime.preparation(AGENT, name)
    with pytest.raises(PermanentError):
        await runtime.logs(AGENT, name)


async def test_generations_share_the_state_directory_of_the_manifest(runtime: ProcessRuntime, tmp_path: Path) -> None:
    command = ("sh", "-c", 'echo $0 >> "$SERVICING_STATE_DIR/seen"; echo {state}; exec sleep 1000', "{version}")
    for number, version in enumerate(("1.0.0", "2.0.0"), start=1):
        await started(runtime, release(version, command=command, state=StateSpec(directory="memories")), f"g{number}-1-0", number)
        await printed(runtime, str(tmp_path / "agents" / AGENT / "memories"), f"g{number}-1-0")
    assert (tmp_path / "agents" / AGENT / "memories" / "seen").read_text().split() == ["1.0.0", "2.0.0"]


async def test_an_instance_runs_in_a_session_of_its_own(runtime: ProcessRuntime) -> None:
    process = await started(runtime, release())
    assert process.pid is not None
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid


async def test_the_releases_own_environment_comes_first_on_path(runtime: ProcessRuntime) -> None:
    make_tool = "mkdir -p .venv/bin && printf '#!/bin/sh\\necho own tool\\nexec sleep 1000\\n' > .venv/bin/tool && chmod +x .venv/bin/tool"
    await started(runtime, release(command=("tool",), install=("sh", "-c", make_tool)))
    assert await printed(runtime, "own tool") == ["own tool"]


async def test_a_command_that_is_not_found_is_an_instance_that_ended_with_127(runtime: ProcessRuntime) -> None:
    process = await started(runtime, release(command=("no-such-program", "--flag")))
    assert (process.alive, process.exit_code, process.pid) == (False, 127, None)
    assert process.last_output.startswith("command not found: no-such-program (looked in /")
    assert await printed(runtime, "command not found") == [process.last_output]


async def test_a_relative_command_is_looked_for_in_the_release(runtime: ProcessRuntime, tmp_path: Path) -> None:
    process = await started(runtime, release(command=("bin/serve",)))
    assert process.last_output == f"command not found: bin/serve (there is no {tmp_path}/agents/{AGENT}/releases/1.0.0/bin/serve)"


async def test_a_file_that_is_not_executable_ends_with_126(runtime: ProcessRuntime) -> None:
    process = await started(runtime, release(command=("./agent.py",)))
    assert (process.alive, process.exit_code) == (False, 126)
    assert "is no executable file" in process.last_output


@pytest.mark.parametrize(("content", "code"), [("#!/no/such/interpreter", 127), ("just text", 126)])
async def test_a_program_the_kernel_refuses_says_so(runtime: ProcessRuntime, content: str, code: int) -> None:
    install_step = ("sh", "-c", f"echo '{content}' > tool && chmod +x tool")
    process = await started(runtime, release(command=("./tool",), install=install_step))
    assert (process.alive, process.exit_code) == (False, code)
    assert process.last_output.startswith("command ")


async def test_an_empty_command_says_so(runtime: ProcessRuntime) -> None:
    assert (await started(runtime, release(command=()))).last_output == "the command is empty"


async def test_a_crash_shows_exit_code_and_last_lines(runtime: ProcessRuntime) -> None:
    await started(runtime, release(command=("sh", "-c", "seq 1 9; echo boom >&2; exit 3")))
    process = await ended(runtime)
    assert (process.exit_code, process.last_output) == (3, "6\n7\n8\n9\nboom")


async def test_a_taken_port_is_told_in_the_agents_own_words(runtime: ProcessRuntime) -> None:
    first = await started(runtime, release(command=SERVES))
    await printed(runtime, "listening")
    takes_it = release(command=("env", f"PORT={first.port}", "python", "agent.py"))
    await runtime.start(takes_it, instance="g1-2-0", generation=1)
    assert "Address already in use" in (await ended(runtime, "g1-2-0")).last_output


async def test_a_signal_is_a_negative_exit_code(runtime: ProcessRuntime) -> None:
    await started(runtime, release())
    await runtime.stop(AGENT, "g1-1-0")
    assert (await ended(runtime)).exit_code == -15


async def test_an_instance_that_ignores_sigterm_is_ended_by_kill(runtime: ProcessRuntime) -> None:
    await started(runtime, release(command=SERVES, env={"IGNORE_TERM": "1"}))
    await printed(runtime, "listening")
    await runtime.stop(AGENT, "g1-1-0")
    assert (await runtime.observe(AGENT))["g1-1-0"].alive
    await runtime.stop(AGENT, "g1-1-0", kill=True)
    assert (await ended(runtime)).exit_code == -9


@pytest.mark.parametrize("how", ["kill", "forget"])
async def test_workers_end_with_their_instance(runtime: ProcessRuntime, how: str) -> None:
    process = await started(runtime, release(command=SERVES, env={"WITH_WORKER": "1"}))
    worker = psutil.Process(int((await printed(runtime, "worker"))[0].split()[1]))
    await printed(runtime, "listening")
    assert os.getpgid(worker.pid) != process.pid
    await runtime.stop(AGENT, "g1-1-0", kill=how == "kill")
    await ended(runtime)
    if how == "forget":
        assert worker.is_running()
        await runtime.forget(AGENT, "g1-1-0")

    async def is_gone() -> bool:
        return not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE

    await world.until(is_gone)


async def test_forgetting_deletes_what_is_secret_and_keeps_the_log(runtime: ProcessRuntime, tmp_path: Path) -> None:
    await started(runtime, release(command=("echo", "last words"), config=ConfigSpec(file="etc/agent.json")))
    await ended(runtime)
    await runtime.forget(AGENT, "g1-1-0")
    assert [path.name for path in record_file(tmp_path).parent.iterdir()] == ["output.log"]
    assert list(await runtime.logs(AGENT, "g1-1-0")) == [("g1-1-0", "last words")]


async def test_a_full_disk_refuses_the_start_in_words_and_leaves_nothing(runtime: ProcessRuntime, tmp_path: Path) -> None:
    wanted = release()
    await install(runtime, wanted)
    # A symbolic link to the device that is always full stands where the configuration is written.
    folder = record_file(tmp_path).parent
    folder.mkdir(parents=True)
    (folder / ".config.json.new").symlink_to("/dev/full")
    with pytest.raises(TemporaryError, match=r"cannot start Tiny/g1-1-0: the disk of the data directory is full"):
        await runtime.start(wanted, instance="g1-1-0", generation=1)
    assert not await runtime.observe(AGENT)
    await runtime.start(wanted, instance="g1-1-0", generation=1)
    assert (await runtime.observe(AGENT))["g1-1-0"].alive


async def test_a_record_that_cannot_be_written_means_nothing_runs(runtime: ProcessRuntime, tmp_path: Path) -> None:
    wanted = release(command=("sh", "-c", "exec sleep 1234.5"))
    await install(runtime, wanted)
    folder = record_file(tmp_path).parent
    folder.mkdir(parents=True)
    (folder / ".instance.json.new").symlink_to("/dev/full")
    with pytest.raises(TemporaryError, match="disk of the data directory is full"):
        await runtime.start(wanted, instance="g1-1-0", generation=1)
    assert not await runtime.observe(AGENT)
    await world.nothing_lives(tmp_path)


async def test_stopping_everything_ends_every_agent_even_stubborn_ones(tmp_path: Path) -> None:
    async with world.open_runtime(tmp_path) as runtime:
        await started(runtime, release())
        await started(runtime, release(agent="Other"))
    async with world.open_runtime(tmp_path, stop_grace_seconds=0.5) as later:
        stubborn = release(command=("sh", "-c", "trap '' TERM; echo deaf; sleep 1000"), agent="Stubborn")
        await started(later, stubborn)
        await printed(later, "deaf", agent="Stubborn")
        assert sorted(await later.stop_everything()) == ["Other/g1-1-0", "Stubborn/g1-1-0", "Tiny/g1-1-0"]
        for agent in ("Other", "Stubborn", "Tiny"):
            assert not (await later.observe(agent))["g1-1-0"].alive
        assert list(await later.stop_everything()) == []
