"""Reports of deployments: what was kept, and where it was sent."""

import sqlalchemy as sa
from alembic import op

revision = "0011b"
down_revision: str | None = "0008"

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_Name = sa.String(200)
_Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "issue_settings",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="issue_settings_one_row"), primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.execute("INSERT INTO issue_settings (id, revision, body) VALUES (1, 0, '{}')")
    op.create_table(
        "issues",
        sa.Column("number", _Number, primary_key=True, autoincrement=True),
        sa.Column("issue", _Name, nullable=False, unique=True),
        sa.Column("agent", _Name, nullable=False),
        sa.Column("deployment", _Name),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("actor", _Name, nullable=False),
        sa.Column("at", _Time, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("bundle", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("url", sa.Text, nullable=False, server_default=""),
        sa.Column("problem", sa.Text, nullable=False, server_default=""),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_at", _Time),
        sa.Column("give_up_at", _Time),
        sa.Index("issues_of_agent", "agent", "number"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("issues")
    op.drop_table("issue_settings")
