"""A bare copy of an agent's repository below the data directory, so that its versions stay available when the original does not.

`GitSource` refreshes it. Local repositories are read with dulwich, which needs no program and minds no owner; remote ones are fetched with
the `git` program, because only that knows the operator's ssh keys, credential helpers and proxies.
"""

import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dulwich.client import LocalGitClient
from dulwich.errors import NotGitRepository
from dulwich.objects import ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from agent_servicing.adapters.sources.git_tags import TAGS
from agent_servicing.adapters.sources.work import RETRY_AFTER_SECONDS, last_lines, plain_environment, read, run, shown, write
from agent_servicing.core.errors import PermanentError, TemporaryError

GIT_TIMEOUT_SECONDS = 300.0
"""Limit for one fetch over the network; the first one carries the whole history."""

_MISLEADING = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"})
"""Set while a git hook runs; they would send our commands to that hook's repository."""

_TEMPORARY = (
    "could not resolve", "timed out", "connection refused", "connection reset", "unable to connect", "failed to connect",
    "network is unreachable", "no route to host", "early eof", "remote end hung up", "error: 5", "returned error: 429",
)  # fmt: skip


class GitMirror:
    """One agent's mirror. `folder` is the bare repository; `env` replaces the server's environment in tests."""

    def __init__(self, folder: Path, *, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._env = {name: value for name, value in plain_environment(env).items() if name not in _MISLEADING}

    async def refresh(self, location: str) -> None:
        """Make the mirror's tags those of the repository at `location`. Objects of tags that moved or went are kept.

        Raises `PermanentError` with what to do when there is no repository, `TemporaryError` when it cannot be reached now.
        """
        await write(f"prepare the mirror of {shown(location)}", self._create)
        path = local_path(location)
        if path is None:
            await self._fetch_remote(location)
        else:
            await read(f"read the repository {shown(location)}", lambda: self._fetch_local(path))

    @contextmanager
    def open(self) -> Generator[Repo]:
        """The mirror for reading."""
        with damage_told(self.folder, "delete that folder: it is made anew"), Repo(str(self.folder)) as repo:
            yield repo

    def _create(self) -> None:
        if (self.folder / "HEAD").is_file() and (self.folder / "objects").is_dir():
            return
        shutil.rmtree(self.folder, ignore_errors=True)  # a half-made one, from a server that died here
        self.folder.mkdir(parents=True)
        Repo.init_bare(str(self.folder)).close()

    def _fetch_local(self, path: Path) -> None:
        if not path.is_dir():
            raise PermanentError(f"there is no folder {path}; correct source.git in the manifest")
        with self.open() as mirror:
            with damage_told(path, "run git fsck there, or git fetch --unshallow if it is shallow"):
                fetched = LocalGitClient().fetch(str(path), mirror, determine_wants=lambda refs, depth=None: _missing(refs, mirror))  # noqa: ARG005
            refs = {ref: sha for ref, sha in fetched.refs.items() if sha is not None}
            if not refs:
                raise PermanentError(f"the repository {path} is empty; commit something and tag it, for example: git tag v1.0.0")
            _set_tags(mirror, {ref: sha for ref, sha in refs.items() if _is_tag(ref)})

    async def _fetch_remote(self, location: str) -> None:
        program = shutil.which("git", path=self._env.get("PATH"))
        if program is None:
            raise PermanentError(f"fetching {shown(location)} needs the git program; install it (apt install git) or use a local copy")
        env = {**self._env, "GIT_TERMINAL_PROMPT": "0"}
        env.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
        options = ["-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "protocol.ext.allow=never"]
        fetch = ["fetch", "--quiet", "--force", "--prune", "--no-tags", "--no-write-fetch-head", "--", location, "+refs/tags/*:refs/tags/*"]
        git_dir = ["--git-dir", str(self.folder)]
        done = await run([program, *options, *git_dir, *fetch], cwd=self.folder, env=env, seconds=GIT_TIMEOUT_SECONDS)
        if done.returncode:
            said = last_lines(done.stderr).replace(location, shown(location))
            if any(mark in said.lower() for mark in _TEMPORARY):
                raise TemporaryError(f"cannot fetch {shown(location)}: {said}", retry_after_seconds=RETRY_AFTER_SECONDS)
            raise PermanentError(f"cannot fetch {shown(location)}: {said}; check source.git and the server's access to it")


@contextmanager
def damage_told(folder: Path, remedy: str) -> Generator[None]:
    """Whatever dulwich makes of a damaged repository, said with what to do; our own errors and the disk's pass."""
    try:
        yield
    except (PermanentError, TemporaryError, OSError):
        raise
    except NotGitRepository:
        raise PermanentError(f"{folder} is not a git repository; run git init there, or correct source.git in the manifest") from None
    except Exception as error:  # damage shows as any exception at all, from KeyError to BufferError
        raise PermanentError(f"the repository {folder} cannot be read ({type(error).__name__}: {error}); {remedy}") from error


def local_path(location: str) -> Path | None:
    """The folder that `file://…` or a plain path means; None for an address on the network."""
    if "://" in location:
        parts = urlsplit(location)
        return Path(unquote(parts.path)) if parts.scheme == "file" and parts.netloc in {"", "localhost"} else None
    if ":" in location and "/" not in location.partition(":")[0]:
        return None
    return Path(location).expanduser()


def _missing(refs: Mapping[Ref, ObjectID], mirror: Repo) -> list[ObjectID]:
    return [sha for ref, sha in refs.items() if _is_tag(ref) and sha not in mirror.object_store]


def _is_tag(ref: bytes) -> bool:
    return ref.startswith(TAGS) and not ref.endswith(b"^{}")


def _set_tags(mirror: Repo, wanted: Mapping[Ref, ObjectID]) -> None:
    have = {ref: sha for ref, sha in mirror.get_refs().items() if _is_tag(ref)}
    for ref in have.keys() - wanted.keys():
        del mirror.refs[ref]
    for ref, sha in wanted.items():
        if have.get(ref) != sha:
            mirror.refs[ref] = sha
