"""Finds drivers by name. `bootstrap` turns a name from settings or a manifest into the class that an entry point of that name points at.

Our own drivers and those of other distributions register alike, in the group `agent_servicing.<port>`.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from agent_servicing.core.errors import FieldError, Invalid

GROUP_PREFIX = "agent_servicing."


def installed_drivers(port_name: str) -> dict[str, EntryPoint]:
    """Every driver of one port (`runtime`, `router`, `metrics`, `events`, `source`) by name, sorted; none of them is imported."""
    found = entry_points(group=GROUP_PREFIX + port_name)
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}


def load_driver(port_name: str, driver_name: str) -> Callable[..., Any]:
    """The driver's class. Raises `Invalid` naming the installed ones when there is none of that name, or when it cannot be imported."""
    drivers = installed_drivers(port_name)
    entry = drivers.get(driver_name)
    if entry is None:
        allowed = ", ".join(drivers) or "none"
        raise Invalid(
            f"there is no {port_name} driver {driver_name!r}; installed: {allowed}",
            hint=f"Install a distribution with an entry point {driver_name!r} in the group {GROUP_PREFIX}{port_name}.",
            errors=[FieldError(path=port_name, message=f"one of: {allowed}")],
        )
    try:
        driver: Callable[..., Any] = entry.load()
    except (ImportError, AttributeError) as error:
        raise Invalid(f"the {port_name} driver {driver_name!r} ({entry.value}) cannot be imported: {error}") from error
    return driver
