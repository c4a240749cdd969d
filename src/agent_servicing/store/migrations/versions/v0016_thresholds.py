"""Default thresholds of upgrades: for all agents, and for single ones."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision: str | None = "0015"


def upgrade() -> None:
    op.create_table(
        "thresholds",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="thresholds_one_row"), primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.execute("INSERT INTO thresholds (id, body) VALUES (1, '{}')")
    op.create_table(
        "agent_thresholds",
        sa.Column("agent", sa.String(200), sa.ForeignKey("agents.agent", ondelete="CASCADE"), primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("agent_thresholds")
    op.drop_table("thresholds")
