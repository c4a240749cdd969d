"""Bad input and failures over HTTP: each a problem document that says what is wrong, and nothing half-done."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message

from agent_servicing.store.database import StorageUnavailable
from agent_servicing.web.app import PREFIX
from agent_servicing.web.limits import MAX_BODY_BYTES
from agent_servicing.web.middleware import BodyLimitMiddleware
from agent_servicing.web.problems import error_response
from tests.integration.api_world import AGENT, MANIFEST, UPGRADE, ApiWorld

pytestmark = pytest.mark.anyio

FIELDS = {"type", "title", "status", "code", "detail", "hint", "errors", "request_id"}


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The document, after the checks that hold for every one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert document.keys() >= FIELDS
    assert document["status"] == status
    assert document["code"] == code
    assert document["type"] == f"urn:agent-servicing:error:{code}"
    assert document["request_id"] == answer.headers["X-Request-Id"]
    assert document["detail"]
    return dict(document)


async def post(world: ApiWorld, path: str, **request: Any) -> httpx.Response:
    async with world.client(world.admin_token) as client:
        return await client.post(f"{PREFIX}{path}", **request)


JSON = {"Content-Type": "application/json"}


async def test_broken_json_is_told_with_its_position(api_world: ApiWorld) -> None:
    found = problem(await post(api_world, "/agents", content='{"manifest": ', headers=JSON), 422, "invalid_request")
    assert "not valid JSON" in found["detail"]
    assert "position 13" in found["detail"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({**UPGRADE, "reasn": "x"}, "reasn"),
        ({**UPGRADE, "blue_green": {"step": [100]}}, "blue_green.step"),
        ({"target_version": "1.3.0"}, "reason"),
        ({**UPGRADE, "reason": "   "}, "reason"),
        ({**UPGRADE, "reason": "x" * 2001}, "reason"),
        ({**UPGRADE, "reason": "a\u0000b"}, "reason"),
        ({**UPGRADE, "target_version": 13}, "target_version"),
        ({**UPGRADE, "acknowledge_breaking": "true"}, "acknowledge_breaking"),
        ({**UPGRADE, "blue_green": {"monitor_seconds": "180"}}, "blue_green.monitor_seconds"),
        ({**UPGRADE, "blue_green": {"steps": [50, 101]}}, "blue_green.steps.1"),
        ({**UPGRADE, "blue_green": {"steps": []}}, "blue_green.steps"),
        ({**UPGRADE, "blue_green": {"steps": [1] * 21}}, "blue_green.steps"),
        ({**UPGRADE, "auto_rollback": {"error_rate_threshold": -1}}, "auto_rollback.error_rate_threshold"),
        ({**UPGRADE, "auto_rollback": {"latency_threshold_ms": 0}}, "auto_rollback.latency_threshold_ms"),
        ({**UPGRADE, "schedule": "tomorrow"}, "schedule"),
        ({**UPGRADE, "schedule": "2026-01-02T02:00:00"}, "schedule"),
        ({**UPGRADE, "schedule": 1767319200}, "schedule"),
        ({**UPGRADE, "schedule": "0001-01-01T00:00:00+14:00"}, "schedule"),
        ({**UPGRADE, "when_busy": "wait"}, "when_busy"),
        ([UPGRADE], ""),
        ("upgrade", ""),
        (None, ""),
    ],
)
async def test_a_wrong_upgrade_request_names_the_field_and_changes_nothing(api_world: ApiWorld, body: Any, path: str) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        before = await api_world.services.events.last_seq()
        found = problem(await client.post(f"{PREFIX}/agents/{AGENT}/upgrade", json=body), 422, "invalid_request")
        assert path in [error["path"] for error in found["errors"]]
        assert await api_world.services.events.last_seq() == before


async def test_broken_unicode_and_numbers_that_are_none_are_refused(api_world: ApiWorld) -> None:
    for value in ('"\\ud800"', "NaN", "Infinity", "1e999"):
        text = '{"target_version": "1.3.0", "reason": "r", "blue_green": {"monitor_seconds": VALUE}}'.replace("VALUE", value)
        problem(await post(api_world, f"/agents/{AGENT}/upgrade", content=text, headers=JSON), 422, "invalid_request")
    text = '{"target_version": "1.3.0", "reason": "\\ud800"}'
    problem(await post(api_world, f"/agents/{AGENT}/upgrade", content=text, headers=JSON), 422, "invalid_request")
    broken = json.dumps({"manifest": {"agent": {"id": "A", "description": "\ud800"}}})
    problem(await post(api_world, "/agents", content=broken, headers=JSON), 422, "invalid_request")


async def test_json_that_is_nested_too_deeply_is_refused(api_world: ApiWorld) -> None:
    answer = await post(api_world, "/agents", content=b"[" * 200_000, headers=JSON)
    assert answer.status_code in (400, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_body_that_is_not_sent_as_json_is_refused(api_world: ApiWorld) -> None:
    problem(await post(api_world, "/agents", content="manifest=1", headers={"Content-Type": "text/plain"}), 422, "invalid_request")


async def test_a_body_over_the_limit_is_refused_whether_announced_or_not(api_world: ApiWorld) -> None:
    big = b" " * (MAX_BODY_BYTES + 1)
    problem(await post(api_world, "/agents", content=big, headers=JSON), 413, "body_too_large")

    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * (MAX_BODY_BYTES // 32)

    for headers in (JSON, {**JSON, "Idempotency-Key": "big"}):
        answer = await post(api_world, "/agents", content=chunks(), headers=headers)
        assert answer.status_code == 413
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/agents/Nobody", "unknown_agent"),
        ("GET", "/agents/no%20body", "unknown_agent"),
        ("GET", "/agents/%00", "unknown_agent"),
        ("DELETE", "/agents/Nobody", "unknown_agent"),
        ("GET", "/agents/Nobody/instances", "unknown_agent"),
        ("GET", "/agents/Nobody/logs", "unknown_agent"),
        ("GET", "/agents/Nobody/metrics", "unknown_agent"),
        ("GET", "/agents/Nobody/versions", "unknown_agent"),
        ("POST", "/agents/Nobody/versions/refresh", "unknown_agent"),
        ("GET", "/agents/Nobody/changes?from=1.0.0&to=1.1.0", "unknown_agent"),
        ("GET", "/agents/Nobody/upgrades", "unknown_agent"),
        ("GET", "/agents/Nobody/upgrades/upg-1", "unknown_deployment"),
        ("POST", "/agents/Nobody/upgrades/upg-1/pause", "unknown_deployment"),
        ("GET", "/nothing", "not_found"),
        ("GET", "/agents/", "not_found"),
        ("GET", "/agents/Nobody/upgrades/upg-1/stop", "not_found"),
    ],
)
async def test_what_is_not_there_is_404(api_world: ApiWorld, method: str, path: str, code: str) -> None:
    async with api_world.client(api_world.admin_token) as client:
        problem(await client.request(method, PREFIX + path), 404, code)


async def test_unknown_agents_are_404_for_what_takes_a_body(api_world: ApiWorld) -> None:
    bodies = {"upgrade": UPGRADE, "rollback": {"reason": "r"}, "scale": {"instances": 2}, "restart": {"reason": "r"}}
    for verb, body in bodies.items():
        problem(await post(api_world, f"/agents/Nobody/{verb}", json=body), 404, "unknown_agent")
    problem(await post(api_world, "/agents/Nobody/upgrade", json={**UPGRADE, "dry_run": True}), 404, "unknown_agent")


async def test_a_method_that_is_not_possible_is_405_and_names_those_that_are(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        answer = await client.put(f"{PREFIX}/agents")
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/agents?limit=0", "query.limit"),
        ("/agents?limit=201", "query.limit"),
        ("/agents?limit=x", "query.limit"),
        ("/agents?limt=5", "query.limt"),
        ("/audit?since=yesterday", "query.since"),
        ("/audit?operatr=me", "query.operatr"),
        ("/audit/export?format=xml", "query.format"),
        (f"/agents/{AGENT}/logs?lines=5001", "query.lines"),
        (f"/agents/{AGENT}/metrics?window=nan", "query.window"),
        (f"/agents/{AGENT}/metrics?window=0", "query.window"),
        (f"/agents/{AGENT}/changes?from=1.2.5", "query.to"),
    ],
)
async def test_a_wrong_query_parameter_is_named(api_world: ApiWorld, path: str, field: str) -> None:
    async with api_world.client(api_world.admin_token) as client:
        found = problem(await client.get(PREFIX + path), 422, "invalid_request")
        assert [error["path"] for error in found["errors"]] == [field]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"manifest": "[agent\n"}, 422),
        ({"manifest": {"agent": {"id": "A"}, "surce": {}}}, 422),
        ({"manifest": ""}, 422),
        ({"manifest": 5}, 422),
        ({}, 422),
        ({"manifest": MANIFEST, "manifest_path": "relative/agent.toml"}, 422),
        ({"manifest": MANIFEST.replace("/srv/wow-memory", "./here")}, 422),
        ({"manifest": MANIFEST, "version": "9.9.9"}, 404),
    ],
)
async def test_an_agent_that_cannot_be_added_leaves_nothing_behind(api_world: ApiWorld, body: Any, status: int) -> None:
    async with api_world.client(api_world.admin_token) as client:
        answer = await client.post(f"{PREFIX}/agents", json=body)
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (await client.get(f"{PREFIX}/agents")).json()["agents"] == []


async def test_an_unexpected_failure_is_500_and_says_nothing_of_its_inside(api_world: ApiWorld) -> None:
    async def explode(agent: str) -> None:
        raise RuntimeError("the password is swordfish")

    world_source = api_world.source
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        world_source.versions = explode  # type: ignore[assignment,method-assign]
        for key in ("same", "same"):
            path = f"{PREFIX}/agents/{AGENT}/versions/refresh"
            answer = await client.post(path, headers={"Idempotency-Key": key})
            found = problem(answer, 500, "internal_error")
            assert "swordfish" not in answer.text
            assert "RuntimeError" not in answer.text
            assert found["request_id"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers.get("Idempotency-Replayed") != "true"


async def test_what_is_not_possible_now_is_503_with_a_time_to_come_back(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        api_world.metrics.reachable = False
        answer = await client.get(f"{PREFIX}/agents/{AGENT}/metrics")
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert int(answer.headers["Retry-After"]) >= 1


async def test_a_request_id_is_taken_over_when_it_is_harmless_and_replaced_when_it_is_not(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        assert (await client.get(f"{PREFIX}/me", headers={"X-Request-Id": "abc-1"})).headers["X-Request-Id"] == "abc-1"
        strange = await client.get(f"{PREFIX}/me", headers={"X-Request-Id": "a b<script>"})
        assert strange.headers["X-Request-Id"].startswith("req-")


async def test_a_body_that_stops_arriving_is_given_up(api_world: ApiWorld) -> None:
    async def stalls() -> AsyncIterator[bytes]:
        yield b'{"manifest": '
        await anyio.Event().wait()

    impatient = BodyLimitMiddleware(api_world.app, silence_seconds=0.05)
    headers = {**JSON, "Authorization": f"Bearer {api_world.admin_token}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(impatient), base_url="http://server", headers=headers) as client:
        for key in ({}, {"Idempotency-Key": "slow"}):
            problem(await client.post(f"{PREFIX}/agents", content=stalls(), headers=key), 408, "request_timeout")


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_failure_of_ours(api_world: ApiWorld) -> None:
    sent: list[Message] = []

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    names = {"authorization": f"Bearer {api_world.admin_token}", "idempotency-key": "gone", "content-type": "application/json"}
    headers = [(name.encode(), value.encode()) for name, value in names.items()]
    scope = {"type": "http", "method": "POST", "path": f"{PREFIX}/agents", "headers": headers, "query_string": b"", "root_path": ""}
    await api_world.app({**scope, "server": ("server", 80), "scheme": "http", "http_version": "1.1"}, gone, send)
    assert not [message for message in sent if message.get("status") == 500]


async def test_a_database_that_is_away_says_when_to_come_back(api_world: ApiWorld) -> None:
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "app": api_world.app, "state": {}})
    answer = error_response(request, StorageUnavailable("the disk is full", retry_after_seconds=4.2))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert json.loads(bytes(answer.body))["code"] == "storage_unavailable"
