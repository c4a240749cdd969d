"""Takes secrets out of what was observed, before anything is decided on it or written down. The engine calls it once a turn.

These are all the texts that come from outside: what instances printed and answered, what installations and tests printed.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from agent_servicing.core.config.report import without_secrets
from agent_servicing.core.model import Observation, Preparation, Probe, Process, Verification

Mask = Callable[[str], str]
T = TypeVar("T")


def masked(world: Observation, mask: Mask) -> Observation:
    """The same world; texts without secrets stay the objects they were."""
    verification = world.verification
    return replace(
        world,
        processes=_each(world.processes, mask, _process) if world.processes is not None else None,
        probes=_each(world.probes, mask, _detailed),
        preparations=_each(world.preparations, mask, _detailed),
        verification=_detailed(verification, mask) if verification is not None else None,
        configs=_each(world.configs, mask, without_secrets) if world.configs is not None else None,
    )


def _each(found: Mapping[str, T], mask: Mask, one: Callable[[T, Mask], T]) -> Mapping[str, T]:
    return {name: one(value, mask) for name, value in found.items()}


def _process(process: Process, mask: Mask) -> Process:
    return replace(process, last_output=mask(process.last_output)) if process.last_output else process


D = TypeVar("D", Probe, Preparation, Verification)


def _detailed(found: D, mask: Mask) -> D:
    return replace(found, detail=mask(found.detail)) if found.detail else found
