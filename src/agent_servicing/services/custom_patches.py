"""Versions that people upload: a custom patch on a version that is there, and its removal. Called by `web` and, to clear up, by a timer."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import anyio
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core import events
from agent_servicing.core.changelog import changes
from agent_servicing.core.errors import Conflict, FieldError, Invalid, TemporaryError, Unavailable
from agent_servicing.core.events import Event
from agent_servicing.core.manifest import Manifest, UpgradeNotes
from agent_servicing.core.model import AgentState
from agent_servicing.core.standing import Standing
from agent_servicing.core.versions import available_updates, next_patch
from agent_servicing.manifest import merge
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.ports.uploads import Kept, UploadRefused, Uploads
from agent_servicing.services.transaction import TOPIC, checked_reason, record, require_active, require_state, shown
from agent_servicing.services.version_standing import known_version
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.codec import Upload, VersionBody
from agent_servicing.store.database import Database
from agent_servicing.store.marks import Mark, load_marks, save_mark
from agent_servicing.store.queries import VersionRow

PATCHES_MAX: Final = 50
"""Custom patches of one agent. They are for emergencies; what stays belongs into the source."""

AT_ONCE_MAX: Final = 2
"""Uploads that are taken in at the same time: each is unpacked on the disk."""

SUMMARY_CHARACTERS_MAX: Final = 4_000
CHANGES_MAX: Final = 50
FILE_NAME_CHARACTERS_MAX: Final = 200

MB: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchWish:
    """What comes along with the file. `base_version` None is the version that serves; `changelog` are lines such as `fix: a leak`."""

    file_name: str = ""
    base_version: str | None = None
    reason: str = ""
    summary: str = ""
    changelog: tuple[str, ...] = ()
    security: bool = False
    critical: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Patched:
    """The new version."""

    agent: str
    version: str
    ref: str
    upload: Upload


class CustomPatches:
    """One use case. An uploaded version is a version like any other from then on: listed, upgraded to, gone back to, withdrawn."""

    def __init__(
        self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings, uploads: Uploads | None = None
    ) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings
        self._uploads = uploads
        self._places = anyio.CapacityLimiter(AT_ONCE_MAX)

    async def upload(self, agent: str, chunks: AsyncIterator[bytes], wish: PatchWish, *, actor: str) -> Patched:
        """Take in an archive, wheel or unified diff; nothing is left behind unless it can be installed.

        Raises NotFound `unknown_agent`, `unknown_version`; Invalid `reason_missing`, `from_missing`, `upload_unusable` with every problem, and
        `upload_too_large`; Conflict `upload_unsupported`, `too_many_uploads`, `uploads_full`, `upload_known`; Unavailable `uploads_busy`,
        `upload_failed`.
        """
        wish = _checked(wish)
        uploads = self._required()
        try:
            self._places.acquire_on_behalf_of_nowait(token := object())
        except anyio.WouldBlock:
            raise Unavailable(f"{AT_ONCE_MAX} uploads are being taken in already; try again in a moment.", code="uploads_busy") from None
        try:
            base = await self._base(agent, wish.base_version)
            await self._check_room(uploads)
            incoming = await uploads.receive(chunks, bytes_max=self._settings.upload_bytes_max)
            try:
                kept = await uploads.keep(incoming, file_name=wish.file_name, manifest=base.manifest, base=(base.version, base.ref))
            finally:
                with anyio.CancelScope(shield=True):
                    await uploads.discard(incoming)
        except UploadRefused as error:
            raise _refused(error) from error
        except TemporaryError as error:
            raise Unavailable(f"The upload could not be taken in: {error}", code="upload_failed") from error
        finally:
            self._places.release_on_behalf_of(token)
        patched = await self._save(agent, base, kept, wish, actor)
        await self._bus.publish(TOPIC)
        return patched

    async def remove(self, agent: str, version: str, *, reason: str, actor: str) -> None:
        """Remove an uploaded version that nothing needs. Its name is never given out again.

        Raises NotFound `unknown_version`, Invalid `reason_missing`, Conflict `not_uploaded`, `version_in_use`, `agent_removing`.
        """
        reason = checked_reason(reason, needed=True)
        async with self._database.write() as connection:
            state = await require_active(connection, agent)
            row = known_version(await queries.version_rows(connection, agent), version)
            if row.body.upload is None:
                hint = f"Withdraw it: servicing version withdraw {agent} {row.version}."
                raise Conflict(f"{row.version} comes from the source and cannot be removed here.", hint=hint, code="not_uploaded")
            if row.version in {*state.releases, *state.rollback_points}:
                hint = "It runs, is on its way, or is a rollback point; withdraw it if it should not be deployed again."
                raise Conflict(f"{row.version} is in use.", hint=hint, code="version_in_use")
            await queries.delete_versions(connection, agent, [row.version])
            now = self._clock.now()
            # The name stays taken: what was installed under it somewhere must not pass for another upload.
            await save_mark(connection, agent, row.version, Mark(standing=Standing.WITHDRAWN, reason=reason, actor=actor, at=now))
            data: dict[str, object] = {"version": row.version, "ref": row.ref, "base_version": row.body.upload.base, "status": "success"}
            event = Event(type="version_removed", at=now, agent=agent, actor=actor, reason=reason, audit=True, data=data)
            await record(connection, self._ids, self._settings, event)
        await self._bus.publish(TOPIC)

    async def clear(self) -> None:
        """Delete uploads that no version names any more, of removed agents too. Called by a timer."""
        if self._uploads is None:
            return
        async with self._database.read() as connection:
            refs = await queries.upload_refs(connection)
        await self._uploads.keep_only(refs)

    def _required(self) -> Uploads:
        if self._uploads is None:
            raise Conflict("This server keeps no uploads.", code="upload_unsupported")
        return self._uploads

    async def _base(self, agent: str, version: str | None) -> VersionRow:
        async with self._database.read() as connection:
            state = await require_state(connection, agent)
            rows = await queries.version_rows(connection, agent)
        kind = state.agent.manifest.source.kind
        if kind == "image":
            hint = "Build an image with the patch and push it under a tag of its own."
            raise Conflict("A patch cannot be uploaded for an agent that comes as an image.", hint=hint, code="upload_unsupported")
        named = version or state.agent.version
        if named is None:
            raise Invalid(f"{agent} runs no version yet; say base_version.", code="from_missing")
        base = known_version(rows, named)
        if base.problem:
            raise Invalid(f"{base.version} cannot be used as a base: {base.problem}", code="unusable_version")
        _check_count(rows)
        return base

    async def _check_room(self, uploads: Uploads) -> None:
        room = self._settings.uploads_total_max_mb * MB
        if await uploads.stored_bytes() >= room:
            hint = "Remove patches that nobody needs (servicing version remove), or raise uploads_total_max_mb."
            raise Conflict(f"The uploads of all agents take more than {room // MB} MB.", hint=hint, code="uploads_full")

    async def _save(self, agent: str, base: VersionRow, kept: Kept, wish: PatchWish, actor: str) -> Patched:
        now = self._clock.now()
        async with self._database.write() as connection:
            state = await require_active(connection, agent)
            rows = await queries.version_rows(connection, agent)
            _check_count(rows)
            same = next((row for row in rows if row.ref == kept.ref), None)
            if same is not None:
                raise Conflict(f"{same.version} has exactly this content.", hint="Use that version.", code="upload_known")
            name = await self._name(connection, state, rows, base.version)
            row = _row(name, base, kept, wish, actor, now)
            await queries.save_version(connection, agent, row)
            await record(connection, self._ids, self._settings, *_told(state, row))
        assert row.body.upload is not None  # noqa: S101 (just made so)
        return Patched(agent=agent, version=name, ref=row.ref, upload=row.body.upload)

    async def _name(self, connection: AsyncConnection, state: AgentState, rows: Sequence[VersionRow], base: str) -> str:
        """One that was never given out: not to a version, not to one that was removed, not to one that served before."""
        agent = state.agent.agent
        marks, records = await load_marks(connection, agent), await queries.records(connection, agent)
        return next_patch(base, [*(row.version for row in rows), *marks, *records])


def _checked(wish: PatchWish) -> PatchWish:
    problems = []
    if len(wish.summary) > SUMMARY_CHARACTERS_MAX:
        problems.append(FieldError(path="summary", message=f"at most {SUMMARY_CHARACTERS_MAX} characters"))
    if len(wish.changelog) > CHANGES_MAX:
        problems.append(FieldError(path="changelog", message=f"at most {CHANGES_MAX} lines"))
    if len(wish.file_name) > FILE_NAME_CHARACTERS_MAX:
        problems.append(FieldError(path="file_name", message=f"at most {FILE_NAME_CHARACTERS_MAX} characters"))
    if problems:
        raise Invalid("The upload cannot be described so.", errors=problems, code="bad_value")
    return replace(wish, reason=checked_reason(wish.reason, needed=True), summary=wish.summary.strip())


def _check_count(rows: Sequence[VersionRow]) -> None:
    uploaded = [row.version for row in rows if row.body.upload is not None]
    if len(uploaded) >= PATCHES_MAX:
        hint = f"Remove some that nobody needs (servicing version remove): {shown(uploaded)}."
        raise Conflict(f"There are {PATCHES_MAX} custom patches already.", hint=hint, code="too_many_uploads")


def _row(name: str, base: VersionRow, kept: Kept, wish: PatchWish, actor: str, now: datetime) -> VersionRow:
    """The version as it is listed. Its own `agent.toml` counts where there is one, else the base's; what broke or had to be migrated to get to
    the base is behind whoever comes from there, and told by the base to everybody else.
    """
    told = changes(wish.changelog or (wish.summary or wish.reason,))
    upload = Upload(
        base=base.version, kind=kept.kind, size_bytes=kept.size_bytes, actor=actor, at=now, reason=wish.reason, changed=kept.changed
    )
    security = wish.security or any(change.kind == "security" for change in told)
    manifest = _manifest(base.manifest, kept, name, security=security, critical=wish.critical)
    files = kept.files if kept.manifest_text is not None or kept.files else base.body.files
    return VersionRow(
        version=name,
        ref=kept.ref,
        released_at=now,
        discovered_at=now,
        manifest=manifest,
        body=VersionBody(author=actor, summary=wish.summary or wish.reason, changes=told, files=files, upload=upload),
        security=security,
        critical=wish.critical,
    )


def _manifest(base: Manifest, kept: Kept, name: str, *, security: bool, critical: bool) -> Manifest:
    try:
        manifest = merge(base, kept.manifest_text, origin=f"agent.toml of {name}")
    except Invalid as error:
        raise Invalid(f"The uploaded version cannot be used: {error.message}", errors=error.errors, code="upload_unusable") from error
    own, before = manifest.upgrade, base.upgrade
    notes = UpgradeNotes(
        from_range=own.from_range,
        breaking=tuple(note for note in own.breaking if note not in before.breaking),
        migration_notes="" if own.migration_notes == before.migration_notes else own.migration_notes,
        security=security,
        critical=critical,
        approval_deadline_seconds=own.approval_deadline_seconds,
    )
    return replace(manifest, upgrade=notes)


def _told(state: AgentState, row: VersionRow) -> list[Event]:
    """The audit entry, and what a refresh would tell of a new version."""
    upload, agent = row.body.upload, state.agent
    assert upload is not None  # noqa: S101 (made by `_row`)
    data: dict[str, object] = {
        "version": row.version,
        "base_version": upload.base,
        "kind": upload.kind,
        "ref": row.ref,
        "size_bytes": upload.size_bytes,
        "files_changed": len(upload.changed),
        "status": "success",
    }
    uploaded = Event(
        type="version_uploaded", at=upload.at, agent=agent.agent, actor=upload.actor, reason=upload.reason, audit=True, data=data
    )
    update = next(iter(available_updates(agent.version, [row.version])), None) if agent.version else None
    if update is None:
        return [uploaded]
    flags = {"security_patch": row.security, "critical": row.critical}
    live: dict[str, object] = {"version": update.version, "update_type": update.type, "current_version": agent.version, **flags}
    return [uploaded, Event(type=events.VERSION_AVAILABLE, at=upload.at, agent=agent.agent, data=live)]


def _refused(error: UploadRefused) -> Invalid:
    if error.too_large:
        return Invalid(f"The upload is too large: {error}.", errors=error.problems, code="upload_too_large")
    return Invalid(f"The upload cannot be used: {error}.", errors=error.problems, code="upload_unusable")
