"""A schema file in place of a model: its defaults hold where nothing else is said. And the other way: the schema file of a model.

`python -m servicing_sdk schema agent:Settings > config.schema.json` writes the latter. What the server checks is the file in the manifest.
"""

import importlib
import json
import sys
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

DEPTH_MAX = 32
"""Objects within objects; a deeper schema is not read by anybody."""


def defaults_of(file: str | PathLike[str]) -> dict[str, Any]:
    """The defaults of a JSON Schema, also those below properties. Raises ValueError when it is no schema, OSError when it cannot be read."""
    try:
        schema = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}") from error
    found = _default(schema, DEPTH_MAX) if isinstance(schema, Mapping) else None
    if isinstance(schema, Mapping) and isinstance(found, dict | None):
        return found or {}
    raise ValueError(f"{file} is no JSON Schema of an object")


def over(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, and the defaults for what they do not say; objects are merged, everything else is taken whole."""
    merged = dict(defaults)
    for key, value in values.items():
        below = merged.get(key)
        merged[key] = over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def schema_of(name: str) -> dict[str, Any]:
    """The schema of a pydantic model, named `module:Model`. An unknown key is an error, so that a slip of the pen is found by the first patch."""
    module, _, attribute = name.partition(":")
    model = getattr(importlib.import_module(module), attribute)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "additionalProperties": False, **model.model_json_schema()}


def _default(schema: Mapping[str, Any], depth: int) -> Any:
    below = {}
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and depth:
        found = {key: _default(each, depth - 1) for key, each in properties.items() if isinstance(each, Mapping)}
        below = {key: value for key, value in found.items() if value is not None}
    own = schema.get("default")
    if isinstance(own, Mapping):
        return over(below, own)
    return own if own is not None else below or None


def main(arguments: list[str]) -> int:
    """0 done, 1 the model cannot be loaded, 2 wrong usage."""
    if len(arguments) != 2 or arguments[0] != "schema" or ":" not in arguments[1]:
        sys.stderr.write("usage: python -m servicing_sdk schema MODULE:MODEL > config.schema.json\n")
        return 2
    sys.path.insert(0, "")  # the agent's own modules lie in the folder where the command is given
    try:
        schema = schema_of(arguments[1])
    except (ImportError, AttributeError) as error:
        sys.stderr.write(f"{arguments[1]} is no pydantic model that can be imported here: {error}\n")
        return 1
    sys.stdout.write(json.dumps(schema, indent=2) + "\n")
    return 0
