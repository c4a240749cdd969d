"""Versions that people upload: taken in, tried, kept below the data directory under the hash of their content, and fetched like any other.

Services call `FolderUploads` by its port; `bootstrap` puts `WithUploads` around each source, so that the runtime need not know where a version
came from. What is kept is whole by itself: a diff is applied when it arrives, and the patched files are kept, so that installing it later needs
neither the base nor its source.

uploads/incoming/<name>/    what is arriving, with its scratch folder; deleted at the next start
uploads/kept/<sha256>.tar.gz|.zip|.whl
"""

import gzip
import hashlib
import os
import shutil
import tarfile
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, Literal

import anyio
from anyio import to_thread
from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from agent_servicing.adapters.sources.archive import archive_members
from agent_servicing.adapters.sources.diff import DIFF_BYTES_MAX, apply_diff
from agent_servicing.adapters.sources.folder import folder_members
from agent_servicing.adapters.sources.members import below, read_chunks, single_root, text, unpack
from agent_servicing.adapters.sources.project import installer
from agent_servicing.adapters.sources.schema_file import schema_path
from agent_servicing.adapters.sources.work import storage_error, write
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.versions import SourceVersion
from agent_servicing.manifest import MANIFEST_NAME
from agent_servicing.ports import Clock, Ids, VersionSource
from agent_servicing.ports.uploads import UPLOAD_REF, ChangedFile, Kept, UploadRefused

UNPACKED_BYTES_MAX: Final = 1024**3
"""Size of an uploaded version, unpacked."""

FRESH_SECONDS: Final = 3600.0
"""So long something kept is left alone though no version names it yet: its row is written a moment later."""

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
Form = Literal["archive", "wheel", "diff"]


class FolderUploads:
    """`sources` fetch the base of a diff. Unknown kinds of content are refused; nothing is trusted but what was unpacked."""

    def __init__(self, data_dir: Path, *, sources: Mapping[str, VersionSource], ids: Ids, clock: Clock) -> None:
        self._incoming, self._kept = data_dir / "uploads" / "incoming", data_dir / "uploads" / "kept"
        self._sources, self._ids, self._clock = sources, ids, clock

    async def open(self) -> None:
        """Once, at the start: delete what an earlier server was taking in."""
        await write("delete half-taken uploads", partial(shutil.rmtree, self._incoming, ignore_errors=True))

    async def receive(self, chunks: AsyncIterator[bytes], *, bytes_max: int) -> str:
        name = self._ids.new("upl")
        folder = anyio.Path(self._incoming / name)
        size = 0
        try:
            await folder.mkdir(parents=True)
            async with await anyio.open_file(folder / "content", "xb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    _check_size(size, bytes_max)
                    await file.write(chunk)
            _check_size(size or None, bytes_max)
        except OSError as error:
            await self.discard(name)
            raise storage_error("write the upload", error) from error
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.discard(name)
            raise
        return name

    async def keep(self, incoming: str, *, file_name: str, manifest: Manifest, base: tuple[str, str]) -> Kept:
        folder = self._incoming / incoming
        form = await write("look at the upload", partial(_form, folder / "content", file_name))
        try:
            if form == "diff":
                (folder / "tree").mkdir()
                await self._sources[manifest.source.kind].fetch(manifest, *base, folder / "tree")
                return await write("apply the diff", partial(self._keep_diff, folder, manifest))
            return await write("unpack the upload", partial(self._keep_archive, folder, form, file_name, manifest))
        except UploadRefused:
            raise
        except PermanentError as error:
            what = "the base version cannot be fetched" if form == "diff" else "it cannot be unpacked"
            raise UploadRefused(f"{what}: {error}".replace(str(folder / "content"), file_name or "the upload")) from error

    async def discard(self, incoming: str) -> None:
        await to_thread.run_sync(partial(shutil.rmtree, self._incoming / incoming, ignore_errors=True))

    async def stored_bytes(self) -> int:
        return await write("look at the uploads", lambda: sum(path.stat().st_size for path in _files(self._kept)))

    async def keep_only(self, refs: Collection[str]) -> Sequence[str]:
        return await write("delete old uploads", partial(self._sweep, {_digest(ref) for ref in refs}))

    def unpack(self, ref: str, folder: Path) -> None:
        """Its files into `folder`; a wheel as the file it is. Raises `PermanentError` when it is gone or not what was uploaded."""
        digest, name = _digest(ref), ref.removeprefix(UPLOAD_REF).split(":", 2)[2]
        path = next((path for path in _files(self._kept) if path.name.partition(".")[0] == digest), None)
        if path is None:
            raise PermanentError("what was uploaded is gone from the data directory; upload it again")
        if _hash(path) != digest:
            raise PermanentError(f"{path} is not what was uploaded any more; remove the version and upload it again")
        if path.suffix == ".whl":
            shutil.copyfile(path, folder / name)
        else:
            _unpack(path, folder)

    def _keep_diff(self, folder: Path, manifest: Manifest) -> Kept:
        content, tree = folder / "content", folder / "tree"
        if content.stat().st_size > DIFF_BYTES_MAX:
            raise UploadRefused(f"a diff has at most {DIFF_BYTES_MAX // 1024**2} MiB; upload an archive instead", too_large=True)
        if not any(tree.iterdir()):
            raise UploadRefused("versions of this source have no files that a diff could be applied to; upload a wheel or an archive")
        changed = apply_diff(content.read_bytes(), tree)
        _pack(tree, folder / "patched.tar.gz")
        return self._keep(folder / "patched.tar.gz", ".tar.gz", "diff", tree, manifest, "", changed)

    def _keep_archive(self, folder: Path, form: Form, file_name: str, manifest: Manifest) -> Kept:
        pypi = manifest.source.kind == "pypi"
        ending = {"wheel": ".whl", "archive": ".zip" if _starts(folder / "content", _ZIP) else ".tar.gz"}[form]
        named = (folder / "content").rename(folder / f"content{ending}")
        tree = folder / "tree"
        tree.mkdir()
        if form == "wheel":
            _check_wheel(file_name, manifest)
        try:
            _unpack(named, tree)
        except PermanentError as error:
            raise UploadRefused(str(error).replace(str(named), file_name or "the upload")) from error
        if not any(tree.iterdir()):
            raise UploadRefused("the archive is empty")
        if pypi and form == "archive" and not any((tree / name).is_file() for name in ("pyproject.toml", "setup.py")):
            raise UploadRefused("an archive for a package needs its pyproject.toml or setup.py; or upload a wheel")
        return self._keep(named, ending, form, tree, manifest, Path(file_name).name if form == "wheel" else "", ())

    def _keep(
        self, path: Path, ending: str, form: Form, tree: Path, manifest: Manifest, name: str, changed: tuple[ChangedFile, ...]
    ) -> Kept:
        digest, size = _hash(path), path.stat().st_size
        self._kept.mkdir(parents=True, exist_ok=True)
        now = self._clock.now().timestamp()
        os.utime(path, (now, now))  # so that the sweep leaves it alone until its row is there
        path.replace(self._kept / f"{digest}{ending}")
        manifest_text = None if form == "wheel" else text(folder_members(tree), MANIFEST_NAME)
        schema = None if form == "wheel" else schema_path(manifest_text, manifest.config.schema)
        schema_text = text(folder_members(tree), schema) if schema else None
        return Kept(
            ref=f"{UPLOAD_REF}sha256:{digest}:{name}",
            kind=form,
            size_bytes=size,
            manifest_text=manifest_text,
            files={schema: schema_text} if schema and schema_text is not None else {},
            changed=changed,
        )

    def _sweep(self, digests: Collection[str]) -> list[str]:
        oldest = self._clock.now().timestamp() - FRESH_SECONDS
        gone = [path for path in _files(self._kept) if path.name.partition(".")[0] not in digests and path.stat().st_mtime < oldest]
        for path in gone:
            path.unlink(missing_ok=True)
        return [path.name.partition(".")[0] for path in gone]


class WithUploads:
    """A source whose versions people may add to. Uploaded ones are told by their ref, everything else is the source's own."""

    def __init__(self, source: VersionSource, uploads: FolderUploads) -> None:
        self._source, self._uploads = source, uploads

    async def versions(self, manifest: Manifest) -> Sequence[SourceVersion]:
        return await self._source.versions(manifest)

    async def fetch(self, manifest: Manifest, version: str, ref: str, folder: Path) -> None:
        if ref.startswith(UPLOAD_REF):
            await write(f"write the files of {version}", partial(self._uploads.unpack, ref, folder))
        else:
            await self._source.fetch(manifest, version, ref, folder)

    def install_command(self, manifest: Manifest, version: str, folder: Path) -> Sequence[str] | None:
        """Of a package: the wheel or project that was uploaded, with the extras that its manifest names."""
        if manifest.source.kind == "pypi" and any(folder.iterdir()):
            wanted = Requirement(manifest.source.location)
            extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
            wheel = next(iter(sorted(folder.glob("*.whl"))), folder)
            return installer("package", f"{wanted.name}{extras} @ {wheel.as_uri()}")
        return self._source.install_command(manifest, version, folder)


def _check_size(size: int | None, bytes_max: int) -> None:
    """None: nothing came."""
    if size is None:
        raise UploadRefused("the upload is empty")
    if size > bytes_max:
        raise UploadRefused(f"an upload has at most {bytes_max} bytes", too_large=True)


def _form(path: Path, file_name: str) -> Form:
    """By what it is; a wheel is a zip, so that one is told by its name."""
    if _starts(path, _GZIP):
        return "archive"
    if _starts(path, _ZIP):
        return "wheel" if file_name.endswith(".whl") else "archive"
    return "diff"


def _starts(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _check_wheel(file_name: str, manifest: Manifest) -> None:
    if manifest.source.kind != "pypi":
        raise UploadRefused("a wheel fits only agents whose source is a package; upload an archive of the files, or a diff")
    try:
        name = parse_wheel_filename(Path(file_name).name)[0]
    except InvalidWheelFilename:
        raise UploadRefused(f"{Path(file_name).name[:200]!r} is no name of a wheel; keep the one it was built with") from None
    wanted = canonicalize_name(Requirement(manifest.source.location).name)
    if name != wanted:
        raise UploadRefused(f"it is a wheel of {name}, not of {wanted}")


def _unpack(path: Path, folder: Path) -> None:
    with closing(archive_members(path)) as members:
        root = "" if path.suffix == ".whl" else single_root(members)
    with closing(archive_members(path)) as members:
        unpack(below(root, members), folder, bytes_max=UNPACKED_BYTES_MAX, same_case=False)


def _pack(folder: Path, target: Path) -> None:
    """The same bytes for the same files, always: no times, no owners, names in order. In a folder of its own, because a single top folder is
    left out when it is unpacked.
    """
    with (
        target.open("xb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for member in folder_members(folder):
            path = folder / member.path
            info = tarfile.TarInfo(f"version/{member.path}")
            info.mode = 0o755 if member.executable or member.kind == "folder" else 0o644
            if member.kind == "file":
                info.size = path.stat().st_size
                with path.open("rb") as content:
                    tar.addfile(info, content)
            else:
                info.type = tarfile.DIRTYPE if member.kind == "folder" else tarfile.SYMTYPE
                info.linkname = member.target
                tar.addfile(info)


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    for chunk in read_chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def _digest(ref: str) -> str:
    return ref.removeprefix(UPLOAD_REF).split(":", 2)[1]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
