"""Rules that no linter knows: sizes, docstrings, documented settings, locks, and nothing in the repository that exists only on one machine."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from dulwich.repo import Repo
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from agent_servicing.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LONGEST_FILE_LINES = 400
LONGEST_FUNCTION_LINES = 70

LONGER_FILES: dict[str, str] = {}
"""Files of src that may be longer, and why."""

LONGER_FUNCTIONS: dict[str, str] = {
    "src/agent_servicing/cli/upgrade.py:upgrade": "its parameters are the command's options, one a line",
}
"""Functions of src (`path:name`) that may be longer, and why."""

# Written in pieces, so that this file passes its own test.
REGISTRY_HOSTS = (
    "py" + "pi.org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "deb." + "debian.org",
    "crates" + ".io",
    "proxy.go" + "lang.org",
)
MACHINE_PATHS = re.compile(r"(?<![\w.~*{}$-])/(?:" + "wo" + "rk|ro" + "ot|fa" + r"rm|home/[a-z]\w*)/[\w.]")
UNFINISHED = re.compile(r"\b(?:TO" + "DO|FIX" + "ME|XX" + r"X)\b")
TEXT_SUFFIXES = {".py", ".toml", ".md", ".yaml", ".yml", ".json", ".sh", ".txt", ".in", ".cfg", ".ini", ".ts", ".tsx", ".css", ".html", ""}
NO_TEXT = {"LICENSE"}


def tracked() -> Iterator[Path]:
    """Every text file in git's index that still exists."""
    with Repo(ROOT) as repo:
        for name in sorted(repo.open_index()):
            path = ROOT / name.decode()
            if path.suffix in TEXT_SUFFIXES and path.name not in NO_TEXT and path.is_file():
                yield path


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_source_file_is_too_long_to_read_at_once() -> None:
    long = {name_of(path): lines for path in SOURCES if (lines := len(path.read_text().splitlines())) > LONGEST_FILE_LINES}
    assert {name: lines for name, lines in long.items() if name not in LONGER_FILES} == {}


def test_no_function_is_too_long_to_hold_in_mind() -> None:
    long = {
        f"{name_of(path)}:{node.name}": lines
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION_LINES
    }
    assert {name: lines for name, lines in long.items() if name not in LONGER_FUNCTIONS} == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        name_of(path)
        for path in [*SOURCES, *(ROOT / "scripts").rglob("*.py"), *(ROOT / "tests").rglob("test_*.py")]
        if (text := path.read_text().strip()) and not ast.get_docstring(ast.parse(text))
    ]
    assert silent == []


def test_every_setting_is_documented_with_its_variable_and_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", (ROOT / "docs/guides/settings.md").read_text(), re.MULTILINE))
    assert rows.keys() == Settings.model_fields.keys()
    for name, field in Settings.model_fields.items():
        variable, default, *rest = [cell.strip() for cell in rows[name].split(" | ")]
        shown = "unset" if field.default is None else str(field.default)
        assert variable == f"`SERVICING_{name.upper()}`", name
        assert default == f"`{shown}`", name
        assert len(rest) == 2, name
        assert all(rest), name


@pytest.mark.parametrize("host", REGISTRY_HOSTS)
def test_no_file_names_a_package_registry(host: str) -> None:
    assert [name_of(path) for path in tracked() if host in path.read_text(encoding="utf-8")] == []


def test_no_file_names_a_path_of_one_machine() -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in tracked()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]
    assert found == []


def test_nothing_is_left_for_later() -> None:
    assert [name_of(path) for path in tracked() if UNFINISHED.search(path.read_text(encoding="utf-8"))] == []


def locked(name: str) -> dict[str, str]:
    """Package → version of one lock; every entry must carry hashes and nothing may point elsewhere."""
    text = (ROOT / "requirements" / name).read_text().replace("\\\n", " ")
    packages = {}
    for line in text.splitlines():
        requirement, *hashes = line.split(" --hash=")
        assert all(value.startswith("sha256:") for value in hashes), line
        assert hashes, line
        parsed = Requirement(requirement.strip())
        assert parsed.url is None, line
        packages[canonicalize_name(parsed.name)] = str(parsed.specifier)
    return packages


def test_every_declared_dependency_is_locked_with_hashes_and_the_locks_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    base, everything, uv = locked("base.txt"), locked("dev.txt"), locked("uv.txt")
    needed = [Requirement(line) for line in project["project"]["dependencies"]]
    tools = [Requirement(line) for line in project["dependency-groups"]["dev"]]
    assert [str(one) for one in needed if not fits(one, base)] == []
    assert [str(one) for one in [*needed, *tools] if not fits(one, everything)] == []
    assert base.items() <= everything.items()
    assert uv.items() <= base.items()


def fits(requirement: Requirement, lock: dict[str, str]) -> bool:
    version = lock.get(canonicalize_name(requirement.name), "").removeprefix("==")
    return bool(version) and requirement.specifier.contains(version)


def test_make_explains_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    explained = set(re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE))
    phony = set(re.findall(r"^\.PHONY:(.*)$", text, re.MULTILINE)[0].split())
    assert targets == explained == phony
