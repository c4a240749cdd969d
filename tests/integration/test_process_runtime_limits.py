"""Limits of memory and processors on real processes: what they stop, whom they reach, and that they go away again."""

import json
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from agent_servicing.adapters.runtime import cgroups
from agent_servicing.adapters.runtime.cgroups import ControlGroups
from agent_servicing.adapters.runtime.process import ProcessRuntime
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.resources import Resources
from tests.integration import process_world as world
from tests.integration.process_world import AGENT, printed, release, started, until

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
HUNGRY = (
    sys.executable,
    "-u",
    "-c",
    """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-u", "-c", "import time; print('child', flush=True); time.sleep(1000)"])
def eat(*_):
    try:
        eaten = bytearray(400 * 1024 * 1024)
        print("fed", flush=True)
    except MemoryError:
        print("hungry", flush=True)
signal.signal(signal.SIGHUP, eat)
print("ready", flush=True)
while True:
    time.sleep(1000)
""",
)


@pytest.fixture
async def runtime(tmp_path: Path, anyio_backend: str) -> AsyncIterator[ProcessRuntime]:
    async with world.open_runtime(tmp_path) as opened:
        yield opened
        await opened.stop_everything()


def memory_limits(pid: int) -> set[int]:
    """Of the process and everything below it, in MB."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return {resource.prlimit(each.pid, resource.RLIMIT_DATA)[0] // MB for each in family}


async def lines(runtime: ProcessRuntime, text: str) -> int:
    return sum(text in line for _, line in await runtime.logs(AGENT, "g1-1-0"))


async def test_a_limit_reaches_every_process_of_a_running_instance_and_stops_what_is_beyond_it(runtime: ProcessRuntime) -> None:
    process = await started(runtime, release("1.0.0", command=HUNGRY))
    await printed(runtime, "ready")
    await printed(runtime, "child")
    assert process.pid is not None
    await runtime.limit(AGENT, "g1-1-0", Resources(memory_mb=256))
    assert memory_limits(process.pid) == {256}
    await runtime.signal(AGENT, "g1-1-0", "HUP")
    await printed(runtime, "hungry")
    await runtime.limit(AGENT, "g1-1-0", Resources(memory_mb=1024))
    await runtime.signal(AGENT, "g1-1-0", "HUP")
    await printed(runtime, "fed")
    await runtime.limit(AGENT, "g1-1-0", Resources())
    assert memory_limits(process.pid) == {resource.prlimit(process.pid, resource.RLIMIT_DATA)[1] // MB}
    assert (await runtime.observe(AGENT))["g1-1-0"].pid == process.pid, "it is the same process"


@pytest.fixture
def groups(tmp_path: Path) -> ControlGroups:
    """Those of the runtime under test."""
    found = cgroups.find(tmp_path.resolve())
    if isinstance(found, str):
        pytest.skip(f"no control groups to write in: {found}")
    return found


BUSY = (
    sys.executable,
    "-u",
    "-c",
    """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-u", "-c", "print('child', flush=True)\\nwhile True: pass"])
print("ready", flush=True)
while True: pass
""",
)


def group(groups: ControlGroups) -> Path:
    return groups.parent / f"{groups.prefix}{AGENT}.g1-1-0"


def throttled(groups: ControlGroups) -> int:
    """How often the kernel held the instance back."""
    text = (group(groups) / "cpu.stat").read_text()
    return int(dict(line.split() for line in text.splitlines())["nr_throttled"])


@pytest.mark.alone
async def test_a_part_of_the_processors_is_for_all_processes_of_an_instance_together_and_is_changed_while_they_run(
    runtime: ProcessRuntime, groups: ControlGroups
) -> None:
    assert "cpu" in runtime.limitable
    process = await started(runtime, release("1.0.0", command=BUSY))
    await printed(runtime, "ready")
    await printed(runtime, "child")
    assert process.pid is not None
    child = psutil.Process(process.pid).children()[0].pid
    for wanted in (Resources(cpu=0.5), Resources(cpu=0.125, memory_mb=256)):
        await runtime.limit(AGENT, "g1-1-0", wanted)
        assert (await runtime.observe(AGENT))["g1-1-0"].resources == wanted
        assert groups.read(f"{AGENT}/g1-1-0", child) == wanted.cpu

    async def held_back() -> bool:
        return throttled(groups) > 2

    await until(held_back)
    await runtime.limit(AGENT, "g1-1-0", Resources())
    assert (await runtime.observe(AGENT))["g1-1-0"].resources == Resources()
    assert (await runtime.observe(AGENT))["g1-1-0"].pid == process.pid, "it is the same process"
    await runtime.stop(AGENT, "g1-1-0", kill=True)

    async def nobody_is_in_it() -> bool:
        return not (group(groups) / "cgroup.procs").read_text()

    await until(nobody_is_in_it)  # one that has a process still is left for the next server
    await runtime.forget(AGENT, "g1-1-0")
    assert not list(groups.parent.glob(f"{groups.prefix}*"))


async def test_the_next_server_knows_the_part_of_a_running_instance_and_clears_away_the_group_of_one_that_ended(
    tmp_path: Path, groups: ControlGroups
) -> None:
    async with world.open_runtime(tmp_path) as first:
        await started(first, release("1.0.0", command=("sleep", "1000")))
        await first.limit(AGENT, "g1-1-0", Resources(cpu=0.5))
    groups.limit("Tiny/gone", 0.5)
    async with world.open_runtime(tmp_path) as second:
        assert (await second.observe(AGENT))["g1-1-0"].resources == Resources(cpu=0.5)
        assert [path.name for path in groups.parent.glob(f"{groups.prefix}*")] == [f"{groups.prefix}{AGENT}.g1-1-0"]
        await second.stop_everything()
    groups.sweep()
    assert not list(groups.parent.glob(f"{groups.prefix}*"))


async def test_a_program_that_only_reserves_address_space_is_not_stopped(runtime: ProcessRuntime) -> None:
    program = "import mmap, time; mmap.mmap(-1, 8 << 30, flags=mmap.MAP_PRIVATE | 0x4000, prot=0); print('reserved', flush=True); time.sleep(1000)"
    process = await started(
        runtime, release("1.0.0", command=("sh", "-c", "kill -STOP $$; exec " + json.dumps(sys.executable) + f' -c "{program}"'))
    )
    assert process.pid is not None
    shell = psutil.Process(process.pid)

    async def waits() -> bool:
        return bool(shell.status() == psutil.STATUS_STOPPED)

    await until(waits)
    await runtime.limit(AGENT, "g1-1-0", Resources(memory_mb=128))
    shell.resume()
    await printed(runtime, "reserved")


async def test_what_the_hard_limit_forbids_is_said_and_not_tried_for_ever(runtime: ProcessRuntime) -> None:
    process = await started(runtime, release("1.0.0", command=("sh", "-c", "ulimit -d 524288; echo ready; exec sleep 1000")))
    await printed(runtime, "ready")
    assert process.pid is not None
    assert (await runtime.observe(AGENT))["g1-1-0"].resources == Resources(), "its own limit is none of ours"
    await runtime.limit(AGENT, "g1-1-0", Resources(memory_mb=256))
    assert (await runtime.observe(AGENT))["g1-1-0"].resources == Resources(memory_mb=256)
    with pytest.raises(PermanentError, match="its hard limit is 512 MB"):
        await runtime.limit(AGENT, "g1-1-0", Resources(memory_mb=1024))


async def test_the_next_server_sees_the_limit_of_an_instance_that_it_found(tmp_path: Path) -> None:
    async with world.open_runtime(tmp_path) as first:
        await started(first, release("1.0.0", command=("sleep", "1000")))
        await first.limit(AGENT, "g1-1-0", Resources(memory_mb=256))
    async with world.open_runtime(tmp_path) as second:

        async def there() -> bool:
            return (await second.observe(AGENT))["g1-1-0"].resources == Resources(memory_mb=256)

        await until(there)
        await second.stop_everything()


async def test_a_limit_that_an_agent_set_itself_is_left_alone(runtime: ProcessRuntime) -> None:
    process = await started(runtime, release("1.0.0", command=("sh", "-c", "ulimit -S -d 524288; echo ready; exec sleep 1000")))
    await printed(runtime, "ready")
    assert process.pid is not None
    assert (await runtime.observe(AGENT))["g1-1-0"].resources == Resources()
    await runtime.limit(AGENT, "g1-1-0", Resources())
    assert memory_limits(process.pid) == {512}
    await runtime.limit(AGENT, "g1-1-0", Resources(memory_mb=256))
    resource.prlimit(process.pid, resource.RLIMIT_DATA, (300 * MB, resource.RLIM_INFINITY))
    assert (await runtime.observe(AGENT))["g1-1-0"].resources == Resources(memory_mb=300), "but what we limited is looked at"
