"""Secrets over HTTP: who may set which, what comes back, and that a value that was refused is not repeated."""

import base64
import hashlib
import sqlite3
from pathlib import Path

import pytest

from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, ApiWorld

pytestmark = pytest.mark.anyio

PATH = f"{PREFIX}/secrets"
SENTINEL = "S3ntinel-value"


async def test_a_secret_is_set_listed_and_removed_and_no_answer_holds_its_value(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        made = await client.put(f"{PATH}/team/db-password", json={"value": SENTINEL})
        assert made.status_code == 200, made.text
        again = await client.put(f"{PATH}/team/db-password", json={"value": f"{SENTINEL} 2"})
        listed = await client.get(PATH)
        (shown,) = listed.json()["secrets"]
        assert shown == again.json()
        assert (shown["name"], shown["agent_id"], shown["version"], shown["created_by"]) == ("team/db-password", None, 2, "admin")
        assert [version["version"] for version in shown["versions"]] == [2, 1]
        assert shown["fingerprint"] != made.json()["fingerprint"]
        assert (await client.delete(f"{PATH}/team/db-password")).status_code == 204
        gone = await client.delete(f"{PATH}/team/db-password")
        assert (gone.status_code, gone.json()["code"]) == (404, "unknown_secret")
        audit = (await client.get(f"{PREFIX}/audit", params={"limit": 3})).json()["events"]
        assert [event["type"] for event in audit] == ["secret_removed", "secret_set", "secret_set"]
        assert audit[1]["version"] == 2
        assert audit[1]["operator"] == "admin"
        assert all(SENTINEL not in answer.text for answer in (made, again, listed, gone))


async def test_an_operator_sets_the_secrets_of_agents_in_reach_and_shared_ones_take_an_admin(api_world: ApiWorld) -> None:
    body = {"value": SENTINEL, "agent": AGENT}
    async with api_world.client(await api_world.token("operator", [AGENT])) as operator:
        assert (await operator.put(f"{PATH}/mine", json=body)).status_code == 200
        assert (await operator.put(f"{PATH}/mine", json={"value": "without naming its owner"})).json()["agent_id"] == AGENT
        shared = await operator.put(f"{PATH}/shared", json={"value": SENTINEL})
        assert (shared.status_code, shared.json()["code"]) == (403, "role_too_low")
        other = await operator.put(f"{PATH}/theirs", json={"value": SENTINEL, "agent": "WowCache"})
        assert (other.status_code, other.json()["code"]) == (403, "agent_out_of_reach")
    async with api_world.client(await api_world.token("admin", [AGENT])) as limited:
        assert (await limited.put(f"{PATH}/shared", json={"value": SENTINEL})).json()["code"] == "agent_out_of_reach"
    async with api_world.client(api_world.admin_token) as admin:
        assert (await admin.put(f"{PATH}/shared", json={"value": SENTINEL})).status_code == 200
        assert (await admin.put(f"{PATH}/theirs", json={"value": SENTINEL, "agent": "WowCache"})).status_code == 200
        clash = await admin.put(f"{PATH}/theirs", json=body)
        assert (clash.status_code, clash.json()["code"]) == (409, "secret_owner")
    async with api_world.client(await api_world.token("operator", [AGENT])) as operator:
        assert [one["name"] for one in (await operator.get(PATH)).json()["secrets"]] == ["mine", "shared"]
        assert (await operator.delete(f"{PATH}/shared")).json()["code"] == "role_too_low"
        assert (await operator.delete(f"{PATH}/theirs")).json()["code"] == "agent_out_of_reach"
        assert (await operator.delete(f"{PATH}/mine")).status_code == 204


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("a b", {"value": SENTINEL}, "bad_secret_name"),
        ("db", {"value": f"{SENTINEL}{'x' * 64 * 1024}"}, "bad_secret_value"),
        ("db", {"value": ""}, "bad_secret_value"),
        ("db", {"value": [SENTINEL]}, "invalid_request"),
        ("db", {"value": {SENTINEL: SENTINEL}}, "invalid_request"),
        ("db", {"values": SENTINEL}, "invalid_request"),
        ("db", {"value": SENTINEL, "agent": 7}, "invalid_request"),
        ("db", SENTINEL, "invalid_request"),
    ],
)
async def test_an_input_that_is_refused_is_not_repeated(api_world: ApiWorld, name: str, body: object, code: str) -> None:
    async with api_world.client(api_world.admin_token) as client:
        refused = await client.put(f"{PATH}/{name}", json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, code)
        broken = await client.put(f"{PATH}/db", content=f'{{"value": "{SENTINEL}'.encode(), headers={"Content-Type": "application/json"})
        assert broken.status_code == 422
        for answer in (refused, broken):
            assert SENTINEL not in answer.text.replace(refused.request.url.path, "")


async def test_what_is_kept_for_repetitions_cannot_be_searched_for_a_value(api_world: ApiWorld, tmp_path: Path) -> None:
    async with api_world.client(api_world.admin_token) as client:
        request = {"content": b'{"value":"1234"}', "headers": {"Content-Type": "application/json", "Idempotency-Key": "once"}}
        first, second = await client.put(f"{PATH}/pin", **request), await client.put(f"{PATH}/pin", **request)
        assert (second.headers["Idempotency-Replayed"], second.json()) == ("true", first.json())
        other = await client.put(f"{PATH}/pin", **{**request, "content": b'{"value":"1235"}'})
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")
    with sqlite3.connect(tmp_path / "test.db") as database:
        (kept,) = database.execute("SELECT body_hash FROM idempotency").fetchall()
    assert kept[0] != hashlib.sha256(b'{"value":"1234"}').hexdigest()
    assert len(kept[0]) == 64


async def test_with_a_key_that_others_can_read_the_answer_says_what_to_do(api_world: ApiWorld, tmp_path: Path) -> None:
    async with api_world.client(api_world.admin_token) as client:
        (tmp_path / "secrets.key").write_text(base64.b64encode(bytes(32)).decode())
        (tmp_path / "secrets.key").chmod(0o644)
        refused = await client.put(f"{PATH}/db", json={"value": SENTINEL})
        assert (refused.status_code, refused.json()["code"]) == (503, "secrets_locked")
        assert "chmod 600" in refused.json()["detail"]
        assert (await client.get(PATH)).json()["secrets"] == []
        (tmp_path / "secrets.key").chmod(0o600)
        assert (await client.put(f"{PATH}/db", json={"value": SENTINEL})).status_code == 200
