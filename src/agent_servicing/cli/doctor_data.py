"""What `servicing doctor` finds in the data directory and its database, with a server or without one. Nothing is changed."""

import json
import os
import resource
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_servicing import __version__
from agent_servicing.cli.checks import Finding
from agent_servicing.cli.discovery import alive, read_server_file

if TYPE_CHECKING:
    from agent_servicing.settings import Settings

FILES_WARN: Final = 4_096
"""Each connection, agent's pipe and file takes one; a thousand agents with their subscriptions take more."""

LEFT_BY_THE_DEAD: Final = ("restore-rst-*", "backup-scratch", "bkp-*.backup")
SIZES: Final = {"releases": "installed versions", "snapshots": "copies of states", "instances": "logs and configurations of instances"}
FILES_LOOKED_AT: Final = 500_000
NAMES_SHOWN: Final = 5


def open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FILES_WARN:
        return Finding(subject="open files", level="ok", detail=f"at most {soft}")
    why = "The server refuses connections beyond this limit, less 256."
    fix = f"ulimit -n {FILES_WARN if hard == resource.RLIM_INFINITY else min(hard, 65_536)}, or LimitNOFILE= in the systemd unit."
    return Finding(subject="open files", level="warn", detail=f"at most {soft}", why=why, fix=fix)


def settings_used(environ: Mapping[str, str], known: Sequence[str], from_file: Mapping[str, object]) -> Iterator[Finding]:
    """Variables that mean nothing, and lines of servicing.toml that a variable overrides."""
    variables = {name.removeprefix("SERVICING_").lower(): name for name in environ if name.startswith("SERVICING_")}
    others = {"server", "token", "debug"}
    unknown = sorted(variables[name] for name in variables.keys() - set(known) - others)
    if unknown:
        why = "They set nothing; perhaps a name is mistyped."
        fix = "docs/guides/settings.md lists the names."
        yield Finding(subject="settings", level="warn", detail=f"unknown: {_some(unknown)}", why=why, fix=fix)
    both = sorted(variables.keys() & from_file.keys())
    if both:
        said = ", ".join(f"{name} by {variables[name]}" for name in both)
        yield Finding(subject="settings", level="ok", detail=f"servicing.toml is overridden: {said}")
    if not unknown and not both:
        yield Finding(subject="settings", level="ok", detail=f"{len(from_file)} from servicing.toml, {len(variables)} from the environment")


def rights(data_dir: Path) -> Iterator[Finding]:
    """Who can read what: the directory, and the two files that are worth most."""
    open_to_others = []
    for name in ("", "admin.token", "secrets.key"):
        path = data_dir / name
        with suppress(OSError):
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                open_to_others.append((path, mode, "700" if path.is_dir() else "600"))
    for path, mode, wanted in open_to_others:
        why = "Whoever can read it can act as the admin or open the secrets."
        yield Finding(subject=f"rights of {path.name}", level="fail", detail=f"mode {mode:o}", why=why, fix=f"chmod {wanted} {path}")
    if not open_to_others and data_dir.exists():
        yield Finding(subject="rights", level="ok", detail="for the owner only")


def leftovers(data_dir: Path, *, running: bool) -> Iterator[Finding]:
    """What a restore or backup that died has left."""
    if (data_dir / "restore.json").exists() and not running:
        why = "It died while it moved files; some are old, some are new."
        yield Finding(
            subject="restore", level="fail", detail="not finished", why=why, fix="Start the server, or restore again: either finishes it."
        )
    found = sorted(path.name for pattern in LEFT_BY_THE_DEAD for path in data_dir.glob(pattern))
    if found and not running:
        why = "A restore or backup died; nothing needs what it left."
        yield Finding(subject="leftovers", level="warn", detail=_some(found), why=why, fix=f"Delete them in {data_dir}.")


def version(data_dir: Path) -> Iterator[Finding]:
    found = read_server_file(data_dir)
    if found is None or not alive(found.pid) or not found.version:
        return
    if found.version == __version__:
        yield Finding(subject="version", level="ok", detail=f"{__version__}, server and command line")
        return
    why = "A command may know what the server does not, or the other way round."
    detail = f"the server runs {found.version}, this is {__version__}"
    yield Finding(subject="version", level="warn", detail=detail, why=why, fix="Restart the server, or use its own installation's command.")


def sqlite_file(path: Path) -> Iterator[Finding]:
    """Readable, whole, of a schema that this version knows."""
    from agent_servicing.store.migrate import revisions  # noqa: PLC0415  half a second at import

    subject = "database"
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            said = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        why = "The file is damaged, not a database, or not readable by this user."
        fix = "Restore the last backup: docs/runbooks/restore-the-server.md."
        yield Finding(subject=subject, level="fail", detail=f"{path.name}: {error}", why=why, fix=fix)
        return
    known, found = revisions(), row[0] if row else None
    if said != "ok":
        fix = "Restore the last backup: docs/runbooks/restore-the-server.md."
        yield Finding(subject=subject, level="fail", detail=f"{path.name}: {said}", why="The file is damaged.", fix=fix)
    elif found not in known:
        why = "A newer version has worked with it; this one would refuse to start."
        yield Finding(subject=subject, level="fail", detail=f"schema {found} is not known", why=why, fix="Install that version again.")
    else:
        later = "" if found == known[-1] else f"; the next start copies it and brings it to {known[-1]}"
        yield Finding(subject=subject, level="ok", detail=f"whole, schema {found}{later}")


def secrets_open(settings: "Settings", path: Path) -> Iterator[Finding]:
    """The key against the secrets, straight from the file of SQLite."""
    if not path.exists():
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
        connection.row_factory = sqlite3.Row
        yield from _key(settings, connection)


def _key(settings: "Settings", connection: sqlite3.Connection) -> Iterator[Finding]:
    from agent_servicing.adapters.vault import Vault  # noqa: PLC0415  brings cryptography
    from agent_servicing.core.errors import PermanentError  # noqa: PLC0415

    rows = connection.execute("SELECT name, version, sealed FROM secrets WHERE removed_at IS NULL").fetchall()
    if not rows:
        return
    given = settings.secrets_key
    vault = Vault(data_dir=settings.data_dir, given=given.get_secret_value() if given else None)
    closed: Counter[str] = Counter()
    for row in rows:
        try:
            vault.open(f"{row['name']}@{row['version']}", row["sealed"])
        except PermanentError as error:
            closed[str(error)] += 1
    if not closed:
        yield Finding(subject="secrets", level="ok", detail=f"the key opens all {len(rows)}")
    for problem, number in closed.most_common(1):
        detail = f"{number} of {len(rows)} cannot be opened: {problem}"
        why = "Agents that use them cannot be started or changed."
        yield Finding(subject="secrets", level="fail", detail=detail, why=why, fix="Put the key back: docs/guides/secrets.md.")


def history_of(path: Path) -> Iterator[Finding]:
    """The chain of the history of a database that no server works with, unless the next start would change its schema first."""
    import anyio  # noqa: PLC0415  half a second at import, with what follows

    from agent_servicing.core.errors import PermanentError, ServicingError  # noqa: PLC0415
    from agent_servicing.services.audit_logger import AuditLogger, Verification  # noqa: PLC0415
    from agent_servicing.store.backup.dump import revision_of  # noqa: PLC0415
    from agent_servicing.store.database import Database  # noqa: PLC0415
    from agent_servicing.store.migrate import revisions  # noqa: PLC0415

    url = f"sqlite:///{path.resolve()}"

    async def verify() -> Verification:
        async with Database.open(url) as database:
            return await AuditLogger(database=database).verify()

    try:
        if revision_of(url) == revisions()[-1]:
            found = anyio.run(verify)
            yield history(valid=found.valid, entries=found.entries, said=found.message)
    except (PermanentError, ServicingError):
        return  # the database itself is told of already


def history(*, valid: bool, entries: int, said: str) -> Finding:
    if valid:
        return Finding(subject="history", level="ok", detail=f"whole, {entries} entries")
    why = "Somebody changed it outside the product, or the file lost something."
    fix = "Keep the file, compare it with an export or a backup, find out who."
    return Finding(subject="history", level="fail", detail=said or "an entry does not fit", why=why, fix=fix)


def disk_used(data_dir: Path) -> Iterator[Finding]:
    """What takes the room, so that one knows where to look."""
    sizes, looked = Counter[str](), 0
    for agent in _folders(data_dir / "agents"):
        for kind in SIZES:
            for folder, _, names in os.walk(agent / kind):
                looked += len(names)
                if looked > FILES_LOOKED_AT:
                    yield Finding(subject="disk used", level="ok", detail=f"more than {FILES_LOOKED_AT} files, not counted")
                    return
                for name in names:
                    with suppress(OSError):
                        sizes[kind] += (Path(folder) / name).lstat().st_size
    for path in data_dir.glob("servicing.db*"):
        with suppress(OSError):
            sizes["database"] += path.stat().st_size
    if sizes:
        parts = (f"{SIZES.get(kind, kind)} {size / 1e6:.0f} MB" for kind, size in sizes.most_common())
        yield Finding(subject="disk used", level="ok", detail=", ".join(parts))


def orphans(data_dir: Path, agents: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    """Folders of agents, and processes of instances, that the server knows nothing of. `agents`: its agents with their instances."""
    unknown = sorted(folder.name for folder in _folders(data_dir / "agents") if folder.name not in agents)
    if unknown:
        why = "Their agents were removed, and what they kept was left on purpose; or the database is older than the folders."
        fix = f"Look into {data_dir / 'agents'}, then delete what nobody wants back."
        yield Finding(subject="orphan folders", level="warn", detail=_some(unknown), why=why, fix=fix)
    strays = [f"{agent}/{name} (pid {pid})" for agent, name, pid in _running(data_dir) if name not in agents.get(agent, frozenset())]
    if strays:
        why = "They run, and no server looks after them or sends them anything."
        fix = "A server that has just started ends them within a minute. Else end them: kill PID."
        yield Finding(subject="orphan processes", level="warn", detail=_some(sorted(strays)), why=why, fix=fix)


def _running(data_dir: Path) -> Iterator[tuple[str, str, int]]:
    for path in (data_dir / "agents").glob("*/instances/*/instance.json"):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            pid = int(found["identity"]["pid"])
            ended = found.get("ended_at")
        except (OSError, ValueError, KeyError, TypeError):
            continue  # being written, or of a process that never began
        if not ended and alive(pid):
            yield path.parents[2].name, path.parent.name, pid


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir() and not path.is_symlink()] if parent.is_dir() else []


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
