"""Brings a database to the newest schema. Called by `Database.open`, in one transaction: a failed migration leaves the old schema whole."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from agent_servicing.core.errors import PermanentError


def migrate(connection: Connection) -> None:
    """Run every migration that is missing. Raises PermanentError when the database is newer than this program."""
    config = Config()
    config.set_main_option("script_location", "agent_servicing.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    found = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise PermanentError(f"the database was written by a newer version of Agent Servicing (schema {found}); install that version")
    command.upgrade(config, "head")
