"""Files in the data directory that hold one token: read, or made with nobody else ever able to read them. Called by services, in a thread."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent_servicing.core.errors import Unavailable

FILE_NAME: Final = "admin.token"
SETUP_FILE: Final = "setup.token"
OWNER_ONLY: Final = 0o600


def kept_token(data_dir: Path, fresh: str, name: str = FILE_NAME) -> str:
    """The token in the file; `fresh` becomes it when there is none. Raises Unavailable `admin_token` when the file cannot be had."""
    path = data_dir / name
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        _make(path, fresh)
        path.chmod(OWNER_ONLY)
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{path} cannot be read or written: {error}", code="admin_token") from error
    if not token:
        raise Unavailable(f"{path} is empty.", hint="Delete it; the next start makes a new one.", code="admin_token")
    return token


def read_file(data_dir: Path, name: str) -> str | None:
    """The token in the file; None when there is none or it cannot be read."""
    try:
        return (data_dir / name).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def drop_file(data_dir: Path, name: str) -> None:
    """A file that cannot be removed opens nothing any more all the same: what it was for is checked in the database."""
    with suppress(OSError):
        (data_dir / name).unlink(missing_ok=True)


def _make(path: Path, token: str) -> None:
    """Written aside and linked into place, so that the file is never there half-written and never overwrites one."""
    if path.exists():
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(token + "\n")
        with suppress(FileExistsError):  # another start was first; its token is as good
            os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
