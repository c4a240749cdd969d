"""One change of an agent's configuration on its way to the running instances, as the engine keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from agent_servicing.core.analysis import Evidence
from agent_servicing.core.config.layers import Layers
from agent_servicing.core.config.report import Level, Problem

Profile = Literal["fast", "safe", "instant"]


class PatchStatus(StrEnum):
    """preparing: every instance is asked whether it would accept. trying: the first ones have it. applying: all get it. applied: all have it.

    reverting: it is being taken back. reverted, refused: final, nothing of it is left. restarting: a rolling restart brings it.
    """

    PREPARING = "preparing"
    TRYING = "trying"
    APPLYING = "applying"
    APPLIED = "applied"
    REVERTING = "reverting"
    REVERTED = "reverted"
    REFUSED = "refused"
    RESTARTING = "restarting"


PATCH_OPEN: Final = frozenset({PatchStatus.PREPARING, PatchStatus.TRYING, PatchStatus.APPLYING, PatchStatus.REVERTING})
"""While one of these, no other change is begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchResult:
    """How one instance took it. `result` ∈ waiting, prepared, applied, refused, failed, unanswered, reverted, gone."""

    result: str
    at: datetime | None = None
    level: Level | Literal["runtime"] | None = None
    problems: tuple[Problem, ...] = ()
    pending: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """`revision` is the one it brings, `before` the revision of each generation it changes. Times in seconds.

    `first` are the instances that have it before the others, `evidence` is what comparing them with the others has shown. `since`: when
    the present status began. `watched_until`: so long after it was applied two exits take it back. `undo`: the revision whose content it
    brings back, for the change of an operator who wants an earlier one. `live`: there is still something to do for it. `unserved`:
    requests that had found nobody when it began; `downtime_seconds` is measured from that at its end, None when it could not be read.
    """

    revision: str
    parent: str
    layers: Layers
    profile: Profile
    actor: str
    reason: str
    requested_at: datetime
    look_seconds: float = 1.0
    share_percent: float = 0.0
    answer_seconds: float = 3.0
    status: PatchStatus = PatchStatus.PREPARING
    since: datetime
    before: Mapping[int, str] = field(default_factory=dict)
    first: tuple[str, ...] = ()
    results: Mapping[str, PatchResult] = field(default_factory=dict)
    applied_at: datetime | None = None
    watched_until: datetime | None = None
    unserved: int | None = None
    downtime_seconds: float | None = None
    exits: int = 0
    counted: Mapping[str, tuple[int, int]] | None = None
    counted_at: datetime | None = None
    evidence: Evidence | None = None
    undo: str | None = None
    live: bool = True
    message: str = ""

    @property
    def open(self) -> bool:
        return self.status in PATCH_OPEN
