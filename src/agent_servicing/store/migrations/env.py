"""Run by Alembic for each migration command; the connection is handed in by `store.migrate` and stays the caller's."""

from alembic import context

from agent_servicing.store import audit_tables, notification_tables, threshold_tables  # noqa: F401  (their tables belong to the metadata)
from agent_servicing.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
