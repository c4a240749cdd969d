"""References to secrets in configurations: `{"$secret": "db-password", "version": 3}`. Made by the service that takes secrets in."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from agent_servicing.core.config.layers import DEPTH_MAX, SECRET, Layers, Values


def reference(name: str, version: int) -> Mapping[str, object]:
    """What stands in a configuration in place of the value."""
    return {SECRET: name, "version": version}


def references(value: object, depth: int = 0) -> Iterator[tuple[str, int | None]]:
    """Name and version of every secret that `value` refers to; without a version it is the newest."""
    if depth > DEPTH_MAX:
        return
    if isinstance(value, Mapping):
        name, version = value.get(SECRET), value.get("version")
        if isinstance(name, str):
            yield name, version if isinstance(version, int) else None
            return
        for inner in value.values():
            yield from references(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from references(inner, depth + 1)


def pointed(layers: Layers, name: str, version: int) -> Layers:
    """The layers with every reference to the secret `name` at this version, whatever it was at before."""
    return Layers(
        agent=_values(layers.agent, name, version),
        places={place: _values(values, name, version) for place, values in layers.places.items()},
        overrides=tuple(replace(each, values=_values(each.values, name, version)) for each in layers.overrides),
    )


def _values(values: Values, name: str, version: int) -> Values:
    return {key: _pointed(value, name, version) for key, value in values.items()}


def _pointed(value: object, name: str, version: int) -> object:
    if isinstance(value, Mapping):
        return reference(name, version) if value.get(SECRET) == name else _values(value, name, version)
    return [_pointed(inner, name, version) for inner in value] if isinstance(value, list | tuple) else value
