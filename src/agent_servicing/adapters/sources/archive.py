"""A version that lies in an archive: the members of a .tar.gz or .zip, for `PathSource`. What may be written is decided in `members`."""

import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from agent_servicing.adapters.sources.members import BYTES_MAX, CHUNK_BYTES, LEFT_OUT, MEMBERS_MAX, Member
from agent_servicing.core.errors import PermanentError

ARCHIVE_ENDINGS = (".tar.gz", ".tgz", ".zip")
"""Forms of archives, the preferred one first."""

LINK_BYTES_MAX = 4096

_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError,
    OverflowError, struct.error, LookupError,
)  # fmt: skip
"""What the library's readers raise for bytes that are no archive, or not a whole one."""

HEADER_BYTES_MAX = 16 * 1024**2
"""Most that is unpacked at a time: a tar header may claim any length, and is read into memory whole."""


def archive_members(path: Path) -> Generator[Member]:
    """The archive's members in its order. Their content can be read only while the iteration stands at them. Damage is a `PermanentError`."""
    members = _zip_members(path) if path.name.endswith((".zip", ".whl")) else _tar_members(path)
    with _damage_told(path), closing(members):
        for count, member in enumerate(members, 1):
            if count > MEMBERS_MAX:
                raise PermanentError(f"{path} holds more than {MEMBERS_MAX} files")
            if LEFT_OUT.isdisjoint(member.path.split("/")):
                yield member


def _tar_members(path: Path) -> Generator[Member]:
    with gzip.open(path) as plain, tarfile.open(fileobj=_Bounded(plain), mode="r:") as tar:  # type: ignore[call-overload]  # reads, seeks, tells
        for info in tar:
            yield _tar_member(path, tar, info)
            tar.members = []  # else every header stays in memory


def _tar_member(path: Path, tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    executable = bool(info.mode & 0o100)
    if info.isdir():
        return Member(path=info.name, kind="folder")
    if info.issym():
        return Member(path=info.name, kind="link", target=info.linkname)
    if info.islnk():
        return Member(path=info.name, kind="hard_link", target=info.linkname, executable=executable)
    if info.isreg():
        return Member(path=info.name, chunks=partial(_chunks, path, partial(tar.extractfile, info)), executable=executable)
    raise PermanentError(f"{info.name!r} is neither file, folder nor link and cannot be unpacked")


def _zip_members(path: Path) -> Generator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            content = partial(_chunks, path, partial(archive.open, info))
            if info.is_dir():
                yield Member(path=info.filename, kind="folder")
            elif stat.S_ISLNK(mode):
                yield Member(path=info.filename, kind="link", target=_link_target(archive, info))
            else:
                yield Member(path=info.filename, chunks=content, executable=bool(mode & 0o100))


def _link_target(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """No more of it is unpacked than a link can hold, whatever it claims to be."""
    with archive.open(info) as file:
        return file.read(LINK_BYTES_MAX).decode(errors="replace")


def _chunks(path: Path, open_member: Callable[[], IO[bytes] | None]) -> Generator[bytes]:
    """Whoever writes the content reads it, outside of `archive_members`: damage has to be told here, too."""
    with _damage_told(path), ExitStack() as stack:
        file = open_member()
        if file is not None:
            stack.enter_context(file)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


@contextmanager
def _damage_told(path: Path) -> Generator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise PermanentError(f"{path} is no archive that can be read: {error}; make it anew") from error


class _Bounded:
    """The unpacked tar, of which neither too much at once nor too much in all can be read."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= HEADER_BYTES_MAX:
            raise PermanentError(f"a header of {size} bytes is not believed")
        data = self._file.read(size)
        self._check()
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        moved = self._file.seek(position, whence)
        self._check()
        return moved

    def tell(self) -> int:
        return self._file.tell()

    def _check(self) -> None:
        if self._file.tell() > BYTES_MAX:
            raise PermanentError(f"a version of more than {BYTES_MAX // 1024**3} GiB cannot be installed")
