"""Targets and rules of notifications: shown without anything secret, changed as a whole, each change in the audit. Called by `web`.

An address is sealed with the vault's key in the transaction that names its target, or it is the name of a secret. Nobody gets it back.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent_servicing.core.errors import Conflict, FieldError, Invalid, NotFound, PermanentError
from agent_servicing.core.events import Event
from agent_servicing.core.notices import KINDS
from agent_servicing.core.outward import GIVE_UP_SECONDS, SAME_FOR_SECONDS, OutwardSettings, Rule, Target
from agent_servicing.ports import Clock, Ids
from agent_servicing.ports.outward import Sender
from agent_servicing.services.redaction import Redactor
from agent_servicing.services.secrets import Secrets
from agent_servicing.services.transaction import record
from agent_servicing.settings import Settings
from agent_servicing.store import outbox
from agent_servicing.store.database import Database
from agent_servicing.store.outbox import TargetRow

TARGETS_MAX: Final = 32
RULES_MAX: Final = 100
NAMES_MAX: Final = 1_000
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
PAGE_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[^\s?#]*)?")

SAME_FOR_RANGE: Final = (0.0, 24 * 3_600.0)
GIVE_UP_RANGE: Final = (10.0, 7 * 24 * 3_600.0)

KEEPER: Final = "(notifications)"
"""Stands for an agent in the redactor, and is none: no agent's output may be used to try out addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTarget:
    """As somebody gave it: `address` or `secret`; neither, or the address as it is shown, keeps what is there."""

    name: str
    address: str | None = None
    secret: str | None = None
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOutward:
    """The whole settings, as somebody wants them. `if_revision`: only if nobody changed them since."""

    targets: Sequence[NewTarget] = ()
    rules: Sequence[Rule] = ()
    same_for_seconds: float = SAME_FOR_SECONDS
    give_up_seconds: float = GIVE_UP_SECONDS
    page_url: str = ""
    if_revision: int | None = None


class OutwardStore:
    """Reads and changes the settings; knows how to open an address."""

    def __init__(
        self, *, database: Database, clock: Clock, ids: Ids, settings: Settings, secrets: Secrets, redactor: Redactor, sender: Sender
    ) -> None:
        self._database, self._clock, self._ids, self._settings = database, clock, ids, settings
        self._secrets, self._redactor, self._sender = secrets, redactor, sender

    async def load(self) -> None:
        """Once, at the start: know what to mask, and seal anew what an older key sealed. Trouble with the key shows when it is used."""
        async with self._database.read() as connection:
            known = await outbox.target_rows(connection)
        anew: dict[str, bytes] = {}
        for name, row in known.items():
            if not row.sealed:
                continue
            try:
                self._learn(name, self._secrets.unseal(_label(name), row.sealed))
                sealed = self._secrets.sealed_anew(_label(name), row.sealed)
            except PermanentError:
                continue
            anew |= {name: sealed} if sealed is not None else {}
        if anew:
            async with self._database.write() as connection:
                for name, sealed in anew.items():
                    await outbox.seal_target(connection, name, sealed)

    async def get(self) -> tuple[OutwardSettings, Mapping[str, TargetRow]]:
        """The settings, and how sending goes by target."""
        async with self._database.read() as connection:
            return await outbox.load_settings(connection), await outbox.target_rows(connection)

    async def put(self, new: NewOutward, *, actor: str) -> tuple[OutwardSettings, Mapping[str, TargetRow]]:
        """Raises Invalid `bad_target`, `bad_rule`, `bad_value`; Conflict `version_mismatch`; SecretsLocked."""
        _check(new)
        before, rows = await self.get()
        described = {target.name: await self._described(number, target, before) for number, target in enumerate(new.targets)}
        fresh = {target.name: target.address for target in new.targets if _is_fresh(target, before) and target.address is not None}
        sealed = {name: await self._sealed(name, address, rows) for name, address in fresh.items()}
        async with self._database.write() as connection:
            current = await outbox.load_settings(connection)
            if current.revision != before.revision or (new.if_revision is not None and new.if_revision != current.revision):
                message = f"The settings are at revision {current.revision}; somebody changed them."
                raise Conflict(message, hint="Look at them again, then change them.", code="version_mismatch")
            after = OutwardSettings(
                revision=current.revision + 1,
                targets=described,
                rules=tuple(new.rules),
                same_for_seconds=new.same_for_seconds,
                give_up_seconds=new.give_up_seconds,
                page_url=new.page_url.rstrip("/"),
            )
            await outbox.save_settings(connection, after)
            await outbox.drop_targets(connection, before.targets.keys() - after.targets.keys())
            for name, target in described.items():
                if name in sealed:
                    await outbox.put_target(connection, name, sealed[name])
                elif target.secret is not None and before.targets.get(name, Target(name=name)).secret != target.secret:
                    await outbox.put_target(connection, name, b"")
            now = self._clock.now()
            event = Event(type="notification_settings_changed", at=now, actor=actor, audit=True, data=_changes(before, after, set(fresh)))
            await record(connection, self._ids, self._settings, event)
        for name, address in fresh.items():
            self._learn(name, address)
        return await self.get()

    async def address(self, target: Target, row: TargetRow) -> str:
        """Raises `PermanentError`, SecretsLocked."""
        if target.secret is None:
            return self._secrets.unseal(_label(target.name), row.sealed)
        return await self._secret(target.secret)

    async def _secret(self, name: str) -> str:
        """The newest value of a secret that is for everybody."""
        return (await self._secrets.resolve(KEEPER, [name]))[name]

    async def _described(self, number: int, target: NewTarget, before: OutwardSettings) -> Target:
        """The target as it will be kept. The address is not contacted."""
        known = before.targets.get(target.name)
        if not _is_fresh(target, before):
            if known is None:
                raise _bad_target(number, "url", "is missing: an Apprise URL, or a secret that holds one")
            return replace(known, enabled=target.enabled)
        try:
            address = await self._secret(target.secret) if target.secret is not None else target.address
            found = await self._sender.describe(address or "")
        except PermanentError as error:
            raise _bad_target(number, "url", str(error)) from None
        return Target(name=target.name, secret=target.secret, shown=found.shown, service=found.service, enabled=target.enabled)

    async def _sealed(self, name: str, address: str, rows: Mapping[str, TargetRow]) -> bytes:
        """With the key that the other addresses were sealed with."""
        beside = next(((_label(other), row.sealed) for other, row in rows.items() if row.sealed), None)
        return await self._secrets.seal(_label(name), address, beside=beside)

    def _learn(self, name: str, address: str) -> None:
        self._redactor.learn(_label(name), name=f"address of {name}", agent=KEEPER, value=address)


def require_target(settings: OutwardSettings, name: str) -> Target:
    """Raises NotFound `unknown_target`."""
    found = settings.targets.get(name)
    if found is None:
        names = ", ".join(settings.targets) or "none"
        raise NotFound(f"There is no target {name}.", hint=f"Targets: {names}.", code="unknown_target")
    return found


def _is_fresh(target: NewTarget, before: OutwardSettings) -> bool:
    """Whether it has another address than before."""
    known = before.targets.get(target.name)
    if target.secret is not None:
        return known is None or known.secret != target.secret
    if target.address is None:
        return False
    return known is None or known.secret is not None or target.address != known.shown


def _check(new: NewOutward) -> None:
    errors = [*_target_errors(new), *_rule_errors(new)]
    if errors:
        family = "bad_target" if errors[0].path.startswith("targets") else "bad_rule"
        raise Invalid(f"{errors[0].path} {errors[0].message}.", errors=errors, code=family)
    ranges = (("same_for_seconds", new.same_for_seconds, SAME_FOR_RANGE), ("give_up_seconds", new.give_up_seconds, GIVE_UP_RANGE))
    for name, value, (low, high) in ranges:
        if not low <= value <= high:
            raise Invalid(
                f"{name} must be from {low:g} to {high:g}.", errors=(_error(name, f"from {low:g} to {high:g}"),), code="bad_value"
            )
    if new.page_url and not PAGE_URL.fullmatch(new.page_url):
        wanted = "must be the address of the page, such as https://servicing.example.org, or empty"
        raise Invalid(f"page_url {wanted}.", errors=(_error("page_url", wanted),), code="bad_value")


def _target_errors(new: NewOutward) -> Iterator[FieldError]:
    if len(new.targets) > TARGETS_MAX:
        yield _error("targets", f"holds at most {TARGETS_MAX}")
    names = [target.name for target in new.targets]
    for number, target in enumerate(new.targets):
        if not NAME.fullmatch(target.name):
            yield _error(f"targets.{number}.name", "is a letter or digit, then at most 62 letters, digits, dots, underscores or hyphens")
        elif names.index(target.name) != number:
            yield _error(f"targets.{number}.name", f"{target.name} is there twice")


def _rule_errors(new: NewOutward) -> Iterator[FieldError]:
    if len(new.rules) > RULES_MAX:
        yield _error("rules", f"holds at most {RULES_MAX}")
    names, targets = [rule.name for rule in new.rules], {target.name for target in new.targets}
    for number, rule in enumerate(new.rules[:RULES_MAX]):
        where = f"rules.{number}"
        if not NAME.fullmatch(rule.name) or names.index(rule.name) != number:
            yield _error(f"{where}.name", "is a name like a target's, and no other rule's")
        unknown = [name for name in rule.targets if name not in targets]
        if unknown or not rule.targets:
            yield _error(f"{where}.targets", f"{', '.join(unknown[:5])} is no target" if unknown else "names no target")
        wrong = [kind for kind in rule.kinds or () if kind not in KINDS]
        if wrong:
            yield _error(f"{where}.kinds", f"{', '.join(wrong[:5])} is no kind; kinds are {', '.join(KINDS)}")
        if rule.agents is not None and not 0 < len(rule.agents) <= NAMES_MAX:
            yield _error(f"{where}.agents", f"names 1 to {NAMES_MAX} agents, or is null for all")


def _bad_target(number: int, field: str, why: str) -> Invalid:
    path = f"targets.{number}.{field}"
    return Invalid(f"{path}: {why}.", errors=(_error(path, why),), code="bad_target")


def _error(path: str, message: str) -> FieldError:
    return FieldError(path=path, message=message)


def _changes(before: OutwardSettings, after: OutwardSettings, fresh: "set[str]") -> dict[str, object]:
    """What the audit keeps: names and what may be shown, no address."""
    return {
        "status": "success",
        "revision": after.revision,
        "targets": {name: target.shown if target.enabled else f"{target.shown} (off)" for name, target in after.targets.items()},
        "targets_added": sorted(after.targets.keys() - before.targets.keys()),
        "targets_removed": sorted(before.targets.keys() - after.targets.keys()),
        "addresses_changed": sorted(fresh & before.targets.keys()),
        "rules": [_shown_rule(rule) for rule in after.rules],
    }


def _shown_rule(rule: Rule) -> dict[str, object]:
    return {
        "name": rule.name,
        "targets": list(rule.targets),
        "agents": list(rule.agents) if rule.agents is not None else None,
        "kinds": list(rule.kinds) if rule.kinds is not None else None,
        "min_severity": rule.least.value,
    }


def _label(name: str) -> str:
    return f"address of the notification target {name}"
