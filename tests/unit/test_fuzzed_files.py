"""Hypothesis on what people upload: diffs and archives are applied whole or refused whole, and never touch anything outside their folder."""

import csv
import difflib
import gzip
import io
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_servicing.adapters.sources.archive import archive_members
from agent_servicing.adapters.sources.diff import apply_diff
from agent_servicing.adapters.sources.members import unpack
from agent_servicing.core.errors import PermanentError
from agent_servicing.ports.uploads import UploadRefused
from agent_servicing.web.export import cell

BOUNDED = settings(max_examples=150, derandomize=True, deadline=None)
BYTES_MAX = 50_000
"""What one archive may unpack to here, so that bombs are small."""

SECRET = b"nobody may touch this"
BASE = {"a.py": "one\ntwo\nthree\n", "lib/b.py": "x = 1\n", "lib/c.txt": "no newline at the end"}


@contextmanager
def sandbox() -> Iterator[Path]:
    """An empty folder that has a secret beside it, which must be what it was afterwards."""
    with tempfile.TemporaryDirectory() as name:
        outer = Path(name)
        (outer / "secret").write_bytes(SECRET)
        (folder := outer / "release").mkdir()
        yield folder
        assert sorted(path.name for path in outer.iterdir()) == ["release", "secret"]
        assert (outer / "secret").read_bytes() == SECRET


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def lay_out(folder: Path) -> dict[str, bytes]:
    for name, content in BASE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode())
    return tree(folder)


LINE = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), max_size=8)
LINES = st.lists(LINE, min_size=1, max_size=12).map(lambda lines: [f"{line}\n" for line in lines])


@BOUNDED
@given(LINES, LINES, st.integers(0, 3))
def test_a_diff_between_any_two_texts_makes_one_of_the_other_to_the_letter(old: list[str], new: list[str], context: int) -> None:
    diff = "".join(difflib.unified_diff(old, new, "a/a.py", "b/a.py", n=context))
    with sandbox() as folder:
        before = lay_out(folder)
        (folder / "a.py").write_bytes("".join(old).encode())
        if diff:
            apply_diff(diff.encode(), folder)
        assert tree(folder) == {**before, "a.py": "".join(new).encode()}


NAMES = st.sampled_from(
    [
        "a.py",
        "lib/b.py",
        "lib/c.txt",
        "new.py",
        "../secret",
        "/etc/passwd",
        "a.py/x",
        "lib",
        ".git/config",
        "x/../../secret",
        "/dev/null",
        "a\tb",
        '"a"',
    ]
)
PARTS = st.one_of(
    st.builds("--- a/{}\n+++ b/{}\n".format, NAMES, NAMES),
    st.builds("--- {}\n+++ {}\n".format, NAMES, NAMES),
    st.builds("diff --git a/{} b/{}\n".format, NAMES, NAMES),
    st.builds("rename from {}\nrename to {}\n".format, NAMES, NAMES),
    st.sampled_from(["new file mode 120000\n", "new file mode 100755\n",
                     "deleted file mode 100644\n", "old mode 100644\nnew mode 100755\n", "similarity index 100%\n"]),
    st.builds("@@ -{},{} +{},{} @@\n".format, *[st.sampled_from([0, 1, 2, 3, 99, 10**12])] * 4),
    st.sampled_from([" one\n", "-one\n", "+uno\n", " two\n", "-two\n", "+dos\n",
                     "-x = 1\n", "+x = 2\n", "\\ No newline at end of file\n", "\r\n", "GIT binary patch\n"]),
    st.text(max_size=10),
)  # fmt: skip


@BOUNDED
@given(st.lists(PARTS, max_size=10).map("".join).map(lambda text: text.encode(errors="surrogatepass")) | st.binary(max_size=80))
def test_anything_as_a_diff_is_applied_or_refused_and_then_nothing_has_changed(data: bytes) -> None:
    with sandbox() as folder:
        before = lay_out(folder)
        try:
            changed = apply_diff(data, folder)
        except UploadRefused:
            assert tree(folder) == before
        else:
            after = tree(folder)
            touched = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
            assert len(touched) <= len(changed) + sum(each.action == "renamed" for each in changed), "what it did is what it says"
            assert sum(name not in after for name in before) == sum(each.action in {"renamed", "removed"} for each in changed)
        assert not [path for path in folder.rglob("*") if path.is_symlink()]


PATHS = st.one_of(
    st.lists(st.sampled_from(["a", "A", "b", "..", ".", "", "é", "e\u0301", "\u202e", ".git", "x" * 300]), min_size=1, max_size=4).map("/".join),
    st.sampled_from(["/etc/evil", "../secret", "a\0b", "C:\\evil", "\\..\\evil", "~root"]),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=6),
)  # fmt: skip
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"Z"]
)
ENTRIES = st.lists(st.tuples(PATHS, KINDS, PATHS, st.sampled_from([0, 1, 100, BYTES_MAX + 1])), max_size=6)


def tarred(entries: list[tuple[str, bytes, str, int]]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, kind, target, size in entries:
            info = tarfile.TarInfo(path)
            info.type, info.linkname, info.size = kind, target, size if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    return gzip.compress(plain.getvalue(), 1)


def zipped(entries: list[tuple[str, bytes, str, int]]) -> bytes:
    plain = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(plain, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # that a name is there twice is the point
        for path, kind, target, size in entries:
            info = zipfile.ZipInfo(path)
            link = kind == tarfile.SYMTYPE
            info.external_attr = (0o120777 if link else 0o100644) << 16
            archive.writestr(info, target.encode() if link else b"x" * size)
    return plain.getvalue()


def stays_inside(folder: Path) -> None:
    home = folder.resolve()
    for path in folder.rglob("*"):
        assert path.resolve().is_relative_to(home), f"{path} leads out"
        assert path.is_symlink() or path.is_file() or path.is_dir()
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) <= 2 * BYTES_MAX


def unpacked(data: bytes, ending: str) -> bool:
    """False: refused."""
    with sandbox() as folder, tempfile.TemporaryDirectory() as elsewhere:
        archive = Path(elsewhere) / f"archive{ending}"
        archive.write_bytes(data)
        try:
            unpack(archive_members(archive), folder, bytes_max=BYTES_MAX, same_case=False)
        except PermanentError:
            return False
        stays_inside(folder)
        return True


@BOUNDED
@given(ENTRIES)
def test_any_entries_of_a_tar_stay_inside_or_are_refused(entries: list[tuple[str, bytes, str, int]]) -> None:
    fits = unpacked(tarred(entries), ".tar.gz")
    evil = any(".." in path.split("/") or path.startswith("/") or kind in {tarfile.CHRTYPE, tarfile.FIFOTYPE} for path, kind, *_ in entries)
    assert not (fits and evil)


@BOUNDED
@given(ENTRIES)
def test_any_entries_of_a_zip_stay_inside_or_are_refused(entries: list[tuple[str, bytes, str, int]]) -> None:
    fits = unpacked(zipped(entries), ".zip")
    assert not (fits and any(size > BYTES_MAX and kind != tarfile.SYMTYPE and not path.endswith("/") for path, kind, _, size in entries))


WHOLE = {".tar.gz": gzip.decompress(tarred([("a", tarfile.REGTYPE, "", 100)])), ".zip": zipped([("a", tarfile.REGTYPE, "", 100)])}


@BOUNDED
@given(st.sampled_from(sorted(WHOLE)), st.lists(st.tuples(st.integers(0, 599), st.integers(0, 255)), max_size=12), st.integers(0, 20))
def test_a_damaged_archive_is_read_or_refused(ending: str, changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(WHOLE[ending])
    for place, byte in changes:
        damaged[place % len(damaged)] = byte
    data = bytes(damaged[: len(damaged) - cut])
    unpacked(gzip.compress(data, 1) if ending == ".tar.gz" else data, ending)


TEXT = st.text(max_size=12) | st.builds(
    "{}{}".format, st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", "＝", ",", '"', "\r\n="]), st.text(max_size=8)
)


@BOUNDED
@given(st.lists(TEXT, min_size=1, max_size=5))
def test_any_texts_in_a_row_of_the_audit_come_out_whole_and_none_is_a_formula(texts: list[str]) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow([cell(text) for text in texts])
    (row,) = list(csv.reader(io.StringIO(buffer.getvalue(), newline="")))
    assert not [text for text in row if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    assert [read.removeprefix("'") if read != text else read for read, text in zip(row, texts, strict=True)] == texts
