"""Signing in over HTTP: sessions and their ends, what keeps foreign pages out, links, the first admin, one's own password."""

import re

import pytest

from agent_servicing.services.admin_token import SETUP_FILE
from agent_servicing.web.app import PREFIX
from tests.integration.access_world import PASSWORD, a_browser, a_user, told
from tests.integration.api_world import AGENT, ApiWorld

pytestmark = pytest.mark.anyio

LONGER = "some other words that fit"


async def test_a_password_opens_a_session_that_lives_in_a_cookie_no_script_can_read(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada@example.org", "operator")
    async with a_browser(api_world) as browser:
        assert (await browser.get("me")).status_code == 401
        answer = await browser.sign_in("Ada@Example.org")
        assert answer.status_code == 201, answer.text
        cookie = answer.headers["Set-Cookie"]
        assert re.fullmatch(r"servicing_session=[\w-]{43}; HttpOnly; Path=/; SameSite=strict", cookie), cookie
        assert browser.cookie not in answer.text
        me = (await browser.get("me")).json()
        assert (me["name"], me["role"], me["csrf_token"]) == ("ada@example.org", "operator", browser.csrf)
        assert (await browser.get("session")).json()["signed_in"] is True
    (entry,) = await told(api_world, "signed_in")
    assert (entry["operator"], entry["method"], entry["address"]) == ("ada@example.org", "password", "192.0.2.7")


async def test_over_tls_the_cookie_is_for_tls_and_this_host_only(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    async with a_browser(api_world) as browser:
        answer = await browser.http.post(f"https://server{PREFIX}/session", json={"user": "ada", "password": PASSWORD})
        assert re.fullmatch(r"__Host-servicing_session=[\w-]{43}; HttpOnly; Path=/; SameSite=strict; Secure", answer.headers["Set-Cookie"])
        assert (await browser.http.get(f"https://server{PREFIX}/me")).status_code == 200


async def test_wrong_passwords_unknown_and_disabled_people_get_the_same_answer(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    await a_user(api_world, "bob")
    await api_world.services.users.disable("bob", actor="test")
    async with a_browser(api_world) as browser:
        answers = [await browser.sign_in(*each) for each in (("ada", "wrong"), ("nobody", "wrong"), ("bob", PASSWORD), ("bob", "wrong"))]
        assert {answer.status_code for answer in answers} == {401}
        assert len({(answer.json()["code"], answer.json()["detail"], answer.json()["hint"]) for answer in answers}) == 1
        assert answers[0].headers["WWW-Authenticate"].startswith("Bearer")
        assert browser.cookie is None
    failures = await told(api_world, "sign_in_failed")
    assert [entry["user"] for entry in failures] == ["ada", None, "bob", "bob"]
    assert "nobody" not in str(failures)


async def test_signing_in_gives_a_new_secret_and_ends_the_session_the_browser_had(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    await a_user(api_world, "eve")
    async with a_browser(api_world) as browser, a_browser(api_world) as other:
        await browser.sign_in("eve")
        planted = browser.cookie
        await browser.sign_in("ada")
        assert browser.cookie != planted
        other.http.cookies.set("servicing_session", planted or "")
        assert (await other.get("me")).status_code == 401
        assert (await browser.get("me")).json()["name"] == "ada"


async def test_a_session_changes_nothing_without_the_sign_of_our_own_page(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada", "admin")
    async with a_browser(api_world) as browser:
        await browser.sign_in("ada")
        body = {"name": "ci", "role": "viewer"}
        without = await browser.http.post(f"{PREFIX}/tokens", json=body)
        assert (without.status_code, without.json()["code"]) == (403, "csrf_token")
        for name, value in (
            ("X-CSRF-Token", "0" * 64),
            ("X-CSRF-Token", ""),
            ("X-CSRF-Token", "é"),
            ("Origin", "http://evil.example"),
            ("Origin", "http://server:8800"),
            ("Origin", "https://server"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ):
            answer = await browser.http.post(f"{PREFIX}/tokens", json=body, headers={**browser.own_headers, name: value.encode()})
            assert (answer.status_code, answer.json()["code"]) == (403, "csrf_token" if "CSRF" in name else "foreign_origin"), (name, value)
        assert (await browser.send("POST", "tokens", body)).status_code == 201
        # A token is no cookie: nobody's browser adds it, so it needs none of this.
        async with api_world.client(api_world.admin_token) as program:
            assert (await program.post(f"{PREFIX}/tokens", json={"name": "cd", "role": "viewer"})).status_code == 201


async def test_one_persons_sign_of_the_page_is_nothing_worth_in_anothers_session(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada", "admin")
    await a_user(api_world, "eve", "admin")
    async with a_browser(api_world) as ada, a_browser(api_world) as eve:
        await ada.sign_in("ada")
        await eve.sign_in("eve")
        answer = await ada.send("POST", "tokens", {"name": "ci", "role": "viewer"}, headers={"X-CSRF-Token": eve.csrf})
        assert answer.json()["code"] == "csrf_token"


async def test_no_other_page_signs_a_browser_in(api_world: ApiWorld) -> None:
    await a_user(api_world, "eve")
    async with a_browser(api_world) as browser:
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = await browser.http.post(f"{PREFIX}/session", json={"user": "eve", "password": PASSWORD}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")
        form = await browser.http.post(f"{PREFIX}/session", data={"user": "eve", "password": PASSWORD})
        assert form.status_code == 422
        assert browser.cookie is None


async def test_a_session_ends_when_it_is_idle_and_in_any_case_after_its_time(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    settings = api_world.app.state.context.settings
    async with a_browser(api_world) as browser:
        await browser.sign_in("ada")
        api_world.clock.advance(settings.session_idle_seconds + 1)
        over = await browser.get("me")
        assert (over.status_code, over.json()["detail"]) == (401, "This session is over; sign in again.")
        await browser.sign_in("ada")
        steps = int(settings.session_seconds / (settings.session_idle_seconds - 1)) + 1
        answers = []
        for _ in range(steps):
            api_world.clock.advance(settings.session_idle_seconds - 1)
            answers.append((await browser.get("me")).status_code)
            await api_world.services.sessions.flush()  # as the server does: what was used is written down, what is over goes
        assert answers == [200] * (steps - 1) + [401]


async def test_use_is_remembered_over_a_restart(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    idle = api_world.app.state.context.settings.session_idle_seconds
    async with a_browser(api_world) as browser:
        await browser.sign_in("ada")
        api_world.clock.advance(idle - 10)
        assert (await browser.get("me")).status_code == 200
        await api_world.services.sessions.flush()
        api_world.clock.advance(idle - 10)
        assert (await browser.get("me")).status_code == 200  # with nothing in memory but what was flushed


async def test_people_see_and_end_their_own_sessions_and_nobody_elses(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    await a_user(api_world, "eve")
    async with a_browser(api_world) as here, a_browser(api_world, "198.51.100.4") as there, a_browser(api_world) as eve:
        await here.sign_in("ada")
        await there.sign_in("ada")
        await eve.sign_in("eve")
        mine = (await here.get("sessions")).json()["sessions"]
        assert {(s["address"], s["current"]) for s in mine} == {("192.0.2.7", True), ("198.51.100.4", False)}
        other = next(s["session_id"] for s in mine if not s["current"])
        assert (await eve.send("DELETE", f"sessions/{other}")).json()["code"] == "unknown_session"
        assert (await here.send("DELETE", f"sessions/{other}")).status_code == 204
        assert (await there.get("me")).status_code == 401
        kept = here.cookie or ""
        out = await here.send("DELETE", "session")
        assert (out.status_code, here.cookie) == (204, None)
        here.http.cookies.set("servicing_session", kept)
        assert (await here.get("me")).status_code == 401, "a cookie that was copied before is good for nothing"
    assert [entry["operator"] for entry in await told(api_world, "signed_out")] == ["ada", "ada"]


async def test_twenty_browsers_are_enough_the_oldest_goes(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    async with a_browser(api_world) as first, a_browser(api_world) as browser:
        await first.sign_in("ada")
        for _ in range(20):
            api_world.clock.advance(1)
            browser.http.cookies.clear()
            await browser.sign_in("ada")
        assert (await first.get("me")).status_code == 401
        assert len((await browser.get("sessions")).json()["sessions"]) == 20


async def test_a_new_password_ends_every_session_and_this_browser_goes_on(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    async with a_browser(api_world) as here, a_browser(api_world) as there:
        await here.sign_in("ada")
        await there.sign_in("ada")
        before = here.cookie
        wrong = await here.send("PUT", "me/password", {"current_password": "not it", "new_password": LONGER})
        assert (wrong.status_code, wrong.json()["code"]) == (401, "sign_in_failed")
        weak = await here.send("PUT", "me/password", {"current_password": PASSWORD, "new_password": "password1234"})
        assert (weak.status_code, weak.json()["code"]) == (422, "bad_password")
        await here.entered(await here.send("PUT", "me/password", {"current_password": PASSWORD, "new_password": LONGER}))
        assert here.cookie != before
        assert (await here.get("me")).json()["csrf_token"] == here.csrf
        assert (await there.get("me")).status_code == 401
        assert (await there.sign_in("ada")).status_code == 401
        assert (await there.sign_in("ada", LONGER)).status_code == 201
    (entry,) = await told(api_world, "user_password_changed")
    assert LONGER not in str(entry)


async def test_a_token_has_no_password_and_no_session(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as admin:
        answer = await admin.put(f"{PREFIX}/me/password", json={"current_password": "x", "new_password": LONGER})
        assert (answer.status_code, answer.json()["code"]) == (409, "no_user")
        assert (await admin.delete(f"{PREFIX}/session")).json()["code"] == "no_session"
        assert (await admin.get(f"{PREFIX}/sessions")).json() == {"sessions": []}


async def test_disabling_somebody_ends_their_sessions_and_links_at_once(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    async with api_world.client(api_world.admin_token) as admin, a_browser(api_world) as browser:
        await browser.sign_in("ada")
        link = (await admin.post(f"{PREFIX}/users/ada/link")).json()
        assert (await admin.post(f"{PREFIX}/users/ada/disable")).json()["status"] == "disabled"
        assert (await browser.get("me")).status_code == 401
        assert (await browser.http.post(f"{PREFIX}/session", json={"sign_in_token": link["sign_in_token"]})).status_code == 401
        assert (await admin.post(f"{PREFIX}/users/ada/link")).json()["code"] == "user_disabled"
        await admin.post(f"{PREFIX}/users/ada/enable")
        assert (await browser.get("me")).status_code == 401
        assert (await browser.sign_in("ada")).status_code == 201


async def test_a_link_is_good_once_and_lets_its_person_set_a_password(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as admin, a_browser(api_world) as browser:
        added = await admin.post(f"{PREFIX}/users", json={"name": "new@example.org", "role": "viewer"})
        assert (added.status_code, added.json()["has_password"]) == (201, False)
        assert (await browser.sign_in("new@example.org", "")).status_code == 422
        assert (await browser.sign_in("new@example.org", "nothing at all")).status_code == 401
        link = (await admin.post(f"{PREFIX}/users/new@example.org/link")).json()
        assert link["url"] == f"http://server/sign-in#{link['sign_in_token']}"
        entered = await browser.entered(await browser.http.post(f"{PREFIX}/session", json={"sign_in_token": link["sign_in_token"]}))
        assert entered.status_code == 201
        assert (await browser.http.post(f"{PREFIX}/session", json={"sign_in_token": link["sign_in_token"]})).status_code == 401
        set_anew = await browser.entered(await browser.send("PUT", "me/password", {"new_password": LONGER}))
        assert set_anew.status_code == 200, set_anew.text
        # From here on the old one is needed, as for everybody.
        assert (await browser.send("PUT", "me/password", {"new_password": PASSWORD})).json()["code"] == "sign_in_failed"
        old = (await admin.post(f"{PREFIX}/users/new@example.org/link")).json()
        api_world.clock.advance(15 * 60)
        assert (await browser.http.post(f"{PREFIX}/session", json={"sign_in_token": old["sign_in_token"]})).status_code == 401


async def test_a_token_makes_a_link_to_a_session_with_its_rights_that_ends_with_it(api_world: ApiWorld) -> None:
    token = await api_world.token("operator", [AGENT])
    async with api_world.client(token) as program, a_browser(api_world) as browser, api_world.client(api_world.admin_token) as admin:
        link = (await program.post(f"{PREFIX}/tokens/sign-in")).json()
        await browser.entered(await browser.http.post(f"{PREFIX}/session", json={"sign_in_token": link["sign_in_token"]}))
        me = (await browser.get("me")).json()
        assert (me["name"], me["role"], me["agents"], me["user_id"]) == (f"operator-{AGENT}", "operator", [AGENT], None)
        again = await browser.send("POST", "tokens/sign-in")
        assert (again.status_code, again.json()["code"]) == (409, "token_needed")
        tokens = (await admin.get(f"{PREFIX}/tokens")).json()["tokens"]
        await admin.delete(f"{PREFIX}/tokens/{next(t['token_id'] for t in tokens if t['name'] == me['name'])}")
        assert (await browser.get("me")).status_code == 401


async def test_the_setup_token_makes_the_first_admin_once(api_world: ApiWorld) -> None:
    folder = api_world.app.state.context.settings.data_dir
    token = await api_world.services.users.ensure_setup_token()
    assert token
    assert (folder / SETUP_FILE).read_text().strip() == token
    assert (folder / SETUP_FILE).stat().st_mode & 0o777 == 0o600
    assert await api_world.services.users.ensure_setup_token() == token, "a restart keeps it"
    async with a_browser(api_world) as browser, a_browser(api_world) as late:
        assert (await browser.get("session")).json()["setup_needed"] is True
        body = {"setup_token": "guess", "user": "ada", "password": PASSWORD}
        assert (await browser.http.post(f"{PREFIX}/setup", json=body)).json()["code"] == "bad_setup_token"
        weak = await browser.http.post(f"{PREFIX}/setup", json={**body, "setup_token": token, "password": "ada"})
        assert weak.json()["code"] == "bad_password"
        made = await browser.entered(await browser.http.post(f"{PREFIX}/setup", json={**body, "setup_token": token}))
        assert made.status_code == 201, made.text
        assert (await browser.get("me")).json()["role"] == "admin"
        assert not (folder / SETUP_FILE).exists()
        again = await late.http.post(f"{PREFIX}/session", json={**body, "setup_token": token, "user": "eve"})
        assert (again.status_code, again.json()["code"]) == (409, "set_up_already")
        assert (await late.get("session")).json()["setup_needed"] is False
    assert await api_world.services.users.ensure_setup_token() is None


async def test_an_incomplete_sign_in_is_told_what_is_missing(api_world: ApiWorld) -> None:
    async with a_browser(api_world) as browser:
        answer = await browser.http.post(f"{PREFIX}/session", json={"user": "ada"})
        assert (answer.status_code, answer.json()["code"]) == (422, "sign_in_incomplete")
        assert [error["path"] for error in answer.json()["errors"]] == ["password"]


async def test_a_session_is_not_to_be_fooled_by_odd_cookies(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada")
    async with a_browser(api_world) as browser:
        for cookie in (
            "servicing_session=",
            "servicing_session=x",
            f"servicing_session={'x' * 5000}",
            'servicing_session="\\',
            "=;;=",
            "\u00e9",
        ):
            answer = await browser.http.get(f"{PREFIX}/me", headers={"Cookie": cookie.encode()})
            assert answer.status_code == 401, cookie


async def test_a_repeated_request_of_a_session_gets_the_first_answer(api_world: ApiWorld) -> None:
    await a_user(api_world, "ada", "admin")
    async with a_browser(api_world) as browser:
        await browser.sign_in("ada")
        body = {"name": "bob", "role": "viewer", "password": PASSWORD}
        first = await browser.send("POST", "users", body, headers={"Idempotency-Key": "once"})
        again = await browser.send("POST", "users", body, headers={"Idempotency-Key": "once"})
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert first.json() == again.json()


async def test_the_sign_in_page_and_its_script_are_there_for_everybody(api_world: ApiWorld) -> None:
    async with a_browser(api_world) as browser:
        page = await browser.http.get("/sign-in")
        assert page.status_code == 200
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        script = re.search(r'src="(/assets/[\w.-]+)"', page.text)
        assert script
        assert (await browser.http.get(script[1])).headers["Content-Type"].startswith("text/javascript")
