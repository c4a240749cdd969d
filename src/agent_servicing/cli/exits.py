"""How a command ends: every module of the command line raises these, `main` turns them into an exit code and one line on stderr."""

from enum import IntEnum

from agent_servicing.core.errors import FieldError, ServicingError

MAX_FIELD_ERRORS = 20
"""Input errors listed below the line; whoever has more fixes these first."""


class ExitCode(IntEnum):
    """Public: scripts branch on these."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    ROLLED_BACK = 3
    INTERRUPTED = 130


class Usage(ServicingError):
    """The command was typed wrongly in a way that only we can tell; exit code 2."""

    code = "usage"


class ServerAbsent(ServicingError):
    """No server to talk to: not running, or not where we looked."""

    code = "server_absent"


def exit_code(error: ServicingError) -> ExitCode:
    """Exit code of a command that ended with `error`."""
    return ExitCode.USAGE if isinstance(error, Usage) else ExitCode.FAILED


def as_lines(error: ServicingError) -> list[str]:
    """What a person reads: the sentence, one line per input error, the hint."""
    lines = [f"Error: {one_line(error.message)}"]
    lines += [_field(e) for e in error.errors[:MAX_FIELD_ERRORS]]
    if len(error.errors) > MAX_FIELD_ERRORS:
        lines.append(f"  … and {len(error.errors) - MAX_FIELD_ERRORS} more")
    if error.hint:
        lines.append(f"Hint: {one_line(error.hint)}")
    return lines


def as_json(error: ServicingError) -> dict[str, object]:
    """What a program reads with `--json`: `{"error": {"code", "message", "hint", "errors": [{"path", "message"}]}}`."""
    errors = [{"path": e.path, "message": e.message} for e in error.errors]
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint, "errors": errors}}


def one_line(text: str) -> str:
    """`text` without line breaks, so that "one clear line" holds whatever a server says."""
    return " ".join(text.split())


def _field(error: FieldError) -> str:
    return f"  {one_line(error.path)}: {one_line(error.message)}" if error.path else f"  {one_line(error.message)}"
