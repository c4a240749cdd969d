"""The tables, as the newest migration leaves them. Read by the rest of the store and, through `queries`, by the services.

Columns that are searched or sorted stand on their own; everything else of a noun is one JSON body (`codec`), so that a new field needs no
migration.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    bindparam,
    false,
    text,
)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC times in and out. SQLite has no time zones, so there it holds naive UTC text, which sorts as it should."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise AssertionError(f"{value} has no time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  (the base's signature)
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite numbers rows by itself only in columns that are called INTEGER.
_Number = BigInteger().with_variant(Integer(), "sqlite")
_Name = String(200)
Number, Name = _Number, _Name
"""For the tables that stand in a file of their own."""

metadata = MetaData()

NAMED = bindparam("names", type_=String, expanding=True)
"""The agents asked for, in statements that are built once: a new one each time is worked out anew each time, which costs more than its rows."""


def _of_audit(name: str, *columns: str, unique: bool = False) -> Index:
    """An index over audit entries only; live events, which are many, cost nothing."""
    return Index(name, *columns, unique=unique, sqlite_where=text("audit"), postgresql_where=text("audit"))


log_head = Table(
    "log_head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="log_head_one_row"), primary_key=True, autoincrement=False),
    Column("last_seq", _Number, nullable=False),
    Column("audit_entries", _Number, nullable=False),
    Column("audit_head", String(64), nullable=False),
    Column("pruned_seq", _Number, nullable=False),
    Column("archived_entries", _Number, nullable=False, server_default="0"),
    Column("archived_head", String(64), nullable=False, server_default="0" * 64),
)
"""One row: the end of the event log. Updating it is what puts writers of events in one line, so that numbers have no gaps.
`archived_…`: up to where audit entries may be removed, and the hash of the last of them, from which the rest is checked."""

agents = Table(
    "agents",
    metadata,
    Column("agent", _Name, primary_key=True),
    Column("status", String(20), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("woken", Boolean, nullable=False, server_default=false()),
    Column("edits", Integer, nullable=False, server_default="0"),
    Column("lease_token", String(100)),
    Column("lease_expires_at", UtcDateTime),
    Column("refreshed_at", UtcDateTime),
    Column("source_problem", Text, nullable=False, server_default=""),
    Index("agents_due", "due_at"),
)
"""`manifest` is the one the agent was added with, on which each version's own is laid; `body` is what only the engine changes.
`woken` remembers a wake-up that arrived while an engine held the lease. `edits` counts the changes of what lists of agents show (outlines.py)."""

deployments = Table(
    "deployments",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("deployment", _Name, nullable=False, unique=True),
    Column("agent", _Name, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("status", String(20), nullable=False),
    Column("to_version", _Name, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("body", LargeBinary, nullable=False),
    Column("edits", Integer, nullable=False, server_default="0"),
    Column("unapproved", Boolean, nullable=False, server_default=false()),
    Index("deployments_of_agent", "agent", "number"),
    Index("deployments_status", "status"),
    sqlite_autoincrement=True,
)
"""`number` is the order of requests. No foreign key: history outlives the agent. `edits` repeats what stands in `body`: an engine that
loaded a waiting deployment before a service changed it must not write its older one back. `unapproved` repeats that it waits for a second person."""

line = Table(
    "line",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="line_one_row"), primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)
"""One row: freezes, windows, stop and limit of all agents together. A few kilobytes that are read and changed as a whole."""

locks = Table(
    "locks",
    metadata,
    Column("agent", _Name, ForeignKey("agents.agent", ondelete="CASCADE"), primary_key=True),
    Column("holder", _Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)
"""Operators' locks. One that has run out stays until the next is taken, and means nothing."""

versions = Table(
    "versions",
    metadata,
    Column("agent", _Name, ForeignKey("agents.agent", ondelete="CASCADE"), primary_key=True),
    Column("version", _Name, primary_key=True),
    Column("ref", Text, nullable=False),
    Column("released_at", UtcDateTime),
    Column("discovered_at", UtcDateTime, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("security", Boolean, nullable=False, server_default=false()),
    Column("critical", Boolean, nullable=False, server_default=false()),
    Column("moved_ref", Text),
    Column("problem", Text, nullable=False, server_default=""),
    Column("config_schema", Text),
    Column("standing", String(20), nullable=False, server_default="available"),
)
"""`manifest` is complete: the agent's with the version's own on top. `moved_ref` is what the source has under this name now, where it differs.
`standing` is what the source says of it; what people say is in `version_marks`, and counts more."""

version_marks = Table(
    "version_marks",
    metadata,
    Column("agent", _Name, ForeignKey("agents.agent", ondelete="CASCADE"), primary_key=True),
    Column("version", _Name, primary_key=True),
    Column("standing", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", _Name, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
"""What people said of versions: deprecated, withdrawn, or available in spite of the source. Apart from `versions`, which a refresh rewrites
and whose rows come and go with the source."""

intents = Table(
    "intents",
    metadata,
    Column("intent", _Number, primary_key=True, autoincrement=True),
    Column("agent", _Name, ForeignKey("agents.agent", ondelete="CASCADE"), nullable=False, index=True),
    Column("verb", String(20), nullable=False),
    Column("actor", _Name, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("deployment", _Name),
    Column("reason", Text, nullable=False),
    Column("value", Integer, nullable=False),
    sqlite_autoincrement=True,
)
"""Wishes the engine has not handled yet; a handled one is deleted, its audit event stays."""

events = Table(
    "events",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=False),
    Column("event_id", _Name, nullable=False, unique=True),
    Column("type", String(60), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("agent", _Name),
    Column("deployment", _Name),
    Column("actor", _Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("audit", Boolean, nullable=False),
    Column("status", String(40)),
    Column("data", Text, nullable=False),
    Column("digest", String(64)),
    Column("entry", _Number),
    Column("previous", String(64)),
    Index("events_of_agent", "agent", "seq"),
    Index("events_of_deployment", "deployment", "seq"),
    _of_audit("events_audit", "seq"),
    _of_audit("audit_entry", "entry", unique=True),
    _of_audit("audit_by_time", "at", "seq", "agent", "type", "actor", "status"),
    _of_audit("audit_by_agent", "agent", "at", "seq", "type", "actor", "status"),
    _of_audit("audit_by_type", "type", "at", "seq", "agent", "actor", "status"),
    _of_audit("audit_by_actor", "actor", "at", "seq", "agent", "type", "status"),
    _of_audit("audit_by_status", "status", "at", "seq", "agent", "type", "actor"),
)
"""The one append-only log. `status` repeats what stands in `data`, to be searched; `entry`, `previous` and `digest` are set for audit entries
(core/audit.py), which triggers keep from being changed or removed (migration 0012). Each index holds every column that can be filtered by: two
filters that are never true together are found out without reading a row."""

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", _Name, primary_key=True),
    Column("name", _Name, nullable=False),
    Column("role", String(20), nullable=False),
    Column("agents", Text),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
)
"""Secrets are kept as SHA-256 only: they are random and long, so nothing slower is needed. `agents` is a JSON list, null for all."""

users = Table(
    "users",
    metadata,
    Column("user_id", _Name, primary_key=True),
    Column("name", _Name, nullable=False),
    Column("folded", String(400), nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("agents", Text),
    Column("grants", Text, nullable=False),
    Column("password", Text),
    Column("identity", Text, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("password_set_at", UtcDateTime),
    Column("signed_in_at", UtcDateTime),
    Column("disabled_at", UtcDateTime),
)
"""People. `folded` is the name as it is compared; `password` an Argon2 hash, null for who has none; `identity` who they are at the OIDC
provider. `agents` like a token's, `grants` a JSON object from agent to role."""

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", _Name, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("user_id", _Name, ForeignKey("users.user_id", ondelete="CASCADE"), index=True),
    Column("token_id", _Name, ForeignKey("tokens.token_id", ondelete="CASCADE"), index=True),
    Column("method", String(20), nullable=False),
    Column("address", String(100), nullable=False),
    Column("client", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    CheckConstraint("(user_id IS NULL) <> (token_id IS NULL)", name="sessions_one_holder"),
)
"""Browsers that are signed in, as a user, or with a token's rights. One that has ended is deleted. `digest` is the SHA-256 of the cookie."""

sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("user_id", _Name, ForeignKey("users.user_id", ondelete="CASCADE")),
    Column("token_id", _Name, ForeignKey("tokens.token_id", ondelete="CASCADE")),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    CheckConstraint("(user_id IS NULL) <> (token_id IS NULL)", name="sign_in_links_one_holder"),
)
"""Each begins one session; a used one is deleted."""

approvals = Table(
    "approvals",
    metadata,
    Column("agent", _Name, ForeignKey("agents.agent", ondelete="CASCADE"), primary_key=True),
    Column("set_by", _Name, nullable=False),
    Column("since", UtcDateTime, nullable=False),
)
"""Agents whose upgrades wait until a second person has approved them."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("principal", _Name, primary_key=True),
    Column("key", String(300), primary_key=True),
    Column("method", String(10), nullable=False),
    Column("path", Text, nullable=False),
    Column("body_hash", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    Column("status", Integer),
    Column("body", LargeBinary),
)

config_revisions = Table(
    "config_revisions",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("agent", _Name, ForeignKey("agents.agent", ondelete="CASCADE"), nullable=False),
    Column("revision", _Name, nullable=False),
    Column("version", _Name, nullable=False),
    Column("status", String(20), nullable=False),
    Column("live", Boolean, nullable=False),
    Column("deployment", _Name),
    Column("body", Text, nullable=False),
    UniqueConstraint("agent", "revision", name="config_revisions_name"),
    sqlite_autoincrement=True,
)
"""Every change of a configuration, the refused ones too. `version` served when it was asked for. `live`: the engine has something to do for it."""

secrets = Table(
    "secrets",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("name", _Name, nullable=False),
    Column("version", Integer, nullable=False),
    Column("agent", _Name),
    Column("sealed", LargeBinary, nullable=False),
    Column("fingerprint", String(16), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", _Name, nullable=False),
    Column("removed_at", UtcDateTime),
    UniqueConstraint("name", "version", name="secrets_version"),
    sqlite_autoincrement=True,
)
"""Values that nobody may read, encrypted. `agent` null: all agents may be given it. A removed one is emptied; its row keeps its version from
being given out again."""

reports = Table(
    "reports",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("agent", _Name, ForeignKey("agents.agent", ondelete="CASCADE"), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("instance", _Name, nullable=False),
    Column("metric", String(63), nullable=False),
    Column("value", Double, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("reports_of_agent", "agent", "number"),
    Index("reports_counted", "agent", "metric", "at", "generation", "value"),
    sqlite_autoincrement=True,
)
"""What instances said of themselves. `number` is the order of arrival, by which the oldest go; the second index answers the judge alone."""

blocks = Table(
    "blocks",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("deployment", _Name, nullable=False),
    Column("begun_anew", Integer, nullable=False),
    Column("at", UtcDateTime),
    Column("body", Text, nullable=False),
    Index("blocks_of_deployment", "deployment", "number"),
    sqlite_autoincrement=True,
)
"""What verdicts rest on. `begun_anew`: how often the deployment's evidence was begun anew before; the last one is what counts."""

staging_runs = Table(
    "staging_runs",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("run", _Name, nullable=False, unique=True),
    Column("agent", _Name, ForeignKey("agents.agent", ondelete="CASCADE"), nullable=False),
    Column("version", _Name, nullable=False),
    Column("status", String(20), nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("wishes", Text, nullable=False, server_default="[]"),
    Column("results", Text, nullable=False, server_default="{}"),
    Column("body", LargeBinary, nullable=False),
    Index("staging_runs_of_agent", "agent", "number"),
    Index("staging_runs_status", "status"),
    sqlite_autoincrement=True,
)
"""`wishes` is what operators want of a run that is there, a JSON list that only services add to; `body` is what only the reconciler changes.
`results` repeats what stands there: what a list of versions shows."""

staging_gates = Table(
    "staging_gates",
    metadata,
    Column("agent", _Name, ForeignKey("agents.agent", ondelete="CASCADE"), primary_key=True),
    Column("required", Boolean, nullable=False),
    Column("fresh_hours", Double, nullable=False),
)
"""Whether an agent asks for a fresh staging run before production. No row: it does not."""
