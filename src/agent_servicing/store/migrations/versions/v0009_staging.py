"""Staging runs, and the gate before production."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision: str | None = "0010"

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_Name = sa.String(200)


def upgrade() -> None:
    op.create_table(
        "staging_runs",
        sa.Column("number", _Number, primary_key=True, autoincrement=True),
        sa.Column("run", _Name, nullable=False, unique=True),
        sa.Column("agent", _Name, sa.ForeignKey("agents.agent", ondelete="CASCADE"), nullable=False),
        sa.Column("version", _Name, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wishes", sa.Text, nullable=False, server_default="[]"),
        sa.Column("results", sa.Text, nullable=False, server_default="{}"),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("staging_runs_of_agent", "staging_runs", ["agent", "number"])
    op.create_index("staging_runs_status", "staging_runs", ["status"])
    op.create_table(
        "staging_gates",
        sa.Column("agent", _Name, sa.ForeignKey("agents.agent", ondelete="CASCADE"), primary_key=True),
        sa.Column("required", sa.Boolean, nullable=False),
        sa.Column("fresh_hours", sa.Double, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("staging_gates")
    op.drop_table("staging_runs")
