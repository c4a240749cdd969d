"""`GitSource` on real repositories in every state they can be in."""

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from agent_servicing.adapters.sources.git import GitSource
from agent_servicing.adapters.sources.git_mirror import local_path
from agent_servicing.adapters.sources.git_tags import COMMITS_MAX
from agent_servicing.adapters.sources.work import VERSIONS_MAX, shown
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.versions import Change, SourceVersion
from tests.source_builders import FILES, GitRepository, git_environment, manifest, overwrite, tree

pytestmark = pytest.mark.anyio


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "repository")


@pytest.fixture
def source(tmp_path: Path) -> GitSource:
    return GitSource(tmp_path / "data", env=git_environment())


async def found(source: GitSource, location: str | Path) -> dict[str, SourceVersion]:
    return {version.version: version for version in await source.versions(manifest("git", location))}


async def fetched(source: GitSource, location: str | Path, version: SourceVersion, folder: Path) -> Path:
    await anyio.Path(folder).mkdir()
    await source.fetch(manifest("git", location), version.version, version.ref, folder)
    return folder


async def test_an_annotated_tag_gives_author_date_and_notes(source: GitSource, repository: GitRepository) -> None:
    repository.commit("feat: a cache", FILES)
    repository.tag("v1.0.0", "The first one\n\nIt caches.")
    version = (await found(source, repository.folder))["1.0.0"]
    assert version.author == "Sample Author"
    assert version.released_at == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert version.summary == "The first one\n\nIt caches."
    assert version.ref == repository.git("rev-parse", "HEAD")


async def test_a_tags_message_can_withdraw_or_deprecate_its_version(source: GitSource, repository: GitRepository) -> None:
    repository.commit("feat: a cache", FILES)
    repository.tag("v1.0.0", "The first one\n\nDeprecated: slow")
    repository.tag("v1.1.0", "Withdrawn:   loses entries  \n\nIt cached.")
    repository.tag("v1.2.0", "Not Withdrawn: fine")
    first = await found(source, repository.folder)
    assert {name: (v.withdrawn, v.deprecated) for name, v in first.items()} == {
        "1.0.0": (None, "slow"),
        "1.1.0": ("loses entries", None),
        "1.2.0": (None, None),
    }
    repository.git("tag", "--force", "--annotate", "--message", "Withdrawn: too slow", "v1.0.0", "v1.0.0^{}")
    again = (await found(source, repository.folder))["1.0.0"]
    assert (again.withdrawn, again.ref) == ("too slow", first["1.0.0"].ref)


async def test_a_light_tag_gives_author_and_date_of_its_commit(source: GitSource, repository: GitRepository) -> None:
    repository.commit("feat: a cache", FILES)
    repository.tag("1.0.0")
    version = (await found(source, repository.folder))["1.0.0"]
    assert (version.author, version.released_at, version.summary) == ("Sample Author", datetime(2026, 1, 1, 12, tzinfo=UTC), "")


async def test_the_changelog_is_what_came_since_the_version_before(source: GitSource, repository: GitRepository) -> None:
    repository.commit("feat: a cache")
    repository.tag("v1.0.0")
    repository.commit("fix: a leak")
    repository.commit("docs: explain")
    repository.commit("feat!: drop v1\n\nBREAKING CHANGE: use /v2")
    repository.tag("v2.0.0")
    versions = await found(source, repository.folder)
    assert versions["1.0.0"].changes == (Change(kind="added", text="A cache"),)
    assert versions["2.0.0"].changes == (
        Change(kind="breaking", text="use /v2"),
        Change(kind="added", text="Drop v1"),
        Change(kind="fixed", text="A leak"),
    )


async def test_a_maintenance_version_has_the_changes_of_its_own_branch(source: GitSource, repository: GitRepository) -> None:
    repository.commit("feat: a cache")
    repository.tag("v1.0.0")
    repository.git("branch", "1.x")
    repository.commit("feat: the future")
    repository.tag("v2.0.0")
    repository.git("switch", "--quiet", "1.x")
    repository.commit("fix: the past")
    repository.tag("v1.0.1")
    versions = await found(source, repository.folder)
    assert versions["1.0.1"].changes == (Change(kind="fixed", text="The past"),)
    assert versions["2.0.0"].changes == (Change(kind="added", text="The future"),)


async def test_a_release_tells_what_its_prereleases_brought(source: GitSource, repository: GitRepository) -> None:
    for message, tag in (("feat: a", "v1.0.0"), ("feat: b", "v1.1.0-rc.1"), ("fix: c", "v1.1.0-rc.2"), ("chore: release", "v1.1.0")):
        repository.commit(message)
        repository.tag(tag)
    versions = await found(source, repository.folder)
    assert [change.text for change in versions["1.1.0"].changes] == ["C", "B"]
    assert [change.text for change in versions["1.1.0-rc.2"].changes] == ["C"]


async def test_a_bare_repository_is_as_good(source: GitSource, repository: GitRepository, tmp_path: Path) -> None:
    repository.commit("feat: a cache", FILES)
    repository.tag("v1.0.0")
    bare = tmp_path / "bare.git"
    repository.git("clone", "--quiet", "--bare", ".", str(bare))
    version = (await found(source, bare.as_uri()))["1.0.0"]
    assert tree(await fetched(source, bare.as_uri(), version, tmp_path / "release")) == FILES


async def test_a_linked_work_tree_is_as_good(source: GitSource, repository: GitRepository, tmp_path: Path) -> None:
    repository.commit("feat: a cache", FILES)
    repository.tag("v1.0.0")
    repository.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    assert set(await found(source, tmp_path / "linked")) == {"1.0.0"}


async def test_packed_references_and_objects_are_read(source: GitSource, repository: GitRepository) -> None:
    repository.commit("feat: a cache", FILES)
    repository.tag("v1.0.0", "one")
    repository.git("gc", "--quiet")
    assert set(await found(source, repository.folder)) == {"1.0.0"}


async def test_only_what_is_committed_and_tagged_counts_in_a_dirty_work_tree(
    source: GitSource, repository: GitRepository, tmp_path: Path
) -> None:
    repository.commit("feat: a cache", FILES)
    repository.tag("v1.0.0")
    repository.write({"wow_cache.py": "unfinished", "new.py": "untracked"})
    version = (await found(source, repository.folder))["1.0.0"]
    assert tree(await fetched(source, repository.folder, version, tmp_path / "release")) == FILES


async def test_of_two_spellings_of_one_version_the_one_with_v_counts(source: GitSource, repository: GitRepository) -> None:
    first = repository.commit("feat: a")
    repository.tag("v1.0.0")
    repository.commit("feat: b")
    repository.tag("1.0.0")
    assert (await found(source, repository.folder))["1.0.0"].ref == first


async def test_a_tag_of_something_else_than_a_commit_is_no_version(source: GitSource, repository: GitRepository) -> None:
    repository.commit("feat: a", FILES)
    repository.tag("v1.0.0", "one")
    repository.git("tag", "--annotate", "--message", "a tag of a tag", "v1.1.0", "v1.0.0")
    repository.git("tag", "v2.0.0", "HEAD:wow_cache.py")
    assert set(await found(source, repository.folder)) == {"1.0.0", "1.1.0"}


async def test_a_moved_tag_shows_its_new_commit_and_the_old_one_can_still_be_fetched(
    source: GitSource, repository: GitRepository, tmp_path: Path
) -> None:
    repository.commit("feat: a", FILES)
    repository.tag("v1.0.0")
    before = (await found(source, repository.folder))["1.0.0"]
    repository.git("commit", "--quiet", "--amend", "--message", "feat: rewritten")
    repository.tag("v1.0.0", None, "--force")
    after = (await found(source, repository.folder))["1.0.0"]
    assert after.ref == repository.git("rev-parse", "HEAD") != before.ref
    assert tree(await fetched(source, repository.folder, before, tmp_path / "release")) == FILES


async def test_a_deleted_tag_is_no_longer_a_version(source: GitSource, repository: GitRepository) -> None:
    repository.commit("feat: a")
    repository.tag("v1.0.0")
    repository.tag("v1.1.0")
    assert len(await found(source, repository.folder)) == 2
    repository.git("tag", "--delete", "v1.1.0")
    assert set(await found(source, repository.folder)) == {"1.0.0"}


async def test_a_version_can_be_fetched_after_its_repository_went(source: GitSource, repository: GitRepository, tmp_path: Path) -> None:
    repository.commit("feat: a", FILES)
    repository.tag("v1.0.0")
    version = (await found(source, repository.folder))["1.0.0"]
    repository.folder.rename(tmp_path / "elsewhere")
    assert tree(await fetched(source, repository.folder, version, tmp_path / "release")) == FILES


async def test_a_version_can_be_fetched_after_the_mirror_went(repository: GitRepository, tmp_path: Path) -> None:
    repository.commit("feat: a", FILES)
    repository.tag("v1.0.0")
    version = (await found(GitSource(tmp_path / "one"), repository.folder))["1.0.0"]
    assert tree(await fetched(GitSource(tmp_path / "two"), repository.folder, version, tmp_path / "release")) == FILES


async def test_a_half_made_mirror_is_made_anew(source: GitSource, repository: GitRepository, tmp_path: Path) -> None:
    repository.commit("feat: a")
    repository.tag("v1.0.0")
    (tmp_path / "data/sources/WowCache.git/refs").mkdir(parents=True)
    assert set(await found(source, repository.folder)) == {"1.0.0"}


async def test_executables_and_inner_links_are_kept(source: GitSource, repository: GitRepository, tmp_path: Path) -> None:
    repository.write({"bin/run.sh": "#!/bin/sh\n", "data/a.txt": "a"})
    (repository.folder / "bin/run.sh").chmod(0o755)
    (repository.folder / "latest").symlink_to("data/a.txt")
    repository.commit("feat: a")
    repository.tag("v1.0.0")
    version = (await found(source, repository.folder))["1.0.0"]
    folder = await fetched(source, repository.folder, version, tmp_path / "release")
    assert os.access(folder / "bin/run.sh", os.X_OK)
    assert not os.access(folder / "data/a.txt", os.X_OK)
    assert (folder / "latest").readlink() == Path("data/a.txt")
    assert not (folder / ".git").exists()


@pytest.mark.parametrize("links", [{"x": "/etc/passwd"}, {"x": "../../secret"}, {"x": ".", "y": "x/../../secret"}, {"x": "y", "y": "x"}])
async def test_a_link_that_leads_out_is_refused(
    source: GitSource, repository: GitRepository, tmp_path: Path, links: dict[str, str]
) -> None:
    for name, target in links.items():
        (repository.folder / name).symlink_to(target)
    repository.commit("feat: a")
    repository.tag("v1.0.0")
    version = (await found(source, repository.folder))["1.0.0"]
    with pytest.raises(PermanentError, match=r"cannot be unpacked: it links to"):
        await fetched(source, repository.folder, version, tmp_path / "release")


async def test_a_submodule_stays_an_empty_folder(source: GitSource, repository: GitRepository, tmp_path: Path) -> None:
    commit = repository.commit("feat: a", {"a": "a"})
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},vendor")
    repository.git("commit", "--quiet", "--message", "feat: vendor")
    repository.tag("v1.0.0")
    version = (await found(source, repository.folder))["1.0.0"]
    folder = await fetched(source, repository.folder, version, tmp_path / "release")
    assert list((folder / "vendor").iterdir()) == []


async def test_a_repository_that_is_not_there_is_told(source: GitSource, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"there is no folder .*missing; correct source\.git"):
        await found(source, tmp_path / "missing")


async def test_a_folder_that_is_no_repository_is_told(source: GitSource, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="is not a git repository"):
        await found(source, tmp_path)


async def test_an_empty_repository_is_told(source: GitSource, repository: GitRepository) -> None:
    with pytest.raises(PermanentError, match=r"is empty; commit something and tag it"):
        await found(source, repository.folder)


async def test_a_repository_without_tags_is_told(source: GitSource, repository: GitRepository) -> None:
    repository.commit("feat: a")
    with pytest.raises(PermanentError, match=r"no semantic version tag such as v1\.0\.0; it has no tags"):
        await found(source, repository.folder)


async def test_a_repository_with_other_tags_only_is_told_which(source: GitSource, repository: GitRepository) -> None:
    repository.commit("feat: a")
    repository.tag("nightly")
    repository.tag("v1.2")
    with pytest.raises(PermanentError, match=r"its tags are nightly, v1\.2$"):
        await found(source, repository.folder)


async def test_a_shallow_repository_is_told_or_read_but_never_half_read(
    source: GitSource, repository: GitRepository, tmp_path: Path
) -> None:
    for number in range(3):
        repository.commit(f"feat: {number}", FILES)
    repository.tag("v1.0.0")
    shallow = tmp_path / "shallow"
    repository.git("clone", "--quiet", "--depth=1", "--branch=v1.0.0", repository.folder.as_uri(), str(shallow))
    try:
        versions = await found(source, shallow)
    except PermanentError as error:
        assert "unshallow" in str(error)  # noqa: PT017
    else:
        assert tree(await fetched(source, shallow, versions["1.0.0"], tmp_path / "release")) == FILES


@pytest.mark.parametrize("what", ["HEAD:wow_cache.py", "HEAD", "HEAD^{tree}"])
@pytest.mark.parametrize("content", [None, b"", b"garbage"])
async def test_a_damaged_repository_is_told_with_what_to_do(
    source: GitSource, repository: GitRepository, what: str, content: bytes | None
) -> None:
    repository.commit("feat: a", FILES)
    repository.tag("v1.0.0", "one")
    repository.damage(what, content)
    with pytest.raises(PermanentError, match=r"cannot be read .*run git fsck there"):
        await found(source, repository.folder)


async def test_a_damaged_mirror_is_told_with_what_to_do(source: GitSource, repository: GitRepository, tmp_path: Path) -> None:
    repository.commit("feat: a", FILES)
    repository.tag("v1.0.0")
    await found(source, repository.folder)
    overwrite(tmp_path / "data/sources/WowCache.git/config", "[[[")
    with pytest.raises(PermanentError, match=r"WowCache\.git cannot be read .*delete that folder"):
        await found(source, repository.folder)


async def test_a_repository_with_longer_hashes_is_as_good(source: GitSource, tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "sha256", "--object-format=sha256")
    repository.commit("feat: a", FILES)
    repository.tag("v1.0.0", "one")
    version = (await found(source, repository.folder))["1.0.0"]
    assert len(version.ref) == 64
    assert tree(await fetched(source, repository.folder, version, tmp_path / "release")) == FILES


async def test_the_number_of_versions_and_of_commits_read_is_limited(source: GitSource, tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "large")
    stream = []
    for number in range(VERSIONS_MAX + 5):
        commits = COMMITS_MAX + 20 if number == 0 else 1
        stream += [_commit(f"feat: {number} {index}", number) for index in range(commits)]
        stream.append(f"reset refs/tags/v1.{number}.0\nfrom refs/heads/main\n\n")
    repository.git("fast-import", "--quiet", given="".join(stream))
    versions = await source.versions(manifest("git", repository.folder))
    assert len(versions) == VERSIONS_MAX
    assert versions[0].version == f"1.{VERSIONS_MAX + 4}.0"
    repository.git("tag", "--delete", *(f"v1.{number}.0" for number in range(1, VERSIONS_MAX + 5)))
    (first,) = await source.versions(manifest("git", repository.folder))
    assert len(first.changes) == COMMITS_MAX


def _commit(message: str, number: int) -> str:
    return f"commit refs/heads/main\ncommitter A <a@example.org> {1_700_000_000 + number} +0000\ndata {len(message)}\n{message}\n"


@pytest.fixture
def served(repository: GitRepository, tmp_path: Path, free_tcp_port: int) -> Iterator[str]:
    """The repository on a git daemon of our own; gives its address."""
    repository.commit("feat: a cache", FILES)
    repository.tag("v1.0.0", "one")
    options = ["--reuseaddr", "--listen=127.0.0.1", f"--port={free_tcp_port}", "--export-all", f"--base-path={tmp_path}", "--verbose"]
    with subprocess.Popen(
        ["git", "daemon", *options],
        env=git_environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as daemon:
        assert daemon.stderr is not None
        assert "Ready to rumble" in daemon.stderr.readline()
        try:
            yield f"git://127.0.0.1:{free_tcp_port}/repository"
        finally:
            os.killpg(daemon.pid, 15)


async def test_a_remote_repository_is_fetched_with_the_git_program(source: GitSource, served: str, tmp_path: Path) -> None:
    versions = await found(source, served)
    assert versions["1.0.0"].summary == "one"
    assert tree(await fetched(source, served, versions["1.0.0"], tmp_path / "release")) == FILES


async def test_a_remote_tag_that_moved_or_went_is_noticed(source: GitSource, served: str, repository: GitRepository) -> None:
    before = await found(source, served)
    repository.commit("fix: a leak")
    repository.tag("v1.0.0", None, "--force")
    repository.tag("v1.1.0")
    after = await found(source, served)
    assert after["1.0.0"].ref == after["1.1.0"].ref != before["1.0.0"].ref
    repository.git("tag", "--delete", "v1.1.0")
    assert set(await found(source, served)) == {"1.0.0"}


async def test_a_remote_repository_that_does_not_exist_is_told(source: GitSource, served: str) -> None:
    with pytest.raises(PermanentError, match=r"cannot fetch git://.*check source\.git"):
        await found(source, served + "-missing")


async def test_a_remote_that_does_not_answer_is_asked_again_later(source: GitSource, free_tcp_port: int) -> None:
    with pytest.raises(TemporaryError, match="cannot fetch"):
        await found(source, f"git://127.0.0.1:{free_tcp_port}/x")


async def test_a_remote_without_the_git_program_is_told(tmp_path: Path) -> None:
    source = GitSource(tmp_path / "data", env={"PATH": str(tmp_path)})
    with pytest.raises(PermanentError, match=r"needs the git program; install it"):
        await found(source, "https://user:secret@127.0.0.1:9/x.git")


async def test_an_address_is_shown_without_its_password() -> None:
    assert shown("https://user:secret@host/x.git") == "https://host/x.git"
    assert shown("git@host:x.git") == "git@host:x.git"


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("file:///srv/a%20b.git", "/srv/a b.git"),
        ("/srv/x.git", "/srv/x.git"),
        ("./a:b", "a:b"),
        ("host:x.git", None),
        ("git@host:x.git", None),
        ("ssh://host/x", None),
        ("file://elsewhere/x", None),
    ],
)
async def test_local_repositories_are_told_from_addresses(location: str, path: str | None) -> None:
    assert local_path(location) == (None if path is None else Path(path))
