"""How far a stage is. Returned by whatever looks after a stage, read by `conduct`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Done or not, and why in words."""

    done: bool
    note: str = ""
