"""Secrets over a real database and a real key: versions, owners, what is refused, what is remembered, and a key that does not fit."""

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from agent_servicing.adapters.system import RandomIds
from agent_servicing.adapters.vault import Vault
from agent_servicing.core.config.layers import Layers
from agent_servicing.core.config.patch import Patch, PatchStatus
from agent_servicing.core.errors import Conflict, Invalid, NotFound, PermanentError
from agent_servicing.core.status import AgentStatus
from agent_servicing.services.redaction import Redactor
from agent_servicing.services.secrets import SECRETS_MAX, VALUE_BYTES_MAX, VERSIONS_KEPT, Secrets, SecretsLocked
from agent_servicing.settings import Settings
from agent_servicing.store.config import insert_patch
from agent_servicing.testing.clock import START
from tests.integration.services_world import ADA, AGENT, World, open_world

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world:
        yield world


def with_key(world: World, folder: Path, given: str | None) -> tuple[Secrets, Redactor]:
    """The service of a server that was started with this key on the same database."""
    redactor = Redactor()
    vault = Vault(data_dir=folder, given=given)
    settings = Settings(data_dir=folder)
    made = Secrets(database=world.database, clock=world.clock, ids=RandomIds(), settings=settings, cipher=vault, redactor=redactor)
    return made, redactor


def key(letter: str) -> str:
    return base64.b64encode(letter.encode() * 32).decode()


async def patched(
    world: World, values: Mapping[str, object], status: PatchStatus = PatchStatus.APPLYING, *, version: str = "1.2.5"
) -> None:
    """A change of the agent's configuration, as the configuration service and the engine write it down."""
    revision = f"cfg-{version}-p1"
    patch = Patch(
        revision=revision,
        parent="",
        layers=Layers(agent=values),
        profile="fast",
        actor=ADA,
        reason="because",
        requested_at=START,
        since=START,
        status=status,
        live=status is not PatchStatus.REFUSED,
    )
    async with world.database.write() as connection:
        await insert_patch(connection, AGENT, patch, version=version)


async def test_a_secret_has_versions_and_only_a_fingerprint_is_ever_shown(world: World) -> None:
    secrets = world.services.secrets
    first = await secrets.set("db", "hunter2", actor=ADA)
    second = await secrets.set("db", "hunter3", actor=ADA)
    assert [version.version for version in second.versions] == [2, 1]
    assert first.newest.fingerprint != second.newest.fingerprint
    assert await secrets.resolve(AGENT, ["db@1", "db@2", "db"]) == {"db@1": "hunter2", "db@2": "hunter3", "db": "hunter3"}
    assert "hunter" not in repr(await secrets.list())
    assert await world.audit() == [("secret_set", "success"), ("secret_set", "success")]


async def test_the_same_value_again_is_no_new_version(world: World) -> None:
    secrets = world.services.secrets
    assert await secrets.keep(AGENT, "db.password", "hunter2", actor=ADA) == {"$secret": "WowMemory/db.password", "version": 1}
    assert await secrets.keep(AGENT, "db.password", "hunter2", actor=ADA) == {"$secret": "WowMemory/db.password", "version": 1}
    assert await secrets.keep(AGENT, "db.password", "hunter3", actor=ADA) == {"$secret": "WowMemory/db.password", "version": 2}
    assert await secrets.keep(AGENT, "db.password", "hunter2", actor=ADA) == {"$secret": "WowMemory/db.password", "version": 3}
    assert await world.audit() == [("secret_set", "success")] * 3


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_the_database_holds_no_value(world: World, tmp_path: Path) -> None:
    await world.services.secrets.set("db", "S3ntinel-in-the-database", actor=ADA)
    await world.services.secrets.keep(AGENT, "key", "S3ntinel-in-the-database", actor=ADA)
    files = files_in(tmp_path)
    assert [file.name for file in files if b"S3ntinel" in file.read_bytes()] == []
    assert "test.db" in {file.name for file in files}


async def test_a_secret_of_one_agent_does_not_exist_for_another(world: World) -> None:
    secrets = world.services.secrets
    await secrets.set("mine", "hunter2", agent=AGENT, actor=ADA)
    assert await secrets.resolve(AGENT, ["mine@1"]) == {"mine@1": "hunter2"}
    with pytest.raises(PermanentError) as other:
        await secrets.resolve("WowCache", ["mine@1"])
    with pytest.raises(PermanentError) as none:
        await secrets.resolve("WowCache", ["nobodys@1"])
    assert str(other.value).replace("mine", "X") == str(none.value).replace("nobodys", "X")
    assert await secrets.resolve("WowCache", []) == {}


async def test_a_name_keeps_its_owner(world: World) -> None:
    secrets = world.services.secrets
    await secrets.set("mine", "hunter2", agent=AGENT, actor=ADA)
    await secrets.set("everybodys", "hunter2", actor=ADA)
    for name, agent in (("mine", None), ("mine", "WowCache"), ("everybodys", AGENT)):
        with pytest.raises(Conflict) as refused:
            await secrets.set(name, "other", agent=agent, actor=ADA)
        assert refused.value.code == "secret_owner"


async def test_names_that_begin_with_an_agent_are_for_that_agent(world: World) -> None:
    await world.add()
    for agent in (None, "WowCache"):
        with pytest.raises(Conflict, match="Names that begin with WowMemory/ are for secrets of WowMemory"):
            await world.services.secrets.set(f"{AGENT}/key", "hunter2", agent=agent, actor=ADA)
    assert (await world.services.secrets.set("team/key", "hunter2", actor=ADA)).agent is None


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\nb", "ä", "a" * 129, "a@1", "../x"])
async def test_a_name_that_cannot_be_one_is_refused(world: World, name: str) -> None:
    with pytest.raises(Invalid, match="A secret's name is a letter or digit") as refused:
        await world.services.secrets.set(name, "hunter2", actor=ADA)
    assert refused.value.code == "bad_secret_name"


@pytest.mark.parametrize("value", ["", "x" * (VALUE_BYTES_MAX + 1), "ü" * (VALUE_BYTES_MAX // 2 + 1), "broken \ud800"])
async def test_a_value_that_cannot_be_kept_is_refused_and_not_repeated(world: World, value: str) -> None:
    with pytest.raises(Invalid, match="must be 1 byte to 64 KiB of text") as refused:
        await world.services.secrets.set("db", value, actor=ADA)
    assert refused.value.code == "bad_secret_value"
    assert not value or value[:8] not in f"{refused.value} {refused.value.errors}"
    assert (await world.services.secrets.set("db", "x" * VALUE_BYTES_MAX, actor=ADA)).newest.version == 1


async def test_a_removed_secret_is_gone_and_its_versions_are_never_given_out_again(world: World) -> None:
    secrets = world.services.secrets
    await secrets.set("db", "hunter2", actor=ADA)
    await secrets.remove("db", actor=ADA)
    assert await secrets.list() == []
    with pytest.raises(NotFound):
        await secrets.remove("db", actor=ADA)
    with pytest.raises(PermanentError, match="there is no secret db@1 for WowMemory"):
        await secrets.resolve(AGENT, ["db@1"])
    assert (await secrets.set("db", "hunter3", actor=ADA)).newest.version == 2
    async with world.database.read() as connection:
        assert (await connection.execute(text("SELECT sealed FROM secrets WHERE version = 1"))).scalar_one() == b""
    assert [type_ for type_, _ in await world.audit()] == ["secret_set", "secret_removed", "secret_set"]


async def test_a_secret_that_a_configuration_in_force_needs_cannot_be_removed(world: World) -> None:
    await world.add()
    reference = await world.services.secrets.keep(AGENT, "key", "hunter2", actor=ADA)
    await patched(world, {"nested": [{"key": reference}]})
    with pytest.raises(Conflict, match=r"WowMemory/key is needed by WowMemory \(cfg-1.2.5-p1\)") as refused:
        await world.services.secrets.remove("WowMemory/key", actor=ADA)
    assert refused.value.code == "secret_in_use"
    assert [use.version for use in (await world.services.secrets.get("WowMemory/key")).used_by] == [1]


async def test_a_configuration_that_was_refused_holds_no_secret_back(world: World) -> None:
    await world.add()
    await world.services.secrets.set("db", "hunter2", actor=ADA)
    await patched(world, {"key": {"$secret": "db", "version": 1}}, PatchStatus.REFUSED)
    await world.services.secrets.remove("db", actor=ADA)
    assert await world.services.secrets.list() == []


async def test_old_versions_go_unless_they_are_needed(world: World) -> None:
    await world.add()
    secrets = world.services.secrets
    await secrets.set("db", "value 1", actor=ADA)
    await patched(world, {"key": {"$secret": "db", "version": 1}})
    for number in range(2, VERSIONS_KEPT + 4):
        await secrets.set("db", f"value {number}", actor=ADA)
    kept = [version.version for version in (await secrets.get("db")).versions]
    assert kept == [*range(VERSIONS_KEPT + 3, 3, -1), 1]


async def test_the_secrets_of_a_removed_agent_go_with_it(world: World) -> None:
    await world.add()
    await world.services.secrets.keep(AGENT, "key", "hunter2", actor=ADA)
    await world.services.secrets.set("shared", "hunter3", actor=ADA)
    await world.engine(lambda state: replace(state, agent=replace(state.agent, status=AgentStatus.REMOVED)))
    assert [info.name for info in await world.services.secrets.list()] == ["shared"]


async def test_there_is_a_limit_of_secrets(world: World) -> None:
    await world.services.secrets.set("db", "hunter2", actor=ADA)
    columns = "name, version, sealed, fingerprint, created_at, created_by, removed_at"
    async with world.database.write() as connection:
        rows = [{"n": f"s{number}"} for number in range(SECRETS_MAX - 1)]
        select = "SELECT :n, 1, sealed, fingerprint, created_at, created_by, created_at FROM secrets WHERE name = 'db'"
        await connection.execute(text(f"INSERT INTO secrets ({columns}) {select}"), rows)
    with pytest.raises(Conflict) as refused:
        await world.services.secrets.set("one-more", "hunter2", actor=ADA)
    assert refused.value.code == "too_many_secrets"


async def test_after_a_restart_secrets_are_masked_and_resolved_as_before(world: World, tmp_path: Path) -> None:
    await world.services.secrets.set("db", "hunter2", agent=AGENT, actor=ADA)
    later, redactor = with_key(world, tmp_path, None)
    assert await later.load() is None
    assert redactor.mask(AGENT, "it is hunter2") == "it is [secret db]"
    assert await later.resolve(AGENT, ["db@1"]) == {"db@1": "hunter2"}


async def test_with_another_key_everything_else_works_and_secrets_say_what_to_do(world: World, tmp_path: Path) -> None:
    await world.services.secrets.set("db", "hunter2", actor=ADA)
    later, _ = with_key(world, tmp_path, key("b"))
    problem = await later.load()
    assert problem is not None
    assert "put that one back into SERVICING_SECRETS_KEY" in problem
    assert [info.name for info in await later.list()] == ["db"]
    with pytest.raises(SecretsLocked, match="does not open db@1"):
        await later.resolve(AGENT, ["db@1"])
    with pytest.raises(SecretsLocked, match="does not open db@1"):  # or half of the secrets would need one key, half the other
        await later.set("mail", "hunter3", actor=ADA)
    await later.remove("db", actor=ADA)
    assert (await later.set("mail", "hunter3", actor=ADA)).newest.version == 1


async def test_a_lost_key_file_is_not_replaced_while_there_are_secrets(world: World, tmp_path: Path) -> None:
    await world.services.secrets.set("db", "hunter2", actor=ADA)
    (tmp_path / "secrets.key").unlink()
    later, _ = with_key(world, tmp_path, None)
    with pytest.raises(SecretsLocked, match=r"the key for secrets is gone"):
        await later.set("mail", "hunter3", actor=ADA)
    assert not (tmp_path / "secrets.key").exists()


async def test_a_new_key_is_taken_on_at_the_next_start_and_the_old_one_is_then_not_needed(world: World, tmp_path: Path) -> None:
    before, _ = with_key(world, tmp_path, key("a"))
    await before.set("db", "hunter2", actor=ADA)
    both, _ = with_key(world, tmp_path, f"{key('b')},{key('a')}")
    assert await both.load() is None
    after, _ = with_key(world, tmp_path, key("b"))
    assert await after.load() is None
    assert await after.resolve(AGENT, ["db@1"]) == {"db@1": "hunter2"}


async def test_values_that_were_swapped_in_the_database_are_not_handed_out(world: World) -> None:
    secrets = world.services.secrets
    await secrets.set("low", "guest", actor=ADA)
    await secrets.set("high", "root", agent=AGENT, actor=ADA)
    async with world.database.write() as connection:
        await connection.execute(text("UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'high') WHERE name = 'low'"))
    with pytest.raises(SecretsLocked, match="what the database holds as low@1 is another secret"):
        await secrets.resolve("WowCache", ["low@1"])
