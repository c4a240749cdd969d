"""The fleet over HTTP: adding, looking, scaling, restarting, removing, versions and what changed between them."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from agent_servicing.core.model import Probe
from agent_servicing.manifest import load_manifest
from agent_servicing.services.generations import Generations
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, MANIFEST, UPGRADE, ApiWorld

pytestmark = pytest.mark.anyio


async def test_an_agent_is_added_installed_and_shown(api_world: ApiWorld) -> None:
    async with api_world.client(await api_world.token("operator")) as client:
        answer = await client.post(f"{PREFIX}/agents", json={"manifest": MANIFEST, "version": "1.2.5", "reason": "first"})
        assert answer.status_code == 201
        assert answer.headers["Location"] == f"{PREFIX}/agents/{AGENT}"
        added = answer.json()
        assert added["agent_id"] == AGENT
        assert added["upgrade_id"].startswith("upg-")
        assert added["deployment"]["status"] == "queued"
        assert added["deployment"]["queue_position"] == 1
        assert (await client.get(answer.headers["Location"])).status_code == 200
        installed = await api_world.until(client, added["upgrade_id"], "completed")
        assert (installed["kind"], installed["from_version"], installed["to_version"]) == ("install", None, "1.2.5")
        assert installed["metrics"]["blue"] is None
        assert installed["metrics"]["green"]["traffic_percent"] == 100
        shown = (await client.get(f"{PREFIX}/agents/{AGENT}")).json()
        assert (shown["current_version"], shown["health"]["status"], shown["health"]["ready"]) == ("1.2.5", "healthy", 2)
        assert shown["traffic"] == {"1.2.5": 100.0}
        assert shown["generations"][0]["role"] == "stable"
        listed = (await client.get(f"{PREFIX}/agents")).json()
        assert [agent["agent_id"] for agent in listed["agents"]] == [AGENT]
        assert listed["next_cursor"] is None


async def test_a_manifest_may_be_an_object_and_its_relative_source_lies_beside_it(api_world: ApiWorld) -> None:
    manifest = {"agent": {"id": "WowCache"}, "source": {"path": "./dist"}, "run": {"command": ["serve"]}}
    async with api_world.client(api_world.admin_token) as client:
        answer = await client.post(f"{PREFIX}/agents", json={"manifest": manifest, "manifest_path": "/srv/cache/agent.toml"})
        assert answer.status_code == 201, answer.text
        assert answer.json()["source"] == {"kind": "path", "location": "/srv/cache/dist"}
        assert load_manifest(answer.json()["manifest"], origin="test").agent == "WowCache"
        assert answer.json()["deployment"]["to_version"] == "1.2.5"


async def test_an_agent_is_added_once(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        again = await client.post(f"{PREFIX}/agents", json={"manifest": MANIFEST})
        assert (again.status_code, again.json()["code"]) == (409, "agent_exists")


async def test_health_checks_that_were_not_worth_a_write_are_shown_all_the_same(api_world: ApiWorld) -> None:
    class Seen:
        def latest(self, agent: str) -> Mapping[str, Probe]:
            assert agent == AGENT
            return {
                "g1-1-1": Probe(instance="g1-1-1", healthy=True, at=now),
                "g1-2-1": Probe(instance="g1-2-1", healthy=True, at=now - timedelta(days=1)),
            }

    async with api_world.client(api_world.admin_token) as admin:
        await api_world.add(admin)
    now = api_world.clock.now() + timedelta(seconds=1)
    shown = Generations(
        database=api_world.database, states=api_world.store.known, clock=api_world.clock, router=None, known=None, probes=Seen()
    )
    first, second = (work.instance for work in (await shown.work(AGENT)).instances)
    assert first.probed_at == now
    assert second.probed_at is not None
    assert timedelta() < now - second.probed_at < timedelta(minutes=1)


async def test_instances_logs_and_metrics_can_be_read(api_world: ApiWorld) -> None:
    async with api_world.client(await api_world.token("viewer")) as client, api_world.client(api_world.admin_token) as admin:
        await api_world.add(admin)
        instances = (await client.get(f"{PREFIX}/agents/{AGENT}/instances")).json()["instances"]
        assert [(i["status"], i["version"], i["role"]) for i in instances] == [("ready", "1.2.5", "stable")] * 2
        assert all(i["pid"] and i["started_at"].endswith("Z") and i["port"] for i in instances)
        logs = (await client.get(f"{PREFIX}/agents/{AGENT}/logs", params={"instance": instances[0]["instance"]})).json()
        assert logs["lines"] == [{"instance": instances[0]["instance"], "line": "started"}]
        await client.get(f"{PREFIX}/agents/{AGENT}/metrics")
        for _ in range(5):
            await api_world.turn()
        metrics = (await client.get(f"{PREFIX}/agents/{AGENT}/metrics", params={"window": 30})).json()
        (generation,) = metrics["generations"]
        assert (generation["role"], generation["errors"], generation["error_rate"]) == ("stable", 0, 0.0)
        assert generation["requests"] > 0
        assert metrics["unserved"] == 0


async def test_what_an_old_version_is_still_busy_with_is_told_and_what_nobody_knows_is_null(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        api_world.source.names.append("1.3.0")
        await client.post(f"{PREFIX}/agents/{AGENT}/versions/refresh")
        upgrade = (await client.post(f"{PREFIX}/agents/{AGENT}/upgrade", json=UPGRADE)).json()
        await api_world.until(client, upgrade["upgrade_id"], "completed")
        api_world.router.in_flight["g1-1-1"] = 2
        new, old = (await client.get(f"{PREFIX}/agents/{AGENT}/generations")).json()["generations"]
        assert (new["generation"], new["role"], new["phase"], new["in_flight"], new["stream_seconds_left"]) == (
            2,
            "stable",
            "active",
            0,
            None,
        )
        assert (old["generation"], old["version"], old["phase"], old["in_flight"], old["active_streams"]) == (
            1,
            "1.2.5",
            "draining",
            2,
            None,
        )
        assert 0 < old["stream_seconds_left"] <= 300
        assert old["conversations"] is None
        instances = (await client.get(f"{PREFIX}/agents/{AGENT}/instances")).json()["instances"]
        busy = next(i for i in instances if i["instance"] == "g1-1-1")
        assert (busy["status"], busy["in_flight"], busy["active_streams"], busy["says"]) == ("ready", 2, None, "")
        api_world.router.in_flight.clear()
        _, old = (await client.get(f"{PREFIX}/agents/{AGENT}/generations")).json()["generations"]
        assert (old["phase"], old["in_flight"], old["active_streams"]) == ("warm", 0, 0)
        api_world.router.reachable = False
        new, old = (await client.get(f"{PREFIX}/agents/{AGENT}/generations")).json()["generations"]
        assert (new["in_flight"], old["phase"], old["in_flight"]) == (None, "draining", None)
        assert (await client.get(f"{PREFIX}/agents/WowNobody/generations")).json()["code"] == "unknown_agent"


async def test_scaling_and_restarting_are_accepted_and_then_done(api_world: ApiWorld) -> None:
    async with api_world.client(await api_world.token("operator")) as client:
        await api_world.add(client)
        accepted = await client.post(f"{PREFIX}/agents/{AGENT}/scale", json={"instances": 4, "reason": "busy day"})
        assert (accepted.status_code, accepted.json()) == (202, {"agent_id": AGENT, "status": "active", "instances": 4})
        for _ in range(20):
            await api_world.turn()
        assert (await client.get(f"{PREFIX}/agents/{AGENT}")).json()["health"]["ready"] == 4
        restarted = await client.post(f"{PREFIX}/agents/{AGENT}/restart", json={"reason": "new certificate"})
        assert (restarted.status_code, restarted.json()["kind"]) == (202, "restart")
        await api_world.until(client, restarted.json()["upgrade_id"], "completed")
        for body in ({"instances": 0}, {"instances": 1000}, {"instances": 2.5}, {"instances": True}, {}):
            assert (await client.post(f"{PREFIX}/agents/{AGENT}/scale", json=body)).status_code == 422, body


async def test_a_removed_agent_is_gone_and_its_history_stays(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        added = await api_world.add(client)
        removed = await client.delete(f"{PREFIX}/agents/{AGENT}", params={"reason": "retired"})
        assert (removed.status_code, removed.json()["status"]) == (202, "removing")
        for _ in range(200):
            if (await client.get(f"{PREFIX}/agents/{AGENT}")).status_code == 404:
                break
            await api_world.turn()
        assert (await client.get(f"{PREFIX}/agents")).json()["agents"] == []
        assert (await client.get(f"{PREFIX}/agents/{AGENT}/upgrades/{added['upgrade_id']}")).json()["status"] == "completed"
        assert (await client.get(f"{PREFIX}/agents/{AGENT}/upgrades")).json()["upgrades"]
        assert (await client.get(f"{PREFIX}/agents/{AGENT}/audit")).json()["events"]


async def test_versions_are_shown_as_the_story_has_them_and_refreshed_on_demand(api_world: ApiWorld) -> None:
    async with api_world.client(await api_world.token("operator")) as client:
        await api_world.add(client)
        api_world.source.names.append("1.3.0")
        refreshed = await client.post(f"{PREFIX}/agents/{AGENT}/versions/refresh")
        assert refreshed.json()["new_versions"] == ["1.3.0"]
        versions = (await client.get(f"{PREFIX}/agents/{AGENT}/versions")).json()
        assert (versions["agent_id"], versions["current_version"]) == (AGENT, "1.2.5")
        assert versions["current_deployed_at"].endswith("Z")
        (new,) = versions["available_versions"]
        assert (new["version"], new["type"], new["security_patch"], new["critical"]) == ("1.3.0", "minor", False, False)
        assert new["changelog"] == {"fixed": ["Workflow timeout handling"]}
        assert new.keys() >= {"release_date", "breaking_changes", "test_results", "author", "deployment_count", "success_rate"}
        assert {v["version"] for v in versions["versions"]} == {"1.2.4", "1.2.5", "1.3.0"}
        assert isinstance(versions["rollback_points"], list)
        assert (await client.get(f"{PREFIX}/agents/{AGENT}")).json()["update_available"]


async def test_the_way_from_one_version_to_another_is_described(api_world: ApiWorld) -> None:
    async with api_world.client(await api_world.token("viewer")) as client, api_world.client(api_world.admin_token) as admin:
        await api_world.add(admin)
        changes = (await client.get(f"{PREFIX}/agents/{AGENT}/changes", params={"from": "1.2.4", "to": "1.2.5"})).json()
        assert (changes["from"], changes["to"], changes["type"]) == ("1.2.4", "1.2.5", "patch")
        assert changes["changelog"] == {"fixed": ["Workflow timeout handling"]}
        assert changes["state_door"] in {"two_way", "one_way", "unknown"}
        assert changes.keys() >= {"breaking_changes", "migration_notes", "config_schema", "manifest"}
        unknown = await client.get(f"{PREFIX}/agents/{AGENT}/changes", params={"from": "1.2.4", "to": "7.0.0"})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_version")


async def test_the_fleet_is_added_up(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        fleet = (await client.get(f"{PREFIX}/fleet")).json()
        assert (fleet["agents"], fleet["healthy"], fleet["instances_ready"], fleet["instances_desired"]) == (1, 1, 2, 2)
