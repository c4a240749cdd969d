"""A server made of canned answers and a clock that only `pause` moves: what the command line's unit tests run in."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner, Result

from agent_servicing.cli.main import app
from agent_servicing.cli.surroundings import Socket, Surroundings

Json = dict[str, Any]
PREFIX = "/api/platform"
START = datetime(2026, 1, 2, 1, 0, tzinfo=UTC)
ID = "upg-01JGD3Z5Y8M2Q4T6V8X0ABCDEF"


@dataclass
class FakeClock:
    """Stands still until somebody pauses."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.pause(seconds)

    def pause(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class CountingIds:
    made: int = 0

    def new(self, prefix: str) -> str:
        self.made += 1
        return f"{prefix}-{self.made}"

    def token(self) -> str:
        return self.new("token")


Answer = httpx.Response | Json | Callable[[httpx.Request], "httpx.Response | Json"]


@dataclass
class FakeServer:
    """Answers by method and path; a list is used up one by one, its last answer stays. Everything else is a 404 problem."""

    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self.answers[f"{method} {path if path.startswith('/') else f'{PREFIX}/{path}'}"] = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        found = self.answers.get(f"{request.method} {request.url.path}")
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if found is None:
            return problem(404, "not_found", f"There is nothing at {request.url.path}.")
        answer = found(request) if callable(found) else found
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def sent(self, method: str, path: str) -> list[Json]:
        wanted = f"{PREFIX}/{path}"
        return [json.loads(r.content or b"{}") for r in self.requests if r.method == method and r.url.path == wanted]


class FakeSocket:
    """Gives its messages one by one, then raises `end`; remembers what was sent."""

    def __init__(self, messages: list[Json], end: BaseException | None = None, clock: FakeClock | None = None) -> None:
        self.messages, self.end, self.clock = list(messages), end or TimeoutError(), clock
        self.sent: list[Json] = []
        self.closed = False

    def recv(self, timeout: float | None = None) -> str:
        if self.messages:
            return json.dumps(self.messages.pop(0))
        if self.clock is not None:
            self.clock.pause(timeout or 0)
        raise self.end

    def send(self, message: str) -> None:
        self.sent.append(json.loads(message))

    def close(self) -> None:
        self.closed = True


def problem(status: int, code: str, detail: str, **more: Any) -> httpx.Response:
    document = {"type": f"urn:agent-servicing:error:{code}", "code": code, "status": status, "title": "Problem", "detail": detail, **more}
    return httpx.Response(status, json=document, headers={"Content-Type": "application/problem+json"})


def side(version: str, share: float, **more: Any) -> Json:
    return {
        "version": version,
        "traffic_percent": share,
        "error_rate": 0.5,
        "avg_latency_ms": 120.0,
        "p95_latency_ms": 200.0,
        "throughput": 37.5,
        "requests": 375,
        **more,
    }


def stage(name: str, status: str = "pending", seconds: float | None = None, note: str = "") -> Json:
    at = "2026-01-02T01:00:30Z"
    return {
        "stage": name,
        "status": status,
        "started_at": None if status == "pending" else "2026-01-02T01:00:00Z",
        "completed_at": at if status == "completed" else None,
        "duration_seconds": seconds,
        "note": note,
    }


def deployment(status: str = "in_progress", **more: Any) -> Json:
    return {
        "upgrade_id": ID,
        "rollback_id": None,
        "agent_id": "WowMemory",
        "kind": "upgrade",
        "status": status,
        "strategy": "blue-green",
        "from_version": "1.2.5",
        "to_version": "1.3.0",
        "current_stage": "route_traffic_25",
        "stages": [stage("deploy_green", "completed", 30.0), stage("route_traffic_25", "in_progress")],
        "metrics": {"blue": side("1.2.5", 75), "green": side("1.3.0", 25)},
        "judgement": {"verdict": "passing", "sentence": "0 errors in 375 requests"},
        "rollback": None,
        "impact": {"candidate_requests": 375, "candidate_errors": 1, "conversations_touched": 42, "unserved": 0, "downtime_seconds": 0.0},
        "revision": 7,
        "queue_position": None,
        "started_at": "2026-01-02T01:00:00Z",
        "finished_at": None,
        "estimated_duration_minutes": 15,
        **more,
    }


def agent(name: str = "WowMemory", **more: Any) -> Json:
    return {
        "agent_id": name,
        "status": "active",
        "current_version": "1.2.5",
        "current_deployed_at": "2025-12-15T10:00:00Z",
        "instances": 3,
        "health": {"status": "healthy", "desired": 3, "ready": 3, "starting": 0, "draining": 0, "failed": 0, "stopped": 0},
        "update_available": True,
        "available_versions": [{"version": "1.3.0", "type": "minor", "security": True, "critical": False}],
        "deployment": None,
        **more,
    }


@dataclass
class World:
    """Runs commands against a fake server on `http://servicing.test`."""

    folder: Path
    server: FakeServer = field(default_factory=FakeServer)
    clock: FakeClock = field(default_factory=FakeClock)
    sockets: list[Socket | BaseException] = field(default_factory=list)
    connections: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=lambda: {"SERVICING_SERVER": "http://servicing.test", "SERVICING_TOKEN": "secret"})
    pause: Callable[[float], None] | None = None

    def run(self, *words: str, piped: str | None = None) -> Result:
        around = Surroundings(
            environ=self.environ,
            folder=self.folder,
            clock=self.clock,
            ids=CountingIds(),
            pause=self.pause or self.clock.pause,
            connect=self.connect,
            transport=httpx.MockTransport(self.server),
        )
        return CliRunner().invoke(app, list(words), obj=around, prog_name="servicing", input=piped)

    def connect(self, url: str, headers: Mapping[str, str]) -> Socket:
        self.connections.append((url, headers))
        if not self.sockets:
            raise ConnectionRefusedError("no socket")
        found = self.sockets.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found
