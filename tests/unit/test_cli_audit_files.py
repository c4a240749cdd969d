"""`servicing audit verify --file`: an export, an archive or a sink's file is checked without a server, and what was done to it is named."""

import gzip
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_servicing.core.audit import GENESIS, Link, StoredEvent, sealed
from agent_servicing.core.audit_text import shown
from agent_servicing.core.events import Event
from agent_servicing.testing.clock import START
from tests.unit.cli_world import World

Lines = list[dict[str, Any]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def entries(count: int, *, actor: str = "ada") -> Lines:
    made: Lines = []
    previous = GENESIS
    for number in range(1, count + 1):
        event = Event(type="upgrade", at=START + timedelta(seconds=number), actor=actor, reason="=1", audit=True, data={"n": number})
        record = sealed(event, previous=previous, entry=number, seq=number * 3, event_id=f"evt-{number}")
        link = Link(entry=number, previous=previous, digest=str(record.digest))
        fields = shown(StoredEvent(seq=number * 3, event_id=f"evt-{number}", event=event, link=link))
        made.append(json.loads(json.dumps(fields, default=lambda at: at.isoformat())))
        previous = str(record.digest)
    return made


def exported(path: Path, lines: Lines, *, of: Lines | None = None, **head: object) -> Path:
    """As `GET /audit/export?format=json` writes it: newest first."""
    whole = of or lines
    chain = {"entries": len(whole), "head": whole[-1]["chain"]["hash"], "filtered": False, **head}
    text = ",\n".join(json.dumps(line) for line in reversed(lines))
    path.write_text(f'{{"chain": {json.dumps(chain)}, "events": [\n{text}\n]}}\n')
    return path


def appended(path: Path, lines: Lines) -> Path:
    """As a sink writes it: oldest first, one a line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def check(world: World, path: Path, *more: str) -> tuple[int, dict[str, Any]]:
    found = world.run("audit", "verify", "--json", "--file", str(path), *more)
    return found.exit_code, json.loads(found.stdout or "{}")


@pytest.mark.parametrize("write", [exported, appended])
def test_a_whole_file_is_sound_whichever_way_round_it_is(world: World, tmp_path: Path, write: Callable[..., Path]) -> None:
    code, found = check(world, write(tmp_path / "audit.json", entries(1_200)))
    assert (code, found["valid"], found["entries"], found["first"], found["last"]) == (0, True, 1_200, 1, 1_200)
    assert world.server.requests == []


def test_a_compressed_archive_that_begins_later_is_sound(world: World, tmp_path: Path) -> None:
    path = appended(tmp_path / "audit.jsonl", entries(9)[4:])
    packed = tmp_path / "audit.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    code, found = check(world, packed)
    assert (code, found["entries"], found["first"], found["last"]) == (0, 5, 5, 9)


def change(lines: Lines) -> Lines:
    return [{**line, "operator": "eve"} if line["event_id"] == "evt-3" else line for line in lines]


def add_a_field(lines: Lines) -> Lines:
    return [{**line, "approved": True} if line["event_id"] == "evt-3" else line for line in lines]


def delete(lines: Lines) -> Lines:
    return [line for line in lines if line["event_id"] != "evt-2"]


def swap(lines: Lines) -> Lines:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def put_in(lines: Lines) -> Lines:
    return [*lines[:3], {**lines[2], "event_id": "evt-x"}, *lines[3:]]


@pytest.mark.parametrize("write", [exported, appended])
@pytest.mark.parametrize(
    ("tampered", "kind", "name"),
    [
        (change, "changed", "evt-3"),
        (add_a_field, "changed", "evt-3"),
        (delete, "deleted", "evt-3"),
        (swap, "reordered", "evt-3"),
        (put_in, "inserted", "evt-x"),
    ],
)
def test_what_was_done_to_a_file_is_named(
    world: World, tmp_path: Path, write: Callable[..., Path], tampered: Callable[[Lines], Lines], kind: str, name: str
) -> None:
    whole = entries(5)
    path = exported(tmp_path / "f", tampered(whole), of=whole) if write is exported else appended(tmp_path / "f", tampered(whole))
    code, found = check(world, path)
    assert (code, found["valid"], found["kind"], found["broken_at"]) == (1, False, kind, name)


def test_an_export_whose_newest_entries_were_cut_off_is_found_by_its_own_head(world: World, tmp_path: Path) -> None:
    whole = entries(5)
    code, found = check(world, exported(tmp_path / "f", whole[:3], of=whole))
    assert (code, found["kind"], found["broken_at"]) == (1, "deleted", "evt-3")


def test_an_export_whose_oldest_entries_were_cut_off_is_found(world: World, tmp_path: Path) -> None:
    whole = entries(5)
    code, found = check(world, exported(tmp_path / "f", whole[2:], of=whole))
    assert (code, found["kind"], found["broken_at"]) == (1, "deleted", "evt-3")


def test_an_export_behind_an_archive_begins_where_it_says(world: World, tmp_path: Path) -> None:
    whole = entries(5)
    code, found = check(world, exported(tmp_path / "f", whole[2:], of=whole, archived=2))
    assert (code, found["first"], found["last"]) == (0, 3, 5)


def anchor(path: Path, lines: Lines) -> str:
    path.write_text(json.dumps({"entries": len(lines), "head": lines[-1]["chain"]["hash"], "at": "2026-01-01T00:00:00Z"}))
    return str(path)


def test_a_file_is_compared_with_an_anchor_that_was_kept_elsewhere(world: World, tmp_path: Path) -> None:
    whole, other = entries(5), entries(6, actor="eve")
    kept = anchor(tmp_path / "anchor", whole[:4])
    assert check(world, exported(tmp_path / "a", whole), "--anchor", kept)[0] == 0
    assert check(world, appended(tmp_path / "b", whole[4:]), "--anchor", kept)[0] == 0
    code, found = check(world, exported(tmp_path / "c", other), "--anchor", kept)
    assert (code, found["kind"], "written anew" in found["message"]) == (1, "anchor", True)
    code, found = check(world, exported(tmp_path / "d", whole[:3]), "--anchor", kept)
    assert (code, found["kind"], "newest are missing" in found["message"]) == (1, "anchor", True)


def test_a_filtered_export_shows_each_entry_by_itself_and_says_what_it_cannot_show(world: World, tmp_path: Path) -> None:
    whole = entries(6)
    some = [line for line in whole if line["event_id"] not in {"evt-2", "evt-5"}]
    path = exported(tmp_path / "f", some, of=whole, filtered=True)
    assert check(world, path)[1]["filtered"] is True
    assert "cannot show" in world.run("audit", "verify", "--file", str(path)).stdout
    code, found = check(world, exported(tmp_path / "g", change(some), of=whole, filtered=True))
    assert (code, found["kind"], found["broken_at"]) == (1, "changed", "evt-3")
    code, found = check(world, exported(tmp_path / "h", [*some, some[2]], of=whole, filtered=True))
    assert (code, found["kind"]) == (1, "reordered")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no entries"),
        (b"event_id,timestamp\r\nevt-1,2026\r\n", "no file of audit entries"),
        (b'{\n  "events": []\n}', "no file of audit entries"),
        (b'{"event_id": "evt-1", "type": "x"}\n', "evt-1"),
        (b"\x1f\x8bbroken", "cannot be read"),
        (b"\xff\xfe\n", "no file of audit entries"),
    ],
)
def test_a_file_that_cannot_be_checked_is_one_clear_line(world: World, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    found = world.run("audit", "verify", "--file", str(path))
    assert found.exit_code in {1, 2}
    assert said in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("content", ["", "[]", '{"entries": "5", "head": "x"}', '{"entries": 5}'])
def test_what_is_no_anchor_is_said(world: World, tmp_path: Path, content: str) -> None:
    (tmp_path / "anchor").write_text(content)
    found = world.run("audit", "verify", "--anchor", str(tmp_path / "anchor"))
    assert (found.exit_code, "no anchor" in found.stderr) == (2, True)


def test_an_anchor_is_written_to_a_file_and_sent_with_the_next_check(world: World, tmp_path: Path) -> None:
    kept = {"entries": 5, "head": "a" * 64, "at": "2026-01-01T00:00:00Z"}
    world.server.on("GET", "audit/anchor", kept)
    world.server.on("GET", "audit/verify", {"valid": True, "entries": 7})
    path = tmp_path / "anchor"
    assert world.run("audit", "anchor", "--to", str(path)).exit_code == 0
    assert json.loads(path.read_text()) == kept
    assert world.run("audit", "anchor", "--to", str(path)).exit_code == 2, "a kept anchor is never written over"
    assert world.run("audit", "verify", "--anchor", str(path)).exit_code == 0
    assert dict(world.server.requests[-1].url.params) == {"entries": "5", "head": "a" * 64}


def test_an_export_is_written_as_the_server_sends_it(world: World, tmp_path: Path) -> None:
    path = tmp_path / "out"
    world.server.on("GET", "audit/export", {"chain": {}, "events": []})
    assert world.run("audit", "export", "--agent", "A", "--says", "x y", "--to", str(path)).exit_code == 0
    assert json.loads(path.read_text()) == {"chain": {}, "events": []}
    assert dict(world.server.requests[-1].url.params) == {"agent": "A", "says": "x y", "format": "json"}
    assert world.run("audit", "export", "--format", "xml").exit_code == 2
