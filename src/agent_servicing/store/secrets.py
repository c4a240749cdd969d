"""Rows of the table `secrets`, and which configurations refer to them. Used by `services.secrets`, inside its transactions."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.config.layers import SECRET, Layers
from agent_servicing.core.config.patch import PatchStatus
from agent_servicing.core.config.references import references
from agent_servicing.core.config.wanted import NEVER_PATCHED, shown_name
from agent_servicing.core.model import AgentState
from agent_servicing.store.config import decoded_layers
from agent_servicing.store.state import load_states
from agent_servicing.store.tables import config_revisions, secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRow:
    """One version of a secret. A removed one has nothing in `sealed`."""

    number: int
    name: str
    version: int
    agent: str | None
    sealed: bytes
    fingerprint: str
    created_at: datetime
    created_by: str
    removed_at: datetime | None = None

    @property
    def label(self) -> str:
        """What it is sealed under, and how documents are resolved: `name@version`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretUse:
    """A configuration that an agent runs with (`in_force`), or would go back to, refers to the secret. `version` None: to its newest."""

    agent: str
    revision: str
    version: int | None
    in_force: bool


async def secret_rows(connection: AsyncConnection, names: Collection[str] | None = None) -> Sequence[SecretRow]:
    """Every version of these (default: all), removed ones too; by name, newest version first."""
    query = select(secrets).order_by(secrets.c.name, secrets.c.version.desc())
    if names is not None:
        query = query.where(secrets.c.name.in_(sorted(names)))
    return [SecretRow(**row) for row in (await connection.execute(query)).mappings()]


async def newest_kept(connection: AsyncConnection) -> SecretRow | None:
    """The one stored last of those that are not removed."""
    query = select(secrets).where(secrets.c.removed_at.is_(None)).order_by(secrets.c.number.desc()).limit(1)
    row = (await connection.execute(query)).mappings().one_or_none()
    return SecretRow(**row) if row is not None else None


async def secret_count(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(func.count()).select_from(secrets))).scalar_one())


async def insert_secret(
    connection: AsyncConnection, name: str, version: int, *, agent: str | None, sealed: bytes, fingerprint: str, at: datetime, by: str
) -> None:
    values = {"agent": agent, "sealed": sealed, "fingerprint": fingerprint, "created_at": at, "created_by": by}
    await connection.execute(insert(secrets).values(name=name, version=version, **values))


async def save_sealed(connection: AsyncConnection, number: int, sealed: bytes) -> None:
    await connection.execute(update(secrets).where(secrets.c.number == number).values(sealed=sealed))


async def empty_secret(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Every version of it is removed: what it held is gone."""
    mine = (secrets.c.name == name) & secrets.c.removed_at.is_(None)
    await connection.execute(update(secrets).where(mine).values(removed_at=now, sealed=b""))


async def delete_versions(connection: AsyncConnection, numbers: Collection[int]) -> None:
    await connection.execute(delete(secrets).where(secrets.c.number.in_(sorted(numbers))))


async def secrets_of_removed_agent(connection: AsyncConnection, agent: str) -> None:
    """They go with the agent: a later one of the same name must not be given them."""
    await connection.execute(delete(secrets).where(secrets.c.agent == agent))


async def secret_uses(connection: AsyncConnection) -> Mapping[str, Sequence[SecretUse]]:
    """By secret, where it is needed: in what instances run with or are about to get, in manifests of versions in use, and in what a
    rollback would bring back."""
    found: dict[str, list[SecretUse]] = defaultdict(list)
    older = await _applied_with_secrets(connection)
    for state in await load_states(connection):
        agent, points = state.agent.agent, set(state.rollback_points)
        held = set(_in_force(state))
        needed = [*_held(state), *((revision, values) for version, revision, values in older.get(agent, ()) if version in points)]
        for revision, values in needed:
            for name, version in references(values):
                use = SecretUse(agent=agent, revision=revision, version=version, in_force=revision in held)
                if use not in found[name]:
                    found[name].append(use)
    return found


def _in_force(state: AgentState) -> Iterator[str]:
    """Names of the configurations that instances which answer requests have, or are about to get."""
    for generation in state.generations:
        if generation.answering:
            yield from (generation.config, shown_name(generation.version, NEVER_PATCHED))
    if state.patch is not None and state.patch.open:
        yield state.patch.revision


def _held(state: AgentState) -> Iterator[tuple[str, object]]:
    for revision, layers in state.layers.items():
        yield revision, _all_values(layers)
    if state.patch is not None and state.patch.live:
        yield state.patch.revision, _all_values(state.patch.layers)
    for version, release in state.releases.items():
        yield shown_name(version, NEVER_PATCHED), release.manifest.config.defaults


async def _applied_with_secrets(connection: AsyncConnection) -> Mapping[str, Sequence[tuple[str, str, object]]]:
    """By agent, the applied revisions that refer to a secret, with the version they were made for. Few do, so each is looked into."""
    c = config_revisions.c
    query = select(c.agent, c.version, c.revision, c.body).where(c.status == PatchStatus.APPLIED, c.body.contains(f'"{SECRET}"'))
    found: dict[str, list[tuple[str, str, object]]] = defaultdict(list)
    for row in (await connection.execute(query.order_by(c.number))).all():
        found[row.agent].append((row.version, row.revision, _all_values(decoded_layers(row.body))))
    return found


def _all_values(layers: Layers) -> object:
    return [layers.agent, list(layers.places.values()), [override.values for override in layers.overrides]]
