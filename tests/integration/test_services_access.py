"""Tokens, idempotency keys, the event log and the audit trail."""

import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from agent_servicing.core.audit_text import shown
from agent_servicing.core.errors import Conflict, Invalid, NotFound, Unavailable
from agent_servicing.core.status import Verb
from agent_servicing.services.access import ADMIN_NAME, Role
from agent_servicing.services.audit_logger import AuditFilters
from agent_servicing.services.idempotency import KEPT_HOURS, RUNNING_SECONDS_MAX, StoredResponse
from tests.integration.services_world import ADA, AGENT, World, open_world

pytestmark = pytest.mark.anyio

REQUEST = {"method": "POST", "path": "/agents", "body_hash": "a" * 64}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world:
        yield world


# --- tokens ---


async def test_the_admin_token_is_made_once_readable_by_its_owner_only(world: World, tmp_path: Path) -> None:
    access, folder = world.services.access, tmp_path / "data"
    token = await access.ensure_admin_token(folder)
    file = folder / "admin.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert await access.ensure_admin_token(folder) == token == file.read_text().strip()
    assert [path.name for path in folder.iterdir()] == ["admin.token"]
    principal = await access.authenticate(token)
    assert principal is not None
    assert (principal.name, principal.role, principal.agents) == (ADMIN_NAME, Role.ADMIN, None)
    assert await world.audit() == [("token_created", "success")]


async def test_a_permission_that_was_opened_is_closed_again(world: World, tmp_path: Path) -> None:
    await world.services.access.ensure_admin_token(tmp_path)
    (tmp_path / "admin.token").chmod(0o644)
    await world.services.access.ensure_admin_token(tmp_path)
    assert stat.S_IMODE((tmp_path / "admin.token").stat().st_mode) == 0o600


async def test_deleting_the_file_replaces_the_token_and_ends_the_old_one(world: World, tmp_path: Path) -> None:
    old = await world.services.access.ensure_admin_token(tmp_path)
    (tmp_path / "admin.token").unlink()
    new = await world.services.access.ensure_admin_token(tmp_path)
    assert new != old
    assert await world.services.access.authenticate(old) is None
    assert await world.services.access.authenticate(new) is not None


async def test_an_empty_or_unreadable_token_file_is_one_clear_error(world: World, tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text("\n")
    with pytest.raises(Unavailable, match="empty"):
        await world.services.access.ensure_admin_token(tmp_path)
    (tmp_path / "admin.token").unlink()
    (tmp_path / "admin.token").mkdir()
    with pytest.raises(Unavailable, match=r"admin\.token"):
        await world.services.access.ensure_admin_token(tmp_path)


@pytest.mark.parametrize("token", ["", "guess", "x" * 100_000])
async def test_a_guess_opens_nothing(world: World, tmp_path: Path, token: str) -> None:
    await world.services.access.ensure_admin_token(tmp_path)
    assert await world.services.access.authenticate(token) is None


async def test_a_token_opens_what_it_was_made_for_until_it_expires_or_is_revoked(world: World) -> None:
    access = world.services.access
    until = world.clock.now() + timedelta(hours=1)
    short = await access.create_token("ci", Role.OPERATOR, ["WowCache"], until, actor=ADA)
    long = await access.create_token("page", Role.VIEWER, actor=ADA)
    principal = await access.authenticate(short)
    assert principal is not None
    assert (principal.may(Role.OPERATOR, "WowCache"), principal.may(Role.OPERATOR, AGENT), principal.may(Role.ADMIN)) == (
        True,
        False,
        False,
    )
    world.clock.advance(3600)
    assert await access.authenticate(short) is None
    info = next(info for info in await access.list_tokens() if info.name == "page")
    await access.revoke_token(info.token_id, actor=ADA)
    assert await access.authenticate(long) is None
    assert await world.audit() == [("token_created", "success"), ("token_created", "success"), ("token_revoked", "success")]


async def test_secrets_are_nowhere_in_the_database(world: World, tmp_path: Path) -> None:
    secrets = [
        await world.services.access.ensure_admin_token(tmp_path),
        await world.services.access.create_token("x", Role.ADMIN, actor=ADA),
    ]
    kept = [content async for content in _contents(tmp_path)]
    assert kept
    assert not any(secret.encode() in content for secret in secrets for content in kept)


async def _contents(folder: Path) -> AsyncIterator[bytes]:
    async for file in anyio.Path(folder).glob("test.db*"):
        yield await file.read_bytes()


async def test_names_of_live_tokens_are_unique_and_the_own_token_is_protected(world: World, tmp_path: Path) -> None:
    access = world.services.access
    await access.ensure_admin_token(tmp_path)
    await access.create_token("ci", Role.VIEWER, actor=ADA)
    with pytest.raises(Conflict) as taken:
        await access.create_token("ci", Role.VIEWER, actor=ADA)
    assert taken.value.code == "token_exists"
    for name in ("", "admin", "system", "x" * 101, "a\nb"):
        with pytest.raises(Invalid):
            await access.create_token(name, Role.VIEWER, actor=ADA)
    with pytest.raises(Invalid):
        await access.create_token("late", Role.VIEWER, None, world.clock.now(), actor=ADA)
    own = next(info for info in await access.list_tokens() if info.name == ADMIN_NAME)
    with pytest.raises(Conflict) as protected:
        await access.revoke_token(own.token_id, actor=ADA)
    assert protected.value.code == "last_admin"
    with pytest.raises(NotFound):
        await access.revoke_token("tok-nothing", actor=ADA)


# --- idempotency keys ---


async def test_a_repeated_request_gets_the_first_answer(world: World) -> None:
    keys = world.services.idempotency
    assert await keys.begin(key="k", principal="p", **REQUEST) is None
    with pytest.raises(Conflict) as running:
        await keys.begin(key="k", principal="p", **REQUEST)
    assert running.value.code == "idempotency_running"
    await keys.finish(key="k", principal="p", status=201, body=b"{}")
    assert await keys.begin(key="k", principal="p", **REQUEST) == StoredResponse(status=201, body=b"{}")
    with pytest.raises(Conflict) as other:
        await keys.begin(key="k", principal="p", **{**REQUEST, "body_hash": "b" * 64})
    assert other.value.code == "idempotency_mismatch"
    assert await keys.begin(key="k", principal="somebody else", **REQUEST) is None


async def test_of_many_equal_requests_at_once_one_goes_on(world: World) -> None:
    outcomes: list[str] = []

    async def ask() -> None:
        try:
            await world.services.idempotency.begin(key="k", principal="p", **REQUEST)
            outcomes.append("goes on")
        except Conflict as error:
            outcomes.append(error.code)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(ask)
    assert sorted(outcomes) == ["goes on", *["idempotency_running"] * 7]


async def test_a_key_is_free_again_after_a_day_a_failure_or_a_dead_server(world: World) -> None:
    keys = world.services.idempotency
    await keys.begin(key="failed", principal="p", **REQUEST)
    await keys.forget(key="failed", principal="p")
    assert await keys.begin(key="failed", principal="p", **REQUEST) is None
    world.clock.advance(RUNNING_SECONDS_MAX + 1)
    assert await keys.begin(key="failed", principal="p", **REQUEST) is None
    await keys.finish(key="failed", principal="p", status=200, body=b"")
    world.clock.advance(KEPT_HOURS * 3600 + 1)
    assert await keys.begin(key="failed", principal="p", **REQUEST) is None


# --- events and audit ---


async def test_events_are_read_forward_from_any_point_and_by_agent_or_deployment(world: World) -> None:
    deployment = await world.add("1.0.0", "1.1.0")
    await world.services.access.create_token("ci", Role.VIEWER, actor=ADA)
    upgrade = await world.upgrade("1.1.0")
    events = world.services.events
    assert [e.event.type for e in await events.since(0)] == ["agent_added", "token_created", "upgrade_requested"]
    assert [e.seq for e in await events.since(1)] == [2, 3]
    assert [e.seq for e in await events.since(0, agent=AGENT)] == [1, 3]
    assert [e.seq for e in await events.since(0, deployment=upgrade.deployment)] == [3]
    assert [e.seq for e in await events.since(0, limit=1)] == [1]
    assert [e.event.deployment for e in await events.since(0, deployment=deployment.deployment)] == [deployment.deployment]
    assert await events.last_seq() == 3
    with pytest.raises(Invalid):
        await events.since(0, limit=0)


async def test_the_audit_is_filtered_by_everything_it_holds(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    world.clock.advance(100)
    noon = world.clock.now()
    upgrade = await world.upgrade("1.1.0")
    await world.services.upgrades.verb(AGENT, upgrade.deployment, Verb.CANCEL, actor="grace", reason="no")

    async def found(**filters: object) -> list[str]:
        page = await world.services.audit.list(AuditFilters(**filters))  # type: ignore[arg-type]
        return [each.event.type for each in page.events]

    assert await found() == ["upgrade", "cancel_requested", "upgrade_requested", "agent_added"]
    assert await found(operator="grace") == ["upgrade", "cancel_requested"]
    assert await found(type="agent_added") == ["agent_added"]
    assert await found(agent="Other") == []
    assert await found(status="cancelled") == ["upgrade"]
    assert await found(since=noon) == ["upgrade", "cancel_requested", "upgrade_requested"]
    assert await found(until=noon) == ["agent_added"]
    assert await found(operator=ADA, since=noon) == ["upgrade_requested"]


async def test_the_audit_pages_without_losing_or_repeating(world: World) -> None:
    for number in range(7):
        await world.services.access.create_token(f"t{number}", Role.VIEWER, actor=ADA)
    seen, cursor = [], None
    while True:
        page = await world.services.audit.list(AuditFilters(limit=3, cursor=cursor))
        seen += [each.event.data["name"] for each in page.events]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"t{number}" for number in reversed(range(7))]
    for wrong in (AuditFilters(limit=0), AuditFilters(limit=1001), AuditFilters(cursor="-1"), AuditFilters(cursor="²")):
        with pytest.raises(Invalid):
            await world.services.audit.list(wrong)


async def test_an_entry_reads_like_the_story_shows_it(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    upgrade = await world.upgrade("1.1.0")
    (stored, *_) = (await world.services.audit.list(AuditFilters())).events
    assert {name: value for name, value in shown(stored).items() if name != "chain"} == {
        "source": {"kind": "engine"},
        "event_id": stored.event_id,
        "type": "upgrade_requested",
        "timestamp": world.clock.now(),
        "operator": ADA,
        "agent_id": AGENT,
        "upgrade_id": upgrade.deployment,
        "status": "requested",
        "reason": "faster",
        "from_version": "1.0.0",
        "to_version": "1.1.0",
        "strategy": "blue-green",
    }
    assert stored.event_id.startswith("evt-")


async def test_an_audit_of_everything_the_services_did_verifies(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    await world.upgraded_to("1.1.0")
    await world.services.fleet.scale(AGENT, 3, actor=ADA)
    verified = await world.services.audit.verify()
    assert (verified.valid, verified.entries, verified.broken_at) == (True, 3, None)
