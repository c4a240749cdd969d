"""Repositories, archives and manifests for the tests of version sources. Repositories are made by the `git` program, not by what reads them."""

import io
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent_servicing.core.manifest import ConfigSpec, Manifest, Run, Source, SourceKind

AGENT_TOML = """
[agent]
id = "WowCache"
[source]
path = "."
[run]
command = ["python", "-m", "wow_cache"]
[config]
schema = "schemas/config.schema.json"
"""
SCHEMA = '{"type": "object"}'
FILES = {"agent.toml": AGENT_TOML, "schemas/config.schema.json": SCHEMA, "wow_cache.py": "print('cache')\n"}


def manifest(kind: SourceKind, location: str | Path, *, schema: str | None = None) -> Manifest:
    return Manifest(
        agent="WowCache",
        source=Source(kind=kind, location=str(location)),
        run=Run(command=("python", "-m", "wow_cache")),
        config=ConfigSpec(schema=schema),
    )


def git_environment(day: int = 1) -> dict[str, str]:
    """Nobody's own configuration, and a fixed author and date."""
    when = f"2026-01-{day:02d}T12:00:00+00:00"
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        **{
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", "Sample Author"), ("EMAIL", "a@example.org"))
        },
        "GIT_AUTHOR_DATE": when,
        "GIT_COMMITTER_DATE": when,
    }


class GitRepository:
    """A real repository; every commit is a day later than the one before."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._day = 0
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main", *arguments)

    def git(self, *arguments: str, given: str = "") -> str:
        done = subprocess.run(
            ["git", *arguments],
            input=given,
            cwd=self.folder,
            env=git_environment(max(self._day, 1)),
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout.strip()

    def write(self, files: Mapping[str, str]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")

    def commit(self, message: str, files: Mapping[str, str] | None = None) -> str:
        self._day += 1
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def damage(self, what: str, content: bytes | None) -> None:
        """Overwrite the loose object of a revision, or delete it."""
        name = self.git("rev-parse", what)
        path = self.folder / ".git/objects" / name[:2] / name[2:]
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    def tag(self, name: str, notes: str | None = None, *more: str) -> None:
        self.git("tag", *(("--annotate", "--message", notes) if notes else ()), *more, name)


def folder_of(files: Mapping[str, str], folder: Path) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def tar_of(files: Mapping[str, str], path: Path, *special: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            data = content.encode()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in special:
            tar.addfile(info)
    return path


def tar_entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_of(files: Mapping[str, str], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tree(folder: Path) -> dict[str, str]:
    """Every file below `folder` with its text."""
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*")) if path.is_file()}


def overwrite(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def installed(command: Sequence[str] | None, folder: Path) -> None:
    """Run an install step as the runtime does."""
    assert command is not None
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(command, cwd=folder, env=env, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def output(folder: Path, code: str) -> str:
    """What the release's own interpreter prints."""
    return subprocess.run([folder / ".venv/bin/python", "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout.strip()
