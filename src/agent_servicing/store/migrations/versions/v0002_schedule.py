"""The line (freezes, windows, stop, limit), operators' locks, and a count of edits to waiting deployments."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"

_Name = sa.String(200)
_Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    line = op.create_table(
        "line",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="line_one_row"), primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.bulk_insert(line, [{"id": 1, "body": "{}"}])
    op.create_table(
        "locks",
        sa.Column("agent", _Name, sa.ForeignKey("agents.agent", ondelete="CASCADE"), primary_key=True),
        sa.Column("holder", _Name, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since", _Time, nullable=False),
        sa.Column("expires_at", _Time, nullable=False),
    )
    op.add_column("deployments", sa.Column("edits", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("deployments", "edits")
    op.drop_table("locks")
    op.drop_table("line")
