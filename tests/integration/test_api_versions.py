"""Versions over the API: the list with its advice, deprecating, withdrawing and restoring."""

from pathlib import Path

import pytest

from agent_servicing.core.manifest import Manifest
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, ApiWorld

pytestmark = pytest.mark.anyio
VERSIONS = f"{PREFIX}/agents/{AGENT}/versions"


async def test_a_version_is_withdrawn_refused_and_restored(api_world: ApiWorld) -> None:
    async with api_world.client(await api_world.token("operator")) as client:
        await api_world.add(client)
        api_world.source.names = ["1.2.4", "1.2.5", "1.3.0"]
        await client.post(f"{VERSIONS}/refresh")
        listed = (await client.get(VERSIONS)).json()
        assert listed["recommended"]["version"] == "1.3.0"
        assert listed["newest"] == {"patch": None, "minor": "1.3.0", "major": None}
        marked = await client.post(f"{VERSIONS}/1.3.0/withdraw", json={"reason": "loses memories"})
        assert marked.status_code == 200, marked.text
        assert (marked.json()["standing"], marked.json()["running"], marked.json()["cancelled"]) == ("withdrawn", False, [])
        refused = await client.post(f"{PREFIX}/agents/{AGENT}/upgrade", json={"target_version": "1.3.0", "reason": "try"})
        assert (refused.status_code, refused.json()["code"]) == (409, "version_withdrawn")
        listed = (await client.get(VERSIONS)).json()
        assert (listed["available_versions"], listed["recommended"]) == ([], None)
        assert listed["versions"][0]["standing_reason"] == "loses memories"
        agent = (await client.get(f"{PREFIX}/agents/{AGENT}")).json()
        assert (agent["update_available"], agent["update_urgency"], agent["current_standing"]) == (False, None, "available")
        assert (await client.post(f"{VERSIONS}/1.3.0/restore", json={"reason": "false alarm"})).json()["standing"] == "available"
        again = await client.post(f"{VERSIONS}/1.3.0/restore", json={"reason": "false alarm"})
        assert (again.status_code, again.json()["code"]) == (409, "standing_unchanged")


async def test_a_withdrawn_rollback_point_needs_the_override(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        done = await api_world.upgrade(client)
        await api_world.until(client, done["upgrade_id"], "completed")
        await client.post(f"{VERSIONS}/1.2.5/withdraw", json={"reason": "leaks"})
        body = {"target_version": "1.2.5", "reason": "all is on fire"}
        refused = await client.post(f"{PREFIX}/agents/{AGENT}/rollback", json=body)
        assert (refused.status_code, refused.json()["code"], refused.json()["rollback_points"]) == (409, "version_withdrawn", [])
        back = await client.post(f"{PREFIX}/agents/{AGENT}/rollback", json={**body, "override_withdrawn": True})
        assert back.status_code == 202, back.text
        await api_world.until(client, back.json()["upgrade_id"], "completed")
        assert (await client.get(f"{PREFIX}/fleet")).json()["withdrawn_running"] == 1


@pytest.mark.parametrize(
    ("version", "body", "status", "code"),
    [
        ("9.9.9", {"reason": "x"}, 404, "unknown_version"),
        ("latest", {"reason": "x"}, 422, "invalid"),
        ("1.2.5", {"reason": " "}, 422, "invalid_request"),
        ("1.2.5", {}, 422, "invalid_request"),
    ],
)
async def test_what_cannot_be_marked_is_refused(api_world: ApiWorld, version: str, body: dict, status: int, code: str) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        answer = await client.post(f"{VERSIONS}/{version}/withdraw", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


DIFF = b"--- a/app.py\n+++ b/app.py\n@@ -1 +1 @@\n-LIMIT = 10\n+LIMIT = 5\n"


async def test_a_diff_is_uploaded_as_a_form_or_as_a_plain_body_and_the_version_removed(patch_world: ApiWorld) -> None:
    async with patch_world.client(await patch_world.token("operator")) as client:
        await patch_world.add(client)
        form = {"reason": "leaks", "changelog": ["fix: a leak", "security: a hole"], "security": "true"}
        done = await client.post(VERSIONS, data=form, files={"file": ("fix.diff", DIFF)})
        assert done.status_code == 201, done.text
        assert (done.json()["version"], done.json()["base_version"]) == ("1.2.5+patch.1", "1.2.5")
        assert done.json()["upload"]["changed"] == [{"path": "app.py", "action": "changed", "added": 1, "removed": 1}]
        plain = await client.post(
            f"{VERSIONS}?reason=slow&base_version=1.2.5%2Bpatch.1", content=DIFF.replace(b"5", b"4").replace(b"10", b"5")
        )
        assert (plain.status_code, plain.json()["version"]) == (201, "1.2.5+patch.2"), plain.text
        listed = {v["version"]: v for v in (await client.get(VERSIONS)).json()["versions"]}
        assert listed["1.2.5+patch.1"]["security_patch"] is True
        assert listed["1.2.5+patch.2"]["upload"]["base"] == "1.2.5+patch.1"
        assert listed["1.2.5"]["upload"] is None
        gone = await client.delete(f"{VERSIONS}/1.2.5+patch.2?reason=not+needed")
        assert gone.status_code == 204
        refused = await client.delete(f"{VERSIONS}/1.2.5?reason=x")
        assert (refused.status_code, refused.json()["code"]) == (409, "not_uploaded")


async def test_an_upload_that_is_repeated_with_its_key_becomes_one_version(patch_world: ApiWorld) -> None:
    async with patch_world.client(patch_world.admin_token) as client:
        await patch_world.add(client)
        filler = b"".join(b"--- /dev/null\n+++ b/f%d\n@@ -0,0 +1 @@\n+%s\n" % (n, b"x" * 60_000) for n in range(40))
        answers = [await client.post(f"{VERSIONS}?reason=x", content=DIFF + filler, headers={"Idempotency-Key": "k"}) for _ in range(2)]
        assert [a.status_code for a in answers] == [201, 201], answers[0].text
        assert answers[0].json() == answers[1].json()
        assert answers[1].headers["Idempotency-Replayed"] == "true"
        other = await client.post(f"{VERSIONS}?reason=x", content=DIFF, headers={"Idempotency-Key": "k"})
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")


async def test_uploads_that_cannot_be_used_say_why(patch_world: ApiWorld) -> None:
    async with patch_world.client(patch_world.admin_token) as client:
        await patch_world.add(client)
        bad = await client.post(f"{VERSIONS}?reason=x", content=DIFF.replace(b"10", b"11"))
        assert (bad.status_code, bad.json()["code"]) == (422, "upload_unusable")
        assert bad.json()["errors"][0]["path"] == "app.py"
        assert "hunk 1 of 1" in bad.json()["errors"][0]["message"]
        for kwargs, code in (
            ({"data": {"reason": "x"}, "files": {"other": ("a", b"x")}}, "bad_form"),
            ({"data": {"reason": "x", "unknown": "y"}, "files": {"file": ("a", DIFF)}}, "bad_form"),
            ({"data": {"reason": "x", "security": "perhaps"}, "files": {"file": ("a", DIFF)}}, "bad_form"),
            ({"content": b"nonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, "bad_form"),
            ({"content": b"nonsense", "headers": {"Content-Type": "multipart/form-data"}}, "bad_form"),
            ({"content": DIFF}, "reason_missing"),
        ):
            answer = await client.post(VERSIONS, **kwargs)
            assert (answer.status_code, answer.json()["code"]) == (422, code), (kwargs, answer.text)
        most = patch_world.app.state.context.settings.upload_bytes_max
        large = await client.post(f"{VERSIONS}?reason=x", content=b"x", headers={"Content-Length": str(most + 2**21)})
        assert (large.status_code, large.json()["code"]) == (413, "body_too_large")


@pytest.fixture
async def patch_world(api_world: ApiWorld, tmp_path: Path) -> ApiWorld:
    """Its memory source hands out one file."""

    async def fetch(manifest: Manifest, version: str, ref: str, folder: Path) -> None:
        (folder / "app.py").write_text("LIMIT = 10\n")

    api_world.source.fetch = fetch  # type: ignore[method-assign]
    return api_world
