"""The tables beside the audit entries themselves, as the newest migration leaves them. Read by `store`."""

from sqlalchemy import Column, Integer, Table, Text

from agent_servicing.store.tables import Name, Number, UtcDateTime, metadata

audit_sinks = Table(
    "audit_sinks",
    metadata,
    Column("name", Name, primary_key=True),
    Column("position", Number, nullable=False),
    Column("delivered_at", UtcDateTime),
    Column("failures", Integer, nullable=False),
    Column("problem", Text, nullable=False),
)
"""How far each sink for audit entries has come: `position` is the number of the last entry that was delivered."""
