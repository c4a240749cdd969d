"""Python's versions (PEP 440) as semantic versions and back, for `PypiSource`. The table is in docs/guides/manifest.md.

Every rename can be undone, because the install step knows only the semantic version. What would come out in the wrong order is left out:
epochs, local versions, and several suffixes at once.
"""

from packaging.version import InvalidVersion
from packaging.version import Version as PythonVersion

from agent_servicing.core.semver import Version

_PHASES = {"a": "alpha", "b": "beta", "rc": "rc"}
_LETTERS = {word: letter for letter, word in _PHASES.items()}


def to_semver(text: str) -> Version | None:
    """The semantic version of a release, None when it has none."""
    try:
        python = PythonVersion(text)
    except InvalidVersion:
        return None
    numbers = [*python.release, 0, 0]
    major, minor, patch, *further = numbers[: max(3, len(python.release))]
    while further and not further[-1]:
        further.pop()
    suffixes = [suffix is not None for suffix in (python.pre, python.post, python.dev)]
    if python.epoch or python.local or sum(suffixes) + bool(further) > 1:
        return None
    prerelease: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    if python.pre is not None:
        prerelease = (_PHASES[python.pre[0]], str(python.pre[1]))
    elif python.dev is not None:
        prerelease = ("0", "dev", str(python.dev))  # a number sorts before any word: development comes before alpha
    elif python.post is not None:
        build = ("post", str(python.post))
    elif further:
        build = ("r", *map(str, further))
    return Version(major=major, minor=minor, patch=patch, prerelease=prerelease, build=build)


def to_python(version: Version) -> str | None:
    """The release that a semantic version stands for (`1.0` and `1.0.0` are equal to pip and uv), None when it stands for none."""
    base = ".".join(map(str, version.core))
    match version.prerelease, version.build:
        case (), ():
            return base
        case (phase, number), () if phase in _LETTERS:
            return f"{base}{_LETTERS[phase]}{number}"
        case ("0", "dev", number), ():
            return f"{base}.dev{number}"
        case (), ("post", number):
            return f"{base}.post{number}"
        case (), ("r", *numbers):
            return ".".join([base, *numbers])
        case _:
            return None
