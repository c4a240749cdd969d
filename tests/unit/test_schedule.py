"""Whether an upgrade may begin: stopped line, freezes, windows, free places, in that order, and when the next opening is."""

from datetime import UTC, datetime, timedelta

import pytest

from agent_servicing.calendars import CALENDAR
from agent_servicing.core.model import Deployment, DeploymentSpec
from agent_servicing.core.queue import first_order, moved, position, queued
from agent_servicing.core.schedule import Gate, Line, Places, Rule, RuleKind, Stop, gate, next_open, no_place
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, WaitingFor

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
FREEZE, WINDOW = RuleKind.FREEZE, RuleKind.WINDOW


def rule(kind: RuleKind, name: str, cron: str | None = None, hours: float = 0, *, agents: tuple[str, ...] = (), **more: object) -> Rule:
    return Rule(
        rule=name, kind=kind, name=name, reason="because", actor="ada", created_at=NOW,
        cron=cron, duration_seconds=hours * 3600, agents=agents, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def once(kind: RuleKind, name: str, start: timedelta, end: timedelta, **more: object) -> Rule:
    return rule(kind, name, starts_at=NOW + start, ends_at=NOW + end, **more)  # type: ignore[arg-type]


H = timedelta(hours=1)
NIGHTS = rule(WINDOW, "nights", "0 22 * * *", 8)
NOON = rule(WINDOW, "noon", "0 12 * * *", 1)
LONG = once(FREEZE, "long", -H, 48 * H)
SHORT = once(FREEZE, "short", -H, H)

GATES = [
    ((), True, "", None),
    ((SHORT,), False, "freeze 'short' until 2026-01-02 13:00 UTC: because", H),
    ((SHORT, LONG), False, "freeze 'long'", 48 * H),
    ((once(FREEZE, "later", H, 2 * H),), True, "", None),
    ((once(FREEZE, "past", -2 * H, -H),), True, "", None),
    ((NIGHTS,), False, "outside the maintenance window; 'nights' opens 2026-01-02 22:00 UTC", 10 * H),
    ((NIGHTS, NOON), True, "", None),
    ((NOON, SHORT), False, "freeze 'short'", H),
    ((once(WINDOW, "past", -2 * H, -H),), True, "", None),
    ((once(WINDOW, "past", -2 * H, -H), NIGHTS), False, "'nights' opens", 10 * H),
    ((rule(WINDOW, "gone", "0 0 29 2 *", 1),), False, "no opening is known", None),
    ((rule(FREEZE, "other", "* * * * *", 1, agents=("Other",)),), True, "", None),
    ((rule(FREEZE, "mine", "0 12 * * *", 1, agents=("Other", "Mine")),), False, "freeze 'mine'", H),
    ((rule(WINDOW, "other", "0 1 * * *", 1, agents=("Other",)),), True, "", None),
]


@pytest.mark.parametrize(("rules", "is_open", "reason", "until"), GATES)
def test_the_gate_is_closed_by_freezes_and_outside_windows(
    rules: tuple[Rule, ...], is_open: bool, reason: str, until: timedelta | None
) -> None:
    found = gate(Line(rules=rules), "Mine", NOW, CALENDAR)
    assert found.open is is_open
    assert reason in found.reason
    assert found.until == (NOW + until if until is not None else None)


def test_a_stopped_line_counts_before_everything_and_nobody_knows_until_when() -> None:
    line = Line(rules=(SHORT, NOON), stop=Stop(actor="grace", reason="incident", since=NOW))
    found = gate(line, "Mine", NOW, CALENDAR)
    assert found == Gate(open=False, reason="the line is stopped by grace since 2026-01-02 12:00 UTC: incident", kind=WaitingFor.LINE)
    assert next_open(line, "Mine", NOW, CALENDAR) is None


OPENINGS = [
    ((), 0 * H),
    ((SHORT,), H),
    ((SHORT, once(FREEZE, "next", H, 3 * H)), 3 * H),
    ((NIGHTS,), 10 * H),
    ((NIGHTS, LONG), 58 * H),  # the freeze ends at noon two days later, the window opens at 22:00
    ((once(FREEZE, "year", -H, 400 * 24 * H),), None),
    ((rule(FREEZE, "always", "0 0 * * *", 24),), None),
    ((NOON, rule(FREEZE, "noon too", "0 12 * * *", 1)), None),
]


@pytest.mark.parametrize(("rules", "after"), OPENINGS)
def test_the_next_opening_looks_past_freezes_and_windows_that_overlap(rules: tuple[Rule, ...], after: timedelta | None) -> None:
    assert next_open(Line(rules=rules), "Mine", NOW, CALENDAR) == (NOW + after if after is not None else None)


CHRISTMAS = Line(
    rules=(
        rule(WINDOW, "nights", "0 22 * * *", 8, time_zone="Europe/Berlin"),
        rule(
            FREEZE,
            "Christmas",
            starts_at=datetime.fromisoformat("2026-12-23T18:00:00+01:00"),
            ends_at=datetime.fromisoformat("2026-12-27T08:00:00+01:00"),
        ),
    )
)


@pytest.mark.parametrize(
    ("asked", "begins"),
    [
        ("2026-12-22T12:00:00+01:00", "2026-12-22T22:00:00+01:00"),
        ("2026-12-23T05:00:00+01:00", "2026-12-23T05:00:00+01:00"),
        ("2026-12-23T12:00:00+01:00", "2026-12-27T22:00:00+01:00"),
        ("2026-12-26T23:00:00+01:00", "2026-12-27T22:00:00+01:00"),
    ],
)
def test_the_example_of_the_guide_is_true(asked: str, begins: str) -> None:
    assert next_open(CHRISTMAS, "Mine", datetime.fromisoformat(asked), CALENDAR) == datetime.fromisoformat(begins)


@pytest.mark.parametrize(
    ("places", "waits"),
    [
        (Places(), ""),
        (Places(limit=2, under_way=1), ""),
        (Places(limit=2, under_way=2), "waits for a free place: 2 of 2 deployments are under way"),
        (Places(limit=1, under_way=3), "waits for a free place: 3 of 1 deployments are under way"),
        (Places(limit=2, under_way=1, before=1), "waits for a free place: 1 of 2 deployments are under way and 1 came first"),
        (Places(limit=3, under_way=1, before=1), ""),
    ],
)
def test_a_place_is_free_while_fewer_than_the_limit_hold_or_were_promised_one(places: Places, waits: str) -> None:
    assert no_place(places) == waits


def deployment(name: str, minutes: int = 0, kind: DeploymentKind = DeploymentKind.UPGRADE, **more: object) -> Deployment:
    return Deployment(
        deployment=name, agent="Mine", kind=kind, from_version="1.0.0", to_version="1.1.0", spec=DeploymentSpec(strategy="blue-green"),
        reason="r", actor="ada", requested_at=NOW + timedelta(minutes=minutes), **more,  # type: ignore[arg-type]
    )  # fmt: skip


A, B, C, D = (deployment(name, n) for n, name in enumerate("abcd"))
BACK = deployment("back", 9, DeploymentKind.ROLLBACK)


def names(several: object) -> str:
    return " ".join(d.deployment for d in queued(several))  # type: ignore[arg-type]


def test_rollbacks_come_first_then_who_is_due_longest() -> None:
    late = deployment("s", 30, scheduled_at=NOW - timedelta(minutes=1))
    assert names([D, BACK, late, A]) == "back s a d"
    assert [position(d, [D, BACK, A]) for d in (BACK, A, D)] == [1, 2, 3]
    assert position(deployment("x", status=DeploymentStatus.SCHEDULED), [A]) is None


@pytest.mark.parametrize(
    ("who", "to", "expected"),
    [(D, 1, "d a b c"), (A, 4, "b c d a"), (B, 3, "a c b d"), (B, 2, "a b c d"), (A, 99, "b c d a"), (D, 0, "d a b c")],
)
def test_moving_puts_one_where_it_is_wanted_and_late_comers_after_it(who: Deployment, to: int, expected: str) -> None:
    changed = {d.deployment: d for d in moved(who, [A, B, C, D], to)}
    after = [changed.get(d.deployment, d) for d in (A, B, C, D)]
    assert names(after) == expected
    assert names([*after, deployment("new", 60)]) == expected + " new"
    again = {d.deployment: d for d in moved(after[0], after, 2)}
    assert position(A, [again.get(d.deployment, d) for d in after]) == 2


def test_nothing_is_moved_before_a_rollback() -> None:
    changed = {d.deployment: d for d in moved(B, [A, B, BACK], 1)}
    assert names([changed.get(d.deployment, d) for d in (A, B, BACK)]) == "back b a"


def test_who_takes_over_comes_before_those_that_were_moved() -> None:
    after = {d.deployment: d for d in moved(B, [A, B, C], 1)}
    waiting = [after.get(d.deployment, d) for d in (A, B, C)]
    assert names([*waiting, deployment("boss", 99, order=first_order(waiting))]) == "boss b a c"
