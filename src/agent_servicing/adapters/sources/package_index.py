"""Asks the package index for one package's releases. `PypiSource` calls it; which index that is, is asked of uv, which also installs.

uv writes the addresses it would use (from its environment and configuration files) into the header of an empty lock file, without any
network. The pages are read as the simple API: JSON with dates where the index offers it, else HTML, which mousebender parses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from platform import python_version
from urllib.parse import unquote, urlsplit

import anyio
import httpx
from mousebender import simple
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version as PythonVersion
from uv import find_uv_bin

from agent_servicing.adapters.sources.work import RETRY_AFTER_SECONDS, last_lines, read, run, shown
from agent_servicing.core.errors import PermanentError, TemporaryError

UV_TIMEOUT_SECONDS = 30.0
"""Limit for asking uv for its configuration."""

INDEX_TIMEOUT_SECONDS = 60.0
"""Limit for one page of an index, from connecting to its last byte."""

PAGE_BYTES_MAX = 64 * 1024**2
"""Largest page read: a package with ten thousand files has about 10 MB."""

REASON_CHARS_MAX = 300
"""How much of a reason is kept."""

NO_REASON = "yanked from the package index without a reason"

_ASK_FOR_ADDRESSES = ("pip", "compile", "-", "--emit-index-url", "--no-deps", "--no-header", "--no-annotate", "--quiet", "--color", "never")
_NEXT_INDEX = frozenset({404, 410})


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRelease:
    """One release that can be installed here; `released_at` is when its first file came, None when the index does not say. `yanked` is why
    its maintainers took all of its files back, None when they did not.
    """

    version: PythonVersion
    released_at: datetime | None
    yanked: str | None = None


async def releases(package: str, *, cwd: Path, env: Mapping[str, str]) -> Sequence[PackageRelease]:
    """Every release of `package` on the first index that has it, those for other Pythons left out; yanked ones say so.

    Raises `PermanentError` when no index has it or lets us in, `TemporaryError` when one cannot be asked now.
    """
    addresses = await index_addresses(cwd=cwd, env=env)
    for address in addresses:
        page = await _page(simple.create_project_url(address, package))
        if page is not None:
            return _releases(package, page)
    where = ", ".join(map(shown, addresses)) or "none is configured"
    raise PermanentError(f"no package index has {package} ({where}); correct source.pypi, or set UV_DEFAULT_INDEX or UV_INDEX")


async def index_addresses(*, cwd: Path, env: Mapping[str, str]) -> Sequence[str]:
    """The indexes that uv would ask, in its order: the additional ones first. They may hold passwords: never show them whole."""
    try:
        done = await run([find_uv_bin(), *_ASK_FOR_ADDRESSES], cwd=cwd, env=env, seconds=UV_TIMEOUT_SECONDS)
    except FileNotFoundError:
        raise PermanentError("the uv program is missing; install the distribution uv again") from None
    if done.returncode:
        raise PermanentError(f"uv's configuration cannot be read: {last_lines(done.stderr)}")
    options = [line.split(maxsplit=1) for line in done.stdout.decode(errors="replace").splitlines() if line.startswith("--")]
    addresses = {
        option: [line[1] for line in options if line[0] == option and len(line) > 1] for option in ("--extra-index-url", "--index-url")
    }
    return [*addresses["--extra-index-url"], *addresses["--index-url"]]


async def _page(address: str) -> simple.ProjectDetails | None:
    """One package's page, None when this index does not have it."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        return await read(f"read {address}", lambda: _page_on_disk(Path(unquote(parts.path))))
    try:
        with anyio.fail_after(INDEX_TIMEOUT_SECONDS):
            content_type, body = await _get(address)
    except (TimeoutError, httpx.TransportError) as error:
        raise _unreachable(address, str(error) or "no answer in time") from error
    except httpx.HTTPStatusError as error:
        if error.response.status_code in _NEXT_INDEX:
            return None
        answer = f"status {error.response.status_code}"
        if error.response.status_code == httpx.codes.TOO_MANY_REQUESTS or error.response.is_server_error:
            raise _unreachable(address, answer) from error
        raise PermanentError(f"the package index {shown(address)} refuses: {answer}; check its address and password") from error
    return _parsed(address, content_type, body)


async def _get(address: str) -> tuple[str, str]:
    headers = {"Accept": simple.ACCEPT_SUPPORTED}
    async with (
        httpx.AsyncClient(follow_redirects=True, timeout=INDEX_TIMEOUT_SECONDS, headers=headers) as client,
        client.stream("GET", address) as response,
    ):
        response.raise_for_status()
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > PAGE_BYTES_MAX:
                raise PermanentError(f"the page {shown(address)} is larger than {PAGE_BYTES_MAX // 1024**2} MiB")
        return response.headers.get("content-type", ""), body.decode(errors="replace")


def _page_on_disk(folder: Path) -> simple.ProjectDetails | None:
    page = folder / "index.html"
    return _parsed(page.as_uri(), "text/html", page.read_text(encoding="utf-8", errors="replace")) if page.is_file() else None


def _parsed(address: str, content_type: str, body: str) -> simple.ProjectDetails:
    try:
        return simple.parse_project_details(body, content_type.partition(";")[0].strip().lower(), "package")
    except (ValueError, simple.UnsupportedMIMEType, simple.UnsupportedAPIVersion) as error:
        raise PermanentError(f"{shown(address)} is no page of a package index: {error}; check UV_DEFAULT_INDEX and UV_INDEX") from error


def _releases(package: str, page: simple.ProjectDetails) -> Sequence[PackageRelease]:
    found: dict[PythonVersion, list[datetime]] = {}
    yanked: dict[PythonVersion, list[str | None]] = {}
    for file in page["files"]:
        version = _version_of(file["filename"])
        if version is None or not _fits(file.get("requires-python")):
            continue
        found.setdefault(version, []).extend(_dates(file.get("upload-time")))
        yanked.setdefault(version, []).append(_yanked(file.get("yanked")))
    if not found:
        raise PermanentError(f"{package} has no release that can be installed with Python {python_version()}")
    return [
        PackageRelease(version=version, released_at=min(dates, default=None), yanked=_all_of(yanked[version]))
        for version, dates in found.items()
    ]


def _yanked(said: object) -> str | None:
    """The reason; indexes may leave it out. None: it is not yanked."""
    if said in {None, False}:
        return None
    return said.strip()[:REASON_CHARS_MAX] or NO_REASON if isinstance(said, str) else NO_REASON


def _all_of(reasons: Sequence[str | None]) -> str | None:
    """A release is taken back when each of its files is; as long as one is left it can be installed from that."""
    return next((reason for reason in reasons if reason), None) if all(reason is not None for reason in reasons) else None


def _version_of(file_name: str) -> PythonVersion | None:
    """The version in a file's name, None for forms that uv does not install (eggs, installers)."""
    try:
        return parse_wheel_filename(file_name)[1] if file_name.endswith(".whl") else parse_sdist_filename(file_name)[1]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def _fits(requires_python: object) -> bool:
    try:
        return not isinstance(requires_python, str) or SpecifierSet(requires_python).contains(python_version(), prereleases=True)
    except InvalidSpecifier:  # written by hand long ago; installers take it for "any", too
        return True


def _dates(upload_time: object) -> Iterable[datetime]:
    if isinstance(upload_time, str):
        try:
            yield datetime.fromisoformat(upload_time)
        except ValueError:  # a date is worth having, not worth failing for
            return


def _unreachable(address: str, why: str) -> TemporaryError:
    return TemporaryError(f"cannot ask the package index {shown(address)}: {why}", retry_after_seconds=RETRY_AFTER_SECONDS)
