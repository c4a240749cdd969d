"""Numbered audit entries that nobody can change or remove, and indexes for every filter.

The hash now covers the entry's number (ADR 0023). Entries from before are numbered and chained anew, once.
"""

import sqlalchemy as sa
from alembic import op

from agent_servicing.core.audit import GENESIS, Record, digest, moment
from agent_servicing.store.append_only import guards
from agent_servicing.store.tables import UtcDateTime

revision = "0012"
down_revision: str | None = "0011b"

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_AUDIT = sa.text("audit")
_BATCH = 1_000

_events = sa.table(
    "events",
    *(sa.column(name) for name in ("seq", "event_id", "type", "agent", "deployment", "actor", "reason", "audit", "data")),
    sa.column("at", UtcDateTime()),
    *(sa.column(name) for name in ("entry", "previous", "digest")),
)

_INDEXES = {
    "audit_by_time": ("at", "seq", "agent", "type", "actor", "status"),
    "audit_by_agent": ("agent", "at", "seq", "type", "actor", "status"),
    "audit_by_type": ("type", "at", "seq", "agent", "actor", "status"),
    "audit_by_actor": ("actor", "at", "seq", "agent", "type", "status"),
    "audit_by_status": ("status", "at", "seq", "agent", "type", "actor"),
}


def upgrade() -> None:
    op.add_column("events", sa.Column("entry", _Number))
    op.add_column("events", sa.Column("previous", sa.String(64)))
    op.add_column("log_head", sa.Column("archived_entries", _Number, nullable=False, server_default="0"))
    op.add_column("log_head", sa.Column("archived_head", sa.String(64), nullable=False, server_default=GENESIS))
    _chain_anew(op.get_bind())
    op.create_index("audit_entry", "events", ["entry"], unique=True, sqlite_where=_AUDIT, postgresql_where=_AUDIT)
    for name, columns in _INDEXES.items():
        op.create_index(name, "events", list(columns), sqlite_where=_AUDIT, postgresql_where=_AUDIT)
    for statement in guards(op.get_bind().dialect.name):
        op.execute(sa.text(statement))


def _chain_anew(connection: sa.Connection) -> None:
    head, entries, after = GENESIS, 0, 0
    change = (
        sa.update(_events)
        .where(_events.c.seq == sa.bindparam("of"))
        .values(entry=sa.bindparam("number"), previous=sa.bindparam("before"), digest=sa.bindparam("hash"))
    )
    query = sa.select(_events).where(_AUDIT).order_by(_events.c.seq).limit(_BATCH)
    while rows := connection.execute(query.where(_events.c.seq > after)).all():
        changed = []
        for row in rows:
            entries += 1
            said = (row.type, moment(row.at), row.agent, row.deployment, row.actor, row.reason, row.data)
            found = digest(Record(head, entries, row.seq, row.event_id, *said, None))
            changed.append({"of": row.seq, "number": entries, "before": head, "hash": found})
            head, after = found, row.seq
        connection.execute(change, changed)
    connection.execute(sa.text("UPDATE log_head SET audit_entries = :entries, audit_head = :head"), {"entries": entries, "head": head})


def downgrade() -> None:
    """Entries whose hashes cover their numbers cannot be made ones that do not."""
