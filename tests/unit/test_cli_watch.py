"""Following a deployment: WebSocket, polling, a server that goes away, Ctrl-C."""

import io
import json
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from agent_servicing.cli.feed import PATIENCE_SECONDS
from agent_servicing.cli.live_view import Frame, draw
from tests.unit.cli_world import ID, PREFIX, START, FakeSocket, World, agent, deployment, problem, side, stage

PATH = f"agents/WowMemory/upgrades/{ID}"
ENDED = "2026-01-02T01:03:20Z"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(folder=tmp_path)
    made.server.on("GET", "agents", {"agents": [agent()]})
    made.server.on("POST", "agents/WowMemory/upgrade", httpx.Response(202, json=deployment("queued", stages=[], metrics=None)))
    return made


def upgrade(world: World, *more: str):
    return world.run("upgrade", "WowMemory", "1.3.0", "-r", "why", "--watch", *more)


def completed(**more: object) -> dict:
    stages = [stage("deploy_green", "completed", 30.0), stage("route_traffic_25", "completed", 60.0)]
    return deployment("completed", stages=stages, finished_at=ENDED, **more)


def event(seq: int, kind: str, **more: object) -> dict:
    return {"event": kind, "seq": seq, "upgrade_id": ID, "at": "2026-01-02T01:00:10Z", **more}


def test_an_upgrade_is_followed_to_its_end_over_the_websocket(world: World) -> None:
    world.server.on("GET", PATH, deployment("queued", stages=[]), deployment(), completed())
    socket = FakeSocket([event(1, "snapshot", upgrade={}), event(2, "stage_completed")], clock=world.clock)
    world.sockets = [socket]
    found = upgrade(world)
    assert found.exit_code == 0, found.output
    assert "route_traffic_25 started" in found.stdout
    assert "route_traffic_25 completed after 1 min" in found.stdout
    assert found.stdout.splitlines()[-1].startswith("WowMemory 1.2.5 → 1.3.0: completed after 3 min 20 s.")
    assert world.connections == [("ws://servicing.test/ws/agent-upgrades", {"Authorization": "Bearer secret"})]
    assert socket.sent == [{"action": "subscribe", "agent_id": "WowMemory"}]
    assert socket.closed


def test_who_or_what_a_deployment_waits_for_is_told_as_it_changes_over_the_websocket(world: World) -> None:
    approval = {"waiting_for": "approval", "message": "waits for the approval of somebody other than ada"}
    freeze = {"waiting_for": "freeze", "message": "freeze 'holidays' until 2026-01-03 00:00 UTC"}
    views = (deployment("queued", stages=[], **approval), deployment("queued", stages=[], **freeze), deployment(), completed())
    world.server.on("GET", PATH, *views)
    events = [event(2, "approval_wanted", waiting_for="approval"), event(3, "held", waiting_for="freeze"), event(4, "started")]
    world.sockets = [FakeSocket([event(1, "snapshot", upgrade={}), *events], clock=world.clock)]
    told = upgrade(world).stdout
    places = [told.index(f"waits: {each['message']}") for each in (approval, freeze)]
    assert places == sorted(places)
    assert max(places) < told.index("route_traffic_25 started")


def test_a_deployment_that_waits_says_for_what_in_every_view(world: World) -> None:
    view = deployment("queued", waiting_for="approval", message="waits for the approval of somebody other than ada")
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(draw(Frame(view=view, now=world.clock.now())))
    assert "queued, waits for: approval" in console.export_text()
    world.server.on("GET", "agents/WowMemory", agent())
    world.server.on("GET", "agents/WowMemory/upgrades", {"upgrades": [view, completed()]})
    world.server.on("GET", "agents/WowMemory/generations", {"generations": []})
    rows = world.run("status", "WowMemory").stdout
    assert "queued, waits for: approval" in rows
    assert rows.count("waits for") == 1
    world.server.on("POST", "agents/WowMemory/upgrade", httpx.Response(202, json=view))
    assert "waits for the approval of somebody other than ada" in world.run("upgrade", "WowMemory", "1.3.0", "-r", "why").output
    world.server.on("GET", PATH, view)
    assert json.loads(world.run("status", ID, "--json").stdout)["waiting_for"] == "approval"


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("rolled_back", 3), ("failed", 1), ("cancelled", 1)])
def test_the_exit_code_says_how_it_ended(world: World, status: str, code: int) -> None:
    world.server.on("GET", PATH, deployment(status, finished_at=ENDED, rollback={"reason": "too many errors"}))
    assert upgrade(world).exit_code == code


def test_without_a_websocket_it_reads_once_a_second(world: World) -> None:
    world.server.on("GET", PATH, deployment(), deployment(), completed())
    assert upgrade(world).exit_code == 0
    assert world.clock.seconds == 2


def test_a_lost_websocket_is_opened_again_after_the_last_event_seen(world: World) -> None:
    first = FakeSocket([event(41, "snapshot"), event(42, "stage_started")], end=ConnectionResetError(), clock=world.clock)
    second = FakeSocket([event(43, "completed")], clock=world.clock)
    world.sockets = [first, second]
    world.server.on("GET", PATH, *[deployment()] * 5, completed())
    assert upgrade(world).exit_code == 0
    assert first.closed
    assert second.sent == [{"action": "subscribe", "agent_id": "WowMemory", "since": 42}]


def test_figures_are_printed_now_and_then_not_with_every_look(world: World) -> None:
    world.sockets = [FakeSocket([event(n, "metrics_update") for n in range(1, 200)], clock=world.clock)]
    world.server.on("GET", PATH, *[deployment()] * 12, completed())
    lines = [line for line in upgrade(world).stdout.splitlines() if "req/s" in line]
    assert len(lines) == 2
    assert "1.3.0: 25 % of traffic, 0.5 % errors, 120 ms, 37.5 req/s" in lines[0]


def test_what_happens_to_instances_is_told_too_but_not_other_deployments_events(world: World) -> None:
    mine = event(1, "instance_unhealthy", upgrade_id=None, instance="g2-1-0", version="1.3.0", problem="answers 500")
    loop = event(2, "crash_loop", upgrade_id=None, version="1.3.0", problem="exit code 3")
    other = event(3, "instance_ready", upgrade_id="upg-other", instance="g9-1-0")
    world.sockets = [FakeSocket([mine, loop, other], clock=world.clock)]
    world.server.on("GET", PATH, *[deployment()] * 4, completed())
    found = upgrade(world).stdout
    assert "instance unhealthy: g2-1-0: answers 500" in found
    assert "crash loop: 1.3.0: exit code 3" in found
    assert "g9-1-0" not in found


@pytest.mark.parametrize("message", ["not json", "[]", "null", '{"event": 5, "seq": "x"}', '{"event": "metrics_update", "metrics": 7}'])
def test_messages_that_make_no_sense_do_no_harm(world: World, message: str) -> None:
    class Odd(FakeSocket):
        def recv(self, timeout: float | None = None) -> str:
            world.clock.pause(timeout or 0)
            return message

    world.sockets = [Odd([])]
    world.server.on("GET", PATH, deployment(), completed())
    assert upgrade(world).exit_code == 0


def away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused", request=request)


def test_a_server_that_restarts_is_waited_for(world: World) -> None:
    world.server.on("GET", PATH, deployment(), away, away, completed())
    found = upgrade(world)
    assert found.exit_code == 0
    assert "the server does not answer; trying again" in found.stdout
    assert found.stdout.count("the server does not answer") == 1
    assert "the server answers again" in found.stdout


def test_patience_with_a_server_that_stays_away_ends(world: World) -> None:
    world.server.on("GET", PATH, deployment(), away)
    found = upgrade(world)
    assert found.exit_code == 1
    assert "goes on once `servicing serve` runs again" in found.stderr
    assert PATIENCE_SECONDS < world.clock.seconds < PATIENCE_SECONDS + 10


def test_a_refusal_while_watching_ends_it(world: World) -> None:
    world.server.on("GET", PATH, deployment(), problem(403, "denied", "This token was revoked."))
    found = upgrade(world)
    assert found.exit_code == 1
    assert "This token was revoked." in found.stderr


def test_ctrl_c_leaves_the_deployment_running_and_says_so(world: World) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    world.pause = interrupted
    world.server.on("GET", PATH, deployment())
    found = upgrade(world)
    assert found.exit_code == 130
    assert f"{ID} goes on" in found.stderr
    assert f"servicing cancel {ID}" in found.stderr
    assert [r.url.path for r in world.server.requests if r.method != "GET"] == [f"{PREFIX}/agents/WowMemory/upgrade"]


def test_json_prints_the_final_view_alone_and_progress_beside_it(world: World) -> None:
    world.server.on("GET", PATH, deployment(), completed())
    found = upgrade(world, "--json")
    assert json.loads(found.stdout)["status"] == "completed"
    assert "route_traffic_25 completed" in found.stderr


def test_adding_an_agent_can_wait_for_its_installation(world: World) -> None:
    (world.folder / "agent.toml").write_text('[agent]\nid = "WowMemory"\n[source]\npath = "."\n')
    installing = deployment("queued", kind="install", from_version=None, stages=[])
    world.server.on("POST", "agents", httpx.Response(201, json=agent(upgrade_id=ID, deployment=installing)))
    world.server.on("GET", PATH, installing, completed(kind="install", from_version=None, impact={}))
    found = world.run("agent", "add", "agent.toml", "--wait")
    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines()[-1] == "WowMemory 1.3.0: completed after 3 min 20 s."


def test_status_of_an_agent_watches_what_is_under_way(world: World) -> None:
    world.server.on("GET", "agents/WowMemory/upgrades", {"upgrades": [completed(), deployment()]})
    world.server.on("GET", PATH, deployment(), completed())
    assert world.run("status", "WowMemory", "--watch").exit_code == 0


@pytest.mark.parametrize("words", [("status", ID, "--watch"), ("cancel", ID, "--watch"), ("rollback", "WowMemory", "-r", "x", "--watch")])
def test_everything_that_starts_or_shows_a_deployment_can_watch_it(world: World, words: tuple[str, ...]) -> None:
    world.server.on("GET", PATH, deployment(), deployment(), deployment("rolled_back", finished_at=ENDED, rollback={"reason": "cancelled"}))
    world.server.on("POST", f"{PATH}/cancel", deployment())
    world.server.on("POST", "agents/WowMemory/rollback", deployment("queued"))
    assert world.run(*words).exit_code == 3


def picture(view: dict, **more: object) -> str:
    console = Console(width=120, markup=False, emoji=False, highlight=False, record=True, force_terminal=False)
    with console.capture() as captured:
        console.print(draw(Frame(view=view, now=START, **more)))
    return captured.get()


def test_the_picture_shows_both_versions_verdict_stages_and_story() -> None:
    text = picture(deployment(), story=["01:00:10  route_traffic_25 started"], footer="Ctrl-C stops watching, not the deployment.")
    for words in ("WowMemory 1.2.5 → 1.3.0", "in progress", "75 %", "25 %", "p95 latency", "200 ms", "37.5 req/s", "Verdict: passing"):
        assert words in text
    for words in ("✓", "deploy_green", "completed", "30 s", "●", "route_traffic_25", "01:00:10", "Ctrl-C"):
        assert words in text


def test_the_picture_of_a_rollback_shows_its_reason() -> None:
    text = picture(deployment("rolling_back", rollback={"reason": "Error rate threshold exceeded (8.2% > 5%)"}))
    assert "Rollback: Error rate threshold exceeded (8.2% > 5%)" in text


@pytest.mark.parametrize(
    "view",
    [
        {},
        {"status": "queued"},
        {**deployment(), "metrics": None, "stages": None, "judgement": None},
        {**deployment(), "metrics": {"blue": None, "green": side("1.0.0", 0, error_rate=None)}},
        {**deployment(), "stages": [{"stage": "new_kind", "status": "unheard_of"}]},
    ],
)
def test_the_picture_of_an_incomplete_view_is_still_a_picture(view: dict) -> None:
    assert picture(view).strip() or view == {}


def test_missing_figures_are_shown_as_no_data() -> None:
    view = deployment(metrics={"blue": side("1.2.5", 100), "green": side("1.3.0", 0, error_rate=None, throughput=None)})
    assert "no data" in picture(view)


def test_a_lost_connection_is_shown_in_the_picture() -> None:
    assert "The server does not answer" in picture(deployment(), connected=False)
    assert "reading once a second" in picture(deployment(), live=False)
