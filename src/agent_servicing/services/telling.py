"""What tells people things, in one value: notifications, where they are sent, and the sending. Built with the others by `services.all`."""

from dataclasses import dataclass

from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.ports.outward import Sender
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
    secrets: Secrets

    async def load(self) -> None:
        """Once, at the start, before anything is logged that could hold a secret or an address."""
        await self.secrets.load()
        await self.settings.load()


def build_telling(
    *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings, secrets: Secrets, redactor: Redactor, sender: Sender
) -> Telling:
    store = OutwardStore(database=database, clock=clock, ids=ids, settings=settings, secrets=secrets, redactor=redactor, sender=sender)
    outward = Outward(database=database, clock=clock, ids=ids, settings=settings, store=store, sender=sender)
    notifications = Notifications(database=database, clock=clock, ids=ids, bus=bus, settings=settings, outward=outward)
    return Telling(notifications=notifications, outward=outward, settings=store, secrets=secrets)
