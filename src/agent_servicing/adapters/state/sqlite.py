"""SQLite files of a running agent: found by their header, copied by the online backup, checked. Used by `taking` and `restoring`."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from agent_servicing.core.errors import PermanentError

HEADER: Final = b"SQLite format 3\0"
COMPANIONS: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database; the backup takes in what they hold."""

PAGES_AT_ONCE: Final = 2_000
PAUSE_SECONDS: Final = 0.002
RESTARTS_MAX: Final = 3
"""A writer of another process makes a stepwise backup begin anew; after so many times it is copied in one go."""

WAIT_SECONDS: Final = 60.0
"""A writer that never rests may hold a rollback journal for as long before a reader gets its turn."""


class _AnewTooOften(Exception):
    """Leaves the callback of the backup; caught where that was begun."""


def is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER


def copy(source: Path, target: Path) -> None:
    """A consistent copy of a database that may be in use. Raises `PermanentError` when it cannot be read as one.

    Readers never hold up a writer in WAL mode, so that is copied in one go; otherwise in steps between which the agent can write.
    """
    try:
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=WAIT_SECONDS)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            new.execute("PRAGMA synchronous=OFF")
            wal = old.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            if wal or not _in_steps(old, new):
                old.backup(new, pages=-1)
    except sqlite3.Error as error:
        raise PermanentError(f"the database {source.name} cannot be copied: {error}") from error


def _in_steps(old: sqlite3.Connection, new: sqlite3.Connection) -> bool:
    left, anew = -1, 0

    def step(_status: int, remaining: int, _total: int) -> None:
        nonlocal left, anew
        anew += left >= 0 and remaining > left
        left = remaining
        if anew > RESTARTS_MAX:
            raise _AnewTooOften

    try:
        old.backup(new, pages=PAGES_AT_ONCE, progress=step, sleep=PAUSE_SECONDS)
    except _AnewTooOften:
        return False
    return True


def problem(path: Path) -> str:
    """What SQLite's own check says, "" when nothing is wrong."""
    try:
        with closing(sqlite3.connect(path)) as database:
            answer = str(database.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        answer = str(error)
    return "" if answer == "ok" else f"{path.name}: {answer}"
