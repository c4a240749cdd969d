"""Notifications over HTTP: made from the event log once, read by each person for itself, seen only by those who reach the agent."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from agent_servicing.core import events
from agent_servicing.core.events import Event
from agent_servicing.core.notices import KINDS, told_types
from agent_servicing.services import notifications as service
from agent_servicing.services.notifications import NotificationFilters
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, ApiWorld, open_world

pytestmark = pytest.mark.anyio

PATH = f"{PREFIX}/notifications"


def unhealthy(world: ApiWorld, agent: str = AGENT, instance: str = "g1-1-1") -> Event:
    data = {"instance": instance, "version": "1.2.5", "problem": "exited with code 1"}
    return Event(type=events.INSTANCE_UNHEALTHY, at=world.clock.now(), agent=agent, data=data)


def available(world: ApiWorld, version: str = "1.3.0", agent: str = AGENT, **more: object) -> Event:
    data = {"version": version, "update_type": "minor", "current_version": "1.2.5", **more}
    return Event(type=events.VERSION_AVAILABLE, at=world.clock.now(), agent=agent, data=data)


async def listed(client: httpx.AsyncClient, **filters: Any) -> list[dict[str, Any]]:
    answer = await client.get(PATH, params=filters)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["notifications"])


async def test_an_upgrade_tells_of_its_beginning_and_its_end_with_figures(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        asked = await api_world.upgrade(client)
        await api_world.until(client, asked["upgrade_id"], "completed")
        await api_world.services.telling.notifications.follow()
        mine = [one for one in await listed(client) if one["upgrade_id"] == asked["upgrade_id"]]
        assert [one["kind"] for one in mine] == ["deployment_succeeded", "deployment_started"]
        ended, started = mine
        assert started["title"] == f"{AGENT}: upgrade from v1.2.5 to v1.3.0 started"
        assert "faster" in started["message"]
        assert ended["title"] == f"{AGENT} upgraded to v1.3.0"
        assert "downtime 0 s" in ended["message"]
        assert ended["link"] == f"/agents/{AGENT}/deployments/{asked['upgrade_id']}"
        assert "version_available" in {one["kind"] for one in await listed(client)}


async def test_a_rolled_back_upgrade_says_why_with_its_numbers_and_how_to_report_it(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        api_world.runtime.behaviour("1.3.0").error_share = 0.3
        await api_world.add(client)
        policy = {"enabled": True, "error_rate_threshold": 5.0, "min_requests": 100}
        asked = await api_world.upgrade(client, auto_rollback=policy)
        await api_world.until(client, asked["upgrade_id"], "rolled_back")
        await api_world.services.telling.notifications.follow()
        (told,) = await listed(client, kind="deployment_rolled_back")
        assert told["severity"] == "error"
        assert told["title"] == f"{AGENT} upgrade to v1.3.0 rolled back due to high error rate"
        assert "% > 5%" in told["message"]
        assert f"servicing issue report {AGENT} {asked['upgrade_id']}" in told["message"]


async def test_each_person_has_read_its_own(api_world: ApiWorld) -> None:
    await api_world.tell(available(api_world, "1.3.0"), available(api_world, "1.3.1"))
    await api_world.services.telling.notifications.follow()
    async with api_world.client(api_world.admin_token) as admin, api_world.client(await api_world.token("viewer")) as viewer:
        newest, older = await listed(admin)
        assert (newest["title"], newest["read"]) == (f"{AGENT} v1.3.1 available", False)
        read = await admin.post(f"{PATH}/{older['notification_id']}/read")
        assert (read.status_code, read.json()["read"]) == (200, True)
        assert (await admin.post(f"{PATH}/{older['notification_id']}/read")).status_code == 200
        assert [one["notification_id"] for one in await listed(admin, unread=True)] == [newest["notification_id"]]
        assert (await admin.get(PATH)).json()["unread_count"] == 1
        assert (await viewer.get(PATH)).json()["unread_count"] == 2
        assert (await admin.post(f"{PATH}/read-all")).json() == {"read": 1, "unread_count": 0}
        assert await listed(admin, unread=True) == []
        assert len(await listed(admin)) == 2
        assert len(await listed(viewer, unread=True)) == 2
        api_world.clock.advance(1)
        await api_world.tell(available(api_world, "1.4.0"))
        await api_world.services.telling.notifications.follow()
        assert [one["title"] for one in await listed(admin, unread=True)] == [f"{AGENT} v1.4.0 available"]


async def test_a_token_for_some_agents_sees_and_reads_theirs_only(api_world: ApiWorld) -> None:
    await api_world.tell(available(api_world), available(api_world, agent="WowCache"))
    await api_world.services.telling.notifications.follow()
    async with api_world.client(api_world.admin_token) as admin, api_world.client(await api_world.token("viewer", ["WowCache"])) as some:
        (mine,) = await listed(some)
        assert mine["agent_id"] == "WowCache"
        other = next(one for one in await listed(admin) if one["agent_id"] == AGENT)
        refused = await some.post(f"{PATH}/{other['notification_id']}/read")
        assert (refused.status_code, refused.json()["code"]) == (404, "unknown_notification")
        assert (await some.get(PATH, params={"agent": AGENT})).json()["code"] == "agent_out_of_reach"
        assert (await some.post(f"{PATH}/read-all")).json()["read"] == 1
        assert (await some.get(PATH)).json()["unread_count"] == 0
        assert (await admin.get(PATH)).json()["unread_count"] == 2


async def test_lists_are_paged_and_filtered_and_say_what_they_do_not_know(api_world: ApiWorld) -> None:
    for number in range(5):
        await api_world.tell(available(api_world, f"1.3.{number}"))
    await api_world.tell(unhealthy(api_world))
    await api_world.services.telling.notifications.follow()
    async with api_world.client(api_world.admin_token) as client:
        seen, cursor = [], None
        while True:
            params = {"limit": 2, "kind": "version_available", **({"cursor": cursor} if cursor else {})}
            page = (await client.get(PATH, params=params)).json()
            seen += [one["title"] for one in page["notifications"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == [f"{AGENT} v1.3.{number} available" for number in (4, 3, 2, 1, 0)]
        for params, code in (({"kind": "nonsense"}, "unknown_kind"), ({"cursor": "x"}, "bad_cursor"), ({"limit": 0}, "invalid_request")):
            refused = await client.get(PATH, params=params)
            assert (refused.status_code, refused.json()["code"]) == (422, code)
        assert (await client.post(f"{PATH}/ntf-nobody/read")).json()["code"] == "unknown_notification"


async def test_a_flapping_agent_is_told_of_once_and_counted(api_world: ApiWorld) -> None:
    for number in range(30):
        await api_world.tell(unhealthy(api_world, instance=f"g1-1-{number}"))
        await api_world.services.telling.notifications.follow()
        api_world.clock.advance(2)
    async with api_world.client(api_world.admin_token) as client:
        (told,) = await listed(client)
        assert told["count"] == 30
        assert told["last_at"] > told["at"]
        api_world.clock.advance(service.SAME_FOR.total_seconds() - 60)
        await api_world.tell(unhealthy(api_world))
        await api_world.services.telling.notifications.follow()
        again, first = await listed(client)
        assert (again["count"], first["count"]) == (1, 30)
        assert "It happened 30 times before" in again["message"]


async def test_a_security_update_is_its_own_kind_and_a_critical_one_is_critical(api_world: ApiWorld) -> None:
    await api_world.tell(
        available(api_world, "1.2.6", security_patch=True), available(api_world, "1.2.7", security_patch=True, critical=True)
    )
    await api_world.services.telling.notifications.follow()
    async with api_world.client(api_world.admin_token) as client:
        critical, security = await listed(client, kind="security_update")
        assert (critical["severity"], security["severity"]) == ("critical", "warning")
        assert critical["title"] == f"Critical security update: {AGENT} v1.2.7"


async def test_nothing_is_lost_and_nothing_comes_twice_when_the_server_ends_in_between(tmp_path: Path, anyio_backend: str) -> None:
    async with open_world(tmp_path) as world:
        await world.tell(available(world, "1.3.0"))
        await world.services.telling.notifications.follow()
        await world.tell(available(world, "1.3.1"))
    async with open_world(tmp_path) as world:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(world.services.telling.notifications.follow)
        page = await world.services.telling.notifications.list("admin", NotificationFilters())
        assert [one.title for one in page.notifications] == [f"{AGENT} v1.3.1 available", f"{AGENT} v1.3.0 available"]


async def test_a_new_notification_is_a_live_event(api_world: ApiWorld) -> None:
    before = await api_world.services.events.last_seq()
    await api_world.tell(unhealthy(api_world))
    await api_world.services.telling.notifications.follow()
    told = [stored.event for stored in await api_world.services.events.since(before) if stored.event.type == "notification"]
    (event,) = told
    assert (event.agent, event.data["kind"], event.data["severity"]) == (AGENT, "agent_unhealthy", "error")
    assert not event.audit
    await api_world.services.telling.notifications.follow()
    assert len((await api_world.services.telling.notifications.list("admin", NotificationFilters())).notifications) == 1


async def test_old_ones_go(api_world: ApiWorld) -> None:
    many = service.NOTIFICATIONS_KEPT + 10
    one = available(api_world)
    for start in range(0, many, 500):
        batch = [replace(one, data={**one.data, "version": f"1.3.{n}"}) for n in range(start, min(start + 500, many))]
        await api_world.tell(*batch)
    assert await api_world.services.telling.notifications.follow() == many
    newest = (await api_world.services.telling.notifications.list("admin", NotificationFilters(limit=1))).unread
    assert newest == service.NOTIFICATIONS_KEPT


async def test_readings_that_nobody_is_told_of_cost_no_write(api_world: ApiWorld) -> None:
    quiet = Event(type=events.METRICS_UPDATE, at=api_world.clock.now(), agent=AGENT)
    await api_world.tell(*[quiet] * 50)
    assert await api_world.services.telling.notifications.follow() == 0
    await api_world.tell(*[quiet] * service.IDLE_EVENTS)
    assert await api_world.services.telling.notifications.follow() == 0
    await api_world.tell(replace(available(api_world), at=api_world.clock.now() + timedelta(seconds=1)))
    assert await api_world.services.telling.notifications.follow() == 1


def test_every_kind_can_be_made_by_an_event_and_is_in_the_guide() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs/guides/notifications.md").read_text()
    assert [kind for kind in KINDS if f"`{kind}`" not in guide] == []
    assert len(told_types()) > 15


async def test_what_happens_again_after_it_was_read_is_not_read_any_more(api_world: ApiWorld) -> None:
    follow = api_world.services.telling.notifications.follow

    async def again() -> None:
        api_world.clock.advance(2)
        await api_world.tell(unhealthy(api_world))
        await follow()

    await again()
    await api_world.tell(available(api_world))
    await follow()
    async with api_world.client(api_world.admin_token) as admin, api_world.client(await api_world.token("viewer")) as viewer:
        (first,) = await listed(admin, kind="agent_unhealthy")
        assert (await admin.post(f"{PATH}/{first['notification_id']}/read")).json()["read"]
        await again()
        (second,) = await listed(admin, kind="agent_unhealthy")
        assert (second["notification_id"], second["read"], second["count"]) == (first["notification_id"], False, 2)
        assert (second["at"], second["last_at"] > first["last_at"]) == (first["at"], True)
        assert (await listed(admin))[0] == second, "it is on top again"
        assert len(await listed(viewer)) == 2, "it is one thing for those, too, who have not read it"
        await admin.post(f"{PATH}/read-all")
        assert (await admin.get(PATH)).json()["unread_count"] == 0
        await again()
        assert [one["count"] for one in await listed(admin, unread=True)] == [3]
        await again()
        assert [one["count"] for one in await listed(admin, unread=True)] == [4]


async def test_who_comes_later_begins_with_nothing_unread(api_world: ApiWorld) -> None:
    await api_world.tell(available(api_world, "1.3.0"))
    await api_world.services.telling.notifications.follow()
    async with api_world.client(api_world.admin_token) as admin:
        made = await admin.post(f"{PREFIX}/users", json={"name": "ada", "role": "viewer", "password": "a long enough password"})
        assert made.status_code == 201, made.text
        assert (await admin.get(PATH)).json()["unread_count"] == 1
    api_world.clock.advance(1)
    await api_world.tell(available(api_world, "1.4.0"))
    await api_world.services.telling.notifications.follow()
    found = await api_world.services.telling.notifications.list("ada", NotificationFilters())
    assert [(one.title, one.read) for one in found.notifications] == [
        (f"{AGENT} v1.4.0 available", False),
        (f"{AGENT} v1.3.0 available", True),
    ]
    assert found.unread == 1
