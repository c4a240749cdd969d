"""What `servicing doctor` finds where the network begins: ports, data plane, certificate. Called by `doctor`.

Of the server that runs, whatever it was started with; else of the one that `serve` would start.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from agent_servicing.cli import checks
from agent_servicing.cli.checks import Finding
from agent_servicing.cli.discovery import Running, alive, read_server_file
from agent_servicing.core.errors import PermanentError, Unavailable

if TYPE_CHECKING:
    from agent_servicing.settings import Settings

CONNECT_SECONDS: Final = 3.0
EXPIRES_SOON: Final = timedelta(days=14)
"""Time enough for somebody to renew it by hand."""

ROUTER_FOLDER: Final = "router"


def server_of(data_dir: Path) -> Running | None:
    """What the server that runs on this directory said of itself; None while none does."""
    found = read_server_file(data_dir)
    return found if found is not None and alive(found.pid) else None


def ports(settings: "Settings", data_dir: Path) -> Iterator[Finding]:
    """Those a running server really has, whatever it was started with; else those that `serve` would take."""
    running = server_of(data_dir)
    plane, kept, problem = _data_plane(data_dir)
    if problem:
        why = "HAProxy could not be started with the routing that it had."
        yield Finding(
            subject="data plane", level="fail", detail=problem, why=why, fix="A running server writes it anew at its next change."
        )
    if running is not None:
        yield from (_in_use(name, url) for name, url in (("port", running.api_url), ("port", running.local_url)) if url)
        yield from _router_of(running, plane, data_dir)
        return
    if settings.port:
        yield checks.port("port", settings.host, settings.port)
    if plane is not None:
        detail = f"in use by the data plane of {data_dir} (pid {plane}), which the next start adopts"
        yield Finding(subject=f"{checks.ROUTER_PORT} {kept or ''}".rstrip(), level="ok", detail=detail)
    elif settings.router_port or kept:
        yield checks.port(checks.ROUTER_PORT, settings.router_host, settings.router_port or kept or 0)


def certificate(settings: "Settings", data_dir: Path, now: datetime) -> Iterator[Finding]:
    """What a running server shows to those who connect; else whether the one in the settings could be used. Nothing without TLS."""
    running = server_of(data_dir)
    if running is not None:
        if running.api_url.startswith("https://"):
            with suppress(OSError, ValueError):  # that nobody answers there is told with the port
                yield _validity(_shown_at(running.api_url), now, fix="Put the renewed one in place and restart the server.")
        return
    if settings.tls_cert is None:
        return
    from agent_servicing.web.server import Edge, check_tls  # noqa: PLC0415  brings the web server

    try:
        check_tls(Edge(tls_cert=settings.tls_cert, tls_key=settings.tls_key))
        shown = ssl.PEM_cert_to_DER_cert(_first(settings.tls_cert.read_text(encoding="ascii", errors="replace")))
    except (OSError, ValueError) as error:
        yield Finding(
            subject="certificate", level="fail", detail=str(error), why="The server would not start.", fix="Give it another file."
        )
    except Unavailable as error:
        why = "The server would not start."
        yield Finding(subject="certificate", level="fail", detail=error.message, why=why, fix=error.hint or "")
    else:
        yield _validity(shown, now, fix=f"Renew {settings.tls_cert}.")


def _in_use(name: str, url: str) -> Finding:
    return Finding(subject=f"{name} {urlsplit(url).port}", level="ok", detail="in use by this server")


def _router_of(running: Running, plane: int | None, data_dir: Path) -> Iterator[Finding]:
    parts = urlsplit(running.router_url)
    if not parts.hostname or not parts.port:
        return
    subject = f"{checks.ROUTER_PORT} {parts.port}"
    driven = (data_dir / ROUTER_FOLDER / "haproxy.cfg").exists()
    if (plane is not None or not driven) and _answers(parts.hostname, parts.port):
        yield Finding(subject=subject, level="ok", detail="in use by this server")
        return
    taken = checks.listener(parts.port) if plane is None else ""
    detail = f"the data plane does not run{taken and f'; its port is taken{taken}'}" if plane is None else "the data plane does not answer"
    fix = f"A running server starts it again within a second. When it does not, its log and {data_dir / ROUTER_FOLDER / 'haproxy.log'} say why."
    yield Finding(subject=subject, level="fail", detail=detail, why="Agents cannot be reached.", fix=fix)


def _data_plane(data_dir: Path) -> tuple[int | None, int | None, str]:
    """The pid of this directory's HAProxy, the port it was last given, and what is wrong with its state."""
    from agent_servicing.adapters.router import haproxy_process, haproxy_state  # noqa: PLC0415  bring psutil and anyio

    folder = data_dir / ROUTER_FOLDER
    pids = haproxy_process.pids_in(folder)
    plane = pids[0] if len(pids) > 1 else None
    try:
        book = haproxy_state.load(folder)
    except PermanentError as error:
        return plane, None, str(error)
    return plane, book.structure.port if book else None, ""


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _shown_at(url: str) -> bytes:
    """The certificate of whoever answers there, in DER. Raises OSError, ValueError."""
    parts = urlsplit(url)
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE  # it is looked at, nothing is sent
    with (
        socket.create_connection((parts.hostname or "", parts.port or 443), timeout=CONNECT_SECONDS) as plain,
        anyone.wrap_socket(plain, server_hostname=parts.hostname) as wrapped,
    ):
        shown = wrapped.getpeercert(binary_form=True)
    if shown is None:
        raise ValueError("it shows no certificate")
    return shown


def _first(pem: str) -> str:
    """A file may hold the whole chain; the server's own comes first. Raises ValueError."""
    end = ssl.PEM_FOOTER
    return pem[pem.index(ssl.PEM_HEADER) : pem.index(end) + len(end)]


def _validity(der: bytes, now: datetime, *, fix: str) -> Finding:
    from cryptography import x509  # noqa: PLC0415  only with TLS

    found = x509.load_der_x509_certificate(der)
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    why = "Browsers and programs refuse the connection."
    if now >= ends:
        return Finding(subject="certificate", level="fail", detail=f"expired {ends:%Y-%m-%d %H:%M} UTC", why=why, fix=fix)
    if now < begins:
        return Finding(
            subject="certificate", level="fail", detail=f"not valid before {begins:%Y-%m-%d %H:%M} UTC", why=why, fix="Look at the clock."
        )
    if ends - now < EXPIRES_SOON:
        later = "Then browsers and programs refuse the connection."
        return Finding(subject="certificate", level="warn", detail=f"expires {ends:%Y-%m-%d %H:%M} UTC", why=later, fix=fix)
    return Finding(subject="certificate", level="ok", detail=f"valid until {ends:%Y-%m-%d}")
