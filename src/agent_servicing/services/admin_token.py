"""The file `admin.token` in the data directory: read it, or make it with nobody else ever able to read it. Called by `Access`, in a thread."""

import os
from contextlib import suppress
from pathlib import Path

from agent_servicing.core.errors import Unavailable

FILE_NAME = "admin.token"
OWNER_ONLY = 0o600


def kept_token(data_dir: Path, fresh: str) -> str:
    """The token in the file; `fresh` becomes it when there is none. Raises Unavailable `admin_token` when the file cannot be had."""
    path = data_dir / FILE_NAME
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


def _make(path: Path, token: str) -> None:
    """Written aside and linked into place, so that the file is never there half-written and never overwrites one."""
    if path.exists():
        return
    aside = path.with_name(f".{FILE_NAME}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(token + "\n")
        with suppress(FileExistsError):  # another start was first; its token is as good
            os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
