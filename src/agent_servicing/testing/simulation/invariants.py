"""The laws, each a function of the world, one agent and one moment: None while it holds, else a sentence that says what is wrong.

Checked by the watchers after every step and around every call that acts. The name of a function is the name of its law in reports.
"""

from typing import TYPE_CHECKING

from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.routing import MAX_GENERATIONS
from agent_servicing.core.stages import Analyse, Retire, SetTraffic, StageRecord
from agent_servicing.core.status import DeploymentStatus, GenerationStatus, InstanceStatus, StageStatus, Verb, Verdict
from agent_servicing.ports import Lease
from agent_servicing.testing.simulation.moments import Committed, Order, Stop, guarded, returns
from agent_servicing.testing.simulation.plane import Served
from agent_servicing.testing.simulation.site import NEVER, Site

if TYPE_CHECKING:
    from agent_servicing.testing.simulation.world import World

SLACK_SECONDS = 1.0
"""Between a moment and the turn that can see it."""

UNSEEN_SECONDS = 5.0
"""What a jump of the wall clock may look like to a watch: the longest gap between two readings that still counts as watched."""

MANY = 200
BAD_PERCENT = 25
"""A candidate that answered so many requests of a watch, so many percent of them wrongly, is bad by any judge."""

CARRY_SLACK_PERCENT = 0.01


def every_request_is_served(_world: "World", site: Site, _state: AgentState, ready: int) -> str | None:
    """No request goes unserved unless faults took the instances."""
    lost = site.users.unserved - site.unserved
    if not lost or site.hurt or site.removing or not site.floor:
        return None
    return f"{lost} requests found nobody, although nothing happened to the {site.floor} instances that served ({ready} now)"


def capacity_never_falls_below_one_less(_world: "World", site: Site, _state: AgentState, ready: int) -> str | None:
    """Capacity leads traffic up and trails it down: whatever a strategy replaces, all but one instance's worth serves."""
    if site.hurt or site.removing or ready >= site.floor - 1:
        return None
    return f"only {ready} instances of {site.floor} are in service"


def actions_begin_under_a_valid_lease(world: "World", _site: Site, lease: Lease, until: float, name: str) -> str | None:
    """The lease cannot fence the outside world, so nothing is begun once it may be another's: by the wall clock, and in real time."""
    late = max((world.clock.now() - lease.expires_at).total_seconds(), world.seconds - until)
    return f"{name} was begun {late:.1f} s after the lease ended" if late >= 0 else None


def no_traffic_without_instances(_world: "World", _site: Site, order: Order) -> str | None:
    """A version without a ready instance gets nothing while another has some."""
    routing = order.routing
    candidate, stable = routing.generation(routing.candidate), routing.generation(routing.stable)
    if not routing.share or candidate is None or candidate.ready or stable is None or not stable.ready:
        return None
    return f"{routing.share:g} % for generation {candidate.generation}, which has nobody ready"


def share_is_carried(_world: "World", _site: Site, order: Order) -> str | None:
    """The effective share is never above what the candidate's ready instances carry."""
    routing = order.routing
    candidate, stable = routing.generation(routing.candidate), routing.generation(routing.stable)
    if candidate is None or stable is None or not any(b.instance in order.well for b in stable.backends if b.state == "ready"):
        return None
    most = 100 * min(candidate.ready, order.needed) / order.needed
    if routing.share <= most + CARRY_SLACK_PERCENT:
        return None
    return f"{routing.share:g} % on {candidate.ready} ready instances of {order.needed}"


def only_proven_instances_get_traffic(world: "World", site: Site, order: Order) -> str | None:
    """Nobody gets requests before a probe found it healthy."""
    for route in order.routing.generations:
        for backend in route.backends:
            body = world.runtime.body(site.agent, backend.instance)
            if body is not None and not body.proven:
                return f"{backend.instance} is put in service and was never healthy"
    return None


def what_was_taken_back_stays_away(_world: "World", site: Site, order: Order) -> str | None:
    """After a rollback the candidate's share is 0 and stays 0, for conversations too."""
    routing = order.routing
    if site.removing:
        return None
    if routing.candidate in site.banished and routing.share > 0:
        return f"{routing.share:g} % for generation {routing.candidate}, which was taken back"
    into = [new for new in routing.redirects.values() if new in site.banished]
    return f"conversations are sent to generation {into[0]}, which was taken back" if into else None


def nothing_in_service_is_stopped(_world: "World", _site: Site, stop: Stop) -> str | None:
    """An instance is signalled only after the data plane shows that it drains or is gone."""
    return f"{stop.name} is stopped while it takes new requests" if stop.in_service else None


def what_is_busy_is_let_finish(world: "World", site: Site, stop: Stop) -> str | None:
    """Work in progress ends by itself or its budget does."""
    body = world.runtime.body(site.agent, stop.name)
    if body is None or body.busy_until <= world.seconds or body.sick or not world.runtime.alive(site.agent, stop.name):
        return None
    if stop.instance is None or stop.instance.status is InstanceStatus.FAILED:
        return None
    budget = site.manifest.drain.stream_budget_seconds
    begun = stop.instance.draining_at
    if begun is not None and (world.clock.now() - begun).total_seconds() >= budget - SLACK_SECONDS:
        return None  # by the wall clock, which may have been set forward meanwhile
    if body.drains_since is not None and world.seconds - body.drains_since >= budget - SLACK_SECONDS:
        return None
    if body.drains_since is not None and world.jumped_since(body.drains_since, forward=True):
        return None  # its budget was over by the wall clock, which may have been set back since
    return f"{stop.name} is stopped with work in progress"


def the_last_healthy_is_never_let_go(world: "World", site: Site, moment: Committed) -> str | None:
    """Whatever the plan says: nobody healthy leaves the data plane while nobody else is ready."""
    if site.removing or any(i.status is InstanceStatus.READY for i in moment.state.instances):
        return None
    before = {i.instance: i for i in moment.before.state.instances}
    for instance in moment.state.instances:
        was = before.get(instance.instance)
        let_go = instance.status is InstanceStatus.DRAINING and instance.stopping_since is not None
        if was is None or was.stopping_since is not None or not let_go or was.ready_at is None:
            continue
        if world.runtime.able(site.agent, instance.instance):
            return f"{instance.instance} is healthy, nobody else is ready, and it is let go"
    return None


def stale_commits_change_nothing(world: "World", _site: Site, moment: Committed) -> str | None:
    """Only the holder of the lease writes; what is written comes with its events, what is not has none."""
    row = world.store.rows.get(moment.lease.agent)
    added = len(world.store.events) - moment.before.events
    if moment.written:
        if not moment.before.current:
            return "a commit with a lease that another holds was written"
        return None if added == len(moment.commit.events) else f"{added} events of {len(moment.commit.events)} were written"
    if added or row is None or row.state is not moment.before.state:
        return "a commit that was refused changed something"
    return None


def one_deployment_and_three_generations(_world: "World", _site: Site, moment: Committed) -> str | None:
    """At most one deployment is under way, at most three generations run."""
    active = [d.deployment for d in moment.state.deployments if d.active]
    if len(active) > 1:
        return f"{', '.join(active)} are under way at once"
    count = len(moment.state.generations)
    return f"{count} generations" if count > MAX_GENERATIONS else None


def every_gate_has_a_deadline(world: "World", _site: Site, moment: Committed) -> str | None:
    """A stage in progress has a deadline, and what is over it is acted upon."""
    for deployment in moment.state.deployments:
        for record in deployment.stages:
            if not deployment.active or record.status is not StageStatus.IN_PROGRESS:
                continue
            if record.deadline_at is None:
                return f"stage {record.stage.name} of {deployment.deployment} has no deadline"
            late = (moment.commit.next_at - record.deadline_at).total_seconds()
            if world.jumped_since(moment.began_at):
                continue  # the decision was made before the clock was set; the next one sees it
            if guarded(deployment) and deployment.status is not DeploymentStatus.PAUSED and late > 60:
                return f"stage {record.stage.name} of {deployment.deployment} is {late:.0f} s over its deadline"
    return None


def a_failing_verdict_is_acted_upon_at_once(_world: "World", _site: Site, moment: Committed) -> str | None:
    """In every state with traffic, paused and waiting included."""
    for deployment in moment.state.deployments:
        judgement = deployment.judgement
        if judgement is None or judgement.verdict is not Verdict.FAILING or not guarded(deployment):
            continue
        if deployment.overridden_by is not None:
            continue
        if moment.state.agent.candidate is not None and moment.state.agent.candidate == deployment.candidate:
            return f"{deployment.deployment} is {deployment.status} with a failing verdict: {judgement.sentence}"
    return None


def a_watch_ends_with_evidence(world: "World", site: Site, moment: Committed) -> str | None:
    """Missing data is never passing, and what is plainly bad never passes."""
    for before, after in moment.changed():
        for index, record in enumerate(after.stages):
            ended = record.status is StageStatus.COMPLETED and isinstance(record.stage, Analyse)
            was = before.stages[index] if before is not None and index < len(before.stages) else None
            if not ended or was is None or was.status is not StageStatus.IN_PROGRESS or after.candidate is None:
                continue
            if after.overridden_by is not None:
                continue
            marked = site.marks.get((after.deployment, index), (0, 0))
            answered, errors = (now - then for now, then in zip(site.truth(after.candidate), marked, strict=True))
            # The first reading of a watch also holds what came since the one before.
            recent = (
                site.users.answered_at.get(after.candidate, NEVER)
                >= world.seconds - site.lasted(after.deployment, index, world.seconds) - 2 * SLACK_SECONDS
            )
            if not answered and not recent:
                return f"{record.stage.name} of {after.deployment} ended well without a single request"
            policy = after.spec.policy
            strict = policy.enabled and policy.error_rate_threshold is not None and policy.error_rate_threshold < BAD_PERCENT / 2
            if strict and answered >= MANY and 100 * errors >= BAD_PERCENT * answered:
                return f"{record.stage.name} of {after.deployment} ended well with {errors} errors in {answered} requests"
    return None


def a_watch_lasts_its_time(world: "World", site: Site, moment: Committed) -> str | None:
    """In real time, which no wall clock shortens: one that was set forward ends deadlines and takes back, it never promotes."""
    for before, after in moment.changed():
        judgement = after.judgement
        early = after.spec.promote_early and judgement is not None and judgement.verdict is Verdict.PASSING
        for index, record in enumerate(after.stages):
            stage, was = record.stage, before.stages[index] if before is not None and index < len(before.stages) else None
            if was is None or was.status is not StageStatus.IN_PROGRESS or record.status is not StageStatus.COMPLETED or early:
                continue
            lasted = site.lasted(after.deployment, index, world.seconds)
            allowed = SLACK_SECONDS + UNSEEN_SECONDS * sum(jump.at >= world.seconds - lasted for jump in world.jumps)
            if isinstance(stage, Analyse) and lasted < stage.seconds - allowed:
                return f"{record.stage.name} of {after.deployment} ended well after {lasted:.1f} s of {stage.seconds:g} s"
    return None


def nothing_is_handed_over_unproven(world: "World", site: Site, moment: Committed) -> str | None:
    """A candidate becomes stable when every stage before is over, every watch passed or was skipped by an operator, and it is healthy."""
    deployment = moment.handover
    if deployment is None:
        return None
    unproven = _unproven(site, deployment)
    if unproven is not None:
        return unproven
    number = moment.state.agent.stable or 0
    ready = sum(i.generation == number and i.status is InstanceStatus.READY for i in moment.state.instances)
    recent = max(site.scaled_at, site.fallen_at.get(number, NEVER))
    needed = moment.state.agent.instances if world.seconds - recent > 60 else 0
    if ready < needed:
        return f"generation {number} is handed everything with {ready} ready instances of {needed}"
    return None


def _unproven(site: Site, deployment: Deployment) -> str | None:
    ask = site.asked.get(deployment.deployment)
    promoted = ask is not None and ask.promoted
    for record in deployment.stages:
        if isinstance(record.stage, Retire):
            return None
        if record.status not in (StageStatus.COMPLETED, StageStatus.SKIPPED):
            return f"{deployment.deployment} is handed over with stage {record.stage.name} {record.status}"
        if record.status is StageStatus.SKIPPED and not promoted:
            return f"{deployment.deployment} is handed over, stage {record.stage.name} was skipped, and nobody promoted it"
    return None


def retiring_waits_for_zero(world: "World", site: Site, moment: Committed) -> str | None:
    """Old instances leave after a time without new requests, never in the turn that took their traffic."""
    for before, after in moment.changed():
        for index, record in enumerate(after.stages):
            if not isinstance(record.stage, Retire) or record.status is not StageStatus.COMPLETED:
                continue
            was = before.stages[index] if before is not None and index < len(before.stages) else None
            lasted = site.lasted(after.deployment, index, world.seconds)
            if was is None or was.status is not StageStatus.IN_PROGRESS or lasted >= 0.5 or world.jumped_since(world.seconds - lasted):
                continue
            leaving = after.stable if record.stage.target == "stable" else after.candidate
            if any(g.number == leaving for g in moment.state.generations):
                return f"{record.stage.name} of {after.deployment} was over after {lasted:.2f} s"
    return None


def verbs_are_obeyed(_world: "World", _site: Site, moment: Committed) -> str | None:
    """A cancel or pause that was taken shows at once, whatever the deployment is doing."""
    after = {d.deployment: d for d in moment.state.deployments}
    for intent in moment.taken:
        was, now = moment.before.deployments.get(intent.deployment or ""), after.get(intent.deployment or "")
        if was is None or now is None or not guarded(was):
            continue
        if intent.verb is Verb.CANCEL and not returns(now) and not now.handed_over:
            return f"{now.deployment} was cancelled and is {now.status}"
    return None


def every_end_has_one_closing_entry(_world: "World", site: Site, moment: Committed) -> str | None:
    """A terminal deployment has exactly one closing entry in the audit, an unfinished one none."""
    for _, after in moment.changed():
        ask = site.asked.get(after.deployment)
        if ask is not None and ask.closings != int(after.terminal):
            return f"{after.deployment} is {after.status} and has {ask.closings} closing entries"
    return None


def the_end_of_a_retreat_is_an_end(_world: "World", site: Site, moment: Committed) -> str | None:
    """A deployment that was taken back leaves no wish for traffic behind."""
    agent = moment.state.agent
    if site.removing:
        return None
    for _, after in moment.changed():
        back = after.terminal and after.status is not DeploymentStatus.COMPLETED and after.candidate is not None
        if back and after.candidate == agent.candidate:
            return f"{after.deployment} is {after.status} and its generation {agent.candidate} still is the candidate"
    return None


def a_pin_holds(world: "World", site: Site, request: Served) -> str | None:
    """A conversation that belongs to a live generation does not change version unless traffic is being taken back."""
    row = world.store.rows.get(site.agent)
    if request.pin is None or row is None or request.by == request.pin or site.dirty or site.removing:
        return None
    generation = next((g for g in row.state.generations if g.number == request.pin), None)
    if generation is None or request.pin in row.state.agent.redirects:
        return _moved_for_a_reason(world, site, row.state, request.pin)
    if generation.status is not GenerationStatus.LIVE and not _within_budget(world, site, row.state, request.pin):
        return None
    well = any(i.generation == request.pin and world.runtime.able(site.agent, i.instance) for i in row.state.instances)
    recently = world.seconds - site.fallen_at.get(request.pin, NEVER) < 60
    if not well or recently or site.hurt or not world.quiet:
        return None
    return f"conversation {request.conversation} belongs to generation {request.pin} and was answered by {request.by}"


def _moved_for_a_reason(world: "World", site: Site, state: AgentState, pin: int) -> str | None:
    """Its generation is gone, or its conversations are redirected: after a retreat, a rollback, or the budget's end, and for no other reason."""
    generation = next((g for g in state.generations if g.number == pin), None)
    if generation is None or generation.status is not GenerationStatus.DRAINING or not _within_budget(world, site, state, pin):
        return None
    deployments = (*state.deployments, *world.store.history.values())
    if any(returns(d) for d in deployments if d.agent == site.agent):
        return None
    return f"conversations of generation {pin} were moved before their budget ended"


def _within_budget(world: "World", site: Site, state: AgentState, pin: int) -> bool:
    generation = next((g for g in state.generations if g.number == pin), None)
    if generation is None or generation.draining_since is None or generation.status is GenerationStatus.STOPPING:
        return False
    spent = (world.clock.now() - generation.draining_since).total_seconds()
    return spent < site.manifest.drain.conversation_timeout_seconds - SLACK_SECONDS


def what_was_taken_back_answers_nobody(world: "World", site: Site, request: Served) -> str | None:
    """Open conversations leave a version that was taken back at their next request."""
    row = world.store.rows.get(site.agent)
    if request.by is None or row is None or site.dirty or not world.quiet or site.hurt:
        return None
    if request.by not in site.banished and (request.routing.share > 0 or request.by not in _left(row.state)):
        return None
    if not site.users.usable(request.routing.generation(request.routing.stable)):
        return None
    return f"conversation {request.conversation} was answered by generation {request.by}, which was taken back"


def nobody_is_asked_twice(_world: "World", _site: Site, moment: Committed) -> str | None:
    """The kind of a deployment and its candidate never change while it is under way."""
    for before, after in moment.changed():
        if before is None or not before.active:
            continue
        if (before.kind, before.candidate, before.stable) != (after.kind, after.candidate, after.stable):
            return f"{after.deployment} changed what it is about"
    return None


def _left(state: AgentState) -> set[int | None]:
    """Candidates whose traffic is being taken back, conversations included."""
    retreats = (d for d in state.deployments if d.status is DeploymentStatus.ROLLING_BACK)
    return {d.candidate for d in retreats for r in d.stages if _sends_away(r)}


def _sends_away(record: StageRecord) -> bool:
    gone = isinstance(record.stage, SetTraffic) and record.stage.percent == 0 and record.stage.move_conversations
    return gone and record.status in (StageStatus.IN_PROGRESS, StageStatus.COMPLETED)


ON_STEP = (every_request_is_served, capacity_never_falls_below_one_less)
ON_ACTION = (actions_begin_under_a_valid_lease,)
ON_ORDER = (
    no_traffic_without_instances,
    share_is_carried,
    only_proven_instances_get_traffic,
    what_was_taken_back_stays_away,
)
ON_STOP = (nothing_in_service_is_stopped, what_is_busy_is_let_finish)
ON_ANY_COMMIT = (stale_commits_change_nothing,)
ON_COMMIT = (
    one_deployment_and_three_generations,
    the_last_healthy_is_never_let_go,
    every_gate_has_a_deadline,
    a_failing_verdict_is_acted_upon_at_once,
    a_watch_ends_with_evidence,
    a_watch_lasts_its_time,
    nothing_is_handed_over_unproven,
    retiring_waits_for_zero,
    verbs_are_obeyed,
    every_end_has_one_closing_entry,
    the_end_of_a_retreat_is_an_end,
    nobody_is_asked_twice,
)
ON_SERVED = (a_pin_holds, what_was_taken_back_answers_nobody)
