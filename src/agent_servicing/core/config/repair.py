"""Whoever has another configuration than the one in force is given it again: desired state, like processes and traffic. A step of `decide`.

It happens to instances that became ready while a change went through, to those that did not get back what they had in time, and when
somebody changes a file behind our back. While a change is under way that change decides.
"""

from dataclasses import replace
from typing import Final

from agent_servicing.core import events
from agent_servicing.core.actions import CommitConfig
from agent_servicing.core.config.layers import ConfigDocument
from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.draft import Draft
from agent_servicing.core.events import SYSTEM
from agent_servicing.core.model import Instance
from agent_servicing.core.status import InstanceStatus

AGAIN_SECONDS: Final = 10.0
"""Between two attempts with one instance: its answer has to come, and whatever stands in the way must not be hammered."""

ANSWER_SECONDS: Final = 3.0


def repair(draft: Draft) -> None:
    """Nothing that an instance refused is offered again: it stays as it is and is shown as drifted."""
    if draft.removing or (draft.patch is not None and draft.patch.open):
        return
    documents: dict[str, ConfigDocument] = {}
    for instance in list(draft.instances.values()):
        report = (draft.world.configs or {}).get(instance.instance)
        if report is None or instance.status is not InstanceStatus.READY or draft.manifest(instance.version).config.reload == "restart":
            continue
        wanted = draft.document(instance)
        if not _drifted(report, wanted):
            continue
        waited = draft.since(instance.config_told_at)
        if instance.config_told_at is not None and waited < AGAIN_SECONDS:
            draft.wake_in(AGAIN_SECONDS - waited)
            continue
        documents[instance.instance] = wanted
        draft.put(replace(instance, config_told_at=draft.now))
        _tell(draft, instance, wanted, report)
    if documents:
        draft.do(CommitConfig(agent=draft.agent.agent, documents=documents, deadline_seconds=ANSWER_SECONDS))
        draft.wake_in(AGAIN_SECONDS)


def _drifted(report: ConfigReport, wanted: ConfigDocument) -> bool:
    """An instance that speaks for itself and names no configuration has said nothing; where only its file is known, none is a lost one."""
    if report.applied == wanted.key or (report.applied is None and report.level != "file"):
        return False
    attempt = report.attempt
    declined = ("rejected", "reverted") if report.level == "file" else ("rejected", "failed", "reverted")
    return attempt is None or attempt.key != wanted.key or attempt.result not in declined


def _tell(draft: Draft, instance: Instance, wanted: ConfigDocument, report: ConfigReport) -> None:
    found = {None: "nothing", "": "something else"}.get(report.applied, "another revision")
    data: dict[str, object] = {
        "instance": instance.instance,
        "version": instance.version,
        "config_version": wanted.revision,
        "found": found,
        "level": report.level,
    }
    reason = f"{instance.instance} had {found} instead of {wanted.revision}"
    draft.tell(events.CONFIG_DRIFTED, actor=SYSTEM, reason=reason, audit=True, data=data)
