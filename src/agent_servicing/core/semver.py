"""One semantic version: text in, an ordered value out. Sources, ranges and upgrade checks compare with it. Standard library only.

Precedence follows semver.org 2.0.0, with one extension the product needs: build metadata orders after its base, identifier by identifier,
so that a custom patch `1.2.5+patch.2` comes after `1.2.5` and after `1.2.5+patch.1`. The order is thereby total: two versions are equal
only when they are written alike. The `semver` package, which ignores build metadata, is the oracle of the tests.
"""

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Literal

from agent_servicing.core.errors import FieldError, Invalid

VERSION_MAX_CHARS = 128
"""Longest version text: it becomes a folder name and a header value."""

Step = Literal["major", "minor", "patch", "prerelease", "same", "downgrade"]

_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRERELEASE_PART = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"v?({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_PRERELEASE_PART}(?:\.{_PRERELEASE_PART})*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
_ALLOWED = "allowed is MAJOR.MINOR.PATCH with an optional -prerelease and +build, for example 1.2.3, 1.3.0-rc.1 or 1.2.3+patch.1"


@total_ordering
@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One semantic version. `prerelease` and `build` are their dot-separated identifiers; empty means none."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()
    build: tuple[str, ...] = ()

    @property
    def core(self) -> tuple[int, int, int]:
        return self.major, self.minor, self.patch

    @property
    def precedence(self) -> tuple[object, ...]:
        """Sorts as semver.org orders, build metadata left out."""
        return self.core, not self.prerelease, tuple(map(_identifier_key, self.prerelease))

    def __lt__(self, other: "Version") -> bool:
        return self._key() < other._key()

    def __str__(self) -> str:
        prerelease = "-" + ".".join(self.prerelease) if self.prerelease else ""
        build = "+" + ".".join(self.build) if self.build else ""
        return f"{self.major}.{self.minor}.{self.patch}{prerelease}{build}"

    def _key(self) -> tuple[object, ...]:
        return self.precedence, tuple(map(_identifier_key, self.build))


def parse(text: str) -> Version:
    """The version that `text` spells, a leading `v` allowed; raises `Invalid` that says what is allowed."""
    match = _VERSION.fullmatch(text) if len(text) <= VERSION_MAX_CHARS else None
    if match is None:
        shown = text if len(text) <= VERSION_MAX_CHARS else text[:VERSION_MAX_CHARS] + "…"
        message = f"{shown!r} is not a semantic version; {_ALLOWED}"
        raise Invalid(message, errors=(FieldError(path="version", message=_ALLOWED),))
    major, minor, patch, prerelease, build = match.groups()
    return Version(
        major=int(major),
        minor=int(minor),
        patch=int(patch),
        prerelease=tuple(prerelease.split(".")) if prerelease else (),
        build=tuple(build.split(".")) if build else (),
    )


def try_parse(text: str) -> Version | None:
    """Like `parse`, None for text that is no version: for names that were not written as versions, such as tags."""
    try:
        return parse(text)
    except Invalid:
        return None


def step(start: Version, end: Version) -> Step:
    """What kind of move it is. A difference in build metadata alone is a patch; from a prerelease towards its own release, `prerelease`."""
    if start == end:
        return "same"
    if end < start:
        return "downgrade"
    if start.major != end.major:
        return "major"
    if start.minor != end.minor:
        return "minor"
    if start.patch != end.patch or start.prerelease == end.prerelease:
        return "patch"
    return "prerelease"


def _identifier_key(identifier: str) -> tuple[bool, int, str]:
    """Numbers by value and before words; words by their ASCII order. The text last, so that `01` and `1` in build metadata differ."""
    number = identifier.isdigit()
    return not number, int(identifier) if number else 0, identifier
