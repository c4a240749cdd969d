"""References to secrets in configurations: `{"$secret": "db-password", "version": 3}`. Made by the service that takes secrets in."""

from collections.abc import Iterator, Mapping

from agent_servicing.core.config.layers import DEPTH_MAX, SECRET


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
