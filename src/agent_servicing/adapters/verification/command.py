"""Runs an agent's own tests: one command in the version's folder, with a time limit, its output kept within bounds, and nothing left behind.

The verifier runs smoke tests with it after a deployment, staging every suite that is a command.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, STDOUT

import anyio
from anyio import to_thread
from anyio.abc import Process

from agent_servicing.adapters.runtime.environment import CommandNotFound, base_environment, fill, resolve
from agent_servicing.adapters.runtime.files import sentence
from agent_servicing.adapters.verification.junit import Results, read_results
from agent_servicing.adapters.verification.output import Output
from agent_servicing.core.model import Release

GUARD = Path(__file__).with_name("guard.py")

REPORT = "junit.xml"
"""In the scratch folder: what `{junit}` stands for."""

CANNOT_START = frozenset({126, 127})
"""What a shell, and our guard, say of a command that does not exist or cannot be executed."""

END_SECONDS = 8.0
"""How long the guard may take to end everything; then it is killed itself. It needs longer only for processes stuck in the kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How it went. `problem` says why it could not be run at all, empty when it was; `exit_code` None: ended by the time limit."""

    exit_code: int | None = None
    problem: str = ""
    results: Results | None = None
    lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a command runs and what it is told: the release's folder, a scratch folder of its own, the agent's address, more variables."""

    folder: Path
    scratch: Path
    url: str
    key: str
    data_dir: Path
    outer: Mapping[str, str]
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def report(self) -> Path:
        """Where its JUnit XML is expected."""
        return self.scratch / REPORT


async def run_smoke(release: Release, command: Sequence[str], place: Place, *, timeout_seconds: float) -> Ran:
    """Run it to its end. Cancelling ends the command and all that it started. Never raises for what the command does."""
    values = {
        "url": place.url,
        "junit": str(place.report),
        "release": str(place.folder),
        "version": release.version,
        "agent": release.agent,
    }
    environment = _environment(release, place, values)
    if not place.folder.is_dir():
        return Ran(problem="the version is not installed here any more")
    try:
        arguments = resolve([fill(part, values) for part in command], path=environment["PATH"], folder=place.folder)
        output = Output()
        exit_code = await run_guarded(arguments, environment, place.folder, output, timeout_seconds)
    except CommandNotFound as error:
        return Ran(problem=str(error))
    except OSError as error:
        return Ran(problem=f"the command cannot be started: {sentence(error)}")
    lines = output.lines()
    if exit_code in CANNOT_START or _module_is_missing(arguments, exit_code, lines):
        return Ran(problem=lines[-1] if lines else f"the command ended with {exit_code}", lines=lines)
    return Ran(exit_code=exit_code, results=await to_thread.run_sync(read_results, place.report), lines=lines)


async def run_guarded(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, output: Output, timeout_seconds: float
) -> int | None:
    """The exit code, None after the time limit. Whatever it started ends with it, and with the server."""
    # Isolated, so that neither the agent's folder nor its environment can change what the guard imports.
    guarded = [sys.executable, "-I", "-S", str(GUARD), *arguments]
    process = await anyio.open_process(guarded, cwd=folder, env=environment, stdin=PIPE, stdout=PIPE, stderr=STDOUT, start_new_session=True)
    try:
        with anyio.move_on_after(timeout_seconds):
            await _read(process, output)
            return await process.wait()
        return None
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process, output)


async def _read(process: Process, output: Output) -> None:
    if process.stdout is not None:
        async for piece in process.stdout:
            output.add(piece)


async def _end(process: Process, output: Output) -> None:
    """Tell the guard to end everything by closing its input; a guard that does not is killed with its group."""
    if process.stdin is not None:
        await process.stdin.aclose()
    if process.returncode is not None and process.returncode < 0:  # somebody killed the guard; what it guarded runs on
        _kill_group(process.pid)
    with anyio.move_on_after(END_SECONDS):
        await _read(process, output)  # or it might wait for us to take its last words
        await process.wait()
    if process.returncode is None:
        _kill_group(process.pid)
    await process.aclose()


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):  # ended meanwhile
        os.killpg(leader, signal.SIGKILL)


def _environment(release: Release, place: Place, values: Mapping[str, str]) -> dict[str, str]:
    """What instances get, without what belongs to one instance: no address to listen on, no token."""
    environment = base_environment(place.outer, place.folder)
    environment |= {name: fill(text, values) for name, text in release.manifest.run.env.items()}
    environment |= {
        "SERVICING_AGENT": release.agent,
        "SERVICING_VERSION": release.version,
        "SERVICING_ROUTER_URL": place.url.removesuffix(f"/{release.agent}"),
        "SERVICING_VERIFICATION": place.key,
        "SERVICING_DATA_DIR": str(place.data_dir),
        **place.extra,
    }
    # The production address is on this machine or its own network: a proxy for the outside world would not find it.
    host = place.url.partition("://")[2].partition("/")[0].rpartition(":")[0].strip("[]")
    for name in ("no_proxy", "NO_PROXY"):
        environment[name] = ",".join(filter(None, [environment.get(name, ""), host, "localhost"]))
    return environment


def _module_is_missing(arguments: Sequence[str], exit_code: int | None, lines: Sequence[str]) -> bool:
    """`python -m pytest` without pytest ends with 1, which looks like a failed test; its only line tells it apart."""
    asked = arguments[2] if len(arguments) > 2 and arguments[1] == "-m" else None
    return asked is not None and exit_code == 1 and len(lines) == 1 and lines[0].endswith(f": No module named {asked}")
