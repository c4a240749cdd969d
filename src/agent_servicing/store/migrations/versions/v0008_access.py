"""Users, sessions, sign-in links; when a token was last used; agents that need a second person's approval."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0009"

_Name = sa.String(200)
_Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("tokens", sa.Column("last_used_at", _Time))
    op.create_table(
        "users",
        sa.Column("user_id", _Name, primary_key=True),
        sa.Column("name", _Name, nullable=False),
        sa.Column("folded", sa.String(400), nullable=False, unique=True),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("agents", sa.Text),
        sa.Column("grants", sa.Text, nullable=False),
        sa.Column("password", sa.Text),
        sa.Column("identity", sa.Text, unique=True),
        sa.Column("created_at", _Time, nullable=False),
        sa.Column("password_set_at", _Time),
        sa.Column("signed_in_at", _Time),
        sa.Column("disabled_at", _Time),
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", _Name, primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("user_id", _Name, sa.ForeignKey("users.user_id", ondelete="CASCADE"), index=True),
        sa.Column("token_id", _Name, sa.ForeignKey("tokens.token_id", ondelete="CASCADE"), index=True),
        sa.Column("method", sa.String(20), nullable=False),
        sa.Column("address", sa.String(100), nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("created_at", _Time, nullable=False),
        sa.Column("seen_at", _Time, nullable=False),
        sa.Column("expires_at", _Time, nullable=False, index=True),
        sa.CheckConstraint("(user_id IS NULL) <> (token_id IS NULL)", name="sessions_one_holder"),
    )
    op.create_table(
        "sign_in_links",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("user_id", _Name, sa.ForeignKey("users.user_id", ondelete="CASCADE")),
        sa.Column("token_id", _Name, sa.ForeignKey("tokens.token_id", ondelete="CASCADE")),
        sa.Column("created_at", _Time, nullable=False),
        sa.Column("expires_at", _Time, nullable=False),
        sa.CheckConstraint("(user_id IS NULL) <> (token_id IS NULL)", name="sign_in_links_one_holder"),
    )
    op.create_table(
        "approvals",
        sa.Column("agent", _Name, sa.ForeignKey("agents.agent", ondelete="CASCADE"), primary_key=True),
        sa.Column("set_by", _Name, nullable=False),
        sa.Column("since", _Time, nullable=False),
    )


def downgrade() -> None:
    for name in ("approvals", "sign_in_links", "sessions", "users"):
        op.drop_table(name)
    op.drop_column("tokens", "last_used_at")
