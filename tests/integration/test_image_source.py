"""`ImageSource` against a real registry (Debian's `docker-registry`), and against a server that answers as registries do when it matters."""

import base64
import hashlib
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_servicing.adapters.sources import oci_registry
from agent_servicing.adapters.sources.image import ImageSource, version_tags
from agent_servicing.adapters.sources.oci_registry import repository
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.versions import SourceVersion
from tests.source_builders import manifest

pytestmark = pytest.mark.anyio

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
Answer = tuple[int, Mapping[str, str], bytes]


def sha(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def packed(value: object) -> bytes:
    return json.dumps(value).encode()


def image(labels: Mapping[str, str], *, annotations: Mapping[str, str] | None = None) -> tuple[bytes, bytes]:
    """A configuration and the manifest that names it; no layers."""
    config = packed({"architecture": "amd64", "os": "linux", "created": "2026-02-03T04:05:06.123456789Z", "config": {"Labels": labels}})
    described = {"mediaType": CONFIG, "digest": sha(config), "size": len(config)}
    body: dict[str, Any] = {"schemaVersion": 2, "mediaType": IMAGE, "config": described, "layers": []}
    return config, packed({**body, "annotations": dict(annotations)} if annotations else body)


LABELS = {
    "org.opencontainers.image.description": "Remembers  things",
    "org.opencontainers.image.authors": "Sample Author",
    "org.opencontainers.image.revision": "0123456789abcdef0123",
}


@pytest.fixture
def real(tmp_path: Path, free_tcp_port: int) -> Iterator[str]:
    """The address of a real registry."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed (Debian/Ubuntu: apt-get install docker-registry)")
    file = tmp_path / "registry.json"  # JSON is YAML
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    file.write_bytes(packed({"version": "0.1", "storage": storage, "http": {"addr": f"127.0.0.1:{free_tcp_port}"}}))
    with subprocess.Popen([program, "serve", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield _up(f"127.0.0.1:{free_tcp_port}", process)
        finally:
            process.terminate()


def _up(host: str, process: "subprocess.Popen[bytes]") -> str:
    for _ in range(1_200):
        assert process.poll() is None, "the registry ended"
        try:
            httpx.get(f"http://{host}/v2/").raise_for_status()
        except httpx.TransportError:
            threading.Event().wait(0.05)
        else:
            return host
    raise AssertionError("the registry does not answer")


def push(host: str, tag: str, body: bytes, *blobs: bytes, media_type: str = IMAGE) -> str:
    with httpx.Client(base_url=f"http://{host}/v2/team/wow/") as client:
        for blob in blobs:
            where = client.post("blobs/uploads/").headers["location"]
            client.put(httpx.URL(where).copy_merge_params({"digest": sha(blob)}), content=blob).raise_for_status()
        client.put(f"manifests/{tag}", content=body, headers={"Content-Type": media_type}).raise_for_status()
    return sha(body)


async def test_tags_of_a_real_registry_become_versions_with_digest_date_author_and_summary(real: str, tmp_path: Path) -> None:
    config, body = image(LABELS)
    digest = push(real, "v1.2.0", body, config)
    push(real, "latest", body)
    other_config, other = image({}, annotations={"org.opencontainers.image.created": "2026-05-01T00:00:00Z"})
    index = {"schemaVersion": 2, "mediaType": INDEX, "annotations": {"org.opencontainers.image.description": "Both kinds"}}
    push(real, "part", other, other_config)
    platform = {"architecture": "amd64", "os": "linux"}
    listed = packed({**index, "manifests": [{"mediaType": IMAGE, "digest": sha(other), "size": len(other), "platform": platform}]})
    listed_digest = push(real, "1.3.0_patch.1", listed, media_type=INDEX)

    found = await ImageSource(tmp_path, env={}).versions(manifest("image", f"{real}/team/wow"))

    assert [(v.version, v.ref) for v in found] == [("1.3.0+patch.1", listed_digest), ("1.2.0", digest)]
    assert (found[0].summary, found[0].released_at) == ("Both kinds", datetime(2026, 5, 1, tzinfo=UTC))
    assert found[1] == SourceVersion(
        version="1.2.0",
        ref=digest,
        released_at=datetime(2026, 2, 3, 4, 5, 6, 123456, tzinfo=UTC),
        author="Sample Author",
        summary="Remembers things (revision 0123456789ab)",
    )


async def test_a_tag_that_moves_in_a_real_registry_has_another_ref(real: str, tmp_path: Path) -> None:
    source, agent = ImageSource(tmp_path, env={}), manifest("image", f"{real}/team/wow")
    first = push(real, "1.0.0", *reversed(image({})))
    assert [v.ref for v in await source.versions(agent)] == [first]
    second = push(real, "1.0.0", *reversed(image(LABELS)))
    assert [(v.ref, v.author) for v in await source.versions(agent)] == [(second, "Sample Author")] != [(first, "")]


class Acting:
    """A registry whose answers a test chooses: `answer` maps method, path with query, and Authorization to what is said."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.asked: list[tuple[str, str, str]] = []
        self.answer: Callable[[str, str, str], Answer | None] = lambda *_: None
        self.files: dict[str, bytes] = {}

    def holds(self, tag: str, config: bytes, body: bytes) -> None:
        for name, content in ((f"manifests/{tag}", body), (f"manifests/{sha(body)}", body), (f"blobs/{sha(config)}", config)):
            self.files[f"/v2/team/wow/{name}"] = content

    def lists(self, *tags: str) -> None:
        self.files["/v2/team/wow/tags/list?n=1000"] = packed({"name": "team/wow", "tags": tags})

    def respond(self, method: str, path: str, authorization: str) -> Answer:
        self.asked.append((method, path, authorization))
        chosen = self.answer(method, path, authorization)
        return chosen or ((200, {}, self.files[path]) if path in self.files else (404, {}, b"{}"))


@pytest.fixture
def acting(free_tcp_port: int) -> Iterator[Acting]:
    acting = Acting(f"127.0.0.1:{free_tcp_port}")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = acting.respond(self.command, self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 (the base class's name)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the base class's name)
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", free_tcp_port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        acting.holds("1.0.0", *image(LABELS))
        acting.lists("1.0.0")
        yield acting
        server.shutdown()
        thread.join()


async def versions(acting: Acting, tmp_path: Path) -> list[str]:
    """`tmp_path` is also where the logins are."""
    source = ImageSource(tmp_path, env={"DOCKER_CONFIG": str(tmp_path)})
    return [version.version for version in await source.versions(manifest("image", f"{acting.host}/team/wow"))]


def log_in(folder: Path, host: str) -> str:
    auth = base64.b64encode(b"robot:s3cret").decode()
    (folder / "config.json").write_bytes(packed({"auths": {host: {"auth": auth}}}))
    return f"Basic {auth}"


def with_tokens(acting: Acting, login: str = "") -> None:
    """Everything needs the token that `/token` gives whoever shows `login`."""

    def answer(_: str, path: str, authorization: str) -> Answer | None:
        if path.startswith("/token"):
            return (200, {}, packed({"token": "t0ken"})) if authorization == login else (401, {}, b"{}")
        challenge = f'Bearer realm="http://{acting.host}/token",service="wow, inc",scope="repository:team/wow:pull"'
        return None if authorization == "Bearer t0ken" else (401, {"WWW-Authenticate": challenge}, b"{}")

    acting.answer = answer


async def test_an_anonymous_token_is_asked_for_once(acting: Acting, tmp_path: Path) -> None:
    with_tokens(acting)
    assert await versions(acting, tmp_path) == ["1.0.0"]
    asked = [path for _, path, _ in acting.asked if path.startswith("/token")]
    assert [dict(httpx.QueryParams(path.partition("?")[2])) for path in asked] == [
        {"scope": "repository:team/wow:pull", "service": "wow, inc"}
    ]


async def test_a_saved_login_buys_the_token_and_goes_to_no_other_registry(acting: Acting, tmp_path: Path) -> None:
    with_tokens(acting, log_in(tmp_path, acting.host))
    assert await versions(acting, tmp_path) == ["1.0.0"]
    log_in(tmp_path, "registry.example.org")
    acting.asked.clear()
    with pytest.raises(PermanentError, match=r"does not let nobody in particular read team/wow; .*docker login"):
        await versions(acting, tmp_path)
    assert not [header for _, _, header in acting.asked if header.startswith("Basic")]


async def test_a_registry_that_wants_basic_gets_the_saved_login(acting: Acting, tmp_path: Path) -> None:
    login = log_in(tmp_path, acting.host)
    acting.answer = lambda _method, _path, given: None if given == login else (401, {"WWW-Authenticate": 'Basic realm="wow"'}, b"{}")
    assert await versions(acting, tmp_path) == ["1.0.0"]
    (tmp_path / "config.json").unlink()
    with pytest.raises(PermanentError, match="asks for a login"):
        await versions(acting, tmp_path)


async def test_all_pages_of_tags_are_read_and_none_from_another_host(acting: Acting, tmp_path: Path) -> None:
    acting.holds("1.1.0", *image({}))
    first, second = packed({"tags": ["1.0.0"]}), packed({"tags": ["1.1.0", "nightly"]})
    acting.files["/v2/team/wow/tags/list?last=1.0.0&n=1"] = second
    link = '</v2/team/wow/tags/list?last=1.0.0&n=1>; rel="next"'
    acting.answer = lambda _method, path, _: (200, {"Link": link}, first) if path.endswith("?n=1000") else None
    assert await versions(acting, tmp_path) == ["1.1.0", "1.0.0"]
    link = '<https://elsewhere.example.org/v2/team/wow/tags/list>; rel="next"'
    with pytest.raises(PermanentError, match="sends on to another host"):
        await versions(acting, tmp_path)


async def test_pages_without_end_end(acting: Acting, tmp_path: Path) -> None:
    link = '</v2/team/wow/tags/list?n=1000>; rel="next"'
    acting.answer = lambda _method, path, _: (200, {"Link": link}, packed({"tags": ["1.0.0"]})) if "tags" in path else None
    with pytest.raises(PermanentError, match="more than 100 pages"):
        await versions(acting, tmp_path)
    assert len(acting.asked) == oci_registry.TAG_PAGES_MAX


async def test_a_busy_registry_says_when_to_come_again(acting: Acting, tmp_path: Path) -> None:
    acting.answer = lambda *_: (429, {"Retry-After": "77"}, b"")
    with pytest.raises(TemporaryError, match="too many requests") as caught:
        await versions(acting, tmp_path)
    assert caught.value.retry_after_seconds == 77


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (503, b"", TemporaryError, "status 503"),
        (404, b"{}", PermanentError, "has no team/wow"),
        (403, b"{}", PermanentError, "does not let"),
        (418, b"", PermanentError, "does not answer as a registry"),
        (200, b"<html>", PermanentError, "list of tags cannot be read"),
        (200, b"[]", PermanentError, "list of tags cannot be read"),
        (200, b'{"tags": [1]}', PermanentError, "list of tags cannot be read"),
        (200, b"[" * 100_000, PermanentError, "list of tags cannot be read"),
        (200, b'{"tags": null}', PermanentError, "it has no tags"),
        (200, b'{"tags": ["latest"]}', PermanentError, "its tags are latest"),
        (200, b" " * (oci_registry.BODY_BYTES_MAX + 1), PermanentError, "larger than 4 MiB"),
    ],
)
async def test_what_is_no_good_answer_is_told(
    acting: Acting, tmp_path: Path, status: int, body: bytes, error: type[Exception], words: str
) -> None:
    acting.answer = lambda *_: (status, {}, body)
    with pytest.raises(error, match=words):
        await versions(acting, tmp_path)


async def test_a_registry_that_is_down_is_asked_again_later(tmp_path: Path, free_tcp_port: int) -> None:
    with pytest.raises(TemporaryError, match="cannot ask the registry"):
        await versions(Acting(f"127.0.0.1:{free_tcp_port}"), tmp_path)


async def test_content_that_is_not_what_its_digest_says_is_not_believed(acting: Acting, tmp_path: Path) -> None:
    _, body = image(LABELS)
    acting.files[f"/v2/team/wow/manifests/{sha(body)}"] = image({})[1]
    with pytest.raises(PermanentError, match="with something else"):
        await versions(acting, tmp_path)


async def test_a_refresh_asks_only_for_digests_of_what_it_knows(acting: Acting, tmp_path: Path) -> None:
    source, agent = ImageSource(tmp_path, env={}), manifest("image", f"{acting.host}/team/wow")
    digest = sha(image(LABELS)[1])
    acting.answer = lambda method, _path, _: (200, {"Docker-Content-Digest": digest}, b"") if method == "HEAD" else None
    before = await source.versions(agent)
    acting.asked.clear()
    assert await source.versions(agent) == before
    assert [(method, path.rpartition("/")[2]) for method, path, _ in acting.asked] == [("GET", "list?n=1000"), ("HEAD", "1.0.0")]


async def test_a_tag_that_went_between_two_questions_is_left_out(acting: Acting, tmp_path: Path) -> None:
    acting.lists("1.0.0", "1.5.0")
    assert await versions(acting, tmp_path) == ["1.0.0"]


async def test_a_file_of_logins_that_is_none_is_told(acting: Acting, tmp_path: Path) -> None:
    for content in (b"{", b"[]", b'{"auths": [1]}', packed({"auths": {acting.host: {"auth": "%%"}}})):
        (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(PermanentError, match="docker login writes"):
            await versions(acting, tmp_path)


async def test_an_image_cannot_be_had_as_files(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="needs a runtime that runs containers"):
        await ImageSource(tmp_path, env={}).fetch(manifest("image", "a/b"), "1.0.0", "sha256:0", tmp_path)


@pytest.mark.parametrize(
    ("location", "root", "name"),
    [
        ("wow", "https://registry-1.docker.io", "library/wow"),
        ("team/wow", "https://registry-1.docker.io", "team/wow"),
        ("registry.example.org/team/wow", "https://registry.example.org", "team/wow"),
        ("registry.example.org:5000/wow", "https://registry.example.org:5000", "wow"),
        ("localhost:5000/wow", "http://localhost:5000", "wow"),
        ("127.0.0.1/wow", "http://127.0.0.1", "wow"),
        ("https://localhost/wow", "https://localhost", "wow"),
        ("http://registry.example.org/wow", "http://registry.example.org", "wow"),
        ("127.example.org/wow", "https://127.example.org", "wow"),
    ],
)
def test_tls_is_left_out_only_on_this_machine_or_when_said(location: str, root: str, name: str) -> None:
    where = repository(location)
    assert (where.root, where.name) == (root, name)


@pytest.mark.parametrize("location", ["registry.example.org/wow:1.0", "a/../b", "ftp://a.b/c", "registry.example.org/", "x.org/Wow"])
def test_what_names_no_repository_is_refused(location: str) -> None:
    with pytest.raises(PermanentError, match=r"source\.image"):
        repository(location)


def test_tags_that_are_versions_are_told_from_others() -> None:
    tags = {str(version): tag for version, tag in version_tags(["1.0.0", "v1.0.0", "1.0.1_patch.2", "latest", "1.0", "2.0.0-rc.1"]).items()}
    assert tags == {"1.0.0": "v1.0.0", "1.0.1+patch.2": "1.0.1_patch.2", "2.0.0-rc.1": "2.0.0-rc.1"}
