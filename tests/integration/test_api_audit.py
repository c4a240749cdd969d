"""The audit trail over HTTP: the story's shape, filters, pages, export and verification."""

import csv
import io
from pathlib import Path

import pytest
from sqlalchemy import text

from agent_servicing.cli.audit_file import check_file
from agent_servicing.core.audit import Anchor
from agent_servicing.store.append_only import unguarded
from agent_servicing.web.app import PREFIX
from agent_servicing.web.export import cell
from tests.integration.api_world import AGENT, MANIFEST, ApiWorld

pytestmark = pytest.mark.anyio


async def upgraded(world: ApiWorld, reason: str = "faster") -> str:
    """An agent with a finished upgrade behind it."""
    async with world.client(world.admin_token) as client:
        await world.add(client)
        upgrade = await world.upgrade(client, reason=reason)
        await world.until(client, upgrade["upgrade_id"], "completed")
        return str(upgrade["upgrade_id"])


async def test_a_finished_upgrade_stands_in_the_trail_as_the_story_shows_it(api_world: ApiWorld) -> None:
    upgrade = await upgraded(api_world)
    async with api_world.client(await api_world.token("viewer")) as client:
        found = (await client.get(f"{PREFIX}/agents/{AGENT}/audit", params={"type": "upgrade", "limit": 50})).json()
        (entry,) = found["events"]
        assert entry["event_id"].startswith("evt-")
        assert entry["timestamp"].endswith("Z")
        assert (entry["operator"], entry["agent_id"], entry["upgrade_id"]) == ("admin", AGENT, upgrade)
        assert (entry["from_version"], entry["to_version"], entry["strategy"]) == ("1.2.5", "1.3.0", "blue-green")
        assert (entry["status"], entry["reason"], entry["downtime_seconds"]) == ("success", "faster", 0)
        assert entry["duration_seconds"] > 0


async def test_the_trail_is_filtered_and_cut_into_pages(api_world: ApiWorld) -> None:
    await upgraded(api_world)
    async with api_world.client(await api_world.token("viewer")) as client:
        whole = (await client.get(f"{PREFIX}/audit", params={"limit": 200})).json()["events"]
        pages: list[str] = []
        cursor: str | None = None
        for _ in range(100):
            page = (await client.get(f"{PREFIX}/audit", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
            pages += [event["event_id"] for event in page["events"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert pages == [event["event_id"] for event in whole]
        middle = whole[len(whole) // 2]["timestamp"]
        later = (await client.get(f"{PREFIX}/audit", params={"since": middle, "limit": 200})).json()["events"]
        earlier = (await client.get(f"{PREFIX}/audit", params={"until": middle, "limit": 200})).json()["events"]
        assert len(later) + len(earlier) == len(whole)
        for filters in ({"agent": "Other"}, {"operator": "nobody"}, {"status": "failed"}):
            assert (await client.get(f"{PREFIX}/audit", params=filters)).json()["events"] == []
        assert (await client.get(f"{PREFIX}/audit", params={"cursor": "broken"})).status_code == 422


async def test_a_csv_export_holds_every_entry_and_no_formula(api_world: ApiWorld) -> None:
    evil = '=HYPERLINK("http://evil","x")'
    await upgraded(api_world, reason=evil)
    async with api_world.client(await api_world.token("viewer")) as client:
        whole = (await client.get(f"{PREFIX}/audit", params={"limit": 200})).json()["events"]
        answer = await client.get(f"{PREFIX}/audit/export", params={"format": "csv"})
        assert answer.headers["Content-Type"].startswith("text/csv")
        assert "attachment" in answer.headers["Content-Disposition"]
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert rows[0]["type"] == "audit_exported"
        assert [row["event_id"] for row in rows[1:]] == [event["event_id"] for event in whole]
        assert f"'{evil}" in [row["reason"] for row in rows]
        assert not [value for row in rows for value in row.values() if value.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
async def test_a_text_that_would_run_in_a_spreadsheet_becomes_plain(value: str) -> None:
    assert cell(value) == f"'{value}"


async def test_numbers_stay_numbers_and_nothing_stays_nothing() -> None:
    assert (cell(-1.5), cell(0), cell(None), cell("a=b"), cell(True)) == ("-1.5", "0", "", "a=b", "true")


async def test_a_json_export_is_one_document_with_the_filters_applied(api_world: ApiWorld) -> None:
    upgrade = await upgraded(api_world)
    async with api_world.client(await api_world.token("viewer")) as client:
        answer = await client.get(f"{PREFIX}/audit/export", params={"format": "json", "type": "upgrade", "agent": AGENT})
        assert answer.headers["Content-Type"] == "application/json"
        assert [event["upgrade_id"] for event in answer.json()["events"]] == [upgrade]
        nothing = await client.get(f"{PREFIX}/audit/export", params={"format": "json", "agent": "Other"})
        assert nothing.json()["events"] == []
        assert nothing.json()["chain"]["filtered"] is True


async def test_a_changed_entry_is_found(api_world: ApiWorld) -> None:
    await upgraded(api_world)
    async with api_world.client(await api_world.token("viewer")) as client:
        sound = (await client.get(f"{PREFIX}/audit/verify")).json()
        assert (sound["valid"], sound["broken_at"], sound["kind"]) == (True, None, None)
        assert sound["entries"] > 3
        entry = (await client.get(f"{PREFIX}/audit", params={"type": "upgrade"})).json()["events"][0]["event_id"]
        async with api_world.database.write() as connection:
            for statement in unguarded("sqlite"):
                await connection.execute(text(statement))
            await connection.execute(text("UPDATE events SET reason = 'nothing happened' WHERE event_id = :entry"), {"entry": entry})
        found = (await client.get(f"{PREFIX}/audit/verify")).json()
        assert (found["valid"], found["broken_at"], found["kind"]) == (False, entry, "changed")


async def test_an_anchor_is_given_out_and_compared(api_world: ApiWorld) -> None:
    await upgraded(api_world)
    async with api_world.client(await api_world.token("viewer")) as client:
        anchor = (await client.get(f"{PREFIX}/audit/anchor")).json()
        kept = {"entries": anchor["entries"], "head": anchor["head"]}
        assert (await client.get(f"{PREFIX}/audit/verify", params=kept)).json()["valid"] is True
        other = (await client.get(f"{PREFIX}/audit/verify", params=kept | {"head": "0" * 64})).json()
        assert (other["valid"], other["kind"]) == (False, "anchor")
        for half in ({"entries": 3}, {"head": "0" * 64}, {"entries": 3, "head": "x"}, {"entries": -1, "head": "0" * 64}):
            assert (await client.get(f"{PREFIX}/audit/verify", params=half)).status_code == 422


async def test_a_whole_export_can_be_checked_without_the_server(api_world: ApiWorld, tmp_path: Path) -> None:
    await upgraded(api_world, reason="schöner\u2028größer")
    async with api_world.client(await api_world.token("viewer")) as client:
        path = tmp_path / "audit.json"
        path.write_bytes((await client.get(f"{PREFIX}/audit/export", params={"format": "json"})).content)
        kept = (await client.get(f"{PREFIX}/audit/anchor")).json()
    found = check_file(path, Anchor(entries=kept["entries"], head=kept["head"]))
    assert (found.valid, found.entries, found.filtered) == (True, kept["entries"], False)
    path.write_bytes(path.read_bytes().replace(b'"operator": "admin"', b'"operator": "adnin"', 1))
    assert check_file(path, None).kind == "changed"


async def test_every_entry_says_where_it_came_from(api_world: ApiWorld) -> None:
    await upgraded(api_world)
    browser, program = {"Sec-Fetch-Site": "same-origin"}, {"User-Agent": "servicing-cli"}
    async with api_world.client(api_world.admin_token) as client:
        for number, headers in enumerate((browser, program, {})):
            body = {"name": f"token-{number}", "role": "viewer"}
            answer = await client.post(f"{PREFIX}/tokens", json=body, headers={**headers, "X-Request-Id": "req-7"})
            assert answer.status_code == 201
        found = (await client.get(f"{PREFIX}/audit", params={"limit": 200})).json()["events"]
    assert [entry["source"]["kind"] for entry in found if entry["type"] == "token_created"][:3] == ["api", "cli", "page"]
    assert all(entry["source"]["request_id"] == "req-7" for entry in found[:3])
    assert {entry["source"]["kind"] for entry in found if entry["type"] in {"install", "upgrade"}} == {"engine"}
    assert all(entry["source"] for entry in found)


async def test_an_export_is_on_record_with_its_filters_before_it_begins(api_world: ApiWorld) -> None:
    await upgraded(api_world)
    async with api_world.client(await api_world.token("viewer")) as client:
        asked = {"format": "json", "type": "audit_exported", "since": "2020-01-01T00:00:00Z"}
        (entry,) = (await client.get(f"{PREFIX}/audit/export", params=asked)).json()["events"]
    assert entry["filters"] == {"type": "audit_exported", "since": "2020-01-01T00:00:00+00:00"}
    assert (entry["format"], entry["status"]) == ("json", "success")


async def test_without_sinks_there_are_none_to_show(api_world: ApiWorld) -> None:
    async with api_world.client(await api_world.token("viewer")) as client:
        assert (await client.get(f"{PREFIX}/settings/audit-sinks")).json() == {"sinks": []}


async def test_the_closing_entry_says_what_stood_before_and_after_and_whom_it_touched(api_world: ApiWorld) -> None:
    api_world.conversations, api_world.source.manifest_text = 8, f'{MANIFEST}\n[routing]\nconversation_key = "header:X-Talk"\n'
    upgrade = await upgraded(api_world)
    async with api_world.client(await api_world.token("viewer")) as client:
        found = (await client.get(f"{PREFIX}/audit", params={"limit": 200, "type": "upgrade"})).json()["events"]
        view = (await client.get(f"{PREFIX}/agents/{AGENT}/upgrades/{upgrade}")).json()
    (entry,) = [each for each in found if each["upgrade_id"] == upgrade]
    stood = {"config_version": None, "instances": 2, "traffic_percent": 100.0, "state_epoch": 0, "state_schema": None}
    assert entry["before"] == {"version": "1.2.5", "generation": 1, **stood}
    assert entry["after"] == {"version": "1.3.0", "generation": 2, **stood}
    assert entry["impact"]["candidate_requests"] > 0
    assert 0 < entry["impact"]["exposed_seconds"] <= entry["duration_seconds"]
    assert entry["impact"] == view["impact"]
    with_the_new = [talk for talk, generation in api_world.metrics.pins.items() if generation == 2]
    assert 0 < entry["impact"]["conversations_touched"] == len(with_the_new) < len(api_world.metrics.pins)


async def test_a_bad_version_is_charged_with_its_share_of_the_time_and_leaves_what_stood_before(api_world: ApiWorld) -> None:
    api_world.runtime.behaviour("1.3.0").error_share = 0.5
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        limits = {"enabled": True, "error_rate_threshold": 5.0, "min_requests": 20}
        slow = {"steps": [10, 100], "monitor_seconds": 60}
        asked = await api_world.upgrade(client, auto_rollback=limits, blue_green=slow)
        await api_world.until(client, asked["upgrade_id"], "rolled_back")
        (entry,) = (await client.get(f"{PREFIX}/audit", params={"type": "upgrade"})).json()["events"]
    impact = entry["impact"]
    assert (entry["status"], entry["source"]["kind"], entry["before"]) == ("rolled_back", "engine", entry["after"])
    assert impact["candidate_errors"] > 0
    assert impact["exposed_seconds"] < 0.5 * entry["duration_seconds"], "it had a tenth of the requests, and not all the time"
    assert impact["conversations_touched"] is None, "without a key for them nobody knows of conversations"
    average = impact["requests"] / entry["duration_seconds"]
    assert abs(impact["exposed_seconds"] * average - impact["candidate_requests"]) < 0.5 * impact["candidate_requests"]
