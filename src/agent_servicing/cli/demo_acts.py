"""What `servicing demo` shows: the versions it begins with, its two acts, the hot patch between them, what happens beside them, and the canary that
it leaves to the visitor. Pure data; `demo_stage` and `demo_meanwhile` play it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from agent_servicing.cli.answers import Json
from agent_servicing.core.status import DeploymentStatus
from agent_servicing.testing.loads import SAMPLE_LOADS, Load

STARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "WowMemory": ("0.4.2",),
    "WowOrchestrator": ("1.2.4", "1.2.5"),
    "WowCache": ("1.8.2",),
    "WowDomain": ("1.4.9",),
}
"""The versions each agent is taken through before the first act; more than one gives it a past to go back to."""

INSTANCES: Final = 2
"""Of each agent, as their manifests say: two cores carry eight processes and the two of a newcomer."""

REQUESTS_PER_SECOND: Final = 72.0
"""All traffic together, without what WowOrchestrator asks of the others for each of its requests."""

_WEIGHTS: Final = {"WowMemory": 2, "WowOrchestrator": 3, "WowCache": 4, "WowDomain": 1}

CONVERSATION_REQUESTS: Final = 3
"""Short conversations, because a running one stays with its version: many new ones make a share visible within seconds."""

LOADS: Final[tuple[Load, ...]] = tuple(
    replace(load, weight=_WEIGHTS[load.agent], conversation_length=CONVERSATION_REQUESTS) for load in SAMPLE_LOADS
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One upgrade to watch. `request` is the body of the API call, `expected` how it is meant to end."""

    title: str
    agent: str
    version: str
    story: tuple[str, ...]
    request: Json
    expected: DeploymentStatus

    @property
    def body(self) -> Json:
        """The whole request."""
        return {"target_version": self.version, "strategy": "blue-green", **self.request}


HOT_PATCH: Final[Json] = {
    "config_updates": {"max_context_size_gb": 5, "timeout_seconds": 60},
    "reason": "Temporary fix for memory crash",
}
"""What happens to WowMemory between the acts: the story's own hot patch."""

HOT_PATCH_STORY: Final = (
    "WowMemory gets a smaller limit and more patience while it runs: every process is asked first, one gets it, then all.",
)

SLOW: Final = ("WowDomain", "1.5.0")
"""Agent and version that go well and are taken back by hand, because they are slow."""

DETOUR_THERE: Final[Json] = {
    "strategy": "rolling",
    "reason": "Point out names that look like known ones",
    "auto_rollback": {"enabled": True, "error_rate_threshold": 5.0},
}
DETOUR_BACK: Final[Json] = {"reason": "Answers take much longer than before"}

TRIED: Final = ("WowMemory", "0.4.3")
"""Agent and version that are tried in staging: the security update, which is left to the visitor."""

TRY: Final[Json] = {
    "reason": "Before the security update",
    "suites": ["smoke", "integration", "recall", "performance"],
    "performance_seconds": 10,
    "tolerance_percent": 25,
}
"""Tolerant, and without load: the acts and their traffic are on the same machine, which says nothing about the version."""

FREEZE: Final[Json] = {"kind": "freeze", "name": "Quarterly figures", "reason": "No changes while the figures are made"}


def past_upgrade(version: str) -> Json:
    """The request by which an agent gets its past: no traffic yet, so nothing to watch, and nobody goes back there at once."""
    return {
        "target_version": version,
        "strategy": "blue-green",
        "reason": "Keep up with the fixes",
        "blue_green": {"steps": [100], "monitor_seconds": 0},
        "keep_warm_seconds": 0,
    }


def canary() -> Act:
    """The upgrade that goes on when the acts are over: long enough to be looked at, and to be decided by the visitor."""
    return Act(
        title="For you",
        agent="WowDomain",
        version="1.5.1",
        story=(
            "WowDomain 1.5.1 mends what made 1.5.0 slow. A quarter of the conversations go to it for an hour, then the rest follows by itself,",
            "unless you decide before: advance it, pause it or take it back, on the page or here.",
        ),
        request={
            "strategy": "canary",
            "reason": "As fast as before, with the look-alikes",
            "canary": {"percent": 25, "monitor_seconds": 3600},
            "auto_rollback": {"enabled": True, "error_rate_threshold": 5.0},
        },
        expected=DeploymentStatus.COMPLETED,
    )


def acts(*, quick: bool) -> tuple[Act, Act]:
    """The good upgrade and the bad one."""
    return _good(quick=quick), _bad(quick=quick)


def _good(*, quick: bool) -> Act:
    return Act(
        title="Act 1: a good upgrade",
        agent="WowOrchestrator",
        version="1.3.0",
        story=(
            "WowOrchestrator 1.3.0 starts beside the version that serves (blue) and takes over 25, 50, then 100 % of the traffic (green).",
            "Every step is watched before the next. Conversations stay with the version they began with, open streams are not cut.",
        ),
        request={
            "reason": "Parallel steps and retries",
            "blue_green": {"steps": [25, 50, 100], "monitor_seconds": 4 if quick else 20},
            "auto_rollback": {"enabled": True, "error_rate_threshold": 5.0, "min_requests": 20 if quick else 50},
        },
        expected=DeploymentStatus.COMPLETED,
    )


def _bad(*, quick: bool) -> Act:
    return Act(
        title="Act 2: a bad upgrade",
        agent="WowCache",
        version="2.0.0",
        story=(
            "WowCache 2.0.0 is bad on purpose: it passes its tests, but under load it soon loses a quarter of its keys.",
            "Nobody touches anything: it is taken back by itself once more than 5 % of its own requests fail.",
        ),
        request={
            "reason": "Less waiting on busy keys",
            "acknowledge_breaking": True,
            "blue_green": {"steps": [50, 100] if quick else [25, 50, 100], "monitor_seconds": 20 if quick else 40},
            "bake_seconds": 60,
            "auto_rollback": {"enabled": True, "error_rate_threshold": 5.0, "min_requests": 50},
        },
        expected=DeploymentStatus.ROLLED_BACK,
    )
