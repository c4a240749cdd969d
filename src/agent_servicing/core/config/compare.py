"""How the instances that have a change do beside those that have it not yet: the judge of upgrades, fed with counts of instances."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from agent_servicing.core.analysis import Arm, Policy, Reading, begin, observe, verdict
from agent_servicing.core.config.patch import Patch
from agent_servicing.core.draft import Draft
from agent_servicing.core.metrics import Counts
from agent_servicing.core.status import Verdict

READING_SECONDS: Final = 0.5
"""Between two readings, as in deployments."""

POLICY: Final = Policy(error_rate_threshold=5.0, latency_threshold_ms=None)
"""Only errors: the data plane counts them per instance, latencies it does not."""


def counted(draft: Draft) -> Mapping[str, tuple[int, int]] | None:
    """Requests and errors per instance so far; None when they could not be read."""
    counters = draft.world.counters
    return None if counters is None else {name: (c.requests, c.errors) for name, c in counters.instances.items()}


def judged(draft: Draft, patch: Patch) -> Patch:
    """The evidence with one more reading, when one is due."""
    now, before = counted(draft), patch.counted
    seconds = draft.since(patch.counted_at)
    if now is None or seconds < READING_SECONDS:
        return patch
    later = replace(patch, counted=now, counted_at=draft.now)
    if before is None:
        return later
    sides = (_since(now, before, {n for n in now if (n in patch.first) is first}) for first in (True, False))
    candidate, stable = (Arm(new=Counts(routed=requests, answered=requests, errors=errors)) for requests, errors in sides)
    total = candidate.new.answered + stable.new.answered
    share = 100.0 if not stable.new.answered else 100.0 * len(patch.first) / max(len(patch.first) + 1, len(now))
    evidence = patch.evidence or begin(POLICY, 0.0)
    if not total:
        return later
    evidence, _ = observe(evidence, Reading(seconds=seconds, share=round(share), candidate=candidate, stable=stable), POLICY, closing=True)
    return replace(later, evidence=evidence)


def pass_or_hold(patch: Patch, seconds: float) -> tuple[Verdict, str]:
    """Whether to go on, `seconds` after the first ones had it. A failing comparison ends the look at once.

    Without the safe profile a look without requests is enough; with it too few of them hold, and after twice the time take back.
    """
    judgement = verdict(patch.evidence, POLICY) if patch.evidence is not None else None
    if judgement is not None and judgement.verdict is Verdict.FAILING:
        return Verdict.FAILING, f"the instances that have it do worse: {judgement.sentence}"
    if seconds < patch.look_seconds:
        return Verdict.INCONCLUSIVE, f"looking at {', '.join(patch.first)} for {patch.look_seconds:g} s"
    if patch.profile != "safe":
        return Verdict.PASSING, ""
    seen = patch.evidence.counted.stage_requests if patch.evidence is not None else 0
    if judgement is not None and (judgement.verdict is Verdict.PASSING or seen >= POLICY.min_requests):
        return Verdict.PASSING, judgement.sentence
    if seconds < 2 * patch.look_seconds:
        return Verdict.INCONCLUSIVE, f"only {seen} of {POLICY.min_requests} requests that are needed to tell"
    return Verdict.FAILING, f"only {seen} requests in {seconds:.0f} s: too few to tell whether it is good"


def _since(now: Mapping[str, tuple[int, int]], before: Mapping[str, tuple[int, int]], names: set[str]) -> tuple[int, int]:
    """Requests and errors of these instances between two readings; counts that went backwards were begun anew."""
    requests = errors = 0
    for name in names:
        then = before.get(name, (0, 0))
        fresh = now[name][0] < then[0] or now[name][1] < then[1]
        requests += now[name][0] - (0 if fresh else then[0])
        errors += now[name][1] - (0 if fresh else then[1])
    return requests, min(errors, requests)
