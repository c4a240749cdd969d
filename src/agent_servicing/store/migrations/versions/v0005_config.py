"""Configuration: every change ever asked for, and each version's schema where the engine finds it."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "config_revisions",
        sa.Column("number", _Number, primary_key=True, autoincrement=True),
        sa.Column("agent", sa.String(200), sa.ForeignKey("agents.agent", ondelete="CASCADE"), nullable=False),
        sa.Column("revision", sa.String(200), nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("deployment", sa.String(200)),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("agent", "revision", name="config_revisions_name"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("versions") as batch:
        batch.add_column(sa.Column("config_schema", sa.Text))
    _fill()


def _fill() -> None:
    """The text is among the files that came with the version; its manifest says which of them it is."""
    connection = op.get_bind()
    table = sa.table("versions", *(sa.column(name) for name in ("agent", "version", "manifest", "body", "config_schema")))
    for row in connection.execute(sa.select(table.c.agent, table.c.version, table.c.manifest, table.c.body)).all():
        name = json.loads(row.manifest).get("config", {}).get("schema")
        text = json.loads(row.body).get("files", {}).get(name) if name else None
        if text is not None:
            this = (table.c.agent == row.agent) & (table.c.version == row.version)
            connection.execute(sa.update(table).where(this).values(config_schema=text))


def downgrade() -> None:
    with op.batch_alter_table("versions") as batch:
        batch.drop_column("config_schema")
    op.drop_table("config_revisions")
