"""Backups over HTTP and by themselves: for admins, told in the history, one at a time, the key only when it was asked for."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from agent_servicing.bootstrap.kept import KeptFiles
from agent_servicing.core.errors import Conflict
from agent_servicing.services.backups import Backups, Wanted
from agent_servicing.settings import Settings
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, ApiWorld

pytestmark = pytest.mark.anyio


def described(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        return dict(json.loads(tar.extractfile("backup.json").read()))  # type: ignore[union-attr]


async def test_a_backup_comes_as_one_file_and_stands_in_the_history(api_world: ApiWorld, tmp_path: Path) -> None:
    async with api_world.client(api_world.admin_token) as admin:
        await api_world.add(admin)
        answer = await admin.post(f"{PREFIX}/backup")
        about = described(answer)
        assert about["dump"]["tables"]["agents"]["rows"] == 1
        assert answer.headers["Content-Type"] == "application/x-tar"
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        (entry,) = (await admin.get(f"{PREFIX}/audit?type=backup")).json()["events"]
        assert (entry["operator"], entry["key"], entry["state"], entry["status"]) == ("admin", False, False, "success")
        assert not [name for name in names(tmp_path) if "backup" in name]


async def test_only_an_admin_of_all_agents_takes_one(api_world: ApiWorld) -> None:
    for token, code in (
        (await api_world.token("operator"), "role_too_low"),
        (await api_world.token("admin", [AGENT]), "agent_out_of_reach"),
    ):
        async with api_world.client(token) as client:
            answer = await client.post(f"{PREFIX}/backup")
            assert (answer.status_code, answer.json()["code"]) == (403, code)


async def test_a_repeated_request_takes_no_second_one_and_keeps_no_copy(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as admin:
        headers = {"Idempotency-Key": "once"}
        described(await admin.post(f"{PREFIX}/backup", headers=headers))
        again = await admin.post(f"{PREFIX}/backup", headers=headers)
        assert (again.status_code, again.json()["code"]) == (409, "answer_not_kept")
        assert "its answer was a file" in again.json()["detail"]


async def test_an_unknown_wish_is_refused(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as admin:
        answer = await admin.post(f"{PREFIX}/backup", json={"with_keys": True})
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "with_keys")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]


def backups(world: ApiWorld, folder: Path, **settings: Any) -> Backups:
    made = Settings(data_dir=folder, **settings)
    return Backups(database=world.database, clock=world.clock, ids=world.app.state.context.ids, settings=made, kept=KeptFiles(made))


async def test_the_key_is_in_it_only_when_asked_for_and_never_one_that_is_kept_elsewhere(api_world: ApiWorld, tmp_path: Path) -> None:
    async with api_world.client(api_world.admin_token) as admin:
        await admin.put(f"{PREFIX}/secrets/shared", json={"value": "hunter2"})
    service = backups(api_world, tmp_path)
    for key in (False, True):
        async with service.taking(Wanted(key=key), actor="ada") as taken:
            assert ("files/secrets.key" in taken.about.members) == taken.about.key == key
            assert b"hunter2" not in taken.path.read_bytes()
    elsewhere = backups(api_world, tmp_path, secrets_key="A" * 43 + "=")
    with pytest.raises(Exception, match="SERVICING_SECRETS_KEY") as caught:
        async with elsewhere.taking(Wanted(key=True), actor="ada"):
            pass
    assert getattr(caught.value, "code", "") == "key_elsewhere"


async def test_two_at_a_time_are_refused(api_world: ApiWorld, tmp_path: Path) -> None:
    service, outcomes = backups(api_world, tmp_path), []

    async def take() -> None:
        try:
            async with service.taking(Wanted(), actor="ada"):
                outcomes.append("taken")
        except Conflict as error:
            outcomes.append(error.code)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(take)
    assert sorted(outcomes) == ["backup_under_way", "backup_under_way", "taken"]


async def test_scheduled_ones_come_on_time_and_the_oldest_go(api_world: ApiWorld, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    service = backups(api_world, tmp_path, backup_directory=folder, backup_interval_hours=6, backup_keep=2)
    assert await service.due() == 0
    kept = []
    for _ in range(3):
        kept.append(await service.keep())
        assert 6 * 3600 - 1 <= await service.due() <= 6 * 3600
        api_world.clock.advance(6 * 3600)
        assert await service.due() == 0
    assert sorted(names(folder)) == [path.name for path in kept[1:] if path is not None]
    assert await backups(api_world, tmp_path).due() == float("inf")


async def test_a_clock_that_was_set_back_does_not_keep_backups_away(api_world: ApiWorld, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "servicing-29990101T000000Z.backup").touch()
    assert await backups(api_world, tmp_path, backup_directory=folder).due() == 0


async def test_one_that_fails_is_told_and_ends_nothing(api_world: ApiWorld, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    service = backups(api_world, tmp_path, backup_directory=in_the_way)
    assert await service.keep() is None
    async with api_world.client(api_world.admin_token) as admin:
        (entry,) = (await admin.get(f"{PREFIX}/audit?type=backup_failed")).json()["events"]
    assert (entry["status"], entry["operator"]) == ("failed", "system")
    assert str(in_the_way) in entry["problem"]
