"""Seeded bugs: each replaces one function of ours by a wrong one. A simulator that does not catch them proves nothing.

The stated exception to "never patch our own code". The later ones are bugs that it really found; there the wrong function is what stood in the code.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from agent_servicing.core import (
    arrive,
    begin,
    conduct,
    decide,
    draft,
    goodbye,
    guards,
    intake,
    interpret,
    judging,
    keep,
    retreat,
    routing,
    traffic,
)
from agent_servicing.core.model import Instance
from agent_servicing.core.status import DeploymentStatus, InstanceStatus
from agent_servicing.reconcile import observe, pulse
from agent_servicing.testing.store import MemoryStore


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """`changes`: what to replace (object, name) by what. `laws`: those that may catch it. `strategies`: where it can show, None is anywhere."""

    changes: Mapping[tuple[Any, str], Any]
    laws: frozenset[str]
    strategy: str | None = None


@contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    with ExitStack() as stack:
        for (owner, name), wrong in mutation.changes.items():
            stack.enter_context(patch.object(owner, name, wrong))
        yield


def _bug(owner: Any, name: str, wrong: Any, *laws: str, strategy: str | None = None) -> Mutation:
    return Mutation(changes={(owner, name): wrong}, laws=frozenset(laws), strategy=strategy)


def _always(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def _done(*_: Any, **__: Any) -> interpret.Progress:
    return interpret.Progress(done=True)


_commit = MemoryStore.commit


async def _commit_without_lease(self: MemoryStore, lease: Any, commit: Any, now: Any) -> bool:
    row = self.rows[lease.agent]
    row.lease = replace(lease, expires_at=now + timedelta(seconds=1))
    return await _commit(self, row.lease, commit, now)


def _share_without_capacity(*, wanted: float, **_: Any) -> float:
    return wanted


_aim = interpret._aim
_resume = intake._resume
_fill = keep._fill
_close = conduct._close
_touched = judging._touched
_read = observe.Observer._read


def _aim_without_conversations(draft_: Any, deployment: Any, percent: float, *, move_conversations: bool = False) -> None:
    del move_conversations
    _aim(draft_, deployment, percent)


def _resume_without_deadline(draft_: Any, deployment: Any, intent: Any) -> None:
    _resume(draft_, deployment, intent)
    resumed = draft_.deployments[deployment.deployment]
    draft_.put(replace(resumed, stages=tuple(replace(s, deadline_at=None) for s in resumed.stages)))


def _promoted_on_no_data(draft_: Any, _deployment: Any, record: Any, stage: Any) -> interpret.Progress:
    return interpret.Progress(done=draft_.since(record.started_at) >= stage.seconds)


def _retired_at_once(*_: Any) -> interpret.Progress:
    return interpret.Progress(done=True)


def _moved_at_once(draft_: Any, generation: Any) -> None:
    keep._move_conversations(draft_, generation.number)


def _touched_again(draft_: Any, before: Any, candidate: Any) -> int | None:
    return _touched(draft_, before, candidate) and (2 * (before.conversations_touched or 0) + candidate.conversations)


def _closed_silently(draft_: Any, deployment: Any, status: Any) -> None:
    _close(draft_, deployment, status)
    draft_.events = [e for e in draft_.events if not (e.audit and e.type == deployment.kind.value)]


def _starting_in_service(instance: Instance) -> Any:
    if instance.status is InstanceStatus.STARTING and instance.host is not None and instance.port is not None:
        return routing.Backend(instance=instance.instance, host=instance.host, port=instance.port)
    return _backend(instance)


_backend = traffic._backend


async def _unreadable_is_empty(self: Any, what: str, agent: str, reading: Any) -> Any:
    found = await _read(self, what, agent, reading)
    return {} if found is None and what == "processes" else found


def _retreat_keeping_the_share(draft_: Any, deployment: Any, **options: Any) -> None:
    share = draft_.agent.share
    retreat.retreat(draft_, deployment, **options)
    changed = draft_.deployments[deployment.deployment]
    stages = tuple(s for s in changed.stages if s.stage.kind != "set_traffic" or s.status.value != "pending" or s.stage.percent)
    draft_.put(replace(changed, stages=stages), replace(draft_.agent, share=share))


def _queued_all_the_same(draft_: Any, deployment: Any) -> None:
    draft_.put(replace(deployment, status=DeploymentStatus.QUEUED))


MUTATIONS: Mapping[str, Mutation] = {
    "the last healthy may leave": Mutation(
        changes={(keep, "_may_leave"): _always(True), (keep, "_others_serve"): _always(True)},
        laws=frozenset({"the_last_healthy_is_never_let_go"}),
    ),
    "the share ignores capacity": _bug(
        traffic,
        "effective_share",
        _share_without_capacity,
        "share_is_carried",
        "no_traffic_without_instances",
        "capacity_never_falls_below_one_less",
    ),
    "no data promotes": _bug(interpret, "_watched", _promoted_on_no_data, "a_watch_ends_with_evidence"),
    "the store ignores leases": _bug(MemoryStore, "commit", _commit_without_lease, "stale_commits_change_nothing"),
    "a rollback waits for an upgrade": _bug(guards, "_overtaken", _always(False), "a_rollback_begins_soon"),
    "a retreat forgets the conversations": _bug(interpret, "_aim", _aim_without_conversations, "what_was_taken_back_answers_nobody"),
    "stopped before it drains": _bug(keep, "_routed", _always(False), "nothing_in_service_is_stopped", "what_is_busy_is_let_finish"),
    "streams get the time of requests": _bug(
        keep, "_budget_seconds", lambda d, i: d.manifest(i.version).drain.timeout_seconds, "what_is_busy_is_let_finish"
    ),
    "a rollback does not take the goodbye back": _bug(goodbye, "_serves", _always(False), "who_serves_does_not_think_that_it_leaves"),
    "a word that was lost is not said again": _bug(goodbye, "_ENDING", (), "who_serves_does_not_think_that_it_leaves"),
    "no guards while paused": _bug(
        conduct,
        "_GUARDED",
        (DeploymentStatus.IN_PROGRESS, DeploymentStatus.BAKING),
        "a_failing_verdict_is_acted_upon_at_once",
        "a_rollback_begins_soon",
    ),
    "no guard looks at verdicts": _bug(guards, "_judged", _always(False), "a_failing_verdict_is_acted_upon_at_once"),
    "retired without a measured zero": _bug(interpret, "_retired", _retired_at_once, "retiring_waits_for_zero"),
    "a resume forgets the deadline": _bug(intake, "_resume", _resume_without_deadline, "every_gate_has_a_deadline"),
    "no deadline is watched": _bug(guards, "_late", _always(False), "every_gate_has_a_deadline", "everything_ends"),
    "handed over unhealthy": Mutation(
        changes={(interpret, "_healthy"): _done, (interpret, "_shifted"): _done},
        laws=frozenset({"nothing_is_handed_over_unproven", "every_request_is_served", "capacity_never_falls_below_one_less"}),
    ),
    "a drain drops pins at once": _bug(
        keep, "_fill", lambda d, g: (_moved_at_once(d, g) if g.draining_since else None, _fill(d, g)), "a_pin_holds"
    ),
    "whoever is touched is counted again at each reading": _bug(judging, "_touched", _touched_again, "who_was_touched_was_answered"),
    "an end without a closing entry": _bug(conduct, "_close", _closed_silently, "every_end_has_one_closing_entry"),
    "requests before the first health check": _bug(traffic, "_backend", _starting_in_service, "only_proven_instances_get_traffic"),
    "unreadable means nothing there": _bug(
        observe.Observer,
        "_read",
        _unreadable_is_empty,
        "capacity_never_falls_below_one_less",
        "every_request_is_served",
        "the_last_healthy_is_never_let_go",
        "nothing_in_service_is_stopped",
    ),
    "a retreat keeps the share": _bug(
        guards,
        "retreat",
        _retreat_keeping_the_share,
        "a_retreat_takes_the_traffic_away",
        "what_was_taken_back_stays_away",
        "every_request_is_served",
        "capacity_never_falls_below_one_less",
    ),
    "two deployments at once": _bug(draft.Draft, "active", None, "one_deployment_and_three_generations", "nobody_is_asked_twice"),
    "cancel is ignored": _bug(intake, "retreat", lambda *_, **__: None, "verbs_are_obeyed"),
    "freezes and locks hold nobody": _bug(begin, "held", _always(False), "nothing_begins_while_its_gate_is_closed", "the_limit_is_kept"),
    "the limit is not counted": Mutation(
        changes={(arrive, "no_place"): _always(""), (MemoryStore, "_place_free"): _always(True)}, laws=frozenset({"the_limit_is_kept"})
    ),
    "a missed start begins late": _bug(arrive, "_missed", _queued_all_the_same, "a_missed_start_ends_as_missed"),
    "what waits is forgotten": _bug(
        begin, "held", lambda _, d: d.kind.value == "upgrade", "what_waits_begins_once_it_may", "everything_ends"
    ),
    "nobody watches those at rest": Mutation(
        changes={(pulse, "_unchanged"): _always(True), (pulse.Pulse, "_due_now"): lambda _: deque()},
        laws=frozenset({"what_falls_is_noticed_soon", "every_request_is_served"}),
    ),
    "found: waits last as long as the clock was set back": _bug(
        decide,
        "set_back",
        lambda _: None,
        "a_rollback_begins_soon",
        "a_retreat_takes_the_traffic_away",
        "everything_ends",
        "one_generation_is_left",
    ),
    "found: an orphan that ignores its signal stays": _bug(keep, "_will_not_go", _always(False), "one_generation_is_left"),
    "found: the last that drains is let go": _bug(keep, "_others_serve", _always(True), "the_last_healthy_is_never_let_go"),
}


CAUGHT_BY: Mapping[str, tuple[int, str]] = {
    "the last healthy may leave": (120, "blue-green"),
    "the share ignores capacity": (1, "rolling"),
    "no data promotes": (3, "blue-green"),
    "the store ignores leases": (4, "canary"),
    "a rollback waits for an upgrade": (26, "canary"),
    "a retreat forgets the conversations": (5, "canary"),
    "stopped before it drains": (0, "blue-green"),
    "no guards while paused": (9, "blue-green"),
    "no guard looks at verdicts": (5, "rolling"),
    "retired without a measured zero": (0, "blue-green"),
    "a resume forgets the deadline": (1, "blue-green"),
    "no deadline is watched": (1, "blue-green"),
    "handed over unhealthy": (0, "blue-green"),
    "a drain drops pins at once": (26, "canary"),
    "a rollback does not take the goodbye back": (127, "canary"),
    "whoever is touched is counted again at each reading": (0, "canary"),
    "an end without a closing entry": (0, "blue-green"),
    "requests before the first health check": (3, "blue-green"),
    "unreadable means nothing there": (0, "rolling"),
    "a retreat keeps the share": (5, "rolling"),
    "two deployments at once": (0, "blue-green"),
    "cancel is ignored": (3, "canary"),
    "freezes and locks hold nobody": (9, "blue-green"),
    "a missed start begins late": (2, "rolling"),
    "what waits is forgotten": (0, "blue-green"),
    "nobody watches those at rest": (2, "rolling"),
    "found: waits last as long as the clock was set back": (35, "blue-green"),
    "found: an orphan that ignores its signal stays": (31, "rolling"),
    "found: the last that drains is let go": (120, "blue-green"),
    "the limit is not counted": (34, "canary"),
}
"""A story that shows each bug, so that the test need not search."""
