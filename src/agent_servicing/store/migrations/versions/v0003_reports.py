"""Metrics that agents report about themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0001"

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_Name = sa.String(200)


def upgrade() -> None:
    op.create_table(
        "reports",
        sa.Column("number", _Number, primary_key=True, autoincrement=True),
        sa.Column("agent", _Name, sa.ForeignKey("agents.agent", ondelete="CASCADE"), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("instance", _Name, nullable=False),
        sa.Column("metric", sa.String(63), nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("reports_of_agent", "reports", ["agent", "number"])
    op.create_index("reports_counted", "reports", ["agent", "metric", "at", "generation", "value"])


def downgrade() -> None:
    op.drop_table("reports")
