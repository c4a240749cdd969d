"""Versions from a folder: sub-folders and archives named by version. The registry loads `PathSource`; services list, the runtime fetches.

`1.2.3/`, `v1.2.3/`, `1.2.3.tar.gz`, `1.2.3.tgz`, `1.2.3.zip`; the first of these counts when a version is there twice. `ref` is a hash of the
content, so what changed after it was listed is noticed. Hashes are kept in memory and made anew only when size, time or names changed.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from agent_servicing.adapters.sources.archive import ARCHIVE_ENDINGS, archive_members
from agent_servicing.adapters.sources.folder import content_hash, fingerprint, folder_members
from agent_servicing.adapters.sources.members import Member, below, read_chunks, single_root, text, unpack
from agent_servicing.adapters.sources.project import install_command
from agent_servicing.adapters.sources.schema_file import schema_path
from agent_servicing.adapters.sources.work import VERSIONS_MAX, read, write
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.semver import Version, try_parse
from agent_servicing.core.versions import SourceVersion
from agent_servicing.manifest import MANIFEST_NAME

NAMES_MAX = 10
"""How many unsuitable names an error tells."""

ENTRIES_MAX = 10_000
"""Entries of the folder that are looked at."""


class PathSource:
    """`source.path` must be absolute by now (`manifest.resolve_source`). `data_dir` is not used: nothing is copied before it is fetched."""

    def __init__(self, data_dir: Path) -> None:  # noqa: ARG002 (every source is made alike)
        self._known: dict[str, dict[Path, tuple[object, SourceVersion]]] = {}

    async def versions(self, manifest: Manifest) -> Sequence[SourceVersion]:
        """The newest `VERSIONS_MAX` versions, newest first."""
        return await read(f"read {manifest.source.location}", partial(self._versions, manifest))

    async def fetch(self, manifest: Manifest, version: str, ref: str, folder: Path) -> None:
        """Copy or unpack that version into `folder`; refused when its content is no longer what `ref` says."""
        await write(f"write the files of {version}", partial(_fetch, manifest, version, ref, folder))

    def install_command(self, manifest: Manifest, version: str, folder: Path) -> Sequence[str] | None:  # noqa: ARG002 (the port's)
        """See `project.install_command`."""
        return install_command(folder)

    def _versions(self, manifest: Manifest) -> list[SourceVersion]:
        entries = _entries(manifest)
        known = self._known.get(manifest.source.location, {})
        current: dict[Path, tuple[object, SourceVersion]] = {}
        for version in sorted(entries, reverse=True)[:VERSIONS_MAX]:
            path = entries[version]
            seen = (fingerprint(path), manifest.config.schema)
            same = path in known and known[path][0] == seen
            current[path] = known[path] if same else (seen, _source_version(version, path, manifest.config.schema))
        self._known[manifest.source.location] = current
        return [version for _, version in current.values()]


def _entries(manifest: Manifest) -> dict[Version, Path]:
    """Every version of the folder and where it is."""
    location = Path(manifest.source.location)
    if not location.is_absolute():
        raise PermanentError(f"source.path {location} is relative; give the manifest by its path, or make it absolute")
    if not location.is_dir():
        raise PermanentError(f"there is no folder {location}; make it, or correct source.path in the manifest")
    found: dict[Version, tuple[int, str, Path]] = {}
    others = []
    for path in sorted(location.iterdir())[:ENTRIES_MAX]:
        rank, name = _rank(path)
        version = try_parse(name) if rank is not None else None
        if rank is None or version is None:
            others.append(path.name)
        elif version not in found or (rank, path.name) < found[version][:2]:
            found[version] = (rank, path.name, path)
    if not found:
        raise PermanentError(_nothing(location, others))
    return {version: path for version, (_, _, path) in found.items()}


def _rank(path: Path) -> tuple[int | None, str]:
    """How much this form is preferred (0 most) and the name without its ending; None when it is no form of a version."""
    if path.is_dir():
        return 0, path.name
    for rank, ending in enumerate(ARCHIVE_ENDINGS, 1):
        if path.name.endswith(ending) and path.is_file():
            return rank, path.name.removesuffix(ending)
    return None, path.name


def _source_version(version: Version, path: Path, default_schema: str | None) -> SourceVersion:
    try:
        root = _root(path)
        manifest_text = text(below(root, _members(path)), MANIFEST_NAME)
        schema = schema_path(manifest_text, default_schema)
        schema_text = text(below(root, _members(path)), schema) if schema else None
    except PermanentError:  # damaged: listed all the same, because the others are fine; fetching it tells what is wrong
        manifest_text = schema = schema_text = None
    return SourceVersion(
        version=str(version),
        ref=_ref(path),
        released_at=datetime.fromtimestamp(path.stat().st_mtime, tz=UTC),
        manifest_text=manifest_text,
        files={schema: schema_text} if schema and schema_text is not None else {},
    )


def _fetch(manifest: Manifest, version: str, ref: str, folder: Path) -> None:
    path = next((path for known, path in _entries(manifest).items() if str(known) == version), None)
    if path is None:
        raise PermanentError(f"{version} is no longer in {manifest.source.location}; refresh the agent's versions")
    if _ref(path) != ref:
        raise PermanentError(f"{path} has changed since its versions were read; refresh the agent's versions, or restore it")
    unpack(below(_root(path), _members(path)), folder)


def _members(path: Path) -> Iterable[Member]:
    return folder_members(path) if path.is_dir() else archive_members(path)


def _root(path: Path) -> str:
    return "" if path.is_dir() else single_root(_members(path))


def _ref(path: Path) -> str:
    """`sha256:` and the hash of the folder's files or the archive's bytes."""
    if path.is_dir():
        return content_hash(path)
    digest = hashlib.sha256()
    for chunk in read_chunks(path):
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _nothing(location: Path, others: Sequence[str]) -> str:
    named = ", ".join(others[:NAMES_MAX]) + (", …" if len(others) > NAMES_MAX else "")
    return f"{location} holds no version such as 1.0.0/ or 1.0.0.tar.gz; it holds {named or 'nothing'}"
