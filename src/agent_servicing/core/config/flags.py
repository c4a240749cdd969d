"""Feature flags as they stand in a configuration, below `servicing.flags`: from a definition to the value an agent reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PLAIN: Final = "default"
"""The variant of a flag that has none of its own; readers of flags want a name in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    value: object
    variant: str


class UnusableFlag(ValueError):
    """The definition names a variant that it does not have."""


def evaluated(definition: object) -> Flag:
    """A plain value is the flag's value; `{"value": "blue", "variants": {"blue": 1, "green": 2}}` chooses among named ones, and
    `{"value": …}` alone is for a value that would look like that itself. Raises `UnusableFlag`.
    """
    if not isinstance(definition, Mapping) or "value" not in definition or not definition.keys() <= {"value", "variants"}:
        return Flag(value=definition, variant=PLAIN)
    value = definition["value"]
    if "variants" not in definition:
        return Flag(value=value, variant=PLAIN)
    variants = definition["variants"]
    if not isinstance(variants, Mapping) or not isinstance(value, str) or value not in variants:
        known = ", ".join(sorted(variants)) if isinstance(variants, Mapping) else "none"
        raise UnusableFlag(f"value must name one of its variants: {known or 'none'}")
    return Flag(value=variants[value], variant=value)
