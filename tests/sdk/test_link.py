"""The link of an agent to a server: subscription, reports, what happens when either is held back."""

import asyncio
import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from servicing_sdk import ConfigRejected, Servicing
from servicing_sdk.link import Link, Pace
from tests.sdk.fake_server import QUICK, TOKEN, FakeServer, message, text_of


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer().running() as running:
        yield running


@pytest.fixture
def servicing(server: FakeServer, tmp_path: Path) -> Iterator[Servicing]:
    made = Servicing(around=server.surroundings(tmp_path, text_of(n=0)), pace=QUICK)
    with made.running():
        yield made


def test_an_agent_reports_at_once_what_it_started_with(server: FakeServer, servicing: Servicing) -> None:
    report = server.until(bool)
    assert report["config"]["applied"]["revision"] == "cfg-0"
    assert (report["level"], report["state"]) == ("sdk", "ready")
    assert report["load"] == {"active_requests": 0, "active_streams": 0, "open_conversations": 0}
    assert server.tokens == {f"Bearer {TOKEN}"}
    assert server.posts[0][0] == "/api/platform/agents/Wow%20Agent/link"


def test_a_change_is_prepared_then_used(server: FakeServer, servicing: Servicing) -> None:
    said = message("cfg-1", "prepare", n=1)
    server.say("config", said)
    server.until(lambda report: (report["config"]["prepared"] or {}).get("hash") == said["hash"])
    assert servicing.config == {"n": 0}
    server.say("config", {**said, "phase": "commit"})
    server.until(lambda report: report["config"]["applied"]["hash"] == said["hash"])
    assert servicing.config == {"n": 1}


def test_an_abort_forgets_what_was_prepared(server: FakeServer, servicing: Servicing) -> None:
    server.say("config", message("cfg-1", "prepare", n=1))
    server.until(lambda report: report["config"]["prepared"] is not None)
    server.say("config", message("cfg-1", "abort", n=1))
    server.posts.clear()
    assert server.until(lambda report: report["config"]["prepared"] is None)
    assert servicing.config == {"n": 0}


def test_a_veto_reaches_the_server(server: FakeServer, servicing: Servicing) -> None:
    @servicing.on_prepare
    def veto(new: dict[str, int], old: dict[str, int]) -> None:
        raise ConfigRejected("n", "not that one")

    server.say("config", message("cfg-1", "prepare", n=1))
    report = server.until(lambda said: said["config"]["last_attempt"] is not None)
    assert report["config"]["last_attempt"]["errors"] == [{"path": "n", "message": "not that one"}]
    assert report["config"]["last_attempt"]["result"] == "rejected"


def test_whoever_comes_back_gets_what_is_wanted_now(server: FakeServer, servicing: Servicing) -> None:
    server.until_subscribed()
    server.wanted = message("cfg-1", n=1)
    server.cut()
    server.until(lambda report: report["config"]["applied"]["revision"] == "cfg-1")
    assert servicing.config == {"n": 1}


def test_where_streams_are_held_back_the_agent_asks(server: FakeServer, tmp_path: Path) -> None:
    server.streams, server.wanted = False, message("cfg-1", n=1)
    with Servicing(around=server.surroundings(tmp_path, text_of(n=0)), pace=QUICK).running():
        server.until(lambda report: report["config"]["applied"]["revision"] == "cfg-1")


def test_a_server_that_is_down_does_not_stop_an_agent_and_is_found_later(tmp_path: Path) -> None:
    server = FakeServer()
    servicing = Servicing(around=server.surroundings(tmp_path, text_of(n=0)), pace=QUICK)
    with servicing.running():
        assert servicing.config == {"n": 0}
        server.wanted = message("cfg-1", n=1)
        with server.running():
            server.until(lambda report: report["config"]["applied"]["revision"] == "cfg-1")


def test_after_a_server_was_away_for_many_attempts_the_agent_subscribes_again_and_is_asked_first(tmp_path: Path) -> None:
    before = FakeServer()
    servicing = Servicing(around=before.surroundings(tmp_path, text_of(n=0)), pace=QUICK)
    with servicing.running():
        with before.running():
            before.until_subscribed()
        link = servicing._link
        assert link is not None
        wait_until(lambda: link._failures > 5)
        after = FakeServer(before.port)
        with after.running():
            said = message("cfg-1", "prepare", n=1)
            after.say("config", said)
            after.until(lambda report: (report["config"]["prepared"] or {}).get("hash") == said["hash"])
        assert (before.polls, after.polls) == (0, 0)


def test_agents_that_lost_their_server_come_back_spread_over_a_time_that_grows_to_a_limit(tmp_path: Path) -> None:
    with FakeServer().running() as server:
        around = server.surroundings(tmp_path, text_of(n=0))
    servicing = Servicing(around=around)
    link = Link(
        around=around,
        configs=servicing.configs,
        state=dict,
        runtime=lambda _: None,
        drain=lambda _: None,
        client="a test",
        pace=Pace(retry_first=0.5, retry_most=10.0),
    )
    for failures, most in ((0, 0.5), (1, 1.0), (3, 4.0), (6, 10.0), (1_000_000, 10.0)):
        link._failures = failures
        pauses = sorted(link._pause() for _ in range(1000))
        assert 0 <= pauses[0] < most * 0.05 < most * 0.95 < pauses[-1] <= most
        assert most * 0.4 < pauses[500] < most * 0.6  # evenly, so that no moment gets more of them than another


def test_the_agents_clock_may_be_hours_off_and_it_still_follows(tmp_path: Path) -> None:
    """What a time of the agent's decides is decided by a clock that nobody sets; the wall clock is only told."""
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        HOURS = float(sys.argv[1]) * 3600
        wall = time.time
        time.time = lambda: wall() + HOURS  # what the machine of the agent believes
        from servicing_sdk import Servicing
        from servicing_sdk.surroundings import Surroundings
        from tests.sdk.fake_server import QUICK
        around = Surroundings(url=sys.argv[2], token="t", agent="A", instance="i-1", revision="cfg-0", file=Path(sys.argv[3]),
                              cache=Path(sys.argv[4]))
        with Servicing(around=around, pace=QUICK).running():
            sys.stdin.read()
    """)
    for hours in ("-7", "7"):
        with FakeServer().running() as server:
            around = server.surroundings(tmp_path, text_of(n=0), instance=f"i{hours}")
            words = [sys.executable, "-c", script, hours, server.url, str(around.file), str(tmp_path / f"kept{hours}")]
            with subprocess.Popen(words, stdin=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
                for number in (1, 2):
                    said = message(f"cfg-{number}", "prepare", n=number)
                    server.say("config", said)
                    server.until(lambda report, said=said: (report["config"]["prepared"] or {}).get("hash") == said["hash"])  # type: ignore[misc]
                    server.say("config", {**said, "phase": "commit"})
                    server.until(lambda report, said=said: report["config"]["applied"]["hash"] == said["hash"])  # type: ignore[misc]
                server.say("drain", {"deadline_seconds": 300})
                server.until(lambda report: report["state"] == "drained")
                assert process.stdin is not None
                process.stdin.close()
                assert process.wait(20) == 0


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came true")


def test_a_message_that_cannot_be_read_changes_nothing(server: FakeServer, servicing: Servicing) -> None:
    for broken in ({"phase": "commit"}, {**message("cfg-1", n=1), "document": "{"}, {**message("cfg-1", n=1), "hash": "0" * 64}):
        server.say("config", broken)
    server.say("config", message("cfg-2", n=2))
    server.until(lambda report: report["config"]["applied"]["revision"] == "cfg-2")
    assert not any("cfg-1" in str(body) for _, body in server.posts)


def test_the_log_level_and_flags_act_and_go_back(server: FakeServer, servicing: Servicing) -> None:
    before = logging.getLogger().level
    server.say("config", message("cfg-1", runtime={"log_level": "DEBUG", "flags": {"new-search": {"value": True}}}, n=1))
    server.until(lambda report: report["config"]["applied"]["revision"] == "cfg-1")
    assert logging.getLogger().level == logging.DEBUG
    assert servicing.flag("new-search", default=False) is True
    server.say("config", message("cfg-2", runtime={"log_level": "no such level"}, n=2))
    server.until(lambda report: report["config"]["applied"]["revision"] == "cfg-2")
    assert logging.getLogger().level == before
    assert servicing.flag("new-search", default=False) is False


def test_a_drain_is_heard_and_taken_back(server: FakeServer, servicing: Servicing) -> None:
    server.until(lambda said: said["state"] == "ready")
    server.say("drain", {"deadline_seconds": 300})
    server.until(lambda report: report["state"] == "drained")
    server.posts.clear()
    server.say("resume", {})
    server.until(lambda report: report["state"] == "ready")


def test_a_drain_is_reported_as_over_when_its_last_stream_has_ended(server: FakeServer, servicing: Servicing) -> None:
    async def streaming() -> None:
        with servicing.work.stream():
            server.say("drain", {"deadline_seconds": 300})
            await asyncio.to_thread(server.until, lambda report: report["state"] == "draining" and report["load"]["active_streams"] == 1)
            server.posts.clear()

    asyncio.run(streaming())
    assert server.until(lambda report: report["state"] == "drained")["load"]["active_streams"] == 0


def test_metrics_of_its_own_are_sent_together(server: FakeServer, servicing: Servicing) -> None:
    servicing.report("quality", 0.9)
    assert {"metric": "quality", "value": 0.9} in server.until_posted("/reports")["values"]


def test_an_agent_says_itself_that_it_can_take_no_work(server: FakeServer, servicing: Servicing) -> None:
    servicing.unavailable("the model is loading")
    server.until(lambda report: report["state"] == "unavailable")
    servicing.ready()
    server.posts.clear()
    server.until(lambda report: report["state"] == "ready")


@pytest.mark.parametrize(("event", "data"), [("config", []), ("drain", {"deadline_seconds": None}), ("drain", "soon"), ("config", None)])
def test_a_message_of_the_wrong_shape_does_not_end_the_listening(
    server: FakeServer, servicing: Servicing, event: str, data: object
) -> None:
    said = message("cfg-1", "commit", n=1)
    server.wanted = said
    server.say(event, data)  # type: ignore[arg-type]
    server.cut()
    server.until(lambda report: report["config"]["applied"]["hash"] == said["hash"])


def test_a_value_that_is_no_number_is_the_callers_error_and_the_beat_goes_on(server: FakeServer, servicing: Servicing) -> None:
    with pytest.raises(TypeError):
        servicing.report("quality", object())  # type: ignore[arg-type]
    server.posts.clear()
    assert server.until(bool)
