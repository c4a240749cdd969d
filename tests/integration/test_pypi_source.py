"""`PypiSource` against an index of our own on this machine, against the configured one, and its installations."""

import json
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent_servicing.adapters.sources import package_index
from agent_servicing.adapters.sources.package_index import index_addresses
from agent_servicing.adapters.sources.pypi import PypiSource
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.semver import parse
from tests.source_builders import folder_of, installed, manifest, output

pytestmark = pytest.mark.anyio
JSON = "application/vnd.pypi.simple.v1+json"


class Index:
    """A package index: `pages` maps a path to (status, content type, body); `asked` are the requests it got."""

    def __init__(self, port: int) -> None:
        self.pages: dict[str, tuple[int, str, str]] = {}
        self.asked: list[str] = []
        self.root = f"http://127.0.0.1:{port}/simple"

    def page(self, package: str, *files: Mapping[str, object]) -> None:
        body = json.dumps(
            {"meta": {"api-version": "1.1"}, "name": package, "files": [{"url": "x", "hashes": {}, **file} for file in files]}
        )
        self.pages[f"/simple/{package}/"] = (200, JSON, body)


@pytest.fixture
def index(free_tcp_port: int) -> Iterator[Index]:
    index = Index(free_tcp_port)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(f"{self.path} {self.headers.get('Authorization', '')}".strip())
            status, content_type, body = index.pages.get(self.path, (404, "text/plain", ""))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the base class's name)
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", free_tcp_port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield index
        server.shutdown()
        thread.join()


def source_for(tmp_path: Path, default: str, extra: str = "") -> PypiSource:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "UV_DEFAULT_INDEX": default, "UV_NO_CONFIG": "1"}
    return PypiSource(tmp_path / "data", env=env | ({"UV_INDEX": extra} if extra else {}))


def wheel(version: str, **more: object) -> dict[str, object]:
    return {"filename": f"wow_cache-{version}-py3-none-any.whl", **more}


async def test_releases_become_versions_newest_first(tmp_path: Path, index: Index) -> None:
    index.page(
        "wow-cache",
        wheel("1.0", **{"upload-time": "2026-01-02T03:04:05.5Z"}),
        {"filename": "wow_cache-1.0.tar.gz", "upload-time": "2026-01-02T03:04:01Z"},
        wheel("1.10.0"),
        wheel("1.9.0"),
        wheel("2.0.0b1"),
        wheel("1.0.post1"),
    )
    found = await source_for(tmp_path, index.root).versions(manifest("pypi", "Wow_Cache"))
    assert [(version.version, version.ref) for version in found] == [
        ("2.0.0-beta.1", "2.0.0b1"),
        ("1.10.0", "1.10.0"),
        ("1.9.0", "1.9.0"),
        ("1.0.0+post.1", "1.0.post1"),
        ("1.0.0", "1.0"),
    ]
    assert [version.released_at for version in found][-2:] == [None, datetime(2026, 1, 2, 3, 4, 1, tzinfo=UTC)]


async def test_releases_that_cannot_be_installed_here_are_left_out(tmp_path: Path, index: Index) -> None:
    index.page(
        "wow-cache",
        wheel("1.0.0", **{"requires-python": ">=3.8"}),
        wheel("1.1.0", yanked="broken"),
        wheel("1.2.0", yanked=True),
        wheel("1.3.0", yanked=False),
        wheel("1.4.0", **{"requires-python": ">=99"}),
        wheel("1.5.0", **{"requires-python": "2.6, nonsense"}),
        wheel("1!2.0.0"),
        {"filename": "wow_cache-9.0.0-py2.7.egg"},
    )
    found = await source_for(tmp_path, index.root).versions(manifest("pypi", "wow-cache"))
    assert [version.version for version in found if version.withdrawn is None] == ["1.5.0", "1.3.0", "1.0.0"]


async def test_a_yanked_release_is_listed_as_withdrawn_with_its_reason(tmp_path: Path, index: Index) -> None:
    index.page(
        "wow-cache",
        wheel("1.0.0"),
        wheel("1.1.0", yanked="broken"),
        {"filename": "wow_cache-1.1.0.tar.gz", "yanked": True},
        wheel("1.2.0", yanked=True),
        wheel("1.3.0", yanked="only this wheel"),
        {"filename": "wow_cache-1.3.0.tar.gz"},
    )
    found = {
        version.version: version.withdrawn for version in await source_for(tmp_path, index.root).versions(manifest("pypi", "wow-cache"))
    }
    assert found == {"1.0.0": None, "1.1.0": "broken", "1.2.0": package_index.NO_REASON, "1.3.0": None}


async def test_an_index_that_speaks_only_html_is_read(tmp_path: Path, index: Index) -> None:
    links = '<a href="x/wow_cache-1.0.0.tar.gz">wow_cache-1.0.0.tar.gz</a><a href="y/wow_cache-1.1.0.tar.gz" data-yanked="">1.1.0</a>'
    index.pages["/simple/wow-cache/"] = (200, "text/html; charset=utf-8", f"<!DOCTYPE html><html><body>{links}</body></html>")
    yanked, found = await source_for(tmp_path, index.root).versions(manifest("pypi", "wow-cache"))
    assert (found.version, found.released_at, found.withdrawn) == ("1.0.0", None, None)
    assert (yanked.version, yanked.withdrawn) == ("1.1.0", package_index.NO_REASON)


async def test_an_index_on_disk_is_read(tmp_path: Path) -> None:
    folder_of({"wow-cache/index.html": '<a href="x/wow_cache-1.0.0.tar.gz">wow_cache-1.0.0.tar.gz</a>'}, tmp_path / "simple")
    (found,) = await source_for(tmp_path, (tmp_path / "simple").as_uri()).versions(manifest("pypi", "wow-cache"))
    assert found.version == "1.0.0"


async def test_the_first_index_that_has_the_package_counts(tmp_path: Path, index: Index) -> None:
    index.pages["/extra/wow-cache/"] = index.pages["/simple/wow-cache/"] = (
        200,
        "text/html",
        '<a href="x/wow_cache-1.0.0.tar.gz">wow_cache-1.0.0.tar.gz</a>',
    )
    source = source_for(tmp_path, index.root, index.root.replace("simple", "extra"))
    await source.versions(manifest("pypi", "wow-cache"))
    assert index.asked == ["/extra/wow-cache/"]
    del index.pages["/extra/wow-cache/"]
    await source.versions(manifest("pypi", "wow-cache"))
    assert index.asked[1:] == ["/extra/wow-cache/", "/simple/wow-cache/"]


async def test_the_password_of_an_index_is_used_and_never_shown(tmp_path: Path, index: Index) -> None:
    source = source_for(tmp_path, index.root.replace("http://", "http://user:hidden@"))
    with pytest.raises(PermanentError, match="no package index has wow-cache") as caught:
        await source.versions(manifest("pypi", "wow-cache"))
    assert "hidden" not in str(caught.value)
    assert "Basic" in index.asked[0]


@pytest.mark.parametrize(("status", "kind"), [(403, PermanentError), (500, TemporaryError), (429, TemporaryError)])
async def test_an_index_that_refuses_is_told_from_one_that_is_unwell(
    tmp_path: Path, index: Index, status: int, kind: type[Exception]
) -> None:
    index.pages["/simple/wow-cache/"] = (status, "text/plain", "no")
    with pytest.raises(kind, match=f"status {status}"):
        await source_for(tmp_path, index.root).versions(manifest("pypi", "wow-cache"))


async def test_an_index_that_does_not_answer_is_asked_again_later(tmp_path: Path, free_tcp_port: int) -> None:
    with pytest.raises(TemporaryError, match="cannot ask the package index"):
        await source_for(tmp_path, f"http://127.0.0.1:{free_tcp_port}/simple").versions(manifest("pypi", "wow-cache"))


@pytest.mark.parametrize(("content_type", "body"), [(JSON, "{"), ("text/plain", "hello"), ("", "")])
async def test_a_page_that_is_none_is_told(tmp_path: Path, index: Index, content_type: str, body: str) -> None:
    index.pages["/simple/wow-cache/"] = (200, content_type, body)
    with pytest.raises(PermanentError, match="is no page of a package index"):
        await source_for(tmp_path, index.root).versions(manifest("pypi", "wow-cache"))


@pytest.mark.parametrize("files", [[], [wheel("1!2.0.0")]])
async def test_a_package_without_usable_releases_is_told(tmp_path: Path, index: Index, files: list[dict[str, object]]) -> None:
    index.page("wow-cache", *files)
    with pytest.raises(PermanentError, match="no release"):
        await source_for(tmp_path, index.root).versions(manifest("pypi", "wow-cache"))


async def test_addresses_come_from_uvs_own_configuration(tmp_path: Path) -> None:
    folder_of({"uv/uv.toml": '[[index]]\nname = "ours"\nurl = "http://127.0.0.1:9/ours"\n'}, tmp_path)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    assert (await index_addresses(cwd=tmp_path, env=env))[0] == "http://127.0.0.1:9/ours"


async def test_the_install_step_names_exactly_one_release(tmp_path: Path) -> None:
    source = PypiSource(tmp_path)
    assert list(source.install_command(manifest("pypi", "httpbin[mainapp]"), "1.0.0-rc.1", tmp_path) or ())[-2:] == [
        "package",
        "httpbin[mainapp]==1.0.0rc1",
    ]
    with pytest.raises(PermanentError, match="is no release of httpbin"):
        source.install_command(manifest("pypi", "httpbin"), "1.0.0+patch.1", tmp_path)


async def test_a_release_from_the_configured_index_is_found_and_installed(tmp_path: Path) -> None:
    """Needs the package index this machine is set up for."""
    source = PypiSource(tmp_path / "data")
    wanted = manifest("pypi", "six")
    versions = {version.version: version for version in await source.versions(wanted)}
    assert versions["1.16.0"].released_at == datetime(2021, 5, 5, 14, 18, 17, 237677, tzinfo=UTC)
    assert sorted(versions, key=parse, reverse=True) == list(versions)
    release = tmp_path / "release"
    release.mkdir()
    await source.fetch(wanted, "1.16.0", versions["1.16.0"].ref, release)
    assert list(release.iterdir()) == []
    installed(source.install_command(wanted, "1.16.0", release), release)
    assert output(release, "import six; print(six.__version__)") == "1.16.0"
