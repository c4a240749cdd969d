"""Called by .ci/run: lists the processes that a test run left behind, known by a folder named in their environment or command line.

Exit status 1 when there is one. With `--end` each is also told to stop, by its own process id, and killed if it does not.
"""

import os
import signal
import sys
import time
from pathlib import Path

GRACE_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    """`[--end] FOLDER`; prints one line per process: id and command line."""
    end = "--end" in arguments
    folder = next(argument for argument in arguments if argument != "--end")
    found = leftovers(folder)
    for pid, command in found.items():
        sys.stdout.write(f"left running: {pid} {command}\n")
    if end:
        stop(list(found))
    return 1 if found else 0


def leftovers(folder: str) -> dict[int, str]:
    """Process id → command line of every process that mentions the folder, this one and its ancestors apart."""
    mine = ancestors()
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in mine:
            continue
        try:
            command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue  # ended meanwhile, or another user's: not ours either way
        if folder.encode() in command + b"\0" + environment and not zombie(entry):
            found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def zombie(entry: Path) -> bool:
    """Whether the process has ended and only waits to be collected; one that vanished has ended too."""
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def ancestors() -> set[int]:
    """This process and those that started it."""
    found, pid = set(), os.getpid()
    while pid > 0:
        found.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def stop(pids: list[int]) -> None:
    """Ask each to end, then kill what is still there after the grace."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + GRACE_SECONDS
        while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
