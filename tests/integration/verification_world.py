"""What the tests of the verifier share: a release folder with tests in it, a stand-in for the data plane, and what still runs."""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import anyio

from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.adapters.verification.verifier import ProcessVerifier
from agent_servicing.core.manifest import Manifest, Run, Source, TestRequest, Tests
from agent_servicing.core.model import Release, Verification
from agent_servicing.core.status import VerificationStatus

AGENT = "Tiny"
VERSION = "1.0.0"
CLOCK = SystemClock()
LOOKS = 600
PATIENCE_SECONDS = 120


def release(*, smoke: Sequence[str] | None = None, requests: Sequence[TestRequest] = (), env: Mapping[str, str] | None = None) -> Release:
    tests = Tests(smoke=tuple(smoke) if smoke else None, requests=tuple(requests))
    run = Run(command=("true",), env=env or {})
    manifest = Manifest(agent=AGENT, source=Source(kind="path", location="dist"), run=run, tests=tests)
    return Release(agent=AGENT, version=VERSION, manifest=manifest, ref="r1")


def installed(data_dir: Path, *, files: Mapping[str, str] | None = None, **changes: object) -> Release:
    """A release whose folder is there, with these files in it."""
    folder = data_dir / "agents" / AGENT / "releases" / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (files or {}).items():
        (folder / name).write_text(text)
    return release(**changes)  # type: ignore[arg-type]


@asynccontextmanager
async def open_verifier(
    data_dir: Path, *, router_url: str = "http://127.0.0.1:1", environ: Mapping[str, str] = os.environ, **limits: float
) -> AsyncIterator[ProcessVerifier]:
    ids = RandomIds()
    async with ProcessVerifier(data_dir=data_dir, router_url=router_url, clock=CLOCK, ids=ids, environ=environ, **limits) as verifier:
        yield verifier


async def ended(verifier: ProcessVerifier, key: str = "upg-1") -> Verification:
    with anyio.fail_after(PATIENCE_SECONDS):
        while (found := await verifier.outcome(key)).status is VerificationStatus.RUNNING:
            await CLOCK.sleep(0.02)
    return found


async def ready(data_dir: Path) -> str:
    """What a test command wrote into the file `ready` of its release."""
    path = anyio.Path(data_dir / "agents" / AGENT / "releases" / VERSION / "ready")
    with anyio.fail_after(PATIENCE_SECONDS):
        while not await path.exists() or not await path.read_text():
            await CLOCK.sleep(0.02)
    return await path.read_text()


Answer = Callable[[str, Mapping[str, str]], tuple[int, Mapping[str, str]]]


@contextmanager
def data_plane(answer: Answer) -> Iterator[tuple[str, list[tuple[str, str, str]], list[bytes]]]:
    """Its address, (method, path, verification) and body of every request; `answer` gets path and headers, gives status and headers."""
    asked: list[tuple[str, str, str]] = []
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            asked.append((self.command, self.path, self.headers.get("X-Servicing-Verification", "")))
            status, headers = answer(self.path, dict(self.headers))
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST = do_PUT = _handle  # noqa: N815 (the names http.server looks for)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's parameter)
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked, bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
