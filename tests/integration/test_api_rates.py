"""Too many tries: lock-out after failed sign-ins, and how often one caller may ask."""

from pathlib import Path

import httpx
import pytest

from agent_servicing.services.throttle import ADDRESS_FACTOR, KEYS_MAX, NAME_FACTOR, Attempts, network_of
from agent_servicing.settings import Settings
from agent_servicing.testing.clock import VirtualClock
from agent_servicing.web.app import PREFIX, create_app
from agent_servicing.web.rates import BURST_SECONDS, CALLERS_MAX, Buckets
from tests.integration.access_world import PASSWORD, a_browser, a_user, told
from tests.integration.api_world import ApiWorld

pytestmark = pytest.mark.anyio

LIMIT = Settings.model_fields["sign_in_attempts"].default
LOCK_SECONDS = Settings.model_fields["sign_in_lock_seconds"].default


async def test_after_some_failures_even_the_right_password_has_to_wait(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    async with a_browser(api_world) as browser:
        answers = [await browser.sign_in("ada", "wrong") for _ in range(LIMIT)]
        assert [answer.status_code for answer in answers] == [401] * LIMIT
        locked = await browser.sign_in("ada")
        assert (locked.status_code, locked.json()["code"]) == (429, "too_many_attempts")
        assert 0 < int(locked.headers["Retry-After"]) <= LOCK_SECONDS
        api_world.clock.advance(LOCK_SECONDS - 1)
        assert (await browser.sign_in("ada")).status_code == 429, "waiting attempts do not count anew"
        api_world.clock.advance(2)
        assert (await browser.sign_in("ada")).status_code == 201
    failures = await told(api_world, "sign_in_failed")
    assert [entry["locked"] for entry in failures] == [False] * (LIMIT - 1) + [True]
    assert {entry["address"] for entry in failures} == {"192.0.2.7"}


async def test_a_name_that_does_not_exist_is_locked_out_alike(api_world: ApiWorld) -> None:
    async with a_browser(api_world) as browser:
        answers = [(await browser.sign_in("nobody", "wrong")).status_code for _ in range(LIMIT + 1)]
        assert answers == [401] * LIMIT + [429]
        assert (await browser.sign_in("NOBODY ", "wrong")).status_code == 429, "nor does another spelling help"


async def test_who_signs_in_from_elsewhere_is_not_locked_out_with_them(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    async with a_browser(api_world, "203.0.113.66") as attacker, a_browser(api_world) as browser:
        for _ in range(LIMIT):
            await attacker.sign_in("ada", "wrong")
        assert (await attacker.sign_in("ada", "wrong")).status_code == 429
        assert (await browser.sign_in("ada")).status_code == 201


async def test_one_address_that_tries_many_names_is_locked_out(api_world: ApiWorld) -> None:
    async with a_browser(api_world) as browser:
        answers = [(await browser.sign_in(f"name{n}", "wrong")).status_code for n in range(LIMIT * ADDRESS_FACTOR + 1)]
        assert answers == [401] * (LIMIT * ADDRESS_FACTOR) + [429]


async def test_many_addresses_that_try_one_name_lock_it_out(api_world: ApiWorld) -> None:
    answers = []
    for n in range(LIMIT * NAME_FACTOR + 1):
        async with a_browser(api_world, f"198.51.100.{n}") as browser:
            answers.append((await browser.sign_in("ada", "wrong")).status_code)
    assert answers == [401] * (LIMIT * NAME_FACTOR) + [429]
    # An attack does not fill the audit: what is beyond a minute's share is counted and said with the next.
    assert len(await told(api_world, "sign_in_failed")) == 60
    api_world.clock.advance(LOCK_SECONDS + 1)
    async with a_browser(api_world) as browser:
        await browser.sign_in("ada", "wrong")
    assert (await told(api_world, "sign_in_failed"))[-1]["untold_before"] == 40


async def test_signing_in_wipes_the_slate(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    async with a_browser(api_world) as browser:
        for _ in range(3):
            for _ in range(LIMIT - 1):
                assert (await browser.sign_in("ada", "wrong")).status_code == 401
            assert (await browser.sign_in("ada")).status_code == 201


async def test_tries_at_links_the_setup_token_and_a_new_password_count_too(api_world: ApiWorld) -> None:
    await api_world.services.users.ensure_setup_token()
    async with a_browser(api_world) as browser:
        setup = {"setup_token": "guess", "user": "eve", "password": PASSWORD}
        answers = [(await browser.http.post(f"{PREFIX}/setup", json=setup)).status_code for _ in range(LIMIT + 1)]
        assert answers == [401] * LIMIT + [429]
        assert (await browser.http.post(f"{PREFIX}/session", json={"sign_in_token": "guess"})).status_code == 429
    await a_user(api_world, "ada")
    async with a_browser(api_world, "192.0.2.8") as browser:
        await browser.sign_in("ada")
        body = {"current_password": "guess", "new_password": "some other words that fit"}
        answers = [(await browser.send("PUT", "me/password", body)).status_code for _ in range(LIMIT + 1)]
        assert answers == [401] * LIMIT + [429]


async def test_who_asks_too_often_waits_and_nobody_else(api_world: ApiWorld, tmp_path: Path) -> None:
    context = api_world.app.state.context
    settings = Settings(data_dir=tmp_path, requests_per_minute=60)
    app = create_app(api_world.services, settings=settings, clock=context.clock, ids=context.ids, bus=api_world.bus)
    token, other = await api_world.token("viewer"), await api_world.token("operator")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as http:

        async def ask(token: str) -> httpx.Response:
            return await http.get(f"{PREFIX}/me", headers={"Authorization": f"Bearer {token}"})

        answers = [(await ask(token)).status_code for _ in range(int(BURST_SECONDS) + 2)]
        assert answers == [200] * int(BURST_SECONDS) + [429, 429]
        refused = await ask(token)
        assert (refused.json()["code"], refused.headers["Retry-After"]) == ("rate_limited", "1")
        assert (await ask(other)).status_code == 200
        assert (await http.get("/readyz")).status_code == 200
        api_world.clock.advance(1)
        assert [(await ask(token)).status_code for _ in range(2)] == [200, 429]


def test_what_is_remembered_of_callers_and_failures_is_bounded() -> None:
    clock = VirtualClock()
    attempts, buckets = Attempts(clock=clock, limit=1, seconds=60), Buckets(clock=clock, per_second=0.1)
    for n in range(KEYS_MAX + 1):
        attempts.begin(str(n))
    assert attempts.wait_seconds("0") == 0
    assert attempts.wait_seconds(str(KEYS_MAX)) > 0
    assert buckets.take("first") == 0
    assert buckets.take("first") > 0
    for n in range(CALLERS_MAX):
        buckets.take(str(n))
    assert buckets.take("first") == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("local", "local"),
    ],
)
def test_one_household_of_ipv6_is_one_address(address: str, network: str) -> None:
    assert network_of(address) == network
