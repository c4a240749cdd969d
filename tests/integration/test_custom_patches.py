"""Custom patches on real sources: archives, wheels and diffs become versions, what is hostile or does not fit leaves nothing behind."""
# ruff: noqa: ARG002  (a source that answers for every manifest alike)

import io
import tarfile
import zipfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from agent_servicing.adapters.sources.git import GitSource
from agent_servicing.adapters.sources.path import PathSource
from agent_servicing.adapters.sources.pypi import PypiSource
from agent_servicing.core.errors import Conflict, Invalid, NotFound, PermanentError, ServicingError
from agent_servicing.core.manifest import Run, Source
from agent_servicing.core.standing import Standing
from agent_servicing.core.status import DeploymentStatus
from agent_servicing.core.versions import SourceVersion
from agent_servicing.services import custom_patches
from agent_servicing.services.custom_patches import Patched, PatchWish
from agent_servicing.services.views import VersionInfo
from tests.integration.services_world import ADA, AGENT, World, open_world
from tests.source_builders import GitRepository, folder_of, git_environment
from tests.store_builders import a_manifest

pytestmark = pytest.mark.anyio

TOML = '[agent]\nid = "WowMemory"\n[source]\npath = "."\n[run]\ncommand = ["python", "app.py"]\n[upgrade]\nbreaking = ["v1 is gone"]\n'
FILES = {"app.py": "LIMIT = 10\nprint(LIMIT)\n", "agent.toml": TOML, "lib/util.py": "def f():\n    return 1\n"}
DIFF = "--- a/app.py\n+++ b/app.py\n@@ -1,2 +1,2 @@\n-LIMIT = 10\n+LIMIT = 5\n print(LIMIT)\n"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    real = {"path": PathSource(tmp_path), "git": GitSource(tmp_path, env=git_environment()), "pypi": PypiSource(tmp_path)}
    async with open_world(tmp_path / "data", **real) as world:
        yield world


async def an_agent(world: World, tmp_path: Path, kind: str = "path") -> None:
    """Serves 1.2.5 from a real source."""
    if kind == "path":
        location = tmp_path / "versions"
        folder_of(FILES, location / "1.2.5")
    else:
        repository = GitRepository(location := tmp_path / "repository")
        repository.commit("feat: all of it", FILES)
        repository.tag("v1.2.5")
    manifest = a_manifest(source=Source(kind=kind, location=str(location)))  # type: ignore[arg-type]
    await world.services.fleet.add(manifest, version="1.2.5", actor=ADA)
    await world.finish()


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


async def upload(world: World, content: bytes | str, **wish: object) -> Patched:
    data = content.encode() if isinstance(content, str) else content
    asked = PatchWish(**{"reason": "leaks above 5 GB", **wish})  # type: ignore[arg-type]
    return await world.services.patches.upload(AGENT, pieces(data), asked, actor=ADA)


async def info(world: World, version: str) -> VersionInfo:
    return next(i for i in (await world.services.versions.list(AGENT)).versions if i.version == version)


async def files(world: World, tmp_path: Path, version: str) -> dict[str, str]:
    """What the runtime would install."""
    state = (await world.services.fleet.get(AGENT)).state
    ref = (await info(world, version)).ref
    folder = tmp_path / f"fetched-{version}"
    folder.mkdir()
    await world.sources[state.agent.manifest.source.kind].fetch(state.agent.manifest, version, ref, folder)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def packed(members: Mapping[str, str], root: str = "") -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(root + name)
            member.size = len(content.encode())
            tar.addfile(member, io.BytesIO(content.encode()))
    return held.getvalue()


def zipped(members: Mapping[str, str]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def left_over(world: World, tmp_path: Path) -> list[str]:
    """Everything below the folder of uploads."""
    folder = tmp_path / "data/uploads"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", ["path", "git"])
async def test_a_diff_becomes_the_next_patch_and_is_upgraded_to_and_gone_back_from_like_any_version(
    world: World, tmp_path: Path, kind: str
) -> None:
    await an_agent(world, tmp_path, kind)
    patched = await upload(world, DIFF, summary="Smaller limit", changelog=("fix: a leak", "security: CVE-2026-12345"))
    assert (patched.version, patched.upload.base, patched.upload.kind) == ("1.2.5+patch.1", "1.2.5", "diff")
    assert [(c.path, c.added, c.removed) for c in patched.upload.changed] == [("app.py", 1, 1)]
    found = await info(world, "1.2.5+patch.1")
    assert (found.type, found.upgradable, found.author, found.summary) == ("patch", True, ADA, "Smaller limit")
    assert (found.security, set(found.changelog)) == (True, {"fixed", "security"})
    assert found.breaking_changes == ()  # the base's own are behind
    assert (await files(world, tmp_path, "1.2.5+patch.1")) == {**FILES, "app.py": "LIMIT = 5\nprint(LIMIT)\n"}
    view = await world.services.versions.list(AGENT)
    assert view.hints.recommended is not None
    assert view.hints.recommended.version == "1.2.5+patch.1"
    await world.upgrade("1.2.5+patch.1")
    await world.finish()
    assert (await world.services.versions.list(AGENT)).current_version == "1.2.5+patch.1"
    second = await upload(world, DIFF.replace("10", "5").replace("+LIMIT = 5", "+LIMIT = 3"))
    assert second.version == "1.2.5+patch.2"
    assert (await files(world, tmp_path, "1.2.5+patch.2"))["app.py"] == "LIMIT = 3\nprint(LIMIT)\n"
    back = await world.services.rollbacks.request(AGENT, target_version=None, reason="worse", actor=ADA)
    assert back.to_version == "1.2.5"
    told = [e.event.type for e in await world.services.events.since(0) if e.event.type in {"version_uploaded", "version_available"}]
    assert told == ["version_uploaded", "version_available"] * 2
    assert left_over(world, tmp_path) == sorted(f"kept/{r.ref.split(':')[2]}.tar.gz" for r in (patched, second))


@pytest.mark.parametrize("make", [packed, lambda files: packed(files, "wow-1.2.5/"), zipped])
async def test_an_archive_becomes_a_version_with_its_own_manifest(world: World, tmp_path: Path, make) -> None:
    await an_agent(world, tmp_path)
    own = {"app.py": "print(5)\n", "agent.toml": TOML.replace("v1 is gone", "the file format") + 'migration_notes = "run it"\n'}
    patched = await upload(world, make(own), base_version="1.2.5", security=True)
    assert (patched.version, patched.upload.kind) == ("1.2.5+patch.1", "archive")
    found = await info(world, "1.2.5+patch.1")
    assert (found.breaking_changes, found.migration_notes, found.security) == (("the file format",), "run it", True)
    assert await files(world, tmp_path, "1.2.5+patch.1") == own


async def test_without_a_manifest_of_its_own_the_bases_holds(world: World, tmp_path: Path) -> None:
    await an_agent(world, tmp_path)
    await upload(world, packed({"app.py": "print(5)\n"}))
    changes = await world.services.versions.changes(AGENT, "1.2.5", "1.2.5+patch.1")
    assert (changes.type, changes.breaking_changes) == ("patch", ())
    assert not [d for d in changes.manifest if d.key.startswith("run.")]


async def test_a_refresh_leaves_uploads_alone_even_when_the_source_has_one_of_that_name(world: World, tmp_path: Path) -> None:
    await an_agent(world, tmp_path)
    patched = await upload(world, DIFF)
    folder_of({"app.py": "other\n"}, tmp_path / "versions/1.2.5+patch.1")
    folder_of(FILES, tmp_path / "versions/1.2.6")
    assert list(await world.services.versions.refresh(AGENT)) == ["1.2.6"]
    found = await info(world, "1.2.5+patch.1")
    assert (found.ref, found.upload is not None) == (patched.ref, True)
    assert (await upload(world, DIFF.replace("5", "4"))).version == "1.2.5+patch.2"


async def test_it_is_removed_when_nothing_needs_it_and_its_name_is_not_given_out_again(world: World, tmp_path: Path) -> None:
    await an_agent(world, tmp_path)
    patches = world.services.patches
    await upload(world, DIFF)
    await patches.remove(AGENT, "1.2.5+patch.1", reason="not needed", actor=ADA)
    assert ("version_removed", "success") in await world.audit()
    assert (await upload(world, DIFF)).version == "1.2.5+patch.2"
    await world.upgrade("1.2.5+patch.2")
    with pytest.raises(Conflict) as on_its_way:
        await patches.remove(AGENT, "1.2.5+patch.2", reason="x", actor=ADA)
    await world.finish()
    await world.services.rollbacks.request(AGENT, target_version=None, reason="worse", actor=ADA)
    await world.finish()
    with pytest.raises(Conflict) as point:
        await patches.remove(AGENT, "1.2.5+patch.2", reason="x", actor=ADA)
    assert (on_its_way.value.code, point.value.code) == ("version_in_use", "version_in_use")
    with pytest.raises(Conflict) as of_the_source:
        await patches.remove(AGENT, "1.2.5", reason="x", actor=ADA)
    assert of_the_source.value.code == "not_uploaded"
    with pytest.raises(NotFound):
        await patches.remove(AGENT, "1.2.5+patch.1", reason="x", actor=ADA)


async def test_files_that_no_version_needs_are_deleted_but_not_those_just_kept(world: World, tmp_path: Path) -> None:
    await an_agent(world, tmp_path)
    kept = await upload(world, DIFF)
    await upload(world, DIFF.replace("= 5", "= 4"))
    await world.services.patches.remove(AGENT, "1.2.5+patch.2", reason="not needed", actor=ADA)
    await world.services.patches.clear()
    assert len(left_over(world, tmp_path)) == 2
    world.clock.advance(2 * 3600)
    await world.services.patches.clear()
    assert left_over(world, tmp_path) == [f"kept/{kept.ref.split(':')[2]}.tar.gz"]


async def test_what_was_uploaded_is_not_installed_when_it_changed_on_the_disk(world: World, tmp_path: Path) -> None:
    await an_agent(world, tmp_path)
    patched = await upload(world, DIFF)
    path = tmp_path / f"data/uploads/kept/{patched.ref.split(':')[2]}.tar.gz"
    path.write_bytes(packed({"app.py": "evil\n"}))
    with pytest.raises(PermanentError, match="not what was uploaded"):
        await files(world, tmp_path, patched.version)
    path.unlink()
    (tmp_path / f"fetched-{patched.version}").rmdir()
    with pytest.raises(PermanentError, match="upload it again"):
        await files(world, tmp_path, patched.version)


def with_member(**fields: object) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as tar:
        member = tarfile.TarInfo("x")
        for name, value in fields.items():
            setattr(member, name, value)
        tar.addfile(member)
    return held.getvalue()


def bomb() -> bytes:
    """A gigabyte and a bit of zeros in a megabyte."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(17):
            with archive.open(f"zeros{number}", "w", force_zip64=True) as member:
                for _ in range(4):
                    member.write(bytes(16 * 1024**2))
    return held.getvalue()


HOSTILE = {
    "leads out": packed({"../evil": "x"}),
    "leads out ": zipped({"a/../../evil": "x"}),
    "leads out  ": packed({"/etc/evil": "x"}),
    "outside": with_member(type=tarfile.SYMTYPE, linkname="../../etc"),
    "leads out   ": with_member(type=tarfile.LNKTYPE, linkname="../etc/passwd"),
    "does not come before": with_member(type=tarfile.LNKTYPE, linkname="etc/passwd"),
    "neither file": with_member(type=tarfile.CHRTYPE),
    "neither file ": with_member(type=tarfile.FIFOTYPE),
    "nothing but case": packed({"README": "a", "readme": "b"}),
    "there twice": packed({"a": "x", "a/b": "y"}),
    "git's own": packed({".GIT/hooks/x": "x"}),
    "no archive": b"\x1f\x8b" + b"nonsense" * 100,
    "no archive ": b"PK\x03\x04" + b"nonsense" * 100,
    "is empty": packed({}),
    "neither an archive": b"just a text\n",
    "the upload is empty": b"",
    "does not apply": DIFF.replace("10", "11").encode(),
    "a wheel fits only": b"",
}


@pytest.mark.parametrize("words", HOSTILE)
async def test_what_is_hostile_broken_or_does_not_fit_is_refused_and_leaves_nothing_behind(
    world: World, tmp_path: Path, words: str
) -> None:
    await an_agent(world, tmp_path)
    wheel = words == "a wheel fits only"
    content = zipped({"x/METADATA": "y"}) if wheel else HOSTILE[words]
    with pytest.raises(Invalid) as caught:
        await upload(world, content, file_name="wow-1.0-py3-none-any.whl" if wheel else "")
    assert caught.value.code == "upload_unusable"
    told = caught.value.message + " ".join(f"{e.path} {e.message}" for e in caught.value.errors)
    assert words.strip() in told, told
    assert "incoming" not in told
    assert left_over(world, tmp_path) == []
    assert [i.version for i in (await world.services.versions.list(AGENT)).versions] == ["1.2.5"]


async def test_a_bomb_is_refused_at_the_limit(world: World, tmp_path: Path) -> None:
    await an_agent(world, tmp_path)
    with pytest.raises(Invalid, match="more than 1 GiB"):
        await upload(world, bomb())
    assert left_over(world, tmp_path) == []


async def test_a_diff_that_does_not_apply_names_every_hunk(world: World, tmp_path: Path) -> None:
    await an_agent(world, tmp_path)
    other = "--- a/lib/util.py\n+++ b/lib/util.py\n@@ -2 +2 @@\n-    return 2\n+    return 3\n"
    with pytest.raises(Invalid) as caught:
        await upload(world, DIFF.replace("10", "11") + other)
    assert [(e.path, e.message) for e in caught.value.errors] == [
        ("app.py", "hunk 1 of 1 (@@ -1,2 +1,2 @@) does not fit: line 1 is 'LIMIT = 10', expected 'LIMIT = 11'"),
        ("lib/util.py", "hunk 1 of 1 (@@ -2,1 +2,1 @@) does not fit: line 2 is '    return 1', expected '    return 2'"),
    ]


async def test_a_broken_manifest_in_an_upload_is_told_with_its_path(world: World, tmp_path: Path) -> None:
    await an_agent(world, tmp_path)
    with pytest.raises(Invalid) as caught:
        await upload(world, packed({"agent.toml": TOML + "\n[unknown]\nkey = 1\n"}))
    assert (caught.value.code, caught.value.errors[0].path) == ("upload_unusable", "unknown")
    assert [i.version for i in (await world.services.versions.list(AGENT)).versions] == ["1.2.5"]


async def test_limits_and_what_cannot_be_patched(world: World, tmp_path: Path) -> None:
    await an_agent(world, tmp_path)
    first = await upload(world, DIFF)

    async def code(content: bytes | str, **wish: object) -> str:
        with pytest.raises(ServicingError) as caught:
            await upload(world, content, **wish)
        return caught.value.code

    assert await code(DIFF) == "upload_known"
    assert await code(DIFF, base_version="9.9.9") == "unknown_version"
    assert await code(DIFF, reason=" ") == "reason_missing"
    assert await code(DIFF, changelog=("fix: a",) * 1000) == "bad_value"
    patches = world.services.patches
    patches._settings = patches._settings.model_copy(update={"upload_max_mb": 0})
    assert await code(DIFF) == "upload_too_large"
    patches._settings = patches._settings.model_copy(update={"upload_max_mb": 1, "uploads_total_max_mb": 0})
    assert await code(DIFF.replace("= 5", "= 4")) == "uploads_full"
    assert left_over(world, tmp_path) == [f"kept/{first.ref.split(':')[2]}.tar.gz"]


async def test_the_number_of_patches_is_limited(world: World, tmp_path: Path) -> None:
    await an_agent(world, tmp_path)
    for number in range(custom_patches.PATCHES_MAX):
        await upload(world, DIFF.replace("= 5", f"= {number + 100}"))
    with pytest.raises(Conflict) as caught:
        await upload(world, DIFF)
    assert caught.value.code == "too_many_uploads"


async def test_an_agent_from_a_package_takes_wheels_and_projects_but_no_diff(tmp_path: Path) -> None:
    async with open_world(tmp_path / "more", pypi=PackageLike()) as other:
        manifest = a_manifest(source=Source(kind="pypi", location="wow-cache[fast]"))
        await other.services.fleet.add(manifest, version="1.2.5", actor=ADA)
        await other.finish(DeploymentStatus.COMPLETED)
        wheel = zipped({"wow_cache/__init__.py": "", "wow_cache-1.2.6.dist-info/METADATA": "Name: wow-cache\n"})
        name = "wow_cache-1.2.6-py3-none-any.whl"
        patched = await upload(other, wheel, file_name=name)
        assert (patched.version, patched.upload.kind) == ("1.2.5+patch.1", "wheel")
        folder = tmp_path / "release"
        folder.mkdir()
        pypi = other.sources["pypi"]
        await pypi.fetch(manifest, patched.version, patched.ref, folder)
        command = pypi.install_command(manifest, patched.version, folder)
        assert command is not None
        assert command[-1] == f"wow-cache[fast] @ {(folder / name).as_uri()}"
        refused = {
            "of other": (wheel, "other-1.0-py3-none-any.whl"),
            "no name of a wheel": (wheel, "wow.whl"),
            "needs its pyproject.toml": (packed({"a.py": ""}), ""),
            "no files that a diff": (DIFF, ""),
        }
        for words, (content, named) in refused.items():
            with pytest.raises(Invalid, match=words):
                await upload(other, content, file_name=named)
        assert (await upload(other, packed({"pyproject.toml": "[project]\nname='wow-cache'\n"}))).upload.kind == "archive"


async def test_an_agent_that_comes_as_an_image_takes_none(tmp_path: Path) -> None:
    async with open_world(tmp_path / "more", image=PackageLike()) as other:
        manifest = a_manifest(source=Source(kind="image", location="r/x"), run=Run(runtime="docker", command=("serve",)))
        await other.services.fleet.add(manifest, version="1.2.5", actor=ADA)
        await other.finish()
        with pytest.raises(Conflict) as caught:
            await upload(other, DIFF)
        assert (caught.value.code, "push it" in caught.value.hint) == ("upload_unsupported", True)


async def test_a_withdrawn_version_can_be_patched_and_its_patch_deployed(world: World, tmp_path: Path) -> None:
    await an_agent(world, tmp_path)
    await world.services.standing.mark(AGENT, "1.2.5", Standing.WITHDRAWN, reason="leaks", actor=ADA)
    await upload(world, DIFF)
    view = await world.services.versions.list(AGENT)
    assert view.hints.recommended is not None
    assert (view.hints.recommended.version, view.hints.recommended.urgency) == ("1.2.5+patch.1", "withdrawn")
    await world.upgrade("1.2.5+patch.1")


class PackageLike:
    """A source whose versions have no files of their own."""

    async def versions(self, manifest: object) -> list:
        return [SourceVersion(version="1.2.5", ref="1.2.5")]

    async def fetch(self, manifest: object, version: str, ref: str, folder: Path) -> None:
        """Nothing."""

    def install_command(self, manifest: object, version: str, folder: Path) -> None:
        return None
