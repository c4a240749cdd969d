"""How far each sink for audit entries has come."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision: str | None = "0012"

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit_sinks",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("position", _Number, nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True)),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("audit_sinks")
