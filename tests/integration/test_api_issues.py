"""Reports of deployments: what is in the bundle, what is not, who may make and read one, and how it gets to a tracker."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.services import issue_bundle, issues
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, ApiWorld

pytestmark = pytest.mark.anyio

PATH = f"{PREFIX}/agents/{AGENT}/issues"
SETTINGS = f"{PREFIX}/settings/issues"
SECRET = "S3ntinel-token-value"
GITHUB = {"kind": "github", "project": "wow/memory", "labels": ["servicing"], "token": {"$secret": "tracker"}}


async def rolled_back(world: ApiWorld, client: httpx.AsyncClient) -> str:
    """The name of an upgrade that was taken back for its errors."""
    world.runtime.behaviour("1.3.0").error_share = 0.3
    await world.add(client)
    asked = await world.upgrade(client, auto_rollback={"enabled": True, "error_rate_threshold": 5.0, "min_requests": 100})
    await world.until(client, asked["upgrade_id"], "rolled_back")
    return str(asked["upgrade_id"])


async def reported(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def opened(client: httpx.AsyncClient, issue: dict[str, Any]) -> dict[str, str]:
    """The files of the bundle."""
    answer = await client.get(issue["bundle"])
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/zip"
    assert issue["issue_id"] in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


async def with_tracker(client: httpx.AsyncClient, **changes: Any) -> None:
    await client.put(f"{PREFIX}/secrets/tracker", json={"value": SECRET})
    answer = await client.put(SETTINGS, json={**GITHUB, **changes})
    assert answer.status_code == 200, answer.text


async def test_a_report_of_a_rolled_back_upgrade_holds_everything_that_is_known_of_it(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        upgrade = await rolled_back(api_world, client)
        issue = await reported(client, note="Happens under load only")
        assert (issue["upgrade_id"], issue["status"], issue["reported_by"]) == (upgrade, "kept", "admin")
        assert issue["title"].startswith(f"{AGENT}: upgrade to 1.3.0 rolled back: Error rate threshold exceeded")
        files = await opened(client, issue)
        head = json.loads(files["issue.json"])
        assert (head["note"], head["upgrade_id"]) == ("Happens under load only", upgrade)
        assert set(head["software"]) == {"agent-servicing", "python", "system"}
        deployment = json.loads(files["deployment.json"])
        assert deployment["status"] == "rolled_back"
        assert deployment["stages"][0]["stage"]["name"] == "deploy_green"
        judged = json.loads(files["judgement.json"])
        assert judged["trigger"]["metric"] == "error_rate"
        assert judged["judgement"]["verdict"] == "failing"
        metrics = json.loads(files["metrics.json"])
        assert metrics["impact"]["candidate_errors"] > 0
        assert len(metrics["readings"]) > 0
        assert json.loads(files["configuration.json"])["to_version"] == "1.3.0"
        events = [event["type"] for event in json.loads(files["events.json"])]
        assert "rollback_triggered" in events
        assert "rollback_completed" in events
        assert json.loads(files["instances.json"])["generations"]["candidate"] == 2
        logs = {name for name in files if name.startswith("logs/")}
        assert logs
        assert all(name.startswith("logs/g2-") for name in logs)
        assert "taken back because" in files["summary.md"]
        assert f"<!-- servicing-issue: {issue['issue_id']} -->" in files["summary.md"]
        (entry,) = (await client.get(f"{PREFIX}/audit", params={"type": "issue_reported"})).json()["events"]
        assert (entry["upgrade_id"], entry["issue_id"], entry["reason"]) == (upgrade, issue["issue_id"], "Happens under load only")


async def test_secrets_are_masked_in_everything_that_leaves(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await client.put(f"{PREFIX}/secrets/{AGENT}/key", json={"value": SECRET, "agent": AGENT})
        upgrade = await rolled_back(api_world, client)
        api_world.runtime.output = [("g2-1-1", f"starting with {SECRET}"), ("g2-1-1", "```"), ("g2-1-1", "boom")]
        await with_tracker(client)
        issue = await reported(client, upgrade_id=upgrade, title=f"leaks {SECRET}", note=f"the log says {SECRET}")
        files = await opened(client, issue)
        assert "boom" in files["logs/g2-1-1.log"]
        assert "[secret " in files["logs/g2-1-1.log"]
        assert [name for name, text in files.items() if SECRET in text] == []
        await api_world.services.telling.issues.deliver()
        ((_, token, filing),) = api_world.tracker.opened
        assert token == SECRET
        assert SECRET not in filing.text
        assert SECRET not in filing.title
        assert "````text" in filing.text, "a fence longer than the one in the log"
        assert SECRET not in (await client.get(PATH)).text


async def test_a_report_is_opened_at_the_tracker_once_and_says_where(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await rolled_back(api_world, client)
        await with_tracker(client, projects={"WowCache": "wow/cache"})
        issue = await reported(client)
        assert issue["status"] == "sending"
        await api_world.services.telling.issues.deliver()
        await api_world.services.telling.issues.deliver()
        shown = (await client.get(f"{PATH}/{issue['issue_id']}")).json()
        assert (shown["status"], shown["url"], shown["attempts"]) == ("opened", "https://tracker.example.org/1", 1)
        ((settings, _, filing),) = api_world.tracker.opened
        assert (settings.project_of(AGENT), settings.project_of("WowCache")) == ("wow/memory", "wow/cache")
        assert filing.key == issue["issue_id"]
        again = await client.post(f"{PATH}/{issue['issue_id']}/send")
        assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
        assert (await client.delete(f"{PREFIX}/secrets/tracker")).json()["code"] == "secret_in_use"


async def test_an_issue_whose_answer_was_lost_is_not_opened_twice(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await rolled_back(api_world, client)
        await with_tracker(client)
        issue = await reported(client)
        api_world.tracker.loses_answers = True
        await api_world.services.telling.issues.deliver()
        assert (await client.get(f"{PATH}/{issue['issue_id']}")).json()["status"] == "sending"
        api_world.clock.advance(60)
        await api_world.services.telling.issues.deliver()
        assert (await client.get(f"{PATH}/{issue['issue_id']}")).json()["url"] == "https://tracker.example.org/1"
        assert len(api_world.tracker.opened) == 1


async def test_a_tracker_that_refuses_fails_at_once_and_one_that_is_down_after_hours_and_both_are_told(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await rolled_back(api_world, client)
        await with_tracker(client)
        api_world.tracker.failing = PermanentError("the issue tracker answered 404")
        refused = await reported(client)
        await api_world.services.telling.issues.deliver()
        shown = (await client.get(f"{PATH}/{refused['issue_id']}")).json()
        assert (shown["status"], shown["problem"]) == ("failed", "the issue tracker answered 404")
        api_world.tracker.failing = TemporaryError("the issue tracker answered 503")
        down = await reported(client)
        for _ in range(200):
            await api_world.services.telling.issues.deliver()
            api_world.clock.advance(300)
        shown = (await client.get(f"{PATH}/{down['issue_id']}")).json()
        assert shown["status"] == "failed"
        assert 5 < shown["attempts"] < 100
        await api_world.services.telling.notifications.follow()
        told = (await client.get(f"{PREFIX}/notifications", params={"kind": "issue_not_delivered"})).json()["notifications"]
        assert len(told) == 2
        assert "503" in told[0]["message"]
        api_world.tracker.failing = None
        assert (await client.post(f"{PATH}/{down['issue_id']}/send")).status_code == 202
        await api_world.services.telling.issues.deliver()
        assert (await client.get(f"{PATH}/{down['issue_id']}")).json()["status"] == "opened"


async def test_a_report_without_a_tracker_is_kept_and_can_be_sent_later(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        issue = await reported(client, title="It feels slow")
        assert (issue["status"], issue["title"]) == ("kept", "It feels slow")
        assert (await client.post(f"{PATH}/{issue['issue_id']}/send")).json()["code"] == "no_tracker"
        await with_tracker(client)
        assert (await client.post(f"{PATH}/{issue['issue_id']}/send")).json()["status"] == "sending"
        await api_world.services.telling.issues.deliver()
        assert len(api_world.tracker.opened) == 1


async def test_the_same_key_makes_one_report(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        request: dict[str, Any] = {"json": {"note": "odd"}, "headers": {"Idempotency-Key": "once"}}
        first, second = await client.post(PATH, **request), await client.post(PATH, **request)
        assert first.json() == second.json()
        assert len((await client.get(PATH)).json()["issues"]) == 1


async def test_an_operator_reports_a_viewer_reads_and_nobody_from_another_agent(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as admin:
        await api_world.add(admin)
    async with api_world.client(await api_world.token("operator", [AGENT])) as operator:
        issue = await reported(operator)
        assert (await operator.get(SETTINGS)).json()["code"] == "role_too_low"
    async with api_world.client(await api_world.token("viewer", [AGENT])) as viewer:
        assert (await viewer.post(PATH, json={})).json()["code"] == "role_too_low"
        assert (await viewer.get(issue["bundle"])).status_code == 200
    async with api_world.client(await api_world.token("operator", ["WowCache"])) as other:
        assert (await other.get(issue["bundle"])).json()["code"] == "agent_out_of_reach"
        beside = issue["bundle"].replace(AGENT, "WowCache")
        assert (await other.get(beside)).json()["code"] == "unknown_issue"


async def test_logs_that_cannot_be_read_are_named_and_the_report_is_made_all_the_same(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await rolled_back(api_world, client)
        api_world.runtime.reachable = False
        issue = await reported(client)
        files = await opened(client, issue)
        assert "logs" in json.loads(files["issue.json"])["missing"][0]
        assert not any(name.startswith("logs/") for name in files)


async def test_a_bundle_has_a_limit_and_keeps_the_ends_of_logs(api_world: ApiWorld, tmp_path: Path) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await rolled_back(api_world, client)
        noise = [("g2-1-1", f"{number} " + tmp_path.name.join(str(hash((number, each))) for each in range(40))) for number in range(4_000)]
        api_world.runtime.output = [*noise, ("g2-1-1", "the last words")]
        issue = await reported(client)
        assert issue["bundle_bytes"] <= issue_bundle.BUNDLE_BYTES_MAX
        log = (await opened(client, issue))["logs/g2-1-1.log"]
        assert log.endswith("the last words\n")
        assert log.startswith("… earlier lines are left out")


async def test_input_that_cannot_be_is_refused_with_what_can(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        for body, status, code in (
            ({"upgrade_id": "upg-nobody"}, 404, "unknown_deployment"),
            ({"window_seconds": 1.0}, 422, "bad_value"),
            ({"title": "two\nlines"}, 422, "bad_value"),
            ({"title": "x" * 201}, 422, "invalid_request"),
            ({"note": "x" * 2001}, 422, "invalid_request"),
            ({"nonsense": 1}, 422, "invalid_request"),
        ):
            refused = await client.post(PATH, json=body)
            assert (refused.status_code, refused.json()["code"]) == (status, code), body
        assert (await client.post(f"{PREFIX}/agents/Nobody/issues", json={})).json()["code"] == "unknown_agent"
        assert (await client.get(f"{PATH}/iss-nobody")).json()["code"] == "unknown_issue"


@pytest.mark.parametrize(
    "change",
    [
        {"project": "no-slash"},
        {"project": "a/../b"},
        {"projects": {"WowCache": "x y/z"}},
        {"token": None},
        {"token": {"$secret": "nobody"}},
        {"base_url": "ftp://x"},
        {"base_url": "https://ada:pw@example.org"},
        {"kind": "webhook", "base_url": ""},
        {"labels": ["a,b"]},
        {"labels": [str(number) for number in range(21)]},
    ],
)
async def test_a_tracker_that_cannot_be_is_refused(api_world: ApiWorld, change: dict[str, Any]) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await client.put(f"{PREFIX}/secrets/tracker", json={"value": SECRET})
        refused = await client.put(SETTINGS, json={**GITHUB, **change})
        assert (refused.status_code, refused.json()["code"]) == (422, "bad_tracker"), refused.text
        assert (await client.get(SETTINGS)).json()["kind"] == "none"


async def test_old_reports_go(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
    for _ in range(issues.ISSUES_KEPT + 3):
        last = await api_world.services.telling.issues.report(AGENT, issues.IssueRequest(), actor="ada")
    page, cursor = await api_world.services.telling.issues.list(AGENT, limit=200)
    assert (len(page), cursor, page[0].issue) == (issues.ISSUES_KEPT, None, last.issue)


async def test_the_tracker_is_tested_for_every_project_without_opening_anything(api_world: ApiWorld) -> None:
    path = f"{SETTINGS}/test"
    async with api_world.client(api_world.admin_token) as client:
        assert (await client.post(path)).json()["code"] == "no_tracker"
        await with_tracker(client, projects={"WowCache": "wow/cache", "WowDomain": "wow/memory"})
        tracker = api_world.tracker
        tested = (await client.post(path)).json()
        assert (tested["kind"], tested["reached"], tested["problem"]) == ("github", True, "")
        assert tracker.checked == [("github", SECRET, "wow/memory"), ("github", SECRET, "wow/cache")]
        tracker.failing = PermanentError(f"the issue tracker answered 404: {SECRET}")
        failed = (await client.post(path)).json()
        assert (failed["reached"], failed["problem"]) == (False, "wow/memory: the issue tracker answered 404: [secret tracker]")
        told = (await client.get(f"{PREFIX}/audit", params={"type": "issue_tracker_tested"})).json()["events"]
        assert [(entry["status"], entry["operator"], entry["kind"]) for entry in told] == [
            ("failed", "admin", "github"),
            ("success", "admin", "github"),
        ]
        assert SECRET not in json.dumps(told)
        assert tracker.opened == []
    async with api_world.client(await api_world.token("operator")) as operator:
        assert (await operator.post(path)).status_code == 403


async def test_testing_many_projects_of_a_slow_tracker_ends_in_time_and_names_what_was_not_tried(api_world: ApiWorld) -> None:
    async def slow(project: str) -> None:
        api_world.clock.advance(9.99)  # just within the limit of one question
        if project == "wow/p3":
            await anyio.sleep_forever()

    async with api_world.client(api_world.admin_token) as client:
        await with_tracker(client, projects={f"Agent{number}": f"wow/p{number}" for number in range(1, 8)})
        api_world.tracker.thinks = slow
        api_world.clock.advance(1)
        tested = (await client.post(f"{SETTINGS}/test")).json()
        assert tested["reached"] is False
        assert (
            tested["problem"]
            == "wow/p3: no answer within the 30 s that there are for all projects; not tried: wow/p4, wow/p5, wow/p6, wow/p7"
        )
        assert [project for _, _, project in api_world.tracker.checked] == ["wow/memory", "wow/p1", "wow/p2", "wow/p3"]
