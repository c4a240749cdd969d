"""What differs between two manifests or two configuration schemas, as dotted keys; pure. Used for the review of changes."""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from agent_servicing.core.manifest import Manifest
from agent_servicing.manifest import dump_manifest
from agent_servicing.services.views import Difference

MASKED: Final = "•••"
"""Shown in place of a secret's value."""

DEPTH_MAX: Final = 20
"""Nested deeper, a value is compared and shown whole."""

_SHOWN_ELSEWHERE = ("agent", "source", "upgrade")
"""Sections that are not the version's to change, or that the review shows on their own."""


def manifest_differences(old: Manifest, new: Manifest, secrets: frozenset[str]) -> tuple[Difference, ...]:
    """By dotted key (`run.instances`). Values of the configuration keys in `secrets` are masked."""
    tables = [{name: table for name, table in dump_manifest(m).items() if name not in _SHOWN_ELSEWHERE} for m in (old, new)]
    found = differences(*tables)
    return tuple(_masked(d) if d.key.removeprefix("config.defaults.") in secrets else d for d in found)


def schema_differences(old: str | None, new: str | None) -> tuple[Difference, ...]:
    """By property (`limits.timeout_seconds`); old and new are what the two JSON Schemas say about it."""
    return differences(*({key: _own(rules) for key, rules in _properties(parsed(text))} for text in (old, new)), whole=True)


def secret_keys(*schemas: str | None) -> frozenset[str]:
    """The properties that any of these schemas marks `x-servicing-secret`."""
    return frozenset(key for text in schemas for key, rules in _properties(parsed(text)) if rules.get("x-servicing-secret") is True)


def differences(old: Mapping[str, object], new: Mapping[str, object], *, whole: bool = False) -> tuple[Difference, ...]:
    """Every key with different values, sorted; tables are compared key by key unless `whole`."""
    left, right = (dict(table) if whole else dict(_flat(table)) for table in (old, new))
    keys = sorted(left.keys() | right.keys())
    return tuple(Difference(key=k, old=left.get(k), new=right.get(k)) for k in keys if left.get(k) != right.get(k))


def parsed(text: str | None) -> Mapping[str, object]:
    """A JSON Schema's text as a table; one that is none counts as empty, the manifest's own checks speak about it."""
    try:
        schema = json.loads(text) if text else {}
    except (json.JSONDecodeError, RecursionError):
        return {}
    return schema if isinstance(schema, dict) else {}


def _flat(table: Mapping[str, object], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and depth < DEPTH_MAX:
            yield from _flat(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _properties(schema: Mapping[str, object], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, object]]]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or depth > DEPTH_MAX:
        return
    for name, rules in properties.items():
        if isinstance(rules, Mapping):
            yield f"{prefix}{name}", rules
            yield from _properties(rules, f"{prefix}{name}.", depth + 1)


def _own(rules: Mapping[str, object]) -> Mapping[str, object]:
    """What a schema says about a property itself; nested ones stand on their own."""
    return {key: value for key, value in rules.items() if key != "properties"}


def _masked(difference: Difference) -> Difference:
    shown = (None if value is None else MASKED for value in (difference.old, difference.new))
    return Difference(key=difference.key, old=next(shown), new=next(shown))
