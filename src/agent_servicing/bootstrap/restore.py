"""Puts a backup into a data directory and its database: prepared aside, checked, then put into place at once. Called by `servicing restore`."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from sqlalchemy import NullPool, create_engine, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.adapters.vault import Vault
from agent_servicing.bootstrap import datadir, swap
from agent_servicing.bootstrap.kept import units
from agent_servicing.bootstrap.swap import Move
from agent_servicing.core.errors import Conflict, PermanentError, Unavailable
from agent_servicing.core.events import Event
from agent_servicing.services.audit_logger import AuditLogger, Verification
from agent_servicing.services.transaction import record
from agent_servicing.settings import Settings, database_url
from agent_servicing.store.backup.archive import About, unpack
from agent_servicing.store.backup.aside import set_aside, tables_there
from agent_servicing.store.backup.build import FILES, TABLES
from agent_servicing.store.backup.dump import load
from agent_servicing.store.database import Database, async_url, opening
from agent_servicing.store.ownership import sole_server
from agent_servicing.store.secrets import secret_rows
from agent_servicing.store.tables import agents

COMPANIONS: Final = ("", "-wal", "-shm")
WORK: Final = "restore-rst-"
OPERATOR: Final = "operator on the server's machine"
"""The actor of what is done with the data directory itself: whoever can write it is an admin."""

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """`set_aside`: where the old data is now. `audit`: whether the restored history is whole. `key`: opens its secrets; None: it has none."""

    about: About
    agents: tuple[str, ...]
    set_aside: str | None
    audit: Verification
    key: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    settings: Settings
    file: Path
    work: Path
    aside: str
    step: Step

    @property
    def url(self) -> str:
        return database_url(self.settings)

    @property
    def target(self) -> URL:
        return async_url(self.url)

    @property
    def database(self) -> Path | None:
        """The file of an SQLite database."""
        return Path(self.target.database or "").resolve() if self.target.get_backend_name() == "sqlite" else None


def restore(settings: Settings, file: Path, *, replace: bool, step: Step) -> Restored:
    """Raises Conflict `data_directory_in_use`, `database_in_use`, `not_empty`; Invalid for a file that is no whole backup; Unavailable."""
    with datadir.owned(settings.data_dir):
        swap.finish(settings.data_dir)
        _sweep(settings.data_dir)
        work = settings.data_dir / RandomIds().new(WORK.removesuffix("-"))
        aside = f"replaced-{SystemClock().now():%Y%m%dT%H%M%SZ}-{work.name[-4:]}"
        job = _Job(settings=settings, file=file, work=work, aside=aside, step=step)
        try:
            work.mkdir(mode=0o700)
            return anyio.run(_restore, job, replace)
        except PermanentError as error:
            raise Unavailable(f"Nothing was restored: {error}.", code="restore_failed") from error
        except OSError as error:
            raise Unavailable(f"Nothing was restored: {error.filename}: {error.strerror}.", code="restore_failed") from error
        finally:
            if not (settings.data_dir / swap.JOURNAL).exists():
                shutil.rmtree(work, ignore_errors=True)


def _sweep(data_dir: Path) -> None:
    """What a restore left that died before it had changed anything."""
    for left in data_dir.glob(f"{WORK}*"):
        shutil.rmtree(left)


async def _restore(job: _Job, replace: bool) -> Restored:
    async with sole_server(job.url):
        there = await to_thread.run_sync(_is_there, job)
        if there and not replace:
            raise Conflict(
                f"There is data already: {there}.",
                hint="Restore into an empty --data-dir, or with --replace, which sets the old data aside.",
                code="not_empty",
            )
        job.step("checking the backup")
        about = await to_thread.run_sync(unpack, job.file, job.work)
        job.step("building the database")
        if job.database is not None:
            await _into_file(job, about, job.database)
        else:
            await to_thread.run_sync(_into_server, job, about)
            await _told(job.url, about, job)
        job.step("putting it into place")
        await to_thread.run_sync(_into_place, job)
        return await _looked_at(job, about, there)


def _is_there(job: _Job) -> str:
    """Which database there is already, "" for none."""
    if job.database is not None:
        return str(job.database) if job.database.exists() else ""
    engine = create_engine(job.target, poolclass=NullPool)
    try:
        with opening(job.target), engine.connect() as connection:
            found = tables_there(connection)
    finally:
        engine.dispose()
    return f"the database has the tables {', '.join(found[:3])} …" if found else ""


async def _into_file(job: _Job, about: About, database: Path) -> None:
    """Beside the work folder's files, as a database of its own, which is moved when it is complete."""
    prepared = job.work / database.name
    await to_thread.run_sync(_fill_file, prepared, job.work / TABLES, about)
    await _told(f"sqlite:///{prepared}", about, job)


def _fill_file(prepared: Path, tables: Path, about: About) -> None:
    engine = create_engine(f"sqlite:///{prepared}", poolclass=NullPool)
    try:
        with engine.connect() as connection:
            # Nobody else reads it yet, and what is half there is thrown away: it is synced as a whole before it is moved.
            connection.exec_driver_sql("PRAGMA synchronous = OFF")
            connection.exec_driver_sql("PRAGMA journal_mode = MEMORY")
            load(connection, tables, about.dump)
            connection.commit()
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(1)
            said = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
        if broken or said != "ok":
            raise PermanentError(f"the rows do not fit together: {broken[0] if broken else said}")
    finally:
        engine.dispose()


def _into_server(job: _Job, about: About) -> None:
    """One transaction: the old tables are moved into a schema of their own and the new ones filled, or nothing happened."""
    engine = create_engine(job.target, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            if tables_there(connection):
                set_aside(connection, job.aside)
            load(connection, job.work / TABLES, about.dump)
    except DBAPIError as error:
        raise PermanentError(f"the database refused it: {' '.join(str(error.orig).split())}") from error
    finally:
        engine.dispose()


async def _told(url: str, about: About, job: _Job) -> None:
    """The restore stands in the restored history."""
    clock = SystemClock()
    data: dict[str, object] = {"backup_of": about.created_at.isoformat(), "file": job.file.name, "status": "success"}
    event = Event(type="restore", at=clock.now(), actor=OPERATOR, audit=True, data=data)
    async with Database.open(url) as database, database.write() as connection:
        await record(connection, RandomIds(), job.settings, event)


def _into_place(job: _Job) -> None:
    """Old out of the way, new into its place; see `swap` for what happens when this process dies meanwhile."""
    swap.fsync_tree(job.work)
    moves: list[Move] = []
    if (database := job.database) is not None:
        old = database.parent / job.aside
        moves += [_move(database.with_name(database.name + end), old / (database.name + end)) for end in COMPANIONS]
        moves.append(_move(job.work / database.name, database))
    data_dir = job.settings.data_dir.resolve()
    for unit in units(job.work / FILES):
        moves.append(_move(data_dir / unit, data_dir / job.aside / unit))
        moves.append(_move(job.work / FILES / unit, data_dir / unit))
    swap.swap(data_dir, moves)


def _move(source: Path, target: Path) -> Move:
    return Move(source=str(source.resolve()), target=str(target.resolve()))


async def _looked_at(job: _Job, about: About, there: str) -> Restored:
    job.step("checking the history")
    async with Database.open(job.url) as database:
        audit = await AuditLogger(database=database).verify()
        async with database.read() as connection:
            names = tuple((await connection.execute(select(agents.c.agent).order_by(agents.c.agent))).scalars())
            sealed = [(row.label, row.sealed) for row in await secret_rows(connection) if row.removed_at is None]
    given = job.settings.secrets_key
    vault = Vault(data_dir=job.settings.data_dir, given=given.get_secret_value() if given else None)
    key = await to_thread.run_sync(partial(_opens, vault, sealed)) if sealed else None
    return Restored(about=about, agents=names, set_aside=_where(job) if there else None, audit=audit, key=key)


def _where(job: _Job) -> str:
    return str(job.database.parent / job.aside) if job.database is not None else f"schema {job.aside} of the database"


def _opens(vault: Vault, sealed: list[tuple[str, bytes]]) -> bool:
    try:
        for label, content in sealed:
            vault.open(label, content)
    except PermanentError:
        return False
    return True
