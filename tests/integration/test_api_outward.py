"""Notifications outward: settings that never show an address, rules, retries, giving up, and what a crash in between leaves."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from agent_servicing.core import events
from agent_servicing.core.events import Event
from agent_servicing.core.outward import BACKOFF_SECONDS, pause_seconds
from agent_servicing.ports.outward import Letter
from agent_servicing.services import outward as service
from agent_servicing.testing.outward import MemorySender
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, ApiWorld, open_world

pytestmark = pytest.mark.anyio

PATH = f"{PREFIX}/settings/notifications"
SECRET = "memory://hooks/S3ntinel-address"
OTHER = "memory://hooks/another"


def settings(*names: str, **more: Any) -> dict[str, Any]:
    """Targets of these names and a rule that sends everything to all of them."""
    rule = {"name": "all", "targets": list(names)}
    return {"targets": [{"name": name, "url": SECRET} for name in names], "rules": [rule], **more}


async def put(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.put(PATH, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def happen(world: ApiWorld, version: str = "1.3.0", agent: str = AGENT, **more: object) -> None:
    """A version comes out, and is made into a notification."""
    data = {"version": version, "update_type": "minor", "current_version": "1.2.5", **more}
    await world.tell(Event(type=events.VERSION_AVAILABLE, at=world.clock.now(), agent=agent, data=data))
    await world.services.telling.notifications.follow()


async def deliver(world: ApiWorld) -> None:
    await world.services.telling.outward.deliver()


def of(shown: dict[str, Any], target: str) -> dict[str, Any]:
    return next(one for one in shown["delivery"] if one["target"] == target)


async def test_a_target_gets_what_its_rules_want_and_no_answer_log_or_row_holds_its_address(api_world: ApiWorld, tmp_path: Path) -> None:
    rules = [
        {"name": "bad", "targets": ["ops"], "min_severity": "warning"},
        {"name": "mine", "targets": ["ops", "team"], "agents": [AGENT], "kinds": ["version_available"]},
    ]
    body = {**settings("ops", "team"), "rules": rules, "page_url": "https://servicing.example.org/"}
    async with api_world.client(api_world.admin_token) as client:
        set_to = await put(client, body)
        assert [(target["name"], target["url"], target["service"]) for target in set_to["targets"]] == [
            ("ops", "memory://****", "Memory"),
            ("team", "memory://****", "Memory"),
        ]
        await happen(api_world, "1.3.0")
        await happen(api_world, "1.3.0", agent="WowCache")
        await happen(api_world, "1.2.6", agent="WowCache", security_patch=True)
        await deliver(api_world)
        told = [(target, letter.title) for target, _, letter in api_world.sender.sent]
        assert sorted(told) == [
            ("ops", "Security update: WowCache v1.2.6"),
            ("ops", f"{AGENT} v1.3.0 available"),
            ("team", f"{AGENT} v1.3.0 available"),
        ]
        assert {address for _, address, _ in api_world.sender.sent} == {SECRET}
        letter = api_world.sender.sent[0][2]
        assert f"https://servicing.example.org/agents/{AGENT}" in letter.text
        assert letter.key in letter.text
        shown = (await client.get(PATH)).json()
        assert (of(shown, "ops")["status"], of(shown, "ops")["waiting"]) == ("ok", 0)
        audit = await client.get(f"{PREFIX}/audit", params={"type": "notification_settings_changed"})
        assert audit.json()["events"][0]["targets_added"] == ["ops", "team"]
        assert all("S3ntinel" not in text for text in (json.dumps(set_to), json.dumps(shown), audit.text))
    assert "S3ntinel" not in api_world.redactor.mask_all(f"a library logs {SECRET}")
    with sqlite3.connect(tmp_path / "test.db") as database:
        assert not any("S3ntinel" in line for line in database.iterdump())


async def test_an_address_stays_when_it_is_left_out_or_sent_back_as_shown_and_a_secret_may_hold_it(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await client.put(f"{PREFIX}/secrets/chat", json={"value": OTHER})
        body = settings("ops", "chat")
        body["targets"][1]["url"] = {"$secret": "chat"}
        shown = await put(client, body)
        assert shown["targets"][1]["url"] == {"$secret": "chat"}
        again = {key: shown[key] for key in ("targets", "rules", "same_for_seconds", "give_up_seconds", "page_url")}
        again["targets"] = [{key: target[key] for key in ("name", "url", "enabled")} for target in shown["targets"]]
        assert (await put(client, {**again, "if_revision": shown["revision"]}))["targets"] == shown["targets"]
        await put(client, {**again, "targets": [{"name": "ops"}, {"name": "chat"}]})
        await happen(api_world)
        await deliver(api_world)
        assert sorted((target, address) for target, address, _ in api_world.sender.sent) == [("chat", OTHER), ("ops", SECRET)]
        refused = await client.delete(f"{PREFIX}/secrets/chat")
        assert (refused.status_code, refused.json()["code"]) == (409, "secret_in_use")
        await put(client, settings("ops"))
        assert (await client.delete(f"{PREFIX}/secrets/chat")).status_code == 204
        stale = await client.put(PATH, json={**settings("ops"), "if_revision": 1})
        assert (stale.status_code, stale.json()["code"]) == (409, "version_mismatch")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"targets": [{"name": "a b", "url": SECRET}]}, "bad_target"),
        ({"targets": [{"name": "a", "url": SECRET}, {"name": "a", "url": SECRET}]}, "bad_target"),
        ({"targets": [{"name": "a"}]}, "bad_target"),
        ({"targets": [{"name": "a", "url": "nosuch://S3ntinel"}]}, "bad_target"),
        ({"targets": [{"name": "a", "url": {"$secret": "nobody"}}]}, "bad_target"),
        ({"targets": [{"name": f"t{n}", "url": SECRET} for n in range(33)]}, "bad_target"),
        ({"targets": [{"name": "a", "url": ["S3ntinel"]}]}, "invalid_request"),
        ({"rules": [{"name": "r", "targets": ["nobody"]}]}, "bad_rule"),
        ({"rules": [{"name": "r", "targets": []}]}, "bad_rule"),
        ({"rules": [{"name": "r", "targets": ["ops"], "kinds": ["nonsense"]}]}, "bad_rule"),
        ({"rules": [{"name": "r", "targets": ["ops"], "agents": []}]}, "bad_rule"),
        ({"rules": [{"name": "r", "targets": ["ops"], "min_severity": "awful"}]}, "invalid_request"),
        ({"rules": [{"name": "r", "targets": ["ops"]}] * 2}, "bad_rule"),
        ({"same_for_seconds": -1.0}, "bad_value"),
        ({"give_up_seconds": 1.0}, "bad_value"),
        ({"page_url": "javascript:alert(1)"}, "bad_value"),
        ({"nonsense": 1}, "invalid_request"),
    ],
)
async def test_settings_that_cannot_be_are_refused_as_a_whole_and_not_repeated(
    api_world: ApiWorld, change: dict[str, Any], code: str
) -> None:
    async with api_world.client(api_world.admin_token) as client:
        refused = await client.put(PATH, json={**settings("ops"), **({"rules": []} if "targets" in change else {}), **change})
        assert (refused.status_code, refused.json()["code"]) == (422, code), refused.text
        assert "S3ntinel" not in refused.text
        assert (await client.get(PATH)).json()["revision"] == 0


async def test_only_an_admin_of_everything_says_where_the_server_connects_to(api_world: ApiWorld) -> None:
    async with api_world.client(await api_world.token("operator")) as operator:
        for method, path in (("GET", PATH), ("PUT", PATH), ("POST", f"{PATH}/targets/ops/test")):
            assert (await operator.request(method, path, json=settings("ops"))).json()["code"] == "role_too_low"
    async with api_world.client(await api_world.token("admin", [AGENT])) as limited:
        assert (await limited.put(PATH, json=settings("ops"))).json()["code"] == "agent_out_of_reach"


async def test_a_target_that_is_down_is_tried_with_growing_pauses_while_the_others_get_theirs(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await put(client, settings("ops", "team"))
        api_world.sender.failing["ops"] = "error=500"
        for version in ("1.3.0", "1.3.1"):
            await happen(api_world, version)
        await deliver(api_world)
        assert len(api_world.sender.keys("team")) == 2
        assert api_world.sender.tried.count("ops") == 1
        down = of((await client.get(PATH)).json(), "ops")
        assert (down["status"], down["waiting"], down["failures"], down["last_error"]) == ("failing", 2, 1, "error=500")
        for number, pause in enumerate(BACKOFF_SECONDS[:3], start=1):
            api_world.clock.advance(pause - 1)
            await deliver(api_world)
            assert api_world.sender.tried.count("ops") == number
            api_world.clock.advance(1)
            await deliver(api_world)
            assert api_world.sender.tried.count("ops") == number + 1
        api_world.sender.failing.clear()
        api_world.clock.advance(pause_seconds(4))
        await deliver(api_world)
        assert sorted(api_world.sender.keys("ops")) == sorted(api_world.sender.keys("team"))
        well = of((await client.get(PATH)).json(), "ops")
        assert (well["status"], well["waiting"], well["failures"]) == ("ok", 0, 0)


async def test_a_target_that_stays_down_is_given_up_and_that_is_told_in_the_list_and_to_the_others(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await put(client, settings("ops", "team", give_up_seconds=60.0))
        api_world.sender.failing["ops"] = "nobody is there"
        await happen(api_world)
        await deliver(api_world)
        api_world.clock.advance(61)
        await deliver(api_world)
        await api_world.services.telling.notifications.follow()
        (told,) = (await client.get(f"{PREFIX}/notifications", params={"kind": "notification_not_delivered"})).json()["notifications"]
        assert told["title"] == "Notifications do not reach ops"
        assert "1 notification given up: nobody is there" in told["message"]
        assert told["link"] == "/settings?part=notifications"
        await deliver(api_world)
        assert [letter.title for name, _, letter in api_world.sender.sent if name == "team"][-1] == "Notifications do not reach ops"
        assert of((await client.get(PATH)).json(), "ops")["waiting"] == 0


async def test_what_was_under_way_when_the_server_ended_is_sent_by_the_next_one_under_the_same_key(
    tmp_path: Path, anyio_backend: str
) -> None:
    class Dying(MemorySender):
        async def send(self, target: str, address: str, letter: Letter) -> None:
            await MemorySender.send(self, target, address, letter)
            ending.cancel()  # the message is out, and nobody has written that down
            await anyio.lowlevel.checkpoint()

    dying = Dying()
    async with open_world(tmp_path, sender=dying) as world, world.client(world.admin_token) as client:
        await put(client, settings("ops"))
        await happen(world, "1.3.0")
        await happen(world, "1.3.1")
        with anyio.CancelScope() as ending:
            await deliver(world)
        assert ending.cancelled_caught
    async with open_world(tmp_path) as world:
        await world.services.telling.settings.load()
        await deliver(world)
        first, second = world.sender.keys("ops")
        assert [first] == dying.keys("ops")
        assert second != first
        assert {address for _, address, _ in world.sender.sent} == {SECRET}
        await deliver(world)
        assert len(world.sender.sent) == 2


async def test_a_flood_fills_a_queue_to_its_limit_and_no_further(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await put(client, settings("ops", same_for_seconds=0.0))
        api_world.sender.failing["ops"] = "down"
        await deliver(api_world)
        many = service.QUEUE_MAX + 50
        data = {"update_type": "minor", "current_version": "1.2.5"}
        new = [
            Event(type=events.VERSION_AVAILABLE, at=api_world.clock.now(), agent=AGENT, data={**data, "version": f"1.3.{n}"})
            for n in range(many)
        ]
        await api_world.tell(*new)
        await api_world.services.telling.notifications.follow()
        await api_world.services.telling.notifications.follow()
        assert of((await client.get(PATH)).json(), "ops")["waiting"] == service.QUEUE_MAX
        found = (await client.get(f"{PREFIX}/notifications", params={"kind": "notification_not_delivered"})).json()["notifications"]
        assert "wait for it already" in found[0]["message"]


async def test_a_message_that_a_target_does_not_take_does_not_keep_the_others_back_for_ever(api_world: ApiWorld) -> None:
    class Picky(MemorySender):
        async def send(self, target: str, address: str, letter: Letter) -> None:
            self.failing = {target: "error=400"} if "1.3.0" in letter.title else {}
            await MemorySender.send(self, target, address, letter)

    picky = Picky()
    api_world.services.telling.outward._sender = picky
    async with api_world.client(api_world.admin_token) as client:
        await put(client, settings("ops"))
    await happen(api_world, "1.3.0")
    await happen(api_world, "1.3.1")
    for _ in range(5):
        await deliver(api_world)
        api_world.clock.advance(BACKOFF_SECONDS[3])
    assert [letter.title for _, _, letter in picky.sent] == [f"{AGENT} v1.3.1 available"]


async def test_the_test_button_says_what_became_of_it(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await put(client, settings("ops"))
        tried = await client.post(f"{PATH}/targets/ops/test")
        assert (tried.status_code, tried.json()["delivered"], tried.json()["problem"]) == (200, True, "")
        api_world.sender.failing["ops"] = "error=404"
        failed = (await client.post(f"{PATH}/targets/ops/test")).json()
        assert (failed["delivered"], failed["problem"]) == (False, "error=404")
        assert of((await client.get(PATH)).json(), "ops")["last_error"] == "error=404"
        assert (await client.post(f"{PATH}/targets/nobody/test")).json()["code"] == "unknown_target"
        audit = (await client.get(f"{PREFIX}/audit", params={"type": "notification_target_tested"})).json()["events"]
        assert [event["status"] for event in audit] == ["failed", "success"]


async def test_a_target_that_is_off_or_gone_gets_nothing(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        body = settings("ops", "team")
        await put(client, body)
        api_world.sender.failing |= {"ops": "down", "team": "down"}
        await happen(api_world)
        await deliver(api_world)
        api_world.sender.failing.clear()
        body["targets"][0]["enabled"] = False
        shown = await put(client, body)
        assert of(shown, "ops")["status"] == "off"
        await put(client, {"targets": [{"name": "ops", "enabled": False}]})
        await happen(api_world, "1.3.1")
        api_world.clock.advance(10)
        await deliver(api_world)
        assert "team" not in {name for name, _, _ in api_world.sender.sent}
        assert api_world.sender.keys("ops") == []


async def test_the_loop_serves_a_quick_target_while_a_slow_one_is_busy(tmp_path: Path, anyio_backend: str) -> None:
    class Slow(MemorySender):
        def __init__(self) -> None:
            super().__init__()
            self.held = anyio.Event()

        async def send(self, target: str, address: str, letter: Letter) -> None:
            if target == "slow":
                await self.held.wait()
            await MemorySender.send(self, target, address, letter)

    sender = Slow()
    async with open_world(tmp_path, sender=sender) as world, world.client(world.admin_token) as client:
        await put(client, settings("slow", "quick", give_up_seconds=604_800.0))  # the loop moves the clock on by itself
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.services.telling.outward.run)
            for number in range(3):
                await happen(world, f"1.3.{number}")
                with anyio.fail_after(120):
                    while len(sender.keys("quick")) <= number:
                        await anyio.lowlevel.checkpoint()
            assert sender.keys("slow") == []
            sender.held.set()
            with anyio.fail_after(120):
                while len(sender.keys("slow")) < 3:
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()


async def test_what_happens_again_after_somebody_read_it_is_still_sent_once(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await put(client, settings("ops"))
        await happen(api_world)
        await client.post(f"{PREFIX}/notifications/read-all")
        await happen(api_world)
        (told,) = (await client.get(f"{PREFIX}/notifications")).json()["notifications"]
        assert (told["count"], told["read"]) == (2, False)
        await deliver(api_world)
        assert api_world.sender.keys("ops") == [told["notification_id"]], "it waited when it was put on top"
