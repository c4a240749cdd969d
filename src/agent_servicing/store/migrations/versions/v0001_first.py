"""The first schema: agents, deployments, versions, intents, the event log, tokens, idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_Name = sa.String(200)
_Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_log()
    _create_agents()
    _create_deployments()
    _create_access()


def _create_log() -> None:
    head = op.create_table(
        "log_head",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="log_head_one_row"), primary_key=True, autoincrement=False),
        sa.Column("last_seq", _Number, nullable=False),
        sa.Column("audit_entries", _Number, nullable=False),
        sa.Column("audit_head", sa.String(64), nullable=False),
        sa.Column("pruned_seq", _Number, nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "last_seq": 0, "audit_entries": 0, "audit_head": "0" * 64, "pruned_seq": 0}])
    op.create_table(
        "events",
        sa.Column("seq", _Number, primary_key=True, autoincrement=False),
        sa.Column("event_id", _Name, nullable=False, unique=True),
        sa.Column("type", sa.String(60), nullable=False),
        sa.Column("at", _Time, nullable=False),
        sa.Column("agent", _Name),
        sa.Column("deployment", _Name),
        sa.Column("actor", _Name, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("audit", sa.Boolean, nullable=False),
        sa.Column("status", sa.String(40)),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64)),
    )
    op.create_index("events_of_agent", "events", ["agent", "seq"])
    op.create_index("events_of_deployment", "events", ["deployment", "seq"])
    op.create_index("events_audit", "events", ["seq"], sqlite_where=sa.text("audit"), postgresql_where=sa.text("audit"))


def _create_agents() -> None:
    op.create_table(
        "agents",
        sa.Column("agent", _Name, primary_key=True),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("created_at", _Time, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("due_at", _Time, nullable=False),
        sa.Column("woken", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("lease_token", sa.String(100)),
        sa.Column("lease_expires_at", _Time),
        sa.Column("refreshed_at", _Time),
        sa.Column("source_problem", sa.Text, nullable=False, server_default=""),
    )
    op.create_index("agents_due", "agents", ["due_at"])
    op.create_table(
        "versions",
        sa.Column("agent", _Name, sa.ForeignKey("agents.agent", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", _Name, primary_key=True),
        sa.Column("ref", sa.Text, nullable=False),
        sa.Column("released_at", _Time),
        sa.Column("discovered_at", _Time, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("security", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("critical", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("moved_ref", sa.Text),
        sa.Column("problem", sa.Text, nullable=False, server_default=""),
    )


def _create_deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("number", _Number, primary_key=True, autoincrement=True),
        sa.Column("deployment", _Name, nullable=False, unique=True),
        sa.Column("agent", _Name, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("to_version", _Name, nullable=False),
        sa.Column("requested_at", _Time, nullable=False),
        sa.Column("finished_at", _Time),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("deployments_of_agent", "deployments", ["agent", "number"])
    op.create_index("deployments_status", "deployments", ["status"])
    op.create_table(
        "intents",
        sa.Column("intent", _Number, primary_key=True, autoincrement=True),
        sa.Column("agent", _Name, sa.ForeignKey("agents.agent", ondelete="CASCADE"), nullable=False),
        sa.Column("verb", sa.String(20), nullable=False),
        sa.Column("actor", _Name, nullable=False),
        sa.Column("at", _Time, nullable=False),
        sa.Column("deployment", _Name),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("value", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_intents_agent", "intents", ["agent"])


def _create_access() -> None:
    op.create_table(
        "tokens",
        sa.Column("token_id", _Name, primary_key=True),
        sa.Column("name", _Name, nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("agents", sa.Text),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", _Time, nullable=False),
        sa.Column("expires_at", _Time),
        sa.Column("revoked_at", _Time),
    )
    op.create_table(
        "idempotency",
        sa.Column("principal", _Name, primary_key=True),
        sa.Column("key", sa.String(300), primary_key=True),
        sa.Column("method", sa.String(10), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("created_at", _Time, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("body", sa.LargeBinary),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])


def downgrade() -> None:
    """There is nothing before the first schema."""
