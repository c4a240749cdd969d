"""The link: instances subscribe, poll and report over real HTTP, and the channel tells them what they are to have."""

import json
from typing import Any

import anyio
import httpx
import pytest

from agent_servicing.adapters.config.hub import SILENCE_SECONDS, Hub
from agent_servicing.adapters.config.rendering import Renderer
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.actions import Goodbye
from agent_servicing.core.config.layers import text_of
from agent_servicing.testing.clock import VirtualClock
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, MANIFEST, ApiWorld
from tests.integration.channel_world import FIRST, SECOND, document
from tests.integration.link_world import INSTANCE, OTHER, PATH, Linked, digest, held, said, until

pytestmark = pytest.mark.anyio

# --- subscriptions ---


async def test_a_subscriber_is_told_at_once_what_it_is_to_have_and_then_every_change(linked: Linked) -> None:
    async with linked.subscribed() as events:
        assert await events.next() == ("commit", FIRST.revision)
        await linked.channel.prepare([linked.target(SECOND)], deadline_seconds=2)
        assert await events.next() == ("prepare", SECOND.revision)
        await linked.channel.commit([linked.target(SECOND)], deadline_seconds=2)
        assert await events.next() == ("commit", SECOND.revision)
        await linked.channel.prepare([linked.target(FIRST)], deadline_seconds=2)
        assert await events.next() == ("prepare", FIRST.revision)
        await linked.channel.abort([linked.target(FIRST)])
        assert await events.next() == ("abort", FIRST.revision)


async def test_who_connects_anew_gets_the_whole_state_with_an_open_question(linked: Linked) -> None:
    await linked.channel.prepare([linked.target(SECOND)], deadline_seconds=2)
    for _ in range(2):
        async with linked.subscribed() as events:
            assert await events.next() == ("commit", FIRST.revision)
            assert await events.next() == ("prepare", SECOND.revision)


async def test_a_subscriber_is_told_that_it_leaves_and_one_that_connects_anew_what_is_left_of_its_time() -> None:
    clock = VirtualClock()
    hub = Hub(renderer=Renderer(clock=clock, secrets=None), clock=clock)
    for left in (240.0, 180.0):
        async with hub.subscribe(AGENT, INSTANCE) as events:
            if left == 240.0:
                assert hub.drain(AGENT, INSTANCE, Goodbye(seconds=left, reason="ending"))
            event = await anext(events)
            assert event is not None
            assert (event.event, json.loads(event.data)) == ("drain", {"deadline_seconds": left, "reason": "ending"})
        clock.advance(60)
    async with hub.subscribe(AGENT, INSTANCE) as events:
        assert hub.drain(AGENT, INSTANCE, None)
        event = await anext(events)
        assert event is not None
        assert event.event == "resume"
    assert not hub.drain(AGENT, INSTANCE, None), "nobody is subscribed any more"


async def test_a_subscriber_that_slept_through_changes_gets_the_last_one_only(linked: Linked) -> None:
    async with linked.subscribed() as events:
        assert await events.next() == ("commit", FIRST.revision)
        for number in range(20):  # without a pause in which anything could be sent
            linked.channel.link.commit(AGENT, INSTANCE, document(f"cfg-{number}", number=number), deadline_seconds=2)
        assert await events.next() == ("commit", "cfg-19")
        linked.channel.link.commit(AGENT, INSTANCE, FIRST, deadline_seconds=2)
        assert await events.next() == ("commit", FIRST.revision)


async def test_of_two_subscriptions_of_one_instance_the_newer_lives_on(linked: Linked) -> None:
    async with linked.subscribed() as older:
        assert await older.next() == ("commit", FIRST.revision)
        async with linked.subscribed() as newer:
            assert await older.rest() == []
            assert await newer.next() == ("commit", FIRST.revision)
            await linked.channel.commit([linked.target(SECOND)], deadline_seconds=2)
            assert await newer.next() == ("commit", SECOND.revision)


async def test_a_subscription_ends_with_its_instance(linked: Linked) -> None:
    async with linked.subscribed() as events:
        assert await events.next() == ("commit", FIRST.revision)
        await linked.channel.forget(AGENT, INSTANCE)
        assert await events.rest() == []


async def test_the_server_ends_at_once_whoever_is_subscribed(linked: Linked) -> None:
    async with linked.subscribed() as events:
        assert await events.next() == ("commit", FIRST.revision)
        linked.channel.link.close()
        assert await events.rest() == []
    async with linked.client() as client:
        answer = await client.get(PATH)
        assert (answer.status_code, answer.json()["code"]) == (503, "stopping")


async def test_there_is_a_limit_of_subscribers_and_the_next_is_told_when_to_come_again() -> None:
    hub = Hub(renderer=Renderer(clock=VirtualClock(), secrets=None), clock=VirtualClock(), subscribers_max=1)
    times = set()
    async with hub.subscribe(AGENT, INSTANCE):
        for number in range(10):
            with pytest.raises(Exception, match="1 instances are connected") as refused:
                async with hub.subscribe(AGENT, f"other-{number}"):
                    pass
            times.add(refused.value.details["retry_after_seconds"])
    assert len(times) > 3
    async with hub.subscribe(AGENT, OTHER):
        pass


async def test_a_silent_subscription_gets_a_sign_of_life() -> None:
    hub = Hub(renderer=Renderer(clock=VirtualClock(), secrets=None), clock=VirtualClock(), beat_seconds=0.01)
    async with hub.subscribe(AGENT, INSTANCE) as events:
        assert await anext(events) is None
        hub.want(AGENT, INSTANCE, FIRST)
        found = await anext(events)
        while found is None:
            found = await anext(events)
        assert json.loads(found.data)["revision"] == FIRST.revision


# --- reports ---


async def test_what_an_instance_reports_is_known_by_the_documents_keys(linked: Linked) -> None:
    async with linked.subscribed() as events, linked.client() as client:
        assert await events.next() == ("commit", FIRST.revision)
        await linked.channel.prepare([linked.target(SECOND)], deadline_seconds=2)
        tried = {**held(SECOND), "phase": "prepare", "result": "prepared", "errors": [], "at": "2026-01-02T02:03:04Z"}
        body = said(FIRST, prepared=held(SECOND), last_attempt=tried, pending=[{"path": "model", "scope": "restart"}])
        answer = await client.post(PATH, json={**body, "load": {"active_requests": 3}, "unknown": 1})
        assert (answer.status_code, answer.json()) == (200, held(FIRST))
        report = await linked.report(FIRST)
        assert report is not None
        assert (report.applied, report.prepared, report.level, report.state) == (FIRST.key, SECOND.key, "sdk", "ready")
        assert (dict(report.pending), report.load and report.load.active_requests) == ({"model": "restart"}, 3)
        assert report.attempt is not None
        assert (report.attempt.revision, report.attempt.key, report.attempt.result) == (SECOND.revision, SECOND.key, "prepared")


@pytest.mark.parametrize("at", ["1999-12-31T23:59:59Z", "2999-01-01T00:00:00+14:00", None])
async def test_the_clock_of_an_instance_decides_nothing(linked: Linked, at: str | None) -> None:
    """Its time is shown; what it has counts from when the server heard of it."""
    async with linked.subscribed(), linked.client() as client:
        await linked.channel.prepare([linked.target(SECOND)], deadline_seconds=2)
        for result, phase, config in (("prepared", "prepare", said(FIRST, prepared=held(SECOND))), ("applied", "commit", said(SECOND))):
            config["config"]["last_attempt"] = {**held(SECOND), "phase": phase, "result": result, "errors": [], "at": at}
            began = SystemClock().now()
            assert (await client.post(PATH, json=config)).status_code == 200
            assert await answered(linked) == [AGENT]
            report = await linked.report(SECOND if result == "applied" else FIRST)
            assert report is not None
            assert began <= report.at <= SystemClock().now()
            assert linked.channel.link.reaches(AGENT, INSTANCE)
            await linked.channel.commit([linked.target(SECOND)], deadline_seconds=2)


async def test_documents_with_the_same_text_are_told_apart_by_their_revision(linked: Linked) -> None:
    louder = document("cfg-1.0.0-p9", runtime={"log_level": "DEBUG"}, **FIRST.values)
    async with linked.subscribed(), linked.client() as client:
        await client.post(PATH, json=said(FIRST))
        await linked.channel.commit([linked.target(louder)], deadline_seconds=2)
        before = await linked.report(louder)
        await client.post(PATH, json=said(louder))
        after = await linked.report(louder)
    assert before is not None
    assert after is not None
    assert (before.applied, after.applied) == (FIRST.key, louder.key)


async def test_an_instance_that_acknowledges_another_document_has_failed(linked: Linked) -> None:
    async with linked.subscribed(), linked.client() as client:
        await linked.channel.prepare([linked.target(SECOND)], deadline_seconds=2)
        tried = {"revision": SECOND.revision, "hash": "0" * 64, "phase": "prepare", "result": "prepared", "errors": []}
        await client.post(PATH, json=said(FIRST, last_attempt=tried))
        report = await linked.report(FIRST)
    assert report is not None
    assert report.attempt is not None
    assert (report.attempt.result, report.attempt.problems[0].message) == ("failed", "it acknowledged another document")


async def test_a_secret_in_a_reason_never_leaves(linked: Linked) -> None:
    secret = document("cfg-1.0.0-p2", api_key={"$secret": "openai", "version": 3})
    async with linked.subscribed() as events, linked.client() as client:
        assert await events.next() == ("commit", FIRST.revision)
        await linked.channel.prepare([linked.target(secret)], deadline_seconds=2)
        await events.line()
        sent = json.loads((await events.line()).removeprefix("data: "))
        assert json.loads(sent["document"]) == {"api_key": "correct-horse"}
        errors = [{"path": "api_key", "message": f"correct-horse is no key\x1b[31m {'x' * 1000}"}]
        tried = {"revision": secret.revision, "hash": sent["hash"], "phase": "prepare", "result": "rejected", "errors": errors}
        await client.post(PATH, json=said(FIRST, last_attempt=tried))
        report = await linked.report(FIRST)
    assert report is not None
    assert report.attempt is not None
    assert report.attempt.key == secret.key
    message = report.attempt.problems[0].message
    assert message.startswith("••• is no key [31m x")
    assert len(message) == 500
    assert "horse" not in repr(await linked.channel.known(AGENT))


async def test_a_text_that_we_never_sent_is_drift(linked: Linked) -> None:
    async with linked.subscribed(), linked.client() as client:
        await client.post(PATH, json=said(document("mine", own=1)))
        report = await linked.report(FIRST)
    assert report is not None
    assert report.applied == ""


async def test_an_instance_that_has_fallen_silent_is_not_connected_any_more() -> None:
    clock = VirtualClock()
    hub = Hub(renderer=Renderer(clock=clock, secrets=None), clock=clock)
    async with hub.subscribe(AGENT, INSTANCE):
        assert hub.reaches(AGENT, INSTANCE)
        clock.advance(SILENCE_SECONDS + 1)
        assert not hub.reaches(AGENT, INSTANCE)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "level"),
        ({"level": "telepathy"}, "level"),
        (said(FIRST) | {"config": {"applied": {"revision": "x", "hash": "ABC"}}}, "config.applied.hash"),
    ],
)
async def test_a_report_that_is_none_is_refused_with_the_field(linked: Linked, body: dict[str, Any], path: str) -> None:
    async with linked.client() as client:
        answer = await client.post(PATH, json=body)
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == [path]


async def test_the_short_way_of_a_report_answers_what_the_route_answers(linked: Linked) -> None:
    async with linked.client() as client:
        body = json.dumps(said(FIRST, prepared=held(SECOND)))
        answers = {}
        for kind in ("application/json", "application/link+json"):  # the second one is for the route alone
            answers[kind] = await client.post(PATH, content=body, headers={"Content-Type": kind})
            report = await linked.report(FIRST)
            assert report is not None
            assert report.applied == FIRST.key
            await linked.channel.forget(AGENT, INSTANCE)
            linked.channel.link.want(AGENT, INSTANCE, FIRST)
    short, long = answers.values()
    assert (short.status_code, short.content) == (long.status_code, long.content) == (200, short.content)
    changing = {"x-request-id", "date"}
    assert {k: v for k, v in short.headers.items() if k not in changing} == {k: v for k, v in long.headers.items() if k not in changing}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"level": "sdk", "level": 1}', b"[" * 100_000, b"\xff"])
async def test_a_body_that_is_no_report_is_answered_by_the_route_with_a_sentence(linked: Linked, body: bytes) -> None:
    async with linked.client() as client:
        answer = await client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"


# --- answers ---


async def answered(linked: Linked) -> list[str]:
    with anyio.fail_after(30):
        return sorted(await linked.channel.answered())


async def nobody_answered(linked: Linked) -> bool:
    with anyio.move_on_after(0.05):
        await linked.channel.answered()
        return False
    return True


async def test_the_last_awaited_answer_is_told_and_no_earlier_one(linked: Linked) -> None:
    targets = [linked.target(SECOND), linked.target(SECOND, OTHER)]
    async with linked.subscribed(), linked.subscribed(OTHER), linked.client() as one, linked.client(OTHER) as other:
        await linked.channel.prepare(targets, deadline_seconds=2)
        await one.post(PATH, json=said(FIRST, prepared=held(SECOND)))
        await one.post(PATH, json=said(FIRST, prepared=held(SECOND)))
        assert await nobody_answered(linked)
        await other.post(PATH, json=said(FIRST, prepared=held(SECOND)))
        assert await answered(linked) == [AGENT]
        await linked.channel.commit(targets, deadline_seconds=2)
        await other.post(PATH, json=said(SECOND))
        await one.post(PATH, json=said(FIRST))  # a beat from before it was told
        assert await nobody_answered(linked)
        await one.post(PATH, json=said(SECOND))
        assert await answered(linked) == [AGENT]
        await one.post(PATH, json=said(SECOND))
        assert await nobody_answered(linked)


async def test_the_first_refusal_is_told_without_waiting_for_the_others(linked: Linked) -> None:
    async with linked.subscribed(), linked.subscribed(OTHER), linked.client() as one:
        await linked.channel.prepare([linked.target(SECOND), linked.target(SECOND, OTHER)], deadline_seconds=2)
        tried = {**held(SECOND), "phase": "prepare", "result": "rejected", "errors": []}
        await one.post(PATH, json=said(FIRST, last_attempt=tried))
        assert await answered(linked) == [AGENT]


async def test_who_ends_is_not_waited_for(linked: Linked) -> None:
    async with linked.subscribed(), linked.subscribed(OTHER), linked.client() as one:
        await linked.channel.prepare([linked.target(SECOND), linked.target(SECOND, OTHER)], deadline_seconds=2)
        await one.post(PATH, json=said(FIRST, prepared=held(SECOND)))
        assert await nobody_answered(linked)
        await linked.channel.forget(AGENT, OTHER)
        assert await answered(linked) == [AGENT]


async def test_who_needs_no_question_has_answered_at_once(linked: Linked) -> None:
    async with linked.client() as script:
        await script.get(f"{PATH}/config", headers={"If-None-Match": f'"{digest(FIRST)}"'})  # a script, which cannot be asked
        await linked.channel.prepare([linked.target(SECOND)], deadline_seconds=2)
        assert await answered(linked) == [AGENT]


# --- scripts ---


async def test_a_script_polls_with_the_hash_it_has_and_that_acknowledges_it(linked: Linked) -> None:
    async with linked.client() as script:
        first = await script.get(f"{PATH}/config")
        assert first.text == text_of(FIRST.values)
        assert first.headers["ETag"] == f'"{digest(FIRST)}"'
        assert first.headers["X-Servicing-Revision"] == FIRST.revision
        same = await script.get(f"{PATH}/config", headers={"If-None-Match": first.headers["ETag"]})
        assert (same.status_code, same.content) == (304, b"")
        report = await linked.report(FIRST)
        assert report is not None
        assert (report.level, report.applied) == ("script", FIRST.key)
        await linked.channel.prepare([linked.target(SECOND)], deadline_seconds=2)
        asked = await linked.report(FIRST)
        assert asked is not None
        assert (asked.prepared, asked.applied) == (SECOND.key, FIRST.key)
        answers = list[httpx.Response]()

        async def poll() -> None:
            answers.append(await script.get(f"{PATH}/config?wait=60", headers={"If-None-Match": first.headers["ETag"]}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poll)
            await until(lambda: _true(linked.channel.link._instances[AGENT][INSTANCE].polls == 1))
            await linked.channel.commit([linked.target(SECOND)], deadline_seconds=2)
        assert answers[0].text == text_of(SECOND.values)
        await script.get(f"{PATH}/config", headers={"If-None-Match": answers[0].headers["ETag"]})
        after = await linked.report(SECOND)
        assert after is not None
        assert after.applied == SECOND.key


async def test_what_is_not_known_yet_is_said_so(linked: Linked) -> None:
    async with linked.client(OTHER) as client:
        answer = await client.get(f"{PATH}/config")
        assert (answer.status_code, answer.json()["code"]) == (503, "config_not_known_yet")
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await client.post(PATH, json=said(FIRST))).json() == {"revision": None, "hash": None}


# --- who may ---


async def test_only_an_instance_of_the_agent_gets_in(linked: Linked) -> None:
    async with linked.world.client(linked.world.admin_token) as admin:
        other = await admin.post(f"{PREFIX}/agents", json={"manifest": MANIFEST.replace(AGENT, "WowCache"), "version": "1.2.5"})
        await linked.world.until(admin, other.json()["upgrade_id"], "completed", agent="WowCache")
    cases = [
        (linked.world.admin_token, 403, "instances_only"),
        (linked.world.runtime.token_of("WowCache", INSTANCE), 403, "agent_out_of_reach"),
        ("nobody", 401, "unauthenticated"),
    ]
    for token, status, code in cases:
        async with linked.client(token=token) as client:
            for answer in (await client.get(PATH), await client.get(f"{PATH}/config"), await client.post(PATH, json=said(FIRST))):
                assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_the_token_of_an_instance_that_has_ended_is_unknown(linked: Linked) -> None:
    linked.world.runtime.crash(AGENT, INSTANCE)
    async with linked.client() as client:
        assert (await client.post(PATH, json=said(FIRST))).status_code == 401


async def test_a_server_without_a_channel_says_that_nobody_can_connect(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as admin:
        await api_world.add(admin)
    async with api_world.client(api_world.runtime.token_of(AGENT, INSTANCE)) as client:
        answer = await client.post(PATH, json=said(FIRST))
    assert (answer.status_code, answer.json()["code"]) == (503, "link_unavailable")


async def _true(value: bool) -> bool:
    return value
