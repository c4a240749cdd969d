"""The tables of notifications and of reports, as the newest migration leaves them. Read by `store`."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from agent_servicing.store.tables import Name, Number, UtcDateTime, metadata

notifications = Table(
    "notifications",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("notification", Name, nullable=False, unique=True),
    Column("kind", String(60), nullable=False),
    Column("severity", String(20), nullable=False),
    Column("agent", Name),
    Column("deployment", Name),
    Column("title", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("link", Text, nullable=False),
    Column("good", Boolean, nullable=False),
    Column("same", String(400), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("count", Integer, nullable=False),
    Index("notifications_same", "same", "number"),
    sqlite_autoincrement=True,
)
"""What people were told. `count`: how often the same thing (`same`) happened from `at` to `last_at`."""

notification_reads = Table(
    "notification_reads",
    metadata,
    Column("principal", Name, primary_key=True),
    Column("number", Number, ForeignKey("notifications.number", ondelete="CASCADE"), primary_key=True, autoincrement=False),
)
"""Who has read which, above that person's mark."""

notification_marks = Table(
    "notification_marks",
    metadata,
    Column("principal", Name, primary_key=True),
    Column("upto", Number, nullable=False),
)
"""Up to where somebody has read everything."""

notification_settings = Table(
    "notification_settings",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="notification_settings_one_row"), primary_key=True, autoincrement=False),
    Column("position", Number, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("body", Text, nullable=False),
)
"""One row. `position`: the last event of the log that was looked at. `revision` counts changes of the settings in `body`."""

notification_targets = Table(
    "notification_targets",
    metadata,
    Column("target", Name, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("last_ok_at", UtcDateTime),
    Column("last_error_at", UtcDateTime),
    Column("last_error", Text, nullable=False, server_default=""),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("next_at", UtcDateTime),
)
"""Where notifications are sent: the encrypted address (empty for one that is a secret by name), and how it went. `failures` in a row put
`next_at` off for the whole queue of the target."""

notification_deliveries = Table(
    "notification_deliveries",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("notification", Number, ForeignKey("notifications.number", ondelete="CASCADE"), nullable=False),
    Column("target", Name, ForeignKey("notification_targets.target", ondelete="CASCADE"), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("give_up_at", UtcDateTime, nullable=False),
    UniqueConstraint("notification", "target", name="notification_deliveries_once"),
    Index("notification_deliveries_of_target", "target", "number"),
    sqlite_autoincrement=True,
)
"""What is still to be sent; a row goes when it was sent or given up."""

issue_settings = Table(
    "issue_settings",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="issue_settings_one_row"), primary_key=True, autoincrement=False),
    Column("revision", Integer, nullable=False),
    Column("body", Text, nullable=False),
)
"""One row: where reports are sent."""

issues = Table(
    "issues",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("issue", Name, nullable=False, unique=True),
    Column("agent", Name, nullable=False),
    Column("deployment", Name),
    Column("title", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("actor", Name, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("summary", Text, nullable=False),
    Column("bundle", LargeBinary, nullable=False),
    Column("status", String(20), nullable=False),
    Column("url", Text, nullable=False, server_default=""),
    Column("problem", Text, nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", UtcDateTime),
    Column("give_up_at", UtcDateTime),
    Index("issues_of_agent", "agent", "number"),
    sqlite_autoincrement=True,
)
"""Reports. `summary` is what a tracker shows, `bundle` the zip with everything. No foreign key: a report outlives the agent."""
