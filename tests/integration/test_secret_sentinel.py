"""One secret, planted through every way in, is looked for in everything that comes out: API, WebSocket, exports, commands, log and disk.

The agent knows the secret as a real one would, and says it wherever an agent can say something.
"""

import base64
import hashlib
import io
import json
import re
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.e2e.harness import Server, a_server, wait_for

pytestmark = pytest.mark.timeout(600)

AGENT = "Leaky"
CORE = "Sentinel9f2c7d1e"
SECRET = f's3n"/+{CORE}\\ü&x'
"""Written differently in JSON, in URLs and by Python; what must not be found anywhere is its core, which they all leave as it is."""

PROGRAM = textwrap.dedent('''
    """Prints and answers the secret it knows. It stands here backwards, so that what is found elsewhere was said by somebody.

    Takes configurations, but for a limit of 13, which it refuses.
    """
    import base64, hashlib, json, os, pathlib, sys, urllib.parse
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    SECRET = json.loads(pathlib.Path(__file__).with_name("backwards.json").read_text())[::-1]
    WRITTEN = (SECRET, json.dumps(SECRET), repr(SECRET), urllib.parse.quote(SECRET), base64.b64encode(f"user:{SECRET}".encode()).decode())
    print("I begin with", *WRITTEN)
    if "crash" in sys.argv:
        print("x" * 1990, "I end with", SECRET)
        sys.exit(f"cannot log in: {SECRET}")

    first = pathlib.Path(os.environ["SERVICING_CONFIG_FILE"]).read_bytes()
    APPLIED = {"revision": os.environ["SERVICING_CONFIG_REVISION"], "hash": hashlib.sha256(first).hexdigest()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            ill = self.path == "/healthz" and "ill" in sys.argv
            if self.path.endswith("/servicing/info"):
                config = {"applied": APPLIED, "prepared": None, "last_good": None, "last_attempt": None, "pending": []}
                return self.answer(200, json.dumps({"level": "http", "config": config, "state": "ready"}))
            self.answer(500 if ill or self.path == "/leak" else 200, " ".join(WRITTEN))

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            named = {"revision": asked["revision"], "hash": asked["hash"]}
            if asked["values"].get("limit") == 13:
                return self.answer(422, json.dumps({"errors": [{"path": "limit", "message": word} for word in WRITTEN]}))
            if self.path.endswith("/commit"):
                APPLIED.update(named)
            self.answer(200, json.dumps({**named, "pending": []}))

        def answer(self, status, text):
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
''')

SMOKE = 'import runpy, sys\nsys.argv.append("crash")\nrunpy.run_path("program.py")\n'

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"api_key": {"type": "string", "x-servicing-secret": True}, "limit": {"type": "integer"}},
}


def a_version(source: Path, version: str, own_manifest: str = "") -> None:
    """A version of the agent, with what its own manifest has differently."""
    folder = source / version
    folder.mkdir(parents=True)
    (folder / "program.py").write_text(PROGRAM)
    (folder / "smoke.py").write_text(SMOKE)
    (folder / "backwards.json").write_text(json.dumps(SECRET[::-1]))
    (folder / "config.schema.json").write_text(json.dumps(SCHEMA))
    if own_manifest:
        (folder / "agent.toml").write_text(own_manifest)


def manifest(*words: str, source: object = ".", run: str = "", tests: str = "") -> str:
    command = json.dumps([sys.executable, "program.py", "{host}", "{port}", *words])
    return f"""
[agent]
id = "{AGENT}"
[source]
path = "{source}"
[run]
command = {command}
instances = 1
{run}
[health]
path = "/healthz"
interval_seconds = 0.2
startup_timeout_seconds = 5
[config]
schema = "config.schema.json"
reload = "sdk"
{tests}
"""


SMOKES = json.dumps([sys.executable, "smoke.py"])
WORST = {
    "1.1.0": manifest("crash"),
    "1.2.0": manifest("ill"),
    "1.3.0": manifest(tests=f"[tests]\nsmoke = {SMOKES}"),
    "1.4.0": manifest(run=f"install = {SMOKES}"),
    "1.5.0": manifest(tests='[[tests.requests]]\npath = "/leak"'),
}
"""Versions that say the secret as they fail: exiting, being ill, in their tests, at their installation, answering a test request."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("sentinel"), SERVICING_LOG_LEVEL="debug") as running:
        yield running


@pytest.fixture(scope="module")
def planted(server: Server) -> list[str]:
    """The secret was said everywhere; the deployments in which it was."""
    source = server.folder / "source"
    a_version(source, "1.0.0")
    for version, own_manifest in WORST.items():
        a_version(source, version, own_manifest)
    with server.api() as api:
        for name, agent in ((f"{AGENT}/api_key", AGENT), ("shared", None)):
            answer = api.put(f"/secrets/{name}", json={"value": SECRET, **({"agent": agent} if agent else {})})
            assert answer.status_code == 200, answer.text
    first = server.post("/agents", {"manifest": manifest(source=source), "version": "1.0.0"}, expect=201)
    deployments = [first["upgrade_id"]]
    assert server.outcome(deployments[0], agent=AGENT)["status"] == "completed"
    assert CORE in httpx.get(f"{server.router_url}/{AGENT}/leak").text  # the data plane is not for us to read
    patched(server)
    deployments.append(server.post(f"/agents/{AGENT}/restart", {"reason": "it reads the secret from its file"})["upgrade_id"])
    assert server.outcome(deployments[-1], agent=AGENT)["status"] == "completed"
    for version in WORST:
        options = {"blue_green": {"steps": [100], "monitor_seconds": 0}, "keep_warm_seconds": 0}
        deployments.append(server.upgrade(version, agent=AGENT, **options))
        done = server.outcome(deployments[-1], agent=AGENT)
        assert done["status"] in ("rolled_back", "failed"), json.dumps(done)
    return deployments


def patched(server: Server) -> None:
    """The secret goes in as a plain value for a secret key, and in changes that are refused: by the schema, and by the agent with it."""
    refused: list[dict[str, Any]] = [
        {"api_key": [SECRET]},
        {"api_key": SECRET, "unknown": SECRET},
        {"api_key": SECRET, "limit": "seven"},
        {"limit": {SECRET: SECRET}},
        {"api_key": {"$secret": SECRET}},
    ]
    with server.api() as api:
        for number, updates in enumerate(refused):
            body = {"config_updates": updates}
            for answer in (
                api.patch(
                    f"/agents/{AGENT}/config", json={**body, "reason": "a new key"}, headers={"Idempotency-Key": f"refused {number}"}
                ),
                api.post(f"/agents/{AGENT}/config/validate", json=body),
            ):
                assert (answer.status_code, leaks(answer.text)) == (422, []), answer.text
        for number, (limit, more, status) in enumerate([(7, {"dry_run": True}, 200), (7, {}, 200), (7, {}, 200), (13, {}, 409)]):
            body = {"config_updates": {"api_key": SECRET, "limit": limit}, "reason": "a new key", **more}
            answer = api.patch(f"/agents/{AGENT}/config", json=body, headers={"Idempotency-Key": f"patch {number}"})
            assert (answer.status_code, leaks(answer.text)) == (status, []), answer.text
        assert answer.text.count("•••") + answer.text.count("[secret ") >= 5


def leaks(text: str | bytes) -> list[str]:
    """Where the secret is in there, in any of its forms, with what stands around it."""
    raw = text.encode() if isinstance(text, str) else text
    encoded = [base64.b64encode(bytes(before) + CORE.encode())[4:-4] for before in range(3)]
    forms = [CORE.encode(), *encoded]
    return [repr(raw[max(0, found.start() - 80) : found.end() + 40]) for form in forms for found in re.finditer(re.escape(form), raw)]


def digests(server: Server) -> list[str]:
    """What the running instance acknowledges: from a hash of a text that is known but for a short secret, that can be guessed."""
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in server.data_dir.glob("agents/*/instances/*/config.json")]


def none_in(outputs: dict[str, str]) -> None:
    assert {name: found for name, text in outputs.items() if (found := leaks(text))} == {}
    assert all(outputs.values()), [name for name, text in outputs.items() if not text]


def test_the_secret_was_really_said(server: Server, planted: list[str]) -> None:
    instances = server.data_dir / "agents" / AGENT / "instances"
    assert sum(bool(leaks(log.read_bytes())) for log in instances.glob("*/output.log")) >= 2
    assert SECRET in {json.loads(file.read_text()).get("api_key") for file in instances.glob("*/config.json")}
    said = [server.deployment(name, agent=AGENT) for name in planted]
    assert [deployment["to_version"] for deployment in said if "[secret " in json.dumps(deployment)] == ["1.1.0", "1.3.0", "1.4.0"]


def tried_in_staging(server: Server) -> str:
    """A run in which instance and tests said the secret."""
    name = str(server.post(f"/agents/{AGENT}/staging", {"version": "1.3.0", "suites": ["smoke"]})["run_id"])
    done = wait_for("staging", lambda: (v := server.get(f"/agents/{AGENT}/staging/{name}"))["status"] == "completed" and v)
    assert done["recommendation"] == "issues_detected"
    assert "[secret " in json.dumps(done["suites"])
    assert "[secret " in done["log"]
    return name


def reported(server: Server, planted: list[str]) -> str:
    """A report with the logs and configurations of a version that said it."""
    return str(server.post(f"/agents/{AGENT}/issues", {"upgrade_id": planted[-1], "note": "it leaks"}, expect=201)["issue_id"])


def words(answer: httpx.Response) -> str:
    """What it says; of a zip what is said in its files."""
    if answer.headers["Content-Type"] != "application/zip":
        return answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as bundle:
        return "".join(bundle.read(name).decode() for name in bundle.namelist())


def test_no_answer_to_a_get_holds_it(server: Server, planted: list[str]) -> None:
    run, issue = tried_in_staging(server), reported(server, planted)
    instances = [one["instance"] for one in server.get(f"/agents/{AGENT}/instances")["instances"]]
    seen: dict[str, str] = {}
    with server.api() as api:
        root = server.info["api_url"]
        for path, operations in api.get(f"{root}/openapi.json").json()["paths"].items():
            if "get" not in operations:
                continue
            for name in planted if "{upgrade_id}" in path else ("",):
                address = path.replace("{upgrade_id}", name).replace("{agent_id}", AGENT).replace("{key}", "x").replace("{epoch}", "0")
                address = address.replace("{user}", "nobody")
                address = address.replace("{run_id}", run).replace("{issue_id}", issue)
                assert "{" not in address, f"{path} has a parameter this test does not know"
                for query in queries(operations["get"], instances):
                    answer = api.get(root + address, params=query)
                    seen[f"{answer.status_code} {answer.request.url}"] = words(answer)
    good = [name for name in seen if name.startswith("2")]
    assert len(good) > 25
    assert "[secret " in "".join(text for name, text in seen.items() if "/logs" in name)
    assert [name for name, text in seen.items() for digest in digests(server) if digest in text] == []
    none_in(seen)


def queries(operation: dict[str, Any], instances: list[str]) -> list[dict[str, str]]:
    """Query parameters to try an operation with: none, those it needs, and every format or instance there is."""
    names = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"}
    if {"from", "to"} <= names:
        return [{"from": "1.0.0", "to": version} for version in WORST]
    if "format" in names:
        return [{"format": form} for form in ("csv", "json")]
    if "instance" in names and "lines" in names:
        return [{"lines": "5000"}, *({"instance": instance} for instance in instances)]
    return [{"limit": "200"} if "limit" in names else {}]


def test_no_message_over_the_websocket_holds_it(server: Server, planted: list[str]) -> None:
    with server.api() as api:
        api.put("/secrets/marker", json={"value": "the end of what is read"})
    token = (server.data_dir / "admin.token").read_text().strip()
    url = server.info["api_url"].replace("http", "ws", 1) + "/ws/agent-upgrades"
    messages = [""]
    with connect(url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None, max_size=None) as socket:
        socket.send(json.dumps({"action": "subscribe", "since": 0}))
        while '"marker"' not in messages[-1]:
            messages.append(str(socket.recv(timeout=60)))
    assert sum("[secret " in message for message in messages) > 2
    none_in({f"message {number}": message for number, message in enumerate(messages) if message})


def test_no_command_prints_it(server: Server, planted: list[str]) -> None:
    commands: list[tuple[str, ...]] = [
        ("logs", AGENT, "--lines", "5000"),
        ("logs", AGENT, "--lines", "5000", "--json"),
        ("status",),
        ("agent", "list"),
        ("agent", "show", AGENT),
        ("versions", AGENT),
        ("changes", AGENT, "1.0.0", "1.5.0"),
        ("audit", "--all"),
        ("audit", "--all", "--format", "csv"),
        ("audit", "--all", "--format", "json"),
        ("secret", "list"),
        ("secret", "list", "--json"),
        ("queue", AGENT),
        *(("status", name) for name in planted),
    ]
    outputs = {}
    for words in commands:
        done = server.run(*words)
        outputs[" ".join(words)] = done.stdout + done.stderr
    none_in(outputs)


def test_neither_the_log_nor_the_database_nor_any_other_file_of_ours_holds_it(server: Server, planted: list[str]) -> None:
    """But for what is the agent's own: its output, its configuration, its state, what its installation printed."""
    own = re.compile(r"agents/[^/]+/(instances/[^/]+/(output\.log|config)|config/|state/|releases/[^/]+\.install\.log)")
    files = [path for path in server.data_dir.rglob("*") if path.is_file() and not own.match(path.relative_to(server.data_dir).as_posix())]
    names = {path.name for path in files}
    assert {"servicing.db", "servicing.db-wal", "instance.json", "secrets.key"} <= names
    found = {path.relative_to(server.data_dir).as_posix(): leaks(path.read_bytes()) for path in files}
    assert {name: places for name, places in found.items() if places} == {}
    assert [path.name for path in files for digest in digests(server) if digest.encode() in path.read_bytes()] == []
    assert leaks(server.log()) == []
    assert server.log().count("install_failed") == 1
    assert "[secret " in server.log()


def test_it_is_masked_by_a_server_that_was_started_anew_too(server: Server, planted: list[str]) -> None:
    server.kill()
    server.start()
    text = wait_for("the logs", lambda: server.run("logs", AGENT, "--lines", "5000").stdout)
    assert "[secret " in text
    assert leaks(text) == []
    none_in({name: json.dumps(server.deployment(name, agent=AGENT)) for name in planted})
