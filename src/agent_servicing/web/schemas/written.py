"""What was written since a snapshot, as answers about rollbacks and states show it."""

from pydantic import Field

from agent_servicing.web.schemas.common import View


class PlaceView(View):
    place: str = Field(description="A file, or a table of a database")
    added: int
    changed: int
    removed: int


class WrittenView(View):
    """A record is a row of a database, a line of a JSON-lines file, or a file."""

    snapshot: str
    records: int = Field(description="Added or changed since, so not in the snapshot as they are now")
    removed: int = Field(description="Removed since: a restore would bring them back")
    places: list[PlaceView]
    notes: list[str]
