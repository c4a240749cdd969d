"""`servicing backup FILE` and `servicing restore FILE`: the server's own data. `main` registers them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agent_servicing.cli.discovery import data_dirs
from agent_servicing.cli.exits import ServerAbsent, Usage
from agent_servicing.cli.output import facts
from agent_servicing.cli.server import DatabaseUrl, settings_from
from agent_servicing.cli.session import Session
from agent_servicing.core.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from agent_servicing.bootstrap.restore import Restored
    from agent_servicing.settings import Settings
    from agent_servicing.store.backup.archive import About

KEY_WARNING: Final = "The key for secrets is in this file: whoever can read it can read every secret. Keep it as you keep the key."
NO_KEY: Final = "The key for secrets is not in this file: keep secrets.key of the data directory, or SERVICING_SECRETS_KEY, somewhere else."

File = Annotated[Path, typer.Argument(metavar="FILE", help="Where the backup is")]


def backup(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put it; must not be there yet")],
    with_key: Annotated[bool, typer.Option("--with-key", help="Also the key that opens the secrets")] = False,
    with_state: Annotated[bool, typer.Option("--with-state", help="Also the copies of agents' states")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Write the server's own data to one file, while the server runs or when it does not.

    Database (agents, versions, configurations, history, access), uploaded patches and encrypted secrets. The agents' live states are theirs.
    """
    target = session.surroundings.folder / file
    if target.exists():
        raise Conflict(f"{file} is there already.", hint="Choose another name; backups are never written over.")
    if not target.parent.is_dir():
        raise Unavailable(f"There is no folder {target.parent}.", hint="Make it first.")
    try:
        where = session.target.url
    except ServerAbsent:
        where = str(_offline(session, target, database_url, key=with_key, state=with_state).data_dir)
    else:
        _download(session.api.backup({"with_key": with_key, "with_state": with_state}), target)
    from agent_servicing.store.backup.archive import unpack  # noqa: PLC0415  half a second at import

    about = unpack(target, None)
    _warn(session, about)
    session.out.result(
        {"file": str(target), "from": where, **_described(about), "bytes": target.stat().st_size},
        lambda: facts((("backup", file), ("of", where), *_words(about), ("size", _megabytes(target.stat().st_size)))),
    )


def restore(
    session: Session,
    file: File,
    replace: Annotated[bool, typer.Option("--replace", help="Set aside what is there, and restore in its place")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check the file and tell what is in it; change nothing")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Put a backup into a data directory that no server works on. An older one is brought up to date, one that is damaged changes nothing."""
    path = session.surroundings.folder / file
    if not path.is_file():
        raise Usage(f"There is no file {file}.")
    if check:
        from agent_servicing.store.backup.archive import unpack  # noqa: PLC0415  half a second at import

        about = unpack(path, None)
        session.out.result({"file": str(path), **_described(about)}, lambda: facts((("whole", file), *_words(about))))
        return
    from agent_servicing.bootstrap.restore import restore as run  # noqa: PLC0415  the whole server

    settings = _settings(session, database_url)
    done = run(settings, path, replace=replace, step=lambda words: session.out.note(f"… {words}") if session.out.terminal else None)
    _tell(session, settings, done)


def _offline(session: Session, target: Path, database_url: str | None, *, key: bool, state: bool) -> "Settings":
    """No server runs here: its data directory is read as it lies."""
    if session.options.server or session.surroundings.environ.get("SERVICING_SERVER"):
        raise ServerAbsent("No server answers there.")
    settings = _settings(session, database_url)
    if not settings.data_dir.is_dir():
        raise ServerAbsent(
            f"No server is running here, and there is no data directory {settings.data_dir}.", hint="Name one with --data-dir or --server."
        )
    from agent_servicing.bootstrap.backup import backup as run  # noqa: PLC0415  the whole server
    from agent_servicing.store.backup.build import Wanted  # noqa: PLC0415

    run(settings, target, Wanted(key=key, state=state))
    return settings


def _settings(session: Session, database_url: str | None) -> "Settings":
    around = session.surroundings
    found = data_dirs(session.options, around.environ, around.folder)
    return settings_from(data_dir=next((d for d in found if d.is_dir()), found[0]), database_url=database_url)


def _download(pieces: Iterator[bytes], target: Path) -> None:
    """Whole or not at all, readable by nobody else."""
    aside = target.with_name(f".{target.name}.part")
    try:
        first = next(pieces, b"")  # a refusal leaves no file
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(first)
            out.writelines(pieces)
            out.flush()
            os.fsync(out.fileno())
        aside.rename(target)
    except OSError as e:
        raise Unavailable(f"The backup cannot be written: {e.filename or target}: {e.strerror}.") from e
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _warn(session: Session, about: "About") -> None:
    secrets = about.dump.tables.get("secrets")
    if about.key:
        session.out.note(KEY_WARNING)
    elif secrets is not None and secrets.rows:
        session.out.note(NO_KEY)


def _tell(session: Session, settings: "Settings", done: "Restored") -> None:
    steps = list(_next_steps(settings, done))
    found = {
        **_described(done.about),
        "data_dir": str(settings.data_dir),
        "agents": list(done.agents),
        "set_aside": done.set_aside,
        "audit": {"valid": done.audit.valid, "entries": done.audit.entries, "broken_at": done.audit.broken_at},
        "secrets_open": done.key,
        "next_steps": steps,
    }
    history = f"whole, {done.audit.entries} entries" if done.audit.valid else done.audit.message
    session.out.result(
        found,
        lambda: facts(
            (
                ("restored", settings.data_dir),
                *_words(done.about),
                ("agents", ", ".join(done.agents) or "none"),
                ("old data", done.set_aside),
                ("history", history),
                *((("next" if n == 0 else "then"), step) for n, step in enumerate(steps)),
            )
        ),
    )
    if not done.audit.valid:
        session.out.note(f"The restored history is not whole: {done.audit.message}")


def _next_steps(settings: "Settings", done: "Restored") -> Iterator[str]:
    if done.key is False:
        yield f"put the key that sealed the secrets to {settings.data_dir / 'secrets.key'} (mode 600), or set SERVICING_SECRETS_KEY"
    if not done.audit.valid:
        yield f"find out why: {done.audit.message}"
    yield f"servicing serve --data-dir {settings.data_dir}"
    if done.agents:
        yield (
            "look at `servicing status`: agents that still run here are adopted and given the restored version and configuration, "
            "others are installed from their sources and started"
        )
        yield "make sure that the server this backup was taken from does not run any more: each would run the agents"


def _described(about: "About") -> dict[str, Any]:
    return {
        "created_at": about.created_at.isoformat(),
        "format": about.format,
        "version": about.version,
        "schema": about.dump.revision,
        "database": about.dump.database,
        "with_key": about.key,
        "with_state": about.state,
        "rows": {name: table.rows for name, table in about.dump.tables.items()},
    }


def _words(about: "About") -> Iterator[tuple[str, object]]:
    rows = {name: table.rows for name, table in about.dump.tables.items()}
    held = f"{rows.get('agents', 0)} agents, {rows.get('deployments', 0)} deployments, {rows.get('events', 0)} events"
    more = [words for wanted, words in ((about.key, "the key for secrets"), (about.state, "copies of states")) if wanted]
    yield "taken", f"{about.created_at:%Y-%m-%d %H:%M:%S} UTC by version {about.version} (schema {about.dump.revision})"
    yield "holds", ", ".join((held, *more))


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MB"
