"""Where reports are opened as issues: shown and changed by admins, the token by the name of a secret only. Called by `web` and `services.issues`."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from agent_servicing.core.errors import Conflict, FieldError, Invalid
from agent_servicing.core.events import Event
from agent_servicing.core.outward import TrackerSettings
from agent_servicing.ports import Clock, Ids
from agent_servicing.services.outward_settings import KEEPER, PAGE_URL
from agent_servicing.services.secrets import Secrets
from agent_servicing.services.transaction import record
from agent_servicing.settings import Settings
from agent_servicing.store import issues as rows
from agent_servicing.store.database import Database

LABELS_MAX: Final = 20
PROJECTS_MAX: Final = 1_000
_GITHUB_PROJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_GITLAB_PROJECT: Final = re.compile(r"[0-9]{1,18}|[A-Za-z0-9_][A-Za-z0-9_./-]{1,254}")
_LABEL: Final = re.compile(r"[^,\x00-\x1f]{1,50}")


class IssueSettings:
    """One tracker for all agents, with a project of its own for some of them where wanted."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, settings: Settings, secrets: Secrets) -> None:
        self._database, self._clock, self._ids, self._settings, self._secrets = database, clock, ids, settings, secrets

    async def get(self) -> TrackerSettings:
        async with self._database.read() as connection:
            return await rows.load_tracker(connection)

    async def put(self, new: TrackerSettings, *, if_revision: int | None, actor: str) -> TrackerSettings:
        """`new.revision` is not looked at. Raises Invalid `bad_tracker`; Conflict `version_mismatch`."""
        errors = [*_problems(new)]
        if new.secret is not None and await self._secrets.find(new.secret) is None:
            errors.append(FieldError(path="token", message=f"there is no secret {new.secret}; set it with: servicing secret set NAME"))
        if errors:
            raise Invalid(f"{errors[0].path} {errors[0].message}.", errors=errors, code="bad_tracker")
        async with self._database.write() as connection:
            current = await rows.load_tracker(connection)
            if if_revision is not None and if_revision != current.revision:
                message = f"The settings are at revision {current.revision}; somebody changed them."
                raise Conflict(message, hint="Look at them again, then change them.", code="version_mismatch")
            after = replace(new, revision=current.revision + 1, base_url=new.base_url.rstrip("/"))
            await rows.save_tracker(connection, after)
            data = {"status": "success", "kind": after.kind, "project": after.project, "base_url": after.base_url, "secret": after.secret}
            event = Event(type="issue_settings_changed", at=self._clock.now(), actor=actor, audit=True, data=data)
            await record(connection, self._ids, self._settings, event)
        return after

    async def token(self, settings: TrackerSettings) -> str | None:
        """Its newest value. Raises `PermanentError`, SecretsLocked."""
        if settings.secret is None:
            return None
        return (await self._secrets.resolve(KEEPER, [settings.secret]))[settings.secret]


def _problems(new: TrackerSettings) -> Iterator[FieldError]:
    if new.base_url and not PAGE_URL.fullmatch(new.base_url):
        yield FieldError(path="base_url", message="must be an address such as https://git.example.org, or empty for the public one")
    if new.kind == "webhook" and not new.base_url:
        yield FieldError(path="base_url", message="is where the webhook is")
    pattern = {"github": _GITHUB_PROJECT, "gitlab": _GITLAB_PROJECT}.get(new.kind)
    if pattern is not None:
        wanted = "must be OWNER/NAME" if new.kind == "github" else "must be a project's path or number"
        for path, project in (("project", new.project), *((f"projects.{agent}", name) for agent, name in new.projects.items())):
            if not pattern.fullmatch(project) or ".." in project:
                yield FieldError(path=path, message=wanted)
        if new.secret is None:
            yield FieldError(path="token", message="must name a secret that holds an access token")
    if len(new.projects) > PROJECTS_MAX:
        yield FieldError(path="projects", message=f"holds at most {PROJECTS_MAX}")
    if len(new.labels) > LABELS_MAX or any(not _LABEL.fullmatch(label) for label in new.labels):
        yield FieldError(path="labels", message=f"at most {LABELS_MAX}, each 1 to 50 characters without a comma")
