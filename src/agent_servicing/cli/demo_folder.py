"""The demo's data directory and ports: whose it is, what an earlier demo left there, where this one listens. Used by `demo`.

A demo ends what it started and `--fresh` deletes, so it touches only a directory that is empty or that carries its mark.
"""

import json
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from agent_servicing.core.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from agent_servicing.settings import Settings

MARK: Final = "demo.json"
LOG: Final = "server.log"
LOG_BYTES_MAX: Final = 5_000_000
"""A log that has grown beyond this is begun anew at the next start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFolder:
    """One data directory of a demo."""

    path: Path

    @property
    def samples(self) -> Path:
        """Where the sample agents' git repositories are made."""
        return self.path / "samples"

    @property
    def log(self) -> Path:
        return self.path / LOG

    @property
    def known(self) -> bool:
        """Whether a demo has been here before."""
        return (self.path / MARK).is_file()

    def claim(self) -> None:
        """Make it a demo's directory. Raises Conflict when it holds something else, Unavailable when it cannot be written."""
        try:
            if not self.known and self.path.exists() and any(self.path.iterdir()):
                raise Conflict(
                    f"{self.path} is not the data directory of a demo.",
                    hint="A demo stops and deletes what it finds in its directory: name an empty or new one with --data-dir.",
                    code="not_a_demo",
                )
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.known:
                self.remember()
        except OSError as error:
            raise Unavailable(
                f"The data directory {self.path} cannot be used: {error.strerror}.", hint="Name another one with --data-dir."
            ) from error

    def remember(self, router_url: str = "") -> None:
        """Leave the mark, and the data plane's address for the next start."""
        (self.path / MARK).write_text(json.dumps({"router_url": router_url}) + "\n", encoding="utf-8")

    def delete(self) -> None:
        """Only once nothing of it runs any more."""
        shutil.rmtree(self.path)

    def open_log(self) -> TextIO:
        """The server's log, at its end."""
        large = self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX
        return self.log.open("w" if large else "a", encoding="utf-8", buffering=1)

    def kept_router_port(self) -> int | None:
        """The port of this directory's data plane while that runs, None when it does not."""
        try:
            url = str(json.loads((self.path / MARK).read_text(encoding="utf-8"))["router_url"])
            port = int(url.rpartition(":")[2])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # no mark yet, or one that says nothing of a port
        return port if _listens_from(self.path, port) else None


def settle_ports(settings: "Settings", folder: DemoFolder, *, port_named: bool, router_port_named: bool) -> tuple["Settings", list[str]]:
    """Settings with ports that are free, and a line about each that had to be another one. Ports that the operator named stay as they are."""
    changed: dict[str, int] = {}
    said: list[str] = []
    if not port_named and not _free(settings.host, settings.port):
        changed["port"] = _any_port(settings.host)
        said.append(f"Port {settings.port} is taken: API and page are on {changed['port']} instead.")
    if not router_port_named:
        kept = folder.kept_router_port()
        if kept is not None:
            changed["router_port"] = kept
        elif not _free(settings.router_host, settings.router_port):
            changed["router_port"] = _any_port(settings.router_host)
            said.append(f"Port {settings.router_port} is taken: the data plane is on {changed['router_port']} instead.")
    return settings.model_copy(update=changed), said


def _free(host: str, port: int) -> bool:
    with _socket(host) as probe:
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _any_port(host: str) -> int:
    with _socket(host) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _socket(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def _listens_from(folder: Path, port: int) -> bool:
    """Whether a process that works inside `folder` listens on `port`."""
    import psutil  # noqa: PLC0415  only the demo's second start asks

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
                return Path(psutil.Process(connection.pid).cwd()).is_relative_to(folder.resolve())
    except psutil.Error:
        return False  # somebody else's process, which is all we want to know
    return False
