"""What the doctor says of ports, data plane, certificate and disk, each with its real cause: HAProxy is killed, the disk is full."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from agent_servicing.adapters.router.haproxy import HaproxyRouter
from agent_servicing.adapters.router.haproxy_process import pids_in
from agent_servicing.adapters.system import SystemClock
from agent_servicing.cli import doctor_edge
from agent_servicing.cli.checks import Finding
from agent_servicing.settings import Settings
from tests.certificates import a_certificate
from tests.integration.haproxy_world import settings_in, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def left(tmp_path: Path) -> AsyncIterator[tuple[Settings, int]]:
    """A data directory whose server has ended; its HAProxy goes on, on a port of its own. Settings as a doctor has them: the defaults."""
    given, clock = settings_in(tmp_path), SystemClock()
    try:
        async with HaproxyRouter.open(given, clock) as router:
            port = router.port
        yield Settings(data_dir=given.data_dir), port
    finally:
        await HaproxyRouter.stop(given, clock)


def announced(settings: Settings, *, router: int, scheme: str = "http", port: int = 9) -> None:
    about = {"api_url": f"{scheme}://127.0.0.1:{port}", "router_url": f"http://127.0.0.1:{router}", "pid": os.getpid(), "version": "1"}
    (settings.data_dir / "server.json").write_text(json.dumps(about))


def ports(settings: Settings) -> dict[str, Finding]:
    found = {finding.subject: finding for finding in doctor_edge.ports(settings, settings.data_dir)}
    assert all(finding.level == "ok" or (finding.why and finding.fix) for finding in found.values())
    return found


async def test_the_ports_of_a_running_server_are_those_it_has_not_the_default_ones(left: tuple[Settings, int]) -> None:
    settings, port = left
    announced(settings, router=port, port=4711)
    found = ports(settings)
    assert set(found) == {"port 4711", f"router port {port}"}
    assert {finding.detail for finding in found.values()} == {"in use by this server"}


async def test_the_data_plane_of_a_server_that_has_ended_is_known_as_its_own(left: tuple[Settings, int]) -> None:
    settings, port = left
    found = ports(settings)[f"router port {port}"]
    assert (found.level, f"(pid {pids_in(settings.data_dir / 'router')[0]})" in found.detail) == ("ok", True)


async def test_a_dead_data_plane_is_found_and_who_has_its_port(left: tuple[Settings, int]) -> None:
    settings, port = left
    announced(settings, router=port)
    for pid in reversed(pids_in(settings.data_dir / "router")):
        os.kill(pid, signal.SIGKILL)
    await until(lambda: none_left(settings))
    found = ports(settings)[f"router port {port}"]
    assert (found.level, found.detail) == ("fail", "the data plane does not run")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        found = ports(settings)[f"router port {port}"]
        taken = f"by {psutil.Process().name()} (pid {os.getpid()})"
        assert (found.level, taken in found.detail) == ("fail", True)


async def none_left(settings: Settings) -> bool:
    return not pids_in(settings.data_dir / "router")


async def test_a_data_plane_whose_state_is_damaged_is_found(left: tuple[Settings, int]) -> None:
    settings, _ = left
    assert "data plane" not in ports(settings)
    for name in ("state.json", "state.previous.json"):
        (settings.data_dir / "router" / name).write_text("{")
    assert "cannot be read" in ports(settings)["data plane"].detail


@contextmanager
def shown(cert: Path, key: Path) -> Iterator[int]:
    """A port where one caller is shown this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            caller, _ = listener.accept()
            with context.wrap_socket(caller, server_side=True):
                pass

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(("days", "level", "words"), [(-1, "fail", "expired "), (3, "warn", "expires "), (90, "ok", "valid until ")])
@pytest.mark.parametrize("running", [True, False])
def test_a_certificate_that_ends_is_found(tmp_path: Path, days: int, level: str, words: str, running: bool) -> None:
    (tmp_path / "data").mkdir()
    cert, key = a_certificate(tmp_path, days=days)
    now = SystemClock().now()
    if running:
        settings = Settings(data_dir=tmp_path / "data")
        with shown(cert, key) as port:
            announced(settings, router=9, scheme="https", port=port)
            (found,) = doctor_edge.certificate(settings, settings.data_dir, now)
    else:
        settings = Settings(data_dir=tmp_path / "data", tls_cert=cert, tls_key=key)
        (found,) = doctor_edge.certificate(settings, settings.data_dir, now)
    assert (found.level, found.detail[: len(words)]) == (level, words)
    assert level == "ok" or (found.why and found.fix)


def test_a_certificate_of_tomorrow_or_one_without_its_key_is_found(tmp_path: Path) -> None:
    cert, key = a_certificate(tmp_path)
    settings = Settings(data_dir=tmp_path / "data", tls_cert=cert, tls_key=key)
    (early,) = doctor_edge.certificate(settings, settings.data_dir, SystemClock().now() - timedelta(days=9))
    assert (early.level, early.detail[:16]) == ("fail", "not valid before")
    key.write_text("no key")
    (found,) = doctor_edge.certificate(settings, settings.data_dir, SystemClock().now())
    assert (found.level, "TLS cannot be used" in found.detail) == ("fail", True)
    assert list(doctor_edge.certificate(Settings(data_dir=tmp_path / "data"), tmp_path / "data", SystemClock().now())) == []


DISK = """
import subprocess, sys
from pathlib import Path
from agent_servicing.cli import checks
folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(folder)], check=True)
try:
    (folder / "filler").write_bytes(b"x" * 1_000_000)
except OSError:
    pass
full = list(checks.data_dir(folder))
subprocess.run(["mount", "-o", "remount,ro", "none", str(folder)], check=True)
for finding in (*full, *checks.data_dir(folder)):
    assert finding.level == "ok" or (finding.why and finding.fix)
    print(finding.subject, finding.level, finding.detail, sep="|")
"""
"""In a mount namespace of its own, so that the disk is really full and really cannot be written, for root too."""


@pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode != 0,
    reason="this machine lets nobody mount",
)
def test_a_full_disk_and_one_that_cannot_be_written_are_found(tmp_path: Path) -> None:
    command = ["unshare", "-rm", sys.executable, "-c", DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = [line.split("|") for line in done.stdout.splitlines()]
    assert [line[:2] for line in said] == [["data directory", "ok"], ["disk", "fail"], ["data directory", "fail"]]
    assert said[1][2] == "0.0 GB free"
    assert "Read-only file system" in said[2][2]
