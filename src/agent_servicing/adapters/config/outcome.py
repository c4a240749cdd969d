"""How one attempt to give an instance a document came out, whichever way it went. `direct` turns it into a report."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent_servicing.core.config.layers import Scope
from agent_servicing.core.config.report import Attempted, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`pending`: keys that take effect later."""

    result: Attempted
    problems: tuple[Problem, ...] = ()
    pending: Mapping[str, Scope] = field(default_factory=dict)


def failed(message: str) -> Outcome:
    return Outcome(result="failed", problems=(Problem(path="", message=message),))
