"""What the demo says and where it lives: commands to copy, the tally, its directory and its ports."""

import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_servicing.cli.demo_folder import LOG_BYTES_MAX, DemoFolder, settle_ports
from agent_servicing.cli.demo_words import once_more, program, shown, tally, traffic_line
from agent_servicing.core.errors import Conflict, Unavailable
from agent_servicing.settings import Settings
from agent_servicing.testing.ledger import AgentTotals, Snapshot

HERE = Path("/srv/checkout")


def totals(**failed: int) -> AgentTotals:
    kinds = {kind.replace("_", " "): count for kind, count in failed.items()}
    return AgentTotals(sent=100, ok=90, failed=kinds, versions={}, histogram=())


def counts(**agents: AgentTotals) -> Snapshot:
    failed: dict[str, int] = {}
    for one in agents.values():
        for kind, count in one.failed.items():
            failed[kind] = failed.get(kind, 0) + count
    return Snapshot(
        sent=1200,
        ok=1190,
        failed=failed,
        in_flight=0,
        skipped=0,
        agents=agents,
        conversations=40,
        version_flips=0,
        streams_opened=3,
        streams_ended=3,
        streams_cut=0,
        failures=(),
        flips=(),
    )


def test_errors_of_an_agent_are_not_lost_requests() -> None:
    rows = dict(tally(counts(WowCache=totals(agent_500=7)), 10.0))
    assert rows["requests sent"] == "1,200 (120/s)"
    assert rows["lost by the data plane"] == "0"
    assert rows["errors of agents themselves"] == "7 (WowCache: 7)"


def test_lost_requests_are_told_by_what_became_of_them() -> None:
    now = counts(WowCache=totals(agent_500=7, router_503=2), WowMemory=totals(timeout=1))
    assert dict(tally(now, 10.0))["lost by the data plane"] == "3 (router 503: 2, timeout: 1)"
    assert "3 lost by the data plane" in traffic_line(now)


@pytest.mark.parametrize(
    ("argv0", "on_path", "words"),
    [
        (".venv/bin/servicing", None, [".venv/bin/servicing"]),
        ("/srv/checkout/.venv/bin/servicing", None, [".venv/bin/servicing"]),
        ("/opt/tools/servicing", "/opt/tools/servicing", ["servicing"]),
        ("/opt/tools/servicing", None, ["/opt/tools/servicing"]),
        ("/srv/checkout/src/main.py", None, [".venv/bin/python", "-m", "agent_servicing.cli.main"]),
    ],
)
def test_commands_are_shown_as_one_would_type_them_here(argv0: str, on_path: str | None, words: list[str]) -> None:
    assert program([argv0, "demo"], executable="/srv/checkout/.venv/bin/python", folder=HERE, on_path=on_path) == words


def test_the_demo_is_started_again_without_what_starts_over_or_ends_at_once() -> None:
    argv = ["servicing", "demo", "--quick", "--fresh", "--once", "--data-dir", "my data"]
    assert (
        once_more(argv, {"MAKELEVEL": "1"}, words=["servicing"])
        == f"make demo ARGS={shlex.quote('--quick --data-dir ' + shlex.quote('my data'))}"
    )
    assert once_more(argv, {}, words=["servicing"]) == "servicing demo --quick --data-dir 'my data'"
    assert once_more(["servicing", "demo"], {"MAKELEVEL": "1"}, words=["servicing"]) == "make demo"


def test_a_path_outside_is_shown_whole() -> None:
    assert shown(Path("/var/lib/demo"), HERE) == "/var/lib/demo"
    assert shown(Path("demo-data"), HERE) == "demo-data"


def test_an_empty_or_new_folder_becomes_a_demos_and_stays_one(tmp_path: Path) -> None:
    folder = DemoFolder(path=tmp_path / "new" / "data")
    folder.claim()
    (folder.path / "servicing.db").touch()
    folder.claim()
    assert folder.known
    assert folder.path.stat().st_mode & 0o777 == 0o700


def test_a_real_servers_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "servicing.db").touch()
    with pytest.raises(Conflict) as refused:
        DemoFolder(path=tmp_path).claim()
    assert refused.value.code == "not_a_demo"
    assert [path.name for path in tmp_path.iterdir()] == ["servicing.db"]


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable):
        DemoFolder(path=tmp_path / "file" / "data").claim()


def test_the_log_is_gone_on_with_until_it_is_large(tmp_path: Path) -> None:
    folder = DemoFolder(path=tmp_path)
    folder.log.write_text("before\n")
    with folder.open_log() as log:
        log.write("after\n")
    assert folder.log.read_text() == "before\nafter\n"
    folder.log.write_text("x" * (LOG_BYTES_MAX + 1))
    folder.open_log().close()
    assert folder.log.read_text() == ""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_taken_ports_are_replaced_and_said_unless_the_operator_named_them(tmp_path: Path, taken: int) -> None:
    folder = DemoFolder(path=tmp_path)
    settings = Settings(data_dir=tmp_path, port=taken, router_port=taken)
    settled, said = settle_ports(settings, folder, port_named=False, router_port_named=False)
    assert taken not in (settled.port, settled.router_port)
    assert len(said) == 2
    assert settle_ports(settings, folder, port_named=True, router_port_named=True) == (settings, [])


def test_a_taken_port_of_another_program_is_not_taken_for_the_demos_data_plane(tmp_path: Path, taken: int) -> None:
    folder = DemoFolder(path=tmp_path)
    folder.remember(f"http://127.0.0.1:{taken}")
    assert folder.kept_router_port() is None


def test_the_port_of_the_demos_own_running_data_plane_is_kept(taken: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # this process listens, and now works inside the folder
    folder = DemoFolder(path=tmp_path)
    folder.remember(f"http://127.0.0.1:{taken}")
    assert folder.kept_router_port() == taken
