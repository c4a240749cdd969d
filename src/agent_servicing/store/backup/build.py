"""Makes one backup: rows, files, description, one file. Called by `services.backups` while the server runs, by `bootstrap` when none does."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from agent_servicing import __version__
from agent_servicing.core.errors import PermanentError, Unavailable
from agent_servicing.store.backup.archive import About, members_of, pack, unpack
from agent_servicing.store.backup.dump import export

TABLES: Final = "tables"
FILES: Final = "files"
"""Below it everything lies as it does in the data directory."""

KEY: Final = f"{FILES}/secrets.key"


class Kept(Protocol):
    """What belongs to the server's own data and is no row."""

    def gather(self, folder: Path, *, key: bool, state: bool) -> None:
        """Put it below `folder`. Raises Invalid when the key was asked for and is not in the data directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`key`: the key for secrets too. `state`: also the copies of agents' states, and what rollbacks set aside."""

    key: bool = False
    state: bool = False


def build(
    url: str, target: Path, *, kept: Kept, wanted: Wanted, at: datetime, scratch: Path, step: Callable[[str], None] | None = None
) -> About:
    """Write the backup of this moment to `target` and read it back; `scratch` is made and removed. `step` is told what is done next.

    Raises Unavailable `backup_failed` when database or disk do not let it; then there is no `target`.
    """
    say = step or (lambda _: None)
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        (scratch / TABLES).mkdir(mode=0o700, parents=True)
        say("reading the database")
        dump = export(url, scratch / TABLES)
        say("gathering files")
        kept.gather(scratch / FILES, key=wanted.key, state=wanted.state)
        members = members_of(scratch)
        key = KEY in members
        about = About(version=__version__, created_at=at, dump=dump, key=key, state=wanted.state, members=members)
        say("writing the file")
        pack(scratch, about, target)
        say("reading it back")
        return unpack(target, None)
    except PermanentError as error:
        raise Unavailable(f"No backup was made: {error}.", code="backup_failed") from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise Unavailable(f"No backup was made: {error.strerror or error}{where}.", code="backup_failed") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
