"""Versions from container images: the tags of one repository of an OCI registry. The registry of drivers loads `ImageSource`.

`ref` is the digest that a tag pointed at, so a tag that moves is told like any other version that changed after its release. Images bring
no files here: a runtime that runs containers pulls them by digest, and services refuse to deploy them with any other.
"""

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio

from agent_servicing.adapters.sources.oci_registry import Registry, open_registry, repository
from agent_servicing.adapters.sources.work import VERSIONS_MAX, plain_environment
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.semver import Version, try_parse
from agent_servicing.core.versions import SourceVersion

AT_ONCE_MAX: Final = 8
"""Questions to one registry at the same time."""

TEXT_CHARS_MAX: Final = 1_000
"""How much of one annotation is kept."""

TAGS_NAMED: Final = 5
"""How many tags a message names."""

_LABEL: Final = "org.opencontainers.image."
_MANIFESTS: Final = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_INDEXES: Final = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_CONFIGS: Final = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_ACCEPT: Final = ", ".join((*_INDEXES, *_MANIFESTS))
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


class ImageSource:
    """Remembers what images say of themselves, by digest: a refresh asks for digests, and for the rest only once. `env` is for tests."""

    def __init__(self, data_dir: Path, *, env: Mapping[str, str] | None = None) -> None:  # noqa: ARG002 (the drivers')
        self._env = plain_environment(env)
        self._read: dict[str, dict[str, Mapping[str, str]]] = {}

    async def versions(self, manifest: Manifest) -> Sequence[SourceVersion]:
        """The newest `VERSIONS_MAX` tags that are semantic versions, newest first."""
        where = repository(manifest.source.location)
        async with open_registry(where, self._env) as registry:
            tags = await registry.tags()
            named = version_tags(tags)
            if not named:
                raise PermanentError(_no_versions(manifest.source.location, tags))
            digests = await _digests(registry, named)
            known = self._read.get(manifest.source.location, {})
            said = {digest: known[digest] for digest in digests.values() if digest in known}
            await _labels(registry, set(digests.values()) - set(said), said)
        self._read[manifest.source.location] = said
        return [_version(version, digests[version], said[digests[version]]) for version in sorted(digests, reverse=True)]

    async def fetch(self, manifest: Manifest, version: str, ref: str, folder: Path) -> None:  # noqa: ARG002 (the port's)
        """An image cannot be had as files."""
        raise PermanentError(f"{version} of {manifest.agent} is an image; it needs a runtime that runs containers")

    def install_command(self, manifest: Manifest, version: str, folder: Path) -> Sequence[str] | None:  # noqa: ARG002 (the port's)
        """Nothing is installed in an image."""
        return None


def version_tags(tags: Sequence[str]) -> dict[Version, str]:
    """The newest `VERSIONS_MAX` versions and their tags. A tag cannot hold `+`, so `_` stands for it: `1.2.5_patch.1`; of `v1.2.3` and
    `1.2.3` the one with `v` counts, as with git.
    """
    found: dict[Version, str] = {}
    for tag in sorted(tags):  # "v" sorts after digits
        version = try_parse(tag.removeprefix("v").replace("_", "+", 1))
        if version is not None:
            found[version] = tag
    return {version: found[version] for version in sorted(found, reverse=True)[:VERSIONS_MAX]}


async def _digests(registry: Registry, named: Mapping[Version, str]) -> dict[Version, str]:
    """A tag that went meanwhile is left out."""
    found: dict[Version, str] = {}
    limiter = anyio.CapacityLimiter(AT_ONCE_MAX)

    async def ask(version: Version, tag: str) -> None:
        async with limiter:
            digest = await registry.digest(tag, _ACCEPT)
        if digest is not None:
            found[version] = digest

    await _all([lambda v=version, t=tag: ask(v, t) for version, tag in named.items()])
    return found


async def _labels(registry: Registry, digests: set[str], said: dict[str, Mapping[str, str]]) -> None:
    """Adds to `said` what each image says of itself."""
    limiter = anyio.CapacityLimiter(AT_ONCE_MAX)

    async def ask(digest: str) -> None:
        async with limiter:
            said[digest] = await _described(registry, digest)

    await _all([lambda d=digest: ask(d) for digest in sorted(digests)])


async def _all(questions: Sequence[Any]) -> None:
    """All at once; the first that fails ends the others and is what is told."""
    try:
        async with anyio.create_task_group() as tasks:
            for question in questions:
                tasks.start_soon(question)
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def _described(registry: Registry, digest: str) -> Mapping[str, str]:
    """Annotations of the index, then of the image, then its labels: what was said last, nearest to the release, counts."""
    top = await registry.manifest(digest, _ACCEPT)
    notes = _texts(top.get("annotations"))
    inner = top
    if isinstance(top.get("manifests"), list):
        chosen = _chosen(top["manifests"])
        if chosen is None:
            return notes
        inner = await registry.manifest(chosen, _ACCEPT)
        notes = {**_texts(inner.get("annotations")), **notes}
    config = inner.get("config")
    if not isinstance(config, dict) or config.get("mediaType") not in _CONFIGS:  # an artifact of another kind: only its annotations speak
        return notes
    image = await registry.blob(str(config.get("digest")))
    settings = image.get("config")
    labels = _texts(settings.get("Labels")) if isinstance(settings, dict) else {}
    return {**_texts({f"{_LABEL}created": image.get("created")}), **labels, **notes}


def _chosen(listed: Sequence[Any]) -> str | None:
    """The digest of the image for this machine's kind, else of the first that is one for Linux."""
    wanted = _ARCHITECTURES.get(platform.machine(), platform.machine())
    images = [(each.get("platform") or {}, each.get("digest")) for each in listed if isinstance(each, dict)]
    linux = [(p.get("architecture"), digest) for p, digest in images if isinstance(p, dict) and p.get("os") == "linux"]
    return next((str(digest) for _, digest in sorted(linux, key=lambda each: each[0] != wanted)), None)


def _texts(value: object) -> dict[str, str]:
    items = value.items() if isinstance(value, dict) else ()
    return {name: text.strip()[:TEXT_CHARS_MAX] for name, text in items if isinstance(text, str) and name.startswith(_LABEL)}


def _version(version: Version, digest: str, said: Mapping[str, str]) -> SourceVersion:
    revision = said.get(f"{_LABEL}revision", "")
    summary = " ".join(said.get(f"{_LABEL}description", "").split())
    return SourceVersion(
        version=str(version),
        ref=digest,
        released_at=_date(said.get(f"{_LABEL}created", "")),
        author=" ".join(said.get(f"{_LABEL}authors", "").split()),
        summary=f"{summary} (revision {revision[:12]})".strip() if revision else summary,
    )


def _date(text: str) -> datetime | None:
    """None for what is no date, and for the zero that reproducible builds write."""
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return date if date.year > 1970 else None


def _no_versions(location: str, tags: Sequence[str]) -> str:
    named = ", ".join(tags[:TAGS_NAMED]) + (", …" if len(tags) > TAGS_NAMED else "")
    return f"{location} has no tag that is a semantic version such as 1.0.0; {f'its tags are {named}' if tags else 'it has no tags'}"
