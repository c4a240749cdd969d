"""A backup without a running server, by `servicing backup`, and the copy before a newer version changes the schema, by `open_app`."""

from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from agent_servicing.adapters.system import SystemClock
from agent_servicing.bootstrap import datadir, swap
from agent_servicing.bootstrap.kept import KeptFiles
from agent_servicing.services.backups import SCRATCH
from agent_servicing.settings import Settings, database_url
from agent_servicing.store.backup.archive import About
from agent_servicing.store.backup.build import Wanted, build
from agent_servicing.store.backup.dump import revision_of
from agent_servicing.store.migrate import revisions

SAFETY: Final = "backups"
SAFETY_KEPT: Final = 5
"""Copies before migrations that stay in the data directory, the newest ones."""

log = structlog.get_logger(__name__)


def backup(settings: Settings, target: Path, wanted: Wanted) -> About:
    """With nobody else at work on the data directory. Raises Conflict `data_directory_in_use`, Invalid `key_elsewhere`, Unavailable."""
    with datadir.owned(settings.data_dir):
        swap.finish(settings.data_dir)
        return _build(settings, target, wanted, SystemClock().now())


def copy_before_migrating(settings: Settings) -> Path | None:
    """A backup of a database whose schema is older than this program's; None when there is nothing to migrate.

    Raises Unavailable `backup_failed`: nothing is migrated then. PermanentError when the database cannot be read.
    """
    found, known = revision_of(database_url(settings)), revisions()
    if found not in known[:-1]:
        return None
    now = SystemClock().now()
    folder = settings.data_dir / SAFETY
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / f"before-{known[-1]}-{now:%Y%m%dT%H%M%SZ}.backup"
    _build(settings, target, Wanted(), now)
    for old in sorted(folder.glob("before-*.backup"), key=lambda path: path.stat().st_mtime)[:-SAFETY_KEPT]:
        old.unlink()
    log.info("copied_before_migrating", schema=found, to=known[-1], file=str(target))
    return target


def _build(settings: Settings, target: Path, wanted: Wanted, at: datetime) -> About:
    scratch = settings.data_dir / SCRATCH
    return build(database_url(settings), target, kept=KeptFiles(settings), wanted=wanted, at=at, scratch=scratch)
