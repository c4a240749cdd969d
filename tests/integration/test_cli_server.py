"""The command line as a process of its own, against the real API, services and engine over real sockets; agents and traffic are in memory."""

import csv
import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import uvicorn
from anyio.abc import Process
from sqlalchemy import text

from agent_servicing.adapters.system import SystemClock
from agent_servicing.cli.surroundings import WebSocket
from agent_servicing.store.append_only import unguarded
from agent_servicing.web.server import uvicorn_config
from tests.integration.api_world import AGENT, MANIFEST, ApiWorld, open_world

pytestmark = pytest.mark.anyio

COMMAND = [sys.executable, "-m", "agent_servicing.cli.main"]
GENEROUS_SECONDS = 60
TURN_SECONDS = 0.02
"""The virtual clock goes on a second every so often: fifty times as fast as life."""

DRIVER = """
import json, sys
from typer.testing import CliRunner
from agent_servicing.cli.main import app
for line in sys.stdin:
    done = CliRunner().invoke(app, json.loads(line), prog_name="servicing")
    odd = "" if done.exception is None or isinstance(done.exception, SystemExit) else repr(done.exception)
    print(json.dumps([done.exit_code, done.stdout, done.stderr + odd]), flush=True)
"""
"""Runs one command after another in one process, because most of a command's time is Python's start."""

FAST = ["--steps", "50,100", "--monitor-seconds", "5", "--reason", "a test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


@dataclass(kw_only=True)
class Site:
    """A folder in which a server runs on `servicing-data`, as an operator finds it."""

    folder: Path
    world: ApiWorld
    driver: Process

    async def run(self, *words: str, expect: int | None = 0) -> Done:
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        answer = b""
        with anyio.fail_after(GENEROUS_SECONDS):
            await self.driver.stdin.send(json.dumps(words).encode() + b"\n")
            while not answer.endswith(b"\n"):
                answer += await self.driver.stdout.receive()
        code, out, err = json.loads(answer)
        assert expect is None or code == expect, (words, code, out, err)
        return Done(code=code, out=out, err=err)

    async def add(self) -> None:
        (self.folder / "agent.toml").write_text(MANIFEST)
        await self.run("agent", "add", ".", "--version", "1.2.5", "--wait")
        self.world.source.names = ["1.2.4", "1.2.5", "1.3.0"]
        await self.run("versions", AGENT, "--refresh")


@pytest.fixture
async def site(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Site]:
    data = tmp_path / "servicing-data"
    data.mkdir(mode=0o700)
    async with open_world(data) as world, answering(world) as url, turning(world), AsyncExitStack() as stack:
        router = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        content = {"api_url": url, "router_url": f"http://127.0.0.1:{router.getsockname()[1]}", "pid": os.getpid(), "version": "0.1.0"}
        (data / "server.json").write_text(json.dumps(content))
        async with await anyio.open_process([sys.executable, "-c", DRIVER], cwd=tmp_path, env=environ(), stderr=None) as driver:
            yield Site(folder=tmp_path, world=world, driver=driver)
            driver.kill()


def environ() -> Mapping[str, str]:
    """This process's environment without settings of the product."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SERVICING_")}


@asynccontextmanager
async def answering(world: ApiWorld) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn_config(world.app, host="127.0.0.1", port=0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server._serve)  # `serve` would take the test's signals
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True


@asynccontextmanager
async def turning(world: ApiWorld) -> AsyncIterator[None]:
    async def turns() -> None:
        while True:
            await world.turn()
            await SystemClock().sleep(TURN_SECONDS)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns)
        yield
        tasks.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(GENEROUS_SECONDS):
        while not condition():
            await SystemClock().sleep(0.01)


async def test_an_agent_is_added_upgraded_live_and_taken_back(site: Site) -> None:
    await site.add()
    upgraded = await site.run("upgrade", AGENT, "1.3.0", *FAST, "--watch")
    assert "WowMemory 1.2.5 → 1.3.0: completed" in upgraded.out.splitlines()[-1]
    assert any("route_traffic_50 completed" in line for line in upgraded.out.splitlines())
    assert (await site.run("agent", "show", AGENT, "--json")).json["current_version"] == "1.3.0"
    back = await site.run("rollback", AGENT, "--reason", "a test", "--watch")
    assert "completed" in back.out.splitlines()[-1]
    assert (await site.run("agent", "show", AGENT, "--json")).json["current_version"] == "1.2.5"


async def test_a_bad_version_is_rolled_back_and_the_exit_code_says_so(site: Site) -> None:
    await site.add()
    site.world.runtime.behaviour("1.3.0").error_share = 0.5
    done = await site.run("upgrade", AGENT, "1.3.0", *FAST, "--error-rate-threshold", "5", "--watch", expect=3)
    assert "automatic rollback: Error rate threshold exceeded" in done.out
    assert "1.2.5 serves again." in done.out.splitlines()[-1]


async def test_every_reading_command_understands_the_real_answers(site: Site) -> None:
    await site.add()
    done = await site.run("upgrade", AGENT, "1.3.0", *FAST, "--watch", "--json")
    upgrade = done.json["upgrade_id"]
    for words in (
        ["agent", "list"],
        ["agent", "show", AGENT],
        ["versions", AGENT],
        ["changes", AGENT, "1.2.5", "1.3.0"],
        ["status"],
        ["status", AGENT],
        ["status", upgrade],
        ["logs", AGENT],
        ["audit"],
        ["audit", "verify"],
        ["token", "list"],
        ["open"],
    ):
        assert isinstance((await site.run(*words, "--json")).json, dict)
        shown = await site.run(*words)
        assert shown.out.strip() or words[0] == "logs"
    status = (await site.run("status")).out
    assert AGENT in status
    assert "1.3.0" in status
    rows = list(csv.DictReader(io.StringIO((await site.run("audit", "--format", "csv", "--agent", AGENT, "--type", "upgrade")).out)))
    assert [(row["type"], row["to_version"], row["status"]) for row in rows] == [("upgrade", "1.3.0", "success")]


async def test_verbs_steer_a_deployment(site: Site) -> None:
    await site.add()
    started = (await site.run("upgrade", AGENT, "1.3.0", "-r", "x", "--steps", "25,50,100", "--monitor-seconds", "86400", "--json")).json
    upgrade = started["upgrade_id"]

    async def status() -> str:
        return str((await site.run("status", upgrade, "--json")).json["status"])

    async def becomes(wanted: str) -> None:
        with anyio.fail_after(GENEROUS_SECONDS):
            while await status() != wanted:
                pass

    await becomes("in_progress")
    await site.run("pause", upgrade, "-r", "lunch")
    await becomes("paused")
    await site.run("resume", upgrade)
    await becomes("in_progress")
    assert (await site.run("resume", upgrade, expect=1)).err.startswith("Error: ")
    await site.run("promote", upgrade)
    await site.run("cancel", upgrade, "--watch", expect=3)


async def test_refusals_are_one_clear_line(site: Site) -> None:
    await site.add()
    for words in (
        ["upgrade", AGENT, "9.9.9", "-r", "x"],
        ["upgrade", AGENT, "1.2.5", "-r", "x"],
        ["upgrade", AGENT, "1.2.4", "-r", "x"],
        ["upgrade", AGENT, "one.two", "-r", "x"],
        ["upgrade", AGENT, "1.3.0", "-r", " "],
        ["upgrade", AGENT, "1.3.0", "-r", "x", "--strategy", "magic"],
        ["upgrade", AGENT, "1.3.0", "-r", "x", "--steps", "50,20"],
        ["upgrade", "Nobody", "1.3.0", "-r", "x"],
        ["rollback", AGENT, "0.0.1", "-r", "x"],
        ["agent", "show", "Nobody"],
        ["agent", "add", "."],
        ["status", "upg-nothing"],
        ["token", "revoke", "tok-nothing"],
    ):
        done = await site.run(*words, expect=1)
        assert done.out == ""
        lines = done.err.splitlines()
        assert lines[0].startswith("Error: "), done.err
        assert all(line.startswith(("  ", "Hint: ")) for line in lines[1:])


async def test_a_dry_run_changes_nothing(site: Site) -> None:
    await site.add()
    done = await site.run("upgrade", AGENT, "1.3.0", *FAST, "--dry-run")
    assert "route_traffic_50" in done.out
    assert "Nothing was changed." in done.out
    assert (await site.run("audit", "--json", "--type", "upgrade")).json["events"] == []


async def test_ctrl_c_stops_watching_and_nothing_else(site: Site) -> None:
    await site.add()
    words = [*COMMAND, "upgrade", AGENT, "1.3.0", "-r", "x", "--steps", "50,100", "--monitor-seconds", "86400", "--watch"]
    async with await anyio.open_process(words, cwd=site.folder, env=environ(), stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = b""
        with anyio.fail_after(GENEROUS_SECONDS):
            while b"started" not in seen:
                seen += await process.stdout.receive()
            process.send_signal(signal.SIGINT)
            said = b"".join([part async for part in process.stderr])
            assert await process.wait() == 130
    assert b"goes on" in said
    agent = (await site.run("agent", "show", AGENT, "--json")).json
    assert agent["deployment"]["status"] == "in_progress"


async def test_a_terminal_gets_a_live_picture(site: Site) -> None:
    await site.add()
    ours, theirs = pty.openpty()
    words = [*COMMAND, "upgrade", AGENT, "1.3.0", *FAST, "--watch"]
    terminal = {**environ(), "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "50"}
    async with await anyio.open_process(words, cwd=site.folder, env=terminal, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        with anyio.fail_after(GENEROUS_SECONDS):
            shown = await anyio.to_thread.run_sync(everything, ours)
            assert await process.wait() == 0
    text = shown.decode(errors="replace")
    for word in ("blue-green", "error rate", "p95 latency", "Verdict", "route_traffic_50", "✓", "━", "Ctrl-C stops watching"):
        assert word in text
    assert "\x1b[?25h" in text  # the cursor is back


def everything(terminal: int) -> bytes:
    """What is written to the terminal until its last writer has gone."""
    found = b""
    try:
        while part := os.read(terminal, 65536):
            found += part
    except OSError:
        pass  # Linux says EIO at the end of a terminal
    finally:
        os.close(terminal)
    return found


async def test_the_live_connection_of_a_watch_gets_a_snapshot_then_events(site: Site) -> None:
    await site.add()
    started = (await site.run("upgrade", AGENT, "1.3.0", *FAST, "--json")).json
    server = json.loads((site.folder / "servicing-data" / "server.json").read_text())
    url = server["api_url"].replace("http://", "ws://") + "/ws/agent-upgrades"

    def listen() -> list[str]:
        socket = WebSocket(url, {"Authorization": f"Bearer {site.world.admin_token}"})
        socket.send(json.dumps({"action": "subscribe", "upgrade_id": started["upgrade_id"]}))
        events: list[str] = []
        while not events or events[-1] != "completed":
            events.append(json.loads(socket.recv(timeout=GENEROUS_SECONDS))["event"])
        socket.close()
        return events

    events = await anyio.to_thread.run_sync(listen)
    assert events[0] == "snapshot"
    assert {"stage_completed", "metrics_update", "traffic_shifted"} <= set(events)


async def test_a_scheduled_upgrade_says_when(site: Site) -> None:
    await site.add()
    done = await site.run("upgrade", AGENT, "1.3.0", *FAST, "--at", "2030-01-01T00:00:00Z", expect=2)
    assert "more than a year ahead" in done.err
    done = await site.run("upgrade", AGENT, "1.3.0", *FAST, "--at", "in 2 hours")
    assert "Scheduled for " in done.err
    assert "scheduled" in done.out.split()


async def test_a_token_made_here_works_within_its_role(site: Site) -> None:
    await site.add()
    token = (await site.run("token", "create", "--role", "viewer", "--name", "watcher")).out.strip()
    await site.run("agent", "list", "--token", token)
    refused = await site.run("upgrade", AGENT, "1.3.0", *FAST, "--token", token, expect=1)
    assert "role" in refused.err
    assert "--token" in (await site.run("agent", "list", "--token", "wrong", expect=1)).err


async def test_the_doctor_looks_at_the_running_server(site: Site) -> None:
    await site.add()
    found = (await site.run("doctor", "--json")).json
    by_subject = {check["subject"]: check for check in found["checks"]}
    assert found["ok"] is True
    assert by_subject["server"]["level"] == "ok"
    assert by_subject[f"agent {AGENT}"]["level"] == "ok"
    assert by_subject["haproxy"]["detail"].startswith("2.8")
    ports = [check for subject, check in by_subject.items() if "port" in subject]
    assert [check["detail"] for check in ports] == ["in use by this server"] * 2, "whatever ports it was given"
    assert not {"port 8700", "router port 8800"} & set(by_subject)


async def test_the_doctor_finds_what_became_of_a_version_its_source_a_deployment_and_the_history(site: Site) -> None:
    await site.add()
    # Its clock shows the past, so that whatever is held began long ago.
    started = await site.run("upgrade", AGENT, "1.3.0", "--steps", "50,100", "--monitor-seconds", "600", "--reason", "a test", "--json")
    upgrade = started.json["upgrade_id"]
    await until(lambda: AGENT in site.world.router.routings and site.world.router.routings[AGENT].share == 50)
    await site.run("pause", upgrade, "--reason", "a test")
    await site.run("version", "withdraw", AGENT, "1.2.5", "--reason", "a test")
    site.world.source.problem = "the repository is gone"
    await site.run("versions", AGENT, "--refresh", expect=None)
    async with site.world.database.write() as connection:
        for statement in unguarded("sqlite"):
            await connection.execute(text(statement))
        await connection.execute(text("UPDATE events SET reason = 'nothing happened' WHERE type = 'agent_added'"))
    found = (await site.run("doctor", "--json", expect=1)).json
    by_subject = {check["subject"]: check for check in found["checks"] if check["level"] != "ok"}
    assert by_subject[f"version {AGENT}"]["detail"] == "1.2.5 was withdrawn"
    assert "the repository is gone" in by_subject[f"source {AGENT}"]["detail"]
    assert f"{upgrade} is paused" in by_subject[f"deployment {AGENT}"]["detail"]
    assert by_subject["history"]["level"] == "fail"


async def test_scaling_restarting_and_removing_an_agent(site: Site) -> None:
    await site.add()
    await site.run("agent", "scale", AGENT, "3", "-r", "x")
    done = await site.run("agent", "restart", AGENT, "-r", "x", "--watch")
    assert "completed" in done.out.splitlines()[-1]
    await site.run("agent", "remove", AGENT, "-r", "x")
    await until(lambda: not site.world.runtime.processes.get(AGENT))


async def test_a_reader_that_has_seen_enough_is_no_error(site: Site) -> None:
    script = f"{sys.executable} -m agent_servicing.cli.main audit --all | head -c 1; exit ${{PIPESTATUS[0]}}"
    await site.add()
    with anyio.fail_after(GENEROUS_SECONDS):
        done = await anyio.run_process(["bash", "-c", script], check=False, cwd=site.folder, env=environ())
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.parametrize(("debug", "traceback"), [("", False), ("1", True)])
async def test_what_nobody_foresaw_is_a_line_too_and_a_traceback_for_those_who_ask(tmp_path: Path, debug: str, traceback: bool) -> None:
    script = f"mkdir gone && cd gone && rmdir ../gone && {sys.executable} -m agent_servicing.cli.main agent list"
    with anyio.fail_after(GENEROUS_SECONDS):
        done = await anyio.run_process(["bash", "-c", script], check=False, cwd=tmp_path, env={**environ(), "SERVICING_DEBUG": debug})
    assert done.returncode == 1
    assert (b"Traceback" in done.stderr) is traceback
    assert done.stderr.startswith(b"Traceback" if traceback else b"Error: unexpected FileNotFoundError")
