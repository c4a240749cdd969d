"""What tells people things, in one value: notifications, where they are sent, the sending, and reports. Built with the others by `services.all`."""

from dataclasses import dataclass

from agent_servicing.ports import Clock, EventBus, Ids, Runtime
from agent_servicing.ports.outward import Outside
from agent_servicing.services.issue_facts import FactFinder
from agent_servicing.services.issue_settings import IssueSettings
from agent_servicing.services.issues import Issues
from agent_servicing.services.notifications import Notifications
from agent_servicing.services.outward import Outward
from agent_servicing.services.outward_settings import OutwardStore
from agent_servicing.services.redaction import Redactor
from agent_servicing.services.secrets import Secrets
from agent_servicing.settings import Settings
from agent_servicing.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    notifications: Notifications
    outward: Outward
    settings: OutwardStore
    issues: Issues
    tracker: IssueSettings
    secrets: Secrets

    async def load(self) -> None:
        """Once, at the start, before anything is logged that could hold a secret or an address."""
        await self.secrets.load()
        await self.settings.load()


def build_telling(
    *,
    database: Database,
    clock: Clock,
    ids: Ids,
    bus: EventBus,
    settings: Settings,
    secrets: Secrets,
    masks: Redactor,
    to: Outside,
    of: Runtime,
) -> Telling:
    """`to`: whoever is told outside; `of`: whose instances' logs reports are made of."""
    store = OutwardStore(database=database, clock=clock, ids=ids, settings=settings, secrets=secrets, redactor=masks, sender=to.sender)
    outward = Outward(database=database, clock=clock, ids=ids, settings=settings, store=store, sender=to.sender)
    notifications = Notifications(database=database, clock=clock, ids=ids, bus=bus, settings=settings, outward=outward)
    where = IssueSettings(database=database, clock=clock, ids=ids, settings=settings, secrets=secrets)
    facts = FactFinder(database=database, runtime=of, masker=masks)
    issues = Issues(database=database, clock=clock, ids=ids, settings=settings, where=where, facts=facts, masker=masks, tracker=to.tracker)
    return Telling(notifications=notifications, outward=outward, settings=store, issues=issues, tracker=where, secrets=secrets)
