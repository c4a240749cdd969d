"""What the demo does beside its acts, against canned answers: asked for through the API, once, and told in a line each."""

from pathlib import Path

import httpx
import pytest

from agent_servicing.cli.demo_acts import SLOW, STARTS, TRIED, acts, canary
from agent_servicing.cli.demo_meanwhile import Meanwhile
from agent_servicing.cli.discovery import Options
from agent_servicing.cli.session import Session
from agent_servicing.cli.surroundings import Surroundings
from agent_servicing.testing.samples import sample_versions
from tests.unit.cli_world import ID, CountingIds, FakeClock, FakeServer, agent, deployment, problem

BACK = "rbk-1"
RUNS = "agents/WowMemory/staging"


def no_socket(url: str, headers: object) -> None:
    raise ConnectionRefusedError(url)


@pytest.fixture
def server() -> FakeServer:
    """One that does everything it is asked for."""
    made = FakeServer()
    there = deployment("completed", agent_id="WowDomain", from_version="1.4.9", to_version="1.5.0")
    back = deployment("completed", agent_id="WowDomain", from_version="1.5.0", to_version="1.4.9", upgrade_id=BACK)
    made.on("GET", "schedule", {"rules": []})
    made.on("POST", "schedule/rules", {"rule_id": "rule-1"})
    made.on("GET", "agents/WowDomain/upgrades", {"upgrades": []})
    made.on("POST", "agents/WowDomain/upgrade", {**there, "status": "queued"})
    made.on("GET", f"agents/WowDomain/upgrades/{ID}", {**there, "status": "in_progress"}, there)
    made.on("POST", "agents/WowDomain/rollback", {**back, "status": "in_progress"})
    made.on("GET", f"agents/WowDomain/upgrades/{BACK}", back)
    made.on("GET", RUNS, {"runs": []})
    made.on("GET", "agents/WowMemory", agent("WowMemory", current_version="0.4.2"))
    made.on("POST", RUNS, {"run_id": "stg-1", "status": "queued"})
    made.on("GET", f"{RUNS}/stg-1", {"status": "running"}, {"status": "completed", "recommendation": "safe_to_deploy"})
    return made


def told(server: FakeServer, folder: Path) -> list[str]:
    clock = FakeClock()
    around = Surroundings(
        environ={},
        folder=folder,
        clock=clock,
        ids=CountingIds(),
        pause=clock.pause,
        connect=no_socket,
        transport=httpx.MockTransport(server),
    )
    meanwhile = Meanwhile(Session(options=Options(server="http://servicing.test", token="secret"), surroundings=around))
    meanwhile.run()
    return meanwhile.told


def test_a_slow_version_is_taken_back_the_security_update_is_tried_and_a_freeze_is_planned(server: FakeServer, tmp_path: Path) -> None:
    lines = told(server, tmp_path)
    assert [line.partition(":")[0] for line in lines] == [
        "A freeze is planned for 2026-01-07",
        "WowDomain 1.4.9 → 1.5.0",
        "WowMemory 0.4.3 was tried in staging",
    ]
    assert "WowDomain 1.5.0 → 1.4.9: completed" in lines[1]
    assert lines[2].endswith("safe to deploy.")
    (back,) = server.sent("POST", "agents/WowDomain/rollback")
    assert back["if_version"] == "1.5.0"
    (freeze,) = server.sent("POST", "schedule/rules")
    assert freeze["starts_at"] < freeze["ends_at"]


def test_what_an_earlier_demo_did_is_not_done_again(server: FakeServer, tmp_path: Path) -> None:
    server.on("GET", "schedule", {"rules": [{"name": "Quarterly figures"}]})
    server.on("GET", "agents/WowDomain/upgrades", {"upgrades": [deployment("completed", to_version="1.5.0")]})
    server.on("GET", RUNS, {"runs": [{"run_id": "stg-0"}]})
    assert told(server, tmp_path) == []
    assert {request.method for request in server.requests} == {"GET"}


def test_a_refusal_is_told_and_the_next_thing_is_done_all_the_same(server: FakeServer, tmp_path: Path) -> None:
    server.on("POST", "agents/WowDomain/upgrade", problem(409, "agent_locked", "Somebody holds WowDomain."))
    lines = told(server, tmp_path)
    assert "refused: Somebody holds WowDomain." in lines
    assert lines[-1].startswith("WowMemory 0.4.3")


def test_what_does_not_end_is_waited_for_no_longer_than_its_time(server: FakeServer, tmp_path: Path) -> None:
    server.on("GET", f"{RUNS}/stg-1", {"status": "running"})
    assert told(server, tmp_path)[-1] == "WowMemory 0.4.3 was tried in staging: running."


def test_what_happens_beside_the_acts_is_no_business_of_an_act_and_the_canary_goes_upwards() -> None:
    versions = sample_versions()
    last = canary()
    order = versions[last.agent]
    assert order.index(STARTS[last.agent][-1]) < order.index(SLOW[1]) < order.index(last.version)
    assert TRIED[1] in versions[TRIED[0]]
    assert not {SLOW[0], TRIED[0], last.agent} & {act.agent for act in acts(quick=True)}
