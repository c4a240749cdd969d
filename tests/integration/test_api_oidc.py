"""Signing in by OpenID Connect, against a real provider in a process of its own; and a provider that is down, late, or lies."""

import base64
import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from agent_servicing.adapters.oidc import OidcProvider
from agent_servicing.adapters.system import SystemClock
from agent_servicing.services.oidc import OidcSignIn
from agent_servicing.settings import Settings
from agent_servicing.web.app import PREFIX, create_app
from tests.integration.access_world import Browser, a_user, told
from tests.integration.api_world import ApiWorld

pytestmark = pytest.mark.anyio

CLIENT = "agent-servicing"
ROLES: dict[str, Any] = {"oidc_admin_values": ("ops-leads",), "oidc_operator_values": ("ops",), "oidc_default_role": "viewer"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """A provider that listens on a free port of this machine."""
    script = (
        "import oidc_provider_mock, sys\n"
        "with oidc_provider_mock.run_server_in_thread() as server:\n"
        "    print(server.server_port, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield f"http://localhost:{int(process.stdout.readline())}"


@dataclass
class Recorder(httpx.AsyncHTTPTransport):
    """Real requests to the provider, and what was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, list[str]]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.forms.append(parse_qs(request.content.decode()))
        return await super().handle_async_request(request)


@asynccontextmanager
async def signing_in(
    world: ApiWorld, issuer: str, transport: httpx.AsyncBaseTransport | None = None, **settings: Any
) -> AsyncIterator[Browser]:
    """A browser at a server that lets people in by this provider. The clock is the machine's, as the provider's is."""
    context, services = world.app.state.context, world.services
    chosen = Settings(data_dir=context.settings.data_dir, oidc_issuer=issuer, oidc_client_id=CLIENT, **(ROLES | settings))
    world.clock.advance((SystemClock().now() - world.clock.now()).total_seconds())
    secret = chosen.data_dir / "oidc.secret"
    secret.write_text("not to be told\n")
    named: dict[str, Any] = {"issuer": issuer, "client_id": CLIENT, "scope": chosen.oidc_scope, "secret_file": secret}
    async with OidcProvider(**named, clock=world.clock, ids=context.ids, transport=transport) as provider:
        people: dict[str, Any] = {"users": services.users, "sessions": services.sessions, "sign_in": services.sign_in}
        oidc = OidcSignIn(database=world.database, clock=world.clock, settings=chosen, provider=provider, **people)
        object.__setattr__(services, "oidc", oidc)
        app = create_app(services, settings=chosen, clock=world.clock, ids=context.ids, bus=world.bus)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as http:
            yield Browser(http)


async def known(issuer: str, sub: str, **claims: Any) -> None:
    """The provider knows this person."""
    async with httpx.AsyncClient() as http:
        assert (await http.put(f"{issuer}/users/{sub}", json=claims)).status_code == 204


async def sent_back(browser: Browser, sub: str) -> str:
    """The address the provider sends the browser back to, once the person has said yes there."""
    left = await browser.http.get(f"{PREFIX}/session/oidc")
    assert left.status_code == 302, left.text
    async with httpx.AsyncClient() as http:
        answer = await http.post(left.headers["Location"], data={"sub": sub})
    assert answer.status_code == 302, answer.text
    return str(answer.headers["Location"])


async def test_a_person_comes_in_by_the_provider_and_is_what_it_says(api_world: ApiWorld, issuer: str) -> None:
    recorder = Recorder()
    await known(issuer, "ada-1", email="ada@example.org", groups=["everybody", "ops"])
    async with signing_in(api_world, issuer, recorder) as browser:
        assert "oidc" in (await browser.get("session")).json()["methods"]
        left = await browser.http.get(f"{PREFIX}/session/oidc")
        query = parse_qs(urlsplit(left.headers["Location"]).query)
        assert {"state", "nonce", "code_challenge"} < query.keys()
        assert (query["response_type"], query["code_challenge_method"], query["client_id"]) == (["code"], ["S256"], [CLIENT])
        assert query["redirect_uri"] == [f"http://server{PREFIX}/session/oidc/callback"]
        assert "SameSite=lax" in left.headers["Set-Cookie"]
        assert "HttpOnly" in left.headers["Set-Cookie"]
        back = await sent_back(browser, "ada-1")
        arrived = await browser.http.get(back)
        assert arrived.status_code == 200, arrived.text
        assert "SameSite=strict" in arrived.headers["Set-Cookie"]
        me = (await browser.get("me")).json()
        assert (me["name"], me["role"]) == ("ada@example.org", "operator")
        (form,) = recorder.forms
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"][0].encode()).digest()).rstrip(b"=").decode()
        assert len(form["code_verifier"][0]) >= 43
        assert query["code_challenge"] != [challenge], "each time another one"
        assert (await browser.http.get(back)).status_code == 401, "what was used is good no more"
    (entry,) = await told(api_world, "signed_in")
    assert (entry["operator"], entry["method"]) == ("ada@example.org", "oidc")
    (user,) = await api_world.services.users.list()
    assert (user.external, user.has_password) == (True, False)


async def test_the_verifier_fits_the_challenge_that_was_sent_before(api_world: ApiWorld, issuer: str) -> None:
    recorder = Recorder()
    await known(issuer, "eve-1", email="eve@example.org")
    async with signing_in(api_world, issuer, recorder) as browser:
        left = await browser.http.get(f"{PREFIX}/session/oidc")
        query = parse_qs(urlsplit(left.headers["Location"]).query)
        async with httpx.AsyncClient() as http:
            back = (await http.post(left.headers["Location"], data={"sub": "eve-1"})).headers["Location"]
        answer = await browser.http.get(back)
        assert answer.status_code == 200, answer.text
        verifier = recorder.forms[0]["code_verifier"][0]
        assert query["code_challenge"] == [base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()]


async def test_roles_follow_the_provider_at_each_sign_in_and_grants_of_ours_stay(api_world: ApiWorld, issuer: str) -> None:
    async with signing_in(api_world, issuer) as browser, api_world.client(api_world.admin_token) as admin:
        roles = []
        for groups in (["ops-leads", "ops"], ["ops"], []):
            await known(issuer, "bob-1", email="bob@example.org", groups=groups)
            assert (await browser.http.get(await sent_back(browser, "bob-1"))).status_code == 200
            roles.append((await browser.get("me")).json()["role"])
            await admin.patch(f"{PREFIX}/users/bob@example.org", json={"grants": {"WowCache": "admin"}})
        assert roles == ["admin", "operator", "viewer"]
        assert (await browser.get("me")).json()["grants"] == {"WowCache": "admin"}


async def test_who_may_not_come_in_is_told_so(api_world: ApiWorld, issuer: str) -> None:
    await known(issuer, "out-1", email="out@elsewhere.example", groups=["ops"])
    await known(issuer, "lie-1", email="lie@example.org", email_verified=False, groups=["ops"])
    async with signing_in(api_world, issuer, oidc_allowed_domains=("Example.org",)) as browser:
        for sub in ("out-1", "lie-1"):
            answer = await browser.http.get(await sent_back(browser, sub))
            assert (answer.status_code, answer.json()["code"]) == (403, "oidc_not_allowed")
    await known(issuer, "none-1", email="none@example.org", groups=["sales"])
    async with signing_in(api_world, issuer, oidc_default_role="none") as browser:
        assert (await browser.http.get(await sent_back(browser, "none-1"))).json()["code"] == "oidc_not_allowed"
    assert await api_world.services.users.list() == []


async def test_the_provider_takes_over_no_account_of_ours_nor_opens_a_disabled_one(api_world: ApiWorld, issuer: str) -> None:
    await a_user(api_world, "ada@example.org", "admin")
    await known(issuer, "thief-1", email="ada@example.org")
    await known(issuer, "gone-1", email="gone@example.org")
    async with signing_in(api_world, issuer) as browser:
        answer = await browser.http.get(await sent_back(browser, "thief-1"))
        assert (answer.status_code, answer.json()["code"]) == (409, "user_exists")
        assert (await browser.http.get(await sent_back(browser, "gone-1"))).status_code == 200
        await api_world.services.users.disable("gone@example.org", actor="test")
        assert (await browser.get("me")).status_code == 401
        assert (await browser.http.get(await sent_back(browser, "gone-1"))).json()["code"] == "oidc_not_allowed"


async def test_a_sign_in_begun_in_one_browser_is_not_ended_in_another(api_world: ApiWorld, issuer: str) -> None:
    await known(issuer, "mallory-1", email="mallory@example.org")
    async with signing_in(api_world, issuer) as browser:
        planted = await sent_back(browser, "mallory-1")
        browser.http.cookies.clear()
        answer = await browser.http.get(planted)
        assert (answer.status_code, answer.json()["code"]) == (401, "oidc_failed")
        late = await sent_back(browser, "mallory-1")
        api_world.clock.advance(601)
        assert (await browser.http.get(late)).json()["code"] == "oidc_failed"
        refused = await browser.http.get(f"{PREFIX}/session/oidc/callback?error=access_denied")
        assert (refused.status_code, refused.json()["detail"]) == (401, "The provider says access_denied.")
        for query in ("", "?code=x", "?state=x", "?code=x&state=x"):
            assert (await browser.http.get(f"{PREFIX}/session/oidc/callback{query}")).status_code == 401


async def test_while_the_provider_is_down_passwords_work(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    async with signing_in(api_world, "http://localhost:9") as browser:
        answer = await browser.http.get(f"{PREFIX}/session/oidc")
        assert (answer.status_code, answer.json()["code"]) == (503, "oidc_unavailable")
        assert "cannot be reached" in answer.json()["detail"]
        assert (await browser.sign_in("ada")).status_code == 201


async def test_a_clock_that_is_wrong_is_named(api_world: ApiWorld, issuer: str) -> None:
    await known(issuer, "skew-1", email="skew@example.org")
    for seconds, right in ((30, True), (2 * 3600, False), (-30, True), (-2 * 3600, False)):
        async with signing_in(api_world, issuer) as browser:
            back = await sent_back(browser, "skew-1")
            # Only what is compared with the provider's clock: the time since the browser left goes by the other one.
            api_world.clock.jump(seconds)
            answer = await browser.http.get(back)
            assert (answer.status_code == 200) is right, (seconds, answer.text)
            if not right:
                assert answer.json()["code"] == "oidc_failed"
                assert "compare the clocks" in answer.json()["detail"]
            api_world.clock.jump(-seconds)


async def test_a_server_without_a_provider_offers_none(api_world: ApiWorld) -> None:
    async with api_world.client(None) as http:
        answer = await http.get(f"{PREFIX}/session/oidc")
        assert (answer.status_code, answer.json()["code"]) == (503, "oidc_off")


class Liar(httpx.AsyncBaseTransport):
    """A provider whose ID token is what the test makes it."""

    def __init__(self, issuer: str) -> None:
        self.issuer, self.key, self.other = issuer, RSAKey.generate_key(2048), RSAKey.generate_key(2048)
        self.nonce, self.changes, self.header, self.signer = "", dict[str, Any](), dict[str, Any](), self.key
        self.down = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            return httpx.Response(502)
        if request.url.path.endswith("openid-configuration"):
            names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            return httpx.Response(200, json={"issuer": self.issuer} | {name: f"{self.issuer}/{name}" for name in names})
        if request.url.path.endswith("jwks_uri"):
            return httpx.Response(200, json={"keys": [self.key.as_dict(private=False)]})
        now = int(SystemClock().now().timestamp())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "x-1",
            "iat": now,
            "exp": now + 60,
            "nonce": self.nonce,
            "email": "x@example.org",
        }
        claims = {name: value for name, value in (claims | self.changes).items() if value is not None}
        token = jwt.encode({"alg": "RS256"} | self.header, claims, self.signer, algorithms=["RS256", "HS256"])
        return httpx.Response(200, json={"access_token": "a", "token_type": "Bearer", "id_token": token})


async def test_an_id_token_has_to_be_from_the_provider_for_us_for_now_and_for_this_sign_in(api_world: ApiWorld) -> None:
    issuer = "https://id.example.org"
    liar = Liar(issuer)
    async with signing_in(api_world, issuer, liar) as browser:

        async def ended() -> httpx.Response:
            left = await browser.http.get(f"{PREFIX}/session/oidc")
            query = parse_qs(urlsplit(left.headers["Location"]).query)
            liar.nonce = query["nonce"][0]
            return await browser.http.get(f"{PREFIX}/session/oidc/callback", params={"code": "c", "state": query["state"][0]})

        assert (await ended()).status_code == 200
        for changes in (
            {"iss": "https://evil.example"},
            {"aud": "somebody-else"},
            {"aud": [CLIENT, "somebody-else"]},
            {"aud": None},
            {"sub": None},
            {"nonce": "another"},
            {"nonce": None},
            {"exp": 1},
            {"exp": None},
            {"iat": None},
        ):
            liar.changes = changes
            answer = await ended()
            assert (answer.status_code, answer.json()["code"]) == (401, "oidc_failed"), changes
        liar.changes, liar.signer = {}, liar.other
        assert (await ended()).json()["code"] == "oidc_failed"
        liar.key = liar.other
        assert (await ended()).status_code == 200, "a new key is asked for once"
        liar.down = True
        api_world.clock.advance(400)
        down = await browser.http.get(f"{PREFIX}/session/oidc")
        assert (down.status_code, down.json()["code"]) == (503, "oidc_unavailable")
    failures = await told(api_world, "sign_in_failed")
    assert {entry["method"] for entry in failures} == {"oidc"}


async def test_a_provider_that_calls_itself_otherwise_is_not_believed(api_world: ApiWorld) -> None:
    liar = Liar("https://evil.example")
    async with signing_in(api_world, "https://id.example.org", liar) as browser:
        answer = await browser.http.get(f"{PREFIX}/session/oidc")
        assert (answer.status_code, answer.json()["code"]) == (503, "oidc_unavailable")
        assert "calls itself" in answer.json()["detail"]


def test_issuer_and_client_go_together() -> None:
    with pytest.raises(ValueError, match="go together"):
        Settings(oidc_issuer="https://id.example.org")
    with pytest.raises(ValueError, match="oidc_issuer"):
        Settings(oidc_issuer="http://id.example.org", oidc_client_id="x")
