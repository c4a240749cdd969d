"""What generations and instances are busy with: counts that are known, counts that are not, and the time that is left."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent_servicing.core.config.report import ConfigReport, Load
from agent_servicing.core.drains import FRESH_SECONDS, GenerationWork, World, generation_work, instance_work
from agent_servicing.core.manifest import ConversationKey, Drain
from agent_servicing.core.model import Generation, Instance
from agent_servicing.core.status import GenerationStatus, InstanceStatus
from tests.unit.world import a_manifest

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MANIFEST = a_manifest(
    conversation_key=ConversationKey(kind="header", name="X-Talk"),
    drain=Drain(timeout_seconds=5, stream_timeout_seconds=100, conversation_timeout_seconds=30),
)
WITHOUT_KEY = replace(MANIFEST, conversation_key=None)
LIVE, DRAINING, WARM, STOPPING = GenerationStatus.LIVE, GenerationStatus.DRAINING, GenerationStatus.WARM, GenerationStatus.STOPPING
IDLE = {"g1-1-1": 0, "g1-2-1": 0}


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def says(name: str, streams: int, *, seconds_ago: float = 1, state: str = "draining") -> ConfigReport:
    return ConfigReport(instance=name, level="sdk", at=ago(seconds_ago), state=state, load=Load(active_streams=streams))


def looked(
    status: GenerationStatus,
    *reports: ConfigReport,
    in_flight: dict[str, int] | None = None,
    conversations: dict[int, int] | None = None,
    since: float = 10,
    stable: int | None = 2,
    candidate: int | None = None,
    manifest: object = MANIFEST,
    ends: bool = False,
) -> GenerationWork:
    """A generation of two instances that has been in this status for so many seconds."""
    generation = Generation(number=1, version="1.0.0", created_at=ago(100), desired=2, status=status, draining_since=ago(since))
    instances = [
        Instance(
            instance=f"g1-{place}-1",
            generation=1,
            version="1.0.0",
            place=place,
            created_at=ago(100),
            status=InstanceStatus.DRAINING if ends else InstanceStatus.READY,
            draining_at=ago(since) if ends else None,
        )
        for place in (1, 2)
    ]
    world = World(at=NOW, in_flight=in_flight, reports={r.instance: r for r in reports}, conversations=conversations)
    work = [instance_work(i, manifest, world) for i in instances]  # type: ignore[arg-type]
    return generation_work(generation, stable=stable, candidate=candidate, manifest=manifest, work=work, world=world)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "phase"),
    [
        (looked(LIVE, stable=1), "active"),
        (looked(LIVE, stable=2), "starting"),
        (looked(LIVE, stable=2, candidate=1), "ramping"),
        (looked(DRAINING, in_flight=IDLE, conversations={1: 3}), "draining"),
        (looked(DRAINING, in_flight=IDLE, conversations={2: 3}), "drained"),
        (looked(DRAINING, in_flight=IDLE, conversations=None), "draining"),
        (looked(DRAINING, in_flight=IDLE, manifest=WITHOUT_KEY), "drained"),
        (looked(DRAINING, in_flight={"g1-1-1": 1}, conversations={}), "draining"),
        (looked(WARM, in_flight=IDLE, conversations={1: 3}), "warm"),
        (looked(WARM, in_flight={"g1-2-1": 1}), "draining"),
        (looked(WARM, in_flight=None), "draining"),
        (looked(STOPPING, in_flight={"g1-2-1": 1}, ends=True), "draining"),
        (looked(STOPPING, in_flight=IDLE, ends=True), "drained"),
    ],
)
def test_a_generation_is_called_idle_only_when_that_is_known(found: GenerationWork, phase: str) -> None:
    assert found.phase == phase


def test_streams_are_counted_where_every_instance_that_is_busy_says_how_many_it_has() -> None:
    both = looked(DRAINING, says("g1-1-1", 2), says("g1-2-1", 1), in_flight={"g1-1-1": 3, "g1-2-1": 1})
    assert (both.in_flight, both.active_streams) == (4, 3)
    one_idle = looked(DRAINING, says("g1-1-1", 2), in_flight={"g1-1-1": 3, "g1-2-1": 0})
    assert one_idle.active_streams == 2, "an instance with nothing in flight has no stream, whatever it says or does not say"


def test_what_nobody_says_is_none_and_not_zero() -> None:
    silent = looked(DRAINING, says("g1-1-1", 2), in_flight={"g1-1-1": 3, "g1-2-1": 1})
    old = looked(DRAINING, says("g1-1-1", 2), says("g1-2-1", 1, seconds_ago=FRESH_SECONDS + 1), in_flight={"g1-1-1": 3, "g1-2-1": 1})
    assert silent.active_streams is old.active_streams is None
    unread = looked(DRAINING, says("g1-1-1", 0), says("g1-2-1", 0), in_flight=None)
    assert (unread.in_flight, unread.active_streams, unread.conversations) == (None, 0, None)
    assert looked(DRAINING, conversations={1: 3}, manifest=WITHOUT_KEY).conversations is None


@pytest.mark.parametrize(
    ("found", "left"),
    [
        (looked(LIVE), (None, None)),
        (looked(DRAINING, since=10), (20.0, 120.0)),
        (looked(DRAINING, since=10, manifest=WITHOUT_KEY), (None, 90.0)),
        (looked(WARM, since=40), (None, 90.0)),
        (looked(WARM, since=500), (None, 0.0)),
        (looked(STOPPING, since=40, ends=True), (None, 60.0)),
        (looked(STOPPING, in_flight=IDLE, since=2, ends=True), (None, 3.0)),
    ],
)
def test_the_time_that_is_left_is_that_of_the_budgets(found: GenerationWork, left: tuple[float | None, float | None]) -> None:
    assert (found.conversation_seconds_left, found.stream_seconds_left) == left
