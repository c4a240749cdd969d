"""The tables of default thresholds, as the newest migration leaves them. Read by `store`."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, Table, Text

from agent_servicing.store.tables import Name, metadata

thresholds = Table(
    "thresholds",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="thresholds_one_row"), primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)
"""One row: what operators set for all agents, a JSON object that holds only what was set."""

agent_thresholds = Table(
    "agent_thresholds",
    metadata,
    Column("agent", Name, ForeignKey("agents.agent", ondelete="CASCADE"), primary_key=True),
    Column("body", Text, nullable=False),
)
"""The same for single agents. No row: nothing of its own."""
