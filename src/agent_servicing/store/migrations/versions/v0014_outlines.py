"""What lists of agents and deployments need without reading each one whole: a count of changes, and who waits for an approval."""

import json
import zlib

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision: str | None = "0013"

_deployments = sa.table("deployments", *(sa.column(name) for name in ("number", "status", "body", "unapproved")))


def upgrade() -> None:
    op.add_column("agents", sa.Column("edits", sa.Integer, nullable=False, server_default="0"))
    op.add_column("deployments", sa.Column("unapproved", sa.Boolean, nullable=False, server_default=sa.false()))
    connection = op.get_bind()
    waiting = sa.select(_deployments.c.number, _deployments.c.body).where(_deployments.c.status.in_(["queued", "scheduled"]))
    for row in connection.execute(waiting).all():
        body = json.loads(zlib.decompress(row.body))
        if body.get("approval_wanted") and not body.get("approved_by"):
            connection.execute(sa.update(_deployments).where(_deployments.c.number == row.number).values(unapproved=True))


def downgrade() -> None:
    op.drop_column("deployments", "unapproved")
    op.drop_column("agents", "edits")
