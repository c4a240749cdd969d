"""Secrets in configurations: plain values of secret keys are put away, and only references stand in what is stored. Used by `config_hotpatch`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.config.layers import SECRET, Layers, Override, Values, flat, is_secret, secret_keys
from agent_servicing.core.errors import FieldError, Invalid


class SecretKeeper(Protocol):
    """What the service of secrets does for configurations. Both work inside the caller's transaction."""

    async def newest(self, connection: AsyncConnection, agent: str, name: str) -> int | None:
        """The newest version of a secret that this agent may use; None when there is none."""
        ...

    async def keep(self, connection: AsyncConnection, agent: str, key: str, value: str, actor: str) -> Mapping[str, object]:
        """Put a plain value away and return the reference to it; the same value again gives the same reference."""
        ...


class _NoSecrets:
    async def newest(self, connection: AsyncConnection, agent: str, name: str) -> int | None:  # noqa: ARG002 (there are none)
        return None

    async def keep(self, connection: AsyncConnection, agent: str, key: str, value: str, actor: str) -> Mapping[str, object]:  # noqa: ARG002
        raise Invalid("This server keeps no secrets.", code="secrets_unavailable")


NO_SECRETS: Final = _NoSecrets()

PLAIN: Final = "$plain"
"""Stands for a plain secret between the check of a change and its writing; never stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Referred:
    """A change without plain secrets: those are in `plain` by dotted key, and `{"$secret": "$plain", "key": …}` stands in their place."""

    values: Values
    plain: Mapping[str, str]


async def refer(keeper: SecretKeeper, connection: AsyncConnection, agent: str, updates: Values, schema: str | None) -> Referred:
    """References get the newest version of what they name. Raises Invalid `unknown_secret`, `bad_value`."""
    hidden, plain, errors = secret_keys(schema), dict[str, str](), list[FieldError]()

    async def walk(values: Values, prefix: str) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in values.items():
            path = f"{prefix}{key}"
            if isinstance(value, Mapping) and is_secret(value):
                found[key] = await pinned(value, path)
            elif path in hidden and isinstance(value, str):
                plain[path] = value
                found[key] = {SECRET: PLAIN, "key": path}
            elif isinstance(value, Mapping):
                found[key] = await walk(value, f"{path}.")
            else:
                found[key] = value
        return found

    async def pinned(value: Mapping[str, object], path: str) -> object:
        name = value.get(SECRET)
        if not isinstance(name, str) or set(value) - {SECRET, "version"}:
            errors.append(FieldError(path=path, message='a reference is {"$secret": "name"} and nothing else'))
            return value
        version = await keeper.newest(connection, agent, name)
        if version is None:
            errors.append(FieldError(path=path, message=f"there is no secret {name} that {agent} may use"))
        return {SECRET: name, "version": version}

    values = await walk(updates, "")
    if errors:
        hint = "Set it first: servicing secret set NAME."
        raise Invalid("The change refers to secrets that cannot be used.", errors=tuple(errors), hint=hint, code="unknown_secret")
    return Referred(values=values, plain=plain)


def filled(values: Values, plain: Mapping[str, str]) -> Values:
    """With plain secrets back in their places, for the check by the schema alone."""
    return {key: _filled(value, plain) for key, value in values.items()}


async def kept_secrets(
    keeper: SecretKeeper, connection: AsyncConnection, agent: str, layers: Layers, plain: Mapping[str, str], actor: str
) -> Layers:
    """The layers as they are stored: every plain secret put away."""
    if not plain:
        return layers
    references = {key: await keeper.keep(connection, agent, key, value, actor) for key, value in plain.items()}
    return Layers(
        agent=_stored(layers.agent, references),
        places={place: _stored(values, references) for place, values in layers.places.items()},
        overrides=tuple(Override(values=_stored(o.values, references), expires_at=o.expires_at, reason=o.reason) for o in layers.overrides),
    )


def plain_left(layers: Layers) -> bool:
    """Whether a plain secret's place is still in there; stored layers never have one."""
    every = (layers.agent, *layers.places.values(), *(override.values for override in layers.overrides))
    return any(_is_plain(value) for values in every for _, value in flat(values))


def _filled(value: object, plain: Mapping[str, str]) -> object:
    if isinstance(value, Mapping):
        return plain[str(value["key"])] if _is_plain(value) else {key: _filled(inner, plain) for key, inner in value.items()}
    return value


def _stored(values: Values, references: Mapping[str, Mapping[str, object]]) -> Values:
    found: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found[key] = references[str(value["key"])] if _is_plain(value) else _stored(value, references)
        else:
            found[key] = value
    return found


def _is_plain(value: object) -> bool:
    return isinstance(value, Mapping) and value.get(SECRET) == PLAIN
