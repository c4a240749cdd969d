"""Runs one command and ends everything it started: when it ends, when its standard input closes, and so when the server dies.

A program of its own, started by `command` with the path of this file, never imported by it: it must start fast and owe nothing to the
folder it runs in. Its exit code is the command's, 128 and the number for a signal, 127 or 126 when the command cannot be started at all.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

SWEEP_ROUNDS = 100
"""How often the processes left are looked for and killed; each round ends with the next death or after `SWEEP_SECONDS`."""

SWEEP_SECONDS = 0.05

PR_SET_CHILD_SUBREAPER = 36
"""From linux/prctl.h: orphans below us become our children instead of init's, so that none can hide by leaving its session."""

CANNOT_START, CANNOT_EXECUTE = 127, 126


def main(command: list[str]) -> int:
    """Run the command to its end, or until we are told to end by a signal or a closed input."""
    wakeups = _listen_to_signals()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        os.write(2, f"{command[0]} cannot be started: {error.strerror}\n".encode())
        return CANNOT_START if missing else CANNOT_EXECUTE
    child.returncode = 0  # we wait for it ourselves, along with the orphans
    status = _wait(child.pid, wakeups)
    _sweep(wakeups)
    if status is None:
        return 128 + signal.SIGKILL
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _listen_to_signals() -> int:
    """A descriptor that becomes readable with every signal that matters; each byte is a signal's number."""
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return readable


def _wait(command: int, wakeups: int) -> int | None:
    """The wait status of the command; None when we are to end before it has."""
    while True:
        ready, _, _ = select.select([0, wakeups], [], [])
        told = os.read(wakeups, 4096) if wakeups in ready else b""
        ended = _reap()
        if command in ended:
            return ended[command]
        if 0 in ready or set(told) - {signal.SIGCHLD}:
            return None


def _sweep(wakeups: int) -> None:
    """Kill what is left below us. In rounds: one that was just being forked is seen in the next."""
    for _ in range(SWEEP_ROUNDS):
        for pid in _descendants(os.getpid()):
            with suppress(ProcessLookupError, PermissionError):  # ended meanwhile, or became somebody we may not touch
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        ready, _, _ = select.select([wakeups], [], [], SWEEP_SECONDS)
        if ready:
            os.read(wakeups, 4096)


def _reap() -> dict[int, int]:
    """Wait statuses of all children that have ended by now."""
    ended: dict[int, int] = {}
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = found[1]
    return ended


def _descendants(ancestor: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # ended meanwhile
                # The command name stands in parentheses and may hold anything, parentheses included.
                parents[int(entry.name)] = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    found = {ancestor}
    while new := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= new
    return sorted(found - {ancestor})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
