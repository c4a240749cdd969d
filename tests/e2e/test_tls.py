"""A real server over TLS: outsiders come in over it, what runs on the machine comes in without a certificate's help, and its files are its own."""

import json
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.certificates import a_certificate
from tests.e2e.harness import AGENT, Server, a_server, an_agent, processes_of

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    cert, key = a_certificate(tmp_path)
    server = Server(tmp_path / "first", {"SERVICING_TLS_CERT": str(cert), "SERVICING_TLS_KEY": str(key)})
    try:
        yield server.start(), cert
    finally:
        server.close()


def test_outsiders_come_in_over_tls_and_agents_and_commands_of_the_machine_as_before(secured: tuple[Server, Path]) -> None:
    server, cert = secured
    info = server.info
    assert info["api_url"].startswith("https://127.0.0.1:")
    assert info["local_url"].startswith("http://127.0.0.1:")
    outside = info["api_url"].replace("127.0.0.1", "localhost")
    token = (server.data_dir / "admin.token").read_text().strip()
    with httpx.Client(verify=ssl.create_default_context(cafile=str(cert))) as client:
        answer = client.get(f"{outside}/api/platform/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["name"] == "admin"
    assert answer.headers["Strict-Transport-Security"]
    with pytest.raises(httpx.TransportError):
        httpx.get(outside.replace("https", "http"))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_1
    port = int(outside.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        old.wrap_socket(plain)
    assert json.loads(server.run("agent", "list", "--json").stdout) is not None
    said = server.run("doctor").stdout
    assert said.count("ready at http://127.0.0.1") == 1
    assert said.count("in use by this server") == 3, "both ways in, and the data plane's"
    assert "certificate        expires " in said
    local = info["local_url"]
    server.kill()
    server.start()
    # Instances outlive the server and come back to the address they were given.
    assert server.info["local_url"] == local
    assert server.process is not None
    server.process.terminate()
    assert server.process.wait(30) == 0


def test_a_certificate_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    cert, key = a_certificate(tmp_path)
    key.write_text("no key")
    server = Server(tmp_path)
    for more, words in (
        (("--tls-cert", str(cert), "--tls-key", str(key)), "TLS cannot be used with"),
        (("--tls-cert", str(tmp_path / "none.pem"), "--tls-key", str(key)), "TLS cannot be used with"),
        (("--tls-cert", str(cert)), "belong together"),
    ):
        command = server.command("serve", "--data-dir", str(tmp_path / "data"), "--port", "0", "--router-port", "0", *more)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert processes_of(str(server.data_dir)) == []
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_nothing_that_the_server_keeps_can_be_read_or_written_by_others(tmp_path: Path) -> None:
    with a_server(tmp_path / "first") as server:
        an_agent(server)
        with server.api() as api:
            assert api.put(f"/secrets/{AGENT}/key", json={"value": "hunter2", "agent": AGENT}).status_code == 200
        server.run("backup", str(tmp_path / "one.backup"))
        assert stat.S_IMODE((tmp_path / "one.backup").stat().st_mode) == 0o600
        assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
        open_to_others = {
            path.relative_to(server.data_dir).as_posix(): oct(path.lstat().st_mode)
            for path in server.data_dir.rglob("*")
            # What is installed keeps the modes that its authors gave it; the folder around it is closed.
            if "releases" not in path.parts and not path.is_symlink() and stat.S_IMODE(path.lstat().st_mode) & 0o077
        }
        assert open_to_others == {}
