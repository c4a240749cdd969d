"""Unified diffs on a folder: what fits is applied to the letter, what does not is named by file and hunk, and nothing is written then."""

import shutil
import subprocess
from pathlib import Path

import pytest

from agent_servicing.adapters.sources import diff as diffs
from agent_servicing.adapters.sources.diff import apply_diff
from agent_servicing.ports.uploads import UploadRefused

LINES = "".join(f"line {number}\n" for number in range(1, 21))
BASE = {"a.py": LINES, "pkg/b.py": "x = 1\ny = 2\n", "run.sh": "#!/bin/sh\n", "odd.txt": "no end", "win.txt": "one\r\ntwo\r\n"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    for name, content in BASE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(text: str, folder: Path) -> UploadRefused:
    before = tree(folder)
    with pytest.raises(UploadRefused) as caught:
        apply_diff(text.encode(), folder)
    assert tree(folder) == before
    return caught.value


def git_diff(base: Path, change, *options: str) -> str:
    """What git makes of a change to a copy."""
    work = base.parent / "work"
    shutil.copytree(base, work)

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.autocrlf=false", *arguments]
        return subprocess.run(command, cwd=work, check=True, capture_output=True, timeout=60).stdout.decode()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "base")
    change(work)
    git("add", "-A")
    return git("diff", "--cached", *options)


def test_a_diff_of_git_is_applied_to_the_letter(base: Path) -> None:
    def change(work: Path) -> None:
        (work / "a.py").write_text(
            LINES.replace("line 3\n", "line three\n").replace("line 17\n", "").replace("line 20\n", "line 20\nline 21")
        )
        (work / "new/deep").mkdir(parents=True)
        (work / "new/deep/c.py").write_text("hello\n")
        (work / "empty.txt").write_text("")
        (work / "pkg/b.py").unlink()
        (work / "run.sh").chmod(0o755)
        (work / "odd.txt").write_text("has an end now\n")
        (work / "win.txt").write_bytes(b"one\r\n2\r\n")

    text = git_diff(base, change)
    changed = apply_diff(text.encode(), base)
    shutil.rmtree(base.parent / "work/.git")
    assert tree(base) == tree(base.parent / "work")
    assert (base / "run.sh").stat().st_mode & 0o111
    assert {(c.path, c.action, c.added, c.removed) for c in changed} == {
        ("a.py", "changed", 2, 2),
        ("new/deep/c.py", "added", 1, 0),
        ("empty.txt", "added", 0, 0),
        ("pkg/b.py", "removed", 0, 2),
        ("run.sh", "changed", 0, 0),
        ("odd.txt", "changed", 1, 1),
        ("win.txt", "changed", 1, 1),
    }


def test_a_rename_with_changes_is_applied(base: Path) -> None:
    def change(work: Path) -> None:
        (work / "a.py").rename(work / "pkg/a2.py")
        (work / "pkg/a2.py").write_text(LINES.replace("line 5\n", "line five\n"))

    (changed,) = apply_diff(git_diff(base, change, "--find-renames").encode(), base)
    assert (changed.path, changed.action) == ("pkg/a2.py", "renamed")
    assert not (base / "a.py").exists()
    assert "line five\n" in (base / "pkg/a2.py").read_text()


def test_bytes_that_are_no_text_survive(base: Path) -> None:
    (base / "latin.txt").write_bytes(b"caf\xe9\nold\n")
    apply_diff(b"--- a/latin.txt\n+++ b/latin.txt\n@@ -1,2 +1,2 @@\n caf\xe9\n-old\n+n\xe9w\n", base)
    assert (base / "latin.txt").read_bytes() == b"caf\xe9\nn\xe9w\n"


@pytest.mark.parametrize(("old", "new"), [("a/", "b/"), ("", ""), ("orig/", "changed/"), ("wow-1.0/", "wow-1.0/")])
def test_the_folders_in_front_of_the_names_do_not_matter(base: Path, old: str, new: str) -> None:
    apply_diff(f"--- {old}pkg/b.py\t2026-01-01\n+++ {new}pkg/b.py\t2026-01-02\n@@ -1,2 +1,2 @@\n-x = 1\n+x = 5\n y = 2\n".encode(), base)
    assert (base / "pkg/b.py").read_text() == "x = 5\ny = 2\n"


def test_a_hunk_that_moved_is_found_and_the_next_ones_move_with_it(base: Path) -> None:
    text = "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n line 5\n-line 6\n+six\n@@ -11,2 +11,2 @@\n line 15\n-line 16\n+sixteen\n"
    apply_diff(text.encode(), base)
    assert (base / "a.py").read_text() == LINES.replace("line 6\n", "six\n").replace("line 16\n", "sixteen\n")


def test_what_does_not_fit_is_named_by_file_hunk_and_line(base: Path) -> None:
    good = "--- a/pkg/b.py\n+++ b/pkg/b.py\n@@ -1,2 +1,2 @@\n-x = 1\n+x = 5\n y = 2\n"
    bad = "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n line 1\n-line 2\n+two\n@@ -9,2 +9,2 @@\n line 9\n-line ten\n+10\n"
    gone = "--- a/gone.py\n+++ b/gone.py\n@@ -1 +1 @@\n-x\n+y\n"
    error = refused(good + bad + gone, base)
    assert [(p.path, p.message) for p in error.problems] == [
        ("a.py", "hunk 2 of 2 (@@ -9,2 +9,2 @@) does not fit: line 10 is 'line 10', expected 'line ten'"),
        ("gone.py", "is not in the base version"),
    ]
    assert "a.py hunk 2 of 2" in str(error)
    assert "and 1 more" in str(error)


HEAD = "--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-x\n+y\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", "neither an archive"),
        ("", "neither an archive"),
        ("--- a/a.py\n+++ b/a.py\n@@ -1,5 +1,5 @@\n-line 1\n+x\n", "no unified diff"),
        (HEAD.format("../../etc/passwd"), "leads out"),
        (HEAD.format("pkg/../../x"), "leads out"),
        ("--- /dev/null\n+++ b//etc/cron.d/x\n@@ -0,0 +1 @@\n+y\n", "applies or leads"),
        ("--- /dev/null\n+++ b/.git/hooks/post-checkout\n@@ -0,0 +1 @@\n+y\n", "leads out"),
        ("--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+y\n", "is in the base version already"),
        ("--- /dev/null\n+++ b/a.py/x\n@@ -0,0 +1 @@\n+y\n", "no folder"),
        ("--- /dev/null\n+++ b/pkg\n@@ -0,0 +1 @@\n+y\n", "is a folder"),
        ("--- a/pkg/b.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x = 1\n", "has more in it"),
        (
            "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n",
            "symbolic link",
        ),
        ("diff --git a/s b/s\nnew file mode 160000\n--- /dev/null\n+++ b/s\n@@ -0,0 +1 @@\n+Subproject commit 1\n", "submodule"),
        ("diff --git a/i b/i\nindex 1..2 100644\nBinary files a/i and b/i differ\n", "binary"),
        (HEAD.format("pkg/b.py").replace("-x", "-x = 1").replace("+y", "+y") + HEAD.format("pkg/b.py"), "twice"),
        ('diff --git "a/caf\\303\\251" "b/caf\\303\\251"\n--- "a/caf\\303\\251"\n+++ "b/caf\\303\\251"\n@@ -1 +1 @@\n-x\n+y\n', "quoted"),
        ("--- /dev/null\n+++ b/" + "n" * 300 + "\n@@ -0,0 +1 @@\n+y\n", "leads out"),
        ("--- a/a.py\n+++ b/a.py\n@@ -99,0 +100 @@\n+y\n", "no line 99"),
        ("--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+y\n--- /dev/null\n+++ b/n/m\n@@ -0,0 +1 @@\n+y\n", "folder"),
    ],
)
def test_what_a_diff_may_not_do_is_refused_and_nothing_is_written(base: Path, text: str, words: str) -> None:
    if words == "applies or leads":  # an absolute name loses its first slash together with b/: inside the folder it is harmless
        apply_diff(text.encode(), base)
        assert (base / "etc/cron.d/x").read_text() == "y\n"
        return
    error = refused(text, base)
    told = " ".join([str(error), *(f"{p.path} {p.message}" for p in error.problems)])
    assert words in told, told


def test_nothing_is_written_through_a_link(base: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("x\n")
    (base / "link").symlink_to(outside)
    (base / "file").symlink_to(outside / "f")
    for name in ("link/f", "file"):
        assert "symbolic link" in str(refused(HEAD.format(name), base))
    assert "symbolic link" in str(refused("--- /dev/null\n+++ b/link/new\n@@ -0,0 +1 @@\n+y\n", base))
    assert [path.name for path in outside.iterdir()] == ["f"]


def test_a_diff_that_is_too_large_says_so(base: Path) -> None:
    error = refused("x" * (diffs.DIFF_BYTES_MAX + 1), base)
    assert error.too_large
    many = "".join(f"--- /dev/null\n+++ b/f{number}\n@@ -0,0 +1 @@\n+y\n" for number in range(diffs.FILES_MAX + 1))
    assert refused(many, base).too_large
