"""Where `servicing agent add` finds a manifest: files, folders, git repositories of every kind."""

import subprocess
import tomllib
from pathlib import Path

import pytest

from agent_servicing.cli.manifests import MAX_BYTES, find_manifest
from agent_servicing.core.errors import Invalid, NotFound

MANIFEST = '[agent]\nid = "WowMemory"\n\n[run]\ncommand = ["x"]\n'
WITH_SOURCE = MANIFEST + '\n[source]\npypi = "httpbin"\n'
NOBODY = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"]


def git(*words: str) -> None:
    subprocess.run(["git", *NOBODY, *words], check=True, capture_output=True, timeout=30)


def repository(folder: Path, text: str = MANIFEST) -> Path:
    folder.mkdir()
    git("init", "-q", str(folder))
    (folder / "agent.toml").write_text(text)
    git("-C", str(folder), "add", ".")
    git("-C", str(folder), "commit", "-q", "-m", "first")
    return folder


def source_of(text: str) -> dict[str, str]:
    found = tomllib.loads(text)["source"]
    assert isinstance(found, dict)
    return found


def test_a_file_is_sent_as_it_is_with_its_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MANIFEST)
    found = find_manifest("mine.toml", tmp_path)
    assert (found.text, found.path) == (MANIFEST, str(tmp_path / "mine.toml"))


def test_a_folder_means_the_manifest_in_it(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(WITH_SOURCE)
    assert find_manifest(".", tmp_path).path == str(tmp_path / "agent.toml")


def test_a_repository_without_a_named_source_is_its_own(tmp_path: Path) -> None:
    path = repository(tmp_path / "wow")
    assert source_of(find_manifest("wow", tmp_path).text) == {"git": str(path)}


def test_a_source_that_is_named_stays(tmp_path: Path) -> None:
    repository(tmp_path / "wow", WITH_SOURCE)
    assert find_manifest("wow", tmp_path).text == WITH_SOURCE


def test_a_bare_repository_is_read_at_its_default_branch(tmp_path: Path) -> None:
    repository(tmp_path / "wow")
    git("clone", "-q", "--bare", str(tmp_path / "wow"), str(tmp_path / "wow.git"))
    found = find_manifest("wow.git", tmp_path)
    assert source_of(found.text) == {"git": str(tmp_path / "wow.git")}
    assert found.path == str(tmp_path / "wow.git" / "agent.toml")


def test_an_address_is_read_without_a_path_on_this_machine(tmp_path: Path) -> None:
    address = f"file://{repository(tmp_path / 'wow')}"
    found = find_manifest(address, tmp_path)
    assert found.path is None
    assert source_of(found.text) == {"git": address}


def test_a_manifest_that_is_no_toml_is_left_to_the_server(tmp_path: Path) -> None:
    repository(tmp_path / "wow", "[agent\n")
    assert find_manifest("wow", tmp_path).text == "[agent\n"


@pytest.mark.parametrize("name", ["absent", "empty", "nothing.git", "file:///no/such/repository.git"])
def test_what_holds_no_manifest_is_refused_with_what_would(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    git("init", "-q", "--bare", str(tmp_path / "nothing.git"))
    with pytest.raises((NotFound, Invalid)) as error:
        find_manifest(name, tmp_path)
    assert name in error.value.message


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"#" * (MAX_BYTES + 1)])
def test_a_file_that_is_no_manifest_is_not_sent(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "agent.toml").write_bytes(content)
    with pytest.raises(Invalid):
        find_manifest("agent.toml", tmp_path)


def test_an_address_cannot_become_an_option_of_git(tmp_path: Path) -> None:
    with pytest.raises((NotFound, Invalid)):
        find_manifest("--upload-pack=touch@x:y", tmp_path)
