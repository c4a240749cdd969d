"""Canary and rolling updates on real processes behind the real HAProxy, under load, with what can go wrong in the middle of them."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.harness import Server, a_server, a_version, an_agent, haproxies, wait_for
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)

QUICK = {"min_requests": 5}
CANARY = {"percent": 20, "monitor_seconds": 3}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("strategies")) as running:
        yield running


def ready(server: Server, agent: str) -> Counter[str]:
    """How many instances of each version are ready."""
    instances = server.get(f"/agents/{agent}/instances")["instances"]
    return Counter(i["version"] for i in instances if i["status"] == "ready")


def served(server: Server, agent: str, requests: int = 200) -> Counter[str]:
    """Answers without a conversation, by version."""
    with httpx.Client() as client:
        return Counter(client.get(f"{server.router_url}/{agent}/").json()["version"] for _ in range(requests))


def with_versions(server: Server, agent: str, instances: int, **behaviour: Any) -> None:
    source = an_agent(server, agent=agent, instances=instances)
    a_version(source, "1.1.0", **behaviour)
    server.post(f"/agents/{agent}/versions/refresh", expect=200)


def test_a_canary_is_one_of_five_instances_and_the_rest_follows_once_it_is_promoted(server: Server) -> None:
    with_versions(server, "Canary", 5)
    with Load(server.router_url, "Canary") as load:
        name = server.upgrade("1.1.0", agent="Canary", strategy="canary", canary={**CANARY, "monitor_seconds": 600}, auto_rollback=QUICK)
        server.stage(name, "monitor_metrics_20", agent="Canary")
        server.meanwhile(name, "one old one to leave", lambda _: ready(server, "Canary") == {"1.0.0": 4, "1.1.0": 1}, agent="Canary")
        assert 10 <= served(server, "Canary")["1.1.0"] <= 80
        server.post(f"/agents/Canary/upgrades/{name}/promote", {"reason": "looks good"})
        done = server.outcome(name, agent="Canary")
    assert done["status"] == "completed", done
    assert load.lost == []
    assert load.flips == []
    assert done["impact"]["unserved"] == 0
    wait_for("five new ones", lambda: ready(server, "Canary") == {"1.1.0": 5} or ready(server, "Canary")["1.1.0"] == 5)


def test_a_bad_canary_is_taken_back_and_the_agent_is_whole_again(server: Server) -> None:
    with_versions(server, "BadCanary", 5, fail_every=2)
    with Load(server.router_url, "BadCanary", rate=120) as load:
        name = server.upgrade("1.1.0", agent="BadCanary", strategy="canary", canary={**CANARY, "monitor_seconds": 300})
        done = server.outcome(name, agent="BadCanary")
    assert done["status"] == "rolled_back", done
    assert done["rollback"]["metric"] == "error_rate"
    assert load.lost == []
    wait_for("five old ones", lambda: ready(server, "BadCanary") == {"1.0.0": 5})
    assert set(served(server, "BadCanary")) == {"1.0.0"}


def test_a_rolling_update_never_has_fewer_ready_instances_than_before(server: Server) -> None:
    with_versions(server, "Rolling", 4)
    seen: list[Counter[str]] = []
    with Load(server.router_url, "Rolling") as load:
        name = server.upgrade("1.1.0", agent="Rolling", strategy="rolling", rolling={"batch_size": 1, "pause_seconds": 0})

        def over() -> bool:
            seen.append(ready(server, "Rolling"))
            return bool(server.deployment(name, agent="Rolling")["status"] == "completed")

        wait_for("the rolling update to complete", over)
    assert min(sum(counts.values()) for counts in seen) >= 4
    assert load.lost == []
    assert load.flips == []
    assert server.share(agent="Rolling") == {"1.1.0"}


def test_a_rolling_update_can_be_paused_between_batches_and_cancelled_half_way(server: Server) -> None:
    with_versions(server, "Half", 4)
    with Load(server.router_url, "Half") as load:
        name = server.upgrade("1.1.0", agent="Half", strategy="rolling", rolling={"batch_size": 2, "pause_seconds": 600})
        server.stage(name, "pause_after_batch_1", agent="Half")
        server.post(f"/agents/Half/upgrades/{name}/pause", {"reason": "lunch"})
        wait_for("paused", lambda: server.deployment(name, agent="Half")["status"] == "paused")
        assert ready(server, "Half")["1.1.0"] == 2
        server.post(f"/agents/Half/upgrades/{name}/cancel", {"reason": "changed our mind"})
        done = server.outcome(name, agent="Half")
    assert done["status"] == "rolled_back", done
    assert load.lost == []
    wait_for("four old ones", lambda: ready(server, "Half") == {"1.0.0": 4})


def test_a_server_killed_in_a_rolling_update_finishes_it_after_its_restart(server: Server) -> None:
    with_versions(server, "Killed", 3)
    with Load(server.router_url, "Killed") as load:
        name = server.upgrade("1.1.0", agent="Killed", strategy="rolling", rolling={"batch_size": 1, "pause_seconds": 1})
        server.stage(name, "replace_batch_2_of_3", "pause_after_batch_2", "replace_batch_3_of_3", agent="Killed")
        server.kill()
        server.start()
        done = server.outcome(name, agent="Killed")
    assert done["status"] == "completed", done
    assert load.lost == []
    assert server.share(agent="Killed") == {"1.1.0"}


@pytest.mark.alone
def test_a_haproxy_killed_in_a_canary_comes_back_with_its_share_and_its_pinned_conversations(server: Server) -> None:
    with_versions(server, "Proxy", 3)
    canary = {"percent": 40, "monitor_seconds": 600}
    name = server.upgrade("1.1.0", agent="Proxy", strategy="canary", canary=canary)
    server.stage(name, "monitor_metrics_40", agent="Proxy")
    with httpx.Client() as client:
        pins = {n: _answer(client, server, n) for n in range(30)}
    assert set(pins.values()) == {"1.0.0", "1.1.0"}
    before = {p.pid for p in haproxies(server)}
    for process in haproxies(server):
        process.kill()
    wait_for(
        "the data plane",
        lambda: {p.pid for p in haproxies(server)}.isdisjoint(before) and haproxies(server) and served(server, "Proxy", 1),
    )
    with httpx.Client() as client:
        assert {n: _answer(client, server, n) for n in range(30)} == pins
    assert 40 <= served(server, "Proxy")["1.1.0"] <= 120
    server.post(f"/agents/Proxy/upgrades/{name}/cancel", {"reason": "enough"})
    assert server.outcome(name, agent="Proxy")["status"] == "rolled_back"


def test_an_upgrade_nobody_confirms_goes_back_by_itself(server: Server) -> None:
    with_versions(server, "Unsure", 2)
    name = server.upgrade("1.1.0", agent="Unsure", blue_green={"steps": [100]}, confirm_seconds=2)
    done = server.outcome(name, agent="Unsure")
    assert done["status"] == "rolled_back", done
    assert done["rollback"]["reason"].startswith("nobody confirmed 1.1.0 by ")


def _answer(client: httpx.Client, server: Server, conversation: int) -> str:
    answer = client.get(f"{server.router_url}/Proxy/", headers={"X-Conversation-Id": f"pin-{conversation}"})
    return str(answer.json()["version"])
