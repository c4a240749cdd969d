"""An uploaded wheel from the command line into production and back: built here, installed by uv from a folder, without any network."""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.harness import Server, a_server
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)

MODULE = """
import http.server, sys
WORDS = {words!r}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = WORDS.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""
MANIFEST = """
[agent]
id = "Wheeled"
[source]
pypi = "wow-tiny"
[run]
command = ["python", "-m", "wow_tiny", "{host}", "{port}"]
[drain]
timeout_seconds = 1
conversation_timeout_seconds = 1
"""


def a_wheel(folder: Path, version: str, words: str) -> Path:
    """A whole wheel, with the hashes that installers check."""
    info = f"wow_tiny-{version}.dist-info"
    files = {
        "wow_tiny.py": MODULE.format(words=words),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: wow-tiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: a-test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{name},sha256={_hash(content)},{len(content.encode())}" for name, content in files.items()]
    path = folder / f"wow_tiny-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, f"{info}/RECORD": "\n".join([*lines, f"{info}/RECORD,,", ""])}.items():
            archive.writestr(name, content)
    return path


def _hash(content: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Its only package index is a folder with one release of one package."""
    page = tmp_path / "index/wow-tiny"
    page.mkdir(parents=True)
    wheel = a_wheel(page, "1.0.0", "as released")
    (page / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{wheel.name}">{wheel.name}</a></body></html>')
    index = page.parent.as_uri()
    with a_server(tmp_path / "server", UV_DEFAULT_INDEX=index, UV_INDEX="", UV_EXTRA_INDEX_URL="", UV_NO_CONFIG="1") as running:
        yield running


def test_an_uploaded_wheel_is_installed_serves_and_is_gone_back_from(server: Server, tmp_path: Path) -> None:
    added = server.post("/agents", {"manifest": MANIFEST, "version": "1.0.0"}, expect=201)
    assert server.outcome(added["upgrade_id"], agent="Wheeled")["status"] == "completed"
    assert said(server) == "as released"
    wheel = a_wheel(tmp_path, "1.0.1", "as patched")
    done = server.run("version", "upload", "Wheeled", str(wheel), "--reason", "a test")
    assert "Wheeled has 1.0.0+patch.1 now, on 1.0.0." in done.stdout
    with Load(server.router_url, "Wheeled", method="GET") as load:
        done = server.outcome(server.upgrade("1.0.0+patch.1", agent="Wheeled"), agent="Wheeled")
    assert (done["status"], done["message"] if done["status"] != "completed" else "") == ("completed", "")
    assert load.lost == []
    assert said(server) == "as patched"
    (metadata,) = (server.data_dir / "agents/Wheeled/releases/1.0.0+patch.1").rglob("wow_tiny-*.dist-info/METADATA")
    assert "Version: 1.0.1" in metadata.read_text(), "it is the wheel that was uploaded"
    server.run("rollback", "Wheeled", "--reason", "a test", "--watch")
    assert said(server) == "as released"


def said(server: Server) -> str:
    return httpx.get(f"{server.router_url}/Wheeled/", timeout=30).raise_for_status().text
