"""Limits that others enforce for an agent, whole: a real server, an agent that knows nothing of it, clients that meet them."""

import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.harness import AGENT, Server, a_server, an_agent, wait_for

pytestmark = pytest.mark.timeout(600)

RATE = {"requests_per_second": 0.02, "burst": 3}
"""Three requests, and the next one after fifty seconds: no slow machine sees another number."""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("limits")) as running:
        yield running


def pids(server: Server) -> set[int]:
    return {i["pid"] for i in server.get(f"/agents/{AGENT}/instances")["instances"] if i["status"] == "ready"}


def statuses(server: Server, path: str, requests: int) -> Counter[int]:
    return Counter(httpx.get(f"{server.router_url}/{AGENT}{path}", timeout=60).status_code for _ in range(requests))


def test_a_rate_limit_is_patched_into_a_running_agent_outlives_the_server_and_is_rolled_back(server: Server) -> None:
    an_agent(server, instances=2)
    before = pids(server)
    assert statuses(server, "/x", 10) == {200: 10}
    with server.api() as api:
        body = {"config_updates": {"servicing": {"rate_limit": RATE}}, "reason": "a neighbour needs the machine"}
        began = time.monotonic()
        answer = api.patch(f"/agents/{AGENT}/config", json=body)
    assert answer.status_code == 200, answer.text
    view = answer.json()
    assert (view["status"], view["by"], set(view["applied_by"].values())) == ("applied", "hot_patch", {"router"})
    assert statuses(server, "/x", 10) == {200: 3, 429: 7}
    assert time.monotonic() - began < 10
    server.kill()
    server.start()
    assert statuses(server, "/x", 3) == {429: 3}, "who enforces it is the data plane, and that went on"
    wait_for("the refused ones to be counted", lambda: server.get(f"/agents/{AGENT}/metrics")["limited"] >= 3)
    back = server.post(f"/agents/{AGENT}/config/rollback", {"reason": "enough"}, expect=200)
    assert back["status"] == "applied"
    assert statuses(server, "/x", 10) == {200: 10}
    assert pids(server) == before


def test_a_limit_of_memory_reaches_the_same_processes_and_their_successors(server: Server) -> None:
    an_agent(server, instances=2)
    before = pids(server)

    def limits() -> set[int]:
        return {resource.prlimit(pid, resource.RLIMIT_DATA)[0] for pid in pids(server)}

    unlimited = limits()
    with server.api() as api:
        body = {"config_updates": {"servicing": {"resources": {"memory_mb": 700}}}, "reason": "a small machine"}
        view = api.patch(f"/agents/{AGENT}/config", json=body).json()
    assert (view["status"], view["applied_by"]) == ("applied", {"servicing.resources.memory_mb": "runtime"})
    assert (limits(), pids(server)) == ({700 * 1024 * 1024}, before)
    os.kill(min(before), signal.SIGKILL)
    wait_for("a new instance", lambda: len(there := pids(server)) == 2 and there != before)
    assert limits() == {700 * 1024 * 1024}
    after = pids(server)
    server.post(f"/agents/{AGENT}/config/rollback", {"reason": "enough"}, expect=200)
    wait_for("no limit any more", lambda: limits() == unlimited)
    assert pids(server) == after


def test_a_request_timeout_is_patched_in_and_streams_do_not_feel_it(server: Server) -> None:
    an_agent(server, instances=1)
    before = pids(server)
    assert statuses(server, "/slow?seconds=2", 1) == {200: 1}
    with server.api() as api:
        body = {"config_updates": {"servicing": {"request_timeout_seconds": 0.5}}, "reason": "callers do not wait longer"}
        assert api.patch(f"/agents/{AGENT}/config", json=body).json()["status"] == "applied"
    late = httpx.get(f"{server.router_url}/{AGENT}/slow?seconds=5", timeout=60)
    assert (late.status_code, late.json()["title"]) == (504, "The agent did not answer in time")
    stream = httpx.get(f"{server.router_url}/{AGENT}/stream?seconds=2", timeout=60)
    assert stream.text.endswith("event: end\ndata: bye\n\n")
    server.post(f"/agents/{AGENT}/config/rollback", {"reason": "enough"}, expect=200)
    assert statuses(server, "/slow?seconds=1", 1) == {200: 1}
    assert pids(server) == before
