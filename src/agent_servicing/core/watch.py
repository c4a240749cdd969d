"""First step of a decision: what processes and probes say becomes the status of instances. Decides nothing about traffic or deployments."""

from dataclasses import replace

from agent_servicing.core import events
from agent_servicing.core.actions import ForgetInstance
from agent_servicing.core.draft import Draft
from agent_servicing.core.limits import CRASH_WINDOW_SECONDS, CRASHES_KEPT, CRASHES_OF_A_LOOP, EVENT_TEXT_CHARACTERS
from agent_servicing.core.model import Instance, Probe, Process
from agent_servicing.core.status import GenerationStatus, InstanceStatus

_LIVING = (InstanceStatus.STARTING, InstanceStatus.READY)


def watch(draft: Draft) -> None:
    if draft.world.processes is None:
        return
    for instance in list(draft.instances.values()):
        process = draft.world.processes.get(instance.instance)
        if instance.status in _LIVING:
            _living(draft, instance, process)
        elif instance.status is InstanceStatus.DRAINING and (process is None or not process.alive):
            draft.tell(events.INSTANCE_STOPPED, instance=instance.instance, version=instance.version)
            _drop(draft, instance, process)
    _forget_failed(draft)


def unhealthy(draft: Draft, instance: Instance) -> bool:
    """Its probes fail, although it may still be in rotation because it is the last one."""
    return instance.unhealthy_in_a_row >= draft.manifest(instance.version).health.unhealthy_after


def _living(draft: Draft, instance: Instance, process: Process | None) -> None:
    if process is None:
        if instance.started_at is not None:
            _fail(draft, instance, reason="its process record is gone", exit_code=None)
        elif draft.since(instance.created_at) > draft.manifest(instance.version).health.startup_timeout_seconds:
            _fail(draft, instance, reason="could not be started in time", exit_code=None)
        return
    if not process.alive:
        code = "" if process.exit_code is None else f" with code {process.exit_code}"
        tail = process.last_output.strip()[-EVENT_TEXT_CHARACTERS:]
        _fail(draft, instance, reason=f"exited{code}" + (f": {tail}" if tail else ""), exit_code=process.exit_code)
        return
    seen = instance
    begun = process.started_at or draft.now
    if (seen.host, seen.port, seen.pid, seen.started_at) != (process.host, process.port, process.pid, begun):
        seen = replace(seen, host=process.host, port=process.port, pid=process.pid, started_at=begun)
    seen = _probed(draft, seen, draft.world.probes.get(instance.instance))
    draft.put(seen)
    health = draft.manifest(instance.version).health
    if seen.status is InstanceStatus.STARTING:
        draft.wake_in(min(0.25, health.interval_seconds))
        if seen.healthy_in_a_row >= health.healthy_after:
            draft.put(replace(seen, status=InstanceStatus.READY, ready_at=draft.now, reason=""))
            draft.tell(events.INSTANCE_READY, instance=seen.instance, version=seen.version)
        elif not seen.healthy_in_a_row and draft.since(seen.started_at) > health.startup_timeout_seconds:
            # Not while it answers: after our own absence the first look may come late, and it needs a few more to be ready.
            detail = f": {seen.reason}" if seen.reason else ""
            _fail(draft, seen, reason=f"not healthy within {health.startup_timeout_seconds:g} s{detail}", exit_code=None)
    elif unhealthy(draft, seen) and _others_ready(draft, seen):
        _fail(draft, seen, reason=f"unhealthy: {seen.reason}", exit_code=None)


def _probed(draft: Draft, instance: Instance, probe: Probe | None) -> Instance:
    """Counts stop at their limits, so that an instance that stays as it is changes nothing and costs no write."""
    if probe is None:
        return instance
    health = draft.manifest(instance.version).health
    if probe.healthy:
        good = min(instance.healthy_in_a_row + 1, health.healthy_after)
        return replace(instance, healthy_in_a_row=good, unhealthy_in_a_row=0, probed_at=probe.at, reason="")
    bad = min(instance.unhealthy_in_a_row + 1, health.unhealthy_after)
    return replace(instance, healthy_in_a_row=0, unhealthy_in_a_row=bad, probed_at=probe.at, reason=probe.detail)


def _others_ready(draft: Draft, instance: Instance) -> bool:
    """Whether this one may leave rotation: an unhealthy instance still beats none at all, and a warm one is in none.

    On a machine without time to spare, warm instances miss their checks; ending them for it would make the rollback a cold one.
    """
    generation = draft.generations.get(instance.generation)
    if generation is not None and generation.status is GenerationStatus.WARM:
        return False
    return any(i.instance != instance.instance and not unhealthy(draft, i) for i in draft.ready(instance.generation))


def _fail(draft: Draft, instance: Instance, *, reason: str, exit_code: int | None) -> None:
    draft.put(replace(instance, status=InstanceStatus.FAILED, exit_code=exit_code, reason=reason, stopping_since=draft.now))
    draft.tell(events.INSTANCE_UNHEALTHY, instance=instance.instance, version=instance.version, problem=reason)
    draft.wake_in(0)
    generation = draft.generations.get(instance.generation)
    if generation is None or generation.status is GenerationStatus.STOPPING:
        return
    recent = (*(c for c in generation.crashes if draft.since(c) < CRASH_WINDOW_SECONDS), draft.now)[-CRASHES_KEPT:]
    looping = len(recent) >= CRASHES_OF_A_LOOP
    if looping and not generation.crash_looping:
        draft.tell(events.CRASH_LOOP, version=generation.version, crashes=len(recent), problem=reason)
    draft.put(replace(generation, crashes=recent, crash_looping=looping))


def _forget_failed(draft: Draft) -> None:
    """A failed instance is shown until another holds its place; then its record goes, its log stays."""
    processes = draft.world.processes or {}
    for instance in list(draft.instances.values()):
        if instance.status is not InstanceStatus.FAILED:
            continue
        process = processes.get(instance.instance)
        dead = process is None or not process.alive
        replaced = any(i.place == instance.place and i.status in _LIVING for i in draft.of(instance.generation))
        generation = draft.generations.get(instance.generation)
        unwanted = generation is None or generation.status is GenerationStatus.STOPPING or instance.place > generation.desired
        if dead and (replaced or unwanted):
            _drop(draft, instance, process)


def _drop(draft: Draft, instance: Instance, process: Process | None) -> None:
    del draft.instances[instance.instance]
    if process is not None:
        draft.do(ForgetInstance(agent=draft.agent.agent, instance=instance.instance))
