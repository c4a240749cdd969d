"""Which server the command line talks to, and whose token it sends where."""

import json
import os
from pathlib import Path

import pytest

from agent_servicing.cli.discovery import Options, find
from agent_servicing.cli.exits import ServerAbsent, Usage
from agent_servicing.core.errors import Denied

NOBODY = 2**22 + 1
"""Above the largest pid Linux gives out."""


def server(folder: Path, name: str, *, port: int = 8700, pid: int | None = None) -> Path:
    data_dir = folder / name
    data_dir.mkdir(parents=True)
    content = {"api_url": f"http://127.0.0.1:{port}", "router_url": "http://127.0.0.1:8800", "pid": pid or os.getpid(), "version": "0.1.0"}
    (data_dir / "server.json").write_text(json.dumps(content))
    (data_dir / "admin.token").write_text(f"token-of-{name}\n")
    return data_dir


def test_a_server_in_the_default_data_directory_is_found_with_its_token(tmp_path: Path) -> None:
    server(tmp_path, "servicing-data")
    found = find(Options(), {}, tmp_path)
    assert (found.url, found.token, found.found_by) == ("http://127.0.0.1:8700", "token-of-servicing-data", "./servicing-data/server.json")


def test_the_demo_is_found_when_only_it_runs(tmp_path: Path) -> None:
    server(tmp_path, "servicing-data", pid=NOBODY)
    server(tmp_path, "demo-data", port=8711)
    assert find(Options(), {}, tmp_path).url == "http://127.0.0.1:8711"


def test_an_ended_server_is_named_with_how_to_start_one(tmp_path: Path) -> None:
    server(tmp_path, "servicing-data", pid=NOBODY)
    with pytest.raises(ServerAbsent) as error:
        find(Options(), {}, tmp_path)
    assert "./servicing-data (its server, pid 4194305, has ended)" in error.value.message
    assert "./demo-data (no server.json)" in error.value.message
    assert "servicing serve" in error.value.hint


@pytest.mark.parametrize("content", ["", "{", "[]", '{"api_url": 1}', '{"api_url": "x", "pid": "no"}'])
def test_a_broken_server_file_counts_as_none(tmp_path: Path, content: str) -> None:
    server(tmp_path, "servicing-data").joinpath("server.json").write_text(content)
    with pytest.raises(ServerAbsent, match=r"no server\.json"):
        find(Options(), {}, tmp_path)


def test_options_beat_the_environment_which_beats_files(tmp_path: Path) -> None:
    server(tmp_path, "servicing-data")
    environ = {"SERVICING_SERVER": "http://env:1", "SERVICING_TOKEN": "env"}
    assert find(Options(), environ, tmp_path).url == "http://env:1"
    found = find(Options(server="https://named:2/", token="named"), environ, tmp_path)
    assert (found.url, found.token) == ("https://named:2", "named")


@pytest.mark.parametrize("way", ["option", "environment", "settings file"])
def test_a_named_data_directory_is_the_only_one_looked_at(tmp_path: Path, way: str) -> None:
    server(tmp_path, "servicing-data")
    server(tmp_path, "mine", port=9000)
    if way == "settings file":
        (tmp_path / "servicing.toml").write_text('data_dir = "mine"')
    options = Options(data_dir=Path("mine")) if way == "option" else Options()
    environ = {"SERVICING_DATA_DIR": "mine"} if way == "environment" else {}
    assert find(options, environ, tmp_path).url == "http://127.0.0.1:9000"


def test_the_admin_token_goes_to_no_other_address_than_its_own_server(tmp_path: Path) -> None:
    server(tmp_path, "servicing-data")
    assert find(Options(server="http://elsewhere:8700"), {}, tmp_path).token is None
    assert find(Options(server="http://127.0.0.1:8701"), {}, tmp_path).token is None
    assert find(Options(server="http://localhost:8700"), {}, tmp_path).token == "token-of-servicing-data"


@pytest.mark.parametrize("address", ["ftp://x", "http://", "http://x:0", "http://x:99999", "http://x:port"])
def test_an_impossible_address_is_wrong_usage(tmp_path: Path, address: str) -> None:
    with pytest.raises(Usage, match="not a server address"):
        find(Options(server=address), {}, tmp_path)


def test_an_address_may_leave_out_http(tmp_path: Path) -> None:
    assert find(Options(server="server:8700"), {}, tmp_path).url == "http://server:8700"


def test_a_token_file_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    token = server(tmp_path, "servicing-data") / "admin.token"
    token.unlink()
    token.mkdir()  # unreadable for root too, under whom tests may run
    with pytest.raises(Denied) as error:
        find(Options(), {}, tmp_path)
    assert "--token" in error.value.hint
