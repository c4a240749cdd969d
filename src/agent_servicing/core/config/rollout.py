"""Leads one change of the configuration through the instances: ask all, give it to the first, look, give it to all, watch. A step of `decide`.

Every status is a question to the instances' own reports; nothing is taken as done because it was sent. One refusal and nothing is applied;
one failure and everybody gets back what they had.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from agent_servicing.core.actions import AbortConfig, CommitConfig, PrepareConfig
from agent_servicing.core.config.compare import counted, judged, pass_or_hold
from agent_servicing.core.config.concerned import changed, concerned, differs, limited, limits_differ, of_changed, unenforced
from agent_servicing.core.config.endings import applied, refused, reverted
from agent_servicing.core.config.patch import Patch, PatchResult, PatchStatus
from agent_servicing.core.config.report import Attempt, ConfigReport
from agent_servicing.core.draft import Draft
from agent_servicing.core.events import SYSTEM
from agent_servicing.core.model import Instance
from agent_servicing.core.status import InstanceStatus, Verdict

WATCH_SECONDS: Final = 60.0
"""Two exits within this time after a change was applied take it back: the crash may come with the first request that meets the new value."""

EXITS_MAX: Final = 2

RETRY_SECONDS: Final = 60.0
"""A change of our own, for temporary values, that did not come through is tried again after this."""

REVERT_SECONDS: Final = 10.0
"""Time for everybody to get back what they had; who has not by then is named, and gets it at the next turn that finds them."""

LOOK_AGAIN_SECONDS: Final = 0.1
"""While instances are asked, their answers are looked for this often. Channels tell when the last one is in; this is for those that do not."""

LOOK_AGAIN_EACH_SECONDS: Final = 0.0015
"""Later with many of them: each look costs something for each instance, and would keep their answers from being taken in."""

SLOW_SECONDS: Final = 1.0
"""Who has not answered by then is looked at less often, and told once more: the message may be lost, with a server of ours for one."""

LOOK_SLOWLY_SECONDS: Final = 0.25

LIMITED: Final = "runtime"
"""The level of what the runtime itself did and read back."""

_FAILED = frozenset({"rejected", "failed", "reverted"})


def configure(draft: Draft) -> None:
    if draft.removing:
        return
    patch = draft.patch or _expired(draft)
    if patch is None:
        return
    match patch.status:
        case PatchStatus.PREPARING:
            _prepare(draft, patch)
        case PatchStatus.TRYING:
            _try(draft, patch)
        case PatchStatus.APPLYING:
            _apply(draft, patch)
        case PatchStatus.APPLIED:
            _watch(draft, patch)
        case PatchStatus.REVERTING:
            _revert(draft, patch)
        case PatchStatus.REVERTED | PatchStatus.REFUSED | PatchStatus.RESTARTING:
            draft.patch = replace(patch, live=draft.since(patch.since) < RETRY_SECONDS)


def _expired(draft: Draft) -> Patch | None:
    """Temporary values whose time is over go back by themselves: a change of ours, with a name that nobody else gives."""
    stable = draft.generations.get(draft.agent.stable or 0)
    layers = draft.before.layers.get(stable.config) if stable is not None else None
    if stable is None or layers is None or layers.without_expired(draft.now) == layers:
        return None
    over = sorted({key for override in layers.overrides if override.expires_at <= draft.now for key in override.values})
    draft.patch = Patch(
        revision=f"{stable.config}-x",
        parent=stable.config,
        layers=layers.without_expired(draft.now),
        profile="instant",
        actor=SYSTEM,
        reason=f"the time of {', '.join(over)} is over",
        requested_at=draft.now,
        since=draft.now,
    )
    draft.wake_in(0)
    return draft.patch


def take_back(draft: Draft, patch: Patch, why: str) -> None:
    """Everybody gets the revision that they had; before anybody has the new one, that is a refusal."""
    if patch.status is PatchStatus.PREPARING:
        _refuse(draft, patch, why)
        return
    for generation in changed(draft, patch):
        draft.put(replace(generation, config=patch.before.get(generation.number, patch.parent)))
    patch = draft.patch = replace(patch, status=PatchStatus.REVERTING, since=draft.now, message=why)
    documents = {i.instance: draft.document(i) for i in concerned(draft, patch)}
    if documents:
        draft.do(CommitConfig(agent=draft.agent.agent, documents=documents, deadline_seconds=patch.answer_seconds))
    draft.wake_in(0)


def _prepare(draft: Draft, patch: Patch) -> None:
    overtaken = draft.agent.stable is not None and not changed(draft, patch)
    if overtaken:
        _refuse(draft, patch, f"the configuration is not {patch.parent or 'as it came'} any more")
        return
    if patch.unserved is None and draft.world.counters is not None:
        patch = replace(patch, unserved=draft.world.counters.unserved)
    targets = concerned(draft, patch)
    results = {i.instance: _asked(draft, patch, i) for i in targets}
    new = [i for i in targets if i.instance not in patch.results]
    patch = replace(patch, results=results)
    if any(result.result == "refused" for result in results.values()):
        _refuse(draft, patch, _reasons(results))
    elif all(result.result == "prepared" for result in results.values()):
        _first(draft, patch, targets)
    elif _late(draft, patch):
        late = {n: replace(r, result="unanswered") if r.result == "waiting" else r for n, r in results.items()}
        _refuse(draft, replace(patch, results=late), f"no answer within {patch.answer_seconds:g} s from {_named(late, 'unanswered')}")
    else:
        _wait(draft, patch)
        if new:
            documents = {i.instance: draft.document(i, patch.revision) for i in new}
            draft.do(PrepareConfig(agent=draft.agent.agent, documents=documents, deadline_seconds=patch.answer_seconds))


def _first(draft: Draft, patch: Patch, targets: Sequence[Instance]) -> None:
    """Everybody would accept it: to the first ones, or to all at once."""
    before = {g.number: g.config for g in changed(draft, patch)}
    patch = replace(patch, before=before, since=draft.now)
    if patch.profile == "instant" or not targets:
        _everybody(draft, patch)
        return
    count = 1 if patch.profile == "fast" else max(1, round(len(targets) * patch.share_percent / 100))
    some = targets[: min(count, max(1, len(targets) - 1))]
    patch = replace(patch, status=PatchStatus.TRYING, first=tuple(i.instance for i in some), counted=counted(draft))
    draft.patch = replace(patch, counted_at=draft.now)
    _commit(draft, patch, some)


def _try(draft: Draft, patch: Patch) -> None:
    targets = concerned(draft, patch)
    trying = [i for i in targets if i.instance in patch.first]
    patch = replace(patch, results={**patch.results, **{i.instance: _given(draft, patch, i) for i in trying}})
    gone = sorted(set(patch.first) - {i.instance for i in trying})
    if gone:
        lost = {name: PatchResult(result="gone", at=draft.now) for name in gone}
        take_back(draft, replace(patch, results={**patch.results, **lost}), f"{', '.join(gone)} did not survive it")
        return
    problem = _trouble(draft, patch, trying)
    if problem:
        take_back(draft, patch, problem)
    elif any(patch.results[i.instance].result != "applied" for i in trying):
        _wait(draft, patch)
        _remind(draft, patch, trying)
    else:
        _look(draft, patch, trying)


def _look(draft: Draft, patch: Patch, trying: Sequence[Instance]) -> None:
    """The first ones have it; what follows depends on how they do, and with the safe profile on how they compare with the others."""
    patch = judged(draft, patch)
    sick = [i.instance for i in trying if i.unhealthy_in_a_row]
    if sick:
        take_back(draft, patch, f"{', '.join(sick)} failed a health check with it")
        return
    last = max((r.at for r in patch.results.values() if r.result == "applied" and r.at is not None), default=patch.since)
    verdict, sentence = pass_or_hold(patch, draft.since(last))
    if verdict is Verdict.FAILING:
        take_back(draft, patch, sentence)
    elif verdict is Verdict.PASSING:
        _everybody(draft, patch)
    else:
        draft.patch = replace(patch, message=sentence)
        draft.wake_in(min(0.1, patch.look_seconds))


def _everybody(draft: Draft, patch: Patch) -> None:
    """From here on it is what the generations have: instances that start now start with it."""
    before = patch.before or {g.number: g.config for g in changed(draft, patch)}
    for generation in changed(draft, patch):
        draft.put(replace(generation, config=patch.revision))
    patch = replace(patch, status=PatchStatus.APPLYING, since=draft.now, before=before, message="")
    draft.patch = patch
    others = [i for i in concerned(draft, patch) if i.instance not in patch.first]
    _commit(draft, patch, others)
    if not others:
        draft.wake_in(0)


def _apply(draft: Draft, patch: Patch) -> None:
    targets = concerned(draft, patch)
    patch = replace(patch, results={**patch.results, **{i.instance: _given(draft, patch, i) for i in targets}})
    problem = _trouble(draft, patch, targets)
    if problem:
        take_back(draft, patch, problem)
    elif all(patch.results[i.instance].result == "applied" for i in targets) and not unenforced(draft, patch):
        draft.patch = applied(draft, replace(patch, since=draft.now, watched_until=draft.now + timedelta(seconds=WATCH_SECONDS)))
        draft.wake_in(LOOK_AGAIN_SECONDS)
    else:
        _wait(draft, patch)
        _remind(draft, patch, targets)


def _watch(draft: Draft, patch: Patch) -> None:
    """Applied, and looked after for a while: whoever then keeps crashing gets back what it had."""
    fallen = [
        i.instance
        for i in draft.before.instances
        if i.status is not InstanceStatus.FAILED and _is(draft, i.instance, InstanceStatus.FAILED) and of_changed(draft, patch, i)
    ]
    withdrawn = [i.instance for i in concerned(draft, patch) if (a := _attempt(draft, patch, i)) is not None and a.result == "reverted"]
    exits = patch.exits + len(fallen)
    if withdrawn:
        take_back(draft, patch, f"{', '.join(withdrawn)} went back to its last good configuration")
    elif exits >= EXITS_MAX:
        take_back(draft, replace(patch, exits=exits), f"{exits} instances ended within {WATCH_SECONDS:g} s of it")
    elif patch.watched_until is None or draft.now >= patch.watched_until:
        draft.patch = replace(patch, exits=exits, live=False)
    elif exits != patch.exits:
        draft.patch = replace(patch, exits=exits)


def _revert(draft: Draft, patch: Patch) -> None:
    left = [i for i in concerned(draft, patch) if _report(draft, i) is not None and not _has(draft, i, None)]
    results = dict(patch.results)
    for instance in concerned(draft, patch):
        if instance not in left and results.get(instance.instance, PatchResult(result="waiting")).result == "applied":
            results[instance.instance] = PatchResult(result="reverted", at=draft.now, level=results[instance.instance].level)
    patch = replace(patch, results=results)
    if not left or draft.since(patch.since) > REVERT_SECONDS:
        draft.patch = reverted(draft, patch, stragglers=[i.instance for i in left])
        draft.wake_in(0)
        return
    _wait(draft, patch)
    if _slow(draft, patch):
        documents = {i.instance: draft.document(i) for i in left}
        draft.do(CommitConfig(agent=draft.agent.agent, documents=documents, deadline_seconds=patch.answer_seconds))


def _refuse(draft: Draft, patch: Patch, why: str) -> None:
    asked = [i for i in concerned(draft, patch) if i.instance in patch.results]
    if asked:
        documents = {i.instance: draft.document(i, patch.revision) for i in asked}
        draft.do(AbortConfig(agent=draft.agent.agent, documents=documents))
    draft.patch = refused(draft, patch, why)
    draft.wake_in(0)


def _wait(draft: Draft, patch: Patch) -> None:
    draft.patch = patch
    soon = max(LOOK_AGAIN_SECONDS, LOOK_AGAIN_EACH_SECONDS * len(patch.results))
    draft.wake_in(max(LOOK_SLOWLY_SECONDS, soon) if _slow(draft, patch) else soon)


def _slow(draft: Draft, patch: Patch) -> bool:
    return draft.since(patch.since) > SLOW_SECONDS


def _commit(draft: Draft, patch: Patch, instances: Sequence[Instance]) -> None:
    documents = {i.instance: draft.document(i, patch.revision) for i in instances if differs(draft, patch, i)}
    if documents:
        draft.do(CommitConfig(agent=draft.agent.agent, documents=documents, deadline_seconds=patch.answer_seconds))
    if instances:
        draft.wake_in(max(LOOK_AGAIN_SECONDS, LOOK_AGAIN_EACH_SECONDS * len(instances)))


def _remind(draft: Draft, patch: Patch, instances: Sequence[Instance]) -> None:
    """Who became ready only now was never told."""
    new = [i for i in instances if i.ready_at is not None and i.ready_at >= patch.since]
    _commit(draft, patch, [i for i in (instances if _slow(draft, patch) else new) if patch.results[i.instance].result == "waiting"])


def _late(draft: Draft, patch: Patch) -> bool:
    return draft.since(patch.since) > patch.answer_seconds


def _asked(draft: Draft, patch: Patch, instance: Instance) -> PatchResult:
    """How it took the question."""
    report = _report(draft, instance)
    before = patch.results.get(instance.instance, PatchResult(result="waiting"))
    if not differs(draft, patch, instance):
        return replace(before, result="prepared", at=before.at or draft.now, level=report.level if report is not None else None)
    if report is None:
        return before
    attempt = _attempt(draft, patch, instance)
    if attempt is not None and attempt.result in _FAILED:
        return PatchResult(result="refused", at=draft.now, level=report.level, problems=attempt.problems)
    key = draft.document(instance, patch.revision).key
    if key in (report.prepared, report.applied):
        return replace(before, result="prepared", at=before.at or draft.now, level=report.level)
    return before


def _given(draft: Draft, patch: Patch, instance: Instance) -> PatchResult:
    """How it took the document itself."""
    report, before = _report(draft, instance), patch.results.get(instance.instance)
    if before is not None and before.result == "applied":
        return before
    attempt = _attempt(draft, patch, instance)
    if report is not None and attempt is not None and attempt.result in _FAILED:
        return PatchResult(result="failed", at=draft.now, level=report.level, problems=attempt.problems)
    if not limited(draft, patch, instance):
        return PatchResult(result="waiting", level=report.level if report else None)
    if not differs(draft, patch, instance):
        level = LIMITED if limits_differ(draft, patch, instance) else report.level if report is not None else None
        return PatchResult(result="applied", at=draft.now, level=level)
    if report is not None and _has(draft, instance, patch.revision):
        return PatchResult(result="applied", at=draft.now, level=report.level, pending=tuple(sorted(report.pending)))
    return PatchResult(result="waiting", level=report.level if report else None)


def _trouble(draft: Draft, patch: Patch, instances: Sequence[Instance]) -> str:
    """Why it must be taken back, empty when there is no reason."""
    if patch.status is PatchStatus.APPLYING and _late(draft, patch) and unenforced(draft, patch):
        return f"the router did not take up the limits within {patch.answer_seconds:g} s"
    results = {i.instance: patch.results[i.instance] for i in instances}
    if any(r.result == "failed" for r in results.values()):
        return _reasons(results)
    if _late(draft, patch) and any(r.result == "waiting" for r in results.values()):
        return f"not confirmed within {patch.answer_seconds:g} s by {_named(results, 'waiting')}"
    return ""


def _report(draft: Draft, instance: Instance) -> ConfigReport | None:
    return (draft.world.configs or {}).get(instance.instance)


def _attempt(draft: Draft, patch: Patch, instance: Instance) -> Attempt | None:
    """What it said of this very change; an older refusal of the same content is none."""
    report = _report(draft, instance)
    attempt = report.attempt if report is not None else None
    return attempt if attempt is not None and attempt.revision == patch.revision else None


def _has(draft: Draft, instance: Instance, revision: str | None) -> bool:
    report = _report(draft, instance)
    return report is not None and report.applied == draft.document(instance, revision).key


def _is(draft: Draft, name: str, status: InstanceStatus) -> bool:
    instance = draft.instances.get(name)
    return instance is not None and instance.status is status


def _reasons(results: Mapping[str, PatchResult]) -> str:
    """Who has what against it, in one sentence."""
    return " · ".join(f"{name}: {_said(r)}" for name, r in sorted(results.items()) if r.result in ("refused", "failed"))


def _said(result: PatchResult) -> str:
    return "; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in result.problems) or "no reason given"


def _named(results: Mapping[str, PatchResult], result: str) -> str:
    return ", ".join(sorted(name for name, r in results.items() if r.result == result))
