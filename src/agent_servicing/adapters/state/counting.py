"""Adds records up by place while they pass by. Used by `epochs`."""

from dataclasses import dataclass, field, replace

from agent_servicing.adapters.state.records import Record
from agent_servicing.core.state import PlaceCount, Written


@dataclass(slots=True)
class Counted:
    places: dict[str, PlaceCount] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def add(self, record: Record) -> None:
        found = self.places.setdefault(record.place, PlaceCount(place=record.place))
        match record.change:
            case "added":
                found = replace(found, added=found.added + 1)
            case "changed":
                found = replace(found, changed=found.changed + 1)
            case "removed":
                found = replace(found, removed=found.removed + 1)
        self.places[record.place] = found

    def written(self, snapshot: str) -> Written:
        return Written(snapshot=snapshot, places=tuple(self.places[place] for place in sorted(self.places)), notes=self.notes)
