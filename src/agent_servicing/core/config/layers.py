"""From layers to the one configuration an instance gets. Later layers win: schema defaults, version, agent, places, temporary overrides.

Objects are merged key by key, everything else is replaced whole. A reference to a secret, `{"$secret": "name"}`, is one value.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Literal

from agent_servicing.core.manifest import ConfigSpec

RESERVED: Final = "servicing"
"""The key whose values act on the runtime and the data plane instead of the agent: `servicing.log_level`, `servicing.flags`, …"""

ROUTER: Final = frozenset({"rate_limit", "request_timeout_seconds"})
"""Of the reserved keys, those that the router enforces."""

RUNTIME: Final = frozenset({"resources"})
"""Of the reserved keys, those that the runtime enforces."""

AROUND: Final = ROUTER | RUNTIME
"""Of the reserved keys, those that are enforced around the instances: no part of what an instance is told and acknowledges."""

SECRET: Final = "$secret"  # noqa: S105 (the name of a key, no secret)

Scope = Literal["hot", "next-conversation", "restart"]
Values = Mapping[str, object]

SCOPES: Final[tuple[Scope, ...]] = ("hot", "next-conversation", "restart")

DEPTH_MAX: Final = 32
"""Deepest nesting that is looked into; the manifest and the API allow no deeper one."""

_NOTHING: Final[Values] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Values that count over everything else until `expires_at`."""

    values: Values
    expires_at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """What operators set, the content of one revision. `places` are the instances' places (1, 2, …), the same in every generation."""

    agent: Values = field(default_factory=dict)
    places: Mapping[int, Values] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()

    def without_expired(self, now: datetime) -> "Layers":
        left = tuple(override for override in self.overrides if override.expires_at > now)
        return Layers(agent=self.agent, places=self.places, overrides=left)


@dataclass(frozen=True, kw_only=True)  # without slots, which leave no room for the key that is worked out once
class ConfigDocument:
    """What one instance is to have: its own values (secrets as references), what acts on the runtime, and when each key takes effect.

    `key` names this content: equal keys are equal documents, whichever instance they are for. Keys that are not in `apply` are hot.
    `around` is what others enforce for it; it is not told, and it is no part of `key`.
    """

    revision: str
    values: Values
    runtime: Values = field(default_factory=dict)
    apply: Mapping[str, Scope] = field(default_factory=dict)
    around: Values = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        content = json.dumps([self.values, self.runtime], sort_keys=True, ensure_ascii=False, default=dict)
        return sha256(content.encode()).hexdigest()


def text_of(values: Values) -> str:
    """The text of a configuration file. Its SHA-256 is what instances acknowledge, so there is only this one way to write it."""
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False, default=dict) + "\n"  # mappings that are no dict


def document(revision: str, spec: ConfigSpec, schema: str | None, layers: Layers, *, place: int) -> ConfigDocument:
    """What the instance at this place is to have under these layers, of a version with this `[config]` and schema text."""
    whole = effective(spec, schema, layers, place=place)
    reserved = whole.get(RESERVED)
    reserved = reserved if isinstance(reserved, Mapping) else _NOTHING
    return ConfigDocument(
        revision=revision,
        values={key: value for key, value in whole.items() if key != RESERVED},
        runtime={key: value for key, value in reserved.items() if key not in AROUND},
        apply=scopes(schema),
        around={key: value for key, value in reserved.items() if key in AROUND},
    )


def effective(spec: ConfigSpec, schema: str | None, layers: Layers, *, place: int | None = None) -> Values:
    """All layers merged; `place` None leaves the places' own values out."""
    return {key: value for key, (value, _) in explained(spec, schema, layers, place=place).items()}


def explained(
    spec: ConfigSpec, schema: str | None, layers: Layers, *, place: int | None = None, within: str | None = None
) -> Mapping[str, tuple[object, str]]:
    """Each top-level value with the name of the highest layer that has a say in it: schema, version, agent, place, override.

    `within` this key, each value below it instead.
    """
    own = layers.places.get(place, _NOTHING) if place is not None else _NOTHING
    stack: list[tuple[str, Values]] = [("schema", defaults(schema)), ("version", spec.defaults), ("agent", layers.agent), ("place", own)]
    stack += [("override", override.values) for override in layers.overrides]
    found: dict[str, tuple[object, str]] = {}
    for layer, whole in stack:
        inside = whole.get(within) if within is not None else whole
        values = inside if isinstance(inside, Mapping) else _NOTHING
        for key, value in values.items():
            before = found.get(key, (None, ""))[0]
            found[key] = (_merged(before, value), layer)
    return found


def merged(base: Values, change: Values) -> Values:
    """A JSON merge patch (RFC 7396): null takes a key out, so that the layer below shows through again."""
    result = dict(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and not is_secret(value):
            before = result.get(key)
            inner = merged(before if isinstance(before, Mapping) and not is_secret(before) else {}, value)
            result[key] = inner
            if not inner and value:
                result.pop(key)
        else:
            result[key] = value
    return result


def is_secret(value: object) -> bool:
    return isinstance(value, Mapping) and SECRET in value


def flat(values: Values, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Every leaf with its dotted key."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and not is_secret(value) and depth < DEPTH_MAX:
            yield from flat(value, f"{name}.", depth + 1)
        else:
            yield name, value


def changed_keys(old: Values, new: Values) -> tuple[str, ...]:
    """Dotted keys whose values differ, sorted."""
    before, after = dict(flat(old)), dict(flat(new))
    return tuple(sorted(key for key in before.keys() | after.keys() if before.get(key, ...) != after.get(key, ...)))


@lru_cache(maxsize=256)
def properties(schema: str | None) -> Mapping[str, Mapping[str, object]]:
    """By dotted key, what a schema's text says about each of its properties; empty for one that is none."""
    return MappingProxyType(dict(_properties(_parsed(schema))))


@lru_cache(maxsize=256)
def defaults(schema: str | None) -> Values:
    """The `default`s of a schema, nested as its properties are."""
    return MappingProxyType(_defaults(_parsed(schema)))


@lru_cache(maxsize=256)
def scopes(schema: str | None) -> Mapping[str, Scope]:
    """When keys take effect, for those that are not hot."""
    found: dict[str, Scope] = {}
    for key, rules in properties(schema).items():
        match rules.get("x-servicing-apply"):
            case "restart":
                found[key] = "restart"
            case "next-conversation":
                found[key] = "next-conversation"
            case _:
                pass
    return MappingProxyType(found)


def secret_keys(schema: str | None) -> frozenset[str]:
    """Dotted keys that the schema marks `x-servicing-secret`."""
    return frozenset(key for key, rules in properties(schema).items() if rules.get("x-servicing-secret") is True)


def scope_of(key: str, apply: Mapping[str, Scope]) -> Scope:
    """When a change of this key takes effect: what the nearest key at or above it says."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        found = apply.get(".".join(parts[:length]))
        if found is not None:
            return found
    return "hot"


def _merged(before: object, value: object) -> object:
    plain = isinstance(before, Mapping) and isinstance(value, Mapping) and not is_secret(before) and not is_secret(value)
    if not plain or not isinstance(before, Mapping) or not isinstance(value, Mapping):
        return value
    result: dict[str, object] = dict(before)
    for key, inner in value.items():
        result[key] = _merged(before.get(key), inner)
    return result


def _parsed(schema: str | None) -> Mapping[str, object]:
    try:
        found = json.loads(schema) if schema else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _properties(schema: Mapping[str, object], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, object]]]:
    inner = schema.get("properties")
    if not isinstance(inner, Mapping) or depth > DEPTH_MAX:
        return
    for name, rules in inner.items():
        if isinstance(rules, Mapping):
            yield f"{prefix}{name}", rules
            yield from _properties(rules, f"{prefix}{name}.", depth + 1)


def _defaults(schema: Mapping[str, object], depth: int = 0) -> dict[str, object]:
    inner, found = schema.get("properties"), dict[str, object]()
    if not isinstance(inner, Mapping) or depth > DEPTH_MAX:
        return found
    for name, rules in inner.items():
        if not isinstance(rules, Mapping):
            continue
        if "default" in rules:
            found[name] = rules["default"]
        elif nested := _defaults(rules, depth + 1):
            found[name] = nested
    return found
