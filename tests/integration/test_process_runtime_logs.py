"""Logs of running instances: rotated under a writing agent, readable all along."""

import os
from pathlib import Path

import pytest

from tests.integration import process_world as world
from tests.integration.process_world import AGENT, open_runtime, release, started

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
WRITES = (
    "sh",
    "-c",
    "head -c 1500000 /dev/zero | tr '\\0' x; echo; echo ready; read line < \"$SERVICING_STATE_DIR/go\"; echo more; exec sleep 1000",
)


async def test_a_log_that_outgrows_its_limit_is_rotated_under_the_running_agent(tmp_path: Path) -> None:
    state = tmp_path / "agents" / AGENT / "state"
    state.mkdir(parents=True)
    os.mkfifo(state / "go")
    async with open_runtime(tmp_path, log_max_mb=1) as runtime:
        await started(runtime, release(command=WRITES))
        await world.printed(runtime, "ready")
        await runtime.rotate_logs()
        (state / "go").write_text("go\n")
        assert (await world.printed(runtime, "more"))[-2:] == ["ready", "more"]
        assert (await runtime.observe(AGENT))["g1-1-0"].alive
        await runtime.stop_everything()
    folder = world.record_file(tmp_path).parent
    assert (folder / "output.log").read_text() == "more\n"
    assert (folder / "output.log.1").stat().st_size > 1 * MB


async def test_a_log_that_cannot_be_rotated_harms_nobody(tmp_path: Path) -> None:
    async with open_runtime(tmp_path, log_max_mb=1) as runtime:
        for instance in ("g1-1-0", "g1-2-0"):
            await started(runtime, release(command=("sh", "-c", "head -c 1500000 /dev/zero; echo; echo ready; exec sleep 1000")), instance)
            await world.printed(runtime, "ready", instance)
        (world.record_file(tmp_path).parent / "output.log.copy").symlink_to("/dev/full")
        await runtime.rotate_logs()
        assert all(process.alive for process in (await runtime.observe(AGENT)).values())
        assert (world.record_file(tmp_path, "g1-2-0").parent / "output.log.1").exists()
        await runtime.stop_everything()
