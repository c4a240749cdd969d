"""What sources and people say of versions: deprecated, withdrawn."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision: str | None = "0011"

_Name = sa.String(200)


def upgrade() -> None:
    op.add_column("versions", sa.Column("standing", sa.String(20), nullable=False, server_default="available"))
    op.create_table(
        "version_marks",
        sa.Column("agent", _Name, sa.ForeignKey("agents.agent", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", _Name, primary_key=True),
        sa.Column("standing", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", _Name, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("version_marks")
    op.drop_column("versions", "standing")
