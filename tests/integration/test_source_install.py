"""The install step that sources work out: which steps for which files, and that they really make an environment."""

from pathlib import Path

import pytest

from agent_servicing.adapters.sources.install import main, plan
from agent_servicing.adapters.sources.project import install_command
from tests.source_builders import folder_of, installed, output

BUILDABLE = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "wow-cache"
version = "1.0.0"
"""
PLAIN = '[project]\nname = "wow-cache"\nversion = "1.0.0"\ndependencies = ["six==1.16.0"]\n'


def last_words(files: dict[str, str], folder: Path) -> list[str]:
    steps = plan(["project"], folder_of(files, folder))
    assert steps is not None
    return [word for step in steps for word in step if step[0] != "venv"][4 if len(steps) == 2 else 0 :]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"uv.lock": "", "pyproject.toml": PLAIN, "requirements.txt": ""}, ["sync", "--frozen", "--no-dev", "--no-editable"]),
        ({"requirements.txt": ""}, ["-r", "requirements.txt"]),
        ({"pyproject.toml": BUILDABLE}, ["."]),
        ({"pyproject.toml": BUILDABLE, "requirements.txt": ""}, ["-r", "requirements.txt", "."]),
        ({"pyproject.toml": PLAIN}, ["-r", "pyproject.toml"]),
        ({"setup.py": ""}, ["."]),
        ({"pyproject.toml": "[tool.ruff]\nline-length = 100\n"}, []),
    ],
)
def test_the_files_decide_what_is_installed(tmp_path: Path, files: dict[str, str], words: list[str]) -> None:
    assert last_words(files, tmp_path) == words


def test_a_folder_that_asks_for_nothing_needs_no_installation(tmp_path: Path) -> None:
    assert install_command(folder_of({"agent.py": ""}, tmp_path)) is None


@pytest.mark.parametrize("arguments", [[], ["package"], ["project", "x"], ["everything"]])
def test_other_arguments_are_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage" in capsys.readouterr().err


def test_an_agents_own_modules_do_not_stand_in_for_the_librarys(tmp_path: Path) -> None:
    folder = folder_of(
        {"requirements.txt": "", "subprocess.py": "raise SystemExit(9)", "agent_servicing.py": "raise SystemExit(9)"}, tmp_path
    )
    installed(install_command(folder), folder)
    assert (folder / ".venv/bin/python").exists()


def test_dependencies_of_a_plain_project_are_installed(tmp_path: Path) -> None:
    folder = folder_of({"pyproject.toml": PLAIN}, tmp_path)
    installed(install_command(folder), folder)
    assert output(folder, "import six; print(six.__version__)") == "1.16.0"


def test_a_locked_project_is_installed_as_locked(tmp_path: Path) -> None:
    lock = 'version = 1\nrevision = 3\nrequires-python = ">=3.11"\n\n[[package]]\nname = "wow-cache"\nversion = "1.0.0"\nsource = { virtual = "." }\n'
    pyproject = '[project]\nname = "wow-cache"\nversion = "1.0.0"\nrequires-python = ">=3.11"\n'
    folder = folder_of({"pyproject.toml": pyproject, "uv.lock": lock}, tmp_path)
    installed(install_command(folder), folder)
    assert output(folder, "print(1)") == "1"


def test_installing_again_starts_afresh(tmp_path: Path) -> None:
    folder = folder_of({"requirements.txt": ""}, tmp_path)
    installed(install_command(folder), folder)
    (folder / ".venv/leftover").touch()
    installed(install_command(folder), folder)
    assert not (folder / ".venv/leftover").exists()
