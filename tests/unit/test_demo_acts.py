"""The demo's acts against canned answers: what is asked for, what is left out, and what counts as having ended as told."""

from pathlib import Path

import httpx
import pytest

from agent_servicing.cli.demo_acts import STARTS, acts
from agent_servicing.cli.demo_screen import Screen
from agent_servicing.cli.demo_stage import Ending, Stage
from agent_servicing.cli.discovery import Options
from agent_servicing.cli.session import Session
from agent_servicing.cli.surroundings import Surroundings
from agent_servicing.testing.samples import sample_versions
from tests.unit.cli_world import ID, CountingIds, FakeClock, FakeServer, agent, deployment, problem

GOOD, BAD = acts(quick=True)
ENDED = "2026-01-02T01:03:20Z"


def no_socket(url: str, headers: object) -> None:
    raise ConnectionRefusedError(url)


class World:
    """A stage whose client talks to canned answers; `stop` makes it end at its next look."""

    def __init__(self, folder: Path) -> None:
        self.server, self.clock, self.stop = FakeServer(), FakeClock(), False
        around = Surroundings(
            environ={},
            folder=folder,
            clock=self.clock,
            ids=CountingIds(),
            pause=self.clock.pause,
            connect=no_socket,
            transport=httpx.MockTransport(self.server),
        )
        self.session = Session(options=Options(server="http://servicing.test", token="secret"), surroundings=around)
        self.stage = Stage(session=self.session, screen=Screen(self.session.out), check=self._check, footer=lambda: "")

    def play(self, act=GOOD, *, runs: str = "1.2.5", under_way: tuple[dict, ...] = (), ends: dict | None = None) -> Ending:
        path = f"agents/{act.agent}"
        self.server.on("GET", path, agent(act.agent, current_version=runs))
        self.server.on("GET", f"{path}/upgrades", {"upgrades": list(under_way)})
        self.server.on("POST", f"{path}/upgrade", httpx.Response(202, json=deployment("queued", agent_id=act.agent)))
        self.server.on("GET", f"{path}/upgrades/{ID}", ends or deployment("completed", agent_id=act.agent, finished_at=ENDED))
        return self.stage.play(act)

    def asked(self, act=GOOD) -> list[dict]:
        return self.server.sent("POST", f"agents/{act.agent}/upgrade")

    def _check(self) -> None:
        if self.stop:
            raise InterruptedError


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_every_version_the_demo_names_is_there_and_every_act_goes_upwards() -> None:
    versions = sample_versions()
    for name, starts in STARTS.items():
        assert [v for v in versions[name] if v in starts] == list(starts)
    for quick in (True, False):
        for act in acts(quick=quick):
            assert versions[act.agent].index(act.version) > versions[act.agent].index(STARTS[act.agent][-1])


def test_a_good_upgrade_that_completes_ends_as_told(world: World) -> None:
    ending = world.play()
    assert ending.as_told
    assert [body["target_version"] for body in world.asked()] == ["1.3.0"]


def test_a_good_upgrade_that_is_taken_back_did_not_end_as_told(world: World) -> None:
    rolled_back = deployment("rolled_back", finished_at=ENDED, rollback={"reason": "too slow", "auto_triggered": True})
    ending = world.play(ends=rolled_back)
    assert not ending.as_told
    assert "meant to end otherwise: completed" in ending.words


@pytest.mark.parametrize("by_itself", [True, False])
def test_the_bad_upgrade_must_be_taken_back_by_itself(world: World, by_itself: bool) -> None:
    cause = {"reason": "Error rate threshold exceeded", "auto_triggered": by_itself}
    ending = world.play(BAD, runs="1.8.2", ends=deployment("rolled_back", finished_at=ENDED, rollback=cause))
    assert ending.as_told is by_itself
    assert world.asked(BAD)[0]["acknowledge_breaking"] is True


def test_what_an_earlier_demo_has_done_is_said_and_not_done_again(world: World) -> None:
    ending = world.play(runs="1.3.0")
    assert ending.as_told
    assert "runs 1.3.0 already" in ending.words
    assert world.asked() == []


def test_a_bad_version_that_somebody_kept_is_no_success(world: World) -> None:
    assert not world.play(BAD, runs="2.0.0").as_told


def test_an_upgrade_under_way_from_an_earlier_start_is_followed_not_asked_for_again(world: World) -> None:
    ending = world.play(under_way=(deployment(to_version="1.3.0"),))
    assert ending.as_told
    assert world.asked() == []


def test_another_deployment_under_way_is_waited_for_first(world: World) -> None:
    assert world.play(under_way=(deployment(to_version="1.2.5"),)).as_told
    assert len(world.asked()) == 1


@pytest.mark.parametrize("status", ["paused", "scheduled"])
def test_an_act_is_left_out_while_somebody_holds_the_agent(world: World, status: str) -> None:
    ending = world.play(under_way=(deployment(status),))
    assert not ending.as_told
    assert status in ending.words
    assert world.asked() == []


def test_a_refusal_is_told_and_the_demo_goes_on(world: World) -> None:
    world.server.on("GET", "agents/WowOrchestrator", problem(404, "unknown_agent", "There is no agent WowOrchestrator."))
    ending = world.stage.play(GOOD)
    assert not ending.as_told
    assert "There is no agent WowOrchestrator." in ending.words


def test_a_demo_that_is_told_to_end_stops_watching(world: World) -> None:
    world.stop = True
    with pytest.raises(InterruptedError):
        world.play(ends=deployment())
