"""Log files of instances: rotation under a writer that never reopens, last lines, and which logs are kept and shown."""

import errno
import os
from pathlib import Path

import pytest

from agent_servicing.adapters.runtime.files import LINE_CHARS, last_lines
from agent_servicing.adapters.runtime.folders import Folders
from agent_servicing.adapters.runtime.logs import ENDED_LOGS_KEPT, prune_logs, read_logs, rotate


def write(path: Path, text: str, *, age: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))


def test_a_small_log_stays_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_text("1234")
    assert not rotate(log, max_bytes=4, keep=3)
    assert not rotate(tmp_path / "missing", max_bytes=4, keep=3)
    assert [path.name for path in tmp_path.iterdir()] == ["output.log"]


def test_rotation_keeps_the_newest_parts_and_the_writers_descriptor(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(5):
            writer.write(f"part {number}\n".encode())
            assert rotate(log, max_bytes=3, keep=3)
        writer.write(b"now\n")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "output.log": "now\n",
        "output.log.1": "part 4\n",
        "output.log.2": "part 3\n",
        "output.log.3": "part 2\n",
    }


def test_a_full_disk_gives_up_old_parts_first(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_text("newest")
    (tmp_path / "output.log.1").write_text("old")
    (tmp_path / "output.log.copy").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space") as raised:
        rotate(log, max_bytes=3, keep=3)
    assert raised.value.errno == errno.ENOSPC
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"output.log": "newest"}


def test_a_full_disk_without_old_parts_gives_up_the_log(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_text("newest")
    (tmp_path / "output.log.copy").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        rotate(log, max_bytes=3, keep=3)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"output.log": ""}


@pytest.mark.parametrize(
    ("content", "count", "expected"),
    [
        (b"", 5, []),
        (b"one", 5, ["one"]),
        (b"one\ntwo\n", 5, ["one", "two"]),
        (b"one\ntwo\nthree\n", 2, ["two", "three"]),
        (b"one\n\n", 1, [""]),
        (b"one\n", 0, []),
        (b"windows\r\n", 1, ["windows"]),
        (b"\xff\xfe\n", 1, ["��"]),
    ],
)
def test_last_lines(tmp_path: Path, content: bytes, count: int, expected: list[str]) -> None:
    (tmp_path / "log").write_bytes(content)
    assert last_lines(tmp_path / "log", count) == expected


def test_last_lines_of_a_long_file_and_of_long_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"{number:09}\n" for number in range(100_000)) + "x" * 3_000_000)
    assert last_lines(log, 3)[-1] == "x" * LINE_CHARS
    log.write_text("".join(f"{number:09}\n" for number in range(100_000)))
    assert last_lines(log, 5_000) == [f"{number:09}" for number in range(95_000, 100_000)]
    assert last_lines(tmp_path / "missing", 3) == []


def test_logs_of_all_instances_share_the_lines_and_end_with_the_latest(tmp_path: Path) -> None:
    folders = Folders(data_dir=tmp_path)
    write(folders.output("A", "g1-1-0"), "".join(f"a{n}\n" for n in range(50)), age=1)
    write(folders.output("A", "g1-2-0"), "".join(f"b{n}\n" for n in range(50)))
    assert read_logs(folders, "A", None, {"g1-1-0", "g1-2-0"}, 4) == [
        ("g1-1-0", "a48"),
        ("g1-1-0", "a49"),
        ("g1-2-0", "b48"),
        ("g1-2-0", "b49"),
    ]


def test_forgotten_instances_fill_the_lines_that_are_left(tmp_path: Path) -> None:
    folders = Folders(data_dir=tmp_path)
    write(folders.output("A", "g1-1-0"), "crash\n" * 5, age=9)
    write(folders.output("A", "g1-1-1"), "fine\n")
    assert read_logs(folders, "A", None, {"g1-1-1"}, 3) == [("g1-1-0", "crash"), ("g1-1-0", "crash"), ("g1-1-1", "fine")]
    assert read_logs(folders, "A", None, set(), 3) == [("g1-1-0", "crash"), ("g1-1-0", "crash"), ("g1-1-1", "fine")]


def test_the_tail_goes_on_in_the_part_that_was_just_rotated(tmp_path: Path) -> None:
    folders = Folders(data_dir=tmp_path)
    write(folders.output("A", "g1-1-0"), "one\ntwo\nthree\n")
    rotate(folders.output("A", "g1-1-0"), max_bytes=1, keep=1)
    with folders.output("A", "g1-1-0").open("a") as log:
        log.write("four\n")
    assert [line for _, line in read_logs(folders, "A", "g1-1-0", (), 3)] == ["two", "three", "four"]


def test_only_the_newest_logs_of_forgotten_instances_are_kept(tmp_path: Path) -> None:
    folders = Folders(data_dir=tmp_path)
    for age in range(ENDED_LOGS_KEPT + 3):
        write(folders.output("A", f"g1-1-{age}"), "x\n", age=age)
    oldest = f"g1-1-{ENDED_LOGS_KEPT + 2}"
    prune_logs(folders, "A", {oldest})
    kept = {path.name for path in folders.instances("A").iterdir()}
    assert kept == {f"g1-1-{age}" for age in range(ENDED_LOGS_KEPT)} | {oldest}
