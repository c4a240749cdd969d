"""`PathSource` on folders and archives, friendly and hostile."""

import gzip
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Self

import anyio
import pytest

from agent_servicing.adapters.sources import members
from agent_servicing.adapters.sources.archive import HEADER_BYTES_MAX
from agent_servicing.adapters.sources.path import PathSource
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.versions import SourceVersion
from tests.source_builders import FILES, folder_of, manifest, names, tar_entry, tar_of, tree, zip_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def source(tmp_path: Path) -> PathSource:
    return PathSource(tmp_path / "data")


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    folder.mkdir()
    return folder


async def only(source: PathSource, dist: Path) -> SourceVersion:
    (version,) = await source.versions(manifest("path", dist))
    return version


async def fetched(source: PathSource, dist: Path, folder: Path) -> Path:
    await anyio.Path(folder).mkdir()
    version = await only(source, dist)
    await source.fetch(manifest("path", dist), version.version, version.ref, folder)
    return folder


async def test_a_folder_that_is_not_there_is_told(source: PathSource, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"there is no folder .*missing"):
        await source.versions(manifest("path", tmp_path / "missing"))


async def test_a_relative_location_is_refused(source: PathSource) -> None:
    with pytest.raises(PermanentError, match="is relative"):
        await source.versions(manifest("path", "./dist"))


async def test_a_folder_without_versions_says_what_it_holds(source: PathSource, dist: Path) -> None:
    with pytest.raises(PermanentError, match="it holds nothing"):
        await source.versions(manifest("path", dist))
    folder_of({"latest/x": "x", "1.2/x": "x", "1.0.0.rar": "x", "2.0.0": "a file"}, dist)
    with pytest.raises(PermanentError, match=r"it holds 1\.0\.0\.rar, 1\.2, 2\.0\.0, latest$"):
        await source.versions(manifest("path", dist))


async def test_of_several_forms_of_one_version_the_folder_counts(source: PathSource, dist: Path) -> None:
    tar_of({"form": "archive"}, dist / "1.0.0.tar.gz")
    zip_of({"form": "zip"}, dist / "v1.0.0.zip")
    assert (await only(source, dist)).version == "1.0.0"
    folder_of({"form": "folder"}, dist / "v1.0.0")
    assert tree(await fetched(source, dist, dist.parent / "release")) == {"form": "folder"}


async def test_an_archive_that_holds_one_folder_is_taken_from_inside_it(source: PathSource, dist: Path, tmp_path: Path) -> None:
    tar_of({f"wow-cache-1.0.0/{name}": text for name, text in FILES.items()}, dist / "1.0.0.tar.gz")
    version = await only(source, dist)
    assert version.manifest_text == FILES["agent.toml"]
    assert list(version.files) == ["schemas/config.schema.json"]
    assert tree(await fetched(source, dist, tmp_path / "release")) == FILES


async def test_an_archive_that_holds_one_file_is_taken_as_it_is(source: PathSource, dist: Path, tmp_path: Path) -> None:
    tar_of({"wow_cache.py": "x"}, dist / "1.0.0.tar.gz")
    assert tree(await fetched(source, dist, tmp_path / "release")) == {"wow_cache.py": "x"}


async def test_an_archive_made_by_tar_itself_is_unpacked(source: PathSource, dist: Path, tmp_path: Path) -> None:
    project = folder_of(FILES | {"bin/run": "#!/bin/sh\n"}, tmp_path / "project")
    (project / "bin/run").chmod(0o755)
    (project / "bin/start").symlink_to("run")
    os.link(project / "wow_cache.py", project / "zz_same.py")
    with tarfile.open(dist / "1.0.0.tgz", "w:gz") as tar:
        tar.add(project, arcname=".")
    release = await fetched(source, dist, tmp_path / "release")
    assert tree(release) == FILES | {"bin/run": "#!/bin/sh\n", "bin/start": "#!/bin/sh\n", "zz_same.py": FILES["wow_cache.py"]}
    assert os.access(release / "bin/run", os.X_OK)
    assert (release / "bin/start").is_symlink()


async def test_what_is_never_part_of_a_version_is_left_out(source: PathSource, dist: Path, tmp_path: Path) -> None:
    folder_of({"a.py": "a", ".git/config": "x", ".venv/bin/python": "x", "pkg/__pycache__/a.pyc": "x", "pkg/b.py": "b"}, dist / "1.0.0")
    before = await only(source, dist)
    folder_of({"pkg/__pycache__/b.pyc": "y"}, dist / "1.0.0")
    assert (await only(source, dist)).ref == before.ref
    assert tree(await fetched(source, dist, tmp_path / "release")) == {"a.py": "a", "pkg/b.py": "b"}


async def test_every_difference_of_a_folder_gives_another_ref(source: PathSource, dist: Path) -> None:
    folder = folder_of({"a": "x", "b": ""}, dist / "1.0.0")
    refs = [(await only(source, dist)).ref]
    for change in (
        lambda: (folder / "a").write_text("y"),
        lambda: (folder / "a").chmod(0o755),
        lambda: (folder / "a").rename(folder / "c"),
        lambda: (folder / "l").symlink_to("c"),
        (folder / "empty").mkdir,
    ):
        change()
        refs.append((await only(source, dist)).ref)
    assert len(set(refs)) == len(refs)


async def test_what_changed_after_it_was_listed_is_not_installed(source: PathSource, dist: Path, tmp_path: Path) -> None:
    folder_of({"a": "x"}, dist / "1.0.0")
    version = await only(source, dist)
    folder_of({"a": "y"}, dist / "1.0.0")
    with pytest.raises(PermanentError, match="has changed since"):
        await source.fetch(manifest("path", dist), "1.0.0", version.ref, tmp_path / "release")


HOSTILE = {
    "a path that leads up": ({"../evil": "x"}, (), "leads out of the folder"),
    "a path from the root": ({"/evil": "x"}, (), "leads out of the folder"),
    "a path through a folder": ({"a/../../evil": "x"}, (), "leads out of the folder"),
    "a link to the root": ({"a": ""}, (tar_entry("l", tarfile.SYMTYPE, "/etc/passwd"),), "outside of the folder"),
    "a link that leads up": ({"a": ""}, (tar_entry("l", tarfile.SYMTYPE, "../../x"),), "outside of the folder"),
    "a link to nothing": ({"a": ""}, (tar_entry("l", tarfile.SYMTYPE, ""),), "outside of the folder"),
    "a chain of links": (
        {"a": ""},
        (tar_entry("x", tarfile.SYMTYPE, "."), tar_entry("y", tarfile.SYMTYPE, "x/../../z")),
        "outside of the folder",
    ),
    "a loop of links": ({"a": ""}, (tar_entry("x", tarfile.SYMTYPE, "y"), tar_entry("y", tarfile.SYMTYPE, "x")), "leads nowhere"),
    "a file written through a link": (
        {"a": ""},
        (tar_entry("l", tarfile.SYMTYPE, ".."), tar_entry("l/evil", tarfile.REGTYPE)),
        "is there twice",
    ),
    "a hard link to the outside": ({"a": ""}, (tar_entry("h", tarfile.LNKTYPE, "../secret"),), "leads out of the folder"),
    "a hard link to later": ({"a": ""}, (tar_entry("h", tarfile.LNKTYPE, "later"),), "does not come before it"),
    "a device": ({"a": ""}, (tar_entry("d", tarfile.CHRTYPE),), "neither file, folder nor link"),
    "a pipe": ({"a": ""}, (tar_entry("p", tarfile.FIFOTYPE),), "neither file, folder nor link"),
    "a name twice": ({"a": "", "./a": ""}, (), "is there twice"),
    "a file where a folder is": ({"a": "", "a/b": ""}, (), "is there twice"),
    "git's own folder in other letters": ({"a": "", ".Git/config": ""}, (), "name of git's own folder"),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
async def test_a_hostile_archive_is_refused_and_writes_nothing_outside(source: PathSource, dist: Path, tmp_path: Path, kind: str) -> None:
    files, special, said = HOSTILE[kind]
    tar_of(files, dist / "1.0.0.tar.gz", *special)
    with pytest.raises(PermanentError, match=said):
        await fetched(source, dist, tmp_path / "release")
    assert names(tmp_path) == ["dist", "release"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
async def test_a_hostile_zip_is_refused(source: PathSource, dist: Path, tmp_path: Path, name: str) -> None:
    zip_of({name: "x", "b": ""}, dist / "1.0.0.zip")
    with pytest.raises(PermanentError, match="leads out of the folder"):
        await fetched(source, dist, tmp_path / "release")


async def test_a_link_in_a_zip_is_a_link_and_no_way_out(source: PathSource, dist: Path, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("l")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(dist / "1.0.0.zip", "w") as archive:
        archive.writestr("a", "")
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(PermanentError, match="outside of the folder"):
        await fetched(source, dist, tmp_path / "release")


async def test_a_link_that_leads_out_of_a_folder_is_refused(source: PathSource, dist: Path, tmp_path: Path) -> None:
    folder_of({"a": ""}, dist / "1.0.0")
    (dist / "1.0.0/l").symlink_to("../../secret")
    with pytest.raises(PermanentError, match="outside of the folder"):
        await fetched(source, dist, tmp_path / "release")


@pytest.mark.parametrize("name", ["1.0.0.tar.gz", "1.0.0.zip"])
async def test_a_damaged_archive_is_listed_and_refused_when_it_is_fetched(
    source: PathSource, dist: Path, tmp_path: Path, name: str
) -> None:
    whole = (zip_of if name.endswith("zip") else tar_of)({"a": "x" * 10_000}, dist / name).read_bytes()
    for number, damaged in enumerate((b"", b"no archive", whole[: len(whole) // 2])):
        (dist / name).write_bytes(damaged)
        assert (await only(source, dist)).manifest_text is None
        with pytest.raises(PermanentError, match="is no archive that can be read"):
            await fetched(source, dist, tmp_path / f"release-{number}")


async def test_a_header_that_claims_to_be_huge_is_not_believed(source: PathSource, dist: Path, tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, HEADER_BYTES_MAX * 4
    with gzip.open(dist / "1.0.0.tar.gz", "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * (HEADER_BYTES_MAX * 4))
    with pytest.raises(PermanentError, match="is not believed"):
        await fetched(source, dist, tmp_path / "release")


def test_a_version_of_too_many_files_is_refused(tmp_path: Path) -> None:
    endless = (members.Member(path=".") for _ in range(members.MEMBERS_MAX + 1))
    with pytest.raises(PermanentError, match="more than 100000 files"):
        members.unpack(endless, tmp_path)


def test_a_version_of_too_many_bytes_is_refused(tmp_path: Path) -> None:
    chunk = _Claims(members.BYTES_MAX)
    with pytest.raises(PermanentError, match="more than 4 GiB"):
        members.unpack([members.Member(path="a"), members.Member(path="b", chunks=lambda: iter([b"x", chunk]))], tmp_path)


class _Claims(bytes):
    """A chunk that says it is long, so that the test need not be."""

    def __new__(cls, length: int) -> Self:
        made = super().__new__(cls, b"")
        made.length = length  # type: ignore[attr-defined]
        return made

    def __len__(self) -> int:
        return int(self.length)  # type: ignore[attr-defined]


async def test_a_zip_whose_content_is_damaged_says_so(source: PathSource, dist: Path, tmp_path: Path) -> None:
    whole = zip_of({"a": "x" * 100}, dist / "1.0.0.zip").read_bytes()
    (dist / "1.0.0.zip").write_bytes(whole[:30] + b"b" + whole[31:])  # the name in front of the content
    with pytest.raises(PermanentError, match="is no archive that can be read"):
        await fetched(source, dist, tmp_path / "release")


async def test_a_link_to_a_name_that_no_disk_takes_is_refused(source: PathSource, dist: Path, tmp_path: Path) -> None:
    tar_of({"a": ""}, dist / "1.0.0.tar.gz", tar_entry("l", tarfile.SYMTYPE, "x" * 300))
    with pytest.raises(PermanentError, match="a name that is too long"):
        await fetched(source, dist, tmp_path / "release")
