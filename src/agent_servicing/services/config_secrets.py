"""Secrets in configurations: plain values of secret keys are put away, and only references stand in what is stored. Used by `config_hotpatch`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent_servicing.core.config.layers import SECRET, Values, is_secret, secret_keys
from agent_servicing.core.config.references import reference
from agent_servicing.core.errors import FieldError, Invalid
from agent_servicing.services.secrets import NAME, Secrets

PLAIN: Final = "$plain"
"""Stands for a plain secret between the check of a change and its writing; never stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Referred:
    """A change without plain secrets: those are in `plain` by dotted key, and `{"$secret": "$plain", "key": …}` stands in their place."""

    values: Values
    plain: Mapping[str, str]


async def refer(secrets: Secrets, agent: str, updates: Values, schema: str | None) -> Referred:
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
        # What is no name is not repeated: it may be the value itself, by mistake.
        if not isinstance(name, str) or not NAME.fullmatch(name) or set(value) - {SECRET, "version"}:
            errors.append(FieldError(path=path, message='a reference is {"$secret": "name"} and nothing else'))
            return value
        wanted, info = value.get("version"), await secrets.find(name)
        usable = info is not None and info.agent in (None, agent)
        if info is None or not usable or wanted not in (None, *(each.version for each in info.versions)):
            errors.append(FieldError(path=path, message=f"there is no secret {name} that {agent} may use"))
            return value
        return reference(name, wanted if isinstance(wanted, int) else info.newest.version)

    values = await walk(updates, "")
    if errors:
        hint = "Set it first: servicing secret set NAME."
        raise Invalid("The change refers to secrets that cannot be used.", errors=tuple(errors), hint=hint, code="unknown_secret")
    return Referred(values=values, plain=plain)


def filled(values: Values, plain: Mapping[str, str]) -> Values:
    """With plain secrets back in their places, for the check by the schema alone."""
    return {key: _filled(value, plain) for key, value in values.items()}


async def put_away(secrets: Secrets, agent: str, referred: Referred, actor: str) -> Values:
    """The change as it may be stored. Its own transactions: what is put away stays, even if the change then comes to nothing."""
    references = {key: await secrets.keep(agent, key, value, actor=actor) for key, value in referred.plain.items()}
    return _stored(referred.values, references)


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
