"""The decision: what the store knows and what the world shows, in; the next state and what to do about it, out. Pure.

Called by `reconcile.kinds.agent` once for each observation. The order matters: first whether the clock was set back, then what
happened (watch), then what operators want (intake), then the deployment, then the change of the configuration and who has missed it, then
everything that follows from the state: processes (keep), who of them is told to end (announce) and what that is to everybody else
(tell_phases), traffic (route), and what processes may use (limit).
"""

from agent_servicing.core.conduct import conduct
from agent_servicing.core.config.repair import repair
from agent_servicing.core.config.rollout import configure
from agent_servicing.core.draft import Decision, Draft
from agent_servicing.core.goodbye import announce
from agent_servicing.core.intake import intake
from agent_servicing.core.keep import keep, limit
from agent_servicing.core.limits import Limits
from agent_servicing.core.model import Snapshot
from agent_servicing.core.phases import tell_phases
from agent_servicing.core.set_back import set_back
from agent_servicing.core.traffic import route
from agent_servicing.core.watch import watch


def decide(snapshot: Snapshot, limits: Limits) -> Decision:
    draft = Draft(snapshot, limits)
    set_back(draft)
    watch(draft)
    intake(draft)
    conduct(draft)
    configure(draft)
    repair(draft)
    keep(draft)
    announce(draft)
    tell_phases(draft)
    route(draft)
    limit(draft)
    return draft.decision()
