"""Agents at rest on the real server: what happens to them is noticed by the pulse, long before their next full turn."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from agent_servicing.adapters.haproxy_rows import AGENTS
from agent_servicing.adapters.haproxy_socket import HaproxySocket
from agent_servicing.adapters.router.haproxy import FOLDER
from agent_servicing.reconcile.pulse import REST_SECONDS
from tests.e2e.harness import AGENT, Server, a_server, an_agent, wait_for

pytestmark = pytest.mark.timeout(300)

QUIET_SECONDS = 2.5

SOON_SECONDS = REST_SECONDS / 3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with a_server(tmp_path) as running:
        yield running


def turns(server: Server) -> int:
    with server.api() as api:
        text = api.get(server.info["api_url"] + "/metrics").text
    found = re.search(r"^servicing_engine_reconciles_total ([\d.]+)", text, re.MULTILINE)
    assert found, text
    return int(float(found[1]))


def at_rest(server: Server) -> None:
    """Nobody had a turn for longer than the interval of full turns."""
    last, since = -1, 0.0

    def quiet() -> bool:
        nonlocal last, since
        now, seen = time.monotonic(), turns(server)
        if seen != last:
            last, since = seen, now
        return now - since > QUIET_SECONDS

    wait_for("no turns for a while", quiet)


def pids(server: Server) -> list[int]:
    return [i["pid"] for i in server.get(f"/agents/{AGENT}/instances")["instances"] if i["status"] == "ready"]


def test_a_killed_instance_and_lost_routing_are_noticed_while_the_agent_rests(server: Server) -> None:
    an_agent(server)
    at_rest(server)
    before = pids(server)
    os.kill(before[0], signal.SIGKILL)
    wait_for("a new instance", lambda: len(now := pids(server)) == 2 and before[0] not in now, seconds=SOON_SECONDS)
    at_rest(server)
    link = HaproxySocket(server.data_dir / FOLDER)
    anyio.run(link.order, f"del map {AGENTS} {AGENT}")
    wait_for("the routing", lambda: anyio.run(link.ask, f"show map {AGENTS}")[0].count(AGENT), seconds=SOON_SECONDS)
