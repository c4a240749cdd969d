"""Blocking work with a limit, for every source: a function in a thread, or a program; what goes wrong becomes one of the drivers' two errors."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import anyio
from anyio import to_thread

from agent_servicing.core.errors import TemporaryError

Result = TypeVar("Result")

VERSIONS_MAX = 200
"""Versions read from one source, newest first: more than anyone chooses from, little enough to read each time."""

READ_TIMEOUT_SECONDS = 120.0
"""Limit for reading one source from disk."""

RETRY_AFTER_SECONDS = 30.0
"""When to ask a source again that did not answer."""


async def read(what: str, function: Callable[[], Result]) -> Result:
    """Run a function that only reads. `what` completes "cannot …". Raises `TemporaryError` on time-out and when the disk fails."""
    try:
        with anyio.fail_after(READ_TIMEOUT_SECONDS):
            return await to_thread.run_sync(function, abandon_on_cancel=True)
    except TimeoutError:
        raise TemporaryError(f"cannot {what}: no end after {READ_TIMEOUT_SECONDS:g} s", retry_after_seconds=RETRY_AFTER_SECONDS) from None
    except OSError as error:
        raise storage_error(what, error) from error


async def write(what: str, function: Callable[[], Result]) -> Result:
    """Run a function that fills a folder. It is never abandoned: whoever cancels waits until nothing writes there any more."""
    try:
        return await to_thread.run_sync(function)
    except OSError as error:
        raise storage_error(what, error) from error


async def run(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], seconds: float, given: bytes = b"") -> CompletedProcess[bytes]:
    """Run a program to its end and give back what it said. Raises `TemporaryError` on time-out, `FileNotFoundError` when it is not there."""
    try:
        with anyio.fail_after(seconds):
            return await anyio.run_process(command, input=given, cwd=cwd, env=env, check=False)
    except TimeoutError:
        message = f"{command[0]} did not end within {seconds:g} s"
        raise TemporaryError(message, retry_after_seconds=RETRY_AFTER_SECONDS) from None


def storage_error(what: str, error: OSError) -> TemporaryError:
    """A disk that is full or unwell may be better later."""
    where = f" ({error.filename})" if error.filename else ""
    return TemporaryError(f"cannot {what}: {error.strerror or error}{where}", retry_after_seconds=RETRY_AFTER_SECONDS)


def last_lines(output: bytes, count: int = 5) -> str:
    """The end of a program's output, on one line, for an error's sentence."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    return "; ".join(lines[-count:])[:1000]


def plain_environment(outer: Mapping[str, str] | None) -> dict[str, str]:
    """The server's environment, or the one given, with messages in English because some are recognised."""
    return {**(os.environ if outer is None else outer), "LC_ALL": "C.UTF-8"}


def shown(location: str) -> str:
    """The address without its password."""
    if "://" not in location:
        return location
    parts = urlsplit(location)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
