"""Notifications: what people are told, who has read it, whom it is sent to."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision: str | None = "0007"

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_Name = sa.String(200)
_Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    _notifications()
    _outward()


def _notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("number", _Number, primary_key=True, autoincrement=True),
        sa.Column("notification", _Name, nullable=False, unique=True),
        sa.Column("kind", sa.String(60), nullable=False),
        sa.Column("severity", sa.String(20), nullable=False),
        sa.Column("agent", _Name),
        sa.Column("deployment", _Name),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("link", sa.Text, nullable=False),
        sa.Column("good", sa.Boolean, nullable=False),
        sa.Column("same", sa.String(400), nullable=False),
        sa.Column("at", _Time, nullable=False),
        sa.Column("last_at", _Time, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Index("notifications_same", "same", "number"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "notification_reads",
        sa.Column("principal", _Name, primary_key=True),
        sa.Column("number", _Number, sa.ForeignKey("notifications.number", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    )
    op.create_table(
        "notification_marks",
        sa.Column("principal", _Name, primary_key=True),
        sa.Column("upto", _Number, nullable=False),
    )


def _outward() -> None:
    op.create_table(
        "notification_settings",
        sa.Column(
            "id", sa.Integer, sa.CheckConstraint("id = 1", name="notification_settings_one_row"), primary_key=True, autoincrement=False
        ),
        sa.Column("position", _Number, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    # What happened before there were notifications is not news.
    op.execute("INSERT INTO notification_settings (id, position, revision, body) SELECT 1, last_seq, 0, '{}' FROM log_head")
    op.create_table(
        "notification_targets",
        sa.Column("target", _Name, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("last_ok_at", _Time),
        sa.Column("last_error_at", _Time),
        sa.Column("last_error", sa.Text, nullable=False, server_default=""),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_at", _Time),
    )
    op.create_table(
        "notification_deliveries",
        sa.Column("number", _Number, primary_key=True, autoincrement=True),
        sa.Column("notification", _Number, sa.ForeignKey("notifications.number", ondelete="CASCADE"), nullable=False),
        sa.Column("target", _Name, sa.ForeignKey("notification_targets.target", ondelete="CASCADE"), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("give_up_at", _Time, nullable=False),
        sa.UniqueConstraint("notification", "target", name="notification_deliveries_once"),
        sa.Index("notification_deliveries_of_target", "target", "number"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    for table in (
        "notification_deliveries",
        "notification_targets",
        "notification_settings",
        "notification_marks",
        "notification_reads",
        "notifications",
    ):
        op.drop_table(table)
