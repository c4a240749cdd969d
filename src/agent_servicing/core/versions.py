"""Semantic versions: order, kind of step, upgrade paths, rollback points, changelog grouping. Standard library only.

Precedence follows semver.org 2.0.0, with one extension the product needs: build metadata `+patch.N` (a custom patch on a base version)
orders after its base.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

ROLLBACK_POINTS = 5
"""How many versions an operator can go back to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of a changelog. `kind`: added, improved, fixed, security, breaking or other."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVersion:
    """What a source says about one version. `manifest_text` is its own `agent.toml`, None when the source has none."""

    version: str
    ref: str
    released_at: datetime | None = None
    author: str = ""
    summary: str = ""
    changes: tuple[Change, ...] = ()
    manifest_text: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def by_kind(changes: Sequence[Change]) -> dict[str, list[str]]:
    """Changelog lines grouped for display, kinds in the order readers care about, empty ones left out."""
    order = ("breaking", "security", "added", "improved", "fixed", "other")
    return {kind: lines for kind in order if (lines := [c.text for c in changes if c.kind == kind])}
