"""What `servicing demo` says, as plain lines; pure. Commands that it prints are meant to be copied and must work as they stand."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_servicing.cli.words import number
from agent_servicing.testing.ledger import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where everything is. `command` is how this shell runs the CLI on this demo, `again` how it starts the demo once more."""

    api_url: str
    router_url: str
    data_dir: str
    pid: int
    command: str
    again: str

    @property
    def addresses(self) -> list[tuple[str, str]]:
        """What an operator wants to know once everything answers."""
        return [
            ("API and page", f"{self.api_url}/"),
            ("documentation", f"{self.api_url}/docs"),
            ("agents at", f"{self.router_url}/AGENT/…"),
            ("admin token", f"{self.data_dir}/admin.token"),
            ("server's log", f"{self.data_dir}/server.log"),
            ("second terminal", f"{self.command} status --watch"),
        ]

    @property
    def ideas(self) -> list[tuple[str, str]]:
        """What to try once the acts are over."""
        return [
            ("Look at everything, live", f"{self.command} status --watch"),
            ("Ask an agent; X-Served-By says who answered", f"curl -si {self.router_url}/WowDomain/check?name=green-sea.org"),
            (
                "Close WowMemory's security hole without losing a memory",
                f'{self.command} upgrade WowMemory 0.4.3 --monitor-seconds 10 --reason "security fix" --watch',
            ),
            ("End the canary of WowDomain, or advance it on the page", f'{self.command} rollback WowDomain --reason "seen enough" --watch'),
            ("Take WowOrchestrator back", f'{self.command} rollback WowOrchestrator --reason "just trying" --watch'),
            ("Kill the server: agents serve on, and the next start adopts them", f"kill -9 {self.pid}; {self.again}"),
            ("Who did what, and is that history whole", f"{self.command} audit && {self.command} audit verify"),
            ("Try the API in a browser", f"{self.api_url}/docs"),
        ]


def program(argv: Sequence[str], *, executable: str, folder: Path, on_path: str | None) -> list[str]:
    """How the person at this terminal runs the CLI: the shortest form of the program that runs now."""
    name = argv[0] if argv else ""
    if Path(name).name != "servicing":
        return [shown(Path(executable), folder), "-m", "agent_servicing.cli.main"]
    if on_path is not None and Path(on_path).absolute() == Path(name).absolute():
        return ["servicing"]
    return [shown(Path(name), folder)]


def once_more(argv: Sequence[str], environ: Mapping[str, str], *, words: Sequence[str]) -> str:
    """How to start the demo again on what is there: as it was started, but for what starts over or ends at once. `words`: the program."""
    given = [word for word in argv[1:] if word not in ("--fresh", "--once")]
    if "MAKELEVEL" in environ and given[:1] == ["demo"]:
        return f"make demo ARGS={shlex.quote(shlex.join(given[1:]))}" if given[1:] else "make demo"
    return shlex.join([*words, *given])


def shown(path: Path, folder: Path) -> str:
    """`path` as one would type it in `folder`."""
    whole = path if path.is_absolute() else folder / path
    if not whole.is_relative_to(folder):
        return str(whole)
    short = str(whole.relative_to(folder))
    return short if "/" in short or whole.is_dir() or not whole.exists() else f"./{short}"


def traffic_line(now: Snapshot) -> str:
    """The traffic so far on one line."""
    return f"Traffic: {now.sent:,} requests sent, {now.lost} lost by the data plane"


def tally(now: Snapshot, seconds: float) -> list[tuple[str, str]]:
    """What became of every request of the traffic generator, as names and values."""
    rate = f" ({number(now.sent / seconds)}/s)" if seconds > 0 else ""
    return [
        ("requests sent", f"{now.sent:,}{rate}"),
        ("answered well", f"{now.ok:,}"),
        ("lost by the data plane", _counts({k: n for k, n in now.failed.items() if not k.startswith("agent ")})),
        ("errors of agents themselves", _own_errors(now)),
        ("conversations", f"{now.conversations:,}; changed their version half-way: {now.version_flips}"),
        ("streams", f"{now.streams_opened} opened, {now.streams_ended} heard to their end, {now.streams_cut} cut"),
        *([("not sent, machine too busy", f"{now.skipped:,}")] if now.skipped else []),
    ]


def _own_errors(now: Snapshot) -> str:
    """Errors that an agent answered, by agent: they are what an upgrade is judged by."""
    own = {name: sum(n for kind, n in totals.failed.items() if kind.startswith("agent ")) for name, totals in now.agents.items()}
    return _counts({name: count for name, count in own.items() if count})


def _counts(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    return f"{total} ({', '.join(f'{name}: {count}' for name, count in sorted(counts.items()))})" if total else "0"
