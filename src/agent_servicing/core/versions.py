"""What services and the page ask about versions: what changed, what is newer, may it follow, what can be gone back to. Pure.

Sources hand in `SourceVersion`s; everything else here is text in, small values out. Order and ranges are in `semver` and `version_range`.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from agent_servicing.core.semver import Step, Version, parse, step, try_parse
from agent_servicing.core.version_range import Range, parse_range

__all__ = [
    "ROLLBACK_POINTS",
    "Change",
    "Refusal",
    "RollbackPoint",
    "SourceVersion",
    "Step",
    "Update",
    "Version",
    "available_updates",
    "by_kind",
    "check_upgrade",
    "parse",
    "parse_range",
    "rollback_points",
    "step",
    "try_parse",
    "upgrade_path",
]

ROLLBACK_POINTS = 5
"""How many versions an operator can go back to."""

UpdateType = Literal["major", "minor", "patch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of a changelog. `kind`: added, improved, fixed, security, breaking or other."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVersion:
    """What a source says about one version. `manifest_text` is its own `agent.toml`, None when the source has none.

    `ref` names exactly these files (a commit id, a content hash, a package version): the same version with another ref was changed
    after it was released. `files` holds text files that its manifest names, by path (today: the configuration's JSON Schema).
    `withdrawn` and `deprecated` are the source's own words on why it should not be used, None when it says nothing of the kind.
    """

    version: str
    ref: str
    released_at: datetime | None = None
    author: str = ""
    summary: str = ""
    changes: tuple[Change, ...] = ()
    manifest_text: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    withdrawn: str | None = None
    deprecated: str | None = None


def by_kind(changes: Sequence[Change]) -> dict[str, list[str]]:
    """Changelog lines grouped for display, kinds in the order readers care about, empty ones left out."""
    order = ("breaking", "security", "added", "improved", "fixed", "other")
    return {kind: lines for kind in order if (lines := [c.text for c in changes if c.kind == kind])}


class Update(NamedTuple):
    """A version that could follow the current one."""

    version: str
    type: UpdateType


def available_updates(current: str, versions: Iterable[str]) -> tuple[Update, ...]:
    """What is newer than `current`, newest first. Prereleases count only for who already runs one; a step within one counts as patch."""
    base = parse(current)
    newer = sorted({v for v in map(parse, versions) if v > base and (base.prerelease or not v.prerelease)}, reverse=True)
    return tuple(Update(str(version), _update_type(step(base, version))) for version in newer)


class RollbackPoint(NamedTuple):
    """A version that served before and since when it did."""

    version: str
    deployed_at: datetime


def rollback_points(history: Sequence[tuple[str, datetime]], current: str | None) -> tuple[RollbackPoint, ...]:
    """The last `ROLLBACK_POINTS` distinct versions before `current`, newest first.

    `history` holds completed deployments as (version, deployed at), oldest first; a version deployed twice counts at its latest time.
    """
    points: dict[str, RollbackPoint] = {}
    for version, deployed_at in reversed(history):
        if version != current and version not in points:
            points[version] = RollbackPoint(version, deployed_at)
    return tuple(points.values())[:ROLLBACK_POINTS]


class Refusal(NamedTuple):
    """Why an upgrade may not happen: a stable slug, a sentence, and what to do instead."""

    code: str
    sentence: str
    hint: str


def check_upgrade(
    current: str | None,
    target: str,
    from_range: str = "",
    breaking: Sequence[str] = (),
    *,
    acknowledged: bool = False,
    available: Mapping[str, str] | None = None,
) -> tuple[Refusal, ...]:
    """Every reason against going from `current` to `target`; empty when it may happen. `current` None is a first installation.

    `from_range` and `breaking` are the target's; `available` maps every known version to its own range, to name a way round.
    Raises `Invalid` when a version or range is malformed.
    """
    end, allowed = parse(target), parse_range(from_range)
    if current is None:
        return ()
    start = parse(current)
    kind = step(start, end)
    if kind == "same":
        return (Refusal("same_version", f"{end} is the version that is running", "use restart to replace its instances"),)
    if kind == "downgrade":
        return (Refusal("downgrade", f"{end} is older than the running {start}", "use rollback to go back to an earlier version"),)
    refusals = []
    if (kind == "major" or breaking) and not acknowledged:
        refusals.append(_not_acknowledged(start, end, breaking))
    if not allowed.allows(start):
        refusals.append(_no_path(start, end, allowed, available or {}))
    return tuple(refusals)


def upgrade_path(current: str, target: str, available: Mapping[str, str]) -> tuple[str, ...]:
    """The shortest chain of allowed upgrades, without `current`, with `target`; the newest stops preferred, empty when there is none."""
    start, end = parse(current), parse(target)
    between = [(v, parse_range(available[text])) for text in available if start < (v := parse(text)) <= end]
    between.sort(key=lambda known: known[0], reverse=True)
    came_from: dict[Version, Version | None] = {start: None}
    queue = deque([start])
    while queue and end not in came_from:
        here = queue.popleft()
        for version, allowed in between:
            if version > here and version not in came_from and allowed.allows(here):
                came_from[version] = here
                queue.append(version)
    return _trace(came_from, start, end)


def _update_type(kind: Step) -> UpdateType:
    return kind if kind in {"major", "minor"} else "patch"


def _trace(came_from: Mapping[Version, Version | None], start: Version, end: Version) -> tuple[str, ...]:
    chain: list[str] = []
    here: Version | None = end if end in came_from else None
    while here is not None and here != start:
        chain.append(str(here))
        here = came_from[here]
    return tuple(reversed(chain))


def _not_acknowledged(start: Version, end: Version, breaking: Sequence[str]) -> Refusal:
    notes = ": " + "; ".join(breaking) if breaking else "; its developer left no notes"
    return Refusal(
        "breaking_not_acknowledged",
        f"going from {start} to {end} breaks compatibility{notes}",
        "read the notes, then ask again with acknowledge_breaking",
    )


def _no_path(start: Version, end: Version, allowed: Range, available: Mapping[str, str]) -> Refusal:
    through = upgrade_path(str(start), str(end), available)[:-1]
    hint = "upgrade to " + ", then to ".join((*through, str(end))) if through else "no known version leads there; ask its developer"
    return Refusal("path_not_allowed", f"{end} can be reached only from {allowed.text}, and {start} is running", hint)
