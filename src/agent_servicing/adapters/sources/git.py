"""Versions from a git repository: its semver tags. The registry loads `GitSource`; services list with it, the runtime fetches with it.

Notes and changelog come from tags and commits (see `git_tags`), files from the tagged commit without its history. `ref` is the commit, so
a tag that was moved shows as another ref of the same version, and what was installed once can be fetched again from the mirror.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from agent_servicing.adapters.sources import git_tags
from agent_servicing.adapters.sources.git_mirror import GitMirror
from agent_servicing.adapters.sources.members import unpack
from agent_servicing.adapters.sources.project import install_command
from agent_servicing.adapters.sources.work import read, shown, write
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.versions import SourceVersion

TAGS_NAMED = 10
"""How many unsuitable tags an error names."""


class GitSource:
    """Keeps one bare mirror per agent in `data_dir/sources/AGENT.git`. `env` replaces the server's environment for `git` in tests."""

    def __init__(self, data_dir: Path, *, env: Mapping[str, str] | None = None) -> None:
        self._folder = data_dir / "sources"
        self._env = env
        self._locks: dict[str, anyio.Lock] = {}
        self._read: dict[str, tuple[object, tuple[SourceVersion, ...]]] = {}

    async def versions(self, manifest: Manifest) -> Sequence[SourceVersion]:
        """The newest `VERSIONS_MAX` versions, newest first, after refreshing the mirror."""
        location, mirror = manifest.source.location, self._mirror(manifest)
        async with self._lock(manifest):
            await mirror.refresh(location)
            return await read(f"read the mirror of {shown(location)}", lambda: self._versions(manifest, mirror))

    async def fetch(self, manifest: Manifest, version: str, ref: str, folder: Path) -> None:
        """Write the files of commit `ref` into `folder`; refreshes the mirror only when it lacks the commit."""
        mirror = self._mirror(manifest)
        if not await read(f"look for {version}", lambda: _has(mirror, ref)):  # else a slow remote would hold up a rollback
            async with self._lock(manifest):
                await mirror.refresh(manifest.source.location)
        await write(f"write the files of {version}", lambda: _unpack(mirror, version, ref, folder))

    def install_command(self, manifest: Manifest, version: str, folder: Path) -> Sequence[str] | None:  # noqa: ARG002 (the port's)
        """See `project.install_command`."""
        return install_command(folder)

    def _versions(self, manifest: Manifest, mirror: GitMirror) -> tuple[SourceVersion, ...]:
        with mirror.open() as repo:
            seen = (sorted(repo.get_refs().items()), manifest.config.schema)
            known = self._read.get(manifest.agent)
            if known is None or known[0] != seen:
                found = tuple(git_tags.read_versions(repo, default_schema=manifest.config.schema))
                if not found:
                    raise PermanentError(_no_versions(manifest.source.location, git_tags.other_tags(repo)))
                known = (seen, found)
                self._read[manifest.agent] = known
            return known[1]

    def _mirror(self, manifest: Manifest) -> GitMirror:
        return GitMirror(self._folder / f"{manifest.agent}.git", env=self._env)

    def _lock(self, manifest: Manifest) -> anyio.Lock:
        return self._locks.setdefault(manifest.agent, anyio.Lock())


def _has(mirror: GitMirror, ref: str) -> bool:
    if not (mirror.folder / "HEAD").is_file():
        return False
    with mirror.open() as repo:
        return git_tags.has_commit(repo, ref)


def _unpack(mirror: GitMirror, version: str, ref: str, folder: Path) -> None:
    with mirror.open() as repo:
        if not git_tags.has_commit(repo, ref):
            raise PermanentError(f"commit {ref} of {version} is no longer in the repository; refresh the agent's versions")
        unpack(git_tags.members(repo, ref), folder)


def _no_versions(location: str, others: Sequence[str]) -> str:
    named = ", ".join(others[:TAGS_NAMED]) + (", …" if len(others) > TAGS_NAMED else "")
    seen = f"its tags are {named}" if others else "it has no tags"
    return f"the repository {shown(location)} has no semantic version tag such as v1.0.0; {seen}"
