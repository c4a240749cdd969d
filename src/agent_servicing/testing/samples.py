"""Called by `servicing demo` and tests: turns the folders in examples/ into git repositories with real commits and annotated version tags.

A folder holds `history.toml` (versions, each a list of commits), `base/` (the files of the first commit) and, where a commit replaces whole
files, a folder of that commit's name. Everything else is edits: a text that occurs exactly once, and what stands in its place afterwards.
"""

import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from dulwich.objects import Commit, Tag
from dulwich.repo import Repo
from pydantic import BaseModel, ConfigDict

SAMPLES = ("wow_memory", "wow_orchestrator", "wow_cache", "wow_domain")
AUTHOR = b"Sample Agents <samples@example.invalid>"
COMMIT_SPACING = timedelta(hours=3)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Edit(_Model):
    """Replaces the one place in `file` that reads `old`."""

    file: str
    old: str
    new: str


class Change(_Model):
    """One commit: a Conventional Commits message, whole files from the folder `overlay`, then edits."""

    message: str
    overlay: str | None = None
    edit: tuple[Edit, ...] = ()


class Version(_Model):
    """A version and the commits that led to it; `notes` is the message of its tag."""

    version: str
    days_ago: float
    notes: str
    commit: tuple[Change, ...]


class History(_Model):
    """Everything that happened to one sample agent, oldest version first."""

    agent: str
    version: tuple[Version, ...]


def build_repositories(target: Path, *, now: datetime) -> Mapping[str, Path]:
    """Make one repository per sample agent below `target`; returns agent id → its folder, checked out at the newest version.

    A repository that is already there is left as it is, so a second start does not move tags. Dates count back from `now`.
    Raises `ValueError` when a history does not fit its files.
    """
    target.mkdir(parents=True, exist_ok=True)
    built = {}
    for name in SAMPLES:
        folder = examples_folder() / name
        history = History.model_validate(tomllib.loads((folder / "history.toml").read_text(encoding="utf-8")))
        repository = target.resolve() / name.replace("_", "-")
        if not repository.exists():
            _build(history, folder, repository, now)
        built[history.agent] = repository
    return built


def examples_folder() -> Path:
    """Where the templates are: inside the installed package, or beside the sources in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside, beside = package / "_examples", package.parents[1] / "examples"
    return inside if inside.is_dir() else beside


def sdk_folder() -> Path:
    """The agents' SDK, which the samples carry along so that nothing must be installed for them."""
    package = Path(__file__).resolve().parents[1]
    inside, beside = package / "_sdk" / "servicing_sdk", package.parents[1] / "sdk" / "src" / "servicing_sdk"
    return inside if inside.is_dir() else beside


def sample_versions() -> Mapping[str, Sequence[str]]:
    """Agent id → its versions, oldest first, as the templates have them."""
    histories = (History.model_validate(tomllib.loads((examples_folder() / name / "history.toml").read_text("utf-8"))) for name in SAMPLES)
    return {history.agent: tuple(version.version for version in history.version) for history in histories}


def _build(history: History, folder: Path, repository: Path, now: datetime) -> None:
    """Build beside the destination and move it there whole, so that a start that was interrupted leaves nothing half-made."""
    with tempfile.TemporaryDirectory(prefix=".building-", dir=repository.parent) as scratch:
        work = Path(scratch) / "repository"
        work.mkdir()
        with Repo.init(work, default_branch=b"main") as repo:
            _copy(folder / "base", work)
            _copy(sdk_folder(), work / "servicing_sdk")
            _fill_in(work / "agent.toml", repository)
            for version in history.version:
                _release(repo, work, folder, version, now - timedelta(days=version.days_ago))
        work.rename(repository)


def _release(repo: Repo, work: Path, folder: Path, version: Version, at: datetime) -> None:
    """Make the version's commits, the last one being the release itself, and tag it."""
    started_at = at - len(version.commit) * COMMIT_SPACING
    for number, change in enumerate(version.commit):
        if change.overlay:
            _copy(folder / change.overlay, work)
        for edit in change.edit:
            _edit(work / edit.file, edit)
        _commit(repo, work, change.message, started_at + number * COMMIT_SPACING)
    (work / "VERSION").write_text(f"{version.version}\n", encoding="utf-8")
    _tag(repo, _commit(repo, work, f"chore: Release {version.version}", at), version, at)


def _commit(repo: Repo, work: Path, message: str, at: datetime) -> bytes:
    tree = repo.get_worktree()
    tree.stage([str(path.relative_to(work)) for path in _files(work)])
    seconds = int(at.timestamp())
    return tree.commit(
        message=message.strip().encode() + b"\n",
        author=AUTHOR,
        committer=AUTHOR,
        author_timestamp=seconds,
        author_timezone=0,
        commit_timestamp=seconds,
        commit_timezone=0,
        no_verify=True,
        sign=False,
    )


def _tag(repo: Repo, commit: bytes, version: Version, at: datetime) -> None:
    tag = Tag()
    tag.name = f"v{version.version}".encode()
    tag.tagger = AUTHOR
    tag.tag_time, tag.tag_timezone = int(at.timestamp()), 0
    tag.message = version.notes.encode() + b"\n"
    tag.object = (Commit, commit)
    repo.object_store.add_object(tag)
    repo.refs[b"refs/tags/" + tag.name] = tag.id


def _edit(file: Path, edit: Edit) -> None:
    text = file.read_text(encoding="utf-8")
    if text.count(edit.old) != 1:
        raise ValueError(f"{edit.file}: the text to replace occurs {text.count(edit.old)} times, not once: {edit.old.strip()!r}")
    file.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def _fill_in(manifest: Path, repository: Path) -> None:
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("$repository", repository.as_uri()), encoding="utf-8")


def _copy(source: Path, destination: Path) -> None:
    shutil.copytree(source, destination, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def _files(work: Path) -> Iterator[Path]:
    for path in sorted(work.rglob("*")):
        if path.is_file() and ".git" not in path.relative_to(work).parts:
            yield path
