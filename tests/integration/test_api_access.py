"""Who may do what over HTTP: every operation walked anonymously and with each role, tokens and their reach."""

import re
from typing import Any

import pytest

from agent_servicing.web.app import PREFIX
from agent_servicing.web.auth import ANYONE, INSTANCE
from tests.integration.api_world import AGENT, MANIFEST, ApiWorld

pytestmark = pytest.mark.anyio

OPEN = {"/healthz", "/readyz"}
ORDER = ("viewer", "operator", "admin")


def operations(world: ApiWorld) -> list[tuple[str, str, dict[str, Any]]]:
    """(method, a path with parameters filled in, operation) of the whole API description."""
    found = [
        (method.upper(), re.sub(r"\{\w+\}", "x", path), operation)
        for path, operations in world.app.openapi()["paths"].items()
        for method, operation in operations.items()
    ]
    assert len(found) > 25
    return found


async def test_every_operation_refuses_an_anonymous_caller(api_world: ApiWorld) -> None:
    async with api_world.client(None) as client:
        for method, path, operation in operations(api_world):
            answer = await client.request(method, path)
            if path in OPEN:
                assert answer.status_code == 200, path
                continue
            if operation["x-required-role"] == ANYONE:
                assert answer.status_code == (200 if method == "GET" else 422), (method, path)
                continue
            assert answer.status_code == 401, (method, path)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["code"] == "unauthenticated"


async def test_a_token_that_nobody_gave_out_is_called_invalid(api_world: ApiWorld) -> None:
    for token in ("wrong", "x" * 5000):
        async with api_world.client(token) as client:
            answer = await client.get(f"{PREFIX}/me")
            assert answer.status_code == 401
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
            assert token not in answer.text


async def test_an_unknown_path_says_nothing_to_an_anonymous_caller(api_world: ApiWorld) -> None:
    async with api_world.client(None) as client:
        assert (await client.get(f"{PREFIX}/nothing")).status_code == 401
        assert (await client.get("/assets/../pyproject.toml")).status_code in (401, 404)
        assert (await client.get("/assets/nothing.js")).status_code == 404


async def test_every_operation_names_the_role_it_needs_and_refuses_the_roles_below(api_world: ApiWorld) -> None:
    refused = 0
    for role in ORDER:
        async with api_world.client(await api_world.token(role)) as client:
            for method, path, operation in operations(api_world):
                if path in OPEN:
                    continue
                needed = operation["x-required-role"]
                if needed == ANYONE:
                    continue
                answer = await client.request(method, path)
                if needed == INSTANCE:
                    assert (answer.status_code, answer.json()["code"]) == (403, "instances_only"), (role, method, path)
                    continue
                if ORDER.index(role) < ORDER.index(needed):
                    assert (answer.status_code, answer.json()["code"]) == (403, "role_too_low"), (role, method, path)
                    refused += 1
                else:
                    assert answer.status_code not in (401, 403, 500), (role, method, path)
    assert refused > 10


async def test_only_an_admin_removes_an_agent_and_manages_tokens(api_world: ApiWorld) -> None:
    roles = {(method, path): operation.get("x-required-role") for method, path, operation in operations(api_world)}
    assert roles["DELETE", f"{PREFIX}/agents/x"] == "admin"
    managed = [each for each in roles if re.search("/(tokens|users)", each[1]) and each != ("POST", f"{PREFIX}/tokens/sign-in")]
    assert {roles[each] for each in managed} == {"admin"}
    reads = {path: roles[method, path] for method, path in roles if method == "GET" and "/agents" in path}
    # What an agent remembers is its users' own: who may only look sees how much was set aside, not the memories.
    assert [path for path, role in reads.items() if role == "operator"] == [path for path in reads if path.endswith("/records")] != []
    assert set(reads.values()) == {"viewer", "operator", INSTANCE}


async def test_a_token_for_some_agents_reaches_no_other(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as admin:
        await api_world.add(admin)
    async with api_world.client(await api_world.token("operator", ["WowCache"])) as client:
        assert (await client.get(f"{PREFIX}/agents")).json()["agents"] == []
        for path in (
            f"{PREFIX}/agents/{AGENT}",
            f"{PREFIX}/agents/{AGENT}/audit",
            f"{PREFIX}/audit",
            f"{PREFIX}/audit/export",
            f"{PREFIX}/fleet",
        ):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (403, "agent_out_of_reach"), path
        added = await client.post(f"{PREFIX}/agents", json={"manifest": MANIFEST})
        assert added.status_code == 403
        assert (await client.get(f"{PREFIX}/audit?agent=WowCache")).status_code == 200
        me = (await client.get(f"{PREFIX}/me")).json()
        assert (me["name"], me["role"], me["agents"], me["csrf_token"]) == ("operator-WowCache", "operator", ["WowCache"], None)
    async with api_world.client(await api_world.token("viewer", [AGENT])) as client:
        assert [a["agent_id"] for a in (await client.get(f"{PREFIX}/agents")).json()["agents"]] == [AGENT]
        assert (await client.get(f"{PREFIX}/agents/{AGENT}")).status_code == 200


async def test_a_token_is_shown_once_listed_without_its_secret_and_useless_once_revoked(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as admin:
        body = {"name": "ci", "role": "viewer", "agents": [AGENT], "expires_at": "2026-07-01T02:00:00+02:00"}
        created = await admin.post(f"{PREFIX}/tokens", json=body)
        assert created.status_code == 201
        assert created.headers["Cache-Control"] == "no-store"
        secret = created.json()["token"]
        assert created.json()["expires_at"] == "2026-07-01T00:00:00Z"
        listed = await admin.get(f"{PREFIX}/tokens")
        assert secret not in listed.text
        entry = next(t for t in listed.json()["tokens"] if t["name"] == "ci")
        assert entry["agents"] == [AGENT]
        async with api_world.client(secret) as client:
            assert (await client.get(f"{PREFIX}/me")).status_code == 200
            assert (await admin.delete(f"{PREFIX}/tokens/{entry['token_id']}")).status_code == 204
            assert (await client.get(f"{PREFIX}/me")).status_code == 401
        assert (await admin.delete(f"{PREFIX}/tokens/tok-nobody")).status_code == 404


async def test_repeating_the_creation_of_a_token_neither_makes_a_second_nor_keeps_the_secret(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as admin:
        request = {"json": {"name": "ci", "role": "viewer"}, "headers": {"Idempotency-Key": "once"}}
        assert (await admin.post(f"{PREFIX}/tokens", **request)).status_code == 201
        again = await admin.post(f"{PREFIX}/tokens", **request)
        assert (again.status_code, again.json()["code"]) == (409, "answer_not_kept")
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.headers["Content-Type"] == "application/problem+json"


async def test_lists_are_cut_into_pages(api_world: ApiWorld) -> None:
    for number in range(5):
        await api_world.token("viewer", name=f"t{number}")
    async with api_world.client(api_world.admin_token) as admin:
        names: list[str] = []
        cursor: str | None = None
        for _ in range(10):
            page = (await admin.get(f"{PREFIX}/tokens", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
            assert len(page["tokens"]) <= 2
            names += [token["name"] for token in page["tokens"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert sorted(names) == ["admin", "t0", "t1", "t2", "t3", "t4"]
