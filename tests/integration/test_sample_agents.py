"""Every version of every sample agent, run as the server would run it and asked over HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from runpy import run_path
from threading import Event, Thread

import httpx
import pytest
from dulwich.object_store import iter_tree_contents
from dulwich.repo import Repo

from agent_servicing.core.changelog import changes
from agent_servicing.core.versions import by_kind
from agent_servicing.manifest import load_manifest
from agent_servicing.testing.samples import build_repositories, examples_folder, sample_versions

NOW = datetime(2026, 1, 2, 2, 0, tzinfo=UTC)
START_ATTEMPTS = 300
STOP_SECONDS = 30
EVERY_VERSION = [(agent, version) for agent, versions in sample_versions().items() for version in versions]


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return build_repositories(tmp_path_factory.mktemp("agents"), now=NOW)


class Running:
    """One instance and where to reach it."""

    def __init__(self, process: subprocess.Popen[bytes], http: httpx.Client, url: str) -> None:
        self.process, self.http, self.url = process, http, url

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


Start = Callable[..., Running]


@pytest.fixture
def start(repositories: Mapping[str, Path], tmp_path: Path) -> Iterator[Start]:
    """Starts instances of a version; all of one test share the state directory, as they do behind the server."""
    with ExitStack() as stack:

        def begin(agent: str, version: str, **environment: str) -> Running:
            folder = tmp_path / f"{agent}-{version}"
            check_out(repositories[agent], version, folder)
            return stack.enter_context(running(agent, folder, tmp_path / "state", environment))

        yield begin


def check_out(repository: Path, version: str, folder: Path) -> None:
    with Repo(repository) as repo:
        commit = repo[repo.get_peeled(f"refs/tags/v{version}".encode())]
        for entry in iter_tree_contents(repo.object_store, commit.tree):
            file = folder / entry.path.decode()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(repo[entry.sha].data)


@contextmanager
def running(agent: str, folder: Path, state: Path, environment: Mapping[str, str]) -> Iterator[Running]:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = load_manifest((folder / "agent.toml").read_text(), origin=agent).run.command
    filled = [part.format(host="127.0.0.1", port=port) for part in command]
    environ = {**os.environ, "SERVICING_STATE_DIR": str(state / agent), **environment}
    with subprocess.Popen([sys.executable, "-m", *filled], cwd=folder, env=environ, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, timeout=30, transport=httpx.HTTPTransport(retries=0), trust_env=False) as http:
                wait_until_healthy(process, port, http)
                yield Running(process, http, url)
        finally:
            process.kill()


def wait_until_healthy(process: subprocess.Popen[bytes], port: int, http: httpx.Client) -> None:
    for _ in range(START_ATTEMPTS):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                assert http.get("/healthz").status_code == 200
                return
        assert process.poll() is None, "it ended at once"
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    pytest.fail("it did not listen in time")


@contextmanager
def other_agents(answer: Callable[[str, int], int]) -> Iterator[str]:
    """Stands in for the data plane; `answer` gets the path and how often it was asked before, and returns a status."""
    asked: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked[self.path] = asked.get(self.path, 0) + 1
            self.send_response(answer(self.path, asked[self.path] - 1))
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = _handle  # noqa: N815 (the names http.server looks for)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's parameter)
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def always_fine(path: str, before: int) -> int:
    return 200


def own_tests(folder: Path) -> list[Callable[[httpx.Client], None]]:
    """The version's own tests as functions: ten times faster than ten runs of pytest."""
    found = []
    for file, least in (("tests/smoke/test_smoke.py", 3), ("tests/integration/test_stories.py", 2)):
        tests = [value for name, value in run_path(str(folder / file)).items() if name.startswith("test_")]
        assert len(tests) >= least
        found += tests
    return found


@pytest.mark.parametrize(("agent", "version"), EVERY_VERSION)
def test_every_version_keeps_its_manifest_passes_its_tests_and_ends_when_told(
    agent: str, version: str, start: Start, repositories: Mapping[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / f"{agent}-{version}"
    with other_agents(always_fine) as router:
        instance = start(agent, version, SERVICING_ROUTER_URL=router)
        assert instance.http.get("/version").json() == {"agent": agent, "version": version}
        manifest = load_manifest((folder / "agent.toml").read_text(), origin=agent)
        assert manifest.source.location == repositories[agent].as_uri()
        assert len(manifest.tests.requests) == 2
        for request in manifest.tests.requests:
            assert instance.http.request(request.method, request.path, json=request.json).status_code == request.expect_status
        for own_test in own_tests(folder):
            own_test(instance.http)
        assert instance.stop() in {0, -signal.SIGTERM}


def test_the_smoke_command_of_the_manifest_runs_as_written(start: Start, tmp_path: Path) -> None:
    agent = start("WowDomain", "1.5.0")
    folder, report = tmp_path / "WowDomain-1.5.0", tmp_path / "report.xml"
    command = load_manifest((folder / "agent.toml").read_text(), origin="WowDomain").tests.smoke
    assert command
    arguments = [part.format(url=agent.url, junit=report) for part in command]
    subprocess.run([sys.executable, "-m", *arguments], cwd=folder, check=True, capture_output=True, timeout=120)
    assert 'failures="0"' in report.read_text()


def test_the_same_moment_gives_the_same_commits_and_a_second_build_changes_nothing(
    repositories: Mapping[str, Path], tmp_path: Path
) -> None:
    again = build_repositories(tmp_path, now=NOW)
    later = build_repositories(tmp_path, now=datetime(2026, 6, 1, tzinfo=UTC))
    assert later == again
    for agent in ("WowCache", "WowDomain"):  # their files do not say where the repository is, but the manifest does: compare the sources
        with Repo(repositories[agent]) as one, Repo(again[agent]) as other:
            assert [entry.commit.commit_time for entry in one.get_walker()] == [entry.commit.commit_time for entry in other.get_walker()]
            assert one.get_refs().keys() == other.get_refs().keys()


def test_the_history_tells_what_the_story_tells(repositories: Mapping[str, Path]) -> None:
    assert changelog(repositories["WowOrchestrator"], "1.2.5", "1.3.0") == {
        "added": ["Retry with exponential backoff"],
        "improved": ["Parallel execution performance"],
        "fixed": ["Workflow timeout handling"],
    }
    assert "security" in changelog(repositories["WowMemory"], "0.4.2", "0.4.3")
    assert "breaking" in changelog(repositories["WowCache"], "1.8.2", "2.0.0")


def changelog(repository: Path, before: str, after: str) -> dict[str, list[str]]:
    with Repo(repository) as repo:
        walker = repo.get_walker(
            include=[repo.get_peeled(f"refs/tags/v{after}".encode())], exclude=[repo.get_peeled(f"refs/tags/v{before}".encode())]
        )
        return by_kind(changes(entry.commit.message.decode() for entry in walker))


def test_the_manifest_flags_the_security_fix_and_the_breaking_change(repositories: Mapping[str, Path]) -> None:
    def upgrade(agent: str):
        return load_manifest((repositories[agent] / "agent.toml").read_text(), origin=agent).upgrade

    assert upgrade("WowMemory").security
    assert upgrade("WowCache").breaking
    assert not upgrade("WowOrchestrator").breaking


def test_two_processes_and_two_versions_share_the_memories(start: Start) -> None:
    one, other = start("WowMemory", "0.4.2"), start("WowMemory", "0.4.3")
    here = {"X-Conversation-Id": "one"}
    for number in range(50):
        instance = (one, other)[number % 2]
        assert instance.http.post("/remember", json={"text": f"thing {number}"}, headers=here).status_code == 200
    for instance in (one, other):
        assert len(instance.http.get("/recall", params={"q": "thing 4"}, headers=here).json()["memories"]) == 11


def test_memories_survive_a_process_that_is_killed(start: Start) -> None:
    first = start("WowMemory", "0.4.3")
    here = {"X-Conversation-Id": "one"}
    first.http.post("/remember", json={"text": "still here"}, headers=here)
    first.process.kill()
    assert start("WowMemory", "0.4.3").http.get("/recall", headers=here).json() == {"memories": ["still here"]}


def test_a_conversation_may_not_outgrow_its_limit(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"max_context_size_gb": 0.000_000_01}))
    agent = start("WowMemory", "0.4.3", SERVICING_CONFIG_FILE=str(config))
    assert agent.http.post("/remember", json={"text": "0123456789"}).status_code == 200
    assert agent.http.post("/remember", json={"text": "one more"}).status_code == 413
    assert agent.http.get("/recall").json() == {"memories": ["0123456789"]}


def test_the_security_fix_closes_the_hole(start: Start) -> None:
    before, after = start("WowMemory", "0.4.2"), start("WowMemory", "0.4.3")
    before.http.post("/remember", json={"text": "secret"}, headers={"X-Conversation-Id": "one"})
    assert before.http.get("/recall", params={"q": "secret"}).json() == {"memories": ["secret"]}
    assert after.http.get("/recall", params={"q": "secret"}).json() == {"memories": []}


@pytest.mark.parametrize(("version", "worst", "best"), [("1.8.2", 0.0, 0.0), ("2.0.0", 35.0, 15.0)])
def test_only_the_bad_cache_turns_bad_under_load_and_stays_healthy_all_the_while(
    version: str, worst: float, best: float, start: Start
) -> None:
    cache = start("WowCache", version)

    def ask(number: int) -> int:
        return cache.http.put(f"/cache/key-{number}", json={"value": number}).status_code

    assert {ask(number) for number in range(90)} == {200}
    statuses = [ask(number) for number in range(90, 490)]
    assert set(statuses) <= {200, 500}
    assert best <= 100 * statuses[20:].count(500) / len(statuses[20:]) <= worst
    assert cache.http.get("/healthz").status_code == 200


def test_a_slow_agent_ends_the_run_before_1_3_and_is_part_of_the_answer_since(start: Start, tmp_path: Path) -> None:
    released = Event()

    def slow_domain(path: str, before: int) -> int:
        if path.startswith("/WowDomain"):
            released.wait(STOP_SECONDS)
        return 200

    config = tmp_path / "config.json"
    config.write_text(json.dumps({"router_url": "", "step_timeout_seconds": 0.5}))
    with other_agents(slow_domain) as router:
        settings = {"SERVICING_ROUTER_URL": router, "SERVICING_CONFIG_FILE": str(config)}
        try:
            task = {"text": "look around"}
            assert start("WowOrchestrator", "1.2.5", **settings).http.post("/run", json=task).status_code == 504
            results = start("WowOrchestrator", "1.3.0", **settings).http.post("/run", json=task).json()["results"]
        finally:
            released.set()
    assert results["WowDomain"] == {"error": "ReadTimeout"}
    assert results["WowMemory"]["status"] == results["WowCache"]["status"] == 200


def test_1_3_asks_again_when_nobody_could_answer(start: Start) -> None:
    def third_time_lucky(path: str, before: int) -> int:
        return 503 if before < 2 else 200

    with other_agents(third_time_lucky) as router:
        task = {"text": "look around"}
        results = start("WowOrchestrator", "1.3.0", SERVICING_ROUTER_URL=router).http.post("/run", json=task).json()["results"]
    assert {agent: result["status"] for agent, result in results.items()} == {"WowMemory": 503, "WowCache": 200, "WowDomain": 200}


def test_a_stream_in_flight_ends_properly_although_the_instance_was_told_to_stop(start: Start) -> None:
    agent = start("WowOrchestrator", "1.3.0")
    with agent.http.stream("GET", "/stream", params={"seconds": 1, "interval": 0.2}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: tick"
        agent.process.send_signal(signal.SIGTERM)
        assert "event: end" in list(lines)
    assert agent.process.wait(STOP_SECONDS) in {0, -signal.SIGTERM}


def test_an_agent_is_no_larger_than_a_person_wants_to_read() -> None:
    for file in examples_folder().glob("*/base/*.py"):
        assert len(file.read_text().splitlines()) <= 150, file
