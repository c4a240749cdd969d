"""What a source's versions mean for one agent: rows made from `SourceVersion`s, and sentences made from rows; pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Final

from agent_servicing.core.errors import Invalid
from agent_servicing.core.manifest import Manifest, UpgradeNotes
from agent_servicing.core.semver import Version, parse, try_parse
from agent_servicing.core.standing import Standing
from agent_servicing.core.versions import SourceVersion, by_kind, check_upgrade, step
from agent_servicing.manifest import merge
from agent_servicing.store.codec import VersionBody
from agent_servicing.store.queries import VersionRow

VERSIONS_KEPT: Final = 500
"""Versions remembered per agent, the newest; those in use come on top."""

_WITHOUT_CONTAINERS: Final = frozenset({"process"})
"""Runtimes that need a version's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """What one refresh changes: rows to write, names to delete, which rows are new, and which have just been found moved."""

    write: tuple[VersionRow, ...] = ()
    delete: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    moved: tuple[VersionRow, ...] = ()


def version_row(base: Manifest, found: SourceVersion, *, now: datetime) -> VersionRow:
    """One version as the source shows it, its manifest laid on the agent's. A manifest that cannot be used becomes the row's `problem`."""
    manifest, problem = base, ""
    try:
        manifest = merge(base, found.manifest_text, origin=f"agent.toml of {found.version}")
    except Invalid as error:
        problem = "; ".join((error.message, *(f"{e.path}: {e.message}" for e in error.errors)))
    if not problem and manifest.source.kind == "image" and manifest.run.runtime in _WITHOUT_CONTAINERS:
        problem = f"it is an image, and run.runtime is {manifest.run.runtime!r}, which runs no containers"
    if found.manifest_text is None or problem:
        # The agent's own notes speak about the version it was added with, not about every one there will ever be.
        manifest = replace(manifest, upgrade=UpgradeNotes())
    kinds = {change.kind for change in found.changes}
    return VersionRow(
        version=str(parse(found.version)),
        ref=found.ref,
        released_at=found.released_at,
        discovered_at=now,
        manifest=manifest,
        body=VersionBody(
            author=found.author,
            summary=found.summary,
            changes=found.changes,
            files=found.files,
            standing=_standing(found),
            standing_reason=found.withdrawn or found.deprecated or "",
        ),
        security=manifest.upgrade.security or "security" in kinds,
        critical=manifest.upgrade.critical,
        problem=problem,
    )


def _standing(found: SourceVersion) -> Standing:
    if found.withdrawn is not None:
        return Standing.WITHDRAWN
    return Standing.DEPRECATED if found.deprecated is not None else Standing.AVAILABLE


def reconciled(known: Mapping[str, VersionRow], found: Sequence[VersionRow], *, used: Collection[str]) -> Merge:
    """What to change so that `known` is what the source has now. Versions in `used`, and images, keep their artifact, and what the source
    says of them is told all the same. Uploaded ones are not the source's: it neither changes nor removes them.
    """
    uploaded = {name for name, row in known.items() if row.body.upload is not None}
    newest = {row.version: row for row in newest_first(found)[:VERSIONS_KEPT] if row.version not in uploaded}
    write, new, moved = [], [], []
    for name, row in newest.items():
        before = replace(known[name], mark=None) if name in known else None
        if before is None:
            new.append(name)
            write.append(row)
        elif before.ref != row.ref and (name in used or _is_pinned(before, row)):
            body = replace(before.body, standing=row.body.standing, standing_reason=row.body.standing_reason)
            marked = replace(before, moved_ref=row.ref, body=body)
            if marked != before:
                write.append(marked)
            if before.moved_ref != row.ref:
                moved.append(marked)
        elif replace(before, discovered_at=row.discovered_at) != row:
            write.append(replace(row, discovered_at=before.discovered_at))
    gone = tuple(sorted(name for name in known if name not in newest and name not in used and name not in uploaded))
    return Merge(write=tuple(write), delete=gone, new=tuple(new), moved=tuple(moved))


def _is_pinned(before: VersionRow, row: VersionRow) -> bool:
    """An image is pulled again and again, on every machine it runs on: its version means the digest first seen, deployed or not."""
    return before.manifest.source.kind == "image" and before.manifest.source == row.manifest.source


def newest_first(rows: Iterable[VersionRow]) -> list[VersionRow]:
    return sorted(rows, key=lambda row: order(row.version), reverse=True)


@lru_cache(maxsize=8192)
def order(version: str) -> Version:
    """A version to sort by. Stored ones are well-formed; anything else sorts first instead of breaking a list."""
    return try_parse(version) or Version(major=0, minor=0, patch=0, prerelease=("0",))


def newest_stable(rows: Sequence[VersionRow]) -> VersionRow | None:
    """The newest usable version that is no prerelease; the newest prerelease when there is nothing else. Of those that nobody advises
    against, where there is any; never a withdrawn one.
    """
    usable = [row for row in newest_first(rows) if not row.problem and row.standing is not Standing.WITHDRAWN]
    usable = [row for row in usable if row.standing is Standing.AVAILABLE] or usable
    return next((row for row in usable if not order(row.version).prerelease), usable[0] if usable else None)


def between(rows: Iterable[VersionRow], start: str | None, end: str) -> list[VersionRow]:
    """The versions after `start` up to and with `end`, oldest first; only `end` without a start."""
    high, low = order(end), order(start) if start else None
    chosen = [row for row in rows if order(row.version) == high or (low is not None and low < order(row.version) < high)]
    # A prerelease on the way tells the same changes as the release after it, unless it is what one goes to.
    return [row for row in reversed(newest_first(chosen)) if row.version == end or not order(row.version).prerelease]


def breaking_notes(rows: Iterable[VersionRow]) -> tuple[str, ...]:
    """What breaks, from manifests and changelogs, each note once."""
    notes = (note for row in rows for note in (*row.manifest.upgrade.breaking, *by_kind(row.body.changes).get("breaking", ())))
    return tuple(dict.fromkeys(notes))


def ranges(rows: Iterable[VersionRow]) -> dict[str, str]:
    """From which versions each usable version may be reached."""
    return {row.version: row.manifest.upgrade.from_range for row in rows if not row.problem}


def compatibility(rows: Sequence[VersionRow], current: str | None, row: VersionRow) -> tuple[bool, str]:
    """Whether an upgrade to it would be accepted (breaking notes acknowledged), and why not."""
    if row.problem:
        return False, f"cannot be used: {row.problem}"
    if row.standing is Standing.WITHDRAWN and row.version != current:
        return False, f"is withdrawn: {row.standing_reason}"
    if current is None:
        return True, "can be installed"
    notes = breaking_notes(between(rows, current, row.version))
    from_range = row.manifest.upgrade.from_range
    against = check_upgrade(current, row.version, from_range, notes, acknowledged=True, available=ranges(rows))
    if against:
        return False, "; ".join(f"{refusal.sentence} ({refusal.hint})" if refusal.hint else refusal.sentence for refusal in against)
    breaks = bool(notes) or step(parse(current), parse(row.version)) == "major"
    return True, f"can follow {current}" + (", once its breaking changes are acknowledged" if breaks else "")
