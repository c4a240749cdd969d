"""What is kept over restarts: a configuration that ends processes is left again, and nothing broken replaces a good one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from servicing_sdk.configs import Configs
from servicing_sdk.documents import Document, parse
from servicing_sdk.kept import Kept
from tests.sdk.fake_server import text_of

GOOD, BAD = parse("cfg-1", text_of(n=1)), parse("cfg-2", text_of(n=2))

ENDING = """
import os, sys
from pathlib import Path
from servicing_sdk.configs import Configs
from servicing_sdk.documents import parse
from servicing_sdk.kept import Kept
kept = Kept(Path(sys.argv[1]), sys.argv[2])
configs = Configs(model=None, kept=kept)
configs.start("cfg-1", sys.argv[3])
configs.apply(lambda new, old: os._exit(1) if sys.argv[5] == "while-applying" else None)
configs.commit(parse("cfg-2", sys.argv[4]))
if sys.argv[5] == "as-it-should":
    kept.end()
"""


def ends(folder: Path, instance: str, how: str) -> None:
    """A process that takes the bad configuration into use, and ends."""
    subprocess.run([sys.executable, "-c", ENDING, folder, instance, GOOD.text, BAD.text, how], check=False, timeout=60)


def started(folder: Path, given: Document = BAD) -> Configs:
    configs = Configs(model=None, kept=Kept(folder, "i-9"))
    configs.start(given.revision, given.text)
    return configs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Kept(tmp_path / "kept", "i-0").prove(GOOD)
    return tmp_path / "kept"


@pytest.mark.parametrize("how", ["at-once", "while-applying"])
def test_after_two_exits_the_next_start_uses_the_last_good_one_and_says_so(folder: Path, how: str) -> None:
    ends(folder, "i-1", how)
    assert started(folder).current == {"n": 2}
    ends(folder, "i-2", how)
    configs = started(folder)
    assert configs.current == {"n": 1}
    state = configs.state()
    assert (state["applied"], state["last_good"]) == (GOOD.name, GOOD.name)
    assert (state["last_attempt"]["hash"], state["last_attempt"]["result"]) == (BAD.hash, "reverted")


def test_what_was_left_is_refused_until_another_one_was_committed(folder: Path) -> None:
    for instance in ("i-1", "i-2"):
        ends(folder, instance, "at-once")
    configs = started(folder)
    assert configs.commit(BAD)
    assert configs.state()["last_attempt"]["result"] == "reverted"
    assert configs.current == {"n": 1}
    assert configs.commit(parse("cfg-3", text_of(n=3))) == []
    assert configs.commit(BAD) == []


def test_processes_that_end_as_they_should_are_no_crashes(folder: Path) -> None:
    for instance in ("i-1", "i-2", "i-3"):
        ends(folder, instance, "as-it-should")
    assert started(folder).current == {"n": 2}


def test_a_process_that_still_runs_is_no_exit(folder: Path) -> None:
    running = [Kept(folder, f"i-{number}") for number in range(3)]
    running[0].try_out(BAD)
    for kept in running:
        kept.use(BAD)
    assert started(folder).current == {"n": 2}


def test_exits_of_another_configuration_do_not_count(folder: Path) -> None:
    for instance in ("i-1", "i-2"):
        ends(folder, instance, "at-once")
    assert started(folder, parse("cfg-3", text_of(n=3))).current == {"n": 3}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"n": '])
def test_a_broken_file_never_replaces_a_good_one(folder: Path, text: str) -> None:
    configs = Configs(model=None, kept=Kept(folder, "i-1"))
    configs.start("cfg-2", text)
    assert configs.current == {"n": 1}
    assert Kept(folder, "i-2").good() == GOOD


@pytest.mark.parametrize("text", ["", "{", '{"revision": "cfg-1"}', '{"revision": "cfg-1", "text": "{"}'])
def test_a_broken_memory_of_the_last_good_one_is_none(folder: Path, text: str) -> None:
    (folder / "last-good.json").write_text(text)
    assert Kept(folder, "i-1").good() is None
    assert started(folder).current == {"n": 2}


def test_what_is_kept_is_for_its_owner_only(folder: Path) -> None:
    started(folder).commit(GOOD)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_configuration_is_good_once_the_time_of_the_guard_is_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = started(folder, GOOD)
    configs.commit(BAD)
    configs.tick()
    assert configs.state()["last_good"] == GOOD.name
    monkeypatch.setattr("servicing_sdk.kept.time.time", lambda: 0.0)  # a clock that was set back keeps nothing waiting for ever
    configs.tick()
    assert configs.state()["last_good"] == BAD.name


def test_without_a_usable_folder_the_agent_runs_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    unusable = started(tmp_path / "file" / "kept", GOOD)
    assert unusable.commit(BAD) == []

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    usable = started(tmp_path / "kept", GOOD)
    monkeypatch.setattr("servicing_sdk.kept.os.fsync", full)
    assert usable.commit(BAD) == []
    assert usable.current == {"n": 2}
    assert not list((tmp_path / "kept").glob(".*"))
