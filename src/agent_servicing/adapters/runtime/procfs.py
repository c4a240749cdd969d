"""Who a process id is right now. The runtime asks before it believes or signals any pid, because pids are used again and clocks are set back.

Identity is the pid, the kernel's start tick of that process, and the boot it belongs to. Without `/proc`, psutil's creation time stands in
for the tick.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

import psutil

PROC = Path("/proc")
BOOT_ID = PROC / "sys/kernel/random/boot_id"


STAT_BYTES = 4096
"""More than the line of any process takes."""


class Life(Enum):
    """What is left of a process: running, ended but not yet waited for, or nothing (or somebody else's) at that pid."""

    ALIVE = "alive"
    ZOMBIE = "zombie"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One process, unmistakably. `start_ticks` counts clock ticks since boot."""

    pid: int
    start_ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """The few fields of `/proc/PID/stat` that matter here."""

    pid: int
    state: str
    session: int
    start_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A session leader that carries our marks in its environment. `age_seconds` is how long it has been running."""

    identity: Identity
    environ: dict[str, str]
    age_seconds: float


def identify(child: int) -> Identity | None:
    """The identity of a child of ours that was not waited for yet: it has one even when it ended already. None: no such child."""
    stat = read_stat(child)
    return Identity(pid=child, start_ticks=stat.start_ticks, boot_id=boot_id()) if stat else None


def life_of(identity: Identity) -> Life:
    """Whether exactly this process still runs."""
    stat = read_stat(identity.pid)
    if stat is None or stat.start_ticks != identity.start_ticks or identity.boot_id != boot_id():
        return Life.GONE
    return Life.ZOMBIE if stat.state in "ZX" else Life.ALIVE


@cache
def boot_id() -> str:
    """Changes with every boot of the machine; empty where the kernel does not tell."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def read_stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    try:
        # Asked for every instance every second: without the cost of a text file object.
        handle = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(handle, STAT_BYTES).decode(errors="replace")
        finally:
            os.close(handle)
    except ProcessLookupError:
        return None
    except FileNotFoundError:
        return None if BOOT_ID.exists() else _stat_without_proc(pid)
    # The command name stands in parentheses and may hold anything, parentheses included.
    fields = text.rpartition(")")[2].split()
    return Stat(pid=pid, state=fields[0], session=int(fields[3]), start_ticks=int(fields[19]))


def session_members(session: int, mark: str) -> list[int]:
    """Living processes of a session whose environment holds `mark` (`NAME=value`): what an instance started and left behind."""
    found = []
    for pid in _pids():
        stat = read_stat(pid)
        if stat and stat.session == session and stat.state not in "ZX" and mark in _environ(pid):
            found.append(pid)
    return found


def strays(mark: str) -> Iterator[Stray]:
    """Every session leader on this machine that is ours to read and whose environment holds `mark` (`NAME=value`)."""
    for pid in _pids():
        entries = _environ(pid)
        stat = read_stat(pid) if mark in entries else None
        if stat is None or stat.session != pid or stat.state in "ZX":
            continue
        yield Stray(
            identity=Identity(pid=pid, start_ticks=stat.start_ticks, boot_id=boot_id()),
            environ=dict(entry.split("=", 1) for entry in entries if "=" in entry),
            age_seconds=max(0.0, _uptime_seconds() - stat.start_ticks / os.sysconf("SC_CLK_TCK")),
        )


def _pids() -> list[int]:
    if PROC.exists():
        return [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]
    return psutil.pids()


def _environ(pid: int) -> list[str]:
    """Empty for processes that ended or belong to somebody else."""
    try:
        if not PROC.exists():
            return [f"{name}={value}" for name, value in psutil.Process(pid).environ().items()]
        return (PROC / str(pid) / "environ").read_bytes().decode("utf-8", "surrogateescape").split("\0")
    except (OSError, psutil.Error):
        return []


def _uptime_seconds() -> float:
    return float((PROC / "uptime").read_text().split()[0])


def _stat_without_proc(pid: int) -> Stat | None:
    try:
        process = psutil.Process(pid)
        state = "Z" if process.status() == psutil.STATUS_ZOMBIE else "R"
        return Stat(pid=pid, state=state, session=os.getsid(pid), start_ticks=int(process.create_time() * 100))
    except (psutil.Error, OSError):
        return None
