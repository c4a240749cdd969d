"""Secrets, encrypted."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0005"

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_Name = sa.String(200)


def upgrade() -> None:
    op.create_table(
        "secrets",
        sa.Column("number", _Number, primary_key=True, autoincrement=True),
        sa.Column("name", _Name, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("agent", _Name),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("fingerprint", sa.String(16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", _Name, nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("name", "version", name="secrets_version"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("secrets")
