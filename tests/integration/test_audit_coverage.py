"""Every operation that changes something leaves an audit entry: the OpenAPI document says which there are, and each is made to succeed."""

import io
import json
import tarfile
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel
import httpx
import pytest

from agent_servicing.adapters.state.hooks import Converted, TakenIn
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Process
from agent_servicing.core.staging.model import CaseResult, CaseStatus, RunStatus, SuiteResult
from agent_servicing.store import audit
from agent_servicing.store.staging import SqlStagingRuns
from tests.integration.access_world import PASSWORD, a_browser, a_user, told
from tests.integration.api_world import AGENT, MANIFEST, UPGRADE, ApiWorld, open_world

pytestmark = pytest.mark.anyio

UNSAFE: Final = ("post", "put", "patch", "delete")

PREFIX: Final = "/api/platform"
OF: Final = "/agents/{agent_id}"
UPGRADE_OF: Final = OF + "/upgrades/{upgrade_id}"
STATE: Final = OF + "/state"

EXCEPTIONS: Final = {
    ("POST", f"{PREFIX}{OF}/config/validate"): "only asks; nothing is kept",
    ("POST", f"{PREFIX}{UPGRADE_OF}/analysis"): "only computes what other limits would have said",
    ("POST", "/ofrep/v1/evaluate/flags"): "only reads flags, by POST as that protocol has it",
    ("POST", "/ofrep/v1/evaluate/flags/{key}"): "only reads a flag",
    ("POST", f"{PREFIX}{OF}/link"): "an instance says which configuration it has: measured, not done",
    ("POST", f"{PREFIX}{OF}/reports"): "measured values of instances",
    ("POST", f"{PREFIX}{OF}/versions/refresh"): "looks what the source has; new versions are told as events",
    ("POST", f"{PREFIX}/notifications/read-all"): "a mark of the reader's own",
    ("POST", f"{PREFIX}/notifications/{{notification_id}}/read"): "a mark of the reader's own",
}
"""These leave no entry, and why."""

CONFIG: Final = """
[config]
schema = "config.schema.json"
defaults = { limit = 10 }
reload = "sdk"
[state]
directory = "state"
[[state.stores]]
kind = "directory"
path = "kept"
[[state.stores]]
kind = "http"
"""
SCHEMA: Final = {"type": "object", "additionalProperties": False, "properties": {"limit": {"type": "integer"}}}


class Memories:
    """Implements `StateHooks` as a version does that exports one record and takes all of them in, once it was told to."""

    taking = False

    async def export(self, agent: str, process: Process, target: Path) -> None:  # noqa: ARG002  (there is one agent)
        await anyio.Path(target).write_text('{"id": "only the agent knows"}\n')

    async def convert(self, manifest: Manifest, processes: Sequence[Process], schema: int) -> Converted:  # noqa: ARG002  (nothing to convert)
        return Converted(converted=0, failed=0)

    async def take_in(self, agent: str, process: Process, lines: Sequence[bytes]) -> TakenIn:  # noqa: ARG002  (there is one agent)
        if not self.taking:
            raise PermanentError("this version takes nothing in")
        return TakenIn(imported=len(lines))


@dataclass
class Walk:
    """Asks, and looks for the entry of each answer that was a success."""

    world: ApiWorld
    memories: Memories
    silent: list[tuple[str, str]] = field(default_factory=list)
    done: set[tuple[str, str]] = field(default_factory=set)

    async def does(
        self, client: httpx.AsyncClient, method: str, path: str, body: Any = None, *, who: str = "admin", given: Any = None, **names: str
    ) -> Any:
        """The answer's JSON. `names` fill in the path, `given` are more parameters of the request."""
        number = await self._entries()
        request_id = f"walk-{len(self.done)}-{number}"
        more = {**(given or {})}
        more["headers"] = {"X-Request-Id": request_id, **more.get("headers", {})}
        if body is not None:
            more["json"] = body
        answer = await client.request(method, PREFIX + path.format(agent_id=AGENT, **names), **more)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        self.done.add((method, PREFIX + path))
        async with self.world.database.read() as connection:
            entries = await audit.entries_after(connection, number, limit=100)
        own = [each.event for each in entries if each.event.actor == who]
        named = [each for each in own if dict(each.data["source"]).get("request_id") == request_id]  # type: ignore[call-overload]
        if not [each for each in named if each.data.get("status")]:
            self.silent.append((method, path))
        return answer.json() if answer.content and answer.headers["Content-Type"].startswith("application/json") else None

    async def _entries(self) -> int:
        async with self.world.database.read() as connection:
            return (await audit.head(connection)).written.entries


def unsafe(world: ApiWorld) -> set[tuple[str, str]]:
    paths = world.app.openapi()["paths"]
    return {(method.upper(), path) for path, operations in paths.items() for method in operations if method in UNSAFE}


async def signing_in(walk: Walk, client: httpx.AsyncClient) -> None:
    """People, their sessions, tokens."""
    token = await walk.world.services.users.ensure_setup_token()
    async with a_browser(walk.world) as browser:
        await walk.does(browser.http, "POST", "/setup", {"setup_token": token, "user": "ada", "password": PASSWORD}, who="ada")
        await browser.sign_in("ada")
        browser.http.headers.update(browser.own_headers)
        await walk.does(browser.http, "PUT", "/me/password", {"current_password": PASSWORD, "new_password": PASSWORD + " or"}, who="ada")
        await walk.does(browser.http, "POST", "/session", {"user": "ada", "password": PASSWORD + " or"}, who="ada")
    async with a_browser(walk.world) as browser:
        await browser.sign_in("ada", PASSWORD + " or")
        browser.http.headers.update(browser.own_headers)
        sessions = (await browser.get("sessions")).json()["sessions"]
        other = next(each["session_id"] for each in sessions if not each.get("current"))
        await walk.does(browser.http, "DELETE", "/sessions/{session_id}", who="ada", session_id=other)
        await walk.does(browser.http, "DELETE", "/session", who="ada")
    await walk.does(client, "POST", "/users", {"name": "bob", "role": "viewer"})
    await walk.does(client, "PATCH", "/users/{user}", {"role": "operator"}, user="bob")
    await walk.does(client, "PUT", "/users/{user}/password", {"password": PASSWORD}, user="bob")
    await walk.does(client, "POST", "/users/{user}/link", user="bob")
    await walk.does(client, "DELETE", "/users/{user}/sessions", user="bob")
    await walk.does(client, "POST", "/users/{user}/disable", user="bob")
    await walk.does(client, "POST", "/users/{user}/enable", user="bob")
    await walk.does(client, "POST", "/tokens/sign-in")
    await walk.does(client, "POST", "/tokens", {"name": "ci", "role": "viewer"})
    listed = (await client.get(f"{PREFIX}/tokens")).json()["tokens"]
    await walk.does(client, "DELETE", "/tokens/{token_id}", token_id=next(each["token_id"] for each in listed if each["name"] == "ci"))


async def the_server(walk: Walk, client: httpx.AsyncClient) -> None:
    """Settings, schedule, secrets, backups."""
    await walk.does(client, "PUT", "/secrets/{name}", {"value": "the first"}, name="shared")
    await walk.does(client, "POST", "/secrets/{name}/apply", {}, name="shared")
    await walk.does(client, "DELETE", "/secrets/{name}", name="shared")
    targets = {"targets": [{"name": "ops", "url": "memory://ops"}], "rules": []}
    await walk.does(client, "PUT", "/settings/notifications", targets)
    await walk.does(client, "POST", "/settings/notifications/targets/{name}/test", name="ops")
    await client.put(f"{PREFIX}/secrets/tracker", json={"value": "S3ntinel-token"})
    tracker = {"kind": "github", "project": "wow/memory", "token": {"$secret": "tracker"}}
    issue = await walk.does(client, "POST", f"{OF}/issues", {"title": "odd answers"})
    await walk.does(client, "PUT", "/settings/issues", tracker)
    await walk.does(client, "POST", "/settings/issues/test")
    await walk.does(client, "POST", f"{OF}/issues/{{issue_id}}/send", issue_id=issue["issue_id"])
    await walk.does(client, "PUT", "/settings/thresholds", {"thresholds": {"error_rate_threshold": 2.0}})
    await walk.does(client, "PUT", f"{OF}/thresholds", {"thresholds": {"latency_threshold_ms": 300}, "reason": "promised"})
    rule = {"kind": "window", "name": "nights", "cron": "0 22 * * *", "duration_seconds": 28_800, "reason": "least traffic"}
    made = await walk.does(client, "POST", "/schedule/rules", rule)
    await walk.does(client, "DELETE", "/schedule/rules/{rule_id}", rule_id=made["rule_id"])
    await walk.does(client, "PUT", "/schedule/limit", {"max_concurrent_deployments": 3})
    await walk.does(client, "POST", "/schedule/stop", {"reason": "incident"})
    await walk.does(client, "POST", "/schedule/resume", {"reason": "over"})
    await walk.does(client, "POST", "/backup")


async def deploying(walk: Walk, client: httpx.AsyncClient) -> None:
    """One upgrade after another, with every verb."""
    world = walk.world
    world.source.names = ["1.2.5", "1.3.0", "1.4.0", "1.5.0"]
    await client.post(f"{PREFIX}/agents/{AGENT}/versions/refresh")
    slow = {**UPGRADE, "blue_green": {"steps": [50, 100], "monitor_seconds": 60}}
    first = (await walk.does(client, "POST", f"{OF}/upgrade", slow))["upgrade_id"]
    await world.until(client, first, "in_progress")
    second = (await client.post(f"{PREFIX}/agents/{AGENT}/upgrade", json={**slow, "target_version": "1.4.0"})).json()["upgrade_id"]
    third = (await client.post(f"{PREFIX}/agents/{AGENT}/upgrade", json={**slow, "target_version": "1.5.0"})).json()["upgrade_id"]
    await walk.does(client, "POST", f"{UPGRADE_OF}/move", {"position": 1, "reason": "urgent"}, upgrade_id=third)
    at = (world.clock.now() + timedelta(days=1)).isoformat()
    await walk.does(client, "POST", f"{UPGRADE_OF}/reschedule", {"schedule": at, "reason": "later"}, upgrade_id=second)
    for verb, status in (("pause", "paused"), ("resume", "in_progress"), ("override", "in_progress"), ("promote", "")):
        await walk.does(client, "POST", f"{UPGRADE_OF}/{verb}", {"reason": "asked for"}, upgrade_id=first)
        if status:
            await world.until(client, first, status)
    for upgrade in (second, third):
        await walk.does(client, "POST", f"{UPGRADE_OF}/cancel", {"reason": "not now"}, upgrade_id=upgrade)
    await world.until(client, first, "completed")
    back = await walk.does(client, "POST", f"{OF}/rollback", {"reason": "odd answers"})
    await world.until(client, back["upgrade_id"], "completed")


async def approving(walk: Walk, client: httpx.AsyncClient) -> None:
    await a_user(walk.world, "grace", "operator")
    await walk.does(client, "PUT", f"{OF}/approval", {"required": True, "reason": "customers' memories"})
    asked = [(await client.post(f"{PREFIX}/agents/{AGENT}/upgrade", json=UPGRADE)).json()["upgrade_id"]]
    asked.append((await client.post(f"{PREFIX}/agents/{AGENT}/upgrade", json={**UPGRADE, "target_version": "1.4.0"})).json()["upgrade_id"])
    async with a_browser(walk.world) as grace:
        await grace.sign_in("grace")
        grace.http.headers.update(grace.own_headers)
        await walk.does(grace.http, "POST", f"{UPGRADE_OF}/reject", {"reason": "no"}, who="grace", upgrade_id=asked[1])
        await walk.does(grace.http, "POST", f"{UPGRADE_OF}/approve", {"reason": "read it"}, who="grace", upgrade_id=asked[0])
    await walk.world.until(client, asked[0], "completed")
    await client.put(f"{PREFIX}/agents/{AGENT}/approval", json={"required": False, "reason": "over"})


async def versions(walk: Walk, client: httpx.AsyncClient) -> None:
    one = {"version": "1.4.0"}
    await walk.does(client, "POST", f"{OF}/versions/{{version}}/deprecate", {"reason": "slow"}, **one)
    await walk.does(client, "POST", f"{OF}/versions/{{version}}/withdraw", {"reason": "it forgets"}, **one)
    await walk.does(client, "POST", f"{OF}/versions/{{version}}/restore", {"reason": "it does not"}, **one)
    archive = {"content": packed(), "headers": {"Content-Type": "application/octet-stream"}, "params": {"reason": "leaks"}}
    made = await walk.does(client, "POST", f"{OF}/versions", given=archive)
    await walk.does(client, "DELETE", f"{OF}/versions/{{version}}", version=made["version"], given={"params": {"reason": "seen"}})


def packed() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as tar:
        for name, content in (("agent.toml", MANIFEST), ("app.py", "print()")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
    return held.getvalue()


async def configuring(walk: Walk, client: httpx.AsyncClient) -> None:
    asked = walk.does(client, "PATCH", f"{OF}/config", {"config_updates": {"limit": 5}, "reason": "fewer"})
    await while_turning(walk.world, asked)
    await while_turning(walk.world, walk.does(client, "POST", f"{OF}/config/rollback", {"reason": "more again"}))


async def while_turning(world: ApiWorld, asked: Awaitable[Any]) -> None:
    """Let the engine work until it is answered."""

    async def send() -> None:
        await asked
        ended.set()

    ended = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        while not ended.is_set():
            await world.turn()
            await anyio.lowlevel.checkpoint()


async def remembering(walk: Walk, client: httpx.AsyncClient) -> None:
    """Snapshots, and what was set aside as one was put back."""
    name = (await walk.does(client, "POST", f"{STATE}/snapshots", {"reason": "before the import"}))["snapshot"]
    with anyio.fail_after(60):
        while name not in [each["snapshot"] for each in (await client.get(f"{PREFIX}/agents/{AGENT}/state")).json()["snapshots"]]:
            await SystemClock().sleep(0.01)
    await walk.does(client, "POST", f"{STATE}/snapshots/{{snapshot}}/rehearse", snapshot=name)
    await walk.does(client, "POST", f"{STATE}/snapshots/{{snapshot}}/unpack", snapshot=name)
    walk.memories.taking = True
    brought = await walk.does(client, "POST", f"{STATE}/snapshots/{{snapshot}}/bring", {"reason": "the agent's own"}, snapshot=name)
    assert (brought["taken"], brought["refused"]) == (1, 0)
    walk.memories.taking = False
    await walk.does(client, "DELETE", f"{STATE}/snapshots/{{snapshot}}", snapshot=name)
    asked = await client.post(f"{PREFIX}/agents/{AGENT}/upgrade", json={**UPGRADE, "target_version": "1.5.0"})
    upgrade = asked.json()["upgrade_id"]
    await walk.world.until(client, upgrade, "completed")
    keep(walk.world, "written since")
    back = await client.post(f"{PREFIX}/agents/{AGENT}/rollback", json={"state": "restore", "reason": "it forgets"})
    assert back.status_code == 202, back.text
    await walk.world.until(client, back.json()["upgrade_id"], "completed")
    walk.memories.taking = True
    offered = await walk.does(client, "POST", f"{STATE}/set-aside/{{epoch}}/offer", epoch="0")
    assert (offered["kept"], offered["set_aside"]) == (1, 0), "what was refused before is taken in now"
    given = {"json": {"reason": "seen"}}
    await walk.does(client, "DELETE", f"{STATE}/set-aside/{{epoch}}", epoch="0", given=given)


def keep(world: ApiWorld, text: str) -> None:
    folder = world.app.state.context.settings.data_dir / "agents" / AGENT / "state" / "kept"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes").write_text(text)


async def staging(walk: Walk, client: httpx.AsyncClient) -> None:
    await walk.does(client, "PUT", f"{OF}/staging/gate", {"required": False, "fresh_hours": 24, "reason": "not yet"})
    run = (await walk.does(client, "POST", f"{OF}/staging", {"version": "1.4.0", "suites": ["smoke"]}))["run_id"]
    await walk.does(client, "DELETE", f"{OF}/staging/{{run_id}}", run_id=run)
    runs = SqlStagingRuns(database=walk.world.database, ids=walk.world.app.state.context.ids, event_retention_count=1_000)
    stored = next(each for each in await runs.pending() if each.run == run)
    case = CaseResult(case="smoke-1", suite="smoke", name="only", status=CaseStatus.PASSED)
    suite = SuiteResult(suite="smoke", status=CaseStatus.PASSED, cases=(case,))
    await runs.save(replace(stored, status=RunStatus.COMPLETED, suites=(suite,)))
    await walk.does(client, "POST", f"{OF}/staging/{{run_id}}/cases/{{case}}", {"reason": "again"}, run_id=run, case="smoke-1")


async def one_agent(walk: Walk, client: httpx.AsyncClient) -> None:
    """Its other verbs; it is removed in the end."""
    await walk.does(client, "POST", f"{OF}/lock", {"reason": "mine for now"})
    await walk.does(client, "DELETE", f"{OF}/lock")
    await walk.does(client, "POST", f"{OF}/scale", {"instances": 3, "reason": "busy"})
    for _ in range(30):
        await walk.world.turn()
    await walk.does(client, "POST", f"{OF}/restart", {"reason": "stale"})
    await walk.does(client, "DELETE", OF, given={"params": {"reason": "gone"}})


async def test_every_operation_that_changes_something_leaves_an_entry_that_says_who_from_where_and_how_it_ended(
    tmp_path: Path, anyio_backend: str
) -> None:
    memories = Memories()
    async with open_world(tmp_path, hooks=memories) as api_world:
        await walked(api_world, memories)


async def walked(api_world: ApiWorld, memories: Memories) -> None:
    api_world.source.manifest_text = MANIFEST + CONFIG
    api_world.source.schemas = {name: json.dumps(SCHEMA) for name in ("1.2.4", "1.2.5", "1.3.0", "1.4.0", "1.5.0")}
    keep(api_world, "remember")
    async with api_world.client(api_world.admin_token) as client:
        walk = Walk(api_world, memories)
        added = await walk.does(client, "POST", "/agents", {"manifest": MANIFEST + CONFIG, "version": "1.2.5"})
        await api_world.until(client, added["upgrade_id"], "completed")
        for part in (signing_in, the_server, deploying, approving, versions, configuring, remembering, staging, one_agent):
            await part(walk, client)
    assert sorted(walk.silent) == []
    assert sorted(unsafe(api_world) - walk.done - EXCEPTIONS.keys()) == [], "an operation nobody walks"
    assert sorted(EXCEPTIONS.keys() - unsafe(api_world)) == [], "an exception for what is not there"


async def test_a_failed_sign_in_is_on_record_too(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada", "admin")
    async with a_browser(api_world) as browser:
        assert (await browser.sign_in("ada", "wrong")).status_code == 401
    (entry,) = await told(api_world, "sign_in_failed")
    assert (entry["status"], entry["user"], entry["source"]["address"]) == ("failed", "ada", "192.0.2.7")
