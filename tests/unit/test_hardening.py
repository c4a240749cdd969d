"""Rules that keep the product hard: no shell anywhere, nothing that runs text as code, no TLS without checks, no unpacking without a filter."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((*(ROOT / "src").rglob("*.py"), *(ROOT / "sdk/src").rglob("*.py")))

FORBIDDEN_CALLS = frozenset(
    {"eval", "exec", "os.system", "os.popen", "asyncio.create_subprocess_shell", "create_subprocess_shell", "subprocess.getoutput",
     "subprocess.getstatusoutput", "pickle.load", "pickle.loads", "marshal.loads", "yaml.load", "shelve.open", "tempfile.mktemp"}
)  # fmt: skip
STARTERS = frozenset({"run", "Popen", "call", "check_call", "check_output", "run_process", "open_process", "create_subprocess_exec"})
SHELLS = frozenset({"sh", "bash", "/bin/sh", "/bin/bash", "zsh", "dash"})


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def offences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from in_call(node)
        if isinstance(node, ast.List | ast.Tuple) and len(node.elts) > 1:
            first, second = node.elts[:2]
            if isinstance(first, ast.Constant) and first.value in SHELLS and isinstance(second, ast.Constant) and second.value == "-c":
                yield node.lineno, "a shell's -c"


def in_call(node: ast.Call) -> Iterator[tuple[int, str]]:
    name = dotted(node.func)
    if name in FORBIDDEN_CALLS or name.rpartition(".")[2] in {"extractall", "unpack_archive"}:
        yield node.lineno, name
    for keyword in node.keywords:
        off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        if (keyword.arg == "shell" and not off) or (keyword.arg == "verify" and off):
            yield node.lineno, f"{keyword.arg}="
    starts = name.rpartition(".")[2] in STARTERS and name.partition(".")[0] in {"subprocess", "anyio", "asyncio"}
    if starts and node.args and isinstance(node.args[0], ast.JoinedStr | ast.Constant | ast.BinOp):
        yield node.lineno, f"{name} of a text"


def test_nothing_goes_through_a_shell_or_runs_text_as_code() -> None:
    found = [(path.relative_to(ROOT).as_posix(), *offence) for path in SOURCES for offence in offences(ast.parse(path.read_text()))]
    assert found == []


@pytest.mark.parametrize(
    "text",
    ["subprocess.run(x, shell=True)", "os.system(x)", "subprocess.run(f'ls {x}')", "anyio.run_process('ls ' + x)", "eval(x)",
     "tar.extractall(x)", "httpx.get(x, verify=False)", "run(['sh', '-c', x])", "subprocess.Popen('ls', shell=flag)"],
)  # fmt: skip
def test_the_rule_finds_what_it_is_for(text: str) -> None:
    assert list(offences(ast.parse(text)))
