"""What the SDK keeps on disk: the last good configuration, and the guard against one that ends processes."""

import json
import os
import stat
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from servicing_sdk.configs import Configs
from servicing_sdk.documents import Document, parse
from servicing_sdk.kept import Kept


class Settings(BaseModel):
    timeout_seconds: float = Field(default=30, gt=0)


def a_document(seconds: float, revision: str = "cfg-1-p1") -> Document:
    return parse(revision, json.dumps({"timeout_seconds": seconds}))


def process(folder: Path, document: Document, instance: str) -> Configs:
    """What an instance's start does; its file holds this document."""
    configs = Configs(model=Settings, kept=Kept(folder, instance))
    configs.start(document.revision, document.text)
    return configs


def ended(folder: Path, instance: str) -> None:
    """The mark of a process that is not there any more."""
    mark = folder / f"running-{instance}.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "pid": 2**22 + 1, "started": "1"}))


def committed(folder: Path, bad: Document) -> None:
    good = a_document(30, "cfg-1-p0")
    first = process(folder, good, "g1-1-1")
    first.tick()
    assert first.commit(bad) == []


def test_two_exits_right_after_a_commit_bring_the_last_good_one_back_and_say_so(tmp_path: Path) -> None:
    bad = a_document(66)
    committed(tmp_path, bad)
    for instance in ("g1-1-1", "g1-1-2"):
        ended(tmp_path, instance)
        after = process(tmp_path, bad, "g1-1-2" if instance == "g1-1-1" else "g1-1-3")
    assert after.current.timeout_seconds == 30
    state = after.state()
    assert state["applied"]["revision"] == "cfg-1-p0"
    assert (state["last_attempt"]["revision"], state["last_attempt"]["result"]) == ("cfg-1-p1", "reverted")


def test_one_exit_does_not(tmp_path: Path) -> None:
    bad = a_document(66)
    committed(tmp_path, bad)
    ended(tmp_path, "g1-1-1")
    assert process(tmp_path, bad, "g1-1-2").current.timeout_seconds == 66


def test_processes_that_end_as_they_should_do_not_count(tmp_path: Path) -> None:
    bad = a_document(66)
    committed(tmp_path, bad)
    for instance in ("g1-1-1", "g1-2-2", "g1-3-3"):
        process(tmp_path, bad, instance)
        Kept(tmp_path, instance).end()
    assert process(tmp_path, bad, "g1-1-4").current.timeout_seconds == 66


def test_an_exit_long_after_the_commit_does_not_count(tmp_path: Path) -> None:
    bad = a_document(66)
    committed(tmp_path, bad)
    tried = tmp_path / "tried.json"
    tried.write_text(json.dumps({**json.loads(tried.read_text()), "at": 1_000.0}))
    for instance in ("g1-1-1", "g1-1-2"):
        ended(tmp_path, instance)
        after = process(tmp_path, bad, "g1-1-2" if instance == "g1-1-1" else "g1-1-3")
    assert after.current.timeout_seconds == 66


@pytest.mark.parametrize("text", ["", "{", "[]", '{"timeout_seconds": -1}'])
def test_a_broken_file_never_replaces_a_good_configuration(tmp_path: Path, text: str) -> None:
    process(tmp_path, a_document(45), "g1-1-1").tick()
    configs = Configs(model=Settings, kept=Kept(tmp_path, "g1-1-2"))
    configs.start("cfg-1-p2", text)
    assert configs.current.timeout_seconds == 45


def test_a_missing_file_starts_the_last_good_one_and_nothing_at_all_the_defaults(tmp_path: Path) -> None:
    process(tmp_path, a_document(45), "g1-1-1").tick()
    for folder, seconds in ((tmp_path, 45), (tmp_path / "elsewhere", 30)):
        configs = Configs(model=Settings, kept=Kept(folder, "g1-1-2"))
        configs.start("", None)
        assert configs.current.timeout_seconds == seconds


def test_what_is_kept_is_for_the_agents_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    process(folder, a_document(45), "g1-1-1").tick()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_folder_that_cannot_be_written_costs_the_guard_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    configs = process(tmp_path / "file" / "folder", a_document(45), "g1-1-1")
    configs.tick()
    assert configs.commit(a_document(50)) == []
    assert configs.current.timeout_seconds == 50


def test_a_mark_of_another_process_with_the_same_number_is_not_taken_for_it(tmp_path: Path) -> None:
    bad = a_document(66)
    committed(tmp_path, bad)
    mark = tmp_path / "running-g1-1-1.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "pid": os.getpid(), "started": "1"}))
    process(tmp_path, bad, "g1-1-2")
    assert json.loads((tmp_path / "tried.json").read_text())["exits"] == 1
