"""Who may do what over HTTP: every operation walked anonymously, with each role, and with everything that is good no more; tokens and their reach."""

import re
from datetime import timedelta
from typing import Any

import httpx
import pytest

from agent_servicing.services.access import Role
from agent_servicing.web.app import PREFIX
from agent_servicing.web.auth import ANYONE, INSTANCE
from tests.integration.access_world import Browser, a_browser, a_user
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


async def refused_everywhere(world: ApiWorld, http: httpx.AsyncClient, why: str) -> None:
    """No operation answers anything but 401, whatever it needs."""
    for method, path, operation in operations(world):
        if path in OPEN or operation["x-required-role"] == ANYONE:
            continue
        answer = await http.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), (why, method, path)


async def test_what_is_good_no_more_opens_no_operation(api_world: ApiWorld) -> None:
    access, clock = api_world.services.access, api_world.clock
    soon = clock.now() + timedelta(seconds=60)
    expiring = await access.create_token("expiring", Role.ADMIN, None, soon, actor="test")
    revoked = await access.create_token("revoked", Role.ADMIN, actor="test")
    info = next(token for token in await access.list_tokens() if token.name == "revoked")
    await access.revoke_token(info.token_id, actor="test")
    clock.advance(61)
    for why, token in (("expired", expiring), ("revoked", revoked), ("of another server", "x" * 43), ("a session's", "")):
        async with api_world.client(token or revoked) as http:
            await refused_everywhere(api_world, http, why)
    for name, end in (("gone", "disable"), ("left", "sign out"), ("away", "let it become idle")):
        await a_user(api_world, name, "admin")
        async with a_browser(api_world) as browser:
            await a_user(api_world, f"other-{name}", "admin")
            await browser.sign_in(name)
            kept = browser.cookie or ""
            if end == "disable":
                await api_world.services.users.disable(name, actor="test")
            elif end == "sign out":
                await browser.send("DELETE", "session")
            else:
                clock.advance(api_world.app.state.context.settings.session_idle_seconds)
            browser.http.cookies.set("servicing_session", kept)
            browser.http.headers.update(browser.own_headers)
            await refused_everywhere(api_world, browser.http, end)


async def test_a_cookie_is_no_token_and_a_token_no_cookie(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada", "admin")
    async with a_browser(api_world) as browser:
        await browser.sign_in("ada")
        async with api_world.client(browser.cookie) as http:
            await refused_everywhere(api_world, http, "a session as a token")
        browser.http.cookies.set("servicing_session", api_world.admin_token)
        await refused_everywhere(api_world, browser.http, "a token as a session")


async def test_no_operation_changes_anything_for_a_session_that_does_not_show_where_it_comes_from(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada", "admin")
    refused = 0
    async with a_browser(api_world) as browser:
        await browser.sign_in("ada")
        for method, path, operation in operations(api_world):
            if path in OPEN or operation["x-required-role"] in (ANYONE, INSTANCE):
                continue
            answer = await browser.http.request(method, path)
            if method == "GET":
                assert answer.status_code not in (401, 403, 500), (method, path)
                continue
            assert (answer.status_code, answer.json()["code"]) == (403, "csrf_token"), (method, path)
            foreign = await browser.http.request(method, path, headers={**browser.own_headers, "Origin": "http://server:8800"})
            assert (foreign.status_code, foreign.json()["code"]) == (403, "foreign_origin"), (method, path)
            refused += 1
    assert refused > 30


async def test_every_operation_refuses_sessions_below_its_role(api_world: ApiWorld) -> None:
    for role in ORDER:
        await a_user(api_world, f"an {role}", role)
        async with a_browser(api_world) as browser:
            await browser.sign_in(f"an {role}")
            for method, path, operation in operations(api_world):
                needed = operation.get("x-required-role")
                if path in OPEN or needed == ANYONE or path.endswith("/session"):
                    continue
                answer = await browser.http.request(method, path, headers=browser.own_headers)
                if needed == INSTANCE:
                    assert answer.json()["code"] == "instances_only", (role, method, path)
                elif ORDER.index(role) < ORDER.index(needed):
                    assert (answer.status_code, answer.json()["code"]) == (403, "role_too_low"), (role, method, path)
                else:
                    assert answer.status_code not in (401, 403, 500), (role, method, path)


def of_agents(world: ApiWorld, agent: str) -> list[tuple[str, str, str]]:
    """(method, path, role) of every operation on one agent."""
    found = [
        (method.upper(), re.sub(r"\{\w+\}", "x", path.replace("{agent_id}", agent)), operation["x-required-role"])
        for path, every in world.app.openapi()["paths"].items()
        for method, operation in every.items()
        if "{agent_id}" in path and operation["x-required-role"] != INSTANCE
    ]
    assert len(found) > 25
    return found


async def test_an_operator_of_another_agent_reaches_nothing_of_this_one(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as admin:
        await api_world.add(admin)
    await a_user(api_world, "limited", "operator", agents=["WowCache"])
    await a_user(api_world, "granted", "viewer", agents=[], grants={"WowCache": "admin"})
    token = await api_world.token("operator", ["WowCache"])

    async def walk(http: httpx.AsyncClient, headers: dict[str, str], who: str) -> None:
        for method, path, _ in of_agents(api_world, AGENT):
            answer = await http.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["code"] in ("agent_out_of_reach", "role_too_low")) == (403, True), (who, method, path)

    async with api_world.client(token) as http:
        await walk(http, {}, "token")
    for name in ("limited", "granted"):
        async with a_browser(api_world) as browser:
            await browser.sign_in(name)
            await walk(browser.http, browser.own_headers, name)
            assert (await browser.get("agents")).json()["agents"] == []
            assert (await browser.get(f"agents/{AGENT}")).json()["code"] == "agent_out_of_reach"


async def walk_grants(world: ApiWorld, browser: Browser, agent: str, held: str) -> None:
    for method, path, needed in of_agents(world, agent):
        answer = await browser.http.request(method, path, headers=browser.own_headers)
        if ORDER.index(held) < ORDER.index(needed):
            assert (answer.status_code, answer.json()["code"]) == (403, "role_too_low"), (agent, method, path)
        else:
            assert answer.status_code not in (401, 403, 500), (agent, method, path)


async def test_a_grant_is_another_role_for_one_agent_and_for_no_other(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada", "viewer", grants={"WowCache": "operator", "WowDomain": "admin"})
    async with a_browser(api_world) as browser:
        await browser.sign_in("ada")
        await walk_grants(api_world, browser, AGENT, "viewer")
        await walk_grants(api_world, browser, "WowCache", "operator")
        await walk_grants(api_world, browser, "WowDomain", "admin")
        for method, path in (("GET", "users"), ("POST", "tokens"), ("POST", "agents"), ("POST", "schedule/stop")):
            assert (await browser.send(method, path)).json()["code"] == "role_too_low", path


async def test_a_lower_grant_takes_nothing_away(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada", "operator", grants={"WowCache": "viewer"})
    async with a_browser(api_world) as browser:
        await browser.sign_in("ada")
        await walk_grants(api_world, browser, "WowCache", "operator")


async def test_whose_role_is_for_some_agents_manages_no_people(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada", "admin", agents=[AGENT])
    async with a_browser(api_world) as browser:
        await browser.sign_in("ada")
        for method, path in (("GET", "users"), ("POST", "users/ada/link"), ("GET", "tokens"), ("PUT", "users/ada/password")):
            body = {"password": "some other words that fit"} if method == "PUT" else None
            assert (await browser.send(method, path, body)).json()["code"] == "agent_out_of_reach", path


async def test_rights_change_from_the_next_request_on(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    async with a_browser(api_world) as browser, api_world.client(api_world.admin_token) as admin:
        await browser.sign_in("ada")
        assert (await browser.send("POST", f"agents/{AGENT}/restart")).status_code == 403
        assert (await admin.patch(f"{PREFIX}/users/ada", json={"grants": {AGENT: "operator"}})).json()["grants"] == {AGENT: "operator"}
        assert (await browser.send("POST", f"agents/{AGENT}/restart")).status_code == 422
        await admin.patch(f"{PREFIX}/users/ada", json={"grants": {}, "agents": ["WowCache"]})
        assert (await browser.get(f"agents/{AGENT}")).json()["code"] == "agent_out_of_reach"
        assert (await admin.patch(f"{PREFIX}/users/ada", json={"all_agents": True})).json()["agents"] is None
        assert (await browser.get(f"agents/{AGENT}")).json()["code"] == "unknown_agent"


async def test_the_last_admin_stays_one(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada", "admin")
    await a_user(api_world, "some", "admin", agents=[AGENT])
    async with api_world.client(api_world.admin_token) as admin:
        for method, path, body in (
            ("POST", "disable", None),
            ("PATCH", "", {"role": "operator"}),
            ("PATCH", "", {"agents": [AGENT]}),
        ):
            answer = await admin.request(method, f"{PREFIX}/users/ada/{path}".rstrip("/"), json=body)
            assert (answer.status_code, answer.json()["code"]) == (409, "last_admin"), body
        await a_user(api_world, "bob", "admin")
        assert (await admin.post(f"{PREFIX}/users/ada/disable")).status_code == 200
        assert (await admin.post(f"{PREFIX}/users/bob/disable")).json()["code"] == "last_admin"


async def test_people_and_tokens_are_told_apart_by_their_names(api_world: ApiWorld) -> None:
    await a_user(api_world, "Ada")
    async with api_world.client(api_world.admin_token) as admin:
        password = "four words nobody guesses"
        for name, code in (
            ("ada", "user_exists"),
            ("admin", "bad_name"),
            ("System", "bad_name"),
            ("a/b", "bad_name"),
            ("\u200b", "bad_name"),
        ):
            answer = await admin.post(f"{PREFIX}/users", json={"name": name, "role": "viewer", "password": password})
            assert answer.json()["code"] == code, name
        assert (await admin.post(f"{PREFIX}/tokens", json={"name": "ADA", "role": "viewer"})).json()["code"] == "token_exists"
        await api_world.token("viewer", name="ci")
        assert (await admin.post(f"{PREFIX}/users", json={"name": "CI", "role": "viewer"})).json()["code"] == "user_exists"
        wrong = await admin.post(f"{PREFIX}/users", json={"name": "bob", "role": "viewer", "grants": {"../x": "viewer"}})
        assert wrong.json()["code"] == "bad_grants"
        assert (await admin.get(f"{PREFIX}/users/nobody")).json()["code"] == "unknown_user"


async def test_a_token_says_when_it_was_used_last(api_world: ApiWorld) -> None:
    token = await api_world.token("viewer", name="ci")

    async def used() -> Any:
        async with api_world.client(api_world.admin_token) as admin:
            tokens = (await admin.get(f"{PREFIX}/tokens")).json()["tokens"]
        return next(each["last_used_at"] for each in tokens if each["name"] == "ci")

    assert await used() is None
    async with api_world.client(token) as http:
        await http.get(f"{PREFIX}/me")
    at = await used()
    assert at is not None
    await api_world.services.access.flush()
    api_world.clock.advance(60)
    assert await used() == at, "written down, and found again with nothing in memory"
