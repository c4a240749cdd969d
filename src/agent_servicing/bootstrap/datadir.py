"""The data directory as a whole: one server at a time, and the files by which others find it."""

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent_servicing.core.errors import Conflict, Unavailable

LOCK = "server.lock"
SERVER = "server.json"
LOCAL_PORT = "local.port"


@contextmanager
def owned(data_dir: Path) -> Iterator[None]:
    """Hold the directory for this process. The lock is the kernel's, so a killed server leaves none behind.

    Raises Conflict naming the process that holds it, Unavailable when the directory cannot be written.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"the data directory {data_dir} cannot be used: {error.strerror}"
        raise Unavailable(message, hint="Choose another with --data-dir, or make this one writable.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise Conflict(
                f"the data directory {data_dir} is in use by another server (pid {holder})",
                hint="Use that server, end it with `servicing stop`, or choose another --data-dir.",
                code="data_directory_in_use",
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def holder(data_dir: Path) -> int | None:
    """The pid of the server that holds this directory now, None when none does."""
    try:
        handle = os.open(data_dir / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(handle, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(handle)
    return None


def listen_locally(data_dir: Path, listen: Callable[[str, int], socket.socket]) -> socket.socket:
    """A socket on loopback, under TLS for what runs on this machine. The port is kept: instances outlive the server and come back to it."""
    kept = data_dir / LOCAL_PORT
    try:
        listener = listen("127.0.0.1", int(kept.read_text(encoding="ascii")))
    except (OSError, ValueError, OverflowError, Unavailable):
        listener = listen("127.0.0.1", 0)
    kept.write_text(f"{listener.getsockname()[1]}\n", encoding="ascii")
    return listener


def announce(data_dir: Path, *, api_url: str, router_url: str, version: str, local_url: str | None = None) -> None:
    """Write server.json whole or not at all: whoever reads it finds a server that is ready."""
    content = {"api_url": api_url, "router_url": router_url, "pid": os.getpid(), "version": version}
    if local_url is not None:
        content["local_url"] = local_url
    temporary = data_dir / f".{SERVER}.{os.getpid()}"
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(data_dir / SERVER)


def withdraw(data_dir: Path) -> None:
    """The server ends; nobody should look for it."""
    with suppress(OSError):
        (data_dir / SERVER).unlink(missing_ok=True)
