"""How many instances a part of the agent needs. Used by the interpreter, which grows the candidate and lets the stable side shrink behind it."""

from math import ceil

_CUT_PERCENT = 0.011
"""Shares are cut to hundredths of a percent (strategies/batches.py); no instance is needed for what that cuts off."""


def places(instances: int, percent: float) -> int:
    """`percent` of `instances`, rounded up: never none for a part above zero, never more than all."""
    if percent <= 0:
        return 0
    return min(instances, max(1, ceil(instances * (percent - _CUT_PERCENT) / 100)))


def stable_places(*, instances: int, candidate: int, share: float, measured: float, spare: int | None) -> int:
    """How many stable instances must stay while the candidate takes over.

    `candidate`: its ready instances; `share`: its share in force, percent; `measured`: percent of all requests that the stable side
    still answers, open conversations included; `spare`: how many may leave at most. At least one stays until the very end.
    """
    needed = max(
        1,
        instances - candidate,
        places(instances, 100 - share),
        places(instances, measured),
        instances - spare if spare is not None else 0,
    )
    return min(instances, needed)
