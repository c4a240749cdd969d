"""Which versions does `[upgrade].from` mean? Text in, bounds out; upgrade checks and the manifest's validation use it. Pure.

Comparators joined by comma or space, all of which must hold: `>=1.2`, `>1`, `<=1.4`, `<2`, `=1.2.3`, `^1.2`, `~1.2.3`, `1.x`, `*`.
A prerelease of an excluded upper bound is excluded with it (`<2` does not allow `2.0.0-rc.1`), and build metadata never matters, so that
a custom patch may go wherever its base may go.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from agent_servicing.core.errors import FieldError, Invalid
from agent_servicing.core.semver import VERSION_MAX_CHARS, Version, parse

_ALLOWED = 'allowed are comparators joined by commas, such as ">=1.2", ">=1.2,<2", "^1.2", "~1.2.3", "=1.2.3" or "1.x"'
_COMPARATOR = re.compile(r"(>=|<=|>|<|==|=|\^|~)?\s*v?([0-9]+|[xX*])(?:\.([0-9]+|[xX*]))?(?:\.([0-9]+|[xX*]))?(?:-([0-9A-Za-z.-]+))?")
_LOWEST_PRERELEASE = ("0",)

Relation = Literal[">=", ">", "<=", "<"]


class Bound(NamedTuple):
    """One side of a range."""

    relation: Relation
    version: Version

    def allows(self, version: Version) -> bool:
        this, bound = version.precedence, self.version.precedence
        match self.relation:
            case ">=":
                return this >= bound
            case ">":
                return this > bound
            case "<=":
                return this <= bound
            case "<":
                return this < bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Versions between bounds, all of which must hold; no bound allows every version. `text` is how it was written."""

    text: str
    bounds: tuple[Bound, ...]

    def allows(self, version: Version) -> bool:
        return all(bound.allows(version) for bound in self.bounds)


def parse_range(text: str) -> Range:
    """The range that `text` spells, empty for any version; raises `Invalid` that says what is allowed."""
    comparators = re.sub(r"([<>=^~])\s+", r"\1", text.strip())
    words = [word for word in re.split(r"[,\s]+", comparators) if word]
    if len(text) > VERSION_MAX_CHARS or (not words and text.strip()):
        raise _bad_range(text)
    return Range(text=text, bounds=tuple(bound for word in words for bound in _bounds(word, text)))


def _bounds(word: str, text: str) -> tuple[Bound, ...]:
    match = _COMPARATOR.fullmatch(word)
    if match is None:
        raise _bad_range(text)
    relation, *numbers, prerelease = match.groups()
    fixed = [int(number) for number in _until_wildcard(numbers)]
    if prerelease and len(fixed) < 3:
        raise _bad_range(text)
    if not fixed:
        return _anything(relation, text)
    suffix = f"-{prerelease}" if prerelease else ""
    try:
        low = parse(".".join(map(str, [*fixed, 0, 0][:3])) + suffix)
    except Invalid:
        raise _bad_range(text) from None
    return _between(relation, low, len(fixed))


def _between(relation: str | None, low: Version, fixed: int) -> tuple[Bound, ...]:
    """The bounds of one comparator whose first `fixed` numbers were written."""
    match relation:
        case ">=":
            return (Bound(">=", low),)
        case "<":
            return (Bound("<", low if low.prerelease else _ceiling(low.core)),)
        case ">":
            return (Bound(">", low) if fixed == 3 else Bound(">=", _next(low, fixed)),)
        case "<=":
            return (Bound("<=", low) if fixed == 3 else Bound("<", _ceiling(_next(low, fixed).core)),)
        case "^":
            first_that_counts = next((place for place, number in enumerate(low.core[:fixed], 1) if number), fixed)
            return Bound(">=", low), Bound("<", _ceiling(_next(low, first_that_counts).core))
        case "~":
            return Bound(">=", low), Bound("<", _ceiling(_next(low, min(fixed, 2)).core))
        case _ if fixed == 3:
            return Bound(">=", low), Bound("<=", low)
        case _:
            return Bound(">=", low), Bound("<", _ceiling(_next(low, fixed).core))


def _until_wildcard(numbers: Sequence[str | None]) -> list[str]:
    fixed: list[str] = []
    for number in numbers:
        if number is None or number in "xX*":
            break
        fixed.append(number)
    return fixed


def _anything(relation: str | None, text: str) -> tuple[Bound, ...]:
    if relation in {">", "<"}:  # nothing is above or below everything: surely a mistake
        raise _bad_range(text)
    return ()


def _next(version: Version, place: int) -> Version:
    """The first version whose `place`-th number (from 1) is one higher."""
    major, minor, patch = version.core
    match place:
        case 1:
            return Version(major=major + 1, minor=0, patch=0)
        case 2:
            return Version(major=major, minor=minor + 1, patch=0)
        case _:
            return Version(major=major, minor=minor, patch=patch + 1)


def _ceiling(core: tuple[int, int, int]) -> Version:
    """An excluded upper bound that excludes its prereleases too."""
    major, minor, patch = core
    return Version(major=major, minor=minor, patch=patch, prerelease=_LOWEST_PRERELEASE)


def _bad_range(text: str) -> Invalid:
    return Invalid(f"{text!r} is not a version range; {_ALLOWED}", errors=(FieldError(path="upgrade.from", message=_ALLOWED),))
