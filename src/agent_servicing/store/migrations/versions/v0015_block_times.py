"""When each block was closed, so that the figures of a deployment can be drawn over time."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision: str | None = "0014"


def upgrade() -> None:
    op.add_column("blocks", sa.Column("at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("blocks", "at")
