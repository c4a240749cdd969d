"""Versions from Python packages: the releases of one package on the index that uv is configured for. The registry loads `PypiSource`.

`ref` is the release as the index spells it; `fetch` leaves the folder empty and the install step makes `.venv` there with that release.
A package carries no manifest of its own: the agent's manifest holds for every version.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement

from agent_servicing.adapters.sources.package_index import releases
from agent_servicing.adapters.sources.pep440 import to_python, to_semver
from agent_servicing.adapters.sources.project import installer
from agent_servicing.adapters.sources.work import VERSIONS_MAX, plain_environment, write
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.semver import Version, parse
from agent_servicing.core.versions import SourceVersion


class PypiSource:
    """Asks uv, in a folder of ours below `data_dir` so that no project's settings get in. `env` replaces the server's environment in tests."""

    def __init__(self, data_dir: Path, *, env: Mapping[str, str] | None = None) -> None:
        self._folder = data_dir / "sources"
        self._env = plain_environment(env)

    async def versions(self, manifest: Manifest) -> Sequence[SourceVersion]:
        """The newest `VERSIONS_MAX` releases that can be renamed to semantic versions, newest first."""
        await write("make the folder of sources", lambda: self._folder.mkdir(parents=True, exist_ok=True))
        package = Requirement(manifest.source.location).name
        found: dict[Version, SourceVersion] = {}
        for release in await releases(package, cwd=self._folder, env=self._env):
            version = to_semver(str(release.version))
            if version is not None:
                found[version] = SourceVersion(
                    version=str(version), ref=str(release.version), released_at=release.released_at, withdrawn=release.yanked
                )
        if not found:
            raise PermanentError(f"no release of {package} can be written as a semantic version; see docs/guides/manifest.md")
        return [found[version] for version in sorted(found, reverse=True)[:VERSIONS_MAX]]

    async def fetch(self, manifest: Manifest, version: str, ref: str, folder: Path) -> None:
        """Nothing: the install step brings the package."""

    def install_command(self, manifest: Manifest, version: str, folder: Path) -> Sequence[str] | None:  # noqa: ARG002 (the port's)
        """Makes `.venv` with exactly that release. Raises `PermanentError` for a version that no release is named by."""
        release = to_python(parse(version))
        if release is None:
            raise PermanentError(f"{version} is no release of {manifest.source.location}; refresh the agent's versions")
        return installer("package", f"{manifest.source.location}=={release}")
